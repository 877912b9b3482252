//! Groups of ops as models have them, where kernels with several passes over a row come from.

use super::{Draw, Feed};
use ir::kernel::CompareOp;
use ir::ops::binary::{Add, Compare, Div, Mul, Select, Sub};
use ir::ops::contract::DotGeneral;
use ir::ops::convert::Convert;
use ir::ops::create::{DimValue, Full, Iota};
use ir::ops::index::{Gather, IndexMode};
use ir::ops::reduce::{ReduceMax, ReduceSum};
use ir::ops::unary::{Exp, Log, Sqrt};
use ir::ops::view::BroadcastInDim;
use ir::{Axes, DType, Dim, Scalar, Shape, Type, Value};

type Drawn = Option<Value>;

impl Draw {
    /// Tries to append one pattern; what was appended before it failed stays.
    pub(super) fn pattern(&mut self) -> Drawn {
        let x = self.operand(DType::is_float);
        match self.r.below(9) {
            0 => self.softmax(x, false),
            1 => self.softmax(x, true),
            2 => self.norm(x),
            3 => self.cross_entropy(x),
            4 => self.linear(x),
            5 => self.update(x),
            6 => self.adam(x),
            7 => self.attention(x),
            _ => self.masked(x),
        }
    }

    /// The axes of a row: most often the last one.
    fn row(&mut self, x: Value) -> Option<Axes> {
        let rank = self.rank(x);
        if rank == 0 {
            return None;
        }
        Some(match self.r.below(10) {
            0..6 => [rank - 1].into_iter().collect(),
            6..8 => [self.r.below(rank)].into_iter().collect(),
            _ => self.some_axes(rank),
        })
    }

    fn again(&mut self, reduced: Value, like: Value, axes: &Axes) -> Drawn {
        let shape = self.ty(like).shape;
        let dims: Axes = (0..shape.rank()).filter(|a| !axes.contains(a)).collect();
        self.emit(BroadcastInDim { shape, dims }, &[reduced])
    }

    fn number(&mut self, like: Value, x: f64) -> Drawn {
        let ty = self.ty(like);
        self.emit(Full { value: Scalar::of(ty.dtype, x), shape: ty.shape }, &[])
    }

    fn softmax(&mut self, x: Value, log: bool) -> Drawn {
        let axes = self.row(x)?;
        let m = self.emit(ReduceMax { axes: axes.clone(), nonempty: false }, &[x])?;
        let m = self.again(m, x, &axes)?;
        let d = self.emit(Sub {}, &[x, m])?;
        let e = self.emit(Exp {}, &[d])?;
        let s = self.emit(ReduceSum { axes: axes.clone() }, &[e])?;
        if log {
            let l = self.emit(Log {}, &[s])?;
            let l = self.again(l, x, &axes)?;
            return self.emit(Sub {}, &[d, l]);
        }
        let s = self.again(s, x, &axes)?;
        self.emit(Div {}, &[e, s])
    }

    fn mean(&mut self, x: Value, axes: &Axes) -> Drawn {
        let s = self.emit(ReduceSum { axes: axes.clone() }, &[x])?;
        let ty = self.ty(x);
        let count = axes.iter().fold(Dim::from(1), |n, &a| n * &ty.shape[a]);
        let n = self.emit(DimValue { dim: count }, &[])?;
        let n = self.emit(Convert { dtype: ty.dtype }, &[n])?;
        let shape = self.ty(s).shape;
        let n = self.emit(BroadcastInDim { shape, dims: Axes::new() }, &[n])?;
        self.emit(Div {}, &[s, n])
    }

    fn norm(&mut self, x: Value) -> Drawn {
        let axes = self.row(x)?;
        let mean = self.mean(x, &axes)?;
        let mean = self.again(mean, x, &axes)?;
        let centred = self.emit(Sub {}, &[x, mean])?;
        let square = self.emit(Mul {}, &[centred, centred])?;
        let variance = self.mean(square, &axes)?;
        let eps = self.number(variance, 0.01)?;
        let variance = self.emit(Add {}, &[variance, eps])?;
        let deviation = self.emit(Sqrt {}, &[variance])?;
        let deviation = self.again(deviation, x, &axes)?;
        let y = self.emit(Div {}, &[centred, deviation])?;
        let ty = self.ty(x);
        let last = ty.rank() - 1;
        let weight = self.of_type(&Type::new(ty.dtype, [ty.shape[last].clone()]));
        let weight = self.emit(BroadcastInDim { shape: ty.shape, dims: [last].into_iter().collect() }, &[weight])?;
        self.emit(Mul {}, &[y, weight])
    }

    fn cross_entropy(&mut self, x: Value) -> Drawn {
        let ty = self.ty(x);
        let last = ty.rank().checked_sub(1)?;
        let classes = ty.shape[last].clone();
        if self.min_extent(&classes) < 1 {
            return None;
        }
        let labels = Type::new(self.r.of(&[DType::I64, DType::I32]), ty.shape.without(&[last]));
        let labels = self.feed(labels, Feed::Index(classes));
        let p = self.softmax(x, true)?;
        if self.ty(p).shape != ty.shape {
            return None;
        }
        let mode = self.r.of(&[IndexMode::Error, IndexMode::Fill]);
        let picked = self.emit(Gather { axis: last, batch: last, mode }, &[p, labels])?;
        let all: Axes = (0..last).collect();
        self.mean(picked, &all)
    }

    fn linear(&mut self, x: Value) -> Drawn {
        let ty = self.ty(x);
        let last = ty.rank().checked_sub(1)?;
        let width = self.dim();
        let weight = self.of_type(&Type::new(ty.dtype, [ty.shape[last].clone(), width.clone()]));
        let dot = DotGeneral {
            lhs_batch: Axes::new(),
            rhs_batch: Axes::new(),
            lhs_contract: [last].into_iter().collect(),
            rhs_contract: [0].into_iter().collect(),
        };
        let y = self.emit(dot, &[x, weight])?;
        let shape = self.ty(y).shape;
        let bias = self.of_type(&Type::new(ty.dtype, [width]));
        let bias = self.emit(BroadcastInDim { shape, dims: [last].into_iter().collect() }, &[bias])?;
        let y = self.emit(Add {}, &[y, bias])?;
        let activation = self.r.of(&["tanh", "logistic", "erf", "neg"]);
        self.emit_named(activation, &[], &[y])
    }

    fn update(&mut self, g: Value) -> Drawn {
        let p = self.input(self.ty(g));
        let rate = self.number(g, 0.125)?;
        let step = self.emit(Mul {}, &[g, rate])?;
        self.emit(Sub {}, &[p, step])
    }

    fn adam(&mut self, g: Value) -> Drawn {
        let ty = self.ty(g);
        let [p, m, v] = [(); 3].map(|()| self.input(ty.clone()));
        let (keep, rest) = (self.number(g, 0.75)?, self.number(g, 0.25)?);
        let (old, new) = (self.emit(Mul {}, &[m, keep])?, self.emit(Mul {}, &[g, rest])?);
        let m = self.emit(Add {}, &[old, new])?;
        let square = self.emit(Mul {}, &[g, g])?;
        let (old, new) = (self.emit(Mul {}, &[v, keep])?, self.emit(Mul {}, &[square, rest])?);
        let v = self.emit(Add {}, &[old, new])?;
        let v = self.emit_named("abs", &[], &[v])?;
        let (root, eps) = (self.emit(Sqrt {}, &[v])?, self.number(g, 0.5)?);
        let below = self.emit(Add {}, &[root, eps])?;
        let step = self.emit(Div {}, &[m, below])?;
        self.emit(Sub {}, &[p, step])
    }

    /// Softmax of products of rows, times rows.
    fn attention(&mut self, q: Value) -> Drawn {
        let ty = self.ty(q);
        let rank = ty.rank();
        if rank < 2 {
            return None;
        }
        let keys = self.dim();
        let mut shape = ty.shape.clone();
        shape[rank - 2] = keys;
        if !self.fits(&shape) {
            return None;
        }
        let (k, v) = (self.of_type(&Type::new(ty.dtype, &shape)), self.of_type(&Type::new(ty.dtype, &shape)));
        let batch: Axes = (0..rank - 2).collect();
        let dot = |lhs: usize, rhs: usize| DotGeneral {
            lhs_batch: batch.clone(),
            rhs_batch: batch.clone(),
            lhs_contract: [lhs].into_iter().collect(),
            rhs_contract: [rhs].into_iter().collect(),
        };
        let scores = self.emit(dot(rank - 1, rank - 1), &[q, k])?;
        let scores = if self.r.percent(50) { self.masked(scores)? } else { scores };
        let p = self.softmax(scores, false)?;
        self.emit(dot(rank - 1, rank - 2), &[p, v])
    }

    /// Keeps what lies below a diagonal.
    fn masked(&mut self, x: Value) -> Drawn {
        let ty = self.ty(x);
        let rank = ty.rank();
        if rank < 2 {
            return None;
        }
        let (a, b) = (self.r.below(rank), self.r.below(rank));
        let count = |axis| Iota { dtype: DType::I32, shape: Shape::from(&ty.shape), axis };
        let (rows, columns) = (self.emit(count(a), &[])?, self.emit(count(b), &[])?);
        let below = self.emit(Compare { direction: CompareOp::Ge }, &[rows, columns])?;
        let low = self.number(x, -8.0)?;
        self.emit(Select {}, &[below, x, low])
    }
}
