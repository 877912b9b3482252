//! Random numbers: pure functions of a key and a place in a stream.

use super::attribute::op_struct;
use super::elementwise::{Evaluated, random, zip};
use super::rules::{arity, one, same_shape, violation};
use super::{
    BadSample, Barrier, Emit, EvalContext, Lowering, OpDef, OpDoc, OpSamples, PerOperand, Sample, Types, VjpContext,
    pointwise, pointwise_samples,
};
use crate::graph::{RegionType, Value};
use crate::kernel::{BinaryOp, Draw, KernelBuilder, Var};
use crate::ops::EmitExt;
use crate::{DType, Dim, Literal, NotDifferentiable, Scalar, Type, TypedData, Violation, ViolationKind};
use smallvec::smallvec;

/// What these ops are.
pub(super) const FAMILY: &str = "Random numbers";

/// Checks the dtypes of the operands, one by one, and that all have one shape.
fn operands_are(op: &dyn OpDef, operands: &[&Type], dtypes: &[DType]) -> Result<(), Violation> {
    arity(op, operands, dtypes.len())?;
    for (i, (ty, &dtype)) in operands.iter().zip(dtypes).enumerate() {
        if ty.dtype != dtype {
            let rule = format!("operand {i} has dtype {}", ty.dtype);
            return Err(violation(op, operands, rule, format!("it must be {dtype}")).of(ViolationKind::DType));
        }
        same_shape(op, operands, 0, i)?;
    }
    Ok(())
}

/// One number for each key and index.
fn drawn<T: TypedData>(operands: &[&Literal], draw: impl Fn((u32, u32), u64, usize) -> T) -> Evaluated {
    let (a, b) = (operands[0].as_slice::<u32>(), operands[1].as_slice::<u32>());
    let index = operands[2].as_slice::<u64>();
    let elements = (0..index.len()).map(|i| draw((a[i], b[i]), index[i], i)).collect();
    Ok(smallvec![Literal::from_vec(operands[2].dims(), elements)])
}

macro_rules! pointwise_rules {
    () => {
        fn batch(&self, b: &mut dyn Emit, operands: &[Value], axes: &[Option<usize>], size: &Dim) -> Value {
            pointwise::batch(b, self.clone(), operands, axes, size)
        }
        fn lowering(&self) -> Lowering {
            Lowering::Pointwise
        }
    };
}

macro_rules! no_gradient {
    ($reason:literal) => {
        fn vjp(&self, _: &mut dyn Emit, _: &VjpContext<'_>) -> Result<PerOperand, NotDifferentiable> {
            Err(NotDifferentiable($reason))
        }
        fn jvp(
            &self,
            _: &mut dyn Emit,
            _: &[Value],
            _: &[Value],
            _: &[Option<Value>],
        ) -> Result<Option<Value>, NotDifferentiable> {
            Ok(None)
        }
    };
}

const DRAWN: [DType; 4] = [DType::U32, DType::U32, DType::U64, DType::F64];

op_struct! {
    /// Random bits.
    Philox = "philox" {
        /// The last word of the counter, which keeps uses of one key apart.
        stream: u32,
    }
}
impl OpDef for Philox {
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "Random bits (u32): word `index % 4` of a block of Philox4x32-10 (Salmon, Moraes, Dror and Shaw, \
                2011). Operands 0 and 1 are the key; the counter is the low and the high half of `index / 4`, 0, and \
                `stream`. The same in every execution.",
            constraints: &[
                "takes 3 operands",
                "operands 0 and 1, the key, are u32",
                "operand 2, the index, is u64",
                "all operands have the same shape; there is no implicit broadcast",
            ],
            gradient: "None: random bits are integers.",
            example: "philox [0, 0]:u32[2], [0, 0]:u32[2], [0, 5]:u64[2] {stream = 0} = [1713891541, 1555169499]",
        }
    }
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        operands_are(self, operands, &DRAWN[..3])?;
        one(DType::U32, &operands[0].shape)
    }
    fn eval(&self, operands: &[&Literal], _: &mut EvalContext<'_>) -> Evaluated {
        drawn(operands, |key, index, _| random::philox(key, index, self.stream))
    }
    no_gradient!("random bits are integers");
    pointwise_rules!();
    fn scalar(&self, k: &mut KernelBuilder, operands: &[Var]) -> Var {
        k.draw(Draw::Bits { stream: self.stream }, [operands[0], operands[1]], operands[2], None)
    }
}

op_struct! {
    /// The logarithm of a gamma variate.
    RandomLogGamma = "random_log_gamma" {}
}
impl OpDef for RandomLogGamma {
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "The logarithm of a gamma variate of rate 1 and of the shape that operand 3 says, by the method of \
                Marsaglia and Tsang (2000): of small shapes the variate itself would be 0. Operands 0 and 1 are the key, \
                operand 2 is its place in the stream. NaN for a negative shape, -inf for 0.",
            constraints: &[
                "takes 4 operands",
                "operands 0 and 1, the key, are u32",
                "operand 2, the index, is u64",
                "operand 3, the shape of the distribution, is f64",
                "all operands have the same shape; there is no implicit broadcast",
            ],
            gradient: "By the shape of the distribution `g * log_gamma_slope(shape, z)` with the result `z`: the variate \
                moves so that the value of its distribution function stays, as in PyTorch and JAX.",
            example: "random_log_gamma [1, 1]:u32[2], [0, 0]:u32[2], [0, 0]:u64[2], [0, -1]:f64[2] = [-inf, nan]",
        }
    }
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        operands_are(self, operands, &DRAWN)?;
        one(DType::F64, &operands[0].shape)
    }
    fn eval(&self, operands: &[&Literal], _: &mut EvalContext<'_>) -> Evaluated {
        let shape = operands[3].as_slice::<f64>();
        drawn(operands, |key, index, i| random::log_gamma(key, index, shape[i]))
    }
    fn vjp(&self, b: &mut dyn Emit, cx: &VjpContext<'_>) -> Result<PerOperand, NotDifferentiable> {
        pointwise::vjp(b, cx, |b, i, g| (i == 3).then(|| by_shape(b, cx.operands[3], cx.results[0], g)))
    }
    fn jvp(
        &self,
        b: &mut dyn Emit,
        operands: &[Value],
        results: &[Value],
        tangents: &[Option<Value>],
    ) -> Result<Option<Value>, NotDifferentiable> {
        Ok(tangents[3].map(|t| by_shape(b, operands[3], results[0], t)))
    }
    pointwise_rules!();
    fn scalar(&self, k: &mut KernelBuilder, operands: &[Var]) -> Var {
        k.draw(Draw::LogGamma, [operands[0], operands[1]], operands[2], Some(operands[3]))
    }
}

fn by_shape(b: &mut dyn Emit, shape: Value, result: Value, g: Value) -> Value {
    let slope = b.emit(LogGammaSlope {}.into(), &[shape, result]);
    b.mul(g, slope)
}

op_struct! {
    /// A Poisson variate.
    RandomPoisson = "random_poisson" {}
}
impl OpDef for RandomPoisson {
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "A Poisson variate of the rate that operand 3 says: by products of uniform numbers (Knuth) below \
                10, by transformed rejection (Hörmann, 1993) from there on. Operands 0 and 1 are the key, operand 2 is its \
                place in the stream. NaN for a negative rate.",
            constraints: &[
                "takes 4 operands",
                "operands 0 and 1, the key, are u32",
                "operand 2, the index, is u64",
                "operand 3, the rate, is f64",
                "all operands have the same shape; there is no implicit broadcast",
            ],
            gradient: "0 everywhere: the variates are counts.",
            example: "random_poisson [1, 1]:u32[2], [0, 0]:u32[2], [0, 0]:u64[2], [0, -1]:f64[2] = [0, nan]",
        }
    }
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        operands_are(self, operands, &DRAWN)?;
        one(DType::F64, &operands[0].shape)
    }
    fn eval(&self, operands: &[&Literal], _: &mut EvalContext<'_>) -> Evaluated {
        let rate = operands[3].as_slice::<f64>();
        drawn(operands, |key, index, i| random::poisson(key, index, rate[i]))
    }
    fn vjp(&self, _: &mut dyn Emit, _: &VjpContext<'_>) -> Result<PerOperand, NotDifferentiable> {
        Ok(smallvec![None; 4])
    }
    fn jvp(
        &self,
        _: &mut dyn Emit,
        _: &[Value],
        _: &[Value],
        _: &[Option<Value>],
    ) -> Result<Option<Value>, NotDifferentiable> {
        Ok(None)
    }
    fn barrier(&self) -> Option<Barrier> {
        Some(Barrier::Step)
    }
    pointwise_rules!();
    fn scalar(&self, k: &mut KernelBuilder, operands: &[Var]) -> Var {
        k.draw(Draw::Poisson, [operands[0], operands[1]], operands[2], Some(operands[3]))
    }
}

op_struct! {
    /// How the logarithm of a gamma variate moves with its shape.
    LogGammaSlope = "log_gamma_slope" {}
}
impl OpDef for LogGammaSlope {
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "The derivative of the logarithm of a gamma variate by the shape of its distribution, operand 0, at \
                that logarithm, operand 1: `-dP/da / (x dP/dx)` of the regularised incomplete gamma function `P(a, x)`. To \
                some 1e-10, and 1e-7 for shapes of 1e5 and more. NaN for shapes that are not positive.",
            constraints: &["takes 2 operands", "both operands are f64", "both operands have the same shape"],
            gradient: "None: PyTorch and JAX have no second derivative of gamma variates by their shape either.",
            example: "log_gamma_slope [1, 0]:f64[2], [-inf, 1]:f64[2] = [inf, nan]",
        }
    }
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        operands_are(self, operands, &[DType::F64; 2])?;
        one(DType::F64, &operands[0].shape)
    }
    fn eval(&self, operands: &[&Literal], _: &mut EvalContext<'_>) -> Evaluated {
        zip(operands[0], operands[1], random::log_gamma_slope)
    }
    fn vjp(&self, _: &mut dyn Emit, _: &VjpContext<'_>) -> Result<PerOperand, NotDifferentiable> {
        Err(NotDifferentiable(SECOND))
    }
    fn jvp(
        &self,
        _: &mut dyn Emit,
        _: &[Value],
        _: &[Value],
        tangents: &[Option<Value>],
    ) -> Result<Option<Value>, NotDifferentiable> {
        if tangents.iter().all(Option::is_none) { Ok(None) } else { Err(NotDifferentiable(SECOND)) }
    }
    pointwise_rules!();
    fn scalar(&self, k: &mut KernelBuilder, operands: &[Var]) -> Var {
        k.binary(BinaryOp::LogGammaSlope, operands[0], operands[1])
    }
}

const SECOND: &str = "gamma variates have no second derivative by their shape";

/// Keys, indices and parameters of so many elements: the first ones odd.
fn places(dims: &[usize], parameters: &[f64]) -> [Literal; 4] {
    let odd = |dtype| pointwise_samples::odd(dtype);
    let (words, indices) = (odd(DType::U32), odd(DType::U64));
    let at = |all: &Literal, i: usize| all.get(i % all.numel());
    [
        Literal::from_fn(dims, DType::U32, |i| at(&words, i * 5 + 1)),
        Literal::from_fn(dims, DType::U32, |i| at(&words, i / 3)),
        Literal::from_fn(dims, DType::U64, |i| if i % 3 == 0 { at(&indices, i) } else { Scalar::U64(i as u64) }),
        Literal::from_fn(dims, DType::F64, |i| Scalar::F64(parameters[i % parameters.len().max(1)])),
    ]
}

const SHAPES: [&[usize]; 6] = [&[], &[3], &[2, 3], &[0], &[2, 0, 3], &[67]];
const PARAMETERS: [f64; 16] = [
    1.0,
    0.5,
    3.25,
    0.0,
    -1.0,
    f64::NAN,
    f64::INFINITY,
    1e-3,
    1e-300,
    9.99,
    10.0,
    40.0,
    1e6,
    1e15,
    -0.0,
    f64::NEG_INFINITY,
];

fn bad_types(op: impl Into<super::Primitive>, dtypes: &[DType], message: &'static str) -> BadSample {
    let operands = dtypes.iter().map(|&d| Type::new(d, [2])).collect();
    BadSample { primitive: op.into(), operands, message }
}

impl OpSamples for Philox {
    fn samples() -> Vec<Sample> {
        let of = |dims: &&[usize], stream| {
            let [a, b, index, _] = places(dims, &[1.0]);
            // Consecutive ones as well, from a whole block and from within one.
            let start = if stream == 0 { 0 } else { 2 };
            let counted = Literal::from_fn(dims, DType::U64, |i| Scalar::U64(start + i as u64));
            let same = |x: &Literal| Literal::from_fn(dims, DType::U32, |_| x.get(0));
            let mut all =
                vec![Sample { primitive: Philox { stream }.into(), operands: vec![a.clone(), b.clone(), index] }];
            if a.numel() > 0 {
                let operands = vec![same(&a), same(&b), counted];
                all.push(Sample { primitive: Philox { stream }.into(), operands });
            }
            all
        };
        [0, 7, u32::MAX].into_iter().flat_map(|stream| SHAPES.iter().flat_map(move |dims| of(dims, stream))).collect()
    }
    fn bad_samples() -> Vec<BadSample> {
        use DType::{I64, U32, U64};
        let op = Philox { stream: 0 };
        vec![
            bad_types(op.clone(), &[U32, U32], "takes 3 operands, not 2"),
            bad_types(op.clone(), &[U32, U64, U64], "operand 1 has dtype u64; it must be u32"),
            bad_types(op.clone(), &[U32, U32, I64], "operand 2 has dtype i64; it must be u64"),
            BadSample {
                primitive: op.into(),
                operands: vec![Type::scalar(U32), Type::scalar(U32), Type::new(U64, [2])],
                message: "operands 0 and 2 have shapes [] and [2]",
            },
        ]
    }
}

fn drawn_samples(op: impl Into<super::Primitive>) -> Vec<Sample> {
    let primitive = op.into();
    let of = |dims: &&[usize]| Sample { primitive: primitive.clone(), operands: places(dims, &PARAMETERS).to_vec() };
    SHAPES.iter().map(of).collect()
}

fn bad_draws(op: impl Into<super::Primitive>) -> Vec<BadSample> {
    use DType::{F32, F64, I32, U32, U64};
    let op = op.into();
    vec![
        bad_types(op.clone(), &[U32, U32, U64], "takes 4 operands, not 3"),
        bad_types(op.clone(), &[I32, U32, U64, F64], "operand 0 has dtype i32; it must be u32"),
        bad_types(op, &[U32, U32, U64, F32], "operand 3 has dtype f32; it must be f64"),
    ]
}

impl OpSamples for RandomLogGamma {
    fn samples() -> Vec<Sample> {
        drawn_samples(RandomLogGamma {})
    }
    fn bad_samples() -> Vec<BadSample> {
        bad_draws(RandomLogGamma {})
    }
}

impl OpSamples for RandomPoisson {
    fn samples() -> Vec<Sample> {
        drawn_samples(RandomPoisson {})
    }
    fn bad_samples() -> Vec<BadSample> {
        bad_draws(RandomPoisson {})
    }
}

impl OpSamples for LogGammaSlope {
    fn samples() -> Vec<Sample> {
        // Shapes with logarithms of variates around the middle of the distribution and far from it.
        let shapes = [1e-6, 1e-3, 0.3, 1.0, 1.5, 2.0, 7.0, 30.0, 400.0, 2e4];
        let ways: [fn(f64) -> f64; 6] = [
            |a| a.ln(),
            |a| (a + 2.0 * a.sqrt()).ln(),
            |a| (a * a / (a + 2.0 * a.sqrt())).ln(),
            |a| (a + 1.0).ln(),
            |a| (a + 9.0 + 5.0 * a.sqrt()).ln(),
            |a| -1.0 / a,
        ];
        let pairs: Vec<(f64, f64)> = shapes.iter().flat_map(|&a| ways.map(|w| (a, w(a)))).collect();
        let odd = [0.0, -1.0, f64::NAN, f64::INFINITY, 1.0];
        let odd: Vec<(f64, f64)> = odd.iter().flat_map(|&a| [(a, 0.5), (a, f64::NAN), (a, f64::INFINITY)]).collect();
        let of = |pairs: &[(f64, f64)]| {
            let side = |f: fn(&(f64, f64)) -> f64| Literal::from_vec(&[pairs.len()], pairs.iter().map(f).collect());
            Sample { primitive: LogGammaSlope {}.into(), operands: vec![side(|p| p.0), side(|p| p.1)] }
        };
        let scalar = Literal::scalar(Scalar::F64(1.5));
        vec![
            of(&pairs),
            of(&odd),
            of(&[]),
            Sample { primitive: LogGammaSlope {}.into(), operands: vec![scalar.clone(), scalar] },
        ]
    }
    fn bad_samples() -> Vec<BadSample> {
        use DType::{F32, F64};
        vec![
            bad_types(LogGammaSlope {}, &[F64], "takes 2 operands, not 1"),
            bad_types(LogGammaSlope {}, &[F64, F32], "operand 1 has dtype f32; it must be f64"),
        ]
    }
}
