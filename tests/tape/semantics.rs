//! What PyTorch's tape does, this one does.

use crate::{close, f64s, leaf, number, slope};
use std::sync::{Arc, Mutex};
use tracewright::events::{Counters, Event};
use tracewright::tape::{self, Backward};
use tracewright::{Code, DType, Generator, Tensor, enable_grad, grad, jit, nn, no_grad, optim};

#[test]
fn gradients_add_up_until_they_are_cleared() {
    let x = leaf(3.0);
    assert!(x.grad().is_none());
    (&x * &x).backward().unwrap();
    assert_eq!(slope(&x), 6.0);
    (&x * 2.0).backward().unwrap();
    assert_eq!(slope(&x), 8.0);
    x.clear_grad();
    assert!(x.grad().is_none());
    (&x * 5.0).backward().unwrap();
    assert_eq!(slope(&x), 5.0);
    x.set_grad(Some(Tensor::from(1.0))).unwrap();
    x.backward().unwrap();
    assert_eq!(slope(&x), 2.0);
    assert!(!x.grad().unwrap().is_tracked());
}

#[test]
fn rust_decides_what_is_computed() {
    let x = leaf(1.5);
    let mut y = x.clone();
    let mut steps = 0;
    while number(&y) < 50.0 {
        y = if steps % 2 == 0 { &y * &x } else { y + &x * 3.0 };
        steps += 1;
    }
    y.backward().unwrap();
    let f = |x: &Tensor| {
        let mut y = x.clone();
        for i in 0..steps {
            y = if i % 2 == 0 { &y * x } else { y + x * 3.0 };
        }
        y
    };
    close(&[slope(&x)], &[number(&grad(f)(&Tensor::from(1.5)))], 1e-12);
}

#[test]
fn a_second_backward_needs_the_first_to_retain() {
    let x = leaf(3.0);
    let y = (&x * &x).exp();
    Backward::of(&[&y]).retain().accumulate().unwrap();
    y.backward().unwrap();
    close(&[slope(&x)], &[2.0 * 6.0 * 9.0f64.exp()], 1e-12);
    let line = line!() - 4;
    let e = y.backward().unwrap_err();
    assert_eq!(e.code(), Code::Gradient);
    assert_eq!(
        e.headline(),
        "error[gradient]: backward: what exp kept for its gradient was freed by a backward before"
    );
    assert_eq!(e.location().unwrap().line, line);
    // The failed one changed nothing.
    close(&[slope(&x)], &[2.0 * 6.0 * 9.0f64.exp()], 1e-12);
    // What keeps nothing can be gone through again, as in PyTorch.
    let x = leaf(1.0);
    let y = &x + 2.0;
    y.backward().unwrap();
    y.backward().unwrap();
    assert_eq!(slope(&x), 2.0);
}

#[test]
fn parts_of_the_tape_are_shared_by_results() {
    let x = leaf(2.0);
    let shared = x.exp();
    let (a, b) = (&shared * 2.0, &shared * 3.0);
    Backward::of(&[&a, &b]).accumulate().unwrap();
    close(&[slope(&x)], &[5.0 * 2.0f64.exp()], 1e-12);
}

#[test]
fn only_scalars_have_a_backward_without_a_cotangent() {
    let x = Tensor::from([1.0f64, 2.0]).requires_grad();
    let y = &x * &x;
    let e = y.backward().unwrap_err();
    assert_eq!(e.headline(), "error[gradient]: backward(f64[2]): the result is not a scalar");
    assert_eq!((e.legal(), e.location().unwrap().line), ("a scalar, or backward_with a cotangent", line!() - 2));
    let e = y.backward_with(&Tensor::from([1.0f32, 1.0])).unwrap_err();
    assert_eq!(e.headline(), "error[gradient]: backward(f64[2]): the cotangent has type f32[2]");
    y.backward_with(&Tensor::from([1.0f64, 10.0])).unwrap();
    assert_eq!(f64s(&x.grad().unwrap()), [2.0, 40.0]);
    // One element is a scalar in any rank.
    let z = Tensor::from([[3.0f64]]).requires_grad();
    (&z * &z).backward().unwrap();
    assert_eq!(f64s(&z.grad().unwrap()), [6.0]);
}

#[test]
fn what_is_not_on_the_tape_says_so() {
    let e = Tensor::from(1.0f64).backward().unwrap_err();
    assert!(e.rule().contains("not on the tape"), "{e}");
    assert_eq!(e.location().unwrap().line, line!() - 2);
    let e = Tensor::from([1i64, 2]).requires_grad().err().unwrap();
    assert_eq!(e.headline(), "error[gradient]: requires_grad(i64[2]): only floats have gradients");
    let e = Tensor::from(1.0f64).on_grad(|_| None).err().unwrap();
    assert_eq!(e.code(), Code::Gradient);
    let x = leaf(1.0);
    assert!(!x.gt(0.0).is_tracked() && !x.to_dtype(DType::I64).is_tracked() && !x.floor().gt(0.0).is_tracked());
    let bad = Tensor::from([1.0f64, 2.0]).requires_grad() + Tensor::from([1.0f64, 2.0, 3.0]);
    assert_eq!(bad.backward().unwrap_err().op(), "add");
}

#[test]
fn a_gradient_that_is_set_has_the_type_of_the_tensor() {
    let x = Tensor::from([1.0f64, 2.0]).requires_grad();
    let said = |g: Tensor| {
        let e = x.set_grad(Some(g)).unwrap_err();
        assert_eq!(e.location().unwrap().file, file!());
        e.headline()
    };
    let refused = "error[gradient]: set_grad: the gradient of f64[2] is set to ";
    assert_eq!(said(Tensor::zeros([3], DType::I64)), format!("{refused}i64[3]"));
    assert_eq!(said(Tensor::zeros([2, 2], DType::F64)), format!("{refused}f64[2, 2]"));
    assert_eq!(said(Tensor::zeros([2], DType::F32)), format!("{refused}f32[2]"));
    assert!(said(Tensor::zeros([2], DType::F64) + Tensor::zeros([3], DType::F64)).contains("add"));
    let traced = grad({
        let x = x.clone();
        move |y: &Tensor| if x.set_grad(Some(y * 1.0)).is_err() { y.sum(..) } else { y.prod(..) }
    });
    assert_eq!(f64s(&traced(&Tensor::from([2.0f64, 3.0]))), [1.0, 1.0]);
    assert!(x.grad().is_none());
    x.set_grad(Some(Tensor::from([5.0f64, 6.0]))).unwrap();
    assert_eq!(f64s(&x.grad().unwrap()), [5.0, 6.0]);
    x.set_grad(None).unwrap();
    assert!(x.grad().is_none());
}

#[test]
fn hooks_run_in_order_and_may_replace_the_gradient() {
    let x = leaf(2.0);
    let y = &x * 3.0;
    let seen: Arc<Mutex<Vec<(&str, f64)>>> = Arc::default();
    let note = |name: &'static str, factor: Option<f64>| {
        let seen = seen.clone();
        move |g: &Tensor| {
            seen.lock().unwrap().push((name, number(g)));
            factor.map(|f| g * f)
        }
    };
    let x_hook = x.on_grad(note("x", None)).unwrap();
    y.on_grad(note("first", Some(10.0))).unwrap();
    y.on_grad(note("second", None)).unwrap();
    let third = y.on_grad(note("third", Some(2.0))).unwrap();
    y.retain_grad();
    let z = &y + &y * &y;
    Backward::of(&[&z]).retain().accumulate().unwrap();
    // The gradient by y is complete when its hooks run: 1 + 2 y = 13.
    assert_eq!(*seen.lock().unwrap(), [("first", 13.0), ("second", 130.0), ("third", 130.0), ("x", 780.0)]);
    assert_eq!((slope(&x), slope(&y)), (780.0, 260.0));
    seen.lock().unwrap().clear();
    third.remove();
    x_hook.remove();
    z.backward().unwrap();
    assert_eq!(*seen.lock().unwrap(), [("first", 13.0), ("second", 130.0)]);
    assert_eq!((slope(&x), slope(&y)), (1170.0, 390.0));
    let y = &x * 2.0;
    y.on_grad(|_| Some(Tensor::from([1.0f64, 2.0]))).unwrap();
    let e = y.backward().unwrap_err();
    assert_eq!(e.headline(), "error[gradient]: backward: a hook made f64[2] of f64[]");
    // A hook that fails leaves the gradients as they were.
    assert_eq!(slope(&x), 1170.0);
}

#[test]
fn no_grad_and_detach_keep_off_the_tape() {
    let x = leaf(2.0);
    let y = no_grad(|| {
        assert!(!(&x * 2.0).is_tracked());
        assert!(!x.reshape([1]).is_tracked() && !x.broadcast_to([3]).is_tracked());
        assert!(enable_grad(|| &x * 2.0).is_tracked());
        // A leaf can be made, and what is on the tape stays.
        assert!(leaf(1.0).is_tracked() && x.is_tracked());
        &x * 2.0
    });
    assert!(!y.is_tracked() && y.is_leaf());
    (&x * y).backward().unwrap();
    assert_eq!(slope(&x), 4.0);
    let d = x.detach();
    assert!(!d.is_tracked());
    assert_eq!(d.data_ptr(), x.data_ptr());
    (&x * d).backward().unwrap();
    assert_eq!(slope(&x), 6.0);
    // A panic ends the mode.
    let _ = std::panic::catch_unwind(|| no_grad(|| panic!("inside")));
    assert!((&x * 2.0).is_tracked());
}

#[test]
fn no_grad_in_a_traced_function_makes_constants() {
    let f = |x: &Tensor| x * no_grad(|| x * x + x.sum(..));
    let at = Tensor::from(3.0f64);
    assert_eq!(number(&grad(f)(&at)), 12.0);
    assert_eq!(number(&jit(move |x: Tensor| grad(f)(&x)).call(&at).unwrap()), 12.0);
    // A gradient that is taken inside is what it is elsewhere, and a constant outside.
    let g = |x: &Tensor| x * no_grad(|| grad(|x: &Tensor| x * x)(x));
    assert_eq!(number(&grad(g)(&at)), 6.0);
    assert_eq!(number(&no_grad(|| grad(|x: &Tensor| x * x)(&at))), 6.0);
}

#[test]
fn gradients_of_intermediates_are_kept_on_demand() {
    let x = leaf(2.0);
    let y = &x * 3.0;
    let z = y.square();
    y.retain_grad();
    y.retain_grad();
    z.backward().unwrap();
    assert_eq!((slope(&y), slope(&x)), (12.0, 36.0));
    assert!(z.grad().is_none());
    assert!(!y.is_leaf() && x.is_leaf());
}

#[test]
fn double_backward() {
    let x = leaf(0.7);
    let y = x.sin() * x.exp();
    let first = Backward::of(&[&y]).create_graph().by(&[&x]).unwrap()[0].clone().unwrap();
    let (s, c, e) = (0.7f64.sin(), 0.7f64.cos(), 0.7f64.exp());
    close(&[number(&first)], &[(s + c) * e], 1e-12);
    let second = Backward::of(&[&first]).create_graph().by(&[&x]).unwrap()[0].clone().unwrap();
    close(&[number(&second)], &[2.0 * c * e], 1e-12);
    second.backward().unwrap();
    close(&[slope(&x)], &[2.0 * (c - s) * e], 1e-12);

    // A penalty on a gradient, accumulated.
    let w = Tensor::from([0.5f64, -1.0]).requires_grad();
    let a = Tensor::from([[1.0f64, 2.0], [3.0, 4.0]]);
    let loss = |w: &Tensor| a.matmul(w).tanh().square().sum(..);
    let g = Backward::of(&[&loss(&w)]).create_graph().by(&[&w]).unwrap()[0].clone().unwrap();
    g.square().sum(..).backward().unwrap();
    let want = grad(|w: &Tensor| grad(loss)(w).square().sum(..))(&w.detach());
    close(&f64s(&w.grad().unwrap()), &f64s(&want), 1e-10);
    // With create_graph, accumulated gradients are on the tape.
    let x = leaf(2.0);
    Backward::of(&[&(&x * &x * &x)]).create_graph().accumulate().unwrap();
    assert!(x.grad().unwrap().is_tracked());
    let second = Backward::of(&[&x.grad().unwrap()]).by(&[&x]).unwrap();
    assert_eq!(number(second[0].as_ref().unwrap()), 12.0);
}

#[test]
fn chosen_results_by_chosen_inputs() {
    let (x, y, unused) = (leaf(2.0), leaf(3.0), leaf(4.0));
    let p = &x * &y;
    let (a, b) = (&p * &p, p.exp() * 0.0 + &y);
    let (one, ten) = (Tensor::from(1.0), Tensor::from(10.0));
    let found = Backward::of(&[&a, &b]).with(&[&one, &ten]).retain().by(&[&p, &y, &unused]).unwrap();
    assert_eq!(number(found[0].as_ref().unwrap()), 12.0);
    assert_eq!(number(found[1].as_ref().unwrap()), 24.0 + 10.0);
    assert!(found[2].is_none());
    assert!(x.grad().is_none() && y.grad().is_none());
    let e = Backward::of(&[&a]).with(&[&one, &ten]).by(&[&x]).unwrap_err();
    assert_eq!(e.headline(), "error[gradient]: backward: there are 2 cotangents for 1 results");
    let e = Backward::of(&[&a]).by(&[&x.detach()]).unwrap_err();
    assert_eq!(e.code(), Code::Gradient);
}

#[test]
fn there_is_no_tape_in_traced_functions() {
    let e = jit(|x: Tensor| x.requires_grad()).call(Tensor::from(1.0f64)).unwrap_err();
    assert_eq!((e.code(), e.location().unwrap().line), (Code::Trace, line!() - 1));
    let x = leaf(3.0);
    let loss = &x * &x;
    let f = jit(move |_: Tensor| Tensor::from(loss.backward().is_err()));
    assert!(f.call(Tensor::from(1.0f64)).unwrap().item::<bool>().unwrap());
    let e = jit(|x: Tensor| if x.backward().is_err() { x } else { x * 2.0 }).call(Tensor::from(1.0f64)).unwrap();
    assert_eq!(number(&e), 1.0);
    let said = Arc::new(Mutex::new(String::new()));
    let (kept, f) = (Arc::new(Mutex::new(None)), leaf(1.0));
    jit({
        let (said, kept) = (said.clone(), kept.clone());
        move |x: Tensor| {
            *said.lock().unwrap() = f.backward().unwrap_err().legal().to_string();
            *kept.lock().unwrap() = Some(&x * 2.0);
            x
        }
    })
    .call(Tensor::from(1.0f64))
    .unwrap();
    assert!(said.lock().unwrap().starts_with("grad, value_and_grad or vjp"), "{said:?}");
    // There is no trace any more, and the value is of none.
    let e = kept.lock().unwrap().take().unwrap().requires_grad().err().unwrap();
    assert!(e.rule().ends_with("while jit traced, and that trace has ended"), "{e}");
}

#[test]
fn chains_of_any_length_are_gone_through_and_dropped() {
    let x = leaf(1.0);
    let mut y = x.clone();
    for _ in 0..100_000 {
        y = -y;
    }
    y.backward().unwrap();
    assert_eq!(slope(&x), 1.0);
    drop(y);
    let mut y = x.clone();
    (0..100_000).for_each(|_| y = &y + &x);
    drop(y);
}

#[test]
fn threads_share_leaves_and_tapes() {
    let x = leaf(2.0);
    let shared = x.exp();
    std::thread::scope(|s| {
        for i in 0..4 {
            let (x, shared) = (x.clone(), shared.clone());
            s.spawn(move || {
                for _ in 0..50 {
                    let y = &shared * i as f64 + &x;
                    Backward::of(&[&y]).retain().accumulate().unwrap();
                }
            });
        }
    });
    close(&[slope(&x)], &[50.0 * (6.0 * 2.0f64.exp() + 4.0)], 1e-9);
}

#[test]
fn shapes_that_change_compile_nothing_anew() {
    let run = |n: usize| {
        let x = Tensor::ones([n, n + 1], DType::F64).requires_grad();
        let y = (x.t().matmul(&x).softmax(-1) * 2.0 + x.mean(..)).exp().sum(..);
        y.backward().unwrap();
        x.grad().unwrap().to_vec::<f64>().unwrap();
    };
    (3..5).for_each(run);
    let (_, counts) = Counters::of(|| (5..9).for_each(run));
    assert_eq!(counts[Event::Compile], 0);
}

#[test]
fn a_network_is_trained() {
    #[derive(nn::Module)]
    struct Mlp(nn::Linear, nn::Linear);
    let g = Generator::new(1);
    let mut model = Mlp(nn::Linear::new(4, 16, &g), nn::Linear::new(16, 3, &g));
    let mut optimizer = optim::AdamW::new(&model, 0.05);
    let x = g.normal([32, 4], 0.0, 1.0);
    let y = x.slice(1, 0..3).argmax(1);
    let loss = |m: &Mlp| nn::cross_entropy(&m.1.forward(&m.0.forward(&x).gelu()), &y);
    let first = loss(&model).item::<f32>().unwrap();
    for _ in 0..40 {
        let leaves = tape::track(&model);
        loss(&leaves).backward().unwrap();
        let gradients = tape::gradients(&leaves);
        let want = grad(loss)(&model);
        for ((_, a), (_, b)) in tracewright::Tree::leaves(&gradients).iter().zip(tracewright::Tree::leaves(&want)) {
            let (a, b) = (a.to_vec::<f32>().unwrap(), b.to_vec::<f32>().unwrap());
            assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-5), "{a:?} {b:?}");
        }
        (model, optimizer) = optimizer.update(model, gradients);
        tape::clear(&leaves);
        assert!(leaves.0.weight.grad().is_none());
    }
    let last = loss(&model).item::<f32>().unwrap();
    assert!(last < 0.3 * first, "{first} {last}");
}

#[test]
fn an_op_that_fails_names_its_own_line_at_each_use() {
    let x = Tensor::from([1.0f64, 2.0]).requires_grad();
    let take = |at: i64| x.take(&Tensor::from([at]), 0);
    assert_eq!(f64s(&take(1)), [2.0]);
    let lines = [take(2), x.take(&Tensor::from([5i64]), 0)].map(|t| {
        let e = t.backward_with(&Tensor::from([1.0f64])).unwrap_err();
        assert_eq!((e.code(), e.op()), (Code::Index, "gather"));
        e.location().unwrap().line
    });
    assert_eq!(lines, [line!() - 7, line!() - 5]);
}

#[test]
fn tracked_tensors_go_to_other_threads() {
    fn check<T: Send + Sync>(t: T) -> T {
        t
    }
    let x = check(leaf(2.0));
    let y = std::thread::spawn({
        let x = x.clone();
        move || &x * &x
    });
    y.join().unwrap().backward().unwrap();
    assert_eq!(slope(&x), 4.0);
}

#[test]
fn buffers_keep_no_tape() {
    let buffer = nn::Buffer::new(Tensor::from(0.0f64));
    let x = leaf(1.0);
    buffer.set(buffer.get() + &x).unwrap();
    assert!(!buffer.get().is_tracked());
}

#[test]
fn by_chosen_inputs_through_ops_with_other_operands() {
    let (x, w) = (leaf(2.0), leaf(3.0));
    let y = (&x * &w).exp() + &w;
    let found = Backward::of(&[&y]).by(&[&x]).unwrap();
    close(&[number(found[0].as_ref().unwrap())], &[3.0 * 6.0f64.exp()], 1e-12);
}

#[test]
fn create_graph_records_under_no_grad() {
    let x = leaf(2.0);
    let y = &x * &x * &x;
    let first = no_grad(|| Backward::of(&[&y]).create_graph().by(&[&x])).unwrap()[0].clone().unwrap();
    assert!(first.is_tracked());
    let second = Backward::of(&[&first]).by(&[&x]).unwrap();
    assert_eq!(number(second[0].as_ref().unwrap()), 12.0);
}
