#include "threads.h"
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#ifndef __x86_64__
#include <ucontext.h>
#endif

#ifdef __x86_64__
// Saves the registers that a call keeps and the stack pointer, and goes on where another stack left off.
asm(".text\n"
    ".type shim_switch, @function\n"
    "shim_switch:\n"
    "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
    "  movq %rsp, (%rdi)\n"
    "  movq %rsi, %rsp\n"
    "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
    "  ret\n");
extern "C" __attribute__((visibility("hidden"))) void shim_switch(void** own, void* other);
#endif

namespace shim {
namespace {

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

const size_t STACK = 256 << 10;
const unsigned char RUBBISH = 0xa5;

// Threads that wait for one another: the first `there` of them, at one place.
struct meeting {
    int there, line;
};

block now;
context fibers[MAX_THREADS];
dim places[MAX_THREADS];
context scheduler;
int threads, ended;
meeting of_warp[MAX_THREADS / WARP], of_block;
// Those that can go on; the last one is the next.
int ready[MAX_THREADS], ready_count;
char* stacks;
uint32_t seed;
order schedule;
const entry* kernel;
void** arguments;
char failure[512];

void fail(const char* what) {
    if (!failure[0]) snprintf(failure, sizeof failure, "kernel %s: %s", kernel->name, what);
}

uint32_t chance() {
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return seed;
}

// Lets these threads go on, before all others: the first one next, or the last one.
void release(int from, int to) {
    bool up = schedule == LAST_IN;
    for (int i = 0; i < to - from; i++) ready[ready_count++] = up ? from + i : to - 1 - i;
}

// A thread comes to where these wait for one another; they go on once all are there.
void arrive(meeting& at, int line, int from, int to) {
    if (at.there && at.line != line) {
        char text[128];
        snprintf(text, sizeof text, "threads wait for each other at different places, lines %d and %d", at.line, line);
        fail(text);
    }
    at.line = line;
    if (++at.there < to - from) return;
    at.there = 0;
    release(from, to);
}

void wait(state at, int line) {
    int own = now.running, warp = own / WARP, from = warp * WARP, to = from + WARP;
    if (at == AT_WARP) arrive(of_warp[warp], line, from, to < threads ? to : threads);
    else arrive(of_block, line, 0, threads);
    fibers[own].go(scheduler);
}

void entry_of_fiber() {
    kernel->call(arguments);
    ended++;
    fibers[now.running].go(scheduler);
}

int next() {
    if (schedule == SHUFFLED) {
        int &chosen = ready[chance() % ready_count], &last = ready[ready_count - 1], other = last;
        last = chosen;
        chosen = other;
    }
    return ready[--ready_count];
}

void one_block() {
    for (int t = 0; t < threads; t++) fibers[t].start(stacks + (size_t)t * STACK, STACK, entry_of_fiber);
    ready_count = ended = 0;
    memset(of_warp, 0, sizeof of_warp);
    of_block = {};
    release(0, threads);
    while (ready_count && !failure[0]) {
        int t = next();
        now.running = t;
        now.thread = places[t];
        scheduler.go(fibers[t]);
    }
    if (ended < threads) fail("some threads wait for others that never come");
}

// Signals of a kernel that runs on this thread end the kernel and not the process.
thread_local bool inside;
sigjmp_buf outside;
const int SIGNALS[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL}, COUNT = sizeof SIGNALS / sizeof *SIGNALS;
struct sigaction before[COUNT];

void caught(int signal, siginfo_t* info, void* context) {
    if (inside) {
        char text[128];
        if (signal == SIGFPE) snprintf(text, sizeof text, "an integer is divided by zero");
        // Kernels are compiled to look where addresses are no multiples of what a GPU needs.
        else if (signal == SIGILL) snprintf(text, sizeof text, "misaligned address");
        else snprintf(text, sizeof text, "illegal address %p", info->si_addr);
        fail(text);
        siglongjmp(outside, 1);
    }
    for (int i = 0; i < COUNT; i++) {
        if (SIGNALS[i] != signal) continue;
        if (before[i].sa_flags & SA_SIGINFO) return before[i].sa_sigaction(signal, info, context);
        if (before[i].sa_handler != SIG_DFL && before[i].sa_handler != SIG_IGN) return before[i].sa_handler(signal);
        sigaction(signal, &before[i], nullptr);
    }
}

unsigned greatest_divisor(unsigned a, unsigned b) { return b ? greatest_divisor(b, a % b) : a; }

// Which block is the nth to run.
unsigned block_number(unsigned n, unsigned count, unsigned stride) {
    if (schedule == LAST_IN) return count - 1 - n;
    return (unsigned)((uint64_t)n * stride % count);
}

}  // namespace

const char* run(const image& program, const entry& which, void** with, const launch_config& how) {
    if (!stacks) stacks = (char*)mmap(nullptr, MAX_THREADS * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    *program.now = &now;
    now.wait = wait;
    now.threads = how.threads;
    now.grid = how.grid;
    threads = how.threads.x * how.threads.y * how.threads.z;
    for (int t = 0, x = how.threads.x, y = how.threads.y; t < threads; t++) places[t] = {(unsigned)(t % x), (unsigned)(t / x % y), (unsigned)(t / x / y)};
    kernel = &which;
    arguments = with;
    schedule = how.schedule;
    seed = how.seed * 2654435769u | 1;
    failure[0] = 0;
    memset(now.parity, 0, sizeof now.parity);
    unsigned count = how.grid.x * how.grid.y * how.grid.z, stride = 1;
    if (schedule == SHUFFLED)
        for (stride = 1 + chance() % count; greatest_divisor(stride, count) != 1;) stride++;
    struct sigaction action = {};
    action.sa_sigaction = caught;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    for (int i = 0; i < COUNT; i++) sigaction(SIGNALS[i], &action, &before[i]);
    if (!sigsetjmp(outside, 1)) {
        inside = true;
        for (volatile unsigned n = 0; n < count && !failure[0]; n = n + 1) {
            unsigned b = block_number(n, count, stride);
            now.index = {b % how.grid.x, b / how.grid.x % how.grid.y, b / how.grid.x / how.grid.y};
            if (program.shared_from) memset(program.shared_from, RUBBISH, program.shared_to - program.shared_from);
            one_block();
        }
    }
    inside = false;
    for (int i = 0; i < COUNT; i++) sigaction(SIGNALS[i], &before[i], nullptr);
    return failure[0] ? failure : nullptr;
}

}  // namespace shim
