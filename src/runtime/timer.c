/* The timer set.
 *
 * Almost every timer here guards a request that finishes in time: it is set, and cleared microseconds later.
 * A pairing heap serves that pattern well. Setting melds a single node into the root with one comparison.
 * Clearing a node that has no children, which is what most are that were never compared again, unlinks it
 * from its siblings. Only taking the earliest timer out restructures.
 *
 * Invariants: a node is not ordered before its parent; prev is the parent for a first child and the left
 * sibling otherwise; the root has neither prev nor next; a timer that is not set has sequence 0. */
#include "runtime/timer.h"

#include <stdbool.h>
#include <stddef.h>

static bool timer_before(const struct timer *left, const struct timer *right)
{
    if (left->deadline != right->deadline)
        return left->deadline < right->deadline;
    return left->sequence < right->sequence;
}

/* Makes the later of two roots the first child of the earlier one. */
static struct timer *timer_meld(struct timer *left, struct timer *right)
{
    if (left == NULL)
        return right;
    if (right == NULL)
        return left;
    struct timer *parent = timer_before(right, left) ? right : left;
    struct timer *child = parent == left ? right : left;
    child->prev = parent;
    child->next = parent->child;
    if (parent->child != NULL)
        parent->child->prev = child;
    parent->child = child;
    return parent;
}

/* Melds a list of siblings into one heap: in pairs from the left, then the pairs from the right. */
static struct timer *timer_meld_siblings(struct timer *first)
{
    struct timer *pairs = NULL;
    while (first != NULL) {
        struct timer *left = first;
        struct timer *right = left->next;
        first = right != NULL ? right->next : NULL;
        left->prev = left->next = NULL;
        if (right != NULL)
            right->prev = right->next = NULL;
        struct timer *pair = timer_meld(left, right);
        pair->next = pairs;
        pairs = pair;
    }
    struct timer *root = NULL;
    while (pairs != NULL) {
        struct timer *pair = pairs;
        pairs = pair->next;
        pair->next = NULL;
        root = timer_meld(root, pair);
    }
    return root;
}

void timer_heap_clear(struct timer_heap *heap, struct timer *timer)
{
    if (timer->sequence == 0)
        return;
    struct timer *children = timer_meld_siblings(timer->child);
    if (timer == heap->first) {
        heap->first = children;
    } else {
        if (timer->prev->child == timer)
            timer->prev->child = timer->next;
        else
            timer->prev->next = timer->next;
        if (timer->next != NULL)
            timer->next->prev = timer->prev;
        heap->first = timer_meld(heap->first, children);
    }
    timer->child = timer->next = timer->prev = NULL;
    timer->sequence = 0;
}

void timer_heap_set(struct timer_heap *heap, struct timer *timer, uint64_t deadline)
{
    timer_heap_clear(heap, timer);
    timer->deadline = deadline;
    timer->sequence = ++heap->sequence;
    timer->child = timer->next = timer->prev = NULL;
    heap->first = timer_meld(heap->first, timer);
}

int timer_heap_fire(struct timer_heap *heap, uint64_t now)
{
    uint64_t last = heap->sequence;
    int fired = 0;
    while (heap->first != NULL && heap->first->deadline <= now && heap->first->sequence <= last) {
        struct timer *timer = heap->first;
        timer_heap_clear(heap, timer);
        timer->fire(timer);
        fired++;
    }
    return fired;
}
