//! Kernel IR: what a fused group becomes before machine code, shared by every target.
//!
//! A [`Kernel`] is a list of [`Nest`]s. A nest is a grid of independent tasks, numbered `0..grid`; the tasks of all
//! nests of a kernel may run in any order and on any thread. The body of a task is straight-line scalar code with
//! structured [`Loop`]s over loads, stores and pure scalar operations. Everything that decides a result is written
//! here and nowhere else: evaluation order, index arithmetic, masks and accumulation types. A target may only choose
//! how many iterations it does at once where a loop says so.
//!
//! # Semantics
//!
//! - **Values** are scalars in SSA form ([`Var`]); each is visible from its definition to the end of its block and in
//!   blocks nested below. Types are those of [`DType`]. There is no arithmetic on f16 and bf16: they are loaded,
//!   stored, selected and converted only.
//! - **Indices** ([`Index`]) are 64-bit integer expressions over constants, the kernel's extents, loop variables, the
//!   task number and integer values; hash-consed in the kernel, simplified as they are built. They count elements.
//! - **[`LoopKind::Serial`]** runs its iterations in order; accumulators combine in that order.
//! - **[`LoopKind::Lanes`]** promises that iterations are independent of one another except through accumulators, so
//!   a target may run a block of them at once. Each accumulator has [`LANES`] virtual lanes, all starting at the
//!   identity; iteration `i` combines into lane `i % LANES`, in increasing `i`. After the loop the lanes are folded
//!   as a tree: lane `l` takes in lane `l + 16`, then `l + 8`, `+ 4`, `+ 2`, `+ 1`. The outcome has the same bits for
//!   every vector width. A lanes loop may contain serial loops, not other lanes loops.
//! - **Masked loads** do not touch memory where the mask is false and yield the fallback there; masked stores do
//!   nothing there.
//! - **[`Stmt::Check`]** records the first index out of range of a site in the call's status; execution goes on with
//!   the clamped index, and the executable returns the error. First is by nest, then task, then order in the task; among
//!   iterations of a lanes loop that contains other loops, which comes first is the target's choice.
//! - **Floats**: IEEE 754 without contraction or flush-to-zero. `Max` and `Min` yield NaN if either side is NaN, and
//!   order -0 below +0; [`Combine::ArgMax`] and [`Combine::ArgMin`] hold zeros of either sign equal. Conversions are those
//!   of [`crate::Scalar::convert`].
//!   Functions are within [`UnaryOp::ulps`] and [`BinaryOp::ulps`]: 2 ulp, but for tan, erf and pow, which have 4.
//! - **Integers** wrap. `Div` and `Rem` by zero give 0 and the dividend; `MIN / -1` gives `MIN`, `MIN % -1` gives 0; both
//!   truncate. `Shl` and `Shr` by as many bits as there are or more, or by a negative number, leave what comes in: zeros,
//!   or copies of the sign for `Shr` of signed integers.

pub mod builder;
pub mod canonical;
pub mod draw;
pub mod index;
pub mod interp;
pub mod nesting;
mod simplify;
pub mod text;
pub mod verify;

pub use builder::KernelBuilder;
pub use canonical::KernelKey;
pub use index::{Index, IndexNode};

use crate::{DType, Scalar};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// Virtual lanes of an accumulator in a lanes loop.
pub const LANES: usize = 32;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        pub struct $name(pub u32);
        impl $name {
            /// The number as an index into the kernel's table.
            pub fn at(self) -> usize { self.0 as usize }
        }
    )* };
}
ids!(
    /// A scalar value of a kernel.
    Var,
    /// A loop or task variable of a kernel.
    Iter,
    /// An extent argument of a kernel.
    Extent
);

/// How a kernel uses a buffer argument.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Access {
    /// Only loads. The buffer may be that of an [`Access::Out`] parameter if each element is loaded only in the
    /// iteration that stores it, before the store (an update in place); else no written buffer overlaps it.
    In,
    /// Only stores.
    Out,
    /// Loads and stores. Within a task they take effect in order; no element is shared between tasks.
    InOut,
}

/// A buffer argument: a pointer to dense elements.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Param {
    /// Element type.
    pub dtype: DType,
    /// Use.
    pub access: Access,
}

/// Memory private to a running task, aligned to 64 bytes, undefined at its start.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Scratch {
    /// Element type.
    pub dtype: DType,
    /// Number of elements: an expression of constants and extents only.
    pub len: Index,
}

/// What a load or store refers to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Memory {
    /// The buffer argument of that number.
    Param(u32),
    /// The scratch row of that number.
    Scratch(u32),
}

/// A compiled unit: buffers and extents in, nests of tasks.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Kernel {
    /// For people; not part of the identity of the code.
    pub name: String,
    /// Buffer arguments.
    pub params: Vec<Param>,
    /// Number of extent arguments (i64 each).
    pub extents: u32,
    /// Scratch rows of one running task.
    pub scratch: Vec<Scratch>,
    /// Number of index-check sites; the status of a call has one slot each.
    pub sites: u32,
    /// The work.
    pub nests: Vec<Nest>,
    /// Hash-consed index expressions.
    pub indices: index::IndexTable,
    /// The type of each [`Var`].
    pub vars: Vec<DType>,
    /// Number of [`Iter`]s.
    pub iters: u32,
}

/// A grid of independent tasks.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Nest {
    /// The variable that numbers the tasks.
    pub task: Iter,
    /// Number of tasks: an expression of constants and extents only.
    pub grid: Index,
    /// Estimated scalar operations and memory accesses of one task, an expression as `grid`; guides the split over
    /// threads, never a result.
    pub work: Index,
    /// What one task does.
    pub body: Block,
}

/// Statements in order.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Block(pub Vec<Stmt>);

/// One statement.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Stmt {
    /// Defines a value.
    Let {
        /// The value defined.
        var: Var,
        /// How.
        expr: Expr,
    },
    /// Writes one element.
    Store {
        /// Where.
        memory: Memory,
        /// Which element.
        index: Index,
        /// What; of the memory's dtype.
        value: Var,
        /// Only if this bool is true.
        mask: Option<Var>,
    },
    /// A loop.
    Loop(Loop),
    /// Records in slot `site` of the status if `index` (i64) is negative or not below `bound`.
    Check {
        /// Which site.
        site: u32,
        /// The index, an i64 value.
        index: Var,
        /// The first index that is too large.
        bound: Index,
        /// Only if this bool is true.
        mask: Option<Var>,
    },
}

/// How iterations of a loop relate.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum LoopKind {
    /// In order, one by one.
    Serial,
    /// Independent but for accumulators with virtual lanes.
    Lanes,
}

/// A counted loop from 0.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Loop {
    /// The variable.
    pub iter: Iter,
    /// Number of iterations.
    pub extent: Index,
    /// How iterations relate.
    pub kind: LoopKind,
    /// Reductions over the iterations; their results are visible after the loop, in the enclosing block.
    pub accumulators: Vec<Accumulator>,
    /// What one iteration does.
    pub body: Block,
}

/// A reduction over a loop.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Accumulator {
    /// How two values combine.
    pub combine: Combine,
    /// The value that an iteration contributes, defined in the loop's body: one, or value and i64 position for
    /// [`Combine::ArgMax`] and [`Combine::ArgMin`].
    pub inputs: SmallVec<[Var; 2]>,
    /// The outcome, as many as inputs and of their types.
    pub results: SmallVec<[Var; 2]>,
}

/// A monoid.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Combine {
    /// Addition; identity 0.
    Sum,
    /// Multiplication; identity 1.
    Product,
    /// Larger, NaN wins; identity the lowest value.
    Max,
    /// Smaller, NaN wins; identity the highest value.
    Min,
    /// Logical or; identity false.
    Any,
    /// Logical and; identity true.
    All,
    /// Value and position of the largest; NaN wins, then the smaller position. Identity: lowest value, position `i64::MAX`.
    ArgMax,
    /// Value and position of the smallest; NaN wins, then the smaller position. Identity: highest value, `i64::MAX`.
    ArgMin,
}

/// A pure scalar operation or a load.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Expr {
    /// A constant.
    Const(Scalar),
    /// An index expression as an i64.
    Index(Index),
    /// One operand, result of its type.
    Unary(UnaryOp, Var),
    /// Two operands of one type, result of that type.
    Binary(BinaryOp, Var, Var),
    /// Two operands of one type, result bool.
    Compare(CompareOp, Var, Var),
    /// The second operand where the first, a bool, is true; else the third.
    Select(Var, Var, Var),
    /// Converts to another dtype.
    Convert(Var, DType),
    /// The same bits as another dtype of the same size; not bool.
    Bitcast(Var, DType),
    /// Reads one element.
    Load {
        /// Where.
        memory: Memory,
        /// Which element.
        index: Index,
        /// Where the bool is false, memory is not touched and the scalar is the result.
        mask: Option<(Var, Scalar)>,
    },
    /// One number of a random stream; a pure function of its operands.
    Draw {
        /// Of which kind.
        draw: Draw,
        /// Two u32.
        key: [Var; 2],
        /// Which number of the stream, u64.
        index: Var,
        /// The f64 parameter of a distribution that has one.
        parameter: Option<Var>,
    },
}

/// A kind of random number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Draw {
    /// A u32 of Philox4x32-10: [`draw::bits`].
    Bits {
        /// The last word of the counter.
        stream: u32,
    },
    /// The logarithm of a gamma variate, f64: [`draw::log_gamma`].
    LogGamma,
    /// A Poisson variate, f64: [`draw::poisson`].
    Poisson,
}

impl Draw {
    /// One of each kind.
    pub const ALL: [Draw; 3] = [Draw::Bits { stream: 0 }, Draw::LogGamma, Draw::Poisson];
    /// The name in text.
    pub const fn name(self) -> &'static str {
        match self {
            Draw::Bits { .. } => "philox",
            Draw::LogGamma => "random_log_gamma",
            Draw::Poisson => "random_poisson",
        }
    }
    /// The type of the number.
    pub const fn dtype(self) -> DType {
        if let Draw::Bits { .. } = self { DType::U32 } else { DType::F64 }
    }
    /// Whether it has a parameter.
    pub const fn has_parameter(self) -> bool {
        !matches!(self, Draw::Bits { .. })
    }
}

impl Expr {
    /// The values it reads, apart from those in index expressions.
    pub fn operands(&self) -> SmallVec<[Var; 3]> {
        match *self {
            Expr::Const(_) | Expr::Index(_) => SmallVec::new(),
            Expr::Unary(_, a) | Expr::Convert(a, _) | Expr::Bitcast(a, _) => SmallVec::from_slice(&[a]),
            Expr::Binary(_, a, b) | Expr::Compare(_, a, b) => SmallVec::from_slice(&[a, b]),
            Expr::Select(c, a, b) => SmallVec::from_slice(&[c, a, b]),
            Expr::Load { mask, .. } => mask.iter().map(|(m, _)| *m).collect(),
            Expr::Draw { key, index, parameter, .. } => key.into_iter().chain([index]).chain(parameter).collect(),
        }
    }
    /// What it costs, in additions of f32, roughly; for heuristics.
    pub fn cost(&self) -> u64 {
        match self {
            Expr::Const(_) | Expr::Index(_) => 0,
            Expr::Unary(op, _) => match op {
                UnaryOp::Exp | UnaryOp::Log | UnaryOp::Tanh | UnaryOp::Logistic | UnaryOp::Erf | UnaryOp::Exp2 => 16,
                UnaryOp::Sin | UnaryOp::Cos => 24,
                UnaryOp::Sqrt => 5,
                UnaryOp::Lgamma | UnaryOp::Digamma => 120,
                _ if op.ulps() > 0 => 40,
                _ => 1,
            },
            Expr::Binary(op, ..) => match op {
                BinaryOp::Pow | BinaryOp::Atan2 => 40,
                BinaryOp::LogGammaSlope => 1000,
                BinaryOp::Div | BinaryOp::Rem => 5,
                _ => 1,
            },
            Expr::Draw { draw: Draw::Bits { .. }, .. } => 24,
            Expr::Draw { .. } => 400,
            _ => 1,
        }
    }
}

macro_rules! scalar_ops {
    ($($(#[$doc:meta])* $enum:ident { $($(#[$vdoc:meta])* $v:ident = $name:literal),* $(,)? })*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
        pub enum $enum { $($(#[$vdoc])* $v),* }
        impl $enum {
            /// Every operation.
            pub const ALL: &[$enum] = &[$($enum::$v),*];
            /// The name in text.
            pub const fn name(self) -> &'static str { match self { $($enum::$v => $name),* } }
            /// The operation of that name.
            pub fn from_name(s: &str) -> Option<$enum> { match s { $($name => Some($enum::$v),)* _ => None } }
        }
    )* };
}
scalar_ops! {
    /// Operations on one scalar. Floats (f32, f64) unless said otherwise.
    UnaryOp {
        /// Negation; also integers, wrapping.
        Neg = "neg",
        /// Absolute value; also integers, `MIN` stays.
        Abs = "abs",
        /// -1, 0 or 1 with the operand's zero and NaN kept; also integers.
        Sign = "sign",
        /// Largest integer not above.
        Floor = "floor",
        /// Smallest integer not below.
        Ceil = "ceil",
        /// Nearest integer, half to even.
        Round = "round",
        /// Square root, correctly rounded.
        Sqrt = "sqrt",
        /// e to the operand.
        Exp = "exp",
        /// Natural logarithm.
        Log = "log",
        /// Hyperbolic tangent.
        Tanh = "tanh",
        /// `1 / (1 + exp(-x))`.
        Logistic = "logistic",
        /// Sine.
        Sin = "sin",
        /// Cosine.
        Cos = "cos",
        /// Error function.
        Erf = "erf",
        /// 2 to the operand.
        Exp2 = "exp2",
        /// `exp(x) - 1`, accurate near 0.
        Expm1 = "expm1",
        /// `log(1 + x)`, accurate near 0.
        Log1p = "log1p",
        /// Logarithm to base 2.
        Log2 = "log2",
        /// Logarithm to base 10.
        Log10 = "log10",
        /// Cube root.
        Cbrt = "cbrt",
        /// Tangent.
        Tan = "tan",
        /// Inverse sine.
        Asin = "asin",
        /// Inverse cosine.
        Acos = "acos",
        /// Inverse tangent.
        Atan = "atan",
        /// Hyperbolic sine.
        Sinh = "sinh",
        /// Hyperbolic cosine.
        Cosh = "cosh",
        /// Inverse hyperbolic sine.
        Asinh = "asinh",
        /// Inverse hyperbolic cosine.
        Acosh = "acosh",
        /// Inverse hyperbolic tangent.
        Atanh = "atanh",
        /// `1 - erf(x)`, accurate where that is small.
        Erfc = "erfc",
        /// Inverse of the error function.
        ErfInv = "erf_inv",
        /// Logarithm of the absolute value of the gamma function.
        Lgamma = "lgamma",
        /// Derivative of the logarithm of the gamma function.
        Digamma = "digamma",
        /// Bitwise complement of integers, logical complement of bool.
        Not = "not",
        /// Number of bits set; integers.
        Popcnt = "popcnt",
        /// 1 for NaN else 0 — the operand is a float, the result of its type.
        IsNan = "is_nan",
    }
    /// Operations on two scalars of one type. All numeric types unless said otherwise.
    BinaryOp {
        /// Sum.
        Add = "add",
        /// Difference.
        Sub = "sub",
        /// Product.
        Mul = "mul",
        /// Quotient.
        Div = "div",
        /// Remainder of the truncated quotient.
        Rem = "rem",
        /// Larger; NaN wins. Also bool.
        Max = "max",
        /// Smaller; NaN wins. Also bool.
        Min = "min",
        /// Power; floats as IEEE `pow`, integers wrap, negative integer exponents give 0 (1 and -1 bases apart).
        Pow = "pow",
        /// The angle of the point whose coordinates are the second and the first; floats.
        Atan2 = "atan2",
        /// The derivative of the logarithm of a gamma variate by its shape, at a shape and that logarithm; f64 only.
        LogGammaSlope = "log_gamma_slope",
        /// Bitwise and; integers and bool.
        And = "and",
        /// Bitwise or; integers and bool.
        Or = "or",
        /// Bitwise exclusive or; integers and bool.
        Xor = "xor",
        /// The first moved left by as many bits as the second, as an unsigned number, says; integers.
        Shl = "shl",
        /// The same to the right; copies of the sign come in for signed integers, zeros for unsigned ones.
        Shr = "shr",
    }
    /// Comparisons; any comparison with NaN but `Ne` is false. All types.
    CompareOp {
        /// Equal.
        Eq = "eq",
        /// Not equal.
        Ne = "ne",
        /// Less.
        Lt = "lt",
        /// Less or equal.
        Le = "le",
        /// Greater.
        Gt = "gt",
        /// Greater or equal.
        Ge = "ge",
    }
}

impl UnaryOp {
    /// By how many units in the last place of f32 a result may miss the exact value; 0 for what is exact or correctly
    /// rounded. In f64 it is what the library gives, 4 at most, but for the gamma functions near their zeros.
    pub const fn ulps(self) -> u32 {
        use UnaryOp::*;
        match self {
            Neg | Abs | Sign | Floor | Ceil | Round | Sqrt | Not | Popcnt | IsNan => 0,
            Erf | Tan => 4,
            _ => 2,
        }
    }
}

impl BinaryOp {
    /// As [`UnaryOp::ulps`], of floats.
    pub const fn ulps(self) -> u32 {
        match self {
            BinaryOp::Pow => 4,
            BinaryOp::Atan2 => 2,
            _ => 0,
        }
    }
}

/// By how many units in the last place of f32 the op of that name may miss the exact value.
pub fn ulps(name: &str) -> u32 {
    let unary = UnaryOp::from_name(name).map(UnaryOp::ulps);
    unary.or(BinaryOp::from_name(name).map(BinaryOp::ulps)).unwrap_or(0)
}
