// Runs the threads of kernels.
#pragma once
#include "block.h"

namespace shim {

// Which thread goes on where several can, and in which order blocks run.
enum order { FIRST_IN, LAST_IN, SHUFFLED };

struct launch_config {
    dim grid, threads;
    order schedule;
    unsigned seed;
};

// Runs a grid; yields why it went wrong: a text that the next call overwrites. One call at a time.
const char* run(const image& program, const entry& kernel, void** arguments, const launch_config& how);

}  // namespace shim
