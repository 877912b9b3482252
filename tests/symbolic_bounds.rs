//! What is symbolic is checked when it gets its value: before anything runs, with the same error compiled and
//! interpreted.

use std::ops::Bound;
use tracewright::options::{Options, with_options};
use tracewright::{DType, Dim, Error, Result, Tensor, jit};

fn arange(n: usize) -> Tensor {
    Tensor::arange(n, DType::F32)
}

/// The error of `f` on `bad` elements, compiled and interpreted; `good` elements must work before and after.
fn refused(f: fn(Tensor) -> Tensor, good: usize, bad: usize) -> String {
    let message = |jit_on: bool| {
        let f = jit(f).dynamic("arguments.0", 0, "B", 0..=64);
        let options = Options { jit: jit_on, ..Options::default() };
        with_options(options, || {
            f.call(arange(good)).unwrap();
            let error = f.call(arange(bad)).map(|t| t.to_string()).unwrap_err();
            f.call(arange(good)).unwrap();
            assert!(error.location().unwrap().to_string().starts_with(file!()), "{error}");
            error.headline().trim_start_matches("error[argument]: ").to_string()
        })
    };
    let compiled = message(true);
    assert_eq!(compiled, message(false));
    compiled
}

#[test]
fn slices_stay_in_their_axis() {
    assert_eq!(refused(|x| x.select(0, 5), 6, 3), "slice: slice 5..6 of axis 0, which has extent 3");
    assert_eq!(refused(|x| x.select(0, -5), 6, 3), "slice: slice -2..-1 of axis 0, which has extent 3");
    assert_eq!(refused(|x| x.slice(0, 4..6) * 2.0, 6, 5), "slice: slice 4..6 of axis 0, which has extent 5");
    assert_eq!(
        refused(|x| x.slice(0, (Bound::Included(2), Bound::Excluded(-2))).sum(..), 4, 3),
        "slice: slice 2..1 of axis 0, which has extent 3"
    );
    assert_eq!(
        refused(|x| x.slice(0, 0..5).slice(0, 0..2), 5, 4),
        "slice: slice 0..5 of axis 0, which has extent 4",
        "also where the slice of a slice is one"
    );
    assert_eq!(
        jit(|x: Tensor| x.select(0, 1 << 40))
            .dynamic("arguments.0", 0, "B", 1..=64)
            .call(arange(3))
            .unwrap_err()
            .headline(),
        "error[argument]: slice: slice 1099511627776..1099511627777 of axis 0, which has extent 3"
    );
}

#[test]
fn an_axis_that_turns_out_empty_has_no_position() {
    assert_eq!(refused(|x| x.argmax(0), 1, 0), "argmax: axis 0 is empty");
    assert_eq!(refused(|x| x.argmin(0) + 1, 3, 0), "argmin: axis 0 is empty");
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
    let rule = "broadcast_in_dim: dimension 9223372036854775807*B has no value that can be an extent";
    assert_eq!(error.headline(), format!("error[argument]: {rule}"));
}
