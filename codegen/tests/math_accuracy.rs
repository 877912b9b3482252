//! The vector functions of `codegen::cpu::math` against f64 references over the f32 bit patterns.
//!
//! A normal run takes every 251st pattern. All of them, or with another number in place of 1 each such one, with the largest
//! errors printed: `TRACEWRIGHT_TEST_ALL_F32=1 cargo test --release -p tracewright-codegen --test math_accuracy -- --nocapture`

use codegen::cpu::math;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F32X4, I64};
use cranelift_codegen::ir::{AbiParam, InstBuilder, MemFlagsData, Value};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{Linkage, Module};
use ir::kernel::UnaryOp;
use std::time::Instant;

/// Two inputs, an output, the number of floats (a multiple of four, at least four).
type Run = extern "C" fn(*const f32, *const f32, *mut f32, usize);

/// Compiled code and its memory.
struct Code {
    run: Run,
    _module: JITModule,
}

impl Code {
    /// A loop over vectors around `body`. With FMA the code is for this machine, without Cranelift's mid-end; without
    /// FMA it is for the oldest x86-64, with the mid-end.
    fn new(has_fma: bool, body: impl Fn(&mut FunctionBuilder, Value, Value) -> Value) -> Code {
        let mut flags = settings::builder();
        flags.set("opt_level", if has_fma { "none" } else { "speed" }).unwrap();
        flags.set("is_pic", "false").unwrap();
        let isa = match has_fma {
            true => cranelift_native::builder().unwrap(),
            false => cranelift_codegen::isa::lookup(target_lexicon::Triple::host()).unwrap(),
        };
        let isa = isa.finish(settings::Flags::new(flags)).unwrap();
        let mut module = JITModule::new(JITBuilder::with_isa(isa, cranelift_module::default_libcall_names()));
        let mut context = module.make_context();
        context.func.signature.params = vec![AbiParam::new(I64); 4];
        let mut frontend = FunctionBuilderContext::new();
        let mut b = FunctionBuilder::new(&mut context.func, &mut frontend);
        let entry = b.create_block();
        b.append_block_params_for_function_params(entry);
        b.switch_to_block(entry);
        let [x, y, out, n] = b.block_params(entry).try_into().unwrap();
        let bytes = b.ins().ishl_imm_u(n, 2);
        let start = b.ins().iconst(I64, 0);
        let head = b.create_block();
        let at = b.append_block_param(head, I64);
        b.ins().jump(head, &[start.into()]);
        b.switch_to_block(head);
        let flags = MemFlagsData::new().with_notrap();
        let load = |b: &mut FunctionBuilder, base| {
            let address = b.ins().iadd(base, at);
            b.ins().load(F32X4, flags, address, 0)
        };
        let x = load(&mut b, x);
        let y = load(&mut b, y);
        let value = body(&mut b, x, y);
        let address = b.ins().iadd(out, at);
        b.ins().store(flags, value, address, 0);
        let next = b.ins().iadd_imm_s(at, 16);
        let more = b.ins().icmp(IntCC::UnsignedLessThan, next, bytes);
        let done = b.create_block();
        b.ins().brif(more, head, &[next.into()], done, &[]);
        b.switch_to_block(done);
        b.ins().return_(&[]);
        b.seal_all_blocks();
        b.finalize(module.target_config());
        let id = module.declare_function("f", Linkage::Export, &context.func.signature).unwrap();
        module.define_function(id, &mut context).unwrap();
        assert!(context.compiled_code().unwrap().buffer.relocs().is_empty(), "kernels must be free of relocations");
        module.finalize_definitions().unwrap();
        // SAFETY: the code was compiled above with this signature, and the module lives as long as the pointer.
        let run = unsafe { std::mem::transmute::<*const u8, Run>(module.get_finalized_function(id)) };
        Code { run, _module: module }
    }

    fn unary(op: UnaryOp, has_fma: bool) -> Code {
        Code::new(has_fma, |b, x, _| math::emit_f32x4(b, has_fma, op, x).expect("a function of the module"))
    }
}

fn call(run: Run, x: &[f32], y: &[f32], out: &mut [f32]) {
    assert!(x.len() == y.len() && x.len() == out.len() && x.len().is_multiple_of(4) && !x.is_empty());
    run(x.as_ptr(), y.as_ptr(), out.as_mut_ptr(), x.len());
}

/// Distance from the exact value in units of the last place of an f32 of that magnitude; 0 for the same NaN, infinity
/// or zero; infinite where the kinds differ.
fn error_in_ulps(got: f32, exact: f64) -> f64 {
    if exact.is_nan() || got.is_nan() {
        return if exact.is_nan() && got.is_nan() { 0.0 } else { f64::INFINITY };
    }
    let nearest = exact as f32;
    if nearest.to_bits() == got.to_bits() && (nearest == 0.0 || nearest.is_infinite()) {
        return 0.0;
    }
    if exact.is_infinite() || exact == 0.0 {
        return f64::INFINITY;
    }
    if got.is_sign_negative() != exact.is_sign_negative() {
        return f64::INFINITY;
    }
    let exponent = ((exact.to_bits() >> 52) & 0x7ff) as i32 - 1023;
    let ulp = 2f64.powi(exponent.clamp(-126, 127) - 23);
    let got = if got.is_infinite() { 2f64.powi(128).copysign(got as f64) } else { got as f64 };
    (got - exact).abs() / ulp
}

#[derive(Clone, Copy)]
struct Worst {
    ulps: f64,
    x: f32,
    y: f32,
    got: f32,
    exact: f64,
}

impl Worst {
    const NONE: Worst = Worst { ulps: 0.0, x: 0.0, y: 0.0, got: 0.0, exact: 0.0 };

    fn see(&mut self, x: f32, y: f32, got: f32, exact: f64) {
        let ulps = error_in_ulps(got, exact);
        if ulps > self.ulps {
            *self = Worst { ulps, x, y, got, exact };
        }
    }

    fn check(&self, name: &str, has_fma: bool, bound: f64) {
        let Worst { ulps, x, y, got, exact } = *self;
        println!("{name} fma={has_fma}: {ulps:.3} ulp at x={x:e} ({:#x}) y={y:e}: {got:e} for {exact:e}", x.to_bits());
        assert!(ulps <= bound, "{name} is off by {ulps} ulp at x={x:e} y={y:e}: {got:e} for {exact:e}");
    }
}

/// Which of the bit patterns are taken.
fn stride() -> u64 {
    let asked = std::env::var("TRACEWRIGHT_TEST_ALL_F32").ok();
    asked.map_or(251, |v| v.parse().ok().filter(|&n| n > 0).expect("TRACEWRIGHT_TEST_ALL_F32 is a number above 0"))
}

fn everything() -> bool {
    stride() == 1
}

/// Checks that the function on tiles has the bits of the emitted code.
fn same_on_tiles(op: UnaryOp, function: math::tiles::Function, x: &[f32], emitted: &[f32]) {
    let (tiles, rest) = x.as_chunks::<{ math::tiles::TILE }>();
    assert!(rest.is_empty());
    for (x, emitted) in tiles.iter().zip(emitted.chunks(math::tiles::TILE)) {
        let mut tile = [0.0f32; math::tiles::TILE];
        // SAFETY: vectors of four floats.
        let [a, b, c, d, e, f, g, h]: [math::tiles::Four; 8] = unsafe { std::mem::transmute(*x) };
        // SAFETY: the room is ours.
        unsafe { function(a, b, c, d, e, f, g, h, tile.as_mut_ptr()) };
        for ((x, got), want) in x.iter().zip(tile).zip(emitted) {
            let same = got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan();
            assert!(same, "{} of {x:e} is {got:e} on a tile and {want:e} otherwise", op.name());
        }
    }
}

/// Runs the function over the bit patterns on two threads and checks the largest error.
fn sweep(op: UnaryOp, bound: f64, exact: fn(f64) -> f64) {
    let stride = stride();
    let codes = [true, false].map(|fma| Code::unary(op, fma));
    let half = 1u64 << 31;
    use UnaryOp::{Cos, Erf, Logistic, Sin, Tanh};
    let most = if matches!(op, Tanh | Logistic | Sin | Cos | Erf) { 1.0 } else { f32::INFINITY };
    let worst = std::thread::scope(|s| {
        let codes = codes.each_ref().map(|c| c.run);
        let parts = [0, half].map(|from| {
            s.spawn(move || {
                let mut worst = [Worst::NONE; 2];
                let mut x = [0f32; 4096];
                let mut out = [0f32; 4096];
                let mut bits = from;
                let tile = math::tiles::function(op);
                while bits < from + half {
                    // The last block of a part runs past its end, over patterns of the other.
                    for x in &mut x {
                        *x = f32::from_bits(bits as u32);
                        bits += stride;
                    }
                    let want = x.map(|x| exact(x as f64));
                    for (code, worst) in codes.iter().zip(&mut worst) {
                        call(*code, &x, &x, &mut out);
                        for ((&x, &got), &want) in x.iter().zip(&out).zip(&want) {
                            assert!(
                                got.is_nan() || got.abs() <= most,
                                "{} of {x:e} is {got:e}, beyond {most}",
                                op.name()
                            );
                            worst.see(x, 0.0, got, want);
                        }
                        // The code with FMA is the first.
                        if let Some(function) = tile.filter(|_| std::ptr::eq(code, &codes[0])) {
                            same_on_tiles(op, function, &x, &out);
                        }
                    }
                }
                worst
            })
        });
        let [a, b] = parts.map(|p| p.join().unwrap());
        [0, 1].map(|i| if a[i].ulps > b[i].ulps { a[i] } else { b[i] })
    });
    for (worst, fma) in worst.iter().zip([true, false]) {
        worst.check(op.name(), fma, bound);
    }
    let special = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN, 1.0, -1.0, f32::MAX, f32::MIN];
    let tiny = [f32::from_bits(1), f32::from_bits(0x8000_0001), f32::MIN_POSITIVE, -f32::MIN_POSITIVE, 0.5, -0.5];
    let x: Vec<f32> = special.into_iter().chain(tiny).collect();
    let mut out = vec![0f32; x.len()];
    for (code, fma) in codes.iter().zip([true, false]) {
        call(code.run, &x, &x, &mut out);
        for (&x, &got) in x.iter().zip(&out) {
            let want = exact(x as f64);
            assert!(error_in_ulps(got, want) <= bound, "{} fma={fma}: {got:e} for {want:e} at {x:e}", op.name());
        }
    }
}

#[test]
fn exp() {
    sweep(UnaryOp::Exp, 2.0, f64::exp);
}

#[test]
fn log() {
    sweep(UnaryOp::Log, 2.0, f64::ln);
}

#[test]
fn tanh() {
    sweep(UnaryOp::Tanh, 2.0, f64::tanh);
}

#[test]
fn logistic() {
    sweep(UnaryOp::Logistic, 2.0, |x| 1.0 / (1.0 + (-x).exp()));
}

#[test]
fn sin() {
    sweep(UnaryOp::Sin, 2.0, f64::sin);
}

#[test]
fn cos() {
    sweep(UnaryOp::Cos, 2.0, f64::cos);
}

#[test]
fn erf() {
    sweep(UnaryOp::Erf, 4.0, libm::erf);
}

#[test]
fn exp2() {
    sweep(UnaryOp::Exp2, 2.0, libm::exp2);
}

#[test]
fn expm1() {
    sweep(UnaryOp::Expm1, 2.0, libm::expm1);
}

#[test]
fn log1p() {
    sweep(UnaryOp::Log1p, 2.0, libm::log1p);
}

#[test]
fn log2() {
    sweep(UnaryOp::Log2, 2.0, libm::log2);
}

#[test]
fn log10() {
    sweep(UnaryOp::Log10, 2.0, libm::log10);
}

#[test]
fn cbrt() {
    sweep(UnaryOp::Cbrt, 2.0, libm::cbrt);
}

#[test]
fn tan() {
    sweep(UnaryOp::Tan, 4.0, libm::tan);
}

#[test]
fn asin() {
    sweep(UnaryOp::Asin, 2.0, libm::asin);
}

#[test]
fn acos() {
    sweep(UnaryOp::Acos, 2.0, libm::acos);
}

#[test]
fn atan() {
    sweep(UnaryOp::Atan, 2.0, libm::atan);
}

#[test]
fn sinh() {
    sweep(UnaryOp::Sinh, 2.0, libm::sinh);
}

#[test]
fn cosh() {
    sweep(UnaryOp::Cosh, 2.0, libm::cosh);
}

#[test]
fn asinh() {
    sweep(UnaryOp::Asinh, 2.0, libm::asinh);
}

#[test]
fn acosh() {
    sweep(UnaryOp::Acosh, 2.0, |x| if x < 1.0 { f64::NAN } else { libm::acosh(x) });
}

#[test]
fn atanh() {
    sweep(UnaryOp::Atanh, 2.0, libm::atanh);
}

#[test]
fn erfc() {
    sweep(UnaryOp::Erfc, 2.0, libm::erfc);
}

/// Winitzki's approximation and three of Halley's steps.
#[test]
fn erf_inv() {
    use std::f64::consts::FRAC_2_SQRT_PI;
    sweep(UnaryOp::ErfInv, 2.0, |x| {
        let a = x.abs();
        if a >= 1.0 || a == 0.0 || a.is_nan() {
            return if a > 0.0 && a <= 1.0 {
                f64::INFINITY.copysign(x)
            } else {
                x * if a == 0.0 { 1.0 } else { f64::NAN }
            };
        }
        let log = ((1.0 - a) * (1.0 + a)).ln();
        let half = 2.0 / (std::f64::consts::PI * 0.147) + log / 2.0;
        let start = ((half * half - log / 0.147).sqrt() - half).sqrt();
        let mut y = if a < 1e-3 { a / FRAC_2_SQRT_PI } else { start };
        for _ in 0..3 {
            let missed = if a < 0.5 { libm::erf(y) - a } else { (1.0 - a) - libm::erfc(y) };
            let step = missed / (FRAC_2_SQRT_PI * (-y * y).exp());
            y -= step / (1.0 + y * step);
        }
        y.copysign(x)
    });
}

#[test]
fn lgamma() {
    sweep(UnaryOp::Lgamma, 2.0, libm::lgamma);
}

#[test]
fn digamma() {
    sweep(UnaryOp::Digamma, 2.0, ir::kernel::interp::special::digamma);
}

/// The numbers next to the zeros, where all cancels.
#[test]
fn gamma_functions_near_their_zeros() {
    let near = |zeros: &[f32]| -> Vec<f32> {
        let around = |z: &f32| {
            let bits = z.to_bits();
            (bits - 2000..bits + 2000).map(f32::from_bits)
        };
        zeros.iter().flat_map(around).collect()
    };
    type Case<'a> = (UnaryOp, fn(f64) -> f64, &'a [f32]);
    let cases: [Case; 2] = [
        (
            UnaryOp::Lgamma,
            libm::lgamma,
            &[1.0, 2.0, -2.4570247, -2.7476826, -3.143581, -3.9552948, -4.0393615, -4.991544],
        ),
        (
            UnaryOp::Digamma,
            ir::kernel::interp::special::digamma,
            &[1.4616321, -0.504083, -1.5734985, -2.6107209, -3.6352934],
        ),
    ];
    for (op, exact, zeros) in cases {
        let x = near(zeros);
        for fma in [true, false] {
            let code = Code::unary(op, fma);
            let mut out = vec![0f32; x.len()];
            call(code.run, &x, &x, &mut out);
            let mut worst = Worst::NONE;
            for (&x, &got) in x.iter().zip(&out) {
                worst.see(x, 0.0, got, exact(x as f64));
            }
            worst.check(&format!("{} near its zeros", op.name()), fma, 2.0);
        }
    }
}

#[test]
fn atan2() {
    let magnitudes =
        [0.0, 1e-45, 1e-40, f32::MIN_POSITIVE, 1e-20, 0.4142, 1.0, 2.4143, 3.5, 1e20, f32::MAX, f32::INFINITY];
    let special: Vec<f32> = magnitudes.iter().flat_map(|&m| [m, -m]).chain([f32::NAN]).collect();
    let count = if everything() { 500_000_000 } else { 5_000_000 };
    for fma in [true, false] {
        let code = Code::new(fma, |b, y, x| math::emit_atan2_f32x4(b, fma, y, x));
        let grid = special.iter().flat_map(|&x| special.iter().map(move |&y| (x, y)));
        pairs(code.run, grid, libm::atan2).check("atan2, special values", fma, 2.0);
        let mut bits = random(3);
        let any = std::iter::from_fn(move || {
            let (a, b) = (bits.next()?, bits.next()?);
            // Any bits; then quotients near 1.
            let x = f32::from_bits(a);
            Some(if b % 2 == 0 { (x, f32::from_bits(b)) } else { (x, x * (b as i32 as f32 / 536870912.0)) })
        });
        pairs(code.run, any.take(count), libm::atan2).check("atan2", fma, 2.0);
    }
}

/// A linear congruential generator (Knuth's MMIX constants), upper half.
fn random(seed: u64) -> impl Iterator<Item = u32> {
    let mut state = seed;
    std::iter::from_fn(move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        Some((state >> 32) as u32)
    })
}

/// Runs a function of two numbers over pairs and keeps the worst.
fn pairs(run: Run, pairs: impl Iterator<Item = (f32, f32)>, exact: fn(f64, f64) -> f64) -> Worst {
    let mut worst = Worst::NONE;
    let mut pairs = pairs.peekable();
    let (mut x, mut y, mut out) = ([1f32; 1024], [1f32; 1024], [0f32; 1024]);
    while pairs.peek().is_some() {
        for ((x, y), pair) in x.iter_mut().zip(&mut y).zip(&mut pairs) {
            (*x, *y) = pair;
        }
        call(run, &x, &y, &mut out);
        for ((&x, &y), &got) in x.iter().zip(&y).zip(&out) {
            worst.see(x, y, got, exact(x as f64, y as f64));
        }
    }
    worst
}

#[test]
fn pow() {
    let magnitudes = [
        0.0,
        f32::from_bits(1),
        1.1e-39,
        f32::MIN_POSITIVE,
        1e-20,
        0.1,
        0.5,
        1.0 - f32::EPSILON / 2.0,
        1.0,
        1.0 + f32::EPSILON,
        1.5,
        2.0,
        2.5,
        3.0,
        4.0,
        10.0,
        127.0,
        128.0,
        149.0,
        150.0,
        1001.5,
        8_388_607.0,
        8_388_607.5,
        8_388_608.0,
        8_388_609.0,
        16_777_215.0,
        16_777_216.0,
        1e9,
        1e20,
        f32::MAX,
        f32::INFINITY,
        f32::NAN,
    ];
    let special: Vec<f32> = magnitudes.iter().flat_map(|&m| [m, -m]).collect();
    let count = if everything() { 500_000_000 } else { 5_000_000 };
    for fma in [true, false] {
        let code = Code::new(fma, |b, x, y| math::emit_pow_f32x4(b, fma, x, y));
        let grid = special.iter().flat_map(|&x| special.iter().map(move |&y| (x, y)));
        pairs(code.run, grid, f64::powf).check("pow, special values", fma, 4.0);
        // Any bits; then bases of any size with powers that keep the result about the range; then bases near one.
        let parts = std::thread::scope(|s| {
            let run = code.run;
            [1u64, 2]
                .map(|seed| {
                    s.spawn(move || {
                        let mut r = random(seed);
                        let drawn = std::iter::from_fn(move || {
                            let (a, b) = (r.next()?, r.next()?);
                            let unit = b as i32 as f32 / 2147483648.0;
                            let (x, y) = match b % 4 {
                                0 => (f32::from_bits(a), f32::from_bits(b)),
                                1 => {
                                    let x = f32::from_bits(a);
                                    (x, unit * 160.0 / x.abs().log2())
                                }
                                2 => {
                                    let x = 1.0 + unit / 1024.0;
                                    (x, a as i32 as f32 / 2147483648.0 * 160.0 / x.log2())
                                }
                                _ => (f32::from_bits(a), (unit * 40.0).round()),
                            };
                            Some((x, y))
                        });
                        pairs(run, drawn.take(count / 2), f64::powf)
                    })
                })
                .map(|p| p.join().unwrap())
        });
        for worst in parts {
            worst.check("pow", fma, 4.0);
        }
    }
}

/// Not a check: nanoseconds per element, printed when asked for with `TRACEWRIGHT_TEST_TIMES=1`.
#[test]
fn times() {
    if std::env::var_os("TRACEWRIGHT_TEST_TIMES").is_none_or(|v| v != "1") {
        return;
    }
    let x: Vec<f32> = (0..4096).map(|i| (i as f32 - 2048.0) / 512.0).collect();
    let base: Vec<f32> = x.iter().map(|x| x.abs()).collect();
    let mut out = vec![0f32; x.len()];
    let mut print = |name: &str, code: Code| {
        let best = (0..200).map(|_| {
            let start = Instant::now();
            for _ in 0..10 {
                call(code.run, &base, &x, &mut out);
            }
            start.elapsed().as_nanos() as f64 / (10 * x.len()) as f64
        });
        println!("{name:>9}: {:.3} ns/element", best.fold(f64::INFINITY, f64::min));
    };
    for fma in [true, false] {
        println!("fma={fma}");
        for &op in UnaryOp::ALL.iter().filter(|op| math::has(**op)) {
            print(op.name(), Code::unary(op, fma));
        }
        print("pow", Code::new(fma, |b, x, y| math::emit_pow_f32x4(b, fma, x, y)));
    }
}
