//! What cannot be done while a function is traced, and with its values elsewhere.

use crate::{err, f32s, says};
use std::sync::Mutex;
use tracewright::{Code, Tensor, cond, grad, jit, nn};

static KEPT: Mutex<Option<Tensor>> = Mutex::new(None);

#[test]
fn an_inner_value_used_after_its_trace() {
    let made = line!() + 2;
    let f = jit(|x: Tensor| {
        let y = &x * 2.0;
        *KEPT.lock().unwrap() = Some(y.clone());
        y
    });
    f.call(f32s([2])).unwrap();
    let kept = KEPT.lock().unwrap().clone().unwrap();
    let (e, line) = (err(&kept + 1.0), line!());
    let rest = format!(
        "the value was made at {}:{made}:17 while jit traced, and that trace has ended\n  at HERE\n  \
         legal: return the value from the traced function instead of keeping it",
        file!()
    );
    says(&e, line, &format!("error[trace]: add(f32[2], f32[]): {rest}"));
    let (e, line) = (kept.to_vec::<f32>().unwrap_err(), line!());
    says(&e, line, &format!("error[trace]: to_vec(f32[2]): {rest}"));
    let cell = nn::Buffer::new(kept.clone());
    assert_eq!(
        err(cell.get()).headline(),
        format!("error[trace]: Buffer::new(f32[2]): {}", rest.lines().next().unwrap())
    );
    assert_eq!(jit(move |x: Tensor| x + cell.get()).call(f32s([2])).unwrap_err().code(), Code::Trace);
    // In another trace, as an argument, and as a model of a gradient.
    let line = line!() + 1;
    let g = jit(move |x: Tensor| x + KEPT.lock().unwrap().as_ref().unwrap());
    says(&g.call(f32s([2])).unwrap_err(), line, &format!("error[trace]: add(f32[2]): {rest}"));
    let (e, line) =
        (err(grad(|x: &Tensor| x.sum(..) * KEPT.lock().unwrap().as_ref().unwrap().sum(..))(&f32s([2]))), line!());
    says(&e, line, &format!("error[trace]: sum(f32[2]): {rest}"));
    let y = kept.clone();
    let line = line!() + 1;
    let g = jit(move |x: Tensor| cond(&x.sum(..).gt(0.0), || y.clone(), || x.clone()));
    says(&g.call(f32s([2])).unwrap_err(), line, &format!("error[trace]: cond(f32[2]): {rest}"));
    let (e, line) = (f.call(&kept).unwrap_err(), line!());
    says(&e, line, &format!("error[trace]: call(arguments.0: f32[2]): {rest}"));
    let (e, line) = (err(grad(|x: &Tensor| x.sum(..))(&kept)), line!());
    says(&e, line, &format!("error[trace]: grad(f32[2]): {rest}"));
    assert_eq!(f.call(f32s([2])).unwrap().to_vec::<f32>().unwrap(), [2.0, 2.0]);
}

#[test]
fn a_value_used_on_another_thread_than_its_trace() {
    let made = line!() + 2;
    let f = jit(move |x: Tensor| {
        let y = &x * 2.0;
        let other = std::thread::scope(|s| s.spawn(|| err(&y + 1.0)).join().unwrap());
        let rule = format!(
            "the value was made at {}:{made}:17 while jit traced on another thread, where alone it can be used",
            file!()
        );
        assert_eq!(other.headline(), format!("error[trace]: add(f32[2], f32[]): {rule}"));
        assert_eq!(other.legal(), "compute with traced values on the thread that called the compiled function");
        y
    });
    assert_eq!(f.call(f32s([2])).unwrap().to_vec::<f32>().unwrap(), [2.0, 2.0]);
}

#[test]
fn compiling_and_lowering_while_another_function_is_traced() {
    let inner = std::sync::Arc::new(jit(|x: Tensor| (x * 3.0, ())));
    let (line, shared) = (line!() + 4, inner.clone());
    let f = jit(move |x: Tensor, how: i32| {
        let legal = "call the function itself, which is then recorded";
        let e = match how {
            0 => shared.compile(&x).err().unwrap(),
            1 => shared.lower(&x).err().unwrap(),
            _ => return shared.call(&x).unwrap().0,
        };
        let (op, line) = if how == 0 { ("compile", line) } else { ("lower", line + 1) };
        says(
            &e,
            line,
            &format!(
                "error[trace]: {op}: this cannot be done while a function is traced by jit\n  at HERE\n  legal: {legal}"
            ),
        );
        x * 2.0
    });
    for how in 0..2 {
        assert_eq!(f.call(f32s([1]), how).unwrap().to_vec::<f32>().unwrap(), [2.0]);
    }
    assert_eq!(f.call(f32s([1]), 2).unwrap().to_vec::<f32>().unwrap(), [3.0]);
    assert_eq!(inner.stats().traces, 0);
}

/// Compiled, it would be made once and live on, eager it is made at every call.
#[test]
fn a_cell_made_while_tracing() {
    let kept = f32s([2]);
    let line = line!() + 2;
    let f = jit(move |x: Tensor, what: i32| {
        let cell = nn::Buffer::new(if what == 0 { x.clone() } else { kept.clone() });
        let refused = cell.set(x);
        if what == 2 { Tensor::from(refused.is_err()) } else { cell.get() * 2.0 }
    });
    for what in [0, 1] {
        says(
            &f.call(f32s([2]), what).unwrap_err(),
            line,
            "error[trace]: Buffer::new: a cell cannot be made while a function is traced by jit\n  at HERE\n  \
             legal: make it before, and capture it or pass it in a tree",
        );
    }
    assert!(f.call(f32s([2]), 2).unwrap().item::<bool>().unwrap());
    let (cell, line) = (nn::Buffer::new(f32s([2]) + f32s([3])), line!());
    assert_eq!(err(cell.get()).location().unwrap().line, line);
    let f = jit(move |x: Tensor| x + cell.get());
    assert_eq!(f.call(f32s([2])).unwrap_err().location().unwrap().line, line);
}

/// What is unwrapped in a traced function is the error of the call.
#[test]
fn reading_a_value_while_tracing() {
    let line = line!() + 1;
    let f = jit(|x: Tensor| Tensor::from(x.sum(..).item::<f32>().unwrap()));
    says(
        &f.call(f32s([2])).unwrap_err(),
        line,
        "error[read]: item(f32[]): the value is not known while the function is traced by jit\n  at HERE\n  \
         legal: return the tensor and read it after the call, or compute with it as a tensor",
    );
    let line = line!() + 1;
    let f = jit(|x: Tensor| x.split(&[1, 2], 0).expect("two parts").remove(0));
    says(
        &f.call(f32s([2])).unwrap_err(),
        line,
        "error[shape]: split(f32[2]): parts of [1, 2] make 3, axis 0 has extent 2\n  at HERE\n  \
         legal: parts that add up to the extent",
    );
    assert_eq!(f.call(f32s([3])).unwrap().shape(), [1].into());
    let g = jit(|x: Tensor| x.to_vec::<f32>().map(|_| x.clone()).unwrap_or_else(|_| x * 3.0));
    assert_eq!(g.call(f32s([1])).unwrap().to_vec::<f32>().unwrap(), [3.0]);
}

#[test]
fn a_generator_cannot_be_made_in_a_trace() {
    let f = jit(move |x: Tensor| x + tracewright::Generator::new(0).uniform([2], 0.0, 1.0));
    let e = f.call(f32s([2])).unwrap_err();
    assert_eq!(e.headline(), "error[trace]: Generator::new: a cell cannot be made while a function is traced by jit");
}
