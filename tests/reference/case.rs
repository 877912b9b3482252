//! Recorded cases: reading them, and comparing results with them.

use crate::json::Json;
use ir::half::{bf16, f16};
use ir::{DType, Data, Literal, Scalar};
use std::fs;
use std::path::Path;

/// One recorded case; `tests/data/reference/README.md` describes the fields.
pub struct Case {
    pub name: String,
    pub op: String,
    pub attrs: Json,
    pub inputs: Vec<Literal>,
    pub outputs: Vec<Literal>,
    pub cotangents: Vec<Literal>,
    pub gradients: Vec<Option<Literal>>,
    pub class: Class,
}

/// How results are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    Exact,
    Ulp,
    Reduction,
    Composition,
}

/// The cases of a file.
pub fn read(file: &str) -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/reference").join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let case = |(number, line): (usize, &str)| {
        let json = Json::parse(line).unwrap_or_else(|e| panic!("{file}:{}: {e}", number + 1));
        let tensors = |key: &str| json.find(key).map_or(&[] as &[Json], Json::list).iter();
        Case {
            name: json.get("name").text().into(),
            op: json.get("op").text().into(),
            attrs: json.get("attrs").clone(),
            inputs: tensors("inputs").map(tensor).collect(),
            outputs: tensors("outputs").map(tensor).collect(),
            cotangents: tensors("cotangents").map(tensor).collect(),
            gradients: tensors("gradients").map(|g| (*g != Json::Null).then(|| tensor(g))).collect(),
            class: match json.get("tolerance_class").text() {
                "exact" => Class::Exact,
                "ulp" => Class::Ulp,
                "reduction" => Class::Reduction,
                "composition" => Class::Composition,
                other => panic!("{file}:{}: tolerance class {other}", number + 1),
            },
        }
    };
    text.lines().enumerate().map(case).collect()
}

/// A recorded tensor, or scalar where there is no shape.
pub fn tensor(json: &Json) -> Literal {
    let dtype: DType = json.get("dtype").text().parse().expect("a dtype");
    let dims: Vec<usize> = json.find("shape").map_or(vec![], Json::ints).iter().map(|&d| d as usize).collect();
    let hex = json.get("bits").text();
    let bytes: Vec<u8> = (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect();
    assert_eq!(bytes.len(), dims.iter().product::<usize>() * dtype.size(), "bits do not fill the shape");
    let scalar = |b: &[u8]| Scalar::from_bits(dtype, b.iter().rev().fold(0, |bits, &byte| bits << 8 | u64::from(byte)));
    Literal::new(&dims, Data::collect(dtype, bytes.chunks_exact(dtype.size()).map(scalar)))
}

/// What a comparison allows.
pub struct Tolerance {
    pub class: Class,
    /// For [`Class::Ulp`]: units in the last place, of f64 and f32; 16-bit floats are allowed 1.
    pub ulps: u64,
    /// For [`Class::Reduction`] and [`Class::Composition`]: operations along one result element.
    pub length: usize,
    /// For [`Class::Reduction`] and [`Class::Composition`]: the size of the numbers that cancel.
    pub scale: f64,
}

/// The first difference beyond the tolerance, in words.
pub fn difference(want: &Literal, got: &Literal, tolerance: &Tolerance) -> Option<String> {
    if (want.dtype(), want.dims()) != (got.dtype(), got.dims()) {
        return Some(format!("type {} instead of {}", got.ty(), want.ty()));
    }
    (0..want.numel()).find_map(|i| {
        let (a, b) = (want.get(i), got.get(i));
        (!close(a, b, tolerance)).then(|| format!("element {i} is {b:?} instead of {a:?}"))
    })
}

fn close(want: Scalar, got: Scalar, tolerance: &Tolerance) -> bool {
    if !want.dtype().is_float() {
        return want == got;
    }
    let (a, b) = (want.as_f64(), got.as_f64());
    if a.is_nan() || b.is_nan() {
        return a.is_nan() && b.is_nan();
    }
    if tolerance.class == Class::Exact {
        return want.bits() == got.bits();
    }
    if a == b {
        return a.is_sign_negative() == b.is_sign_negative() || tolerance.class != Class::Ulp;
    }
    let half = want.dtype().is_half();
    if tolerance.class == Class::Ulp {
        return position(want).abs_diff(position(got)) <= if half { 1 } else { tolerance.ulps };
    }
    if a.is_infinite() || b.is_infinite() {
        return false;
    }
    let epsilon = match want.dtype() {
        DType::F64 => f64::EPSILON,
        DType::F32 => f32::EPSILON as f64,
        DType::F16 => f16::EPSILON.to_f64(),
        _ => bf16::EPSILON.to_f64(),
    };
    let rounding = if half { 2.0 } else { 4.0 + tolerance.length as f64 };
    (a - b).abs() <= epsilon * rounding * tolerance.scale.max(a.abs()) + f32::MIN_POSITIVE as f64 * epsilon
}

/// Floats of one dtype in their order: neighbours differ by 1, and both zeros are 0.
fn position(x: Scalar) -> i64 {
    let width = 8 * x.dtype().size();
    let sign = 1u64 << (width - 1);
    let magnitude = (x.bits() & (sign - 1)) as i64;
    if x.bits() & sign != 0 { -magnitude } else { magnitude }
}

#[test]
fn comparison_sees_a_difference() {
    let ulp = |ulps| Tolerance { class: Class::Ulp, ulps, length: 1, scale: 0.0 };
    let exact = Tolerance { class: Class::Exact, ..ulp(0) };
    let f = Scalar::F32;
    let next = |x: f32, n: i32| f32::from_bits(x.to_bits().wrapping_add_signed(n));
    assert!(close(f(1.0), f(next(1.0, 2)), &ulp(2)) && !close(f(1.0), f(next(1.0, 3)), &ulp(2)));
    assert!(close(f(1.0), f(next(1.0, -2)), &ulp(2)) && !close(f(1.0), f(-1.0), &ulp(2)));
    assert!(close(f(f32::from_bits(1)), f(-f32::from_bits(1)), &ulp(2)));
    assert!(!close(f(0.0), f(-0.0), &exact) && !close(f(0.0), f(-0.0), &ulp(2)));
    assert!(close(f(f32::NAN), f(-f32::NAN), &exact) && !close(f(f32::NAN), f(0.0), &ulp(2)));
    assert!(close(f(f32::MAX), f(f32::INFINITY), &ulp(2)) && !close(f(1e38), f(f32::INFINITY), &ulp(2)));
    let sum = Tolerance { class: Class::Reduction, ulps: 0, length: 10, scale: 1.0 };
    assert!(close(f(1e-3), f(1e-3 + 1e-6), &sum) && !close(f(1e-3), f(1e-3 + 3e-6), &sum));
    assert!(!close(f(1.0), f(f32::INFINITY), &sum) && !close(f(f32::INFINITY), f(1.0), &sum));
    assert!(!close(Scalar::I32(1), Scalar::I32(2), &sum));
}

#[test]
fn the_files_are_sound() {
    let files = [
        "pointwise.jsonl",
        "shaped.jsonl",
        "functions.jsonl",
        "arranged.jsonl",
        "contracted.jsonl",
        "composites.jsonl",
        "kinks.jsonl",
        "optimizers.jsonl",
    ];
    let mut total = 0;
    for file in files {
        let cases = read(file);
        let names: std::collections::HashSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names.len(), cases.len(), "{file}: a name occurs twice");
        for case in &cases {
            let types = |xs: &[Literal]| xs.iter().map(Literal::ty).collect::<Vec<_>>();
            assert!(!case.outputs.is_empty(), "{file}: {}", case.name);
            if !case.gradients.is_empty() {
                assert_eq!(types(&case.cotangents), types(&case.outputs), "{file}: {}", case.name);
                assert_eq!(case.gradients.len(), case.inputs.len(), "{file}: {}", case.name);
            }
            for (gradient, input) in case.gradients.iter().zip(&case.inputs) {
                let wanted = input.dtype().is_float().then(|| input.ty());
                assert_eq!(gradient.as_ref().map(Literal::ty), wanted, "{file}: {}", case.name);
            }
        }
        total += cases.len();
    }
    assert!(total >= 900, "only {total} cases were read");
}
