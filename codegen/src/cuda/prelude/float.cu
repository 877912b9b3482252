// Floats: NaN wins, and +0 is larger than -0. No contraction, no flush to zero.

TW_DEVICE bool tw_negative(f32 a) { return tw_bits<u32>(a) >> 31; }
TW_DEVICE bool tw_negative(f64 a) { return tw_bits<u64>(a) >> 63; }

// Without branches: loads of other iterations would wait behind them.
template <class T> TW_DEVICE T tw_larger(T a, T b) {
    return (a > b) | ((a == b) & !tw_negative(a)) | (a != a) ? a : b;
}
template <class T> TW_DEVICE T tw_smaller(T a, T b) {
    return (a < b) | ((a == b) & tw_negative(a)) | (a != a) ? a : b;
}
#ifdef TW_MAX_OF_FLOATS
TW_DEVICE f32 tw_larger(f32 a, f32 b) { return tw_max_of_floats(a, b); }
TW_DEVICE f32 tw_smaller(f32 a, f32 b) { return tw_min_of_floats(a, b); }
#endif
template <class T> TW_DEVICE T tw_float_sign(T a) { return a > 0 ? (T)1 : a < 0 ? (T)-1 : a; }

// Truncated and saturating; NaN becomes 0.
template <class I, class F> TW_DEVICE I tw_int(F x) {
    const bool negative = (I)-1 < (I)0;
    const int bits = 8 * (int)sizeof(I) - (negative ? 1 : 0);
    const F top = (F)(1ull << (bits - 1)) * (F)2;
    if (x != x) return 0;
    if (x >= top) return negative ? (I)((1ull << (bits - 1)) - 1 + (1ull << (bits - 1))) : (I)-1;
    if (negative ? x <= -top : x <= 0) return negative ? (I)(1ull << bits % 64) : (I)0;
    return (I)x;
}

TW_DEVICE f32 tw_widen(bf16 x) { return tw_f32((u32)x.bits << 16); }
TW_DEVICE bf16 tw_bf16(f32 x) {
    u32 bits = tw_bits<u32>(x);
    if (x != x) return bf16{(u16)(bits >> 16 | 0x40)};
    return bf16{(u16)((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}
TW_DEVICE f32 tw_widen(f16 x) { return tw_half_to_float(x.bits); }
TW_DEVICE f16 tw_f16(f32 x) { return f16{tw_float_to_half(x)}; }
