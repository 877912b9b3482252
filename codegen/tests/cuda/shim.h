// Runs generated CUDA C++ on a processor: every thread of a block is a fiber that runs until it has to wait, one after the
// other in an order that the caller chooses. What threads must not rely on, the order shows.
#pragma once
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#ifndef __x86_64__
#include <ucontext.h>
#endif

#define TW_HOST
#define TW_DEVICE static inline
#define TW_KERNEL static
#define TW_SHARED static
#define __launch_bounds__(threads, blocks)

#ifdef __x86_64__
// Saves the registers that a call keeps and the stack pointer, and goes on where another stack left off.
asm(".text\n"
    "shim_switch:\n"
    "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
    "  movq %rsp, (%rdi)\n"
    "  movq %rsi, %rsp\n"
    "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
    "  ret\n");
extern "C" void shim_switch(void** own, void* other);
#endif

namespace shim {

#ifdef __x86_64__
struct context {
    void* stack;
    void start(char* memory, size_t bytes, void (*entry)()) {
        void** top = (void**)(memory + bytes) - 2;
        top[0] = (void*)entry;
        stack = top - 6;
    }
    void go(context& other) { shim_switch(&stack, other.stack); }
};
#else
struct context {
    ucontext_t all;
    void start(char* memory, size_t bytes, void (*entry)()) {
        getcontext(&all);
        all.uc_stack.ss_sp = memory;
        all.uc_stack.ss_size = bytes;
        all.uc_link = nullptr;
        makecontext(&all, entry, 0);
    }
    void go(context& other) { swapcontext(&all, &other.all); }
};
#endif

struct dim { unsigned x, y, z; };
enum { THREADS = 128, WARP = 32, STACK = 64 << 10 };
enum state { READY, AT_WARP, AT_BLOCK, DONE };

// Which fiber goes on where several can.
enum order { FIRST_IN, LAST_IN, SHUFFLED };

struct fiber {
    context own;
    state at;
    int line;
    unsigned sent, got;
};

struct block_of_threads {
    fiber threads[THREADS];
    context scheduler;
    int running;
    unsigned block, grid;
    order schedule;
    uint32_t seed;
    const char* failure;
    void (*body)(void*);
    void* argument;
    char* stacks;
};

static block_of_threads now;

static void wait(state at, int line) {
    fiber& f = now.threads[now.running];
    f.at = at;
    f.line = line;
    f.own.go(now.scheduler);
}

static void entry() {
    now.body(now.argument);
    now.threads[now.running].at = DONE;
    now.threads[now.running].own.go(now.scheduler);
}

// Lets those that wait for one another go on once all are there.
static bool release(int from, int count, state waiting) {
    int there = 0, line = 0;
    for (int t = from; t < from + count; t++) {
        if (now.threads[t].at != waiting) continue;
        if (there++ && now.threads[t].line != line) now.failure = "threads wait for each other at different places";
        line = now.threads[t].line;
    }
    if (there < count) return false;
    for (int t = from; t < from + count; t++) now.threads[t].at = READY;
    return true;
}

static int next() {
    int ready[THREADS], count = 0;
    for (int t = 0; t < THREADS; t++)
        if (now.threads[t].at == READY) ready[count++] = t;
    if (!count) return -1;
    if (now.schedule == FIRST_IN) return ready[0];
    if (now.schedule == LAST_IN) return ready[count - 1];
    now.seed ^= now.seed << 13;
    now.seed ^= now.seed >> 17;
    now.seed ^= now.seed << 5;
    return ready[now.seed % count];
}

static void one_block() {
    for (int t = 0; t < THREADS; t++) {
        fiber& f = now.threads[t];
        f.at = READY;
        f.own.start(now.stacks + (size_t)t * STACK, STACK, entry);
    }
    while (!now.failure) {
        int t = next();
        if (t < 0) {
            bool moved = false, done = true;
            for (int w = 0; w < THREADS; w += WARP) moved |= release(w, WARP, AT_WARP);
            moved |= release(0, THREADS, AT_BLOCK);
            for (int i = 0; i < THREADS; i++) done &= now.threads[i].at == DONE;
            if (done) return;
            if (!moved) now.failure = "some threads wait for others that never come";
            continue;
        }
        now.running = t;
        now.scheduler.go(now.threads[t].own);
    }
}

// Runs a grid; yields why it went wrong.
static const char* run(void (*body)(void*), void* argument, unsigned grid, order schedule, uint32_t seed) {
    if (!now.stacks) now.stacks = (char*)mmap(nullptr, (size_t)THREADS * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    now.body = body;
    now.argument = argument;
    now.grid = grid;
    now.schedule = schedule;
    now.seed = seed | 1;
    now.failure = nullptr;
    for (unsigned b = 0; b < grid && !now.failure; b++) {
        now.block = schedule == LAST_IN ? grid - 1 - b : b;
        one_block();
    }
    return now.failure;
}

static uint32_t exchange(uint32_t x, int from_lane, int line) {
    int own = now.running;
    now.threads[own].sent = x;
    wait(AT_WARP, line);
    uint32_t got = now.threads[own / WARP * WARP + from_lane].sent;
    // Nobody sends again before all have received.
    wait(AT_WARP, -line);
    return got;
}

// The lane that `__shfl_down_sync` reads: the own one where there is none.
static int below(int by) {
    int lane = now.running % WARP;
    return lane + by < WARP ? lane + by : lane;
}

}  // namespace shim

#define threadIdx (shim::dim{(unsigned)shim::now.running, 0, 0})
#define blockIdx (shim::dim{shim::now.block, 0, 0})
#define gridDim (shim::dim{shim::now.grid, 1, 1})
#define __syncwarp() shim::wait(shim::AT_WARP, __LINE__)
#define __syncthreads() shim::wait(shim::AT_BLOCK, __LINE__)
#define __threadfence()
#define __shfl_sync(mask, value, from) shim::exchange(value, from, __LINE__)
#define __shfl_down_sync(mask, value, by) shim::exchange(value, shim::below(by), __LINE__)

static inline unsigned atomicCAS(unsigned* at, unsigned expected, unsigned value) {
    unsigned old = *at;
    if (old == expected) *at = value;
    return old;
}
static inline unsigned atomicExch(unsigned* at, unsigned value) {
    unsigned old = *at;
    *at = value;
    return old;
}

TW_DEVICE void tw_copy(void* to, const void* from, unsigned long bytes) { memcpy(to, from, bytes); }
template <class To, class From> TW_DEVICE To tw_bits(From from) {
    To to;
    memcpy(&to, &from, sizeof(To));
    return to;
}
TW_DEVICE int tw_ones(unsigned long long x) { return __builtin_popcountll(x); }

// IEEE binary16 by its definition: the nearest multiple of the last place, ties to even.
TW_DEVICE float tw_half_to_float(unsigned short bits) {
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    float size = exponent == 31 ? (fraction ? NAN : INFINITY) : ldexpf(exponent ? 1024 + fraction : fraction, exponent ? exponent - 25 : -24);
    return bits >> 15 ? -size : size;
}
TW_DEVICE unsigned short tw_float_to_half(float x) {
    unsigned short sign = signbit(x) ? 0x8000 : 0;
    if (isnan(x)) return sign | 0x7e00;
    float size = fabsf(x);
    if (size >= 65520.0f) return sign | 0x7c00;
    int exponent;
    frexpf(size, &exponent);
    exponent = size == 0 || exponent < -13 ? -13 : exponent;
    unsigned units = (unsigned)rintf(ldexpf(size, 11 - exponent));
    return sign | (unsigned short)(units + ((unsigned)(exponent + 13) << 10));
}

// Calls a kernel with the pointers to arguments that a launch takes.
namespace shim {
template <int... I> struct numbers {};
template <int N, int... I> struct up_to : up_to<N - 1, N - 1, I...> {};
template <int... I> struct up_to<0, I...> { typedef numbers<I...> type; };
template <class... A> struct call {
    void (*kernel)(A...);
    void** arguments;
    template <int... I> void with(numbers<I...>) { kernel(*(A*)arguments[I]...); }
    static void body(void* self) { ((call*)self)->with(typename up_to<sizeof...(A)>::type()); }
};
template <class... A> const char* launch(void (*kernel)(A...), void** arguments, unsigned grid, int schedule, unsigned seed) {
    call<A...> all = {kernel, arguments};
    return run(call<A...>::body, &all, grid, (order)schedule, seed);
}
}  // namespace shim

#define TW_LAUNCHER(name, space) \
    extern "C" const char* name##_launch(void** arguments, unsigned grid, int schedule, unsigned seed) { \
        return shim::launch(space::name, arguments, grid, schedule, seed); \
    }
