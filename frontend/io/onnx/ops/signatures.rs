//! What each op takes and yields, from each opset on at which that changed: facts of the schemas of ONNX 1.18, with which
//! `scripts/onnx_signatures.py` compares them.

use std::fmt;

/// What an op takes and yields from an opset on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The opset from which on it holds, up to that of the next one.
    pub since: i64,
    /// How many operands there are.
    pub operands: Arity,
    /// How many results there are.
    pub results: Arity,
    /// The attributes, by name.
    pub attributes: &'static [Declared],
}

impl Signature {
    /// An attribute of that name.
    pub fn attribute(&self, name: &str) -> Option<&'static Declared> {
        self.attributes.iter().find(|a| a.name == name)
    }
}

/// How many operands or results there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arity {
    /// At least so many.
    pub least: usize,
    /// At most so many, if there is a bound.
    pub most: Option<usize>,
    /// So many of the first may be left out, though later ones are given.
    pub open: usize,
}

impl Arity {
    const fn after_one_that_may_be_left_out(self) -> Arity {
        let most = match self.most {
            Some(most) => Some(most + 1),
            None => None,
        };
        Arity { least: self.least + 1, most, open: self.open + 1 }
    }
}

/// `1`, `1 to 3`, `2 or more`.
impl fmt::Display for Arity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.most {
            Some(most) if most == self.least => write!(f, "{most}"),
            Some(most) => write!(f, "{} to {most}", self.least),
            None => write!(f, "{} or more", self.least),
        }
    }
}

/// An attribute that an op has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub r#type: AttributeType,
    /// Whether it must be given.
    pub presence: Presence,
}

/// Whether an attribute must be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It may be left out.
    Optional,
    /// It must be given.
    Required,
    /// One of those that are marked so must be given, and no second one.
    OneOf,
}

/// A type of attributes, with its number in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributeType {
    /// A number, of 32 bits.
    Float = 1,
    /// A number, of 64 bits.
    Int = 2,
    /// A text.
    String = 3,
    /// A tensor.
    Tensor = 4,
    /// A graph, the body of a node.
    Graph = 5,
    /// A list of numbers.
    Floats = 6,
    /// A list of numbers.
    Ints = 7,
    /// A list of texts.
    Strings = 8,
    /// A list of tensors.
    Tensors = 9,
    /// A list of graphs.
    Graphs = 10,
    /// A tensor of few values at places.
    SparseTensor = 11,
    /// A list of sparse tensors.
    SparseTensors = 12,
    /// A type of values.
    Type = 13,
    /// A list of types.
    Types = 14,
}

use AttributeType::*;

impl AttributeType {
    const ALL: [AttributeType; 14] = [
        Float,
        Int,
        String,
        Tensor,
        Graph,
        Floats,
        Ints,
        Strings,
        Tensors,
        Graphs,
        SparseTensor,
        SparseTensors,
        Type,
        Types,
    ];

    /// The type with a number.
    pub(in crate::io::onnx) fn of(number: i32) -> Option<AttributeType> {
        AttributeType::ALL.into_iter().find(|t| *t as i32 == number)
    }

    pub(in crate::io::onnx) fn is_list(self) -> bool {
        matches!(self, Floats | Ints | Strings)
    }

    /// True if nothing stands for 0, or for no text.
    pub(in crate::io::onnx) fn has_default(self) -> bool {
        self.is_list() || matches!(self, Float | Int | String)
    }
}

/// `int`, `list of ints`.
impl fmt::Display for AttributeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AttributeType::Float => "float",
            AttributeType::Int => "int",
            AttributeType::String => "string",
            AttributeType::Tensor => "tensor",
            AttributeType::Graph => "graph",
            AttributeType::Floats => "list of floats",
            AttributeType::Ints => "list of ints",
            AttributeType::Strings => "list of strings",
            AttributeType::Tensors => "list of tensors",
            AttributeType::Graphs => "list of graphs",
            AttributeType::SparseTensor => "sparse tensor",
            AttributeType::SparseTensors => "list of sparse tensors",
            AttributeType::Type => "type",
            AttributeType::Types => "list of types",
        })
    }
}

/// The signatures of an op, each from an opset on; none of an op that is not supported.
pub(super) fn of(op: &str) -> &'static [Signature] {
    SIGNATURES.iter().find(|(ops, _)| ops.contains(&op)).map_or(&[], |(_, signatures)| *signatures)
}

/// Ops with their signatures: the opset from which on one holds, how many operands and results there are, and the attributes.
/// A `?` is an operand or a result that may be left out before others, `required` an attribute that must be given, and `either`
/// one of those of which one must be.
macro_rules! signatures {
    (@arity (?, $($rest:tt)+)) => { signatures!(@arity ($($rest)+)).after_one_that_may_be_left_out() };
    (@arity ($n:literal)) => { Arity { least: $n, most: Some($n), open: 0 } };
    (@arity ($least:literal..=$most:literal)) => { Arity { least: $least, most: Some($most), open: 0 } };
    (@arity ($least:literal..)) => { Arity { least: $least, most: None, open: 0 } };
    (@presence required $type:ident) => { Presence::Required };
    (@presence either $type:ident) => { Presence::OneOf };
    (@presence $type:ident) => { Presence::Optional };
    (@type float) => { AttributeType::Float };
    (@type int) => { AttributeType::Int };
    (@type string) => { AttributeType::String };
    (@type tensor) => { AttributeType::Tensor };
    (@type graph) => { AttributeType::Graph };
    (@type floats) => { AttributeType::Floats };
    (@type ints) => { AttributeType::Ints };
    (@type strings) => { AttributeType::Strings };
    (@type sparse_tensor) => { AttributeType::SparseTensor };
    (@type type_proto) => { AttributeType::Type };
    (@type $presence:ident $type:ident) => { signatures!(@type $type) };
    ($($($op:ident),+ {
        $($since:literal: $operands:tt -> $results:tt $(, $name:ident: $($words:ident)+)*;)+
    })+) => {
        &[$((&[$(stringify!($op)),+], &[$(Signature {
            since: $since,
            operands: signatures!(@arity $operands),
            results: signatures!(@arity $results),
            attributes: &[$(Declared {
                name: stringify!($name),
                r#type: signatures!(@type $($words)+),
                presence: signatures!(@presence $($words)+),
            }),*],
        }),+])),+]
    };
}

static SIGNATURES: &[(&[&str], &[Signature])] = signatures! {
    // Elements.
    Abs, Ceil, Exp, Floor, Log, Neg, Reciprocal, Sigmoid, Sqrt, Tanh {
        1: (1) -> (1), consumed_inputs: ints;
        6: (1) -> (1);
    }
    Acos, Acosh, Asin, Asinh, Atan, Atanh, Cos, Cosh, Erf, Identity, IsNaN, Round, Sign, Sin, Sinh, Tan, Not,
        BitwiseNot {
        1: (1) -> (1);
    }
    IsInf { 10: (1) -> (1), detect_negative: int, detect_positive: int; }
    Add, Sub, Mul, Div {
        1: (2) -> (1), axis: int, broadcast: int, consumed_inputs: ints;
        6: (2) -> (1), axis: int, broadcast: int;
        7: (2) -> (1);
    }
    Pow, And, Or, Xor, Equal, Less, Greater {
        1: (2) -> (1), axis: int, broadcast: int;
        7: (2) -> (1);
    }
    Mod { 10: (2) -> (1), fmod: int; }
    BitwiseAnd, BitwiseOr, BitwiseXor, LessOrEqual, GreaterOrEqual { 12: (2) -> (1); }
    BitShift { 11: (2) -> (1), direction: required string; }
    Max, Min, Sum, Mean {
        1: (1..) -> (1), consumed_inputs: ints;
        6: (1..) -> (1);
    }
    Where { 9: (3) -> (1); }
    Cast {
        1: (1) -> (1), to: required string;
        6: (1) -> (1), to: required int;
        19: (1) -> (1), saturate: int, to: required int;
    }
    CastLike {
        15: (2) -> (1);
        19: (2) -> (1), saturate: int;
    }

    // Activations.
    Relu {
        1: (1) -> (1), consumed_inputs: ints;
        6: (1) -> (1);
    }
    LeakyRelu, Elu {
        1: (1) -> (1), alpha: float, consumed_inputs: ints;
        6: (1) -> (1), alpha: float;
    }
    Celu, ThresholdedRelu { 10: (1) -> (1), alpha: float; }
    Selu {
        1: (1) -> (1), alpha: float, consumed_inputs: ints, gamma: float;
        6: (1) -> (1), alpha: float, gamma: float;
    }
    Gelu { 20: (1) -> (1), approximate: string; }
    HardSigmoid {
        1: (1) -> (1), alpha: float, beta: float, consumed_inputs: ints;
        6: (1) -> (1), alpha: float, beta: float;
    }
    HardSwish, Mish, Softplus, Softsign { 1: (1) -> (1); }
    Shrink { 9: (1) -> (1), bias: float, lambd: float; }
    PRelu {
        1: (2) -> (1), consumed_inputs: ints;
        6: (2) -> (1);
    }
    Softmax, LogSoftmax, Hardmax { 1: (1) -> (1), axis: int; }
    Clip {
        1: (1) -> (1), consumed_inputs: ints, max: float, min: float;
        6: (1) -> (1), max: float, min: float;
        11: (1..=3) -> (1);
    }

    // Reductions.
    ReduceSum {
        1: (1) -> (1), axes: ints, keepdims: int;
        13: (1..=2) -> (1), keepdims: int, noop_with_empty_axes: int;
    }
    ReduceMean, ReduceProd, ReduceMax, ReduceMin, ReduceL1, ReduceL2, ReduceLogSum, ReduceLogSumExp, ReduceSumSquare {
        1: (1) -> (1), axes: ints, keepdims: int;
        18: (1..=2) -> (1), keepdims: int, noop_with_empty_axes: int;
    }
    ArgMax, ArgMin {
        1: (1) -> (1), axis: int, keepdims: int;
        12: (1) -> (1), axis: int, keepdims: int, select_last_index: int;
    }
    CumSum { 11: (2) -> (1), exclusive: int, reverse: int; }

    // Shapes.
    Shape {
        1: (1) -> (1);
        15: (1) -> (1), end: int, start: int;
    }
    Size { 1: (1) -> (1); }
    Reshape {
        1: (1) -> (1), consumed_inputs: ints, shape: ints;
        5: (2) -> (1);
        14: (2) -> (1), allowzero: int;
    }
    Flatten { 1: (1) -> (1), axis: int; }
    Squeeze {
        1: (1) -> (1), axes: ints;
        13: (1..=2) -> (1);
    }
    Unsqueeze {
        1: (1) -> (1), axes: required ints;
        13: (2) -> (1);
    }
    Transpose { 1: (1) -> (1), perm: ints; }
    Expand { 8: (2) -> (1); }
    Concat {
        1: (1..) -> (1), axis: int;
        4: (1..) -> (1), axis: required int;
    }
    Split {
        1: (1..=2) -> (1..), axis: int, split: ints;
        2: (1) -> (1..), axis: int, split: ints;
        13: (1..=2) -> (1..), axis: int;
        18: (1..=2) -> (1..), axis: int, num_outputs: int;
    }
    Slice {
        1: (1) -> (1), axes: ints, ends: required ints, starts: required ints;
        10: (3..=5) -> (1);
    }
    Pad {
        1: (1) -> (1), mode: string, paddings: required ints, value: float;
        2: (1) -> (1), mode: string, pads: required ints, value: float;
        11: (2..=3) -> (1), mode: string;
        18: (2..=4) -> (1), mode: string;
    }
    Tile {
        1: (3) -> (1);
        6: (2) -> (1);
    }
    Constant {
        1: (0) -> (1), value: required tensor;
        11: (0) -> (1), sparse_value: either sparse_tensor, value: either tensor;
        12: (0) -> (1), sparse_value: either sparse_tensor, value: either tensor, value_float: either float,
            value_floats: either floats, value_int: either int, value_ints: either ints, value_string: either string,
            value_strings: either strings;
    }
    ConstantOfShape { 9: (1) -> (1), value: tensor; }
    Range { 11: (3) -> (1); }
    EyeLike { 9: (1) -> (1), dtype: int, k: int; }
    Trilu { 14: (1..=2) -> (1), upper: int; }
    DepthToSpace {
        1: (1) -> (1), blocksize: required int;
        11: (1) -> (1), blocksize: required int, mode: string;
    }
    SpaceToDepth { 1: (1) -> (1), blocksize: required int; }
    CenterCropPad { 18: (2) -> (1), axes: ints; }

    // Indices.
    Gather, GatherElements, Compress { 1: (2) -> (1), axis: int; }
    GatherND {
        11: (2) -> (1);
        12: (2) -> (1), batch_dims: int;
    }
    Scatter, OneHot { 9: (3) -> (1), axis: int; }
    ScatterElements {
        11: (3) -> (1), axis: int;
        16: (3) -> (1), axis: int, reduction: string;
    }
    ScatterND {
        11: (3) -> (1);
        16: (3) -> (1), reduction: string;
    }
    ReverseSequence { 10: (2) -> (1), batch_axis: int, time_axis: int; }
    TopK {
        1: (1) -> (2), axis: int, k: required int;
        10: (2) -> (2), axis: int;
        11: (2) -> (2), axis: int, largest: int, sorted: int;
    }
    NonZero { 9: (1) -> (1); }
    Unique { 11: (1) -> (1..=4), axis: int, sorted: int; }
    NonMaxSuppression { 10: (2..=5) -> (1), center_point_box: int; }

    // Products.
    MatMul { 1: (2) -> (1); }
    Gemm {
        1: (3) -> (1), alpha: float, beta: float, broadcast: int, transA: int, transB: int;
        7: (3) -> (1), alpha: float, beta: float, transA: int, transB: int;
        11: (2..=3) -> (1), alpha: float, beta: float, transA: int, transB: int;
    }
    Einsum { 12: (1..) -> (1), equation: required string; }
    Det { 11: (1) -> (1); }

    // Attention.
    Attention {
        23: (3..=6) -> (1..=4), is_causal: int, kv_num_heads: int, q_num_heads: int, qk_matmul_output_mode: int,
            scale: float, softcap: float, softmax_precision: int;
    }
    RotaryEmbedding { 23: (3..=4) -> (1), interleaved: int, num_heads: int, rotary_embedding_dim: int; }

    // Normalisation.
    BatchNormalization {
        1: (5) -> (1..=5), consumed_inputs: required ints, epsilon: float, is_test: int, momentum: float, spatial: int;
        6: (5) -> (1..=5), epsilon: float, is_test: int, momentum: float, spatial: int;
        7: (5) -> (1..=5), epsilon: float, momentum: float, spatial: int;
        9: (5) -> (1..=5), epsilon: float, momentum: float;
        14: (5) -> (1..=3), epsilon: float, momentum: float, training_mode: int;
    }
    InstanceNormalization {
        1: (3) -> (1), consumed_inputs: ints, epsilon: float;
        6: (3) -> (1), epsilon: float;
    }
    GroupNormalization {
        18: (3) -> (1), epsilon: float, num_groups: required int;
        21: (3) -> (1), epsilon: float, num_groups: required int, stash_type: int;
    }
    LayerNormalization { 17: (2..=3) -> (1..=3), axis: int, epsilon: float, stash_type: int; }
    RMSNormalization { 23: (2) -> (1), axis: int, epsilon: float, stash_type: int; }
    MeanVarianceNormalization { 9: (1) -> (1), axes: ints; }
    LpNormalization { 1: (1) -> (1), axis: int, p: int; }
    LRN { 1: (1) -> (1), alpha: float, beta: float, bias: float, size: required int; }

    // Quantised.
    QuantizeLinear {
        10: (2..=3) -> (1);
        13: (2..=3) -> (1), axis: int;
        19: (2..=3) -> (1), axis: int, saturate: int;
        21: (2..=3) -> (1), axis: int, block_size: int, output_dtype: int, saturate: int;
        23: (2..=3) -> (1), axis: int, block_size: int, output_dtype: int, precision: int, saturate: int;
    }
    DequantizeLinear {
        10: (2..=3) -> (1);
        13: (2..=3) -> (1), axis: int;
        21: (2..=3) -> (1), axis: int, block_size: int;
        23: (2..=3) -> (1), axis: int, block_size: int, output_dtype: int;
    }
    DynamicQuantizeLinear { 11: (1) -> (3); }
    MatMulInteger { 10: (2..=4) -> (1); }
    QLinearMatMul { 10: (8) -> (1); }

    // Recurrent.
    RNN {
        1: (3..=6) -> (0..=2), activation_alpha: floats, activation_beta: floats, activations: strings, clip: float,
            direction: string, hidden_size: int, output_sequence: int;
        7: (3..=6) -> (0..=2), activation_alpha: floats, activation_beta: floats, activations: strings, clip: float,
            direction: string, hidden_size: int;
        14: (3..=6) -> (0..=2), activation_alpha: floats, activation_beta: floats, activations: strings, clip: float,
            direction: string, hidden_size: int, layout: int;
    }
    GRU {
        1: (3..=6) -> (?, 1), activation_alpha: floats, activation_beta: floats, activations: strings, clip: float,
            direction: string, hidden_size: int, output_sequence: int;
        3: (3..=6) -> (0..=2), activation_alpha: floats, activation_beta: floats, activations: strings, clip: float,
            direction: string, hidden_size: int, linear_before_reset: int, output_sequence: int;
        7: (3..=6) -> (0..=2), activation_alpha: floats, activation_beta: floats, activations: strings, clip: float,
            direction: string, hidden_size: int, linear_before_reset: int;
        14: (3..=6) -> (0..=2), activation_alpha: floats, activation_beta: floats, activations: strings, clip: float,
            direction: string, hidden_size: int, layout: int, linear_before_reset: int;
    }
    LSTM {
        1: (3..=8) -> (0..=3), activation_alpha: floats, activation_beta: floats, activations: strings, clip: float,
            direction: string, hidden_size: int, input_forget: int, output_sequence: int;
        7: (3..=8) -> (0..=3), activation_alpha: floats, activation_beta: floats, activations: strings, clip: float,
            direction: string, hidden_size: int, input_forget: int;
        14: (3..=8) -> (0..=3), activation_alpha: floats, activation_beta: floats, activations: strings, clip: float,
            direction: string, hidden_size: int, input_forget: int, layout: int;
    }

    // Control flow.
    If { 1: (1) -> (1..), else_branch: required graph, then_branch: required graph; }
    Loop {
        1: (?, ?, 1..) -> (1..), body: required graph;
        11: (?, ?, 0..) -> (1..), body: required graph;
    }
    Scan {
        8: (?, 1..) -> (1..), body: required graph, directions: ints, num_scan_inputs: required int;
        9: (1..) -> (1..), body: required graph, num_scan_inputs: required int, scan_input_axes: ints,
            scan_input_directions: ints, scan_output_axes: ints, scan_output_directions: ints;
    }

    // Sequences and optional values.
    SequenceConstruct { 11: (1..) -> (1); }
    SequenceEmpty { 11: (0) -> (1), dtype: int; }
    SequenceAt { 11: (2) -> (1); }
    SequenceInsert { 11: (2..=3) -> (1); }
    SequenceErase { 11: (1..=2) -> (1); }
    SequenceLength, OptionalGetElement { 11: (1) -> (1); }
    SplitToSequence { 11: (1..=2) -> (1), axis: int, keepdims: int; }
    ConcatFromSequence { 11: (1) -> (1), axis: required int, new_axis: int; }
    SequenceMap { 17: (1..) -> (1..), body: required graph; }
    Optional { 15: (0..=1) -> (1), type: type_proto; }
    OptionalHasElement {
        15: (1) -> (1);
        18: (0..=1) -> (1);
    }

    // Random.
    RandomNormal { 1: (0) -> (1), dtype: int, mean: float, scale: float, seed: float, shape: required ints; }
    RandomNormalLike { 1: (1) -> (1), dtype: int, mean: float, scale: float, seed: float; }
    RandomUniform { 1: (0) -> (1), dtype: int, high: float, low: float, seed: float, shape: required ints; }
    RandomUniformLike { 1: (1) -> (1), dtype: int, high: float, low: float, seed: float; }
    Bernoulli { 15: (1) -> (1), dtype: int, seed: float; }
    Multinomial { 7: (1) -> (1), dtype: int, sample_size: int, seed: float; }
    Dropout {
        1: (1) -> (1..=2), consumed_inputs: ints, is_test: int, ratio: float;
        6: (1) -> (1..=2), is_test: int, ratio: float;
        7: (1) -> (1..=2), ratio: float;
        12: (1..=3) -> (1..=2), seed: int;
    }

    // Losses.
    NegativeLogLikelihoodLoss { 12: (2..=3) -> (1), ignore_index: int, reduction: string; }
    SoftmaxCrossEntropyLoss { 12: (2..=3) -> (1..=2), ignore_index: int, reduction: string; }

    // Signals.
    HannWindow, HammingWindow, BlackmanWindow { 17: (1) -> (1), output_datatype: int, periodic: int; }
    MelWeightMatrix { 17: (5) -> (1), output_datatype: int; }
    DFT {
        17: (1..=2) -> (1), axis: int, inverse: int, onesided: int;
        20: (1..=3) -> (1), inverse: int, onesided: int;
    }
    STFT { 17: (2..=4) -> (1), onesided: int; }

    // Terms.
    TfIdfVectorizer {
        9: (1) -> (1), max_gram_length: required int, max_skip_count: required int, min_gram_length: required int,
            mode: required string, ngram_counts: required ints, ngram_indexes: required ints, pool_int64s: ints,
            pool_strings: strings, weights: floats;
    }

    // Windows.
    Conv {
        1: (2..=3) -> (1), auto_pad: string, dilations: ints, group: int, kernel_shape: ints, pads: ints, strides: ints;
    }
    ConvInteger {
        10: (2..=4) -> (1), auto_pad: string, dilations: ints, group: int, kernel_shape: ints, pads: ints, strides: ints;
    }
    QLinearConv {
        10: (8..=9) -> (1), auto_pad: string, dilations: ints, group: int, kernel_shape: ints, pads: ints, strides: ints;
    }
    MaxPool {
        1: (1) -> (1), auto_pad: string, kernel_shape: required ints, pads: ints, strides: ints;
        8: (1) -> (1..=2), auto_pad: string, kernel_shape: required ints, pads: ints, storage_order: int, strides: ints;
        10: (1) -> (1..=2), auto_pad: string, ceil_mode: int, dilations: ints, kernel_shape: required ints, pads: ints,
            storage_order: int, strides: ints;
    }
    AveragePool {
        1: (1) -> (1), auto_pad: string, kernel_shape: required ints, pads: ints, strides: ints;
        7: (1) -> (1), auto_pad: string, count_include_pad: int, kernel_shape: required ints, pads: ints, strides: ints;
        10: (1) -> (1), auto_pad: string, ceil_mode: int, count_include_pad: int, kernel_shape: required ints,
            pads: ints, strides: ints;
        19: (1) -> (1), auto_pad: string, ceil_mode: int, count_include_pad: int, dilations: ints,
            kernel_shape: required ints, pads: ints, strides: ints;
    }
    LpPool {
        1: (1) -> (1), auto_pad: string, kernel_shape: ints, p: float, pads: ints, strides: ints;
        2: (1) -> (1), auto_pad: string, kernel_shape: required ints, p: int, pads: ints, strides: ints;
        18: (1) -> (1), auto_pad: string, ceil_mode: int, dilations: ints, kernel_shape: required ints, p: int,
            pads: ints, strides: ints;
    }
    GlobalAveragePool, GlobalMaxPool { 1: (1) -> (1); }
    GlobalLpPool {
        1: (1) -> (1), p: float;
        2: (1) -> (1), p: int;
    }
};
