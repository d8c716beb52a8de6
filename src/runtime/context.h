/* Machine contexts: the switch from one stack to another. Internal to runtime/.
 *
 * A context is three words: stack pointer, frame pointer, and the address to continue at. The switch is
 * inline assembly that declares every other register clobbered, so the compiler saves exactly those that are
 * live, and nothing is written to either stack: the red zone below the stack pointer stays intact. It leaves
 * by an indirect jump, not by a return: the processor predicts returns from a stack of its own, which a
 * switch by `ret` would put out of step. Floating-point control words are not switched: no task changes them.
 * Other architectures, and builds that define RUNTIME_UCONTEXT, use ucontext, whose swap costs two system
 * calls. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#if (defined(__x86_64__) && defined(__LP64__)) || defined(__aarch64__)
#ifndef RUNTIME_UCONTEXT
#define CONTEXT_ASSEMBLY 1
#endif
#endif

#ifdef CONTEXT_ASSEMBLY

struct context {
    uintptr_t stack_pointer;
    uintptr_t frame_pointer;
    uintptr_t instruction;
};

/* Prepares a context that calls entry, which must not return, on a stack that ends at top (16-byte aligned).
 */
static inline void context_make(struct context *context, void *base, void *top, void (*entry)(void))
{
    (void)base;
    uintptr_t stack_pointer = (uintptr_t)top;
#if defined(__x86_64__)
    /* As after a call: the slot of a return address, zero, ends every backtrace. */
    stack_pointer -= 8;
    *(uintptr_t *)stack_pointer = 0;
#endif
    context->stack_pointer = stack_pointer;
    context->frame_pointer = 0;
    context->instruction = (uintptr_t)entry;
}

#if defined(__x86_64__)

#ifdef __AVX512F__
#define CONTEXT_WIDE_REGISTERS                                                                               \
    , "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26",     \
        "xmm27", "xmm28", "xmm29", "xmm30", "xmm31", "k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7"
#else
#define CONTEXT_WIDE_REGISTERS
#endif

/* Continues at to; returns when somebody switches to from. */
static inline __attribute__((always_inline)) void context_switch(struct context *from, struct context *to)
{
    __asm__ volatile("leaq 1f(%%rip), %%rax\n\t"
                     "movq %%rsp, 0(%%rdi)\n\t"
                     "movq %%rbp, 8(%%rdi)\n\t"
                     "movq %%rax, 16(%%rdi)\n\t"
                     "movq 0(%%rsi), %%rsp\n\t"
                     "movq 8(%%rsi), %%rbp\n\t"
                     "jmpq *16(%%rsi)\n"
                     "1:\n\t"
                     : "+D"(from), "+S"(to)
                     :
                     : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
                       "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
                       "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15" CONTEXT_WIDE_REGISTERS, "cc",
                       "memory");
}

#else

#ifdef __ARM_FEATURE_SVE
#define CONTEXT_PREDICATES                                                                                   \
    , "p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9", "p10", "p11", "p12", "p13", "p14", "p15"
#else
#define CONTEXT_PREDICATES
#endif

/* Continues at to; returns when somebody switches to from. `hint 36` (bti j) marks the landing place for
 * processors that check branch targets, and is a no-op elsewhere. */
static inline __attribute__((always_inline)) void context_switch(struct context *from, struct context *to)
{
    register struct context *source __asm__("x0") = from;
    register struct context *target __asm__("x1") = to;
    __asm__ volatile("adr x9, 1f\n\t"
                     "mov x10, sp\n\t"
                     "stp x10, x29, [x0]\n\t"
                     "str x9, [x0, #16]\n\t"
                     "ldp x10, x29, [x1]\n\t"
                     "ldr x16, [x1, #16]\n\t"
                     "mov sp, x10\n\t"
                     "mov x30, xzr\n\t"
                     "br x16\n"
                     "1:\n\t"
                     "hint 36\n\t"
                     : "+r"(source), "+r"(target)
                     :
                     : "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14",
                       "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26",
                       "x27", "x28", "x30", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10",
                       "v11", "v12", "v13", "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22",
                       "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31" CONTEXT_PREDICATES, "cc",
                       "memory");
}

#endif

#else

#include <ucontext.h>

struct context {
    ucontext_t ucontext;
};

static inline void context_make(struct context *context, void *base, void *top, void (*entry)(void))
{
    getcontext(&context->ucontext);
    context->ucontext.uc_stack.ss_sp = base;
    context->ucontext.uc_stack.ss_size = (size_t)((char *)top - (char *)base);
    context->ucontext.uc_link = NULL;
    makecontext(&context->ucontext, entry, 0);
}

static inline void context_switch(struct context *from, struct context *to)
{
    swapcontext(&from->ucontext, &to->ucontext);
}

#endif
