// Functions within the units in the last place that the kernel IR promises. Where the library's f32 function is too far
// off (CUDA C++ Programming Guide, mathematical functions), that for f64 is rounded.

#define TW_SINGLE(name, function) TW_DEVICE f32 name(f32 x) { return function##f(x); } TW_DEVICE f64 name(f64 x) { return function(x); }
#define TW_DOUBLE(name, function) TW_DEVICE f64 name(f64 x) { return function(x); } TW_DEVICE f32 name(f32 x) { return (f32)function((f64)x); }

TW_SINGLE(tw_floor, floor)
TW_SINGLE(tw_ceil, ceil)
TW_SINGLE(tw_round, rint)
TW_SINGLE(tw_sqrt, sqrt)
TW_SINGLE(tw_exp, exp)
TW_SINGLE(tw_log, log)
TW_SINGLE(tw_tanh, tanh)
TW_SINGLE(tw_sin, sin)
TW_SINGLE(tw_cos, cos)
TW_SINGLE(tw_tan, tan)
TW_SINGLE(tw_erf, erf)
TW_SINGLE(tw_exp2, exp2)
TW_SINGLE(tw_expm1, expm1)
TW_SINGLE(tw_log1p, log1p)
TW_SINGLE(tw_log2, log2)
TW_SINGLE(tw_log10, log10)
TW_SINGLE(tw_cbrt, cbrt)
TW_SINGLE(tw_asin, asin)
TW_SINGLE(tw_acos, acos)
TW_SINGLE(tw_atan, atan)
TW_SINGLE(tw_cosh, cosh)
TW_DOUBLE(tw_sinh, sinh)
TW_DOUBLE(tw_asinh, asinh)
TW_DOUBLE(tw_acosh, acosh)
TW_DOUBLE(tw_atanh, atanh)
TW_DOUBLE(tw_erfc, erfc)

TW_DEVICE f32 tw_abs(f32 x) { return fabsf(x); }
TW_DEVICE f64 tw_abs(f64 x) { return fabs(x); }
// No overflow on the way, and nothing lost where the result is subnormal.
template <class T> TW_DEVICE T tw_logistic(T x) {
    T e = tw_exp(-tw_abs(x));
    return x < 0 ? e / ((T)1 + e) : (T)1 / ((T)1 + e);
}
TW_DEVICE f32 tw_fmod(f32 a, f32 b) { return fmodf(a, b); }
TW_DEVICE f64 tw_fmod(f64 a, f64 b) { return fmod(a, b); }
// Also where the other side is a signalling NaN.
TW_DEVICE f32 tw_pow(f32 a, f32 b) { return a == 1 || b == 0 ? 1.0f : powf(a, b); }
TW_DEVICE f64 tw_pow(f64 a, f64 b) { return a == 1 || b == 0 ? 1.0 : pow(a, b); }
TW_DEVICE f32 tw_atan2(f32 a, f32 b) { return (f32)atan2((f64)a, (f64)b); }
TW_DEVICE f64 tw_atan2(f64 a, f64 b) { return atan2(a, b); }
