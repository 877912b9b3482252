#define TW_DEVICE static __device__ __forceinline__
#define TW_KERNEL extern "C" __global__
#define TW_SHARED __shared__

TW_DEVICE void tw_copy(void* to, const void* from, unsigned long bytes) { memcpy(to, from, bytes); }
template <class To, class From> TW_DEVICE To tw_bits(From from) { To to; memcpy(&to, &from, sizeof(To)); return to; }
TW_DEVICE int tw_ones(unsigned long long x) { return __popcll(x); }
TW_DEVICE float tw_half_to_float(unsigned short x) { float y; asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x)); return y; }
TW_DEVICE unsigned short tw_float_to_half(float x) {
    unsigned short y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
}
#if __CUDA_ARCH__ >= 800
#define TW_MAX_OF_FLOATS
TW_DEVICE float tw_max_of_floats(float a, float b) { float y; asm("max.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b)); return y; }
TW_DEVICE float tw_min_of_floats(float a, float b) { float y; asm("min.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b)); return y; }
#endif
