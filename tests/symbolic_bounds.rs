//! What is symbolic is checked when it gets its value: before anything runs, with the same error compiled and
//! interpreted.

mod target;

use std::ops::Bound;
use tracewright::options::{Options, with_options};
use tracewright::{Code, DType, Dim, Error, Result, Tensor, jit, keepdims};

fn arange(n: usize) -> Tensor {
    Tensor::arange(n, DType::F32)
}

/// The error of `f` on `bad` elements, compiled and interpreted, without the line; `good` elements must work before and
/// after.
fn refused(f: fn(Tensor) -> Tensor, good: usize, bad: usize) -> String {
    let message = |jit_on: bool| {
        let f = jit(f).dynamic("arguments.0", 0, "B", 0..=64);
        let options = Options { jit: jit_on, ..target::options() };
        with_options(options, || {
            f.call(arange(good)).unwrap();
            let error = f.call(arange(bad)).map(|t| t.to_string()).unwrap_err();
            f.call(arange(good)).unwrap();
            assert!(error.location().unwrap().to_string().starts_with(file!()), "{error}");
            let text = error.to_string();
            text.lines().filter(|line| !line.starts_with("  at ")).collect::<Vec<_>>().join("\n")
        })
    };
    let compiled = message(true);
    assert_eq!(compiled, message(false));
    compiled
}

#[test]
fn slices_stay_in_their_axis() {
    let outside = |n: usize, range: &str| {
        format!(
            "error[index]: slice(f32[{n}]): slice {range} of axis 0, which has extent {n}\n  \
             legal: 0 <= start <= limit <= extent"
        )
    };
    assert_eq!(refused(|x| x.select(0, 5), 6, 3), outside(3, "5..6"));
    assert_eq!(refused(|x| x.select(0, -5), 6, 3), outside(3, "-2..-1"));
    assert_eq!(refused(|x| x.slice(0, 4..6) * 2.0, 6, 5), outside(5, "4..6"));
    let between = (Bound::Included(2), Bound::Excluded(-2));
    assert_eq!(
        refused(move |x| x.slice(0, (Bound::Included(2), Bound::Excluded(-2))).sum(..), 4, 3),
        outside(3, "2..1")
    );
    // Also where the slice of a slice is one.
    assert_eq!(refused(|x| x.slice(0, 0..5).slice(0, 0..2), 5, 4), outside(4, "0..5"));
    assert_eq!(
        jit(|x: Tensor| x.select(0, 1 << 40))
            .dynamic("arguments.0", 0, "B", 1..=64)
            .call(arange(3))
            .unwrap_err()
            .headline(),
        "error[index]: slice(f32[3]): slice 1099511627776..1099511627777 of axis 0, which has extent 3"
    );
    // The class is that of the slice whose extents are known.
    assert_eq!(arange(3).slice(0, between).ok().unwrap_err().code(), Code::Index);
}

/// As eager calls say it, but that the op is named as in the graph.
#[test]
fn an_axis_that_turns_out_empty_is_refused() {
    let empty = |op: &str, what: &str| {
        format!(
            "error[empty]: {op}(f32[0]): axis 0 is empty, so there is no {what} to give\n  legal: an axis with elements"
        )
    };
    type Function = fn(Tensor) -> Tensor;
    let functions: [(Function, [&str; 2], &str); 5] = [
        (|x| x.max(0), ["reduce_max", "max"], "element"),
        (|x| x.min(keepdims(..)) * 2.0, ["reduce_min", "min"], "element"),
        (|x| x.reshape([-1, 1]).max(1).max(0), ["reduce_max", "max"], "element"),
        (|x| x.argmax(0), ["argmax"; 2], "position"),
        (|x| x.argmin(0) + 1, ["argmin"; 2], "position"),
    ];
    for (f, [op, function], what) in functions {
        assert_eq!(refused(f, 3, 0), empty(op, what));
        let error = f(arange(0)).ok().unwrap_err().to_string();
        let eager: Vec<&str> = error.lines().filter(|line| !line.starts_with("  at ")).collect();
        assert_eq!(eager.join("\n"), empty(function, what));
    }
}

/// What is shifted by a largest element needs none where there is nothing to shift; nor does an empty axis that stays.
#[test]
fn an_empty_axis_is_fine_where_nothing_is_taken_of_it() -> Result<()> {
    let f =
        jit(|x: Tensor| (x.softmax(0), x.logsumexp(0), x.unsqueeze(1).max(1))).dynamic("arguments.0", 0, "B", 0..=9);
    for jit_on in [true, false] {
        let options = Options { jit: jit_on, ..target::options() };
        let (softmax, logsumexp, rows) = with_options(options, || f.call(arange(0)))?;
        assert_eq!((softmax.numel(), rows.numel()), (Dim::from(0), Dim::from(0)));
        assert_eq!(logsumexp.item::<f32>()?, f32::NEG_INFINITY);
    }
    Ok(())
}

#[test]
fn a_state_stays_as_it_was() -> Result<()> {
    let step = jit(|state: Tensor, x: Tensor| (state + 1.0, x.select(0, 5))).dynamic("arguments.1", 0, "B", 1..=64);
    let mut state = Tensor::from([1.0f32, 2.0]);
    step.call_mut(&mut state, arange(6))?;
    let error: Error = step.call_mut(&mut state, arange(3)).unwrap_err();
    assert!(error.to_string().contains("which has extent 3"), "{error}");
    assert_eq!(state.to_vec::<f32>()?, [2.0, 3.0]);
    step.call_mut(&mut state, arange(7))?;
    assert_eq!(state.to_vec::<f32>()?, [3.0, 4.0]);
    Ok(())
}

#[test]
fn more_elements_than_memory_are_refused_where_they_arise() {
    const HALF: i64 = 1 << 31;
    const WIDE: i64 = 1 << 32;
    let x = || Tensor::ones([4], DType::F32).reshape([4, 1, 1]);
    let f = jit(|x: Tensor| x.broadcast_to([4, HALF, HALF]).reshape([WIDE, WIDE]).slice(0, 0..2).slice(1, 0..2));
    let error = f.call(x()).unwrap_err();
    assert!(error.headline().contains("which is larger than any memory"), "{error}");
    assert!(error.location().unwrap().to_string().starts_with(file!()), "{error}");
    let eager = x().broadcast_to([4, HALF, HALF]).ok().unwrap_err();
    assert!(eager.headline().contains("larger than"), "{eager}");
    // The same through a symbol, once it has its value.
    let f = jit(|x: Tensor| {
        let huge = x.dim(0) * (1i64 << 40) * (1i64 << 40);
        x.sum(..).reshape([1]).broadcast_to([huge, Dim::from(1)]).slice(0, 0..1)
    });
    let error = f.dynamic("arguments.0", 0, "B", 1..=64).call(arange(3)).unwrap_err();
    let rule = "broadcast_in_dim(f32[1]): dimension 9223372036854775807*B has no value that can be an extent";
    assert_eq!(error.headline(), format!("error[shape]: {rule}"));
    assert_eq!(error.legal(), "an extent from 0 to 9223372036854775807");
}
