// The positions of each row of x[outer, n, inner] along the middle axis in sorted order.
//
// An item is the key of an element, an unsigned integer in the order of the elements, with its position below: no two are
// equal, so every sort of them is stable. Pieces of rows are sorted in shared memory by a bitonic network (Batcher, Sorting
// Networks and their Applications, 1968); sorted runs are merged in pairs, where each block finds its part of both by a
// search along a diagonal (Green, McColl and Bader, GPU Merge Path, 2012).

struct tw_sort {
    const void* data;
    i64* out;
    // Items of all rows, row by row.
    const void* from;
    void* to;
    i64 outer, n, inner, descending;
    // Items of a piece in shared memory, a power of two, and pieces that a block sorts at once.
    i64 piece, together;
    // Items of a sorted run before a merge.
    i64 run;
    // Not 0 if positions are written, not items.
    i64 last;
};

struct tw_wide_item { u64 key, position; };

TW_DEVICE u64 tw_key(f64 x) {
    u64 bits = tw_bits<u64>(x);
    if (x != x) return ~0ull;
    if (bits == 1ull << 63) bits = 0;
    return bits >> 63 ? ~bits : bits | 1ull << 63;
}
TW_DEVICE u64 tw_key(f32 x) {
    u32 bits = tw_bits<u32>(x);
    if (x != x) return 0xffffffffu;
    if (bits == 1u << 31) bits = 0;
    return bits >> 31 ? ~bits : bits | 1u << 31;
}
template <class T> TW_DEVICE u64 tw_key_of_half(T x, u32 infinity) {
    u32 bits = x.bits;
    if ((bits & 0x7fffu) > infinity) return 0xffffu;
    if (bits == 0x8000u) bits = 0;
    return bits >> 15 ? bits ^ 0xffffu : bits | 0x8000u;
}
TW_DEVICE u64 tw_key(f16 x) { return tw_key_of_half(x, 0x7c00u); }
TW_DEVICE u64 tw_key(bf16 x) { return tw_key_of_half(x, 0x7f80u); }
TW_DEVICE u64 tw_key(i64 x) { return (u64)x ^ 1ull << 63; }
TW_DEVICE u64 tw_key(i32 x) { return (u32)x ^ 1u << 31; }
TW_DEVICE u64 tw_key(i16 x) { return ((u32)x ^ 0x8000u) & 0xffffu; }
TW_DEVICE u64 tw_key(i8 x) { return ((u32)x ^ 0x80u) & 0xffu; }
TW_DEVICE u64 tw_key(u64 x) { return x; }
TW_DEVICE u64 tw_key(u32 x) { return x; }
TW_DEVICE u64 tw_key(u16 x) { return x; }
TW_DEVICE u64 tw_key(u8 x) { return x; }

TW_DEVICE void tw_make(u64& item, u64 key, u64 position) { item = key << 32 | position; }
TW_DEVICE void tw_make(tw_wide_item& item, u64 key, u64 position) { item = tw_wide_item{key, position}; }
TW_DEVICE bool tw_before(u64 a, u64 b) { return a < b; }
TW_DEVICE bool tw_before(tw_wide_item a, tw_wide_item b) { return a.key < b.key || (a.key == b.key && a.position < b.position); }
TW_DEVICE i64 tw_position(u64 item) { return (i64)(item & 0xffffffffu); }
TW_DEVICE i64 tw_position(tw_wide_item item) { return (i64)item.position; }

TW_DEVICE i64 tw_row_begin(const tw_sort& p, i64 row) {
    return p.inner == 1 ? row * p.n : row / p.inner * p.n * p.inner + row % p.inner;
}

// Sorts pieces of rows, of up to ITEMS items; several short ones at once.
template <class T, class Item, int ITEMS> TW_DEVICE void tw_sort_pieces(const tw_sort& p) {
    alignas(16) TW_SHARED Item items[ITEMS];
    const int piece = (int)p.piece, together = (int)p.together, all = piece * together;
    const i64 per_row = (p.n + piece - 1) / piece, pieces = per_row * p.outer * p.inner;
    for (i64 first = blockIdx.x * p.together; first < pieces; first += gridDim.x * p.together) {
        for (int e = threadIdx.x; e < all; e += 128) {
            // Neighbours in memory by neighbouring threads.
            const int which = p.inner == 1 ? e / piece : e % together, at = p.inner == 1 ? e % piece : e / together;
            const i64 row = (first + which) / per_row, position = (first + which) % per_row * piece + at;
            Item item;
            tw_make(item, ~0ull, ~0ull);
            if (first + which < pieces && position < p.n) {
                u64 key = tw_key(((const T*)p.data)[tw_row_begin(p, row) + position * p.inner]);
                if (p.descending) key = sizeof(Item) == 8 ? ~key & 0xffffffffu : ~key;
                tw_make(item, key, position);
            }
            items[which * piece + at] = item;
        }
        for (int size = 2; size <= piece; size *= 2) {
            for (int by = size / 2; by > 0; by /= 2) {
                __syncthreads();
                for (int e = threadIdx.x; e < all / 2; e += 128) {
                    const int i = 2 * e - (e & (by - 1)), j = i + by;
                    const bool up = (i & size & (piece - 1)) == 0;
                    const Item a = items[i], b = items[j];
                    if (tw_before(b, a) == up) {
                        items[i] = b;
                        items[j] = a;
                    }
                }
            }
        }
        __syncthreads();
        for (int e = threadIdx.x; e < all; e += 128) {
            const int which = p.inner == 1 ? e / piece : e % together, at = p.inner == 1 ? e % piece : e / together;
            const i64 row = (first + which) / per_row, place = (first + which) % per_row * piece + at;
            if (first + which < pieces && place < p.n) {
                const Item item = items[which * piece + at];
                if (p.last) p.out[tw_row_begin(p, row) + place * p.inner] = tw_position(item);
                else ((Item*)p.to)[row * p.n + place] = item;
            }
        }
        // No barrier: a thread puts items of the next pieces where it took those of these.
    }
}

// How many of the first `diagonal` items of the merge of two runs come from the first.
template <class Item> TW_DEVICE i64 tw_split(const Item* a, i64 a_count, const Item* b, i64 b_count, i64 diagonal) {
    i64 low = diagonal > b_count ? diagonal - b_count : 0, high = diagonal < a_count ? diagonal : a_count;
    while (low < high) {
        const i64 middle = (low + high) / 2;
        if (tw_before(a[middle], b[diagonal - 1 - middle])) low = middle + 1;
        else high = middle;
    }
    return low;
}

// Merges pairs of runs; a block makes ITEMS items of a merge at a time.
template <class Item, int ITEMS> TW_DEVICE void tw_merge_runs(const tw_sort& p) {
    alignas(16) TW_SHARED Item items[ITEMS];
    TW_SHARED i64 ends[2];
    const int EACH = ITEMS / 128;
    const i64 per_row = (p.n + ITEMS - 1) / ITEMS, tiles = per_row * p.outer * p.inner;
    for (i64 tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const i64 row = tile / per_row, place = tile % per_row * ITEMS, pair = place / (2 * p.run) * (2 * p.run);
        const i64 rest = p.n - pair, a_count = rest < p.run ? rest : p.run;
        const i64 b_count = rest - a_count < p.run ? rest - a_count : p.run;
        const Item* a = (const Item*)p.from + row * p.n + pair;
        const Item* b = a + a_count;
        const i64 begin = place - pair, end = begin + ITEMS < a_count + b_count ? begin + ITEMS : a_count + b_count;
        // Two warps search, one for each end.
        if (threadIdx.x % 32 == 0 && threadIdx.x < 64) {
            ends[threadIdx.x / 32] = tw_split(a, a_count, b, b_count, threadIdx.x == 0 ? begin : end);
        }
        __syncthreads();
        const i64 a_begin = ends[0], b_begin = begin - a_begin;
        const int a_items = (int)(ends[1] - a_begin), all = (int)(end - begin);
        for (int e = threadIdx.x; e < all; e += 128) items[e] = e < a_items ? a[a_begin + e] : b[b_begin + e - a_items];
        __syncthreads();
        Item merged[EACH];
        const int diagonal = threadIdx.x * EACH < all ? threadIdx.x * EACH : all;
        int i = (int)tw_split(items, a_items, items + a_items, all - a_items, diagonal), j = a_items + diagonal - i;
#pragma unroll
        for (int e = 0; e < EACH; e++) {
            const bool first = j >= all || (i < a_items && tw_before(items[i], items[j]));
            if (diagonal + e < all) merged[e] = items[first ? i : j];
            if (first) i++;
            else j++;
        }
        __syncthreads();
#pragma unroll
        for (int e = 0; e < EACH; e++)
            if (diagonal + e < all) items[diagonal + e] = merged[e];
        __syncthreads();
        for (int e = threadIdx.x; e < all; e += 128) {
            if (p.last) p.out[tw_row_begin(p, row) + (place + e) * p.inner] = tw_position(items[e]);
            else ((Item*)p.to)[row * p.n + place + e] = items[e];
        }
        // No barrier: all have read the ends long ago, and the next items are written behind one.
    }
}
