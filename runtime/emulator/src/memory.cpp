// Memory: every allocation has zones around it that nobody may write, and pages behind those that nobody may touch. Fresh and
// freed memory is full of rubbish. No address comes back, but that of memory which a pool hands out again.
#include "driver.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const unsigned char RUBBISH = 0xa5, ZONE = 0x5c;
static const uint64_t PAGE = 4096, BORDER = 512, SPACE = 1ull << 43;

// Addresses without memory behind them, from which allocations are cut.
static uintptr_t space, used_space;

static uint64_t whole_pages(uint64_t bytes) { return (bytes + PAGE - 1) / PAGE * PAGE; }

static void check_zone(const unsigned char* from, uint64_t bytes, uintptr_t address, const allocation& a, const char* side, const char* when) {
    for (uint64_t i = 0; i < bytes; i++)
        if (from[i] != ZONE)
            die("memory %s an allocation of %llu bytes was written, at offset %lld; found %s", side, (unsigned long long)a.bytes,
                (long long)((uintptr_t)from + i - address), when);
}

static void check(uintptr_t address, const allocation& a, const char* when) {
    check_zone((unsigned char*)address - BORDER, BORDER, address, a, "before", when);
    uint64_t behind = whole_pages(a.bytes + 2 * BORDER) - a.bytes - BORDER;
    check_zone((unsigned char*)address + a.bytes, behind, address, a, "behind", when);
}

static std::map<uintptr_t, allocation>::iterator holding(uintptr_t at) {
    auto& map = all().allocations;
    auto found = map.upper_bound(at);
    if (found == map.begin()) return map.end();
    --found;
    return at - found->first <= found->second.bytes ? found : map.end();
}

void check_zones(const call_of_kernel& call) {
    char when[256];
    snprintf(when, sizeof when, "after kernel %s", call.function->entry->name);
    for (size_t i = 0; i < call.offsets.size(); i++) {
        uintptr_t value;
        if (call.function->entry->sizes[i] != sizeof value) continue;
        memcpy(&value, &call.bytes[call.offsets[i]], sizeof value);
        auto found = holding(value);
        if (found != all().allocations.end()) check(found->first, found->second, when);
    }
}

result check_range(CUdeviceptr at, uint64_t bytes) {
    if (!bytes) return CUDA_SUCCESS;
    auto found = holding(at);
    bool inside = found != all().allocations.end() && at + bytes <= found->first + found->second.bytes;
    return inside ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

bool is_pinned(const void* at, size_t bytes) {
    auto& map = all().host;
    auto found = map.upper_bound((uintptr_t)at);
    if (found == map.begin()) return false;
    --found;
    return (uintptr_t)at + bytes <= found->first + found->second;
}

static void account(device_state& device, uint64_t bytes, bool pooled) {
    if (pooled) {
        device.used += bytes;
        if (device.used > device.held) device.held = device.used;
        if (device.used > device.used_high) device.used_high = device.used;
        if (device.held > device.held_high) device.held_high = device.held;
    } else {
        device.plain += bytes;
    }
    emulator_counters& c = all().counters;
    c.live_allocations++;
    c.live_bytes += bytes;
    if (c.live_bytes > c.peak_bytes) c.peak_bytes = c.live_bytes;
}

// Memory of that size that the pool has handed out before: freed earlier in the order of that stream, even if that order has
// not come there, or freed for good.
static uintptr_t take_again(uint64_t bytes, stream* on) {
    driver& d = all();
    if (!d.reuse) return 0;
    for (auto& [address, a] : d.allocations) {
        if (!a.freed || a.freed_in != on || a.bytes != bytes || !a.pooled) continue;
        a.freed = false;
        a.turn++;
        return address;
    }
    for (size_t i = d.idle.size(); i--;) {
        idle_memory m = d.idle[i];
        if (m.bytes != bytes || m.device != current) continue;
        if (mprotect((void*)(m.address - BORDER), m.reserved - PAGE, PROT_READ | PROT_WRITE)) die("memory cannot be used again");
        memset((void*)m.address, RUBBISH, bytes);
        d.idle.erase(d.idle.begin() + i);
        d.allocations[m.address] = {bytes, m.reserved, current, true, false, nullptr, 0};
        account(*current, bytes, true);
        return m.address;
    }
    return 0;
}

static void unmap(uintptr_t address, uint64_t reserved) {
    mmap((void*)(address - BORDER), reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

// For `on`, memory of a pool.
static result allocate(CUdeviceptr* into, uint64_t bytes, stream* on) {
    bool pooled = on;
    driver& d = all();
    device_state& device = *current;
    REQUIRE(into && bytes, CUDA_ERROR_INVALID_VALUE);
    auto fits = [&] {
        uint64_t held = pooled && device.used + bytes > device.held ? device.used + bytes : device.held;
        return (pooled ? 0 : bytes) + device.plain + held <= d.memory && device.plain + held >= device.plain;
    };
    REQUIRE(bytes <= d.memory, CUDA_ERROR_OUT_OF_MEMORY);
    if (uintptr_t known = pooled ? take_again(bytes, on) : 0) {
        d.counters.allocations++;
        *into = known;
        return CUDA_SUCCESS;
    }
    // What is freed in the order of a stream is there for whoever comes after it.
    if (!fits()) drain_for_nothing();
    REQUIRE(fits(), CUDA_ERROR_OUT_OF_MEMORY);
    if (!space) {
        space = (uintptr_t)mmap(nullptr, SPACE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if ((void*)space == MAP_FAILED) die("no addresses: %s", strerror(errno));
    }
    uint64_t inner = whole_pages(bytes + 2 * BORDER), reserved = inner + PAGE;
    if (used_space + reserved > SPACE) die("no addresses are left");
    char* start = (char*)(space + used_space);
    used_space += reserved;
    if (mprotect(start, inner, PROT_READ | PROT_WRITE)) return CUDA_ERROR_OUT_OF_MEMORY;
    uintptr_t address = (uintptr_t)start + BORDER;
    memset(start, ZONE, BORDER);
    memset((void*)address, RUBBISH, bytes);
    memset((char*)address + bytes, ZONE, inner - bytes - BORDER);
    d.allocations[address] = {bytes, reserved, &device, pooled, false, nullptr, 0};
    account(device, bytes, pooled);
    d.counters.allocations++;
    *into = address;
    return CUDA_SUCCESS;
}

result release(uintptr_t address, uint64_t turn) {
    driver& d = all();
    auto found = d.allocations.find(address);
    REQUIRE(found != d.allocations.end(), CUDA_ERROR_INVALID_VALUE);
    allocation& a = found->second;
    check(address, a, "when it was freed");
    // It may belong to somebody who comes later in this order.
    if (a.turn != turn) return memset((void*)address, RUBBISH, a.bytes), CUDA_SUCCESS;
    (a.pooled ? a.device->used : a.device->plain) -= a.bytes;
    d.counters.live_allocations--;
    d.counters.live_bytes -= a.bytes;
    if (a.pooled && d.reuse) {
        mprotect((void*)(address - BORDER), a.reserved - PAGE, PROT_NONE);
        d.idle.push_back({address, a.bytes, a.reserved, a.device});
    } else {
        unmap(address, a.reserved);
    }
    d.allocations.erase(found);
    return CUDA_SUCCESS;
}

// Takes from the pool what it no longer holds.
static void unmap_idle(device_state& device) {
    std::vector<idle_memory>& idle = all().idle;
    uint64_t there = 0;
    for (const idle_memory& m : idle) there += m.device == &device ? m.bytes : 0;
    for (size_t i = 0; i < idle.size() && there > device.held - device.used;) {
        if (idle[i].device != &device) {
            i++;
            continue;
        }
        there -= idle[i].bytes;
        unmap(idle[i].address, idle[i].reserved);
        idle.erase(idle.begin() + i);
    }
}

void free_everything(device_state& device) {
    std::vector<uintptr_t> mine;
    for (auto& [address, a] : all().allocations)
        if (a.device == &device) mine.push_back(address);
    for (uintptr_t address : mine) release(address, all().allocations[address].turn);
    device.held = device.used;
    unmap_idle(device);
}

void give_back_unused(device_state& device) {
    uint64_t keep = device.used > device.threshold ? device.used : device.threshold;
    if (device.held > keep) device.held = keep;
    unmap_idle(device);
}

result run_copy(const copy& what) {
    driver& d = all();
    if (result planned = planned_failure("copy")) return planned;
    bool from = what.where == copy::TO_DEVICE || !check_range((CUdeviceptr)what.from, what.bytes);
    bool to = what.where == copy::TO_HOST || !check_range((CUdeviceptr)what.to, what.bytes);
    if (!from || !to) {
        fprintf(stderr, "CUDA emulator: a copy of %zu bytes %s memory that is not allocated\n", what.bytes, from ? "to" : "from");
        return CUDA_ERROR_ILLEGAL_ADDRESS;
    }
    memmove(what.to, what.staged ? what.staged->data() : what.from, what.bytes);
    uint64_t* counter[] = {&d.counters.copies_to_device, &d.counters.copies_to_host, &d.counters.copies_on_device};
    ++*counter[what.where];
    counter[what.where][1] += what.bytes;
    return CUDA_SUCCESS;
}

result run_fill(const fill& what) {
    if (check_range(what.at, what.count * what.width)) {
        fprintf(stderr, "CUDA emulator: memory is set that is not allocated\n");
        return CUDA_ERROR_ILLEGAL_ADDRESS;
    }
    for (size_t i = 0; i < what.count; i++) memcpy((char*)what.at + i * what.width, &what.value, what.width);
    all().counters.sets++;
    return CUDA_SUCCESS;
}

static result start_copy(copy what, CUstream handle) {
    STREAM(on, handle);
    if (what.where != copy::TO_DEVICE)
        if (result r = check_range((CUdeviceptr)what.from, what.bytes)) return r;
    if (what.where != copy::TO_HOST)
        if (result r = check_range((CUdeviceptr)what.to, what.bytes)) return r;
    if (!what.bytes) return CUDA_SUCCESS;
    bool pageable = what.where == copy::TO_DEVICE ? !is_pinned(what.from, what.bytes) : what.where == copy::TO_HOST && !is_pinned(what.to, what.bytes);
    bool captured = on->capturing != nullptr;
    if (pageable && !captured && what.where == copy::TO_DEVICE)
        what.staged = std::make_shared<std::vector<char>>((const char*)what.from, (const char*)what.from + what.bytes);
    work w{work::COPY};
    w.copy = what;
    if (result r = enqueue(*on, std::move(w))) return r;
    // Pageable memory of the host is written before the call returns.
    return pageable && !captured && what.where == copy::TO_HOST ? drain(*on) : CUDA_SUCCESS;
}

static result copy_now(copy what) {
    if (result r = forbidden_in_capture()) return r;
    STREAM(on, nullptr);
    if (result r = start_copy(what, nullptr)) return r;
    return drain(*on);
}

static result start_fill(fill what, CUstream handle) {
    STREAM(on, handle);
    if (result r = check_range(what.at, what.count * what.width)) return r;
    REQUIRE(what.at % what.width == 0, CUDA_ERROR_INVALID_VALUE);
    if (!what.count) return CUDA_SUCCESS;
    work w{work::SET};
    w.fill = what;
    return enqueue(*on, std::move(w));
}

extern "C" {

OUT result cuMemGetInfo_v2(size_t* free, size_t* total) {
    ENTER(CONTEXT);
    uint64_t taken = current->plain + current->held;
    *free = taken < all().memory ? all().memory - taken : 0;
    *total = all().memory;
    return CUDA_SUCCESS;
}

OUT result cuMemAlloc_v2(CUdeviceptr* into, size_t bytes) {
    ENTER(CONTEXT);
    if (result r = forbidden_in_capture()) return r;
    return allocate(into, bytes, nullptr);
}

OUT result cuMemAllocAsync(CUdeviceptr* into, size_t bytes, CUstream handle) {
    ENTER(CONTEXT);
    STREAM(on, handle);
    if (result r = refuse_captured(*on)) return r;
    return allocate(into, bytes, on);
}

OUT result cuMemAllocFromPoolAsync(CUdeviceptr* into, size_t bytes, CUmemoryPool pool, CUstream handle) {
    if (pool != current) return CUDA_ERROR_INVALID_VALUE;
    return cuMemAllocAsync(into, bytes, handle);
}

// Waits for all that was enqueued.
OUT result cuMemFree_v2(CUdeviceptr at) {
    ENTER(CONTEXT);
    if (result r = forbidden_in_capture()) return r;
    if (!at) return CUDA_SUCCESS;
    auto found = all().allocations.find(at);
    REQUIRE(found != all().allocations.end() && !found->second.freed, CUDA_ERROR_INVALID_VALUE);
    found->second.freed = true;
    result outcome = drain_device(*found->second.device);
    release(at, found->second.turn);
    return outcome;
}

OUT result cuMemFreeAsync(CUdeviceptr at, CUstream handle) {
    ENTER(CONTEXT);
    STREAM(on, handle);
    if (result r = refuse_captured(*on)) return r;
    if (!at) return CUDA_SUCCESS;
    auto found = all().allocations.find(at);
    REQUIRE(found != all().allocations.end() && !found->second.freed, CUDA_ERROR_INVALID_VALUE);
    found->second.freed = true;
    found->second.freed_in = on;
    work w{work::RELEASE};
    w.address = at;
    w.turn = ++found->second.turn;
    return enqueue(*on, std::move(w));
}

OUT result cuMemHostAlloc(void** into, size_t bytes, unsigned) {
    ENTER(CONTEXT);
    if (result r = forbidden_in_capture()) return r;
    REQUIRE(into && bytes, CUDA_ERROR_INVALID_VALUE);
    void* memory = mmap(nullptr, whole_pages(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED, CUDA_ERROR_OUT_OF_MEMORY);
    memset(memory, RUBBISH, bytes);
    all().host[(uintptr_t)memory] = bytes;
    all().counters.live_host_allocations++;
    *into = memory;
    return CUDA_SUCCESS;
}

OUT result cuMemAllocHost_v2(void** into, size_t bytes) { return cuMemHostAlloc(into, bytes, 0); }

// Waits for all that was enqueued.
OUT result cuMemFreeHost(void* at) {
    ENTER(CONTEXT);
    if (result r = forbidden_in_capture()) return r;
    auto found = all().host.find((uintptr_t)at);
    REQUIRE(found != all().host.end(), CUDA_ERROR_INVALID_VALUE);
    result outcome = drain_device(*current);
    munmap(at, whole_pages(found->second));
    all().host.erase(found);
    all().counters.live_host_allocations--;
    return outcome;
}

OUT result cuMemHostGetDevicePointer_v2(CUdeviceptr* into, void* at, unsigned) {
    ENTER(CONTEXT);
    REQUIRE(is_pinned(at, 1), CUDA_ERROR_INVALID_VALUE);
    *into = (CUdeviceptr)at;
    return CUDA_SUCCESS;
}

OUT result cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t bytes, CUstream on) {
    ENTER(CONTEXT);
    return start_copy({copy::TO_DEVICE, (void*)to, from, bytes, nullptr}, on);
}
OUT result cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t bytes, CUstream on) {
    ENTER(CONTEXT);
    return start_copy({copy::TO_HOST, to, (void*)from, bytes, nullptr}, on);
}
OUT result cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream on) {
    ENTER(CONTEXT);
    return start_copy({copy::ON_DEVICE, (void*)to, (void*)from, bytes, nullptr}, on);
}
OUT result cuMemcpyHtoD_v2(CUdeviceptr to, const void* from, size_t bytes) {
    ENTER(CONTEXT);
    return copy_now({copy::TO_DEVICE, (void*)to, from, bytes, nullptr});
}
OUT result cuMemcpyDtoH_v2(void* to, CUdeviceptr from, size_t bytes) {
    ENTER(CONTEXT);
    return copy_now({copy::TO_HOST, to, (void*)from, bytes, nullptr});
}
// Does not wait.
OUT result cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
    ENTER(CONTEXT);
    if (result r = forbidden_in_capture()) return r;
    return start_copy({copy::ON_DEVICE, (void*)to, (void*)from, bytes, nullptr}, nullptr);
}

OUT result cuMemsetD8Async(CUdeviceptr at, unsigned char value, size_t count, CUstream on) {
    ENTER(CONTEXT);
    return start_fill({at, value, 1, count}, on);
}
OUT result cuMemsetD16Async(CUdeviceptr at, unsigned short value, size_t count, CUstream on) {
    ENTER(CONTEXT);
    return start_fill({at, value, 2, count}, on);
}
OUT result cuMemsetD32Async(CUdeviceptr at, unsigned value, size_t count, CUstream on) {
    ENTER(CONTEXT);
    return start_fill({at, value, 4, count}, on);
}
OUT result cuMemsetD8_v2(CUdeviceptr at, unsigned char value, size_t count) {
    ENTER(CONTEXT);
    if (result r = forbidden_in_capture()) return r;
    return start_fill({at, value, 1, count}, nullptr);
}
OUT result cuMemsetD32_v2(CUdeviceptr at, unsigned value, size_t count) {
    ENTER(CONTEXT);
    if (result r = forbidden_in_capture()) return r;
    return start_fill({at, value, 4, count}, nullptr);
}

OUT result cuMemPoolTrimTo(CUmemoryPool pool, size_t keep) {
    ENTER(INITIALIZED);
    uint64_t least = pool->used > keep ? pool->used : keep;
    if (pool->held > least) pool->held = least;
    unmap_idle(*pool);
    return CUDA_SUCCESS;
}

static uint64_t* pool_number(device_state& d, int attribute) {
    uint64_t* numbers[] = {&d.threshold, &d.held, &d.held_high, &d.used, &d.used_high};
    return attribute >= 4 && attribute <= 8 ? numbers[attribute - 4] : nullptr;
}

OUT result cuMemPoolGetAttribute(CUmemoryPool pool, int attribute, void* value) {
    ENTER(INITIALIZED);
    if (attribute >= 1 && attribute <= 3) return *(int*)value = 1, CUDA_SUCCESS;
    uint64_t* number = pool_number(*pool, attribute);
    REQUIRE(number, CUDA_ERROR_INVALID_VALUE);
    *(uint64_t*)value = *number;
    return CUDA_SUCCESS;
}

OUT result cuMemPoolSetAttribute(CUmemoryPool pool, int attribute, void* value) {
    ENTER(INITIALIZED);
    if (attribute >= 1 && attribute <= 3) return CUDA_SUCCESS;
    REQUIRE(attribute == 4 || ((attribute == 6 || attribute == 8) && !*(uint64_t*)value), CUDA_ERROR_INVALID_VALUE);
    if (attribute == 4) pool->threshold = *(uint64_t*)value;
    if (attribute == 6) pool->held_high = pool->held;
    if (attribute == 8) pool->used_high = pool->used;
    return CUDA_SUCCESS;
}

}  // extern "C"
