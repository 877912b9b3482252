// Devices, contexts and the names of errors.
#include "driver.h"
#include <stdio.h>
#include <string.h>
#include <utility>

static const char* NAME = "Tracewright Emulator";

static const std::pair<int, const char*> ERRORS[] = {
#define ERROR(name, number) {number, #name}
    ERROR(CUDA_SUCCESS, 0), ERROR(CUDA_ERROR_INVALID_VALUE, 1), ERROR(CUDA_ERROR_OUT_OF_MEMORY, 2), ERROR(CUDA_ERROR_NOT_INITIALIZED, 3),
    ERROR(CUDA_ERROR_DEINITIALIZED, 4), ERROR(CUDA_ERROR_STUB_LIBRARY, 34), ERROR(CUDA_ERROR_DEVICE_UNAVAILABLE, 46),
    ERROR(CUDA_ERROR_NO_DEVICE, 100), ERROR(CUDA_ERROR_INVALID_DEVICE, 101), ERROR(CUDA_ERROR_INVALID_IMAGE, 200),
    ERROR(CUDA_ERROR_INVALID_CONTEXT, 201), ERROR(CUDA_ERROR_NO_BINARY_FOR_GPU, 209), ERROR(CUDA_ERROR_ECC_UNCORRECTABLE, 214),
    ERROR(CUDA_ERROR_INVALID_PTX, 218), ERROR(CUDA_ERROR_OPERATING_SYSTEM, 304), ERROR(CUDA_ERROR_INVALID_HANDLE, 400),
    ERROR(CUDA_ERROR_ILLEGAL_STATE, 401), ERROR(CUDA_ERROR_NOT_FOUND, 500), ERROR(CUDA_ERROR_NOT_READY, 600),
    ERROR(CUDA_ERROR_ILLEGAL_ADDRESS, 700), ERROR(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, 701), ERROR(CUDA_ERROR_LAUNCH_TIMEOUT, 702),
    ERROR(CUDA_ERROR_CONTEXT_IS_DESTROYED, 709), ERROR(CUDA_ERROR_ASSERT, 710), ERROR(CUDA_ERROR_HARDWARE_STACK_ERROR, 714),
    ERROR(CUDA_ERROR_ILLEGAL_INSTRUCTION, 715), ERROR(CUDA_ERROR_MISALIGNED_ADDRESS, 716), ERROR(CUDA_ERROR_LAUNCH_FAILED, 719),
    ERROR(CUDA_ERROR_NOT_PERMITTED, 800), ERROR(CUDA_ERROR_NOT_SUPPORTED, 801), ERROR(CUDA_ERROR_SYSTEM_NOT_READY, 802),
    ERROR(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, 803), ERROR(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, 900),
    ERROR(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, 901), ERROR(CUDA_ERROR_STREAM_CAPTURE_MERGE, 902),
    ERROR(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, 903), ERROR(CUDA_ERROR_STREAM_CAPTURE_UNJOINED, 904),
    ERROR(CUDA_ERROR_STREAM_CAPTURE_ISOLATION, 905), ERROR(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, 906), ERROR(CUDA_ERROR_CAPTURED_EVENT, 907),
    ERROR(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD, 908), ERROR(CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE, 910), ERROR(CUDA_ERROR_UNKNOWN, 999),
#undef ERROR
};

static device_state* device(int number) {
    return number >= 0 && (size_t)number < all().devices.size() ? all().devices[number].get() : nullptr;
}

static int attribute(int which) {
    switch (which) {
        case 1: case 2: case 3: return 1024;  // threads of a block, and along x and y
        case 4: return 64;                    // and along z
        case 5: return 0x7fffffff;            // blocks along x
        case 6: case 7: return 65535;         // and along y and z
        case 8: return 49152;                 // shared bytes of a block
        case 9: return 65536;                 // constant bytes
        case 10: return 32;                   // threads of a warp
        case 12: case 82: return 65536;       // registers of a block, of a multiprocessor
        case 13: return 1755000;              // clock in kHz
        case 16: return all().multiprocessors;
        case 19: case 31: case 41: case 78: case 115: return 1;  // mapped host memory, concurrent kernels, one address space, priorities, pools
        case 36: return 2619000;              // clock of the memory in kHz
        case 37: return 5120;                 // bits of its bus
        case 38: return 50 << 20;             // bytes of the L2 cache
        case 39: return 2048;                 // threads of a multiprocessor
        case 40: return 3;                    // copy engines
        case 75: return 9;                    // compute capability
        case 76: return 0;
        case 81: return 233472;               // shared bytes of a multiprocessor
        case 97: return 232448;               // shared bytes of a block that asks for more
        case 106: return 32;                  // blocks of a multiprocessor
        default: return 0;
    }
}

extern "C" {

OUT result cuInit(unsigned) {
    ENTER(NOTHING);
    driver& d = all();
    if (!d.device_count) return CUDA_ERROR_NO_DEVICE;
    while ((int)d.devices.size() < d.device_count) {
        d.devices.push_back(std::make_unique<device_state>());
        d.devices.back()->number = (int)d.devices.size() - 1;
    }
    d.initialized = true;
    return CUDA_SUCCESS;
}

OUT result cuDriverGetVersion(int* into) {
    ENTER(NOTHING);
    *into = 13000;
    return CUDA_SUCCESS;
}

OUT result cuGetErrorName(int code, const char** into) {
    *into = nullptr;
    for (auto& [number, name] : ERRORS)
        if (number == code) *into = name;
    return *into ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

OUT result cuGetErrorString(int code, const char** into) {
    if (result r = cuGetErrorName(code, into)) return r;
    if (code == CUDA_ERROR_OUT_OF_MEMORY) *into = "out of memory";
    if (code == CUDA_ERROR_ILLEGAL_ADDRESS) *into = "an illegal memory access was encountered";
    if (code == CUDA_ERROR_LAUNCH_FAILED) *into = "unspecified launch failure";
    return CUDA_SUCCESS;
}

OUT result cuDeviceGetCount(int* into) {
    ENTER(INITIALIZED);
    *into = all().device_count;
    return CUDA_SUCCESS;
}

OUT result cuDeviceGet(CUdevice* into, int number) {
    ENTER(INITIALIZED);
    REQUIRE(number < all().device_count && device(number), CUDA_ERROR_INVALID_DEVICE);
    *into = number;
    return CUDA_SUCCESS;
}

OUT result cuDeviceGetName(char* into, int length, CUdevice number) {
    ENTER(INITIALIZED);
    REQUIRE(device(number), CUDA_ERROR_INVALID_DEVICE);
    snprintf(into, length, "%s", NAME);
    return CUDA_SUCCESS;
}

OUT result cuDeviceGetUuid_v2(char* into, CUdevice number) {
    ENTER(INITIALIZED);
    REQUIRE(device(number), CUDA_ERROR_INVALID_DEVICE);
    memset(into, 0xe0 + number, 16);
    return CUDA_SUCCESS;
}

OUT result cuDeviceGetUuid(char* into, CUdevice number) { return cuDeviceGetUuid_v2(into, number); }

OUT result cuDeviceTotalMem_v2(size_t* into, CUdevice number) {
    ENTER(INITIALIZED);
    REQUIRE(device(number), CUDA_ERROR_INVALID_DEVICE);
    *into = all().memory;
    return CUDA_SUCCESS;
}

OUT result cuDeviceGetAttribute(int* into, int which, CUdevice number) {
    ENTER(INITIALIZED);
    REQUIRE(device(number), CUDA_ERROR_INVALID_DEVICE);
    *into = attribute(which);
    return CUDA_SUCCESS;
}

OUT result cuDeviceGetDefaultMemPool(CUmemoryPool* into, CUdevice number) {
    ENTER(INITIALIZED);
    REQUIRE(device(number), CUDA_ERROR_INVALID_DEVICE);
    *into = device(number);
    return CUDA_SUCCESS;
}

OUT result cuDeviceGetMemPool(CUmemoryPool* into, CUdevice number) { return cuDeviceGetDefaultMemPool(into, number); }

OUT result cuDeviceCanAccessPeer(int* into, CUdevice, CUdevice) {
    ENTER(INITIALIZED);
    *into = 0;
    return CUDA_SUCCESS;
}

OUT result cuDevicePrimaryCtxRetain(CUcontext* into, CUdevice number) {
    ENTER(INITIALIZED);
    device_state* d = device(number);
    REQUIRE(d, CUDA_ERROR_INVALID_DEVICE);
    d->retained++;
    *into = d;
    return CUDA_SUCCESS;
}

// A device whose context goes away is as new, even if it was broken.
OUT result cuDevicePrimaryCtxReset_v2(CUdevice number) {
    ENTER(INITIALIZED);
    device_state* d = device(number);
    REQUIRE(d, CUDA_ERROR_INVALID_DEVICE);
    drain_device(*d);
    free_everything(*d);
    unload_everything(*d);
    for (stream* s : all().streams)
        if (s->device == d && s != d->legacy) s->alive = false;
    d->broken = CUDA_SUCCESS;
    d->held = d->threshold = 0;
    return CUDA_SUCCESS;
}

OUT result cuDevicePrimaryCtxRelease_v2(CUdevice number) {
    ENTER(INITIALIZED);
    device_state* d = device(number);
    REQUIRE(d, CUDA_ERROR_INVALID_DEVICE);
    REQUIRE(d->retained, CUDA_ERROR_INVALID_CONTEXT);
    return --d->retained ? CUDA_SUCCESS : cuDevicePrimaryCtxReset_v2(number);
}

OUT result cuDevicePrimaryCtxSetFlags_v2(CUdevice number, unsigned flags) {
    ENTER(INITIALIZED);
    REQUIRE(device(number), CUDA_ERROR_INVALID_DEVICE);
    device(number)->flags = flags;
    return CUDA_SUCCESS;
}

OUT result cuDevicePrimaryCtxGetState(CUdevice number, unsigned* flags, int* active) {
    ENTER(INITIALIZED);
    REQUIRE(device(number), CUDA_ERROR_INVALID_DEVICE);
    *flags = device(number)->flags;
    *active = device(number)->retained > 0;
    return CUDA_SUCCESS;
}

OUT result cuCtxSetCurrent(CUcontext to) {
    ENTER(INITIALIZED);
    REQUIRE(!to || to->retained, CUDA_ERROR_INVALID_CONTEXT);
    current = to;
    return CUDA_SUCCESS;
}

OUT result cuCtxGetCurrent(CUcontext* into) {
    ENTER(INITIALIZED);
    *into = current;
    return CUDA_SUCCESS;
}

OUT result cuCtxGetDevice(CUdevice* into) {
    ENTER(INITIALIZED);
    REQUIRE(current, CUDA_ERROR_INVALID_CONTEXT);
    *into = current->number;
    return CUDA_SUCCESS;
}

OUT result cuCtxGetStreamPriorityRange(int* least, int* greatest) {
    ENTER(CONTEXT);
    if (least) *least = 0;
    if (greatest) *greatest = -5;
    return CUDA_SUCCESS;
}

}  // extern "C"
