// What turns the text of CUDA kernels into C++ for the processor. Every thread of a block is a fiber (threads.cpp) that runs
// until it has to wait, one after the other in an order that the caller chooses: what threads must not rely on, the order
// shows. Declares the functions of C itself, since reading their headers takes longer than compiling a kernel.
#pragma once
#include "threads.h"

typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long uint64_t;
typedef signed char int8_t;
typedef short int16_t;
typedef int int32_t;
typedef long int64_t;
typedef unsigned long size_t;

extern "C" {
void* memcpy(void*, const void*, size_t) noexcept;
void* memset(void*, int, size_t) noexcept;
#define SHIM_UNARY(name) double name(double) noexcept; float name##f(float) noexcept;
#define SHIM_BINARY(name) double name(double, double) noexcept; float name##f(float, float) noexcept;
SHIM_UNARY(sqrt) SHIM_UNARY(cbrt) SHIM_UNARY(fabs) SHIM_UNARY(floor) SHIM_UNARY(ceil) SHIM_UNARY(trunc) SHIM_UNARY(rint)
SHIM_UNARY(round) SHIM_UNARY(nearbyint) SHIM_UNARY(exp) SHIM_UNARY(exp2) SHIM_UNARY(expm1) SHIM_UNARY(log) SHIM_UNARY(log2)
SHIM_UNARY(log10) SHIM_UNARY(log1p) SHIM_UNARY(sin) SHIM_UNARY(cos) SHIM_UNARY(tan) SHIM_UNARY(asin) SHIM_UNARY(acos)
SHIM_UNARY(atan) SHIM_UNARY(sinh) SHIM_UNARY(cosh) SHIM_UNARY(tanh) SHIM_UNARY(asinh) SHIM_UNARY(acosh) SHIM_UNARY(atanh)
SHIM_UNARY(erf) SHIM_UNARY(erfc) SHIM_UNARY(lgamma) SHIM_UNARY(tgamma)
SHIM_BINARY(pow) SHIM_BINARY(fmod) SHIM_BINARY(atan2) SHIM_BINARY(hypot) SHIM_BINARY(copysign) SHIM_BINARY(nextafter)
SHIM_BINARY(fmin) SHIM_BINARY(fmax) SHIM_BINARY(remainder)
double fma(double, double, double) noexcept;
float fmaf(float, float, float) noexcept;
double ldexp(double, int) noexcept;
float ldexpf(float, int) noexcept;
double frexp(double, int*) noexcept;
float frexpf(float, int*) noexcept;
int abs(int) noexcept;
}
#define NAN __builtin_nanf("")
#define INFINITY __builtin_inff()
#define isnan(x) __builtin_isnan(x)
#define isinf(x) __builtin_isinf(x)
#define isfinite(x) __builtin_isfinite(x)
#define signbit(x) __builtin_signbit(x)

#define TW_HOST
#define TW_DEVICE static inline
#define TW_KERNEL static
// In one section, so that it can be filled with rubbish before each block.
#define TW_SHARED static __attribute__((section("tw_shared")))
#define __launch_bounds__(...)
#define __restrict__ __restrict

extern "C" __attribute__((visibility("hidden"))) shim::block* shim_now;
extern "C" __attribute__((weak, visibility("hidden"))) char __start_tw_shared[], __stop_tw_shared[];

namespace shim {

template <class T> static T exchange(T x, int from_lane, int line) {
    static_assert(sizeof(T) <= 8, "values of at most 8 bytes go from thread to thread");
    block& now = *shim_now;
    int own = now.running;
    unsigned long long* sent = now.sent[now.parity[own] ^= 1];
    memcpy(&sent[own], &x, sizeof(T));
    now.wait(AT_WARP, line);
    memcpy(&x, &sent[own / WARP * WARP + from_lane], sizeof(T));
    return x;
}

static inline int lane() { return shim_now->running % WARP; }
// The lane that a shuffle reads: the own one where there is none.
static inline int lane_or_own(int other) { return other >= 0 && other < WARP ? other : lane(); }

static inline unsigned ballot(bool x, int line) {
    unsigned all = 0;
    block& now = *shim_now;
    unsigned long long* sent = now.sent[now.parity[now.running] ^= 1];
    sent[now.running] = x;
    now.wait(AT_WARP, line);
    for (int l = 0; l < WARP; l++) all |= (unsigned)sent[now.running / WARP * WARP + l] << l;
    return all;
}

}  // namespace shim

#define threadIdx (shim_now->thread)
#define blockIdx (shim_now->index)
#define blockDim (shim_now->threads)
#define gridDim (shim_now->grid)
#define __syncwarp(...) shim_now->wait(shim::AT_WARP, __LINE__)
#define __syncthreads() shim_now->wait(shim::AT_BLOCK, __LINE__)
#define __threadfence()
#define __threadfence_block()
#define __shfl_sync(mask, value, from) shim::exchange(value, (from) % 32, __LINE__)
#define __shfl_down_sync(mask, value, by) shim::exchange(value, shim::lane_or_own(shim::lane() + (by)), __LINE__)
#define __shfl_up_sync(mask, value, by) shim::exchange(value, shim::lane_or_own(shim::lane() - (by)), __LINE__)
#define __shfl_xor_sync(mask, value, by) shim::exchange(value, shim::lane_or_own(shim::lane() ^ (by)), __LINE__)
#define __ballot_sync(mask, x) shim::ballot(x, __LINE__)
#define __any_sync(mask, x) (shim::ballot(x, __LINE__) != 0)
#define __all_sync(mask, x) (shim::ballot(x, __LINE__) == 0xffffffffu)

// A fiber is interrupted nowhere else than where it waits.
template <class T> TW_DEVICE T atomicCAS(T* at, T expected, T value) {
    T old = *at;
    if (old == expected) *at = value;
    return old;
}
template <class T> TW_DEVICE T atomicExch(T* at, T value) {
    T old = *at;
    *at = value;
    return old;
}
template <class T> TW_DEVICE T atomicAdd(T* at, T value) { return atomicExch(at, (T)(*at + value)); }
template <class T> TW_DEVICE T atomicMax(T* at, T value) { return atomicExch(at, *at < value ? value : *at); }
template <class T> TW_DEVICE T atomicMin(T* at, T value) { return atomicExch(at, value < *at ? value : *at); }
template <class T> TW_DEVICE T atomicOr(T* at, T value) { return atomicExch(at, (T)(*at | value)); }
template <class T> TW_DEVICE T atomicAnd(T* at, T value) { return atomicExch(at, (T)(*at & value)); }

TW_DEVICE int __popc(unsigned x) { return __builtin_popcount(x); }
TW_DEVICE int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
TW_DEVICE int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
TW_DEVICE int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
TW_DEVICE int __ffs(int x) { return __builtin_ffs(x); }
TW_DEVICE unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((unsigned long long)a * b >> 32); }

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
template <class F, F K> struct launched;
template <class... A, void (*K)(A...)> struct launched<void (*)(A...), K> {
    static constexpr unsigned count = sizeof...(A);
    static constexpr unsigned sizes[] = {sizeof(A)..., 0};
    template <int... I> static void with(void** arguments, numbers<I...>) { K(*(A*)arguments[I]...); }
    static void call(void** arguments) { with(arguments, typename up_to<sizeof...(A)>::type()); }
};
}  // namespace shim

// Makes the kernel `space::name` known under its name, for blocks of so many threads at most.
#define TW_ENTRY(name, space, max_threads) \
    namespace { typedef shim::launched<decltype(&space::name), &space::name> tw_launched_##name; } \
    extern "C" const shim::entry tw_entry_##name; \
    const shim::entry tw_entry_##name = {#name, tw_launched_##name::count, tw_launched_##name::sizes, max_threads, tw_launched_##name::call};

// A program is one translation unit.
extern "C" { shim::block* shim_now; extern const shim::image tw_image; }
const shim::image tw_image = {&shim_now, __start_tw_shared, __stop_tw_shared};

// Makes the kernel known, for blocks of 128 threads, and a function that launches it, for who does without a driver.
#define TW_LAUNCHER(name, space) \
    TW_ENTRY(name, space, 128) \
    extern "C" const char* name##_launch(void** arguments, unsigned grid, int schedule, unsigned seed) { \
        return shim::run(tw_image, tw_entry_##name, arguments, {{grid, 1, 1}, {128, 1, 1}, (shim::order)schedule, seed}); \
    }
