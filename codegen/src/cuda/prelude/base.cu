// What generated kernels are written in. `TW_HOST` is defined where a C++ compiler for the processor reads this.

typedef signed char i8;
typedef short i16;
typedef int i32;
typedef long long i64;
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef float f32;
typedef double f64;

struct f16 { u16 bits; };
struct bf16 { u16 bits; };

// Index arithmetic: 32 bits where every tensor of a call has fewer elements.
typedef TW_INDEX idx;

TW_DEVICE f32 tw_f32(u32 bits) { return tw_bits<f32>(bits); }
TW_DEVICE f64 tw_f64(u64 bits) { return tw_bits<f64>(bits); }

// Floored, for positive divisors; a divisor below 1 counts as 1.
TW_DEVICE idx tw_div(idx a, idx b) { b = b < 1 ? 1 : b; idx q = a / b; return a - q * b < 0 ? q - 1 : q; }
TW_DEVICE idx tw_mod(idx a, idx b) { b = b < 1 ? 1 : b; idx r = a % b; return r < 0 ? r + b : r; }
TW_DEVICE idx tw_least(idx a, idx b) { return a < b ? a : b; }
TW_DEVICE idx tw_most(idx a, idx b) { return a > b ? a : b; }

// Groups of elements that one access moves.
template <class T, int N> struct alignas(sizeof(T) * N) tw_pack { T at[N]; };

TW_DEVICE bool tw_multiple(const void* p, int bytes) { return ((u64)p & (bytes - 1)) == 0; }
template <class T, int N> TW_DEVICE bool tw_aligned(const T* p) { return tw_multiple(p, sizeof(T) * N); }
template <class T, int N> TW_DEVICE tw_pack<T, N> tw_read(const T* p, bool aligned) {
    if (aligned) return *(const tw_pack<T, N>*)p;
    tw_pack<T, N> all;
    for (int i = 0; i < N; i++) all.at[i] = p[i];
    return all;
}
template <class T, int N> TW_DEVICE void tw_write(T* p, const tw_pack<T, N>& all, bool aligned) {
    if (aligned) { *(tw_pack<T, N>*)p = all; return; }
    for (int i = 0; i < N; i++) p[i] = all.at[i];
}

// Where a launch stands among the steps of a call: `failed` gets the number of the launch that meets an index out of range, and
// later launches that are `gated` do nothing; `progress` gets the number of the step.
struct tw_run { u32* failed; volatile u32* progress; u32 step, gated, launch; };

// True if there is nothing to do.
TW_DEVICE bool tw_begin(const tw_run& run) {
    if (run.progress && threadIdx.x == 0 && blockIdx.x == 0) *run.progress = run.step;
    if (!run.gated) return false;
    // The launch's own offence, met by threads that began earlier, stops none of its threads.
    const u32 failed = *(volatile u32*)run.failed;
    return failed != 0 && failed != run.launch;
}
