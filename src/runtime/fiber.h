/* A suspended flow of control: its machine context, and what the sanitizers must know of its stack. Internal
 * to runtime/.
 *
 * AddressSanitizer keeps the bounds of the running stack, ThreadSanitizer a shadow call stack for each fiber;
 * both have to be told of every switch. In ordinary builds a fiber is its context and nothing else. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "runtime/context.h"

#if defined(__SANITIZE_ADDRESS__)
#define FIBER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_ASAN 1
#endif
#endif

#if defined(__SANITIZE_THREAD__)
#define FIBER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FIBER_TSAN 1
#endif
#endif

#ifdef FIBER_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef FIBER_TSAN
#include <sanitizer/tsan_interface.h>
#endif

struct fiber {
    struct context context;
#ifdef FIBER_ASAN
    const void *bottom;
    size_t size;
    void *fake_stack;
#endif
#ifdef FIBER_TSAN
    void *shadow;
#endif
};

static inline void fiber_make(struct fiber *fiber, char *base, char *top, void (*entry)(void))
{
    context_make(&fiber->context, base, top, entry);
#ifdef FIBER_ASAN
    fiber->bottom = base;
    fiber->size = (size_t)(top - base);
    fiber->fake_stack = NULL;
#endif
#ifdef FIBER_TSAN
    fiber->shadow = __tsan_create_fiber(0);
#endif
}

/* The stack between base and top is about to be unmapped. */
static inline void fiber_discard(struct fiber *fiber, char *base, char *top)
{
    (void)fiber;
    (void)base;
    (void)top;
#ifdef FIBER_ASAN
    __asan_unpoison_memory_region(base, (size_t)(top - base));
#endif
#ifdef FIBER_TSAN
    __tsan_destroy_fiber(fiber->shadow);
#endif
}

/* First thing on a fresh fiber: origin is where it was switched to from. */
static inline void fiber_arrive(struct fiber *origin)
{
    (void)origin;
#ifdef FIBER_ASAN
    __sanitizer_finish_switch_fiber(NULL, &origin->bottom, &origin->size);
#endif
}

/* Continues at to, until somebody switches back to from; that switch must come from the flow saved in to.
 * idle: nothing on from's stack is needed any more except the frame that calls this. */
static inline __attribute__((always_inline)) void fiber_switch(struct fiber *from, struct fiber *to,
                                                               bool idle)
{
    (void)idle;
#ifdef FIBER_ASAN
    from->fake_stack = NULL;
    __sanitizer_start_switch_fiber(idle ? NULL : &from->fake_stack, to->bottom, to->size);
#endif
#ifdef FIBER_TSAN
    from->shadow = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(to->shadow, 0);
#endif
    context_switch(&from->context, &to->context);
#ifdef FIBER_ASAN
    __sanitizer_finish_switch_fiber(from->fake_stack, &to->bottom, &to->size);
#endif
}
