// The state of the driver. One lock guards all of it; whatever runs, runs while it is held.
#pragma once
#include "controls.h"
#include "cuda.h"
#include "threads.h"
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

typedef CUresult result;
#define OUT __attribute__((visibility("default")))

struct allocation {
    uint64_t bytes, reserved;
    struct device_state* device;
    bool pooled, freed;
    // The stream in whose order it is freed, and how often it was freed or handed out again.
    struct stream* freed_in;
    uint64_t turn;
};

// Memory that a pool holds for whoever asks for as much.
struct idle_memory {
    uintptr_t address;
    uint64_t bytes, reserved;
    struct device_state* device;
};

struct device_state {
    int number;
    int retained = 0;
    unsigned flags = 0;
    result broken = CUDA_SUCCESS;
    uint64_t plain = 0, used = 0, held = 0, threshold = 0, used_high = 0, held_high = 0;
    struct stream* legacy = nullptr;
};

// A place in a stream.
struct mark {
    struct stream* stream;
    bool done = false;
    result outcome = CUDA_SUCCESS;
    double time = 0;
};

struct call_of_kernel {
    struct function* function = nullptr;
    shim::dim grid, threads;
    unsigned shared = 0;
    std::vector<char> bytes;
    std::vector<size_t> offsets;
};

struct copy {
    enum direction { TO_DEVICE, TO_HOST, ON_DEVICE } where;
    void* to;
    const void* from;
    size_t bytes;
    // What pageable memory held when the copy was asked for.
    std::shared_ptr<std::vector<char>> staged;
};

struct fill {
    CUdeviceptr at;
    uint32_t value;
    unsigned width;
    size_t count;
};

struct work {
    enum sort { KERNEL = NODE_KERNEL, COPY = NODE_COPY, SET = NODE_SET, HOST = NODE_HOST, EMPTY = NODE_EMPTY, WAIT, RECORD, RELEASE, GRAPH } what;
    call_of_kernel call;
    struct copy copy;
    struct fill fill;
    CUhostFn host = nullptr;
    void* argument = nullptr;
    std::shared_ptr<mark> place;
    uintptr_t address = 0;
    uint64_t turn = 0;
    std::vector<work> nodes;
};

struct stream {
    device_state* device;
    unsigned flags = 0;
    int priority = 0;
    bool alive = true;
    std::deque<work> queue;
    struct capture* capturing = nullptr;
    // The nodes that what is captured next comes after.
    std::vector<struct graph_node*> after;
};

struct event {
    device_state* device;
    unsigned flags;
    std::shared_ptr<mark> last;
    struct capture* captured = nullptr;
    std::vector<struct graph_node*> at;
};

struct graph_node {
    work what;
    std::vector<graph_node*> after;
    size_t number;
};

struct graph {
    std::vector<std::unique_ptr<graph_node>> nodes;
};

struct capture {
    uint64_t id;
    struct stream* origin;
    std::set<struct stream*> streams;
    int mode;
    std::thread::id thread;
    bool invalid = false;
    std::unique_ptr<struct graph> graph;
};

struct executable {
    std::vector<work> nodes;
    std::vector<std::vector<size_t>> after;
    // The nodes of the graph that it was made from.
    std::vector<graph_node*> origins;
    std::shared_ptr<mark> last;
};

struct function {
    struct module_state* module;
    const shim::entry* entry;
};

struct module_state {
    device_state* device;
    void* library;
    const shim::image* image;
    std::map<std::string, std::unique_ptr<function>> functions;
};

struct failure {
    std::string function;
    unsigned left;
    result code;
    bool sticky;
};

struct driver {
    std::recursive_mutex lock;
    bool initialized = false;
    int device_count = 1, multiprocessors = 2;
    uint64_t memory = 1ull << 30;
    shim::order schedule = shim::FIRST_IN;
    unsigned seed = 0, pace_seed = 1;
    ::pace pace = LAZY;
    bool reuse = true;
    emulator_counters counters = {};
    std::vector<failure> failures;
    std::vector<std::unique_ptr<device_state>> devices;
    std::map<uintptr_t, allocation> allocations;
    std::vector<idle_memory> idle;
    std::map<uintptr_t, uint64_t> host;
    std::set<stream*> streams;
    std::set<event*> events;
    std::set<module_state*> modules;
    std::set<function*> functions;
    std::set<graph*> graphs;
    std::set<graph_node*> nodes;
    std::set<executable*> executables;
    std::set<capture*> captures;
};

driver& all();
extern thread_local device_state* current;

// What a call needs: nothing, that the driver is initialized, a context that is not broken.
enum need { NOTHING, INITIALIZED, CONTEXT };

// Holds the lock for a call; `refused` is what the call returns instead of doing anything.
struct guard {
    std::unique_lock<std::recursive_mutex> held;
    result refused;
    guard(const char* function, need what);
};
#define ENTER(what) \
    guard guarded(__func__, what); \
    if (guarded.refused) return guarded.refused
#define REQUIRE(condition, error) \
    if (!(condition)) return error
// The stream of that handle, by that name.
#define STREAM(name, handle) \
    stream* name;            \
    if (result unknown = find_stream(handle, name)) return unknown

result planned_failure(const char* function);
[[noreturn]] void die(const char* format, ...) __attribute__((format(printf, 1, 2)));

// memory.cpp
result release(uintptr_t address, uint64_t turn);
void give_back_unused(device_state& device);
result run_copy(const copy& what);
result run_fill(const fill& what);
result check_range(CUdeviceptr at, uint64_t bytes);
void check_zones(const call_of_kernel& call);
void free_everything(device_state& device);
bool is_pinned(const void* at, size_t bytes);

// stream.cpp
result find_stream(CUstream handle, stream*& found);
result refuse_captured(stream& on);
result enqueue(stream& on, work&& what);
result drain(stream& what, const mark* until = nullptr);
result drain_device(device_state& device);
void drain_for_nothing();
result run_one(stream& what);
std::shared_ptr<mark> mark_end(stream& what);
result forbidden_in_capture();

// capture.cpp
result record_node(stream& on, work&& what);
void invalidate(capture& what);

// module.cpp
result run_kernel(const call_of_kernel& call);
void unload_everything(device_state& device);
result fill_call(call_of_kernel& call, CUfunction function, shim::dim grid, shim::dim threads, unsigned shared, void** parameters);
