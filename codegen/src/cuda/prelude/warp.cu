// A task is run by the threads of a warp. Virtual lane `l` of a reduction belongs to thread `l`.

template <class T> TW_DEVICE T tw_down(T x, int by) {
    const int words = (sizeof(T) + 3) / 4;
    tw_pack<u32, words> parts = {};
    tw_copy(&parts, &x, sizeof(T));
    for (int i = 0; i < words; i++) parts.at[i] = __shfl_down_sync(0xffffffffu, parts.at[i], by);
    tw_copy(&x, &parts, sizeof(T));
    return x;
}
template <class T> TW_DEVICE T tw_first(T x) {
    const int words = (sizeof(T) + 3) / 4;
    tw_pack<u32, words> parts = {};
    tw_copy(&parts, &x, sizeof(T));
    for (int i = 0; i < words; i++) parts.at[i] = __shfl_sync(0xffffffffu, parts.at[i], 0);
    tw_copy(&x, &parts, sizeof(T));
    return x;
}

// Value and position: NaN wins, then the smaller position; zeros of either sign are equal.
template <class T> TW_DEVICE void tw_arg_larger(T& a, i64& i, T b, i64 j) {
    const bool nan = a != a, other = b != b;
    const bool take = (!nan & other) | (b > a) | (((nan & other) | (a == b)) & (j < i));
    a = take ? b : a;
    i = take ? j : i;
}
template <class T> TW_DEVICE void tw_arg_smaller(T& a, i64& i, T b, i64 j) {
    const bool nan = a != a, other = b != b;
    const bool take = (!nan & other) | (b < a) | (((nan & other) | (a == b)) & (j < i));
    a = take ? b : a;
    i = take ? j : i;
}
