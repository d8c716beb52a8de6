/* Memory that a process shows to others of its host: what the transports between real processes have in
 * common. See net_show in net.h. */
#pragma once

#include "net/net.h"

int shown_create(struct net *net, size_t length, enum net_shown_by by, struct net_shown **shown);
void shown_destroy(struct net_shown *shown);
int shown_view(struct net *net, const struct net_place *place, struct net_view **view);
void shown_view_end(struct net_view *view);
