/* Memory that simulated parties show to each other: all of them are on one host, and of one user.
 *
 * Reading it takes no time, and sees what its owner has written last, as it does between processes. The
 * memory of a party that was killed has no owner from that moment on. It stays until nobody views it any
 * more. */
#include "net/sim_network.h"

#include <stdlib.h>
#include <string.h>

#define PAGE 4096u

struct sim_shown {
    struct net_shown base;
    struct list link; /* in the network's shown */
    _Atomic uint32_t owner;
    uint32_t views;
    bool hidden;
};

struct sim_view {
    struct net_view base;
    struct sim_shown *shown;
};

static struct sim_party *party_of(struct net *net)
{
    return container_of(net, struct sim_party, base);
}

static void free_unused(struct sim_shown *shown)
{
    if (!shown->hidden || shown->views > 0)
        return;
    list_remove(&shown->link);
    free(shown->base.memory);
    free(shown);
}

int sim_show(struct net *net, size_t length, enum net_shown_by by, struct net_shown **result)
{
    struct sim_network *network = party_of(net)->network;
    struct sim_shown *shown = calloc(1, sizeof(*shown));
    if (shown == NULL)
        return -ENOMEM;
    size_t rounded = (length + PAGE - 1) / PAGE * PAGE;
    shown->base.memory = aligned_alloc(PAGE, rounded != 0 ? rounded : PAGE);
    if (shown->base.memory == NULL) {
        free(shown);
        return -ENOMEM;
    }
    memset(shown->base.memory, 0, length);
    shown->base.net = net;
    shown->base.operations = net->operations;
    shown->base.place = (struct net_place){
        .length = length,
        .process = (uint32_t)party_of(net)->id,
        .descriptor = (uint32_t)++network->shown_count,
    };
    atomic_store_explicit(&shown->owner, by == NET_SHOWN_BY_THREAD, memory_order_relaxed);
    list_push_back(&network->shown, &shown->link);
    *result = &shown->base;
    return 0;
}

void sim_hide(struct net_shown *base)
{
    struct sim_shown *shown = container_of(base, struct sim_shown, base);
    atomic_store_explicit(&shown->owner, 0, memory_order_release);
    shown->hidden = true;
    free_unused(shown);
}

int sim_view(struct net *net, const struct net_place *place, struct net_view **result)
{
    struct sim_network *network = party_of(net)->network;
    list_for_each (link, &network->shown) {
        struct sim_shown *shown = container_of(link, struct sim_shown, link);
        if (shown->hidden || memcmp(&shown->base.place, place, sizeof(*place)) != 0)
            continue;
        struct sim_view *view = calloc(1, sizeof(*view));
        if (view == NULL)
            return -ENOMEM;
        view->shown = shown;
        view->base = (struct net_view){
            .net = net,
            .memory = shown->base.memory,
            .length = place->length,
            .owner = &shown->owner,
        };
        shown->views++;
        *result = &view->base;
        return 0;
    }
    return -ENOENT;
}

void sim_view_end(struct net_view *base)
{
    struct sim_view *view = container_of(base, struct sim_view, base);
    view->shown->views--;
    free_unused(view->shown);
    free(view);
}

void sim_shown_orphan(struct sim_party *party)
{
    list_for_each (link, &party->network->shown) {
        struct sim_shown *shown = container_of(link, struct sim_shown, link);
        if (shown->base.net == &party->base)
            atomic_store_explicit(&shown->owner, 0, memory_order_release);
    }
}
