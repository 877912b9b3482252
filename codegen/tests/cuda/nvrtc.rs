//! Kernels through NVIDIA's compiler, which needs no GPU.

use crate::compiler::{Nvrtc, Unit, spills};
use crate::data::Random;
use crate::exact::exact;
use crate::loops::{NESTS, SOFTMAX};
use crate::ops::pointwise;
use codegen::cuda::library::{Routine, Way};
use codegen::cuda::{IndexWidth, Source};
use ir::DType;
use ir::kernel::interp::scalar;
use ir::kernel::{BinaryOp, Draw, Kernel, UnaryOp, text::parse};

/// Compiles kernels for each architecture. Yields those that spill.
fn check(nvrtc: &Nvrtc, kernels: &[Kernel], widths: &[IndexWidth]) -> Vec<String> {
    let mut spilling = Vec::new();
    for &width in widths {
        let mut unit = Unit::default();
        for (n, kernel) in kernels.iter().enumerate() {
            // What it computes stands after what it loads.
            let text = kernel.to_string();
            let does = text.lines().map(str::trim).rfind(|l| l.starts_with('%')).unwrap_or_default();
            unit.add(&format!("{} of {does}", kernel.name), Source::new(kernel, &format!("kernel{n}"), width).unwrap());
        }
        for architecture in ["sm_80", "sm_90"] {
            let spills = nvrtc.spills(&unit, architecture).into_iter();
            spilling.extend(spills.map(|s| format!("{}: {} bytes ({architecture}, {width:?})", s.name, s.bytes)));
        }
    }
    spilling
}

/// All that spills: NVIDIA's erf of f64 takes most of the registers for one element, and six are under way.
const SPILLS: [&str; 1] = ["pointwise of %1: f64 = erf %0: 112 bytes (sm_90, Bits32)"];

#[test]
fn every_operation_compiles() {
    let Some(nvrtc) = Nvrtc::load() else { return };
    let mut kernels = Vec::new();
    for dtype in DType::ALL {
        let zero = ir::Scalar::zero(dtype);
        for &op in UnaryOp::ALL {
            if scalar::unary(op, zero).is_some() {
                kernels.push(pointwise(&[dtype], |k, x| k.unary(op, x[0])));
            }
        }
        for &op in BinaryOp::ALL {
            if scalar::binary(op, zero, zero).is_some() {
                kernels.push(pointwise(&[dtype, dtype], |k, x| k.binary(op, x[0], x[1])));
            }
        }
        for to in DType::ALL {
            if to != dtype {
                kernels.push(pointwise(&[dtype], |k, x| k.convert(x[0], to)));
            }
        }
    }
    for draw in Draw::ALL {
        let inputs = [DType::U32, DType::U32, DType::U64, DType::F64];
        let inputs = &inputs[..3 + usize::from(draw.has_parameter())];
        kernels.push(pointwise(inputs, |k, x| k.draw(draw, [x[0], x[1]], x[2], x.get(3).copied())));
    }
    assert!(kernels.len() > 380, "{}", kernels.len());
    assert_eq!(check(&nvrtc, &kernels, &[IndexWidth::Bits32]), SPILLS);
}

#[test]
fn loops_and_random_kernels_compile() {
    let Some(nvrtc) = Nvrtc::load() else { return };
    let mut kernels: Vec<Kernel> = [SOFTMAX, NESTS].iter().map(|text| parse(text).unwrap()).collect();
    for seed in 0..96 {
        let mut random = Random::new(seed);
        kernels.push(exact((0..random.below(600)).map(|_| random.bits() as u8).collect()));
    }
    assert_eq!(check(&nvrtc, &kernels, &[IndexWidth::Bits32, IndexWidth::Bits64]), [""; 0]);
}

#[test]
fn routines_of_the_library_compile() {
    let Some(nvrtc) = Nvrtc::load() else { return };
    let elements = [DType::F64, DType::F32, DType::F16, DType::BF16, DType::U64, DType::U32, DType::U16, DType::U8];
    let mut routines: Vec<Routine> =
        elements.iter().flat_map(|&dtype| Way::ALL.map(|way| Routine::Product(dtype, way))).collect();
    routines.extend(elements.map(Routine::Join));
    for dtype in DType::ALL.into_iter().filter(|&d| d != DType::Bool) {
        let wide = if dtype.size() == 8 { &[true][..] } else { &[false, true] };
        routines.extend(wide.iter().map(|&wide| Routine::Sort { dtype, wide }));
    }
    routines.extend([false, true].map(|wide| Routine::Merge { wide }));
    let mut parts: std::collections::BTreeMap<String, String> = std::collections::BTreeMap::new();
    routines.iter().for_each(|r| *parts.entry(r.prelude()).or_default() += &r.function());
    for (prelude, functions) in parts {
        for architecture in ["sm_80", "sm_90"] {
            let log = nvrtc.compile(&format!("{prelude}{functions}"), architecture);
            assert!(log.contains("registers"), "{log}");
            assert!(spills(&log).is_empty(), "{architecture}\n{log}");
            for line in log.lines().filter(|l| l.contains("stack frame")) {
                assert!(line.contains("0 bytes stack frame"), "{architecture}: {line}\n{log}");
            }
        }
    }
}
