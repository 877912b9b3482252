//! Every operation at every dtype.

use crate::data::*;
use crate::target::{DRAWN, check, finish, refusal};
use ir::kernel::interp::scalar;
use ir::kernel::*;
use ir::{DType, Data, Scalar};

/// `out[i] = f(inputs[i])` for `N` elements.
pub fn pointwise(inputs: &[DType], f: impl Fn(&mut KernelBuilder, &[Var]) -> Var) -> Kernel {
    let mut k = KernelBuilder::new("pointwise");
    let ins: Vec<Memory> = inputs.iter().map(|&d| k.param(d, Access::In)).collect();
    // The output's dtype is known once the body is there: build it twice.
    let build = |k: &mut KernelBuilder, out: Option<Memory>| {
        let n = k.extent();
        let one = k.index(1);
        k.begin_nest(one, n);
        let i = k.begin_loop(n, LoopKind::Lanes);
        let x: Vec<Var> = ins.iter().map(|&m| k.load(m, i)).collect();
        let y = f(k, &x);
        let dtype = k.dtype(y);
        if let Some(out) = out {
            k.store(out, i, y);
        }
        k.end_loop();
        k.end_nest();
        dtype
    };
    let mut trial = KernelBuilder::new("trial");
    for &d in inputs {
        trial.param(d, Access::In);
    }
    let dtype = build(&mut trial, None);
    let out = k.param(dtype, Access::Out);
    build(&mut k, Some(out));
    k.finish()
}

fn sample(dtype: DType, n: usize, seed: u64) -> Data {
    let special = unusual(dtype);
    let mut random = Random::new(seed);
    Data::collect(
        dtype,
        (0..n).map(|i| match special.get((i / 2 + seed as usize) % (2 * special.len())) {
            Some(&s) if i % 2 == 0 => s,
            _ => random.plain(dtype),
        }),
    )
}

fn out(kernel: &Kernel, n: usize) -> Data {
    Data::filled(Scalar::zero(kernel.params.last().expect("an output").dtype), n)
}

/// Checks a pointwise kernel at many lengths, and over all unusual values (pairs of them for two inputs).
fn check_pointwise(kernel: &Kernel, within: Within) {
    let inputs: Vec<DType> = kernel.params[..kernel.params.len() - 1].iter().map(|p| p.dtype).collect();
    for n in LENGTHS {
        let mut data: Vec<Data> = inputs.iter().enumerate().map(|(s, &d)| sample(d, n, s as u64 + n as u64)).collect();
        data.push(out(kernel, n));
        check(kernel, &data, &[n as i64], within);
    }
    let all: Vec<Vec<Scalar>> = inputs.iter().map(|&d| unusual(d)).collect();
    let n: usize = all.iter().map(Vec::len).product();
    let mut data = Vec::new();
    let mut step = 1;
    for (values, &d) in all.iter().zip(&inputs) {
        data.push(Data::collect(d, (0..n).map(|i| values[i / step % values.len()])));
        step *= values.len();
    }
    data.push(out(kernel, n));
    check(kernel, &data, &[n as i64], within);
}

fn tolerance(op: UnaryOp, dtype: DType) -> Within {
    match op {
        // The interpreter's own is off by a few units there.
        UnaryOp::Erf | UnaryOp::Erfc | UnaryOp::ErfInv if dtype == DType::F64 => Within::Ulps(10),
        // Sums of larger terms.
        UnaryOp::Lgamma | UnaryOp::Digamma if dtype == DType::F64 => Within::Ulps(4096),
        op if op.ulps() > 0 && dtype == DType::F64 => Within::Ulps(4),
        op if op.ulps() > 0 => Within::Ulps(op.ulps().into()),
        _ => Within::Bits,
    }
}

#[test]
fn unary_operations() {
    let mut compiled = 0;
    for &op in UnaryOp::ALL {
        for dtype in DType::ALL {
            let kernel = pointwise(&[dtype], |k, x| k.unary(op, x[0]));
            if scalar::unary(op, Scalar::zero(dtype)).is_some() {
                check_pointwise(&kernel, tolerance(op, dtype));
                compiled += 1;
            } else {
                let error = refusal(&kernel).unwrap_or_else(|| panic!("{} of {dtype} compiles", op.name()));
                let refused = format!("{}: not defined on {dtype}", op.name());
                assert!(error.contains(&refused), "{error}");
            }
        }
    }
    assert_eq!(compiled, 34 * 2 + 5 * 8 + 1);
    finish();
}

#[test]
fn random_numbers() {
    use DType::{F64, U32, U64};
    let draw = |draw: Draw| {
        let inputs: &[DType] = if draw.has_parameter() { &[U32, U32, U64, F64] } else { &[U32, U32, U64] };
        pointwise(inputs, |k, x| k.draw(draw, [x[0], x[1]], x[2], x.get(3).copied()))
    };
    for kernel in [Draw::Bits { stream: 0 }, Draw::Bits { stream: u32::MAX }, Draw::LogGamma, Draw::Poisson].map(draw) {
        for n in LENGTHS {
            let inputs = &kernel.params[..kernel.params.len() - 1];
            let inputs = inputs.iter().enumerate().map(|(s, p)| sample(p.dtype, n, s as u64 + n as u64));
            let data: Vec<Data> = inputs.chain([out(&kernel, n)]).collect();
            let within = if kernel.params.len() > 4 { DRAWN } else { Within::Bits };
            check(&kernel, &data, &[n as i64], within);
        }
    }
    finish();
}

/// `out[i] = word(start + step * i) ^ word(second half, the same)` over `N1` elements from `start = N0` on: consecutive words
/// are emitted apart, where a block starts and within one.
#[test]
fn streams_of_random_bits() {
    for step in [1, 2] {
        let mut k = KernelBuilder::new("stream");
        let (x, o) = (k.param(DType::U32, Access::In), k.param(DType::U32, Access::Out));
        let (start, n) = (k.extent(), k.extent());
        let one = k.index(1);
        k.begin_nest(one, n);
        let i = k.begin_loop(n, LoopKind::Lanes);
        let step = k.index(step);
        let moved = k.indices.mul(i, step);
        let at = k.indices.add(start, moved);
        let at = k.index_value(at);
        let at = k.convert(at, DType::U64);
        let key = [Scalar::U32(7), Scalar::U32(0xFFFF_0000)].map(|s| k.constant(s));
        let word = k.draw(Draw::Bits { stream: 3 }, key, at, None);
        let bit = k.constant(Scalar::U64(1 << 63));
        let upper = k.binary(BinaryOp::Or, at, bit);
        let other = k.draw(Draw::Bits { stream: u32::MAX }, key, upper, None);
        let x = k.load(x, i);
        let mixed = k.binary(BinaryOp::Xor, word, other);
        let mixed = k.binary(BinaryOp::Add, mixed, x);
        k.store(o, i, mixed);
        k.end_loop();
        k.end_nest();
        let kernel = k.finish();
        for n in LENGTHS.into_iter().chain([16, 47, 128]) {
            for start in [0, 1, 2, 3, 4, (1 << 34) - 7] {
                check(&kernel, &[sample(DType::U32, n, 1), out(&kernel, n)], &[start, n as i64], Within::Bits);
            }
        }
    }
    finish();
}

#[test]
fn binary_operations() {
    for &op in BinaryOp::ALL {
        for dtype in DType::ALL {
            let kernel = pointwise(&[dtype, dtype], |k, x| k.binary(op, x[0], x[1]));
            let zero = Scalar::zero(dtype);
            if scalar::binary(op, zero, zero).is_some() {
                let within = match op {
                    BinaryOp::LogGammaSlope => DRAWN,
                    op if op.ulps() > 0 && dtype.is_float() => Within::Ulps(4),
                    _ => Within::Bits,
                };
                check_pointwise(&kernel, within);
            } else {
                let error = refusal(&kernel).unwrap_or_else(|| panic!("{} of {dtype} compiles", op.name()));
                let refused = format!("{}: not defined on {dtype}", op.name());
                assert!(error.contains(&refused), "{error}");
            }
        }
    }
    finish();
}

#[test]
fn comparisons() {
    for &op in CompareOp::ALL {
        for dtype in DType::ALL.into_iter().filter(|d| !d.is_half()) {
            check_pointwise(&pointwise(&[dtype, dtype], |k, x| k.compare(op, x[0], x[1])), Within::Bits);
        }
    }
    finish();
}

#[test]
fn selections() {
    for dtype in DType::ALL {
        check_pointwise(&pointwise(&[DType::Bool, dtype, dtype], |k, x| k.select(x[0], x[1], x[2])), Within::Bits);
        // One side uniform, and a mask that comes from a comparison.
        let kernel = pointwise(&[DType::I64, dtype], |k, x| {
            let (zero, c) = (k.constant(Scalar::I64(0)), k.constant(Scalar::one(dtype)));
            let mask = k.compare(CompareOp::Lt, x[0], zero);
            k.select(mask, c, x[1])
        });
        check_pointwise(&kernel, Within::Bits);
    }
    finish();
}

#[test]
fn conversions() {
    for from in DType::ALL {
        for to in DType::ALL.into_iter().filter(|&to| to != from) {
            check_pointwise(&pointwise(&[from], |k, x| k.convert(x[0], to)), Within::Bits);
        }
    }
    finish();
}

#[test]
fn bitcasts() {
    let of_size = |n| DType::ALL.into_iter().filter(move |&d| d != DType::Bool && d.size() == n);
    for from in DType::ALL.into_iter().filter(|&d| d != DType::Bool) {
        for to in of_size(from.size()).filter(|&to| to != from) {
            let there_and_up = |k: &mut KernelBuilder, x: Var| {
                let y = k.bitcast(x, to);
                // What stands above a narrow value in its lane shows in a wider one.
                if to.is_int() { k.convert(y, DType::I64) } else { y }
            };
            check_pointwise(&pointwise(&[from], |k, x| there_and_up(k, x[0])), Within::Bits);
        }
    }
    finish();
}

#[test]
fn shifts_by_numbers() {
    for dtype in DType::ALL.into_iter().filter(|d| d.is_int()) {
        for op in [BinaryOp::Shl, BinaryOp::Shr] {
            for by in [0, 1, 5, 7, 8, 15, 31, 32, 63, 64, -1] {
                let by = Scalar::I64(by).convert(dtype);
                let kernel = pointwise(&[dtype], |k, x| {
                    let by = k.constant(by);
                    k.binary(op, x[0], by)
                });
                check_pointwise(&kernel, Within::Bits);
            }
        }
    }
    finish();
}

#[test]
fn every_half_widens_and_narrows() {
    for half in [DType::F16, DType::BF16] {
        let all = Data::collect(half, (0..=u16::MAX).map(|b| scalar_of_bits(half, b as u64)));
        for to in [DType::F32, DType::F64] {
            let kernel = pointwise(&[half], |k, x| k.convert(x[0], to));
            check(&kernel, &[all.clone(), out(&kernel, 1 << 16)], &[1 << 16], Within::Bits);
        }
        // All bit patterns of f32 around the ties of each half.
        let near: Vec<Scalar> = (0..=u16::MAX)
            .flat_map(|b| {
                let bits = scalar_of_bits(half, b as u64).as_f64() as f32;
                let step = if half == DType::F16 { 1 << 12 } else { 1 << 15 };
                [-1i32, 0, 1]
                    .map(|d| Scalar::F32(f32::from_bits(bits.to_bits().wrapping_add(step).wrapping_add(d as u32))))
            })
            .collect();
        let n = near.len();
        let kernel = pointwise(&[DType::F32], |k, x| k.convert(x[0], half));
        check(&kernel, &[Data::collect(DType::F32, near.into_iter()), out(&kernel, n)], &[n as i64], Within::Bits);
    }
    finish();
}

#[test]
fn indices_as_values() {
    for to in DType::ALL.into_iter().filter(|d| d.is_int() || !d.is_half() && d.is_float()) {
        let mut k = KernelBuilder::new("iota");
        let o = k.param(to, Access::Out);
        let (n, one) = (k.extent(), k.index(1));
        k.begin_nest(one, n);
        let i = k.begin_loop(n, LoopKind::Lanes);
        let (three, five) = (k.index(3), k.index(5));
        let at = k.indices.mul(i, three);
        let at = k.indices.sub(at, five);
        let x = k.index_value(at);
        let x = k.convert(x, to);
        k.store(o, i, x);
        k.end_loop();
        k.end_nest();
        let kernel = k.finish();
        for n in LENGTHS {
            check(&kernel, &[out(&kernel, n)], &[n as i64], Within::Bits);
        }
    }
    finish();
}
