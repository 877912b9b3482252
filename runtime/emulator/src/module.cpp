// Programs and launches. An image is a shared object of the processor with a mark behind it (see nvrtc.cpp).
#include "driver.h"
#include "image.h"
#include <dlfcn.h>
#include <elf.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static uint64_t shared_bytes(const function& f) { return f.module->image->shared_to - f.module->image->shared_from; }

result run_kernel(const call_of_kernel& call) {
    driver& d = all();
    if (result planned = planned_failure("kernel")) return planned;
    std::vector<char> bytes = call.bytes;
    std::vector<void*> arguments;
    for (size_t offset : call.offsets) arguments.push_back(&bytes[offset]);
    d.counters.kernels++;
    shim::launch_config how = {call.grid, call.threads, d.schedule, d.seed + (unsigned)d.counters.kernels};
    const char* wrong = shim::run(*call.function->module->image, *call.function->entry, arguments.data(), how);
    check_zones(call);
    if (!wrong) return CUDA_SUCCESS;
    fprintf(stderr, "CUDA emulator: %s\n", wrong);
    if (strstr(wrong, "misaligned address")) return CUDA_ERROR_MISALIGNED_ADDRESS;
    return strstr(wrong, "illegal address") ? CUDA_ERROR_ILLEGAL_ADDRESS : CUDA_ERROR_LAUNCH_FAILED;
}

result fill_call(call_of_kernel& call, CUfunction f, shim::dim grid, shim::dim threads, unsigned shared, void** parameters) {
    REQUIRE(all().functions.count(f), CUDA_ERROR_INVALID_HANDLE);
    uint64_t count = (uint64_t)threads.x * threads.y * threads.z;
    REQUIRE(grid.x && grid.y && grid.z && grid.x <= 0x7fffffff && grid.y <= 65535 && grid.z <= 65535, CUDA_ERROR_INVALID_VALUE);
    REQUIRE(count && threads.z <= 64 && count <= f->entry->max_threads, CUDA_ERROR_INVALID_VALUE);
    REQUIRE(!shared, CUDA_ERROR_NOT_SUPPORTED);
    REQUIRE(parameters || !f->entry->parameters, CUDA_ERROR_INVALID_VALUE);
    call.function = f;
    call.grid = grid;
    call.threads = threads;
    call.shared = shared;
    for (unsigned i = 0; i < f->entry->parameters; i++) {
        size_t at = (call.bytes.size() + 15) / 16 * 16, size = f->entry->sizes[i];
        call.bytes.resize(at + size);
        call.offsets.push_back(at);
        memcpy(&call.bytes[at], parameters[i], size);
    }
    return CUDA_SUCCESS;
}

// Loads a library from memory. Its file has a name that no other has had: whoever is asked for a known name gives what it has.
static void* load(const char* bytes, size_t size) {
    Dl_info own;
    if (!dladdr((void*)&run_kernel, &own)) die("the library does not know where it is");
    // Programs are not linked with the library of mathematics, but find it here.
    static void* mathematics = dlopen("libm.so.6", RTLD_NOW | RTLD_GLOBAL);
    if (!mathematics) die("%s", dlerror());
    static unsigned number;
    std::string path = own.dli_fname;
    path = path.substr(0, path.rfind('/')) + "/module_" + std::to_string(getpid()) + "_" + std::to_string(number++);
    FILE* file = fopen(path.c_str(), "wb");
    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file)) die("%s cannot be written", path.c_str());
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    unlink(path.c_str());
    return library;
}

static void unload(module_state* what) {
    for (auto& [name, f] : what->functions) all().functions.erase(f.get());
    all().modules.erase(what);
    dlclose(what->library);
    delete what;
}

void unload_everything(device_state& device) {
    std::vector<module_state*> modules(all().modules.begin(), all().modules.end());
    for (module_state* m : modules)
        if (m->device == &device) unload(m);
}

extern "C" {

OUT result cuModuleLoadData(CUmodule* into, const void* image) {
    ENTER(CONTEXT);
    if (result r = forbidden_in_capture()) return r;
    REQUIRE(into && image, CUDA_ERROR_INVALID_VALUE);
    const char* bytes = (const char*)image;
    REQUIRE(!memcmp(bytes, ELFMAG, SELFMAG), CUDA_ERROR_INVALID_IMAGE);
    Elf64_Ehdr head;
    memcpy(&head, bytes, sizeof head);
    REQUIRE(head.e_shentsize == sizeof(Elf64_Shdr) && head.e_shoff < 1 << 30, CUDA_ERROR_INVALID_IMAGE);
    size_t size = image_bytes(head);
    image_mark mark;
    memcpy(&mark, bytes + size, sizeof mark);
    REQUIRE(!memcmp(mark.magic, IMAGE_MAGIC, sizeof mark.magic), CUDA_ERROR_NO_BINARY_FOR_GPU);
    REQUIRE(mark.sum == image_sum(bytes, size), CUDA_ERROR_INVALID_IMAGE);
    void* library = load(bytes, size);
    if (!library) {
        fprintf(stderr, "CUDA emulator: %s\n", dlerror());
        return CUDA_ERROR_INVALID_IMAGE;
    }
    module_state* m = new module_state{current, library, (const shim::image*)dlsym(library, "tw_image")};
    all().modules.insert(m);
    all().counters.modules++;
    *into = m;
    return CUDA_SUCCESS;
}

OUT result cuModuleLoadDataEx(CUmodule* into, const void* image, unsigned, void*, void**) { return cuModuleLoadData(into, image); }

// Waits for all that was enqueued.
OUT result cuModuleUnload(CUmodule what) {
    ENTER(CONTEXT);
    REQUIRE(all().modules.count(what), CUDA_ERROR_INVALID_HANDLE);
    result outcome = drain_device(*what->device);
    unload(what);
    return outcome;
}

OUT result cuModuleGetFunction(CUfunction* into, CUmodule what, const char* name) {
    ENTER(CONTEXT);
    REQUIRE(all().modules.count(what), CUDA_ERROR_INVALID_HANDLE);
    auto& known = what->functions[name];
    if (!known) {
        auto entry = (const shim::entry*)dlsym(what->library, (std::string("tw_entry_") + name).c_str());
        if (!entry) {
            what->functions.erase(name);
            return CUDA_ERROR_NOT_FOUND;
        }
        known = std::make_unique<function>(function{what, entry});
        all().functions.insert(known.get());
    }
    *into = known.get();
    return CUDA_SUCCESS;
}

OUT result cuFuncGetName(const char** into, CUfunction f) {
    ENTER(CONTEXT);
    REQUIRE(all().functions.count(f), CUDA_ERROR_INVALID_HANDLE);
    *into = f->entry->name;
    return CUDA_SUCCESS;
}

OUT result cuFuncGetAttribute(int* into, int attribute, CUfunction f) {
    ENTER(CONTEXT);
    REQUIRE(all().functions.count(f), CUDA_ERROR_INVALID_HANDLE);
    int known[] = {(int)f->entry->max_threads, (int)shared_bytes(*f), 0, 0, 32, 90, 90, 0, 49152 - (int)shared_bytes(*f), -1};
    REQUIRE(attribute >= 0 && attribute < 10, CUDA_ERROR_INVALID_VALUE);
    *into = known[attribute];
    return CUDA_SUCCESS;
}

OUT result cuFuncSetAttribute(CUfunction f, int attribute, int) {
    ENTER(CONTEXT);
    REQUIRE(all().functions.count(f), CUDA_ERROR_INVALID_HANDLE);
    return attribute == 8 || attribute == 9 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

OUT result cuOccupancyMaxActiveBlocksPerMultiprocessor(int* into, CUfunction f, int threads, size_t dynamic) {
    ENTER(CONTEXT);
    REQUIRE(all().functions.count(f), CUDA_ERROR_INVALID_HANDLE);
    REQUIRE(threads > 0, CUDA_ERROR_INVALID_VALUE);
    uint64_t whole = (threads + 31) / 32 * 32, by_threads = 2048 / whole, by_shared = 233472 / (shared_bytes(*f) + dynamic + 1024);
    uint64_t least = by_threads < by_shared ? by_threads : by_shared;
    *into = threads > (int)f->entry->max_threads ? 0 : (int)(least < 32 ? least : 32);
    return CUDA_SUCCESS;
}

OUT result cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* into, CUfunction f, int threads, size_t dynamic, unsigned) {
    return cuOccupancyMaxActiveBlocksPerMultiprocessor(into, f, threads, dynamic);
}

OUT result cuLaunchKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, CUstream handle,
                          void** parameters, void** extra) {
    ENTER(CONTEXT);
    STREAM(s, handle);
    REQUIRE(!extra, CUDA_ERROR_NOT_SUPPORTED);
    work w{work::KERNEL};
    if (result r = fill_call(w.call, f, {gx, gy, gz}, {bx, by, bz}, shared, parameters)) return r;
    REQUIRE(f->module->device == s->device, CUDA_ERROR_INVALID_HANDLE);
    all().counters.launches++;
    return enqueue(*s, std::move(w));
}

}  // extern "C"
