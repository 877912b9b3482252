//! Bad input: every message as a user sees it, and that the next call works.

#[path = "../target/mod.rs"]
mod target;
mod traces;

use std::ops::Bound;
use std::panic::Location;
use tracewright::events::{Counters, Event};
use tracewright::options::{Options, with_options};
use tracewright::{Code, DType, Error, Tensor, concat, grad, jit, nn, optim, scope, value_and_grad};

/// The message of an error that must name `line` of the caller's file, which `HERE` stands for in `expected`.
#[track_caller]
fn says(error: &Error, line: u32, expected: &str) {
    let place = error.location().expect("a line").to_string();
    let file = Location::caller().file();
    assert!(place.starts_with(&format!("{file}:{line}:")), "{place} is not line {line} of {file}");
    assert_eq!(error.to_string().replace(&place, "HERE"), expected);
}

fn f32s(shape: impl Into<tracewright::Shape>) -> Tensor {
    Tensor::ones(shape, DType::F32)
}

fn err(t: Tensor) -> Error {
    t.ok().unwrap_err()
}

#[test]
fn shapes() {
    let (e, line) = (err(f32s([2, 3]) + f32s([4])), line!());
    says(
        &e,
        line,
        "error[shape]: add(f32[2, 3], f32[4]): extents 3 and 4 of axis 1 do not broadcast\n  at HERE\n  \
         legal: aligned at the last axis, extents are equal or one of them is 1",
    );
    let (e, line) = (err(f32s([2, 3]).matmul(&f32s([4, 5]))), line!());
    says(
        &e,
        line,
        "error[shape]: matmul(f32[2, 3], f32[4, 5]): the last axis of the left operand has extent 3, the axis before \
         the last of the right has 4\n  at HERE\n  legal: both are equal",
    );
    let (e, line) = (err(f32s([2, 3]).reshape([4, -1])), line!());
    says(
        &e,
        line,
        "error[shape]: reshape(f32[2, 3]): 6 elements cannot be divided among [4, -1]\n  at HERE\n  \
         legal: the number of elements stays",
    );
    let (e, line) = (err(f32s([2]).broadcast_to([3])), line!());
    says(
        &e,
        line,
        "error[shape]: broadcast_to(f32[2]): shape [2] does not broadcast to [3]\n  at HERE\n  \
         legal: aligned at the last axis, extents are equal or 1 in the tensor",
    );
    let (e, line) = (err(concat(&[f32s([2, 3]), f32s([2, 4])], 0)), line!());
    says(
        &e,
        line,
        "error[shape]: concat(f32[2, 3], f32[2, 4]): tensors 0 and 1 have shapes [2, 3] and [2, 4]\n  at HERE\n  \
         legal: extents of all axes but 0 are equal",
    );
    let (e, line) = (err(Tensor::from(vec![vec![1.0f32], vec![1.0, 2.0]])), line!());
    says(
        &e,
        line,
        "error[shape]: from: along axis 1 one part has 1 entries and another 2\n  at HERE\n  legal: parts of equal length",
    );
    let (e, line) = (err(nn::cross_entropy(&f32s([4, 10]), &Tensor::zeros([5], DType::I64))), line!());
    says(
        &e,
        line,
        "error[shape]: cross_entropy(f32[4, 10], i64[5]): scores and targets have shapes [4, 10] and [5]\n  at HERE\n  \
         legal: the targets have the shape of the scores without the last axis",
    );
    assert_eq!((f32s([2]) + f32s([2])).to_vec::<f32>().unwrap(), [2.0, 2.0]);
}

#[test]
fn a_shape_whose_size_cannot_be_multiplied_out() {
    let axes = 24;
    let grow = move |x: Tensor| x.reshape((0..axes).map(|i| x.dim(i) + 1).collect::<tracewright::Shape>());
    let f = (0..axes).fold(jit(grow), |f, i| f.dynamic("arguments.0", i as usize, &format!("a{i}"), 1..=2));
    let e = f.call(f32s([1; 24])).unwrap_err();
    assert_eq!((e.code(), e.op()), (Code::Shape, "reshape"));
    assert_eq!(e.rule(), "a shape whose size has 16777216 terms; at most 256 are legal");
    // Sums of one symbol have few terms however many there are.
    let bordered = jit(|x: Tensor| x.pad(&[(0, 1); 9], 0.0));
    let bordered = (0..9).fold(bordered, |f, axis| f.dynamic("arguments.0", axis, "B", 1..=2));
    assert_eq!(bordered.call(f32s([1; 9])).unwrap().sum(..).item::<f32>().unwrap(), 1.0);
    let e = err(f32s([1]).reshape([1; 65]));
    assert_eq!(e.rule(), "a shape of 65 axes; at most 64 are legal");
}

#[test]
fn a_symbol_that_stands_for_no_extent() {
    let b = || tracewright::Dim::symbol("B");
    let check = |e: Error| {
        assert_eq!((e.code(), e.rule()), (Code::Trace, "the symbol B stands for no extent here"), "{e}");
    };
    let ((), counts) = Counters::of(|| {
        check(err(f32s([1]).broadcast_to([b()])));
        check(jit(move |x: Tensor| x.broadcast_to([b()])).call(f32s([1])).unwrap_err());
        check(jit(move |x: Tensor| x + Tensor::zeros([b()], DType::F32).sum(..)).call(f32s([1])).unwrap_err());
        let e = err(f32s([1]).broadcast_to([1i64 << 40, 1 << 40]));
        assert!(e.rule().ends_with("which is larger than any memory"), "{e}");
    });
    assert_eq!((counts[Event::Bug], counts[Event::Fallback]), (0, 0));
    // One that a dimension of an argument has is known, also in a transform inside.
    let f = jit(move |x: Tensor| grad(|x: &Tensor| (x * Tensor::ones([b()], DType::F32)).sum(..))(&x));
    let f = f.dynamic("arguments.0", 0, "B", 1..=8);
    assert_eq!(f.call(f32s([3])).unwrap().to_vec::<f32>().unwrap(), [1.0; 3]);
}

#[test]
fn dtypes() {
    let x = f32s([2]);
    let (e, line) = (err(&x & &x), line!());
    says(
        &e,
        line,
        "error[dtype]: and(f32[2], f32[2]): operands of dtype f32\n  at HERE\n  \
         legal: integers and bool; convert with to_dtype",
    );
    // A number takes the dtype of the tensor beside it, and is never cut down to it.
    let bytes = Tensor::from([1u8, 2]);
    let (e, line) = (err(&bytes + 300), line!());
    says(
        &e,
        line,
        "error[dtype]: add(u8[2], 300): 300 does not fit u8\n  at HERE\n  legal: numbers from 0 to 255, or another dtype",
    );
    assert_eq!((&bytes + 254).to_vec::<u8>().unwrap(), [255, 0]);
    let (e, line) = (err(Tensor::full([2], -(1i64 << 40), DType::I32)), line!());
    says(
        &e,
        line,
        "error[dtype]: full: -1099511627776 does not fit i32\n  at HERE\n  \
         legal: numbers from -2147483648 to 2147483647, or another dtype",
    );
    let f = jit(|x: Tensor| x.maximum(-1));
    assert_eq!(f.call(&bytes).unwrap_err().headline(), "error[dtype]: maximum(u8[2], -1): -1 does not fit u8");
    assert_eq!(f.call(bytes.to_dtype(DType::I32)).unwrap().to_vec::<i32>().unwrap(), [1, 2]);
    let (e, line) = (err(x.where_(1.0, 0.0)), line!());
    says(
        &e,
        line,
        "error[dtype]: where(f32[2], 1.0, 0.0): the condition has dtype f32\n  at HERE\n  \
         legal: a bool; compare, or convert with to_dtype",
    );
    let (e, line) = (err(x.take(&x, 0)), line!());
    says(&e, line, "error[dtype]: take(f32[2], f32[2]): the indices have dtype f32\n  at HERE\n  legal: integers");
    let (e, line) = (x.to_vec::<i64>().unwrap_err(), line!());
    says(
        &e,
        line,
        "error[dtype]: to_vec(f32[2]): elements of dtype f32 are read as i64\n  at HERE\n  \
         legal: read them as f32, or convert with to_dtype(DType::I64) before",
    );
    assert_eq!(x.to_dtype(DType::I64).to_vec::<i64>().unwrap(), [1, 1]);
}

#[test]
fn axes_and_ranks() {
    let (e, line) = (err(f32s([2, 3]).sum(2)), line!());
    says(&e, line, "error[axis]: sum(f32[2, 3]): axis 2 does not exist\n  at HERE\n  legal: axes go from -2 to 1");
    let (e, line) = (err(f32s([2, 3]).sum([0, -2])), line!());
    says(&e, line, "error[axis]: sum(f32[2, 3]): axis -2 is named twice\n  at HERE\n  legal: name each axis once");
    let (e, line) = (err(Tensor::from(1.0f32).softmax(0)), line!());
    says(&e, line, "error[axis]: softmax(f32[]): axis 0 does not exist\n  at HERE\n  legal: a scalar has no axes");
    let (e, line) = (err(f32s([2]).t()), line!());
    says(&e, line, "error[rank]: t(f32[2]): the tensor has rank 1\n  at HERE\n  legal: at least two axes");
    let (e, line) = (err(f32s([2, 3]).permute(&[0])), line!());
    says(
        &e,
        line,
        "error[rank]: permute(f32[2, 3]): 1 axes are named for a tensor of rank 2\n  at HERE\n  \
         legal: name every axis once",
    );
    let (e, line) = (err(Tensor::from(1.0f32).matmul(&f32s([2]))), line!());
    says(
        &e,
        line,
        "error[rank]: matmul(f32[], f32[2]): an operand is a scalar\n  at HERE\n  \
         legal: at least one axis each; or use `*`",
    );
    assert_eq!(f32s([2, 3]).sum(-1).to_vec::<f32>().unwrap(), [3.0, 3.0]);
}

#[test]
fn empty_tensors_and_extents_of_zero() {
    let none = Tensor::zeros([0, 3], DType::F32);
    let (e, line) = (err(none.max(0)), line!());
    says(
        &e,
        line,
        "error[empty]: max(f32[0, 3]): axis 0 is empty, so there is no element to give\n  at HERE\n  \
         legal: an axis with elements",
    );
    let (e, line) = (err(none.argmax(0)), line!());
    says(
        &e,
        line,
        "error[empty]: argmax(f32[0, 3]): axis 0 is empty, so there is no position to give\n  at HERE\n  \
         legal: an axis with elements",
    );
    let (e, line) = (none.item::<f32>().unwrap_err(), line!());
    says(&e, line, "error[empty]: item(f32[0, 3]): the tensor has 0 elements\n  at HERE\n  legal: exactly one element");
    let (e, line) = (err(concat(&[], 0)), line!());
    says(&e, line, "error[empty]: concat: no tensors\n  at HERE\n  legal: at least one");
    // What has a meaning works.
    assert_eq!(none.sum(0).to_vec::<f32>().unwrap(), [0.0; 3]);
    assert_eq!(none.max(1).shape(), [0].into());
    assert_eq!(none.t().matmul(&Tensor::zeros([0, 2], DType::F32)).to_vec::<f32>().unwrap(), [0.0; 6]);
    assert!((&none * 2.0).exp().to_vec::<f32>().unwrap().is_empty());
    let f = jit(|x: Tensor| x.sum(0));
    assert_eq!(f.call(&none).unwrap().to_vec::<f32>().unwrap(), [0.0; 3]);
    let (e, line) = (err(Tensor::zeros([-1], DType::F32)), line!());
    says(
        &e,
        line,
        "error[shape]: zeros: shape [-1]\n  at HERE\n  legal: extents are numbers outside of a trace, and not negative",
    );
    let (e, line) = (err(Tensor::zeros([1usize << 40, 1 << 40], DType::F32)), line!());
    says(
        &e,
        line,
        "error[memory]: zeros: there is no memory for f32[1099511627776, 1099511627776]\n  at HERE\n  \
         legal: a smaller shape",
    );
    let (e, line) = (err(tracewright::Generator::new(0).normal([1usize << 45], 0.0, 1.0)), line!());
    assert_eq!((e.code(), e.op(), e.legal()), (Code::Memory, "normal", "a smaller shape"));
    assert_eq!(e.location().unwrap().line, line);
    let interpreted = target::interpreted();
    let f = jit(|x: Tensor| x.broadcast_to([1i64 << 45, 2]).exp());
    let e = with_options(interpreted, || f.call(f32s([2]))).unwrap_err();
    assert!(e.code() == Code::Memory && e.rule().starts_with("no memory for a buffer of "), "{e}");
    assert_eq!(f32s([2]).exp().shape(), [2].into());
}

#[test]
fn numbers_beyond_everything() {
    let x = Tensor::arange(5, DType::I64);
    assert_eq!(err(Tensor::linspace(0.0, 1.0, usize::MAX / 8)).code(), Code::Memory);
    assert_eq!(err(x.slice(0, ..=isize::MAX)).code(), Code::Index);
    assert_eq!(err(x.slice(0, (Bound::Included(isize::MAX), Bound::Excluded(isize::MIN)))).code(), Code::Index);
    assert_eq!(err(x.slice(0, isize::MIN..)).code(), Code::Index);
    assert_eq!(err(x.slice(0, (Bound::Excluded(isize::MAX), Bound::Unbounded))).code(), Code::Index);
    assert_eq!(err(x.narrow(0, usize::MAX, usize::MAX)).code(), Code::Index);
    assert_eq!(x.split(&[usize::MAX, 3], 0).unwrap_err().code(), Code::Shape);
    assert_eq!(x.split(&[usize::MAX], 0).unwrap_err().code(), Code::Shape);
    // From the end, included or not.
    let part = |start, end| x.slice(0, (start, end)).to_vec::<i64>().unwrap();
    assert!(part(Bound::Excluded(-1), Bound::Unbounded).is_empty());
    assert_eq!(part(Bound::Excluded(-3), Bound::Included(-1)), [3, 4]);
    assert_eq!(part(Bound::Included(-2), Bound::Included(3)), [3]);
}

fn model() -> Vec<Tensor> {
    vec![f32s([2]), f32s([3])]
}

#[test]
fn gradients_that_do_not_fit_the_model() {
    let headlines = |now: &Vec<Tensor>, gradients: &Vec<Tensor>| {
        let (adam, _) = optim::AdamW::new(&model(), 0.1).update(now.clone(), gradients.clone());
        let sgd = optim::Sgd::new(0.1).momentum(&model(), 0.9, false);
        let (sgd, _) = sgd.update(now.clone(), gradients.clone());
        [adam, sgd].map(|new| new.into_iter().map(|t| t.ok().map_err(|e| e.headline())).last().unwrap().unwrap_err())
    };
    let both = |rule: &str| ["adamw", "sgd"].map(|op| format!("error[argument]: {op}: {rule}"));
    assert_eq!(headlines(&model(), &vec![f32s([2])]), both("the model has 2 leaves, gradients 1"));
    let three = vec![f32s([2]), f32s([3]), f32s([1])];
    assert_eq!(headlines(&three, &three), both("the model has 3 leaves, the optimiser 2"));
    assert_eq!(headlines(&model(), &vec![f32s([2]), f32s([4])]), both("1 is f32[3], for gradients f32[4]"));
    let other = vec![f32s([2]), f32s([4])];
    assert_eq!(headlines(&other, &other), both("1 is f32[4], for the optimiser f32[3]"));
    let broken = vec![f32s([2]), f32s([2]) + f32s([3])];
    let rule = "error[shape]: add(f32[2], f32[3]): extents 2 and 3 of axis 0 do not broadcast";
    assert_eq!(headlines(&model(), &broken), [rule, rule]);
}

#[test]
fn an_error_value_stays_that_error_until_a_boundary_returns_it() {
    let (bad, line) = (scope("encoder", || scope("attn", || f32s([2]) + f32s([3]))), line!());
    let later = ((bad.clone() * 2.0).exp().sum(0).reshape([7]) - 1).softmax(5);
    let e = later.to_vec::<f32>().unwrap_err();
    says(
        &e,
        line,
        "error[shape]: add(f32[2], f32[3]): extents 2 and 3 of axis 0 do not broadcast\n  at HERE in encoder.attn\n  \
         legal: aligned at the last axis, extents are equal or one of them is 1",
    );
    assert_eq!(
        (e.code(), e.op(), e.operands()),
        (Code::Shape, "add", &["f32[2]".to_string(), "f32[3]".to_string()][..])
    );
    assert_eq!(later.to_string(), e.to_string());
    assert_eq!(later.item::<f32>().unwrap_err().to_string(), e.to_string());
    assert_eq!(later.try_shape().unwrap_err().to_string(), e.to_string());
    let panic = std::panic::catch_unwind(|| later.shape()).unwrap_err();
    assert_eq!(*panic.downcast::<String>().unwrap(), e.to_string());
    let f = jit(|x: Tensor| x * 2.0);
    assert_eq!(f.call(&later).unwrap_err().to_string(), e.to_string());
    assert_eq!(f.call(f32s([1])).unwrap().to_vec::<f32>().unwrap(), [2.0]);
}

#[test]
fn an_error_that_nobody_saw_is_an_event() {
    let ((), counts) = Counters::of(|| drop(f32s([2]) + f32s([3])));
    assert_eq!(counts[Event::ErrorDropped], 1);
    let ((), counts) = Counters::of(|| drop((f32s([2]) + f32s([3])).to_vec::<f32>()));
    assert_eq!(counts[Event::ErrorDropped], 0);
}

/// The ill-typed op is part of no result, so only strict mode sees it.
#[test]
fn strict_mode_does_not_take_what_was_traced_without_it() {
    let f = jit(|x: Tensor| {
        let _ = &x + f32s([3]);
        x * 2.0
    });
    let strict = || with_options(Options { strict: true, ..target::options() }, || f.call(f32s([2])));
    f.call(f32s([2])).unwrap();
    assert_eq!(strict().unwrap_err().code(), Code::Shape);
    f.call(f32s([2])).unwrap();
    assert_eq!(strict().unwrap_err().code(), Code::Shape);
    assert_eq!(f.stats().traces, 1);
}

#[test]
fn options_that_cannot_be_are_refused() {
    let f = jit(|x: Tensor| x * 2.0);
    let options = Options { check: 9, ..target::options() };
    let e = with_options(options, || f.call(f32s([2]))).unwrap_err();
    assert_eq!(e.headline(), "error[argument]: options: TRACEWRIGHT_CHECK=9: not a number from 0 to 3");
    f.call(f32s([2])).unwrap();
}

#[test]
fn strict_mode_panics_at_the_op() {
    let strict = Options { strict: true, ..target::options() };
    let caught = std::panic::catch_unwind(|| with_options(strict.clone(), || f32s([2]) + f32s([3])));
    let message = caught.err().unwrap().downcast::<String>().unwrap();
    assert!(message.starts_with("error[shape]: add(f32[2], f32[3])"), "{message}");
    // Inside a compiled function such a panic is the error itself.
    let f = jit(|x: Tensor| x + f32s([3]));
    let e = with_options(strict, || f.call(f32s([2]))).unwrap_err();
    assert_eq!(e.code(), Code::Shape);
    assert_eq!(f.call(f32s([3])).unwrap().to_vec::<f32>().unwrap(), [2.0; 3]);
}

#[test]
fn an_ill_typed_op_in_a_compiled_function() {
    let line = line!() + 1;
    let f = jit(|x: Tensor, w: Tensor| scope("layer", || x.matmul(&w)).exp());
    let e = f.call(f32s([2, 3]), f32s([4, 5])).unwrap_err();
    says(
        &e,
        line,
        "error[shape]: matmul(f32[2, 3], f32[4, 5]): the last axis of the left operand has extent 3, the axis before \
         the last of the right has 4\n  at HERE in layer\n  legal: both are equal",
    );
    assert_eq!(f.call(f32s([2, 4]), f32s([4, 5])).unwrap().shape(), [2, 5].into());
}

#[test]
fn a_function_that_panics() {
    let f = jit(|x: Tensor, go: bool| if go { x * 2.0 } else { panic!("no way on") });
    const LEGAL: &str = "a function that returns; see the panic's own message for its line";
    let (e, line) = (f.call(f32s([2]), false).unwrap_err(), line!());
    says(&e, line, &format!("error[panic]: jit: the function panicked: no way on\n  at HERE\n  legal: {LEGAL}"));
    assert_eq!(f.call(f32s([2]), true).unwrap().to_vec::<f32>().unwrap(), [2.0, 2.0]);
    let line = line!() + 1;
    let g = grad(|x: &Tensor| if x.shape()[0].is(2) { x.sum(..) } else { panic!("not {}", x.shape()) });
    says(
        &err(g(&f32s([3]))),
        line,
        &format!("error[panic]: grad: the function panicked: not [3]\n  at HERE\n  legal: {LEGAL}"),
    );
    assert_eq!(g(&f32s([2])).to_vec::<f32>().unwrap(), [1.0, 1.0]);
    // The panic of an inner function arrives as the error of the outer one.
    let outer = jit(move |x: Tensor| grad(|x: &Tensor| x.shape()[9].is(0).then(|| x.clone()).unwrap())(&x));
    assert_eq!(outer.call(f32s([2])).unwrap_err().code(), Code::Panic);
    assert!(!f32s([1]).is_traced());
}

#[test]
fn a_shape_that_is_asked_of_an_error_inside_a_function() {
    let f = jit(|x: Tensor| {
        let y = &x + f32s([3]);
        if y.rank() == 1 { y } else { x }
    });
    let e = f.call(f32s([2])).unwrap_err();
    assert_eq!((e.code(), e.op()), (Code::Shape, "add"));
    assert_eq!(f.call(f32s([3])).unwrap().to_vec::<f32>().unwrap(), [2.0; 3]);
}

#[test]
fn a_loss_that_is_no_scalar() {
    let (loss, gradient) = value_and_grad(|x: &Tensor| x * 2.0)(&f32s([3]));
    let e = err(gradient);
    assert_eq!(e.headline(), "error[gradient]: grad: the function returned f32[3]");
    assert_eq!(e.legal(), "a float scalar, such as f32[]; vjp takes any result");
    assert_eq!(err(loss).to_string(), e.to_string());
}

#[test]
fn other_arguments_than_a_function_was_compiled_for() {
    let f = jit(|xs: Vec<Tensor>, scale: f32| xs.iter().fold(Tensor::from(0.0f32), |s, x| s + x.sum(..)) * scale);
    let one = f.compile(vec![f32s([2])], 2.0).unwrap();
    assert_eq!(one.call(vec![f32s([2])], 2.0).unwrap().item::<f32>().unwrap(), 4.0);
    let refused = |xs: Vec<Tensor>, scale: f32| {
        let e = one.call(xs, scale).unwrap_err();
        assert_eq!((e.code(), e.legal()), (Code::Argument, "arguments like (1 entry, f32[2], 2.0)"));
        e.headline()
    };
    assert_eq!(
        refused(vec![f32s([2]), f32s([2])], 2.0),
        "error[argument]: call: arguments.0 was 1 entry and is 2 entries"
    );
    assert_eq!(refused(vec![f32s([3])], 2.0), "error[argument]: call: arguments.0.0 was f32[2] and is f32[3]");
    assert_eq!(
        refused(vec![Tensor::zeros([2], DType::I64)], 2.0),
        "error[argument]: call: arguments.0.0 was f32[2] and is i64[2]"
    );
    assert_eq!(refused(vec![f32s([2])], 3.0), "error[argument]: call: arguments.1 was 2.0 and is 3.0");
    assert_eq!(one.call(vec![f32s([2])], 2.0).unwrap().item::<f32>().unwrap(), 4.0);
}

#[test]
fn an_index_out_of_range() {
    let table = f32s([3, 2]);
    let (e, line) = (err(table.take(&Tensor::from([0i64, 3]), 0)), line!());
    says(
        &e,
        line,
        "error[index]: gather: index 3 is out of range for axis 0 of extent 3\n  at HERE\n  legal: indices go from 0 to 2",
    );
    assert_eq!(table.take(&Tensor::from([0i64, 2]), 0).shape(), [2, 2].into());
    let (e, line) = (err(table.select(0, -4)), line!());
    says(
        &e,
        line,
        "error[index]: select(f32[3, 2]): index -4 is out of range for axis 0 of extent 3\n  at HERE\n  \
         legal: indices go from -3 to 2",
    );
    let (e, line) = (err(table.slice(0, 1..4)), line!());
    says(
        &e,
        line,
        "error[index]: slice(f32[3, 2]): range 1..4 does not lie in axis 0 of extent 3\n  at HERE\n  \
         legal: a range within 0..3, and a positive step",
    );
}

#[test]
fn an_index_out_of_range_in_a_compiled_step_leaves_the_state_as_it_was() {
    let line = line!() + 2;
    let step = jit(|(table, count): (Tensor, Tensor), i: Tensor| {
        let picked = scope("lookup", || table.take(&i, 0));
        ((&table * 0.5, count + 1.0), picked.sum(..))
    });
    let mut state = (Tensor::from([[1.0f32, 2.0], [3.0, 4.0]]), Tensor::from(0.0f32));
    assert_eq!(step.call_mut(&mut state, Tensor::from([1i64])).unwrap().item::<f32>().unwrap(), 7.0);
    let e = step.call_mut(&mut state, Tensor::from([7i64])).unwrap_err();
    says(
        &e,
        line,
        "error[index]: gather: index 7 is out of range for axis 0 of extent 2\n  at HERE in lookup\n  \
         legal: indices go from 0 to 1",
    );
    assert_eq!(state.0.to_vec::<f32>().unwrap(), [0.5, 1.0, 1.5, 2.0]);
    assert_eq!(state.1.item::<f32>().unwrap(), 1.0);
    assert_eq!(step.call_mut(&mut state, Tensor::from([0i64])).unwrap().item::<f32>().unwrap(), 1.5);
    assert_eq!(state.1.item::<f32>().unwrap(), 2.0);
    assert_eq!(step.stats().traces, 1);
}

/// Gradients of one structure share what was compiled, but not their lines.
#[test]
fn an_index_out_of_range_in_the_second_of_two_equal_gradients() {
    let at = |i: i64| Tensor::from([0, i]);
    let first = |i: i64| grad(move |x: &Tensor| (x.take(&at(i), 0) * 2.0).sum(..))(&f32s([2, 2]));
    assert_eq!(first(1).shape(), [2, 2].into());
    let line = line!() + 2;
    let second = |i: i64| {
        let picked = move |x: &Tensor| scope("second", || x.take(&at(i), 0));
        grad(move |x: &Tensor| (picked(x) * 2.0).sum(..))(&f32s([2, 2]))
    };
    for _ in 0..2 {
        says(
            &err(second(9)),
            line,
            "error[index]: gather: index 9 is out of range for axis 0 of extent 2\n  at HERE in second\n  \
             legal: indices go from 0 to 1",
        );
        assert_eq!(err(first(9)).location().unwrap().line, line - 4);
    }
    let ((), counts) = Counters::of(|| assert_eq!(second(1).shape(), [2, 2].into()));
    assert_eq!(counts[Event::Compile], 0);
}

/// The index is read out of, or checked against, what the step makes of its state.
#[test]
fn an_index_out_of_range_in_the_new_state_leaves_the_old_one() {
    let step = jit(|(table, norms): (Tensor, Tensor), i: Tensor| {
        let table = (&table * 2.0).softmax(1);
        let norms = norms + table.square().sum(1);
        let picked = table.take(&i, 0).sum(..) + norms.take(&i, 0).sum(..);
        ((table, norms), picked)
    });
    let mut state = (f32s([3, 2]), f32s([3]));
    let values = |s: &(Tensor, Tensor)| (s.0.to_vec::<f32>().unwrap(), s.1.to_vec::<f32>().unwrap());
    step.call_mut(&mut state, Tensor::from([2i64])).unwrap();
    for bad in [3i64, -1, i64::MAX, i64::MIN] {
        let before = values(&state);
        let e = step.call_mut(&mut state, Tensor::from([0, bad])).unwrap_err();
        assert_eq!(e.code(), Code::Index);
        assert_eq!(values(&state), before);
        step.call_mut(&mut state, Tensor::from([1i64])).unwrap();
        assert_ne!(values(&state), before);
    }
    assert_eq!(step.stats().traces, 2);
}

#[test]
fn a_panic_or_an_ill_typed_op_in_a_step_leaves_the_state() {
    let step = jit(|w: Tensor, x: Tensor, go: bool| {
        assert!(go, "not now");
        (w + x, ())
    });
    let mut w = f32s([2]);
    let place = w.data_ptr();
    let e = step.call_mut(&mut w, f32s([2]), false).unwrap_err();
    assert_eq!(e.headline(), "error[panic]: jit: the function panicked: not now");
    let e = step.call_mut(&mut w, f32s([3]), true).unwrap_err();
    assert_eq!(e.headline(), "error[shape]: add(f32[2], f32[3]): extents 2 and 3 of axis 0 do not broadcast");
    assert_eq!((w.to_vec::<f32>().unwrap(), w.data_ptr()), (vec![1.0, 1.0], place));
    step.call_mut(&mut w, f32s([2]), true).unwrap();
    assert_eq!((w.to_vec::<f32>().unwrap(), w.data_ptr()), (vec![2.0, 2.0], place));
}

/// The forward pass, which would have found the index, is dead code here.
#[test]
fn an_index_out_of_range_when_only_the_gradient_is_asked_for() {
    let rows = jit(|x: Tensor, i: Tensor| grad(|x: &Tensor| (x.take(&i, 0) * 2.0).sum(..))(&x));
    let loss = jit(|x: Tensor, y: Tensor| grad(|x: &Tensor| nn::cross_entropy(x, &y))(&x));
    for f in [rows, loss] {
        let e = f.call(f32s([2, 2]), Tensor::from([0i64, 2])).unwrap_err();
        assert_eq!((e.code(), e.legal()), (Code::Index, "indices go from 0 to 1"));
        assert_eq!(f.call(f32s([2, 2]), Tensor::from([0i64, 1])).unwrap().shape(), [2, 2].into());
    }
}

#[test]
fn settings_that_cannot_be_read() {
    let mut options = target::options();
    assert!(options.set("STRICT", "maybe").unwrap_err().to_string().contains("STRICT=maybe"));
}
