// What every call goes through, and how tests steer it.
#include "driver.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

thread_local device_state* current = nullptr;

driver& all() {
    static driver* only = new driver();
    return *only;
}

void die(const char* format, ...) {
    va_list rest;
    va_start(rest, format);
    fprintf(stderr, "CUDA emulator: ");
    vfprintf(stderr, format, rest);
    fprintf(stderr, "\n");
    abort();
}

result planned_failure(const char* function) {
    driver& d = all();
    for (size_t i = 0; i < d.failures.size(); i++) {
        failure& f = d.failures[i];
        if (f.function != function || --f.left) continue;
        result code = f.code;
        if (f.sticky && current) current->broken = code;
        d.failures.erase(d.failures.begin() + i);
        return code;
    }
    return CUDA_SUCCESS;
}

guard::guard(const char* function, need what) : held(all().lock), refused(CUDA_SUCCESS) {
    if (what >= INITIALIZED && !all().initialized) refused = CUDA_ERROR_NOT_INITIALIZED;
    else if (what == CONTEXT && !current) refused = CUDA_ERROR_INVALID_CONTEXT;
    else if (what == CONTEXT && !current->retained) refused = CUDA_ERROR_CONTEXT_IS_DESTROYED;
    else if (what == CONTEXT && current->broken) refused = current->broken;
    else refused = planned_failure(function);
}

extern "C" {

OUT void emulator_schedule(int order, unsigned seed) {
    std::lock_guard held(all().lock);
    all().schedule = (shim::order)order;
    all().seed = seed;
}

OUT void emulator_pace(int pace, unsigned seed) {
    std::lock_guard held(all().lock);
    all().pace = (enum pace)pace;
    all().pace_seed = seed * 2654435769u | 1;
}

OUT void emulator_devices(int count) {
    std::lock_guard held(all().lock);
    all().device_count = count;
}

OUT void emulator_memory(uint64_t bytes) {
    std::lock_guard held(all().lock);
    all().memory = bytes;
}

OUT void emulator_reuse(int yes) {
    std::lock_guard held(all().lock);
    all().reuse = yes;
}

OUT void emulator_multiprocessors(int count) {
    std::lock_guard held(all().lock);
    all().multiprocessors = count;
}

OUT void emulator_fail(const char* function, unsigned nth, int code, int sticky) {
    std::lock_guard held(all().lock);
    all().failures.push_back({function, nth ? nth : 1, (result)code, sticky != 0});
}

OUT void emulator_counters_now(emulator_counters* into) {
    std::lock_guard held(all().lock);
    *into = all().counters;
}

OUT void emulator_reset_counters() {
    std::lock_guard held(all().lock);
    emulator_counters& c = all().counters, old = c;
    c = {};
    c.live_allocations = old.live_allocations;
    c.live_bytes = c.peak_bytes = old.live_bytes;
    c.live_host_allocations = old.live_host_allocations;
}

OUT int emulator_holds(uint64_t at, uint64_t bytes) {
    std::lock_guard held(all().lock);
    return !check_range(at, bytes);
}

OUT int emulator_planned_failure(const char* function) {
    std::lock_guard held(all().lock);
    return planned_failure(function);
}

OUT void emulator_reset() {
    std::lock_guard held(all().lock);
    driver& d = all();
    d.failures.clear();
    drain_for_nothing();
    d.schedule = shim::FIRST_IN;
    d.pace = LAZY;
    d.reuse = true;
    d.memory = 1ull << 30;
    d.multiprocessors = 2;
    d.device_count = 1;
    for (auto& device : d.devices) device->broken = CUDA_SUCCESS;
    emulator_reset_counters();
}

}  // extern "C"
