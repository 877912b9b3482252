//! One op of each name, with operands and attributes that suit it.

use super::{Draw, Feed};
use crate::case::{self, BATCH};
use ir::ops::AttrReader;
use ir::ops::binary::{Compare, Direction, Select};
use ir::ops::contract::DotGeneral;
use ir::ops::control::Named;
use ir::ops::convert::{BitcastConvert, Convert};
use ir::ops::create::{Constant, DimValue, Full, Iota};
use ir::ops::cumulative::{CumMax, CumMin, CumProd, CumSum, LinearRecurrence};
use ir::ops::index::{Gather, IndexMode, Scatter, Update};
use ir::ops::random::Philox;
use ir::ops::sort::ArgSort;
use ir::ops::view::{BroadcastInDim, Concatenate, Pad, Reshape, Reverse, Slice, Transpose};
use ir::{Axes, DType, Dim, Primitive, Scalar, Shape, Type, Value};

fn number(d: DType) -> bool {
    d != DType::Bool
}
fn any(_: DType) -> bool {
    true
}

impl Draw {
    /// Tries to append an op of that name.
    pub(super) fn op(&mut self, name: &str) -> Option<Value> {
        match name {
            // Nobody records groups.
            _ if Primitive::has_regions(name) => self.control(name),
            "constant" => {
                let (dtype, shape) = (self.dtype(), self.shape());
                let dims: Vec<usize> = shape.known()?.to_vec();
                let content = self.content();
                let value = case::literal(&mut self.r, dtype, &dims, content);
                self.emit(Constant { value }, &[])
            }
            "full" => {
                let (dtype, shape, content) = (self.dtype(), self.shape(), self.content());
                let value = case::scalar(&mut self.r, dtype, content);
                self.emit(Full { value, shape }, &[])
            }
            "iota" => {
                let (dtype, shape) = (self.dtype(), self.shape());
                let axis = self.r.below(shape.rank().max(1));
                self.emit(Iota { dtype, shape, axis }, &[])
            }
            "dim_value" => {
                let dim = self.dim();
                let dim = if self.r.percent(30) { dim * 2 + 1 } else { dim };
                self.emit(DimValue { dim }, &[])
            }
            "convert" => {
                let (x, dtype) = (self.operand(any), self.r.of(&DType::ALL));
                self.emit(Convert { dtype }, &[x])
            }
            "bitcast_convert" => {
                let x = self.operand(number);
                let same =
                    |d: &DType| *d != DType::Bool && d.size() == self.ty(x).dtype.size() && *d != self.ty(x).dtype;
                let dtypes: Vec<DType> = DType::ALL.into_iter().filter(same).collect();
                let dtype = self.r.of(&dtypes);
                self.emit(BitcastConvert { dtype }, &[x])
            }
            "compare" => {
                let x = self.operand(any);
                let y = self.of_type(&self.ty(x));
                let direction = self.direction();
                self.emit(Compare { direction }, &[x, y])
            }
            "select" => {
                let x = self.operand(any);
                let ty = self.ty(x);
                let y = self.of_type(&ty);
                let condition = self.of_type(&ty.with_dtype(DType::Bool));
                self.emit(Select {}, &[condition, x, y])
            }
            "philox" | "random_log_gamma" | "random_poisson" => {
                let index = self.operand(|d| d == DType::U64);
                let shape = self.ty(index).shape;
                let mut operands: Vec<Value> =
                    (0..2).map(|_| self.of_type(&Type::new(DType::U32, shape.clone()))).collect();
                operands.push(index);
                if name == "philox" {
                    let stream = self.r.of(&[0, 1, u32::MAX]);
                    return self.emit(Philox { stream }, &operands);
                }
                operands.push(self.of_type(&Type::new(DType::F64, shape)));
                self.emit_named(name, &[], &operands)
            }
            "log_gamma_slope" => {
                let x = self.operand(|d| d == DType::F64);
                let y = self.of_type(&self.ty(x));
                self.emit_named(name, &[], &[x, y])
            }
            "broadcast_in_dim" => self.broadcast(),
            "reshape" => self.reshape(),
            "transpose" => {
                let x = self.operand(any);
                let mut permutation: Axes = (0..self.rank(x)).collect();
                self.r.shuffle(&mut permutation);
                self.emit(Transpose { permutation }, &[x])
            }
            "slice" => self.slice(),
            "pad" => self.pad(),
            "concatenate" => self.concatenate(),
            "reverse" => {
                let x = self.operand(any);
                let axes = self.some_axes(self.rank(x));
                self.emit(Reverse { axes }, &[x])
            }
            "named" => {
                let x = self.operand(any);
                self.emit(Named { name: "x".into() }, &[x])
            }
            "dot_general" => self.dot_general(),
            "gather" => self.gather(),
            "scatter" => self.scatter(),
            "reduce_any" | "reduce_all" => self.reduce(name, |d| d == DType::Bool),
            "reduce_max" | "reduce_min" => self.reduce(name, any),
            "reduce_sum" | "reduce_prod" => self.reduce(name, number),
            "cumsum" | "cumprod" | "linear_recurrence" => self.scan(name, number),
            "cummax" | "cummin" => self.scan(name, any),
            "argsort" => {
                let x = self.operand(any);
                let axis = self.r.below(self.rank(x).max(1));
                let descending = self.r.percent(50);
                self.emit(ArgSort { axis, descending }, &[x])
            }
            "argmax" | "argmin" => {
                let x = self.operand(any);
                let axis = self.r.below(self.rank(x).max(1));
                // Empty ones are for `bounds`.
                if self.ty(x).shape.get(axis).is_some_and(|d| self.min_extent(d) == 0) {
                    return None;
                }
                let axes: Axes = [axis].into_iter().collect();
                self.emit_named(name, &[("axes", axes)], &[x])
            }
            _ => self.pointwise(name),
        }
    }

    /// Ops of one or two operands of one type.
    fn pointwise(&mut self, name: &str) -> Option<Value> {
        let float = |d: DType| d.is_float();
        let integral = |d: DType| !d.is_float();
        let legal: fn(DType) -> bool = match name {
            "and" | "or" | "xor" | "not" => integral,
            "popcnt" | "shl" | "shr" => |d| d.is_int(),
            "max" | "min" | "stop_gradient" | "captured" | "fence" => any,
            "neg" | "abs" | "sign" | "add" | "sub" | "mul" | "div" | "rem" | "pow" => number,
            _ => float,
        };
        let x = self.operand(legal);
        let two = ["and", "or", "xor", "max", "min", "add", "sub", "mul", "div", "rem", "pow", "atan2", "shl", "shr"];
        if !two.contains(&name) {
            return self.emit_named(name, &[], &[x]);
        }
        let y = self.of_type(&self.ty(x));
        let operands = if self.r.percent(50) { [x, y] } else { [y, x] };
        self.emit_named(name, &[], &operands)
    }

    /// An op by name, with axis lists as attributes.
    pub(super) fn emit_named(&mut self, name: &str, attributes: &[(&str, Axes)], operands: &[Value]) -> Option<Value> {
        let attributes = attributes.iter().map(|(n, a)| (n.to_string(), ir::ops::Attr::Axes(a.clone()))).collect();
        let primitive = Primitive::from_text(name, &mut AttrReader(attributes)).unwrap_or_else(|e| panic!("{e}"));
        self.emit(primitive, operands)
    }

    fn direction(&mut self) -> Direction {
        use ir::kernel::CompareOp::*;
        self.r.of(&[Eq, Ne, Lt, Le, Gt, Ge])
    }

    /// Sorted axes, most often at least one.
    pub(super) fn some_axes(&mut self, rank: usize) -> Axes {
        let share = self.r.of(&[20, 50, 90]);
        let axes: Axes = (0..rank).filter(|_| self.r.percent(share)).collect();
        if axes.is_empty() && rank > 0 && self.r.percent(90) {
            [self.r.below(rank)].into_iter().collect()
        } else {
            axes
        }
    }

    fn reduce(&mut self, name: &str, legal: fn(DType) -> bool) -> Option<Value> {
        let x = self.operand(legal);
        let axes = self.some_axes(self.rank(x));
        let v = self.emit_named(name, &[("axes", axes.clone())], &[x])?;
        self.reduced.push((v, x, axes));
        Some(v)
    }

    fn broadcast(&mut self) -> Option<Value> {
        // Back to what was reduced, as norms do it.
        if !self.reduced.is_empty() && self.r.percent(50) {
            let (v, x, axes) = self.r.of(&self.reduced.clone());
            let shape = self.ty(x).shape;
            let dims: Axes = (0..shape.rank()).filter(|a| !axes.contains(a)).collect();
            return self.emit(BroadcastInDim { shape, dims }, &[v]);
        }
        let x = self.operand(any);
        let mut shape = self.ty(x).shape;
        let mut dims: Axes = Axes::new();
        let mut at = 0;
        let mut result = Shape::scalar();
        for d in shape.drain(..) {
            while at < 2 && self.r.percent(25) {
                result.push(self.dim());
                at += 1;
            }
            dims.push(result.rank());
            result.push(if d.is(1) && self.r.percent(60) { self.dim() } else { d });
        }
        if result.rank() < 4 && self.r.percent(40) {
            result.push(self.dim());
        }
        self.emit(BroadcastInDim { shape: result, dims }, &[x])
    }

    fn reshape(&mut self) -> Option<Value> {
        let x = self.operand(any);
        let mut shape = self.ty(x).shape;
        for _ in 0..1 + self.r.below(3) {
            let rank = shape.rank();
            match self.r.below(4) {
                0 if rank >= 2 => {
                    let at = self.r.below(rank - 1);
                    let next = shape.remove(at + 1);
                    shape[at] = &shape[at] * next;
                }
                1 if (1..5).contains(&rank) => {
                    let at = self.r.below(rank);
                    let Some(n) = shape[at].as_usize() else { continue };
                    let divisors: Vec<usize> = (1..=n.min(64)).filter(|k| n % k == 0).collect();
                    if divisors.is_empty() {
                        continue;
                    }
                    let by = self.r.of(&divisors);
                    let (a, b) = if self.r.percent(50) { (by, n / by) } else { (n / by, by) };
                    shape[at] = Dim::from(a);
                    shape.insert(at + 1, Dim::from(b));
                }
                2 if rank < 5 => {
                    let at = self.r.below(rank + 1);
                    shape.insert(at, Dim::from(1));
                }
                _ => {
                    if let Some(at) = shape.iter().position(|d| d.is(1)) {
                        shape.remove(at);
                    }
                }
            }
        }
        self.emit(Reshape { shape }, &[x])
    }

    fn slice(&mut self) -> Option<Value> {
        let x = self.operand(any);
        let (mut starts, mut limits, mut strides) = (Shape::scalar(), Shape::scalar(), Axes::new());
        for d in self.ty(x).shape.iter() {
            let least = self.min_extent(d);
            let (mut start, mut end) = (0, 0);
            if least > 0 && self.r.percent(60) {
                start = self.r.below(least as usize + 1) as i64;
                end = self.r.below((least - start) as usize + 1) as i64;
            }
            starts.push(Dim::from(start));
            limits.push(d - end);
            // The second derivative of a strided slice spreads the axis again, which an empty symbolic one cannot be.
            let some = d.is_static() || least > start + end;
            strides.push(if some && self.r.percent(30) { 1 + self.r.below(4) } else { 1 });
        }
        self.emit(Slice { starts, limits, strides }, &[x])
    }

    fn pad(&mut self) -> Option<Value> {
        let x = self.operand(any);
        let ty = self.ty(x);
        let content = self.content();
        let value =
            if self.r.percent(40) { Scalar::zero(ty.dtype) } else { case::scalar(&mut self.r, ty.dtype, content) };
        let (mut low, mut high, mut interior) = (Shape::scalar(), Shape::scalar(), Axes::new());
        for d in ty.shape.iter() {
            let least = self.min_extent(d);
            let mut width = || {
                let n = self.r.weighted(&[(50, 0), (20, 1), (10, 2), (5, 5), (10, -1), (5, -2)]);
                Dim::from(n)
            };
            let (l, h) = (width(), width());
            let between = if self.r.percent(20) { 1 + self.r.below(2) } else { 0 };
            // An empty symbolic axis cannot be spread; that no extent is negative, `emit` sees to.
            let between = if d.is_static() || least > 0 { between } else { 0 };
            let symbolic = self.symbolic && self.r.percent(5);
            low.push(l);
            high.push(if symbolic { Dim::symbol(BATCH) } else { h });
            interior.push(between);
        }
        self.emit(Pad { value, low, high, interior }, &[x])
    }

    fn concatenate(&mut self) -> Option<Value> {
        let x = self.operand(any);
        let ty = self.ty(x);
        let axis = self.r.below(ty.rank().max(1));
        if ty.rank() == 0 {
            return None;
        }
        let mut operands = vec![x];
        for _ in 0..self.r.weighted(&[(10, 0), (60, 1), (25, 2), (5, 5)]) {
            let fits = |t: &Type| {
                t.dtype == ty.dtype && t.rank() == ty.rank() && t.shape.without(&[axis]) == ty.shape.without(&[axis])
            };
            let other = if self.r.percent(50) { self.known(fits) } else { None };
            operands.push(match other {
                Some(v) => v,
                None => {
                    let extent = self.dim();
                    let ty = Type::new(ty.dtype, ty.shape.with_axis(axis, extent));
                    if !self.fits(&ty.shape) {
                        return None;
                    }
                    self.of_type(&ty)
                }
            });
        }
        self.r.shuffle(&mut operands);
        self.emit(Concatenate { axis }, &operands)
    }

    fn dot_general(&mut self) -> Option<Value> {
        let x = self.operand(number);
        let ty = self.ty(x);
        let (mut lhs_batch, mut lhs_contract, mut pairs) = (Axes::new(), Axes::new(), Vec::new());
        let mut axes: Vec<usize> = (0..ty.rank()).collect();
        self.r.shuffle(&mut axes);
        for a in axes {
            match self.r.below(10) {
                0..2 => lhs_batch.push(a),
                2..6 => lhs_contract.push(a),
                _ => {}
            }
        }
        // The right operand: the paired axes and free ones, in any order.
        pairs.extend(lhs_batch.iter().chain(&lhs_contract).map(|&a| (Some(a), ty.shape[a].clone())));
        for _ in 0..self.r.weighted(&[(30, 0), (50, 1), (20, 2)]) {
            pairs.push((None, self.dim()));
        }
        self.r.shuffle(&mut pairs);
        let other = Type::new(ty.dtype, pairs.iter().map(|(_, d)| d.clone()).collect::<Shape>());
        if pairs.len() > 5 || !self.fits(&other.shape) {
            return None;
        }
        let partner = |axes: &Axes| -> Axes {
            axes.iter().filter_map(|&a| pairs.iter().position(|(of, _)| *of == Some(a))).collect()
        };
        let (rhs_batch, rhs_contract) = (partner(&lhs_batch), partner(&lhs_contract));
        let op = DotGeneral { lhs_batch, rhs_batch, lhs_contract, rhs_contract };
        let y = self.of_type(&other);
        self.emit(op, &[x, y])
    }

    /// Axis, batch axes, mode and indices for an operand.
    fn indexing(&mut self, x: Value) -> Option<(usize, usize, IndexMode, Value)> {
        let ty = self.ty(x);
        if ty.rank() == 0 {
            return None;
        }
        let axis = self.r.below(ty.rank());
        let batch = self.r.below(axis + 1);
        let batch = if self.r.percent(50) { 0 } else { batch };
        let mode = self.r.weighted(&[(40, IndexMode::Error), (30, IndexMode::Clamp), (30, IndexMode::Fill)]);
        let limit = ty.shape[axis].clone();
        let some = self.min_extent(&limit) > 0;
        let mut shape: Shape = ty.shape[..batch].iter().cloned().collect();
        for _ in 0..self.r.weighted(&[(25, 0), (55, 1), (20, 2)]) {
            shape.push(self.dim());
        }
        if !self.fits(&shape) || (!some && mode == IndexMode::Clamp) {
            return None;
        }
        let dtype = self.r.of(&[DType::I64, DType::I32, DType::U8, DType::I16, DType::U64]);
        // Whatever happens to be there, where any index is legal.
        if mode != IndexMode::Error
            && self.r.percent(40)
            && let Some(i) = self.known(|t| t.dtype.is_int() && t.shape.get(..batch) == Some(&ty.shape[..batch]))
        {
            return Some((axis, batch, mode, i));
        }
        if mode == IndexMode::Error && !some {
            return None;
        }
        let i = self.feed(Type::new(dtype, shape), Feed::Index(limit));
        Some((axis, batch, mode, i))
    }

    fn scan(&mut self, name: &str, legal: fn(DType) -> bool) -> Option<Value> {
        let x = self.operand(legal);
        let axis = self.r.below(self.rank(x).max(1));
        let reverse = self.r.percent(50);
        match name {
            "cumsum" => self.emit(CumSum { axis, reverse }, &[x]),
            "cumprod" => self.emit(CumProd { axis, reverse }, &[x]),
            "cummax" => self.emit(CumMax { axis, reverse }, &[x]),
            "cummin" => self.emit(CumMin { axis, reverse }, &[x]),
            _ => {
                let ty = self.ty(x);
                let input = self.of_type(&ty);
                self.emit(LinearRecurrence { axis, reverse }, &[x, input])
            }
        }
    }

    fn gather(&mut self) -> Option<Value> {
        let x = self.operand(any);
        let (axis, batch, mode, i) = self.indexing(x)?;
        self.emit(Gather { axis, batch, mode }, &[x, i])
    }

    fn scatter(&mut self) -> Option<Value> {
        let combine = self.r.of(&[Update::Add, Update::Set, Update::Mul, Update::Min, Update::Max]);
        let x = self.operand(|d| combine.takes(d));
        let (axis, batch, mode, i) = self.indexing(x)?;
        let op = Gather { axis, batch, mode };
        let updates = self.graph.infer(&op.into(), &[x, i], &[]).ok()?[0].clone();
        if !self.fits(&updates.shape) {
            return None;
        }
        let updates = self.of_type(&updates);
        self.emit(Scatter { axis, batch, mode, combine }, &[x, i, updates])
    }
}

/// The axis lists of an op by name exist; the rest of the table has typed attributes and is built above.
#[test]
fn every_op_of_the_table_can_be_drawn() {
    let mut d = Draw::new(1);
    for name in Primitive::NAMES.iter().filter(|n| !Primitive::has_regions(n)) {
        let drawn = (0..500).find_map(|_| d.op(name)).and_then(|v| d.graph.defining_op(v));
        let (op, _) = drawn.unwrap_or_else(|| panic!("no `{name}` was drawn"));
        assert_eq!(d.graph.op(op).primitive.name(), *name);
    }
}
