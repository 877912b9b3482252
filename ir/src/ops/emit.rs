//! Emitting ops: what gradient, batching and canonicalisation rules write against. One implementation records into a
//! graph, another executes at once.

use super::{Primitive, binary, convert, create, reduce, unary, view};
use crate::graph::{Graph, Op, Region, Value};
use crate::origin::OriginId;
use crate::{Axes, DType, Dim, Scalar, Shape, Type};
use smallvec::SmallVec;

/// Adds ops of one result. Rules call it with operands they have checked, so an ill-typed op is a bug in the rule and
/// panics; the compiler's boundary reports it as ours.
pub trait Emit {
    /// Adds an op.
    fn emit(&mut self, primitive: Primitive, operands: &[Value]) -> Value;
    /// The type of a value.
    fn ty(&self, v: Value) -> &Type;
    /// Adds the ops of a graph, its inputs bound to `arguments`; yields what its outputs became.
    fn inline(&mut self, graph: &Graph, arguments: &[Value]) -> Vec<Value>;
}

/// Records into a region of a graph, all ops with the same origins.
pub struct GraphEmitter<'a> {
    /// The graph.
    pub graph: &'a mut Graph,
    /// Where ops are appended.
    pub region: Region,
    /// Origins of what is emitted.
    pub origins: SmallVec<[OriginId; 2]>,
}

impl GraphEmitter<'_> {
    /// Appends an op with several results or regions.
    pub fn append(&mut self, primitive: Primitive, operands: &[Value], regions: &[Region]) -> Op {
        let name = primitive.name();
        self.graph
            .append(self.region, primitive, operands, regions, &self.origins)
            .unwrap_or_else(|e| panic!("a rule emitted an ill-typed {name}: {e}"))
    }
}

impl Emit for GraphEmitter<'_> {
    fn emit(&mut self, primitive: Primitive, operands: &[Value]) -> Value {
        let op = self.append(primitive, operands, &[]);
        self.graph.op(op).results[0]
    }
    fn ty(&self, v: Value) -> &Type {
        self.graph.ty(v)
    }
    /// With the origins of the rule, as all that it emits.
    fn inline(&mut self, graph: &Graph, arguments: &[Value]) -> Vec<Value> {
        let first = self.graph.op_count();
        let outputs = self.graph.inline(self.region, graph, arguments);
        for op in first..self.graph.op_count() {
            self.graph.op_mut(Op(op as u32)).origins = self.origins.clone();
        }
        outputs
    }
}

macro_rules! shorthands {
    ($($(#[$doc:meta])* $method:ident($($arg:ident),*) => $prim:expr;)*) => {
        $($(#[$doc])*
        fn $method(&mut self, $($arg: Value),*) -> Value { self.emit($prim.into(), &[$($arg),*]) })*
    };
}

/// Shorthands for the usual ops. Binary ones take operands of one type.
pub trait EmitExt: Emit {
    shorthands! {
        /// Negation.
        neg(x) => unary::Neg {};
        /// Exponential.
        exp(x) => unary::Exp {};
        /// Logarithm.
        log(x) => unary::Log {};
        /// Square root.
        sqrt(x) => unary::Sqrt {};
        /// Sine.
        sin(x) => unary::Sin {};
        /// Cosine.
        cos(x) => unary::Cos {};
        /// Sign.
        sign(x) => unary::Sign {};
        /// Complement.
        not(x) => unary::Not {};
        /// Sum.
        add(x, y) => binary::Add {};
        /// Difference.
        sub(x, y) => binary::Sub {};
        /// Product.
        mul(x, y) => binary::Mul {};
        /// Quotient.
        div(x, y) => binary::Div {};
        /// Power.
        pow(x, y) => binary::Pow {};
        /// Larger.
        max(x, y) => binary::Max {};
        /// Smaller.
        min(x, y) => binary::Min {};
        /// `condition ? x : y`.
        select(condition, x, y) => binary::Select {};
    }

    /// A comparison.
    fn compare(&mut self, direction: binary::Direction, x: Value, y: Value) -> Value {
        self.emit(binary::Compare { direction }.into(), &[x, y])
    }
    /// Converts to a dtype; nothing if it is right already.
    fn convert(&mut self, x: Value, dtype: DType) -> Value {
        if self.ty(x).dtype == dtype { x } else { self.emit(convert::Convert { dtype }.into(), &[x]) }
    }
    /// A tensor of one value.
    fn full(&mut self, value: Scalar, shape: &Shape) -> Value {
        self.emit(create::Full { value, shape: shape.clone() }.into(), &[])
    }
    /// A tensor of the type of `x`, filled with the number `value`.
    fn full_like(&mut self, x: Value, value: f64) -> Value {
        let ty = self.ty(x).clone();
        self.full(Scalar::of(ty.dtype, value), &ty.shape)
    }
    /// `x` times a number.
    fn scale(&mut self, x: Value, by: f64) -> Value {
        let c = self.full_like(x, by);
        self.mul(x, c)
    }
    /// Broadcast; axis `i` of `x` becomes axis `dims[i]`. Nothing if the shape is right already.
    fn broadcast_in_dim(&mut self, x: Value, shape: &Shape, dims: &[usize]) -> Value {
        if self.ty(x).shape == *shape {
            return x;
        }
        self.emit(view::BroadcastInDim { shape: shape.clone(), dims: Axes::from_slice(dims) }.into(), &[x])
    }
    /// Puts back axes that a reduction of a tensor of that shape took away.
    fn broadcast_reduced(&mut self, x: Value, shape: &Shape, axes: &[usize]) -> Value {
        let kept: Axes = (0..shape.rank()).filter(|a| !axes.contains(a)).collect();
        self.broadcast_in_dim(x, shape, &kept)
    }
    /// Reshape; nothing if the shape is right already.
    fn reshape(&mut self, x: Value, shape: &Shape) -> Value {
        if self.ty(x).shape == *shape {
            return x;
        }
        self.emit(view::Reshape { shape: shape.clone() }.into(), &[x])
    }
    /// Transpose; nothing for the identity.
    fn transpose(&mut self, x: Value, permutation: &[usize]) -> Value {
        if permutation.iter().enumerate().all(|(i, &p)| i == p) {
            return x;
        }
        self.emit(view::Transpose { permutation: Axes::from_slice(permutation) }.into(), &[x])
    }
    /// Sum over axes; nothing for no axes.
    fn reduce_sum(&mut self, x: Value, axes: &[usize]) -> Value {
        if axes.is_empty() {
            return x;
        }
        self.emit(reduce::ReduceSum { axes: Axes::from_slice(axes) }.into(), &[x])
    }
    /// An extent as an i64 scalar.
    fn dim_value(&mut self, dim: &Dim) -> Value {
        self.emit(create::DimValue { dim: dim.clone() }.into(), &[])
    }
}
impl<E: Emit + ?Sized> EmitExt for E {}
