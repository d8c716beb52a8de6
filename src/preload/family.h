/* The open file descriptions that a process shares with those it came from and those it starts. */
#pragma once

#include <signal.h>
#include <sys/resource.h>

#include "preload/preload.h"

/* Makes this process the first of a family if it is in none. False with errno set. */
bool family_create(void);
/* Joins the family whose descriptors these are. */
bool family_adopt(int table, int anchor);
/* Takes a free description: its lock is made, the rest is the caller's to fill. False: ENFILE. */
bool family_take(uint32_t *number);
/* Only for a description that no other process has. */
void family_free(uint32_t number);
/* A kernel descriptor that stands for the description; the lowest free one, or -1 with errno set. */
int family_placeholder(uint32_t number, bool close_on_exec);
/* The description of placeholder fd may from now on be another process's too. */
void family_share(int fd, uint32_t number);
