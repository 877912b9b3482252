//! Generalised matrix products.

use super::attribute::op_struct;
use super::batching::{extra_axis_at, in_front, shifted, with_front};
use super::elements::{offsets, signed_strides};
use super::numeric::{Number, with_number};
use super::rules::{arity, dtype_is, one, valid_axes, violation};
use super::samples::{bad, bad_types, odd, sample, values};
use super::{
    BadSample, ContractAxes, Emit, EmitExt, EvalContext, Lowering, OpDef, OpDoc, OpSamples, PerOperand, Primitive,
    Rewriter, Sample, Types, VjpContext,
};
use crate::graph::RegionType;
use crate::graph::Value;
use crate::{Axes, DType, Dim, EvalError, Literal, NotDifferentiable, Shape, Type, Violation, ViolationKind};
use smallvec::{SmallVec, smallvec};

/// What these ops are.
pub(super) const FAMILY: &str = "Generalised matrix products";

op_struct! {
    /// Sums products over pairs of axes. The result's axes: batch, then what is left of the left operand, then of the right.
    DotGeneral = "dot_general" {
        /// Batch axes of the left operand.
        lhs_batch: Axes,
        /// Batch axes of the right operand, paired with the left ones.
        rhs_batch: Axes,
        /// Summed axes of the left operand.
        lhs_contract: Axes,
        /// Summed axes of the right operand, paired with the left ones.
        rhs_contract: Axes,
    }
}
impl OpDef for DotGeneral {
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "Sums products over pairs of axes. The result's axes: batch, then what is left of the left operand, then of the right. 16-bit floats accumulate in f32 and round once; integers wrap; the sum of a single product is that product.",
            constraints: &[
                "operands have one dtype, not bool",
                "axis lists pair up and name each axis once",
                "paired axes have one extent",
            ],
            gradient: "For each operand, the product of the cotangent and the other operand over the other's free axes, transposed to the operand's order.",
            example: "dot_general [[1, 2], [3, 4]]:f32[2, 2], [5, 6]:f32[2] {lhs_batch = [], rhs_batch = [], lhs_contract = [1], rhs_contract = [0]} = [17, 39]",
        }
    }
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 2)?;
        let (x, y) = (operands[0], operands[1]);
        dtype_is(self, operands, 0, |d| d != DType::Bool)?;
        if x.dtype != y.dtype {
            let rule = format!("operands have dtypes {} and {}", x.dtype, y.dtype);
            return Err(
                violation(self, operands, rule, "both must be the same; convert one of them").of(ViolationKind::DType)
            );
        }
        let left: Axes = self.lhs_batch.iter().chain(&self.lhs_contract).copied().collect();
        let right: Axes = self.rhs_batch.iter().chain(&self.rhs_contract).copied().collect();
        valid_axes(self, operands, &left, x.rank())?;
        valid_axes(self, operands, &right, y.rank())?;
        if self.lhs_batch.len() != self.rhs_batch.len() || left.len() != right.len() {
            return Err(violation(self, operands, "axes of the operands do not pair up", "as many on each side"));
        }
        for (&a, &b) in left.iter().zip(&right) {
            if x.shape[a] != y.shape[b] {
                let rule = format!(
                    "axis {a} of the left operand has extent {}, axis {b} of the right {}",
                    x.shape[a], y.shape[b]
                );
                return Err(violation(self, operands, rule, "paired axes have one extent"));
            }
        }
        let batch = self.lhs_batch.iter().map(|&a| x.shape[a].clone());
        let shape: Shape = batch.chain(x.shape.without(&left).0).chain(y.shape.without(&right).0).collect();
        one(x.dtype, shape)
    }
    fn lowering(&self) -> Lowering {
        Lowering::Contract
    }
    fn contract_axes(&self) -> Option<ContractAxes> {
        Some(ContractAxes {
            batch: [self.lhs_batch.clone(), self.rhs_batch.clone()],
            contract: [self.lhs_contract.clone(), self.rhs_contract.clone()],
        })
    }
    fn eval(&self, operands: &[&Literal], cx: &mut EvalContext<'_>) -> Result<SmallVec<[Literal; 1]>, EvalError> {
        let (x, y) = (operands[0], operands[1]);
        let (x_free, y_free) = self.free_axes(x.rank(), y.rank());
        let offsets = |of: &Literal, axes: &[usize]| -> Vec<usize> {
            let strides = signed_strides(of.dims());
            let dims: Axes = axes.iter().map(|&a| of.dims()[a]).collect();
            let strides: SmallVec<[isize; 4]> = axes.iter().map(|&a| strides[a]).collect();
            offsets(&dims, &strides, 0).collect()
        };
        let sides =
            [(x, &self.lhs_batch, &x_free, &self.lhs_contract), (y, &self.rhs_batch, &y_free, &self.rhs_contract)];
        let [x_at, y_at] = sides.map(|(v, b, f, c)| [offsets(v, b), offsets(v, f), offsets(v, c)]);
        Ok(smallvec![with_number!(x.dtype(), T => contract::<T>(x, &x_at, y, &y_at, &cx.results[0]))])
    }
    fn vjp(&self, b: &mut dyn Emit, cx: &VjpContext<'_>) -> Result<PerOperand, NotDifferentiable> {
        let (x, y, ct) = (cx.operands[0], cx.operands[1], cx.cotangent());
        let (x_free, y_free) = self.free_axes(b.ty(x).rank(), b.ty(y).rank());
        let batch = self.lhs_batch.len();
        let of_batch: Axes = (0..batch).collect();
        let of_x: Axes = (batch..batch + x_free.len()).collect();
        let of_y: Axes = (batch + x_free.len()..batch + x_free.len() + y_free.len()).collect();
        let x_gradient = cx.wanted[0].then(|| {
            let op = DotGeneral {
                lhs_batch: of_batch.clone(),
                rhs_batch: self.rhs_batch.clone(),
                lhs_contract: of_y.clone(),
                rhs_contract: y_free.clone(),
            };
            let product = b.emit(op.into(), &[ct, y]);
            // Its axes are the batch, the free axes of x, and the summed axes in the order in which y has them.
            let summed = paired(&self.rhs_contract, &self.lhs_contract);
            let order: Axes = self.lhs_batch.iter().chain(&x_free).chain(&summed).copied().collect();
            transposed_to(b, product, &order)
        });
        let y_gradient = cx.wanted[1].then(|| {
            let op = DotGeneral {
                lhs_batch: self.lhs_batch.clone(),
                rhs_batch: of_batch.clone(),
                lhs_contract: x_free.clone(),
                rhs_contract: of_x.clone(),
            };
            let product = b.emit(op.into(), &[x, ct]);
            let summed = paired(&self.lhs_contract, &self.rhs_contract);
            let order: Axes = self.rhs_batch.iter().chain(&summed).chain(&y_free).copied().collect();
            transposed_to(b, product, &order)
        });
        Ok(smallvec![x_gradient, y_gradient])
    }
    fn jvp(
        &self,
        b: &mut dyn Emit,
        operands: &[Value],
        _: &[Value],
        tangents: &[Option<Value>],
    ) -> Result<Option<Value>, NotDifferentiable> {
        let left = tangents[0].map(|t| b.emit(self.clone().into(), &[t, operands[1]]));
        let right = tangents[1].map(|t| b.emit(self.clone().into(), &[operands[0], t]));
        Ok(match (left, right) {
            (Some(left), Some(right)) => Some(b.add(left, right)),
            (one, other) => one.or(other),
        })
    }
    fn batch(&self, b: &mut dyn Emit, operands: &[Value], axes: &[Option<usize>], size: &Dim) -> Value {
        let batch = self.lhs_batch.len();
        match (axes[0], axes[1]) {
            (Some(_), None) => {
                let x = in_front(b, operands[0], axes[0], size);
                let op = DotGeneral {
                    lhs_batch: shifted(&self.lhs_batch),
                    lhs_contract: shifted(&self.lhs_contract),
                    ..self.clone()
                };
                // The extra axis is the first free axis of the left operand.
                let product = b.emit(op.into(), &[x, operands[1]]);
                extra_axis_at(b, product, Some(batch), 0, size)
            }
            (None, Some(_)) => {
                let y = in_front(b, operands[1], axes[1], size);
                // Without other free axes of the right operand, it can be the left one: rows come out as examples.
                if b.ty(operands[1]).rank() == 1 + self.rhs_batch.len() + self.rhs_contract.len() {
                    let op = DotGeneral {
                        lhs_batch: shifted(&self.rhs_batch),
                        rhs_batch: self.lhs_batch.clone(),
                        lhs_contract: shifted(&self.rhs_contract),
                        rhs_contract: self.lhs_contract.clone(),
                    };
                    let product = b.emit(op.into(), &[y, operands[0]]);
                    return extra_axis_at(b, product, Some(batch), 0, size);
                }
                let op = DotGeneral {
                    rhs_batch: shifted(&self.rhs_batch),
                    rhs_contract: shifted(&self.rhs_contract),
                    ..self.clone()
                };
                let at = b.ty(operands[0]).rank() - self.lhs_contract.len();
                let product = b.emit(op.into(), &[operands[0], y]);
                extra_axis_at(b, product, Some(at), 0, size)
            }
            _ => {
                let both = [0, 1].map(|i| in_front(b, operands[i], axes[i], size));
                let op = DotGeneral {
                    lhs_batch: with_front(0, &shifted(&self.lhs_batch)),
                    rhs_batch: with_front(0, &shifted(&self.rhs_batch)),
                    lhs_contract: shifted(&self.lhs_contract),
                    rhs_contract: shifted(&self.rhs_contract),
                };
                b.emit(op.into(), &both)
            }
        }
    }
    fn canonicalize(&self, b: &mut dyn Rewriter, operands: &[Value], result: &Type) -> Option<Value> {
        if self.lhs_contract.iter().all(|&a| b.ty(operands[0]).shape[a].is(1)) {
            return Some(self.single_terms(b, operands, result));
        }
        let (x_free, y_free) = self.free_axes(b.ty(operands[0]).rank(), b.ty(operands[1]).rank());
        let mut op = self.clone();
        let mut under = [operands[0], operands[1]];
        let sides =
            [(&x_free, &mut op.lhs_batch, &mut op.lhs_contract), (&y_free, &mut op.rhs_batch, &mut op.rhs_contract)];
        for (v, (free, batch, contract)) in under.iter_mut().zip(sides) {
            let Some((Primitive::Transpose(t), inner)) = b.definition(*v) else { continue };
            let old = |axes: &Axes| axes.iter().map(|&a| t.permutation[a]).collect::<Axes>();
            // Free axes keep their order in the result, so they must not have changed places.
            if old(free).is_sorted() {
                (*batch, *contract) = (old(batch), old(contract));
                *v = inner[0];
            }
        }
        (under != operands).then(|| b.emit(op.into(), &under))
    }
}
impl DotGeneral {
    /// Sums of a single product: a multiplication, which fuses.
    fn single_terms(&self, b: &mut dyn Rewriter, operands: &[Value], result: &Type) -> Value {
        let (x_free, y_free) = self.free_axes(b.ty(operands[0]).rank(), b.ty(operands[1]).rank());
        let batch = self.lhs_batch.len();
        let sides = [
            (operands[0], &self.lhs_batch, &x_free, &self.lhs_contract, batch),
            (operands[1], &self.rhs_batch, &y_free, &self.rhs_contract, batch + x_free.len()),
        ];
        let [x, y] = sides.map(|(v, batches, free, contract, first)| {
            let order: Axes = batches.iter().chain(free).chain(contract).copied().collect();
            let v = b.transpose(v, &order);
            let kept: Shape = b.ty(v).shape[..batches.len() + free.len()].iter().cloned().collect();
            let v = b.reshape(v, &kept);
            let dims: Axes = (0..batch).chain(first..first + free.len()).collect();
            b.broadcast_in_dim(v, &result.shape, &dims)
        });
        b.mul(x, y)
    }

    /// The same with the right operand on the left. Its result has the free axes of either side in the place of the other's.
    pub(super) fn exchanged(self) -> DotGeneral {
        let DotGeneral { lhs_batch, rhs_batch, lhs_contract, rhs_contract } = self;
        DotGeneral {
            lhs_batch: rhs_batch,
            rhs_batch: lhs_batch,
            lhs_contract: rhs_contract,
            rhs_contract: lhs_contract,
        }
    }

    /// True if a permutation of the result, for operands of those ranks, does no more than [`DotGeneral::exchanged`].
    pub(super) fn exchanges_sides(&self, [lhs, rhs]: [usize; 2], permutation: &[usize]) -> bool {
        let batch = self.lhs_batch.len();
        let first_of_rhs = lhs - self.lhs_contract.len();
        let rank = first_of_rhs + rhs - self.rhs_contract.len() - batch;
        let exchanged = (0..batch).chain(first_of_rhs..rank).chain(batch..first_of_rhs);
        exchanged.eq(permutation.iter().copied())
    }

    /// The axes of each operand that are neither batch axes nor summed, for operands of those ranks.
    pub fn free_axes(&self, lhs: usize, rhs: usize) -> (Axes, Axes) {
        let free =
            |rank, batch: &Axes, sum: &Axes| (0..rank).filter(|a| !batch.contains(a) && !sum.contains(a)).collect();
        (free(lhs, &self.lhs_batch, &self.lhs_contract), free(rhs, &self.rhs_batch, &self.rhs_contract))
    }
}

/// The product, given the offsets of each operand's batch, free and summed positions.
fn contract<T: Number>(
    x: &Literal,
    x_at: &[Vec<usize>; 3],
    y: &Literal,
    y_at: &[Vec<usize>; 3],
    dims: &[usize],
) -> Literal {
    let (x, y) = (x.as_slice::<T>(), y.as_slice::<T>());
    let mut out = Vec::with_capacity(dims.iter().product());
    for (xb, yb) in x_at[0].iter().zip(&y_at[0]) {
        for xf in &x_at[1] {
            for yf in &y_at[1] {
                let mut terms = x_at[2]
                    .iter()
                    .zip(&y_at[2])
                    .map(|(xs, ys)| T::mul(x[xb + xf + xs].widen(), y[yb + yf + ys].widen()));
                let sum = match x_at[2].len() {
                    1 => terms.next().expect("a single term"),
                    _ => terms.fold(T::UNITS[0], T::add),
                };
                out.push(T::narrow(sum));
            }
        }
    }
    Literal::from_vec(dims, out)
}

/// The entries of `axes`, in the order of their partners.
fn paired(partners: &Axes, axes: &Axes) -> Axes {
    let mut pairs: SmallVec<[(usize, usize); 4]> = partners.iter().copied().zip(axes.iter().copied()).collect();
    pairs.sort_unstable();
    pairs.into_iter().map(|(_, axis)| axis).collect()
}

/// Transposes so that axis `i` becomes axis `order[i]`.
fn transposed_to(b: &mut dyn Emit, v: Value, order: &Axes) -> Value {
    let mut permutation = order.clone();
    for (i, &to) in order.iter().enumerate() {
        permutation[to] = i;
    }
    b.transpose(v, &permutation)
}

impl OpSamples for DotGeneral {
    fn samples() -> Vec<Sample> {
        let op = |lb: &[usize], rb: &[usize], lc: &[usize], rc: &[usize]| DotGeneral {
            lhs_batch: lb.into(),
            rhs_batch: rb.into(),
            lhs_contract: lc.into(),
            rhs_contract: rc.into(),
        };
        let x = |dims: &[usize]| values(DType::F64, dims);
        let mut all = vec![
            sample(op(&[], &[], &[1], &[0]), &[x(&[2, 3]), x(&[3, 4])]),
            sample(op(&[], &[], &[0], &[1]), &[x(&[3, 2]), x(&[4, 3])]),
            sample(op(&[], &[], &[0], &[0]), &[x(&[5]), x(&[5])]),
            sample(op(&[], &[], &[], &[]), &[x(&[2]), x(&[3])]),
            sample(op(&[], &[], &[], &[]), &[x(&[]), x(&[])]),
            sample(op(&[0], &[0], &[2], &[1]), &[x(&[2, 3, 4]), x(&[2, 4, 2])]),
            sample(op(&[1], &[2], &[2], &[0]), &[x(&[3, 2, 4]), x(&[4, 3, 2])]),
            sample(op(&[2, 0], &[0, 3], &[1, 3], &[2, 1]), &[x(&[2, 3, 2, 2]), x(&[2, 2, 3, 2])]),
            sample(op(&[], &[], &[0, 2], &[2, 0]), &[x(&[3, 2, 2]), x(&[2, 4, 3])]),
            sample(op(&[0], &[0], &[], &[]), &[x(&[3]), x(&[3])]),
            sample(op(&[1], &[0], &[2], &[1]), &[x(&[3, 2, 1]), x(&[2, 1, 4])]),
            sample(op(&[], &[], &[1], &[0]), &[x(&[2, 0]), x(&[0, 3])]),
            sample(op(&[], &[], &[1], &[0]), &[x(&[0, 2]), x(&[2, 3])]),
        ];
        for d in DType::ALL.into_iter().filter(|&d| d != DType::Bool) {
            all.push(sample(op(&[], &[], &[1], &[0]), &[values(d, &[3, 33]), values(d, &[33, 5])]));
            all.push(sample(op(&[], &[], &[1], &[0]), &[odd(d, &[4, 3]), values(d, &[3, 2])]));
        }
        all
    }
    fn bad_samples() -> Vec<BadSample> {
        let op = |lb: &[usize], rb: &[usize], lc: &[usize], rc: &[usize]| DotGeneral {
            lhs_batch: lb.into(),
            rhs_batch: rb.into(),
            lhs_contract: lc.into(),
            rhs_contract: rc.into(),
        };
        let types = |a: DType, b: DType| vec![Type::new(a, [2]), Type::new(b, [2])];
        vec![
            bad(op(&[], &[], &[], &[]), [&[2]], "takes 2 operands, not 1"),
            bad_types(op(&[], &[], &[0], &[0]), types(DType::Bool, DType::Bool), "operand 0 has dtype bool"),
            bad_types(op(&[], &[], &[0], &[0]), types(DType::F32, DType::F64), "operands have dtypes f32 and f64"),
            bad(op(&[], &[], &[2], &[0]), [&[2, 3], &[3]], "axis 2 does not exist"),
            bad(op(&[], &[], &[1], &[1]), [&[2, 3], &[3]], "axis 1 does not exist"),
            bad(op(&[1], &[0], &[1], &[0]), [&[2, 3], &[3, 2]], "axis 1 is named twice"),
            bad(op(&[], &[], &[1], &[]), [&[2, 3], &[3]], "do not pair up"),
            bad(op(&[0], &[], &[], &[0]), [&[3], &[3]], "do not pair up"),
            bad(op(&[], &[], &[1], &[0]), [&[2, 3], &[4]], "has extent 3, axis 0 of the right 4"),
        ]
    }
}
