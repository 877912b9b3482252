use super::{Library, barriers, without_barrier};
use crate::data::{Random, from_bytes, is_nan, to_bytes};
use crate::target::{Aligned, SCHEDULES, can_run};
use codegen::cuda::library::{Epilogue, Matrix, Product, Routine, Way};
use ir::program::Activation;
use ir::{DType, Data, Scalar};

/// How the elements of a matrix lie in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Layout {
    Rows,
    Cols,
    /// Rows with a gap behind each, batches in reverse.
    Gap,
    /// No neighbours at all, rows and columns in reverse.
    Apart,
    /// One row for all.
    SameRow,
    /// One matrix for the whole batch.
    SameMatrix,
    /// Axes in any order and direction, with gaps; of operands some with a stride of 0.
    Chance(u64),
}
use Layout::*;

const LAYOUTS: [Layout; 6] = [Rows, Cols, Gap, Apart, SameRow, SameMatrix];

/// A matrix batch in memory of its own; `first` is the element that index 0 names.
struct Matrices {
    data: Data,
    first: i64,
    strides: [i64; 3],
}

impl Matrices {
    fn new(random: &mut Random, dtype: DType, layout: Layout, [b, r, c]: [u64; 3], exact: bool) -> Matrices {
        let [b, r, c] = [b, r, c].map(|n| n as i64);
        let (strides, first, len) = match layout {
            Rows => ([r * c, c, 1], 0, b * r * c),
            Cols => ([r * c, 1, r], 0, b * r * c),
            Gap => ([-(r * (c + 3)), c + 3, 1], (b - 1).max(0) * r * (c + 3), b * r * (c + 3)),
            Apart => ([6 * r * c, -3 * c, -2], (6 * r * c - 3 * c).max(0), 6 * b * r * c),
            SameRow => ([c, 0, 1], 0, b * c),
            SameMatrix => ([0, c, 1], 0, r * c),
            Chance(seed) => by_chance(&mut Random::new(seed), [b, r, c]),
        };
        let value = |random: &mut Random| match dtype.is_float() {
            // Few bits, so that every sum is exact, and rounded once.
            true if exact => Scalar::of(dtype, random.below(128) as f64 / 32.0 - 2.0),
            true => random.plain(dtype),
            false => Scalar::U64(random.bits()).convert(dtype),
        };
        Matrices { data: Data::collect(dtype, (0..len.max(0)).map(|_| value(random))), first, strides }
    }

    fn at(&self, at: [u64; 3]) -> usize {
        (self.first + at.iter().zip(self.strides).map(|(&i, stride)| i as i64 * stride).sum::<i64>()) as usize
    }
}

/// Strides, the first element and the number of elements of a matrix batch that lies in any way.
fn by_chance(random: &mut Random, extents: [i64; 3]) -> ([i64; 3], i64, i64) {
    let mut axes = [0, 1, 2];
    (0..3).for_each(|i| axes.swap(i, random.below(3) as usize));
    let zeros = random.below(2) == 0;
    let (mut strides, mut first, mut len) = ([0; 3], 0, 1 + random.below(2) as i64);
    for axis in axes {
        let n = extents[axis].max(1);
        if zeros && random.below(4) == 0 {
            continue;
        }
        let reverse = random.below(4) == 0;
        strides[axis] = if reverse { -len } else { len };
        first += if reverse { (n - 1) * len } else { 0 };
        len = len * n + random.below(3) as i64;
    }
    (strides, first, if extents.contains(&0) { 0 } else { len })
}

struct Case {
    dtype: DType,
    shape: [u64; 4],
    layouts: [Layout; 3],
    exact: bool,
    bias: bool,
    activation: Activation,
}

/// A case with memory of its own.
struct Prepared {
    matrices: [Matrices; 3],
    bias: Data,
    memory: Vec<Aligned>,
    product: Product,
    scratch: Aligned,
}

impl Case {
    fn plain(dtype: DType, shape: [u64; 4], layouts: [Layout; 3]) -> Case {
        Case { dtype, shape, layouts, exact: true, bias: false, activation: Activation::None }
    }

    fn prepare(&self) -> Prepared {
        let [batch, m, n, k] = self.shape;
        let mut random = Random::new(m + 100 * n + 10_000 * k + 7);
        let shapes = [[batch, m, k], [batch, k, n], [batch, m, n]];
        let mut make = |i: usize| Matrices::new(&mut random, self.dtype, self.layouts[i], shapes[i], self.exact);
        let matrices = [make(0), make(1), make(2)];
        let bias = Matrices::new(&mut random, self.dtype, Rows, [1, 1, n], self.exact).data;
        let mut memory: Vec<Aligned> = matrices.iter().map(|m| Aligned::new(&to_bytes(&m.data))).collect();
        memory.push(Aligned::new(&to_bytes(&bias)));
        let mut address = |i: usize, first: i64| memory[i].at().addr() as u64 + first as u64 * self.dtype.size() as u64;
        let mut matrix = |i: usize| Matrix { address: address(i, matrices[i].first), strides: matrices[i].strides };
        let (lhs, rhs, out) = (matrix(0), matrix(1), matrix(2));
        let epilogue = Epilogue { bias: self.bias.then(|| address(3, 0)), activation: self.activation };
        let product = Product { dtype: self.dtype, batch, m, n, k, lhs, rhs, out, epilogue };
        let bytes = product.scratch_bytes().unwrap() as usize;
        Prepared { matrices, bias, memory, product, scratch: Aligned::new(&vec![0xa5; bytes]) }
    }

    fn routines(&self) -> Vec<Routine> {
        self.prepare().product.launches(0).unwrap().iter().map(|l| l.routine).collect()
    }

    /// What the sums are, by f64 or wrapping integers, and how far results may be from them.
    fn want(&self, at: &Prepared, [b, i, j]: [u64; 3]) -> (Scalar, f64) {
        let [lhs, rhs, _] = &at.matrices;
        let terms = (0..self.shape[3]).map(|l| (lhs.data.get(lhs.at([b, i, l])), rhs.data.get(rhs.at([b, l, j]))));
        if self.dtype.is_int() {
            let sum = terms.fold(0i64, |s, (x, y)| s.wrapping_add(x.as_i64().wrapping_mul(y.as_i64())));
            return (Scalar::I64(sum).convert(self.dtype), 0.0);
        }
        let (mut sum, mut size) = terms.fold((0.0, 0.0), |(s, a), (x, y)| {
            let product = x.as_f64() * y.as_f64();
            (s + product, a + product.abs())
        });
        if self.bias {
            sum += at.bias.get(j as usize).as_f64();
            size += sum.abs();
        }
        sum = match self.activation {
            Activation::None => sum,
            Activation::GeluTanh => {
                let root = (2.0 / std::f64::consts::PI).sqrt();
                0.5 * sum * (1.0 + (root * (sum + 0.044715 * sum * sum * sum)).tanh())
            }
        };
        if self.exact && self.activation != Activation::GeluTanh {
            return (Scalar::of(self.dtype, sum), 0.0);
        }
        let (unit, sums) = match self.dtype {
            DType::F64 => (0.0, f64::EPSILON),
            DType::F32 => (0.0, f32::EPSILON as f64),
            DType::F16 => (f64::powi(2.0, -11), f32::EPSILON as f64),
            _ => (f64::powi(2.0, -8), f32::EPSILON as f64),
        };
        (
            Scalar::F64(sum),
            unit * sum.abs() * 1.001 + 2.0 * sums * (size + 1.0) * (self.shape[3] as f64).sqrt().max(1.0),
        )
    }

    fn outcome(&self, library: &Library, most: u32, schedule: (i32, u32)) -> Result<Data, String> {
        let mut at = self.prepare();
        library.run(&at.product.launches(at.scratch.at().addr() as u64).unwrap(), most, schedule)?;
        let _ = at.scratch.bytes();
        Ok(from_bytes(self.dtype, at.memory[2].bytes()))
    }

    fn check(&self, library: &Library) {
        let at = self.prepare();
        let [batch, m, n, k] = self.shape;
        let place = || format!("{} {:?} {:?}", self.dtype, self.shape, self.layouts);
        let mut first: Option<Data> = None;
        let few = m * n * k <= 1 << 16;
        for (most, schedule) in [(1, SCHEDULES[0]), (u32::MAX, SCHEDULES[1]), (3, SCHEDULES[2]), (7, SCHEDULES[3])] {
            if !few && first.is_some() && most != 7 {
                continue;
            }
            let got = self.outcome(library, most, schedule).unwrap_or_else(|e| panic!("{e}: {}", place()));
            if let Some(first) = &first {
                assert!(to_bytes(first) == to_bytes(&got), "other bits with {most} blocks, {schedule:?}: {}", place());
                continue;
            }
            for (b, i, j) in (0..batch).flat_map(|b| (0..m).flat_map(move |i| (0..n).map(move |j| (b, i, j)))) {
                let got = got.get(at.matrices[2].at([b, i, j]));
                let (want, within) = self.want(&at, [b, i, j]);
                let near = match within == 0.0 {
                    true => got.as_f64() == want.as_f64() && got.as_i64() == want.as_i64(),
                    false => (got.as_f64() - want.as_f64()).abs() <= within,
                };
                assert!(near, "{got} is not {want} within {within} at {:?}: {}", [b, i, j], place());
            }
            // What is not of the result stays.
            let named: std::collections::HashSet<usize> = (0..batch)
                .flat_map(|b| (0..m).flat_map(move |i| (0..n).map(move |j| [b, i, j])))
                .map(|place| at.matrices[2].at(place))
                .collect();
            let before = &at.matrices[2].data;
            assert!((0..before.len()).all(|i| named.contains(&i) || got.get(i).bits() == before.get(i).bits()));
            first = Some(got);
        }
    }
}

fn check(cases: &[Case]) {
    if !can_run() {
        return;
    }
    let library = Library::new(&cases.iter().flat_map(Case::routines).collect::<Vec<_>>());
    cases.iter().for_each(|case| case.check(&library));
}

fn numbers() -> impl Iterator<Item = DType> {
    DType::ALL.into_iter().filter(|&d| d != DType::Bool)
}

#[test]
fn products_of_every_dtype_and_layout() {
    let mut cases = Vec::new();
    for (d, dtype) in numbers().enumerate() {
        for lhs in LAYOUTS {
            for rhs in LAYOUTS {
                let out = [Rows, Cols, Gap, Apart][(d + cases.len()) % 4];
                // Tiles, and few columns or rows.
                for shape in [[2, 5, 9, 7], [2, 5, 3, 37], [3, 1, 6, 20]] {
                    cases.push(Case::plain(dtype, shape, [lhs, rhs, out]));
                }
            }
        }
    }
    check(&cases);
}

#[test]
fn products_by_chance() {
    let mut random = Random::new(11);
    let dtypes: Vec<DType> = numbers().collect();
    let mut cases = Vec::new();
    for n in 0..300u64 {
        let dtype = dtypes[random.below(dtypes.len() as u64) as usize];
        let mut extent =
            |most: u64| [1, random.below(5), random.below(most), random.below(most)][random.below(4) as usize];
        let shape = [extent(4), extent(50), extent(50), extent(90)];
        // Elements of a result have places of their own.
        let seeds = (3 * n + 1000..).step_by(1000);
        let mut seeds =
            seeds.filter(|&s| by_chance(&mut Random::new(s), [2, 2, 2]).0.iter().all(|&stride| stride != 0));
        let out = Chance(seeds.next().unwrap());
        let exact = random.below(2) == 0;
        let layouts = [Chance(3 * n + 1), Chance(3 * n + 2), out];
        cases.push(Case { exact, ..Case::plain(dtype, shape, layouts) });
    }
    check(&cases);
}

#[test]
fn products_with_edges_and_many_terms() {
    let mut cases = Vec::new();
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16, DType::U8, DType::I64] {
        for shape in [
            [1, 1, 1, 1],
            [1, 1, 1, 9000],
            [1, 300, 1, 1100],
            [1, 2, 300, 1100],
            [1, 70, 4, 4097],
            [3, 33, 65, 17],
            [1, 40, 33, 700],
            [130, 33, 33, 2],
        ] {
            for (lhs, rhs) in [(Rows, Rows), (Cols, Cols)] {
                cases.push(Case::plain(dtype, shape, [lhs, rhs, Rows]));
            }
        }
    }
    check(&cases);
}

#[test]
fn products_that_fill_large_tiles() {
    let mut cases = Vec::new();
    for dtype in [DType::F32, DType::F64, DType::BF16, DType::I32] {
        cases.push(Case::plain(dtype, [40, 130, 70, 35], [Rows, Cols, Rows]));
        cases.push(Case { exact: false, ..Case::plain(dtype, [70, 66, 65, 18], [Cols, Rows, Gap]) });
    }
    assert!(cases.iter().all(|c| matches!(c.routines()[0], Routine::Product(_, Way::Large))));
    check(&cases);
}

#[test]
fn sums_are_rounded_once_and_epilogues_come_before() {
    let mut cases = Vec::new();
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
        for (bias, activation) in
            [(true, Activation::None), (false, Activation::GeluTanh), (true, Activation::GeluTanh)]
        {
            for shape in [[2, 9, 11, 13], [1, 2, 40, 70], [1, 40, 3, 70], [1, 3, 300, 1100], [1, 6, 7, 0], [1, 2, 7, 0]]
            {
                for exact in [true, false] {
                    cases.push(Case { bias, activation, exact, ..Case::plain(dtype, shape, [Rows, Rows, Gap]) });
                }
            }
        }
    }
    check(&cases);
}

#[test]
fn products_without_elements_or_terms() {
    let mut cases = Vec::new();
    for dtype in numbers() {
        for shape in [[0, 3, 4, 5], [2, 0, 4, 5], [2, 3, 0, 5], [0, 0, 0, 0], [2, 3, 4, 0], [2, 9, 8, 0], [1, 1, 1, 0]]
        {
            cases.push(Case::plain(dtype, shape, [Rows; 3]));
        }
    }
    check(&cases);
}

#[test]
fn a_nan_stays_where_it_is() {
    if !can_run() {
        return;
    }
    // Edges of tiles are filled with zeros, which must not meet infinities of others.
    for shape in [[1, 9, 9, 17], [1, 9, 3, 17]] {
        for lhs in [Rows, Cols] {
            let case = Case::plain(DType::F32, shape, [lhs, Rows, Rows]);
            let library = Library::new(&case.routines());
            let mut at = case.prepare();
            // SAFETY: an element of the left operand.
            unsafe { at.memory[0].at().cast::<f32>().add(at.matrices[0].at([0, 8, 16])).write(f32::INFINITY) };
            // SAFETY: an element of the right operand.
            unsafe { at.memory[1].at().cast::<f32>().add(at.matrices[1].at([0, 16, 1])).write(0.0) };
            library.run(&at.product.launches(0).unwrap(), 9, SCHEDULES[0]).unwrap();
            let got = from_bytes(DType::F32, at.memory[2].bytes());
            for (i, j) in (0..9).flat_map(|i| (0..shape[2]).map(move |j| (i, j))) {
                let got = got.get(at.matrices[2].at([0, i, j]));
                assert!(if (i, j) == (8, 1) { is_nan(got) } else { !is_nan(got) }, "{got} at {i}, {j}");
            }
        }
    }
}

#[test]
fn what_the_library_cannot_do_is_none() {
    let case = |dtype, bias| Case { bias, ..Case::plain(dtype, [1, 2, 3, 4], [Rows; 3]) };
    assert!(case(DType::Bool, false).prepare().product.launches(0).is_none());
    assert!(case(DType::I32, true).prepare().product.launches(0).is_none());
    assert!(case(DType::I32, false).prepare().product.launches(0).is_some());
    let huge = case(DType::F32, false).prepare().product;
    assert!(Product { batch: u64::MAX, ..huge }.launches(0).is_some());
    assert_eq!(Product { m: 1 << 63, n: 5, k: 1 << 20, batch: 8, ..huge }.scratch_bytes(), Some(0));
}

/// Every barrier is there because results are wrong without it.
#[test]
fn a_missing_barrier_of_a_product_is_caught() {
    if !can_run() {
        return;
    }
    // Several tiles for a block, each of several steps.
    let cases = [
        Case::plain(DType::F32, [2, 40, 40, 80], [Rows; 3]),
        Case::plain(DType::F32, [2, 70, 3, 80], [Cols, Rows, Rows]),
    ];
    let routines: Vec<Routine> = cases.iter().flat_map(Case::routines).collect();
    let text = routines[0].prelude();
    let right = |library: &Library, case: &Case| {
        let at = case.prepare();
        let outcomes = SCHEDULES.map(|schedule| case.outcome(library, 1, schedule));
        let [batch, m, n, _] = case.shape;
        let same = |got: &Data| {
            (0..batch).all(|b| {
                (0..m).all(|i| {
                    (0..n)
                        .all(|j| got.get(at.matrices[2].at([b, i, j])).as_f64() == case.want(&at, [b, i, j]).0.as_f64())
                })
            })
        };
        outcomes.iter().all(|got| got.as_ref().is_ok_and(same))
    };
    let whole = Library::new(&routines);
    assert!(cases.iter().all(|case| right(&whole, case)));
    assert_eq!(barriers(&text), 4);
    for number in 0..4 {
        let broken = Library::edited(&routines, &|text| without_barrier(text, number));
        assert!(!cases.iter().all(|case| right(&broken, case)), "without barrier {number}");
    }
}
