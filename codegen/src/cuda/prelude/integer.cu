// Integers wrap, and nothing that the hardware leaves open is left open.

template <class T> struct tw_unsigned { typedef T type; };
template <> struct tw_unsigned<i8> { typedef u32 type; };
template <> struct tw_unsigned<i16> { typedef u32 type; };
template <> struct tw_unsigned<i32> { typedef u32 type; };
template <> struct tw_unsigned<u8> { typedef u32 type; };
template <> struct tw_unsigned<u16> { typedef u32 type; };
template <> struct tw_unsigned<i64> { typedef u64 type; };
#define TW_U(T) typename tw_unsigned<T>::type

template <class T> TW_DEVICE T tw_add(T a, T b) { return (T)((TW_U(T))a + (TW_U(T))b); }
template <class T> TW_DEVICE T tw_sub(T a, T b) { return (T)((TW_U(T))a - (TW_U(T))b); }
template <class T> TW_DEVICE T tw_mul(T a, T b) { return (T)((TW_U(T))a * (TW_U(T))b); }
template <class T> TW_DEVICE T tw_neg(T a) { return (T)(0 - (TW_U(T))a); }
template <class T> TW_DEVICE T tw_abs(T a) { return a < 0 ? tw_neg(a) : a; }
template <class T> TW_DEVICE T tw_sign(T a) { return (T)(a < 0 ? -1 : a > 0 ? 1 : 0); }
template <class T> TW_DEVICE T tw_quotient(T a, T b) {
    if (b == 0) return 0;
    if ((T)-1 < (T)0 && b == (T)-1) return tw_neg(a);
    return (T)(a / b);
}
template <class T> TW_DEVICE T tw_remainder(T a, T b) {
    if (b == 0) return a;
    if ((T)-1 < (T)0 && b == (T)-1) return 0;
    return (T)(a % b);
}
template <class T> TW_DEVICE T tw_shl(T a, T b) {
    return (u64)b < 8 * sizeof(T) && !(b < 0) ? (T)((TW_U(T))a << (u32)b) : (T)0;
}
template <class T> TW_DEVICE T tw_shr(T a, T b) {
    bool inside = (u64)b < 8 * sizeof(T) && !(b < 0);
    return inside ? (T)(a >> (u32)b) : (T)(a < 0 ? -1 : 0);
}
template <class T> TW_DEVICE T tw_least_of(T a, T b) { return a < b ? a : b; }
template <class T> TW_DEVICE T tw_most_of(T a, T b) { return a > b ? a : b; }
template <class T> TW_DEVICE T tw_popcount(T a) { return (T)tw_ones((u64)a << (64 - 8 * sizeof(T))); }
template <class T> TW_DEVICE T tw_power(T a, T b) {
    if ((T)-1 < (T)0 && b < 0) return (T)(a == 1 ? 1 : a == (T)-1 ? ((b & 1) ? -1 : 1) : 0);
    T out = 1;
    for (u64 n = (u64)b; n; n >>= 1) {
        if (n & 1) out = tw_mul(out, a);
        a = tw_mul(a, a);
    }
    return out;
}
