// Matrix products: out[b, i, j] = sum over l of lhs[b, i, l] * rhs[b, l, j], over strides.
//
// Every term is added by one fused multiplication and addition, as on the processor; 16-bit floats sum in f32 and are rounded
// once, integers wrap. Which terms a thread adds, and in which order, follows from the shape alone: tiles add them from first to
// last; rows give each lane every 32nd and fold the lanes by a tree; columns give each of four warps every fourth. A product
// that is cut along its terms leaves partial sums, which `tw_join` adds from first to last.

struct tw_product {
    const void* lhs;
    const void* rhs;
    void* out;
    const void* bias;
    // Sums of each part of the terms, dense; nothing if there is one part.
    void* partial;
    i64 batch, m, n, k;
    i64 lhs_at[3], rhs_at[3], out_at[3];
    // From a row and from a column of the result to the next element of the bias.
    i64 bias_at[2];
    // Parts of the terms, and terms of a part.
    i64 parts, part;
    // 0 nothing, 1 GELU by tanh.
    i64 activation;
};

// What elements are added up in.
template <class T> struct tw_sum;
template <> struct tw_sum<f64> { typedef f64 type; };
template <> struct tw_sum<f32> { typedef f32 type; };
template <> struct tw_sum<f16> { typedef f32 type; };
template <> struct tw_sum<bf16> { typedef f32 type; };
template <> struct tw_sum<u64> { typedef u64 type; };
template <> struct tw_sum<u32> { typedef u32 type; };
template <> struct tw_sum<u16> { typedef u32 type; };
template <> struct tw_sum<u8> { typedef u32 type; };

TW_DEVICE f64 tw_fused(f64 a, f64 b, f64 sum) { return fma(a, b, sum); }
TW_DEVICE f32 tw_fused(f32 a, f32 b, f32 sum) { return fmaf(a, b, sum); }
TW_DEVICE u64 tw_fused(u64 a, u64 b, u64 sum) { return a * b + sum; }
TW_DEVICE u32 tw_fused(u32 a, u32 b, u32 sum) { return a * b + sum; }
TW_DEVICE f64 tw_term(f64 x) { return x; }
TW_DEVICE f32 tw_term(f32 x) { return x; }
TW_DEVICE f32 tw_term(f16 x) { return tw_widen(x); }
TW_DEVICE f32 tw_term(bf16 x) { return tw_widen(x); }
TW_DEVICE u64 tw_term(u64 x) { return x; }
TW_DEVICE u32 tw_term(u32 x) { return x; }
TW_DEVICE u32 tw_term(u16 x) { return x; }
TW_DEVICE u32 tw_term(u8 x) { return x; }
TW_DEVICE void tw_round_to(f64& to, f64 x) { to = x; }
TW_DEVICE void tw_round_to(f32& to, f32 x) { to = x; }
TW_DEVICE void tw_round_to(f16& to, f32 x) { to = tw_f16(x); }
TW_DEVICE void tw_round_to(bf16& to, f32 x) { to = tw_bf16(x); }
TW_DEVICE void tw_round_to(u64& to, u64 x) { to = x; }
TW_DEVICE void tw_round_to(u32& to, u32 x) { to = x; }
TW_DEVICE void tw_round_to(u16& to, u32 x) { to = (u16)x; }
TW_DEVICE void tw_round_to(u8& to, u32 x) { to = (u8)x; }

TW_DEVICE u64 tw_active(u64 x, i64) { return x; }
TW_DEVICE u32 tw_active(u32 x, i64) { return x; }
TW_DEVICE f32 tw_active(f32 x, i64 activation) {
    if (activation == 1) return 0.5f * x * (1.0f + tanhf(0.7978845608028654f * (x + 0.044715f * x * x * x)));
    return x;
}
TW_DEVICE f64 tw_active(f64 x, i64 activation) {
    if (activation == 1) return 0.5 * x * (1.0 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
    return x;
}

// A whole sum into the result.
template <class T, class A> TW_DEVICE void tw_finish(const tw_product& p, i64 b, i64 i, i64 j, A sum) {
    if (p.bias) sum = sum + tw_term(((const T*)p.bias)[i * p.bias_at[0] + j * p.bias_at[1]]);
    T rounded;
    tw_round_to(rounded, tw_active(sum, p.activation));
    ((T*)p.out)[b * p.out_at[0] + i * p.out_at[1] + j * p.out_at[2]] = rounded;
}
template <class T, class A> TW_DEVICE void tw_leave(const tw_product& p, i64 part, i64 b, i64 i, i64 j, A sum) {
    if (p.parts == 1) return tw_finish<T>(p, b, i, j, sum);
    ((A*)p.partial)[((part * p.batch + b) * p.m + i) * p.n + j] = sum;
}

// The elements of a tile of ROWS rows and TERMS terms that a thread moves: neighbours in memory by neighbouring threads, where
// terms lie `at` elements apart and rows `row_at`.
template <class T, int ROWS, int TERMS> struct tw_mover {
    static const int COUNT = ROWS * TERMS / 128;
    int row, term, row_step, term_step;
    i64 offset, step, ahead;
    T held[COUNT];
};
template <class T, int ROWS, int TERMS> TW_DEVICE void tw_place(tw_mover<T, ROWS, TERMS>& m, i64 row_at, i64 at) {
    const i64 size = at < 0 ? -at : at, row_size = row_at < 0 ? -row_at : row_at;
    const bool along = size <= row_size;
    const int t = threadIdx.x;
    m.row = along ? t / TERMS : t % ROWS;
    m.term = along ? t % TERMS : t / ROWS;
    m.row_step = along ? 128 / TERMS : 0;
    m.term_step = along ? 0 : 128 / ROWS;
    m.offset = m.row * row_at + m.term * at;
    m.step = m.row_step * row_at + m.term_step * at;
    m.ahead = TERMS * at;
}
// Takes the tile at `from`, of which there are so many rows and terms; the others are 0.
template <class T, int ROWS, int TERMS>
TW_DEVICE void tw_take(tw_mover<T, ROWS, TERMS>& m, const T* from, i64 rows, i64 terms) {
    const int row_end = rows < ROWS ? (int)rows : ROWS, term_end = terms < TERMS ? (int)terms : TERMS;
    from += m.offset;
#pragma unroll
    for (int x = 0; x < m.COUNT; x++) {
        m.held[x] = T{};
        if (m.row + x * m.row_step < row_end && m.term + x * m.term_step < term_end) m.held[x] = *from;
        from += m.step;
    }
}
template <class T, int ROWS, int TERMS, class A, int WIDTH>
TW_DEVICE void tw_lay(const tw_mover<T, ROWS, TERMS>& m, A (&to)[TERMS][WIDTH]) {
#pragma unroll
    for (int x = 0; x < m.COUNT; x++) to[m.term + x * m.term_step][m.row + x * m.row_step] = tw_term(m.held[x]);
}

// Tiles of M rows and N columns in shared memory, TERMS terms at a time while the next are on their way; each thread has
// ROWS times COLS of the sums, in groups of up to four.
template <class T, int M, int N, int TERMS, int ROWS, int COLS> TW_DEVICE void tw_tiles(const tw_product& p) {
    typedef typename tw_sum<T>::type A;
    const int R = ROWS < 4 ? ROWS : 4, C = COLS < 4 ? COLS : 4, ACROSS = N / COLS, GAP = 16 / sizeof(A);
    alignas(16) TW_SHARED A left[2][TERMS][M + GAP];
    alignas(16) TW_SHARED A right[2][TERMS][N + GAP];
    const int y = threadIdx.x / ACROSS * R, x = threadIdx.x % ACROSS * C;
    tw_mover<T, M, TERMS> lefts;
    tw_mover<T, N, TERMS> rights;
    tw_place(lefts, p.lhs_at[1], p.lhs_at[2]);
    tw_place(rights, p.rhs_at[2], p.rhs_at[1]);
    const i64 down = (p.m + M - 1) / M, across = (p.n + N - 1) / N, tiles = down * across * p.batch * p.parts;
    for (i64 tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        i64 rest = tile;
        const i64 row = rest % down * M;
        rest /= down;
        const i64 col = rest % across * N;
        rest /= across;
        const i64 b = rest % p.batch, part = rest / p.batch, begin = part * p.part;
        const i64 end = begin + p.part < p.k ? begin + p.part : p.k;
        const T* lhs = (const T*)p.lhs + b * p.lhs_at[0] + row * p.lhs_at[1] + begin * p.lhs_at[2];
        const T* rhs = (const T*)p.rhs + b * p.rhs_at[0] + col * p.rhs_at[2] + begin * p.rhs_at[1];
        A sums[ROWS][COLS] = {};
        if (begin < end) {
            tw_take(lefts, lhs, p.m - row, end - begin);
            tw_take(rights, rhs, p.n - col, end - begin);
        }
        int stage = 0;
        for (i64 l = begin; l < end; l += TERMS) {
            tw_lay(lefts, left[stage]);
            tw_lay(rights, right[stage]);
            __syncthreads();
            if (l + TERMS < end) {
                lhs += lefts.ahead;
                rhs += rights.ahead;
                tw_take(lefts, lhs, p.m - row, end - l - TERMS);
                tw_take(rights, rhs, p.n - col, end - l - TERMS);
            }
#pragma unroll
            for (int t = 0; t < TERMS; t++) {
                A a[ROWS], c[COLS];
#pragma unroll
                for (int i = 0; i < ROWS; i++) a[i] = left[stage][t][i / R * (M / (ROWS / R)) + y + i % R];
#pragma unroll
                for (int j = 0; j < COLS; j++) c[j] = right[stage][t][j / C * (N / (COLS / C)) + x + j % C];
#pragma unroll
                for (int i = 0; i < ROWS; i++)
#pragma unroll
                    for (int j = 0; j < COLS; j++) sums[i][j] = tw_fused(a[i], c[j], sums[i][j]);
            }
            stage = 1 - stage;
        }
        // The next tile begins in memory that others may still read.
        __syncthreads();
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            const i64 r = row + i / R * (M / (ROWS / R)) + y + i % R;
#pragma unroll
            for (int j = 0; j < COLS; j++) {
                const i64 c = col + j / C * (N / (COLS / C)) + x + j % C;
                if (r < p.m && c < p.n) tw_leave<T>(p, part, b, r, c, sums[i][j]);
            }
        }
    }
}

// Few columns, at most COLS, where terms of a row are neighbours: each warp has a row.
template <class T, int COLS> TW_DEVICE void tw_rows(const tw_product& p) {
    typedef typename tw_sum<T>::type A;
    const int lane = threadIdx.x % 32;
    const i64 rows = p.m * p.batch * p.parts;
    for (i64 item = (i64)blockIdx.x * 4 + threadIdx.x / 32; item < rows; item += (i64)gridDim.x * 4) {
        const i64 i = item % p.m, b = item / p.m % p.batch, part = item / p.m / p.batch;
        const i64 begin = part * p.part, end = begin + p.part < p.k ? begin + p.part : p.k;
        const T* lhs = (const T*)p.lhs + b * p.lhs_at[0] + i * p.lhs_at[1];
        const T* rhs = (const T*)p.rhs + b * p.rhs_at[0];
        A sums[COLS] = {};
#pragma unroll 4
        for (i64 l = begin + lane; l < end; l += 32) {
            const A a = tw_term(lhs[l * p.lhs_at[2]]);
#pragma unroll
            for (int j = 0; j < COLS; j++)
                if (j < p.n) sums[j] = tw_fused(a, tw_term(rhs[l * p.rhs_at[1] + j * p.rhs_at[2]]), sums[j]);
        }
#pragma unroll
        for (int j = 0; j < COLS; j++) {
            for (int by = 16; by > 0; by /= 2) {
                const A other = tw_down(sums[j], by);
                sums[j] = sums[j] + other;
            }
            if (lane == 0 && j < p.n) tw_leave<T>(p, part, b, i, j, sums[j]);
        }
    }
}

// Few columns, at most COLS, where rows of a term are neighbours: each lane has a row, each warp of a block every fourth term.
template <class T, int COLS> TW_DEVICE void tw_columns(const tw_product& p) {
    typedef typename tw_sum<T>::type A;
    TW_SHARED A others[3][COLS][32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const i64 down = (p.m + 31) / 32, items = down * p.batch * p.parts;
    for (i64 item = blockIdx.x; item < items; item += gridDim.x) {
        const i64 i = item % down * 32 + lane, b = item / down % p.batch, part = item / down / p.batch;
        const i64 begin = part * p.part, end = begin + p.part < p.k ? begin + p.part : p.k;
        const T* lhs = (const T*)p.lhs + b * p.lhs_at[0] + i * p.lhs_at[1];
        const T* rhs = (const T*)p.rhs + b * p.rhs_at[0];
        A sums[COLS] = {};
        if (i < p.m) {
#pragma unroll 4
            for (i64 l = begin + warp; l < end; l += 4) {
                const A a = tw_term(lhs[l * p.lhs_at[2]]);
#pragma unroll
                for (int j = 0; j < COLS; j++)
                    if (j < p.n) sums[j] = tw_fused(a, tw_term(rhs[l * p.rhs_at[1] + j * p.rhs_at[2]]), sums[j]);
            }
        }
#pragma unroll
        for (int j = 0; j < COLS; j++)
            if (warp > 0) others[warp - 1][j][lane] = sums[j];
        __syncthreads();
#pragma unroll
        for (int j = 0; j < COLS; j++) {
            for (int w = 0; w < 3; w++)
                if (warp == 0) sums[j] = sums[j] + others[w][j][lane];
            if (warp == 0 && i < p.m && j < p.n) tw_leave<T>(p, part, b, i, j, sums[j]);
        }
        // Nobody leaves the sums of the next item before they are added.
        __syncthreads();
    }
}

// The sum of all parts of each element.
template <class T> TW_DEVICE void tw_join(const tw_product& p) {
    typedef typename tw_sum<T>::type A;
    const i64 elements = p.batch * p.m * p.n;
    for (i64 e = (i64)blockIdx.x * 128 + threadIdx.x; e < elements; e += (i64)gridDim.x * 128) {
        const A* at = (const A*)p.partial + e;
        A sum = *at;
        for (i64 part = 1; part < p.parts; part++) sum = sum + at[part * elements];
        tw_finish<T>(p, e / p.n / p.m, e / p.n % p.m, e % p.n, sum);
    }
}
