//! Graphs read from text agree with the functions that they were recorded from.

use tracewright::{Code, DType, Generator, Recording, Tensor, grad, jit, nn, scope};

fn loss(x: &Tensor, w: &Tensor, y: &Tensor) -> Tensor {
    scope("loss", || nn::cross_entropy(&x.matmul(w).tanh(), y))
}

fn numbers(t: &Tensor) -> Vec<f32> {
    t.to_vec().unwrap()
}

#[test]
fn a_traced_function_reads_back_runs_and_differentiates() {
    let g = Generator::new(3);
    let (x, w) = (g.normal([5, 4], 0.0, 1.0), g.normal([4, 3], 0.0, 1.0));
    let y = Tensor::from([0i64, 2, 1, 1, 0]);
    let f = jit(|x: Tensor, w: Tensor, y: Tensor| loss(&x, &w, &y));
    let text = f.lower(&x, &w, &y).unwrap().graph().to_string();
    let recording = Recording::parse("loss.ir", &text).unwrap();
    assert_eq!(recording.ir(), text);
    let arguments = [x.clone(), w.clone(), y.clone()];
    assert_eq!(numbers(&recording.call(&arguments).unwrap()[0]), numbers(&f.call(&x, &w, &y).unwrap()));

    let gradient = recording.gradient().unwrap();
    let (xg, wg, yg) = (x.clone(), w.clone(), y.clone());
    let by_x = grad(move |x: &Tensor| loss(x, &wg, &yg))(&x);
    let yg = y.clone();
    let by_w = grad(move |w: &Tensor| loss(&xg, w, &yg))(&w);
    let got = gradient.call(&arguments).unwrap();
    assert_eq!(got.len(), 3);
    for (a, b) in [(&got[1], &by_x), (&got[2], &by_w)] {
        assert!(numbers(a).iter().zip(numbers(b)).all(|(a, b)| (a - b).abs() < 1e-6), "{a} {b}");
    }
    // What was differentiated is text again.
    let again = Recording::parse("gradient.ir", &gradient.ir()).unwrap();
    assert_eq!(numbers(&again.call(&arguments).unwrap()[2]), numbers(&got[2]));
}

#[test]
fn wrong_arguments_leave_it_usable() {
    let text = "graph @f(%0: f32[B, 2]) -> (f32[B, 2]) where B in 1..=4 {\n  %1: f32[B, 2] = exp %0\n  return %1\n}\n";
    let recording = Recording::parse("f.ir", text).unwrap();
    let zeros = |shape: [usize; 2]| Tensor::zeros(shape, DType::F32);
    let refused = |arguments: &[Tensor]| {
        let e = recording.call(arguments).unwrap_err();
        assert_eq!(e.code(), Code::Argument);
        e.rule().to_string()
    };
    assert_eq!(refused(&[]), "0 inputs given, the graph takes 1");
    assert_eq!(refused(&[zeros([2, 3])]), "input 0 has type f32[2, 3], the graph takes f32[B, 2]");
    assert_eq!(refused(&[zeros([5, 2])]), "B is 5, outside its bounds 1..=4");
    let bad = zeros([1, 2]) + zeros([1, 3]);
    assert_eq!(recording.call(&[bad]).unwrap_err().op(), "add");
    let shared = std::sync::Arc::new(Recording::parse("f.ir", text).unwrap());
    let traced = jit(move |x: Tensor| shared.call(&[x]).map(|mut out| out.remove(0)).unwrap());
    let e = traced.call(zeros([1, 2])).unwrap_err();
    assert_eq!(e.headline(), "error[trace]: call: a recording cannot be called while tracing");
    for n in [1, 4, 3] {
        assert_eq!(numbers(&recording.call(&[zeros([n, 2])]).unwrap()[0]), vec![1.0; 2 * n]);
    }
}

#[test]
fn scopes_may_hold_anything() {
    let f = jit(|x: Tensor| tracewright::scope("two\nlines // } %9", || x * 2.0));
    let text = f.lower(Tensor::from([1.0f32])).unwrap().ir();
    assert!(text.contains("two\\nlines // } %9"), "{text}");
    let again = Recording::parse("f.ir", &text).unwrap();
    assert_eq!(again.ir().lines().count(), text.lines().count());
}
