// How tests steer the emulator and look into it. `src/lib.rs` declares the same.
#pragma once
#include <stdint.h>

// When what is enqueued runs: not before something asks for it, at once, or by chance.
enum pace { LAZY, EAGER, CHANCE };

struct emulator_counters {
    uint64_t launches, kernels, graph_launches, graph_instantiations, graph_updates, captures;
    uint64_t copies_to_device, bytes_to_device, copies_to_host, bytes_to_host, copies_on_device, bytes_on_device, sets;
    uint64_t stream_syncs, event_syncs, context_syncs, modules;
    uint64_t allocations, live_allocations, live_bytes, peak_bytes, live_host_allocations;
};

extern "C" {
void emulator_schedule(int order, unsigned seed);
void emulator_pace(int pace, unsigned seed);
// Must come before a device is first used.
void emulator_devices(int count);
void emulator_memory(uint64_t bytes);
// Whether a pool hands out freed memory again.
void emulator_reuse(int yes);
void emulator_multiprocessors(int count);
// Lets the `nth` call from now on of that function fail; `sticky`: and from then on nearly every call on that device. The
// names "kernel" and "copy" stand for the nth one that runs.
void emulator_fail(const char* function, unsigned nth, int code, int sticky);
void emulator_counters_now(emulator_counters* into);
void emulator_reset_counters(void);
// Takes back what the functions above have set and heals devices; counters begin anew. What is enqueued runs before.
void emulator_reset(void);
// For the libraries beside the driver: whether these bytes are memory of a device; what a call of theirs is to fail with.
int emulator_holds(uint64_t at, uint64_t bytes);
int emulator_planned_failure(const char* function);
}
