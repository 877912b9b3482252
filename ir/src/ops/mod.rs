//! The op table: every primitive, and the rules each one brings.
//!
//! The sign and payload of a NaN that arithmetic yields are left open; which elements are NaN is not. What only moves
//! data, views and selection, keeps every bit.
//!
//! One file per family holds, op by op, everything there is to know about it; passes and backends look at the
//! [`Lowering`] kind and the [`Traits`], never at names. To add an op: a struct with its attributes and an `impl
//! OpDef` in its family's file, and a line in the table below.

pub mod attribute;
mod batching;
pub mod binary;
pub mod contract;
pub mod control;
pub mod convert;
pub mod create;
pub mod cumulative;
pub mod custom;
mod elements;
mod elementwise;
pub mod emit;
pub mod gradient;
pub mod index;
mod numeric;
mod pointwise;
mod pointwise_samples;
pub mod random;
pub mod reduce;
pub mod region;
pub(crate) mod rules;
mod samples;
mod simplify;
pub mod sort;
pub mod unary;
pub mod view;

pub use attribute::{Attr, AttrReader, AttributeDoc, Attributes};
pub use control::Control;
pub use emit::{Emit, EmitExt, GraphEmitter};

use crate::graph::{RegionType, Value, Values};
use crate::kernel::{Combine, KernelBuilder, Var};
use crate::{Dim, EvalError, Graph, Literal, Location, NotDifferentiable, Origin, Scalar, Type, Violation};
use smallvec::SmallVec;

/// Result types of an op.
pub type Types = SmallVec<[Type; 1]>;
/// A value for each operand that has one.
pub type PerOperand = SmallVec<[Option<Value>; 2]>;
/// A value for each result that has one.
pub type PerResult = SmallVec<[Option<Value>; 1]>;

/// Facts that passes may rely on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traits {
    /// Equal operands give equal results and nothing else happens. What is not pure stays even if unused, in its order.
    pub pure: bool,
    /// The two operands may be swapped without changing the bits of the result.
    pub commutative: bool,
    /// May report an error at run time: may be dropped when unused, is never speculated or duplicated.
    pub fallible: bool,
}

/// How an op becomes code. The kinds are closed; ops are not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lowering {
    /// Each result element from the operands' elements at the same index, through [`OpDef::scalar`].
    Pointwise,
    /// Each result element from its index alone, through [`OpDef::generate`].
    Generate,
    /// Each result element is an operand's element elsewhere, or a fill value, through [`OpDef::view`].
    View,
    /// A reduction with a monoid over the axes of [`OpDef::reduced_axes`], which fall away.
    Reduce(Combine),
    /// A generalised matrix product.
    Contract,
    /// Element reads at computed indices.
    Gather,
    /// Element updates at computed indices.
    Scatter(index::Update),
    /// A running value along an axis, which each element makes of the one before it, through [`OpDef::scalar`].
    Cumulative,
    /// The permutation that sorts along an axis.
    Sort,
    /// Host data known at compile time.
    Constant,
    /// Code of its own, [`OpDef::body`], or else its [`OpDef::eval`].
    Opaque,
    /// The op's region, inlined.
    Fused,
    /// Regions that run or not, once or often, as [`OpDef::control`] says.
    Control,
    /// Another name for the operand's memory, which passes do not look through.
    Fence,
}

/// Runs a nested region, by number, on its arguments.
pub type RunRegion<'a> = dyn FnMut(usize, &[Literal]) -> Result<Vec<Literal>, EvalError> + 'a;

/// The value of a dimension under the symbols of a call.
pub type DimValues<'a> = &'a dyn Fn(&Dim) -> Result<i64, EvalError>;

/// What the evaluation of an op may ask for.
pub struct EvalContext<'a> {
    /// The value of a dimension under the call's symbols.
    pub dim: DimValues<'a>,
    /// Extents of each result.
    pub results: &'a [SmallVec<[usize; 4]>],
    /// Types of the op's regions.
    pub regions: &'a [RegionType],
    /// Runs a nested region of the op.
    pub region: &'a mut RunRegion<'a>,
}

/// What a gradient rule sees. `cotangents` has one entry per result, `None` where no gradient flows in.
pub struct VjpContext<'a> {
    /// Operands of the op.
    pub operands: &'a [Value],
    /// Results of the op.
    pub results: &'a [Value],
    /// Gradients of the loss by the results.
    pub cotangents: &'a [Option<Value>],
    /// Which operands' gradients are wanted.
    pub wanted: &'a [bool],
}

impl VjpContext<'_> {
    /// The cotangent of an op with one result.
    pub fn cotangent(&self) -> Value {
        self.cotangents[0].expect("the driver calls a rule only where a gradient flows in")
    }
}

/// A canonicalisation rule may look at how operands are defined.
pub trait Rewriter: Emit {
    /// The primitive and operands that define a value, if an op does.
    fn definition(&self, v: Value) -> Option<(&Primitive, &[Value])>;
    /// True if a single op or output reads the value, once, as far as is known.
    fn is_read_once(&self, _v: Value) -> bool {
        false
    }
    /// The scalar that fills the value, if every element is known to be the same.
    fn splat(&self, v: Value) -> Option<Scalar>;
}

/// Where a result element of a view comes from.
pub struct ViewPiece {
    /// Which operand.
    pub operand: usize,
    /// Index into it, one expression per axis.
    pub index: SmallVec<[Dim; 4]>,
    /// The piece applies where every one of these expressions is not negative,
    pub non_negative: SmallVec<[Dim; 2]>,
    /// and every one of these (value, divisor) has remainder 0.
    pub divisible: SmallVec<[(Dim, Dim); 1]>,
}

/// A view: the first piece that applies gives the element, else the fill value.
pub struct View {
    /// The pieces.
    pub pieces: SmallVec<[ViewPiece; 1]>,
    /// The element where no piece applies; `None` if one always does.
    pub fill: Option<Scalar>,
}

/// An axis-indexed read or update, as [`index::Gather`] and [`index::Scatter`] describe it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Indexing {
    /// The indexed axis of the operand.
    pub axis: usize,
    /// Leading axes shared by operand and indices.
    pub batch: usize,
    /// What an index out of range means.
    pub mode: index::IndexMode,
}

/// What stays the same where only the dtype changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Conversion {
    /// The number, as far as the dtype can hold it.
    Value,
    /// Every bit.
    Bits,
}

/// A running value along an axis.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cumulative {
    /// The axis.
    pub axis: usize,
    /// From the last element to the first.
    pub reverse: bool,
    /// The running value before the first element.
    pub start: Scalar,
}

/// An order along an axis.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sorting {
    /// The axis.
    pub axis: usize,
    /// From the largest element to the smallest.
    pub descending: bool,
}

/// Why no derivative goes through an op.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Barrier {
    /// The result is the outcome of a comparison.
    Comparison,
    /// The result holds positions.
    Position,
    /// Other results that are integers or bools, such as those of casts.
    Integers,
    /// The derivative is 0 wherever there is one.
    Step,
    /// It was asked for.
    Stop,
    /// The op has no rule.
    NoRule,
    /// A loop whose number of iterations is not known, in reverse mode.
    Unbounded,
    /// A function whose derivative the user gave for reverse mode alone, in forward mode.
    ReverseOnly,
    /// A function whose forward derivative the user gave, and that is not linear in the tangents, in reverse mode.
    NotLinear,
    /// What a function with a derivative of its own captures.
    Captured,
}

impl Barrier {
    /// In words.
    pub fn reason(self) -> &'static str {
        match self {
            Barrier::Comparison => "the outcome of a comparison has no derivative",
            Barrier::Position => "positions have no derivative",
            Barrier::Integers => "integers and bools have no derivative",
            Barrier::Step => "its derivative is 0 wherever there is one",
            Barrier::Stop => "it stops gradients",
            Barrier::NoRule => "the op has no rule for its derivative",
            Barrier::Unbounded => "the number of iterations is not known, so nothing can keep what each of them needs",
            Barrier::ReverseOnly => {
                "it has a gradient of its own for reverse mode, and none was given for forward mode"
            }
            Barrier::NotLinear => "the derivative that was given is not linear in the tangents",
            Barrier::Captured => {
                "a function with a derivative of its own (custom_vjp, custom_jvp) has none by what it captures"
            }
        }
    }
}

/// The axes of a generalised matrix product.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ContractAxes {
    /// Batch axes of the left and the right operand, in pairs.
    pub batch: [crate::Axes; 2],
    /// Summed axes, in pairs.
    pub contract: [crate::Axes; 2],
}

/// A sample call: attributes with operands.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The op.
    pub primitive: Primitive,
    /// Operands.
    pub operands: Vec<Literal>,
}

impl Sample {
    /// The graph of this call alone: inputs are its operands, outputs its results, and the line is the caller's.
    ///
    /// ```
    /// use ir::Primitive;
    /// let sample = Primitive::all_samples().remove(0);
    /// let graph = sample.graph();
    /// assert_eq!(graph.inputs().len(), sample.operands.len());
    /// ```
    #[track_caller]
    pub fn graph(&self) -> Graph {
        let mut graph = Graph::new("sample");
        let inputs: Vec<_> = self.operands.iter().map(|l| graph.add_input(l.ty())).collect();
        let origin = Origin { location: Location::caller(), scope: "".into(), gradient: false };
        let origin = graph.origins.intern(origin);
        let root = graph.root();
        let op = graph.append(root, self.primitive.clone(), &inputs, &[], &[origin]).expect("a sample is well-typed");
        graph.set_outputs(graph.op(op).results.to_vec());
        graph
    }
}

/// A call that must be refused.
#[derive(Clone, Debug)]
pub struct BadSample {
    /// The op.
    pub primitive: Primitive,
    /// Operand types.
    pub operands: Vec<Type>,
    /// A part of the message.
    pub message: &'static str,
}

/// Documentation of an op, under fixed headings.
#[derive(Clone, Copy, Debug)]
pub struct OpDoc {
    /// What it computes.
    pub semantics: &'static str,
    /// Constraints.
    pub constraints: &'static [&'static str],
    /// Its derivative in words, or why there is none.
    pub gradient: &'static str,
    /// A line of IR text with values.
    pub example: &'static str,
}

/// The rules of a primitive. Each `impl` stands in its family's file.
pub trait OpDef: Attributes {
    /// Documentation.
    fn doc(&self) -> OpDoc;
    /// Facts for passes.
    fn traits(&self) -> Traits {
        Traits { pure: true, ..Traits::default() }
    }
    /// The type rule.
    fn infer(&self, operands: &[&Type], regions: &[RegionType]) -> Result<Types, Violation>;
    /// What the type rule could not see because it is symbolic: called with the values of the symbols before anything
    /// runs. That no extent of a result is negative is checked for every op.
    fn check(&self, _operands: &[&Type], _dim: DimValues<'_>) -> Result<(), EvalError> {
        Ok(())
    }
    /// The reference evaluation, plain before fast. Operand types are those that `infer` accepted, with symbols
    /// filled in.
    fn eval(&self, operands: &[&Literal], cx: &mut EvalContext<'_>) -> Result<SmallVec<[Literal; 1]>, EvalError>;
    /// The reverse-mode rule: the gradient by each wanted operand, `None` where it is zero.
    fn vjp(&self, b: &mut dyn Emit, cx: &VjpContext<'_>) -> Result<PerOperand, NotDifferentiable>;
    /// The forward-mode rule: the tangent of the result, `None` where it is zero.
    fn jvp(
        &self,
        b: &mut dyn Emit,
        operands: &[Value],
        results: &[Value],
        tangents: &[Option<Value>],
    ) -> Result<Option<Value>, NotDifferentiable>;
    /// The tangent of every result. Drivers call this; an op with one result has [`OpDef::jvp`] alone.
    fn jvp_all(
        &self,
        b: &mut dyn Emit,
        operands: &[Value],
        results: &[Value],
        tangents: &[Option<Value>],
    ) -> Result<PerResult, NotDifferentiable> {
        Ok(PerResult::from_iter([self.jvp(b, operands, results, tangents)?]))
    }
    /// The batching rule: operands carry an extra axis of extent `size` where `axes` says so; yields the result with
    /// the extra axis in front.
    fn batch(&self, b: &mut dyn Emit, operands: &[Value], axes: &[Option<usize>], size: &Dim) -> Value;
    /// Every result with the extra axis in front. Drivers call this; an op with one result has [`OpDef::batch`] alone.
    fn batch_all(&self, b: &mut dyn Emit, operands: &[Value], axes: &[Option<usize>], size: &Dim) -> Values {
        Values::from_iter([self.batch(b, operands, axes, size)])
    }
    /// Why no derivative goes through the op, if none does whatever the operands. That the results are no floats need not
    /// be said.
    fn barrier(&self) -> Option<Barrier> {
        None
    }
    /// How it becomes code.
    fn lowering(&self) -> Lowering;
    /// For [`Lowering::Pointwise`]: the scalar code. For [`Lowering::Cumulative`]: the next running value, of the one before and
    /// the elements of the operands. 16-bit floats never get here: they are legalised to f32 before.
    fn scalar(&self, _k: &mut KernelBuilder, _operands: &[Var]) -> Var {
        unreachable!("{} is not pointwise", self.name())
    }
    /// For [`Lowering::Generate`]: the scalar code; `value` yields the kernel value (i64) of an index expression.
    fn generate(
        &self,
        _k: &mut KernelBuilder,
        _index: &[Dim],
        _value: &mut dyn FnMut(&mut KernelBuilder, &Dim) -> Var,
    ) -> Var {
        unreachable!("{} does not generate", self.name())
    }
    /// For [`Lowering::View`]: where the element of the result at `index` comes from. `ranges` bounds the variables in
    /// `index` and simplifies quotients and remainders.
    fn view(&self, _operands: &[&Type], _result: &Type, _index: &[Dim], _ranges: &crate::Ranges) -> View {
        unreachable!("{} is not a view", self.name())
    }
    /// For [`Lowering::Reduce`]: the axes that fall away, sorted.
    fn reduced_axes(&self) -> &[usize] {
        &[]
    }
    /// For [`Lowering::Reduce`]: the same reduction over other axes.
    fn with_axes(&self, _axes: crate::Axes) -> Primitive {
        unreachable!("{} does not reduce", self.name())
    }
    /// For [`Lowering::Pointwise`]: what stays the same, for an op that does no more than change the dtype.
    fn conversion(&self) -> Option<Conversion> {
        None
    }
    /// For [`Lowering::View`]: the axis along which the operands stand one after the other, for an op that does just
    /// that with any number of them.
    fn joined_axis(&self) -> Option<usize> {
        None
    }
    /// For [`Lowering::Contract`]: which axes are what.
    fn contract_axes(&self) -> Option<ContractAxes> {
        None
    }
    /// For [`Lowering::Gather`] and [`Lowering::Scatter`]: what is indexed.
    fn indexing(&self) -> Option<Indexing> {
        None
    }
    /// For [`Lowering::Cumulative`]: what it runs along, for elements of that dtype.
    fn cumulative(&self, _dtype: crate::DType) -> Option<Cumulative> {
        None
    }
    /// For [`Lowering::Control`]: how operands and regions are used.
    fn control(&self) -> Option<Control> {
        None
    }
    /// The name that the op gives its operand.
    fn value_name(&self) -> Option<&str> {
        None
    }
    /// For [`Lowering::Control`], a loop: the op with another number of constants.
    fn with_constants(&self, _constants: usize) -> Primitive {
        unreachable!("{} has no constants", self.name())
    }
    /// For [`Lowering::Control`]: the op for only some of its operands.
    fn with_operands(&self, _kept: &[bool]) -> Primitive {
        unreachable!("{} needs its operands", self.name())
    }
    /// For [`Lowering::Sort`]: along which axis.
    fn sorting(&self) -> Option<Sorting> {
        None
    }
    /// For [`Lowering::Opaque`]: code of its own.
    fn body(&self) -> Option<&dyn custom::Body> {
        None
    }
    /// For an op that checks its indices: the op for indices that are known to be in range.
    fn unchecked(&self) -> Option<Primitive> {
        None
    }
    /// For [`Lowering::Constant`]: the data.
    fn literal(&self) -> Option<&Literal> {
        None
    }
    /// The scalar that fills the result, if the attributes alone say so.
    fn splat(&self) -> Option<Scalar> {
        None
    }
    /// A value to use in place of the op's result, by a local rule: directional, never worse, of the same type.
    fn canonicalize(&self, _b: &mut dyn Rewriter, _operands: &[Value], _result: &Type) -> Option<Value> {
        None
    }
}

/// Calls for the generic tests.
pub trait OpSamples {
    /// True for an op with regions, which samples do not carry: it has none that are legal.
    const REGIONS: bool = false;
    /// Legal calls: ordinary, empty, rank 0, and with odd values.
    fn samples() -> Vec<Sample>;
    /// Illegal calls with their messages.
    fn bad_samples() -> Vec<BadSample>;
}

/// A line of the table: what there is to know about a primitive without a value of it.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The name in text.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub doc: &'static str,
    /// What its family is, in a sentence: the ops of one file.
    pub family: &'static str,
    /// Its attributes, in declared order.
    pub attributes: &'static [attribute::AttributeDoc],
    /// True if calls have regions.
    pub regions: bool,
    /// Its legal samples.
    pub samples: fn() -> Vec<Sample>,
    /// Its illegal samples.
    pub bad_samples: fn() -> Vec<BadSample>,
}

macro_rules! op_table {
    ($($name:ident => $family:ident),* $(,)?; $($open:ident => $room:ident),*) => {
        /// Every primitive with its attributes; what users define is one of them, and in no table.
        #[derive(Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum Primitive { $(
            #[doc = concat!("See [`", stringify!($family), "::", stringify!($name), "`].")]
            $name($family::$name),
        )* $(
            #[doc = concat!("See [`", stringify!($room), "::", stringify!($open), "`].")]
            $open($room::$open),
        )* }

        impl std::ops::Deref for Primitive {
            type Target = dyn OpDef;
            fn deref(&self) -> &(dyn OpDef + 'static) {
                match self { $(Primitive::$name(op) => op,)* $(Primitive::$open(op) => op,)* }
            }
        }

        impl Primitive {
            /// Names of all primitives, in the order of the table.
            pub const NAMES: &[&str] = &[$($family::$name::NAME),*];

            /// The table.
            pub const TABLE: &[Entry] = &[$(Entry {
                name: $family::$name::NAME,
                doc: $family::$name::DOC,
                family: $family::FAMILY,
                attributes: $family::$name::ATTRIBUTES,
                regions: $family::$name::REGIONS,
                samples: $family::$name::samples,
                bad_samples: $family::$name::bad_samples,
            }),*];

            /// Reads a primitive from its name and attributes.
            pub fn from_text(name: &str, attributes: &mut AttrReader) -> Result<Primitive, String> {
                match name {
                    $($family::$name::NAME => Ok(Primitive::$name($family::$name::read(attributes)?)),)*
                    _ if name.contains('.') => custom::read(name, attributes).map(Primitive::Custom),
                    _ => Err(format!("unknown op `{name}`")),
                }
            }

            /// The legal samples of every primitive.
            pub fn all_samples() -> Vec<Sample> {
                [$($family::$name::samples()),*].concat()
            }

            /// The illegal samples of every primitive.
            pub fn all_bad_samples() -> Vec<BadSample> {
                [$($family::$name::bad_samples()),*].concat()
            }
        }

        $(impl From<$family::$name> for Primitive {
            fn from(op: $family::$name) -> Primitive { Primitive::$name(op) }
        })*
        $(impl From<$room::$open> for Primitive {
            fn from(op: $room::$open) -> Primitive { Primitive::$open(op) }
        })*
    };
}

op_table! {
    Neg => unary, Abs => unary, Sign => unary, Floor => unary, Ceil => unary, Round => unary, Sqrt => unary,
    Exp => unary, Log => unary, Tanh => unary, Logistic => unary, Sin => unary, Cos => unary, Erf => unary, Not => unary,
    Exp2 => unary, Expm1 => unary, Log1p => unary, Log2 => unary, Log10 => unary, Cbrt => unary, Tan => unary,
    Asin => unary, Acos => unary, Atan => unary, Sinh => unary, Cosh => unary, Asinh => unary, Acosh => unary,
    Atanh => unary, Erfc => unary, ErfInv => unary, Lgamma => unary, Digamma => unary, Atan2 => binary,
    Add => binary, Sub => binary, Mul => binary, Div => binary, Rem => binary, Pow => binary, Max => binary,
    Min => binary, And => binary, Or => binary, Xor => binary, Compare => binary, Select => binary,
    Popcnt => unary, Shl => binary, Shr => binary, Convert => convert, BitcastConvert => convert,
    StopGradient => gradient, Captured => gradient,
    Constant => create, Full => create, Iota => create, DimValue => create,
    BroadcastInDim => view, Reshape => view, Transpose => view, Slice => view, Pad => view, Concatenate => view,
    Reverse => view,
    ReduceSum => reduce, ReduceProd => reduce, ReduceMax => reduce, ReduceMin => reduce, ReduceAny => reduce,
    ReduceAll => reduce, ArgMax => reduce, ArgMin => reduce,
    DotGeneral => contract,
    Gather => index, Scatter => index,
    CumSum => cumulative, CumProd => cumulative, CumMax => cumulative, CumMin => cumulative, LinearRecurrence => cumulative,
    ArgSort => sort,
    Philox => random, RandomLogGamma => random, RandomPoisson => random, LogGammaSlope => random,
    Fused => region,
    Switch => control, While => control, Scan => control,
    Call => control, CustomVjp => control, CustomJvp => control, Fence => control, Named => control;
    Custom => custom
}

impl Primitive {
    /// True for the names of ops with regions.
    pub fn has_regions(name: &str) -> bool {
        Primitive::TABLE.iter().any(|entry| entry.name == name && entry.regions)
    }

    /// Symbols in the attributes.
    pub fn symbols(&self) -> Vec<crate::Symbol> {
        let dims = |attr: Attr| match attr {
            Attr::Dim(d) => vec![d],
            Attr::Dims(all) => all,
            _ => Vec::new(),
        };
        let dims = self.attributes().into_iter().flat_map(|(_, attr)| dims(attr));
        dims.filter(|d| !d.is_static()).flat_map(|d| d.symbols()).collect()
    }
}

impl std::fmt::Debug for Primitive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.name())?;
        f.debug_map().entries(self.attributes()).finish()
    }
}
