// What a kernel and the scheduler of its threads share. No headers: every kernel reads this.
#pragma once

namespace shim {

struct dim { unsigned x, y, z; };
enum { MAX_THREADS = 1024, WARP = 32 };
// Whom a thread waits for.
enum state { AT_WARP, AT_BLOCK };

// The block that runs, one at a time.
struct block {
    dim thread, index, threads, grid;
    int running;
    void (*wait)(state, int line);
    // What the threads of a warp send; the next exchange takes the other row, so that nobody overwrites what is not yet read.
    unsigned long long sent[2][MAX_THREADS];
    unsigned char parity[MAX_THREADS];
};

// A kernel as a launch sees it.
struct entry {
    const char* name;
    unsigned parameters;
    const unsigned* sizes;
    unsigned max_threads;
    void (*call)(void** arguments);
};

// What all kernels of a program share: the block, and the bytes of their shared memory.
struct image {
    block** now;
    char *shared_from, *shared_to;
};

}  // namespace shim
