//! Updates at computed indices.

use super::{IndexMode, bad_calls, calls, check, gathered, odd_calls, positions, walk};
use crate::Primitive;
use crate::graph::{RegionType, Value};
use crate::ops::attribute::{op_struct, word_attribute};
use crate::ops::batching::{extra_axis_at, in_front};
use crate::ops::binary::Direction;
use crate::ops::create::Iota;
use crate::ops::index::Gather;
use crate::ops::numeric::{InOrder, Ordered, with_any, with_number};
use crate::ops::rules::{arity, dtype_is, one, violation};
use crate::ops::samples::{bad, bad_types, sample, values};
use crate::ops::{
    BadSample, DimValues, Emit, EmitExt, EvalContext, Indexing, Lowering, OpDef, OpDoc, OpSamples, PerOperand,
    Rewriter, Sample, Traits, Types, VjpContext,
};
use crate::{Axes, DType, Dim, EvalError, Literal, NotDifferentiable, Scalar, Shape, Type, Violation};
use serde::{Deserialize, Serialize};
use smallvec::{SmallVec, smallvec};

/// What an update makes of the element that it meets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Update {
    /// Their sum.
    Add,
    /// The update.
    Set,
    /// Their product.
    Mul,
    /// The smaller; NaN wins.
    Min,
    /// The larger; NaN wins.
    Max,
}
word_attribute!(Update { Add = "add", Set = "set", Mul = "mul", Min = "min", Max = "max" });

impl Update {
    /// True if the outcome is one of the elements as it came, so that nothing is computed.
    pub fn moves(self) -> bool {
        self == Update::Set
    }
    /// True for elements that can be combined so.
    pub fn takes(self, dtype: DType) -> bool {
        dtype != DType::Bool || !matches!(self, Update::Add | Update::Mul)
    }
}

op_struct! {
    /// A copy of the first operand in which `updates[b.., p.., i.., q..]` is combined into
    /// `[b.., p.., indices[b.., i..], q..]`, in row-major order of the updates. Operands: operand, indices, updates.
    Scatter = "scatter" {
        /// The indexed axis of the operand.
        axis: usize,
        /// Leading axes shared by operand and indices.
        batch: usize,
        /// What an index out of range means.
        mode: IndexMode,
        /// What an update makes of the element that it meets.
        combine: Update,
    }
}
impl OpDef for Scatter {
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "A copy of the first operand in which `updates[b.., p.., i.., q..]` is combined into `[b.., p.., indices[b.., i..], q..]`, one after the other in row-major order of the updates: `add` and `mul` compute, `set` replaces, so that the last update of a place stays, `min` and `max` keep the smaller and larger as the ops of these names do. 16-bit floats compute in f32 and round once at the end. Modes are those of `gather`; in mode `fill` an update out of range is dropped.",
            constraints: &[
                "the operand is not bool, for `add` and `mul`",
                "indices are integers",
                "updates have the type that `gather` would give",
                "in mode `clamp` the axis is not empty",
            ],
            gradient: "`add`: the operand gets the cotangent, the updates a `gather` of it. `set`: the operand gets it where nothing was written, an update where it was the last. `min` and `max`: in equal parts to the operand's element and the updates that equal the result; NaN where the result is. `mul`: the cotangent times the product of all others at that place; a second derivative by two updates of one place is 0 where one of them is 0, whatever the others are. Indices have none.",
            example: "scatter [0, 0]:f32[2], [1, 1]:i64[2], [3, 4]:f32[2] {axis = 0, batch = 0, mode = error, combine = add} = [0, 7]",
        }
    }
    fn traits(&self) -> Traits {
        Traits { pure: true, commutative: false, fallible: self.mode == IndexMode::Error }
    }
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 3)?;
        dtype_is(self, operands, 0, |d| self.combine.takes(d))?;
        let updates = Type::new(operands[0].dtype, gathered(self, operands, self.at())?);
        if *operands[2] != updates {
            let rule = format!("updates have type {}", operands[2]);
            return Err(violation(self, operands, rule, format!("they must have {updates}")));
        }
        one(operands[0].dtype, &operands[0].shape)
    }
    fn lowering(&self) -> Lowering {
        Lowering::Scatter(self.combine)
    }
    fn indexing(&self) -> Option<Indexing> {
        Some(self.at())
    }
    fn unchecked(&self) -> Option<Primitive> {
        (self.mode == IndexMode::Error).then(|| Self { mode: IndexMode::Fill, ..self.clone() }.into())
    }
    fn check(&self, operands: &[&Type], dim: DimValues<'_>) -> Result<(), EvalError> {
        check(self, operands, self.at(), dim)
    }
    fn eval(&self, operands: &[&Literal], _: &mut EvalContext<'_>) -> Result<SmallVec<[Literal; 1]>, EvalError> {
        let (x, i, updates) = (operands[0], operands[1], operands[2]);
        let mut at = Vec::with_capacity(updates.numel());
        walk(self.at(), x, i, |from, to| at.extend(to.map(|to| (from, to))))?;
        Ok(smallvec![match self.combine {
            Update::Add | Update::Mul => with_number!(x.dtype(), T => {
                let step = if self.combine == Update::Add { <T as InOrder>::add } else { <T as InOrder>::mul };
                computed::<T>(x, updates, &at, step)
            }),
            Update::Set => with_any!(x.dtype(), T => chosen::<T>(x, updates, &at, |_, _| true)),
            Update::Min => with_any!(x.dtype(), T => chosen::<T>(x, updates, &at, |old, new| new.before(old))),
            Update::Max => with_any!(x.dtype(), T => chosen::<T>(x, updates, &at, |old, new| old.before(new))),
        }])
    }
    fn vjp(&self, b: &mut dyn Emit, cx: &VjpContext<'_>) -> Result<PerOperand, NotDifferentiable> {
        let (ct, [x, indices, updates]) = (cx.cotangent(), [cx.operands[0], cx.operands[1], cx.operands[2]]);
        let (of_x, of_updates) = match self.combine {
            Update::Add => (ct, cx.wanted[2].then(|| self.at_updates(b, ct, indices))),
            Update::Set => {
                let of_x = if cx.wanted[0] {
                    let nothing = b.full_like(updates, 0.0);
                    b.emit(self.clone().into(), &[ct, indices, nothing])
                } else {
                    ct
                };
                (of_x, cx.wanted[2].then(|| self.where_last(b, x, indices, ct)))
            }
            Update::Mul => {
                let (for_x, for_updates) = self.others(b, x, indices, updates);
                let of_x = b.mul(ct, for_x);
                let read = self.at_updates(b, ct, indices);
                (of_x, Some(b.mul(read, for_updates)))
            }
            Update::Min | Update::Max => {
                let (won_x, won, count) = self.winners(b, x, indices, updates, cx.results[0]);
                let part = b.div(ct, count);
                let of_x = b.mul(won_x, part);
                let read = self.at_updates(b, part, indices);
                (of_x, Some(b.mul(won, read)))
            }
        };
        Ok(smallvec![cx.wanted[0].then_some(of_x), None, of_updates.filter(|_| cx.wanted[2])])
    }
    fn jvp(
        &self,
        b: &mut dyn Emit,
        operands: &[Value],
        results: &[Value],
        tangents: &[Option<Value>],
    ) -> Result<Option<Value>, NotDifferentiable> {
        if tangents[0].is_none() && tangents[2].is_none() {
            return Ok(None);
        }
        let (x, indices, updates) = (operands[0], operands[1], operands[2]);
        let tx = tangents[0].unwrap_or_else(|| b.full_like(x, 0.0));
        let tu = tangents[2].unwrap_or_else(|| b.full_like(updates, 0.0));
        let sum = Scatter { combine: Update::Add, ..self.clone() };
        Ok(Some(match self.combine {
            Update::Add | Update::Set => b.emit(self.clone().into(), &[tx, indices, tu]),
            Update::Mul => {
                let (for_x, for_updates) = self.others(b, x, indices, updates);
                let (tx, tu) = (b.mul(tx, for_x), b.mul(tu, for_updates));
                b.emit(sum.into(), &[tx, indices, tu])
            }
            Update::Min | Update::Max => {
                let (won_x, won, count) = self.winners(b, x, indices, updates, results[0]);
                let (tx, tu) = (b.mul(tx, won_x), b.mul(tu, won));
                let all = b.emit(sum.into(), &[tx, indices, tu]);
                b.div(all, count)
            }
        }))
    }
    fn batch(&self, b: &mut dyn Emit, operands: &[Value], axes: &[Option<usize>], size: &Dim) -> Value {
        if axes[1].is_none() {
            let x = extra_axis_at(b, operands[0], axes[0], self.batch, size);
            let updates = extra_axis_at(b, operands[2], axes[2], self.batch, size);
            let op = Scatter { axis: self.axis + 1, ..self.clone() };
            let out = b.emit(op.into(), &[x, operands[1], updates]);
            return extra_axis_at(b, out, Some(self.batch), 0, size);
        }
        let all = [0, 1, 2].map(|i| in_front(b, operands[i], axes[i], size));
        let op = Scatter { axis: self.axis + 1, batch: self.batch + 1, ..self.clone() };
        b.emit(op.into(), &all)
    }
    fn canonicalize(&self, b: &mut dyn Rewriter, operands: &[Value], _: &Type) -> Option<Value> {
        // No updates, and so no index that could be out of range.
        if b.ty(operands[2]).shape.iter().any(|d| d.is(0)) {
            return Some(operands[0]);
        }
        self.one_hot(b, operands)
    }
}

impl Scatter {
    fn at(&self) -> Indexing {
        Indexing { axis: self.axis, batch: self.batch, mode: self.mode }
    }

    /// The elements at the places of the updates.
    fn at_updates(&self, b: &mut dyn Emit, from: Value, indices: Value) -> Value {
        b.emit(Gather::from(self.at()).into(), &[from, indices])
    }

    /// The elements of `ct` at the places of the updates, 0 where a later update has the same place.
    fn where_last(&self, b: &mut dyn Emit, x: Value, indices: Value, ct: Value) -> Value {
        let read = self.at_updates(b, ct, indices);
        let (shape, updates) = (b.ty(indices).shape.clone(), b.ty(read).shape.clone());
        if shape[self.batch..].iter().all(|d| d.is(1)) {
            return read;
        }
        // Each index writes its number, and reads which one is left.
        let numbers = b.emit(Iota { dtype: DType::I64, shape: Shape::from([shape.numel()]), axis: 0 }.into(), &[]);
        let numbers = b.reshape(numbers, &shape);
        let each = shape.rank() - self.batch;
        let dims: Axes = (0..self.batch).chain(self.axis..self.axis + each).collect();
        let numbers = b.broadcast_in_dim(numbers, &updates, &dims);
        let operand = b.ty(x).shape.clone();
        let none = b.full(Scalar::I64(-1), &operand);
        let written = b.emit(self.clone().into(), &[none, indices, numbers]);
        let left = self.at_updates(b, written, indices);
        let last = b.compare(Direction::Eq, left, numbers);
        let nothing = b.full_like(read, 0.0);
        b.select(last, read, nothing)
    }

    /// For `mul`, for each element and each update the product of all others at its place.
    fn others(&self, b: &mut dyn Emit, x: Value, indices: Value, updates: Value) -> (Value, Value) {
        let ones = b.full_like(x, 1.0);
        let of_updates = b.emit(self.clone().into(), &[ones, indices, updates]);
        // Updates of 0 are counted, and left out of what is divided; one that is the only 0 of its place has the product.
        let nothing = b.full_like(updates, 0.0);
        let zero = b.compare(Direction::Eq, updates, nothing);
        let one = b.full_like(updates, 1.0);
        let divisor = b.select(zero, one, updates);
        let zero = b.convert(zero, DType::I32);
        let product = b.emit(self.clone().into(), &[ones, indices, divisor]);
        let none = b.full(Scalar::I32(0), &b.ty(x).shape.clone());
        let count = Scatter { combine: Update::Add, ..self.clone() };
        let count = b.emit(count.into(), &[none, indices, zero]);
        let [product, count, x] = [product, count, x].map(|v| self.at_updates(b, v, indices));
        let free = b.compare(Direction::Eq, count, zero);
        let quotient = b.div(product, divisor);
        let others = b.select(free, quotient, nothing);
        (of_updates, b.mul(x, others))
    }

    /// For `min` and `max`, 1 where an element and where an update equals the result, else 0; and how many of both do
    /// at each place, which is 0 for a result of NaN, so that dividing by it gives NaN.
    fn winners(
        &self,
        b: &mut dyn Emit,
        x: Value,
        indices: Value,
        updates: Value,
        result: Value,
    ) -> (Value, Value, Value) {
        let dtype = b.ty(x).dtype;
        let won_x = b.compare(Direction::Eq, x, result);
        let won_x = b.convert(won_x, dtype);
        let best = self.at_updates(b, result, indices);
        let won = b.compare(Direction::Eq, updates, best);
        let won = b.convert(won, dtype);
        let count = Scatter { combine: Update::Add, ..self.clone() };
        let count = b.emit(count.into(), &[won_x, indices, won]);
        (won_x, won, count)
    }

    /// A single update per batch into what is the same everywhere, as in the gradient of cross entropy: each element
    /// asks whether it is meant, and nothing has to be in memory.
    fn one_hot(&self, b: &mut dyn Rewriter, operands: &[Value]) -> Option<Value> {
        let &[x, indices, updates] = operands else { return None };
        let single = b.ty(indices).shape[self.batch..].iter().all(|d| d.is(1));
        if self.mode != IndexMode::Fill || !single || b.splat(x).is_none() {
            return None;
        }
        let shape = b.ty(x).shape.clone();
        let batch: Axes = (0..self.batch).collect();
        let others: Axes = (0..shape.rank()).filter(|&a| a != self.axis).collect();
        let picked = |axes: &Axes| axes.iter().map(|&a| shape[a].clone()).collect::<Shape>();
        let indices = b.reshape(indices, &picked(&batch));
        let indices = positions(b, indices);
        let indices = b.broadcast_in_dim(indices, &shape, &batch);
        let position = b.emit(Iota { dtype: DType::I64, shape: shape.clone(), axis: self.axis }.into(), &[]);
        let meant = b.compare(Direction::Eq, position, indices);
        let updates = b.reshape(updates, &picked(&others));
        let updates = b.broadcast_in_dim(updates, &shape, &others);
        let updated = match self.combine {
            Update::Add => b.add(x, updates),
            Update::Set => updates,
            Update::Mul => b.mul(x, updates),
            Update::Min => b.min(x, updates),
            Update::Max => b.max(x, updates),
        };
        Some(b.select(meant, updated, x))
    }
}

/// The elements after each of the updates (from, to) has replaced the one that is there, if `better` says so or it is
/// the first NaN.
fn chosen<T: Ordered>(x: &Literal, updates: &Literal, at: &[(usize, usize)], better: impl Fn(T, T) -> bool) -> Literal {
    let (mut out, updates) = (x.as_slice::<T>().to_vec(), updates.as_slice::<T>());
    for &(from, to) in at {
        let (old, new) = (out[to], updates[from]);
        if better(old, new) || (new.is_nan() && !old.is_nan()) {
            out[to] = new;
        }
    }
    Literal::from_vec(x.dims(), out)
}

fn computed<T: InOrder>(
    x: &Literal,
    updates: &Literal,
    at: &[(usize, usize)],
    step: impl Fn(T::Running, T) -> T::Running,
) -> Literal {
    let mut running: Vec<T::Running> = x.as_slice::<T>().iter().map(|&v| v.start()).collect();
    let updates = updates.as_slice::<T>();
    for &(from, to) in at {
        running[to] = step(running[to], updates[from]);
    }
    Literal::from_vec(x.dims(), running.into_iter().map(T::end).collect())
}

const ALL: [Update; 5] = [Update::Add, Update::Set, Update::Mul, Update::Min, Update::Max];

impl OpSamples for Scatter {
    fn samples() -> Vec<Sample> {
        let with = |combine: Update, (at, x, i): (Indexing, Literal, Literal)| {
            let updates = gathered(&Gather::from(at), &[&x.ty(), &i.ty()], at).expect("a legal call");
            let updates = values(x.dtype(), &updates.known().expect("extents of literals"));
            let Indexing { axis, batch, mode } = at;
            sample(Scatter { axis, batch, mode, combine }, &[x, i, updates])
        };
        let of = |combine: Update| {
            let calls = calls().into_iter().chain(odd_calls(move |d| combine.takes(d)));
            calls.map(move |call| with(combine, call))
        };
        ALL.into_iter().flat_map(of).collect()
    }
    fn bad_samples() -> Vec<BadSample> {
        let of = |combine: Update| Scatter { axis: 0, batch: 0, mode: IndexMode::Error, combine };
        let op = of(Update::Add);
        let with = |d: DType, updates: &[usize]| {
            vec![Type::new(d, [3]), Type::new(DType::I64, [2]), Type::new(DType::F32, updates)]
        };
        let mut all = vec![
            bad(op.clone(), [&[2]], "takes 3 operands, not 1"),
            bad_types(op.clone(), with(DType::Bool, &[2]), "operand 0 has dtype bool"),
            bad_types(of(Update::Mul), with(DType::Bool, &[2]), "operand 0 has dtype bool"),
            bad_types(of(Update::Set), with(DType::Bool, &[2]), "updates have type f32[2]"),
            bad_types(op.clone(), with(DType::F32, &[3]), "updates have type f32[3]"),
            bad_types(op, with(DType::I32, &[2]), "updates have type f32[2]"),
        ];
        let updates = Type::new(DType::F32, [2]);
        all.extend(bad_calls().into_iter().map(|(Indexing { axis, batch, mode }, x, i, message)| {
            let op = Scatter { axis, batch, mode, combine: Update::Add };
            bad_types(op, vec![x, i, updates.clone()], message)
        }));
        all
    }
}
