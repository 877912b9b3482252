//! The vector functions of `codegen::cpu::math` against f64 references over the f32 bit patterns.
//!
//! A normal run takes every 251st pattern. All of them, with the largest errors printed:
//! `TRACEWRIGHT_TEST_ALL_F32=1 cargo test --release -p tracewright-codegen --test math_accuracy -- --nocapture`

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

/// Compiled code: two inputs, an output, the number of floats (a multiple of four, at least four).
struct Code {
    run: extern "C" fn(*const f32, *const f32, *mut f32, usize),
    _module: JITModule,
}

impl Code {
    /// A loop over vectors around `body`. With FMA the code is for this machine, without it for the oldest x86-64.
    fn new(has_fma: bool, mut body: impl FnMut(&mut FunctionBuilder, Value, Value) -> Value) -> Code {
        let mut flags = settings::builder();
        flags.set("opt_level", "speed").unwrap();
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
        let run = unsafe {
            std::mem::transmute::<*const u8, extern "C" fn(*const f32, *const f32, *mut f32, usize)>(
                module.get_finalized_function(id),
            )
        };
        Code { run, _module: module }
    }

    fn unary(op: UnaryOp, has_fma: bool) -> Code {
        Code::new(has_fma, |b, x, _| math::emit_f32x4(b, has_fma, op, x).expect("a function of the module"))
    }

    fn call(&self, x: &[f32], y: &[f32], out: &mut [f32]) {
        assert!(x.len() == y.len() && x.len() == out.len() && x.len().is_multiple_of(4) && !x.is_empty());
        (self.run)(x.as_ptr(), y.as_ptr(), out.as_mut_ptr(), x.len());
    }
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

fn everything() -> bool {
    std::env::var_os("TRACEWRIGHT_TEST_ALL_F32").is_some_and(|v| v == "1")
}

/// Runs the function over the bit patterns on two threads and checks the largest error.
fn sweep(op: UnaryOp, bound: f64, exact: fn(f64) -> f64) {
    let stride: u64 = if everything() { 1 } else { 251 };
    let codes = [true, false].map(|fma| Code::unary(op, fma));
    let half = 1u64 << 31;
    let worst = std::thread::scope(|s| {
        let codes = codes.each_ref().map(|c| c.run);
        let parts = [0, half].map(|from| {
            s.spawn(move || {
                let mut worst = [Worst::NONE; 2];
                let mut x = [0f32; 4096];
                let mut out = [0f32; 4096];
                let mut bits = from;
                while bits < from + half {
                    // The last block of a part runs past its end, over patterns of the other.
                    for x in &mut x {
                        *x = f32::from_bits(bits as u32);
                        bits += stride;
                    }
                    let want = x.map(|x| exact(x as f64));
                    for (code, worst) in codes.iter().zip(&mut worst) {
                        code(x.as_ptr(), x.as_ptr(), out.as_mut_ptr(), x.len());
                        for ((&x, &got), &want) in x.iter().zip(&out).zip(&want) {
                            worst.see(x, 0.0, got, want);
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
        code.call(&x, &x, &mut out);
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

/// Not a check: nanoseconds per element, printed when asked for with `TRACEWRIGHT_TEST_TIMES=1`.
#[test]
fn times() {
    if std::env::var_os("TRACEWRIGHT_TEST_TIMES").is_none() {
        return;
    }
    let x: Vec<f32> = (0..4096).map(|i| (i as f32 - 2048.0) / 512.0).collect();
    let mut out = vec![0f32; x.len()];
    for op in UnaryOp::ALL.iter().copied() {
        for fma in [true, false] {
            let mut known = true;
            let code = Code::new(fma, |b, x, _| {
                math::emit_f32x4(b, fma, op, x).unwrap_or_else(|| {
                    known = false;
                    x
                })
            });
            if !known {
                continue;
            }
            let best = (0..200).map(|_| {
                let start = Instant::now();
                for _ in 0..10 {
                    code.call(&x, &x, &mut out);
                }
                start.elapsed().as_nanos() as f64 / (10 * x.len()) as f64
            });
            println!("{:>9} fma={fma}: {:.3} ns/element", op.name(), best.fold(f64::INFINITY, f64::min));
        }
    }
}
