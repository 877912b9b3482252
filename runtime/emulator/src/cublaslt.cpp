// The part of cuBLASLt that products need, by its published names, numbers and rules. A product is a function of the host that
// the driver runs in the order of the stream. What the library documents as wrong is refused, and so is what it leaves open.
#include "cuda.h"
#include <dlfcn.h>
#include <math.h>
#include <mutex>
#include <set>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vector>

#define OUT extern "C" __attribute__((visibility("default")))

enum status { SUCCESS = 0, NOT_INITIALIZED = 1, INVALID_VALUE = 7, EXECUTION_FAILED = 13, NOT_SUPPORTED = 15 };
enum { R_32F = 0, R_64F = 1, R_16F = 2, R_16BF = 14 };
enum { COMPUTE_32F = 68, COMPUTE_64F = 70, COMPUTE_32F_FAST_TF32 = 77 };
enum { OP_N = 0, OP_T = 1 };
enum { ORDER_COL = 0, ORDER_ROW = 1 };
enum { INPLACE = 1, COMPUTE_TYPE = 2 };
enum { DEFAULT = 1, RELU = 2, BIAS = 4, RELU_BIAS = 6, GELU = 32, GELU_BIAS = 36 };

struct layout {
    int type, order = ORDER_COL;
    uint64_t rows, cols;
    int64_t ld;
    int batch = 1;
    int64_t stride = 0;
};
struct operation {
    int compute, scale, pointer_mode = 0, a = OP_N, b = OP_N;
    unsigned epilogue = DEFAULT;
    const void* bias = nullptr;
};
struct preference {
    uint64_t workspace = 0;
    unsigned schemes = 7, alignments[4] = {256, 256, 256, 256};
};
struct algorithm { uint64_t problem, workspace, scheme, alignments[4], unused; };
struct choice {
    algorithm algo;
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
};

static std::mutex lock;
static std::set<void*> alive;
static unsigned arrivals;

static void* driver(const char* name) {
    static void* library = dlopen("libcuda.so", RTLD_NOW | RTLD_NOLOAD);
    void* found = library ? dlsym(library, name) : nullptr;
    if (!found) {
        fprintf(stderr, "CUDA emulator: cuBLASLt finds no %s\n", name);
        abort();
    }
    return found;
}
template <class F> static F* driver(const char* name) { return (F*)driver(name); }

static int planned(const char* name) { return driver<int(const char*)>("emulator_planned_failure")(name); }
#define ENTER() \
    if (int refused = planned(__func__)) return refused

template <class T> static int make(void** into, T&& value) {
    if (!into) return INVALID_VALUE;
    *into = new T(value);
    std::lock_guard<std::mutex> held(lock);
    alive.insert(*into);
    return SUCCESS;
}
static bool lives(void* what) {
    std::lock_guard<std::mutex> held(lock);
    return alive.count(what);
}
template <class T> static int end(void* what) {
    if (!lives(what)) return INVALID_VALUE;
    std::lock_guard<std::mutex> held(lock);
    alive.erase(what);
    delete (T*)what;
    return SUCCESS;
}
template <class T> static int put(T& into, const void* from, size_t bytes) {
    if (!from || bytes != sizeof(T)) return INVALID_VALUE;
    memcpy(&into, from, bytes);
    return SUCCESS;
}

OUT int cublasLtCreate(void** into) {
    ENTER();
    CUcontext context = nullptr;
    if (driver<int(CUcontext*)>("cuCtxGetCurrent")(&context) || !context) return NOT_INITIALIZED;
    return make(into, (int)0);
}
OUT int cublasLtDestroy(void* handle) { return end<int>(handle); }
OUT size_t cublasLtGetVersion() { return 130000; }

OUT int cublasLtMatrixLayoutCreate(void** into, int type, uint64_t rows, uint64_t cols, int64_t ld) {
    ENTER();
    return make(into, layout{type, ORDER_COL, rows, cols, ld});
}
OUT int cublasLtMatrixLayoutDestroy(void* what) { return end<layout>(what); }
OUT int cublasLtMatrixLayoutSetAttribute(void* what, int attribute, const void* from, size_t bytes) {
    ENTER();
    if (!lives(what)) return INVALID_VALUE;
    layout& l = *(layout*)what;
    switch (attribute) {
        case 0: return put(l.type, from, bytes);
        case 1: return put(l.order, from, bytes);
        case 2: return put(l.rows, from, bytes);
        case 3: return put(l.cols, from, bytes);
        case 4: return put(l.ld, from, bytes);
        case 5: return put(l.batch, from, bytes);
        case 6: return put(l.stride, from, bytes);
    }
    return INVALID_VALUE;
}

OUT int cublasLtMatmulDescCreate(void** into, int compute, int scale) {
    ENTER();
    return make(into, operation{compute, scale});
}
OUT int cublasLtMatmulDescDestroy(void* what) { return end<operation>(what); }
OUT int cublasLtMatmulDescSetAttribute(void* what, int attribute, const void* from, size_t bytes) {
    ENTER();
    if (!lives(what)) return INVALID_VALUE;
    operation& o = *(operation*)what;
    switch (attribute) {
        case 0: return put(o.compute, from, bytes);
        case 1: return put(o.scale, from, bytes);
        case 2: return put(o.pointer_mode, from, bytes);
        case 3: return put(o.a, from, bytes);
        case 4: return put(o.b, from, bytes);
        case 7: return put(o.epilogue, from, bytes);
        case 8: return put(o.bias, from, bytes);
    }
    return INVALID_VALUE;
}

OUT int cublasLtMatmulPreferenceCreate(void** into) {
    ENTER();
    return make(into, preference());
}
OUT int cublasLtMatmulPreferenceDestroy(void* what) { return end<preference>(what); }
OUT int cublasLtMatmulPreferenceSetAttribute(void* what, int attribute, const void* from, size_t bytes) {
    ENTER();
    if (!lives(what)) return INVALID_VALUE;
    preference& p = *(preference*)what;
    if (attribute == 1) return put(p.workspace, from, bytes);
    if (attribute == 3) return put(p.schemes, from, bytes);
    if (attribute >= 5 && attribute <= 8) return put(p.alignments[attribute - 5], from, bytes);
    return INVALID_VALUE;
}

static size_t size_of(int type) { return type == R_64F ? 8 : type == R_32F ? 4 : 2; }

static uint64_t mixed(uint64_t hash, uint64_t value) { return (hash ^ value) * 0x9e3779b97f4a7c15ull >> 7 ^ hash << 3; }

static bool right(const layout& l) {
    return l.rows && l.cols && l.ld >= (int64_t)(l.order == ORDER_ROW ? l.cols : l.rows) && l.batch >= 1;
}

// What is wrong with a product, or a number for it.
static int look(const operation& o, const layout& a, const layout& b, const layout& c, const layout& d, uint64_t& problem) {
    const layout* all[] = {&a, &b, &c, &d};
    for (const layout* l : all) {
        if (l->order != ORDER_COL && l->order != ORDER_ROW) return NOT_SUPPORTED;
        if (!right(*l) || l->batch != d.batch) return INVALID_VALUE;
        if (l->rows > 0x7fffffff || l->cols > 0x7fffffff || l->ld > 0x7fffffff || l->stride < 0) return NOT_SUPPORTED;
        if (l->type != d.type) return NOT_SUPPORTED;
    }
    if ((o.a != OP_N && o.a != OP_T) || (o.b != OP_N && o.b != OP_T) || o.pointer_mode) return NOT_SUPPORTED;
    uint64_t m = o.a == OP_T ? a.cols : a.rows, k = o.a == OP_T ? a.rows : a.cols;
    uint64_t n = o.b == OP_T ? b.rows : b.cols, l = o.b == OP_T ? b.cols : b.rows;
    if (k != l || m != d.rows || n != d.cols || c.rows != d.rows || c.cols != d.cols) return INVALID_VALUE;
    bool narrow = d.type == R_32F || d.type == R_16F || d.type == R_16BF;
    bool known = (o.compute == COMPUTE_32F && narrow && o.scale == R_32F) ||
                 (o.compute == COMPUTE_32F_FAST_TF32 && d.type == R_32F && o.scale == R_32F) ||
                 (o.compute == COMPUTE_64F && d.type == R_64F && o.scale == R_64F);
    if (!known) return NOT_SUPPORTED;
    // Matrices of the result are apart; they may be interleaved.
    if (d.batch > 1 && !d.stride) return INVALID_VALUE;
    switch (o.epilogue) {
        case BIAS: case RELU_BIAS: case GELU_BIAS:
            // A bias is for the rows of a matrix in columns.
            if (!o.bias) return INVALID_VALUE;
            if (d.order != ORDER_COL) return NOT_SUPPORTED;
        case DEFAULT: case RELU: case GELU: break;
        default: return NOT_SUPPORTED;
    }
    problem = mixed(mixed(mixed(o.compute, o.a * 2 + o.b), o.epilogue), k);
    for (const layout* x : all)
        for (uint64_t part : {(uint64_t)x->order, x->rows, x->cols, (uint64_t)x->ld, (uint64_t)x->batch, (uint64_t)x->stride})
            problem = mixed(problem, part);
    return SUCCESS;
}

OUT int cublasLtMatmulAlgoGetHeuristic(void* handle, void* operation_of, void* a, void* b, void* c, void* d, void* preference_of,
                                       int wanted, choice* results, int* count) {
    ENTER();
    for (void* what : {handle, operation_of, a, b, c, d, preference_of})
        if (!lives(what)) return INVALID_VALUE;
    if (wanted < 1 || !results || !count) return INVALID_VALUE;
    *count = 0;
    preference& p = *(preference*)preference_of;
    layout& result = *(layout*)d;
    operation& o = *(operation*)operation_of;
    algorithm algo = {};
    if (int wrong = look(o, *(layout*)a, *(layout*)b, *(layout*)c, result, algo.problem)) return wrong;
    uint64_t terms = o.a == OP_T ? ((layout*)a)->rows : ((layout*)a)->cols;
    uint64_t parts = 2 * result.rows * result.cols * result.batch * (result.type == R_64F ? 8 : 4);
    // A long sum is cut in two, which is fastest where the parts are added as they come.
    if (terms >= 64 && (p.schemes & INPLACE)) algo.scheme = INPLACE;
    else if (terms >= 64 && (p.schemes & COMPUTE_TYPE) && parts <= p.workspace) algo.scheme = COMPUTE_TYPE;
    algo.workspace = algo.scheme == COMPUTE_TYPE ? parts : 0;
    for (int i = 0; i < 4; i++) algo.alignments[i] = p.alignments[i] < 16 ? p.alignments[i] : 16;
    results[0] = choice{algo, algo.workspace, SUCCESS, 1.0f, {}};
    *count = 1;
    return SUCCESS;
}

struct product {
    operation o;
    layout a, b, c, d;
    const char *from_a, *from_b, *from_c;
    char *to, *workspace;
    double alpha, beta;
    uint64_t scheme;
};

static float half(uint16_t bits) {
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    float size = exponent == 31 ? (fraction ? NAN : INFINITY) : ldexpf(exponent ? 1024 + fraction : fraction, exponent ? exponent - 25 : -24);
    return bits >> 15 ? -size : size;
}
static uint16_t to_half(float x) {
    uint16_t sign = signbit(x) ? 0x8000 : 0;
    if (isnan(x)) return sign | 0x7e00;
    float size = fabsf(x);
    if (size >= 65520.0f) return sign | 0x7c00;
    int exponent;
    frexpf(size, &exponent);
    exponent = size == 0 || exponent < -13 ? -13 : exponent;
    return sign | (uint16_t)((unsigned)rintf(ldexpf(size, 11 - exponent)) + ((unsigned)(exponent + 13) << 10));
}
static double load(int type, const void* at) {
    uint16_t bits;
    uint32_t word;
    float single;
    double twice;
    switch (type) {
        case R_64F: memcpy(&twice, at, 8); return twice;
        case R_32F: memcpy(&single, at, 4); return single;
        case R_16F: memcpy(&bits, at, 2); return half(bits);
    }
    memcpy(&bits, at, 2);
    word = (uint32_t)bits << 16;
    memcpy(&single, &word, 4);
    return single;
}
static void store(int type, void* at, double x) {
    float single = (float)x;
    uint32_t word;
    memcpy(&word, &single, 4);
    uint16_t bits = type == R_16F ? to_half(single) : single != single ? word >> 16 | 0x40 : (word + 0x7fff + (word >> 16 & 1)) >> 16;
    if (type == R_64F) memcpy(at, &x, 8);
    else if (type == R_32F) memcpy(at, &single, 4);
    else memcpy(at, &bits, 2);
}
// The number of an element.
static int64_t place(const layout& l, int64_t b, int64_t row, int64_t col) {
    return b * l.stride + (l.order == ORDER_ROW ? row * l.ld + col : col * l.ld + row);
}
// To ten bits behind the point, as tensor cores read it.
static double tf32(double x) {
    float single = (float)x;
    uint32_t bits;
    memcpy(&bits, &single, 4);
    if ((bits & 0x7f800000) != 0x7f800000) bits = (bits + 0x1000) & ~0x1fffu;
    memcpy(&single, &bits, 4);
    return single;
}

// One matrix of a batch as numbers, each row of terms contiguous.
template <class A> static std::vector<A> numbers(const layout& l, const char* from, int64_t b, bool by_columns, bool rounded) {
    const int64_t outer = by_columns ? l.cols : l.rows, inner = by_columns ? l.rows : l.cols;
    std::vector<A> all(outer * inner);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < inner; i++) {
            int64_t at = by_columns ? place(l, b, i, o) : place(l, b, o, i);
            double x = load(l.type, from + size_of(l.type) * at);
            all[o * inner + i] = (A)(rounded ? tf32(x) : x);
        }
    return all;
}

template <class A> static void compute_in(const product& p) {
    const bool rounded = p.o.compute == COMPUTE_32F_FAST_TF32;
    const size_t size = size_of(p.d.type);
    const int64_t rows = p.d.rows, cols = p.d.cols, terms = p.o.a == OP_T ? p.a.rows : p.a.cols;
    const int64_t cut = p.scheme ? terms / 2 : terms;
    // Parts that are added where they arrive have no order.
    const bool other = p.scheme == INPLACE && arrivals++ % 2;
    for (int64_t b = 0; b < p.d.batch; b++) {
        std::vector<A> left = numbers<A>(p.a, p.from_a, b, p.o.a == OP_T, rounded);
        std::vector<A> right = numbers<A>(p.b, p.from_b, b, p.o.b == OP_N, rounded);
        for (int64_t j = 0; j < cols; j++)
            for (int64_t i = 0; i < rows; i++) {
                const A *x = &left[i * terms], *y = &right[j * terms];
                A first = 0, rest = 0;
                for (int64_t l = 0; l < cut; l++) first += x[l] * y[l];
                for (int64_t l = cut; l < terms; l++) rest += x[l] * y[l];
                if (other) first *= (A)(1 + 1e-6);
                // The workspace is the library's to write.
                if (p.scheme == COMPUTE_TYPE) {
                    A parts[2] = {first, rest};
                    memcpy(p.workspace + ((b * cols + j) * rows + i) * sizeof parts, parts, sizeof parts);
                }
                A sum = (A)p.alpha * (first + rest);
                if (p.beta != 0) sum += (A)(p.beta * load(p.c.type, p.from_c + size * place(p.c, b, i, j)));
                if (p.o.epilogue & BIAS) sum += (A)load(p.d.type, (const char*)p.o.bias + size * i);
                if (p.o.epilogue & RELU) sum = sum > 0 ? sum : sum < 0 ? 0 : sum;
                if (p.o.epilogue & GELU) sum = (A)(0.5 * sum * (1 + tanh(0.7978845608028654 * (sum + 0.044715 * sum * sum * sum))));
                store(p.d.type, p.to + size * place(p.d, b, i, j), sum);
            }
    }
}

static void compute(void* argument) {
    const product& p = *(const product*)argument;
    if (p.o.compute == COMPUTE_64F) compute_in<double>(p);
    else compute_in<float>(p);
}

// Whether a matrix batch lies in memory of the device.
static bool held(const layout& l, const char* at) {
    uint64_t last = place(l, l.batch - 1, l.rows - 1, l.cols - 1);
    return driver<int(uint64_t, uint64_t)>("emulator_holds")((uint64_t)at, (last + 1) * size_of(l.type));
}

OUT int cublasLtMatmul(void* handle, void* operation_of, const void* alpha, const void* a, void* layout_a, const void* b, void* layout_b,
                       const void* beta, const void* c, void* layout_c, void* d, void* layout_d, const algorithm* algo,
                       void* workspace, size_t bytes, CUstream stream) {
    ENTER();
    for (void* what : {handle, operation_of, layout_a, layout_b, layout_c, layout_d})
        if (!lives(what)) return INVALID_VALUE;
    if (!alpha || !beta || !algo) return INVALID_VALUE;
    const operation& o = *(operation*)operation_of;
    product p = {o, *(layout*)layout_a, *(layout*)layout_b, *(layout*)layout_c, *(layout*)layout_d};
    uint64_t problem;
    if (int wrong = look(o, p.a, p.b, p.c, p.d, problem)) return wrong;
    if (problem != algo->problem) return INVALID_VALUE;
    const void* addresses[] = {a, b, c, d};
    for (int i = 0; i < 4; i++)
        if ((uint64_t)addresses[i] % algo->alignments[i] || (uint64_t)addresses[i] % size_of(p.d.type)) return INVALID_VALUE;
    if ((o.epilogue & BIAS) && (uint64_t)o.bias % algo->alignments[3]) return INVALID_VALUE;
    if (algo->workspace && (bytes < algo->workspace || !workspace || (uint64_t)workspace % 256)) return INVALID_VALUE;
    p.from_a = (const char*)a;
    p.from_b = (const char*)b;
    p.from_c = (const char*)c;
    p.to = (char*)d;
    p.workspace = (char*)workspace;
    p.alpha = load(o.scale, alpha);
    p.beta = load(o.scale, beta);
    p.scheme = algo->scheme;
    auto holds = driver<int(uint64_t, uint64_t)>("emulator_holds");
    bool inside = held(p.a, p.from_a) && held(p.b, p.from_b) && held(p.d, p.to) && holds((uint64_t)workspace, algo->workspace);
    if (o.epilogue & BIAS) inside &= holds((uint64_t)o.bias, p.d.rows * size_of(p.d.type)) != 0;
    if (!inside) {
        fprintf(stderr, "CUDA emulator: a matrix of a product is not in memory of the device\n");
        return EXECUTION_FAILED;
    }
    // A graph may run it again and again.
    auto launch = driver<int(CUstream, CUhostFn, void*)>("cuLaunchHostFunc");
    return launch(stream, compute, new product(p)) ? EXECUTION_FAILED : SUCCESS;
}
