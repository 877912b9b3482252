//! The check mode of compiled functions.

use crate::{ones, scalar};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tracewright::{Code, Tensor, Tree, jit, nn::Buffer};

#[test]
fn the_check_mode_finds_values_of_the_host_that_change() {
    let counter = Arc::new(AtomicU32::new(0));
    let shared = counter.clone();
    let line = line!() + 3;
    let f = jit(move |x: Tensor| {
        let noise = shared.fetch_add(1, Ordering::Relaxed) as f32;
        x * noise
    })
    .check();
    let e = f.call(ones([2])).unwrap_err();
    assert_eq!(e.code(), Code::HostConstant);
    let text = e.to_string();
    assert!(text.starts_with("error[host-constant]: jit: two traces of the same arguments differ"), "{text}");
    assert!(
        text.contains("full {value = 0.0:f32, shape = [2]} became full {value = 1.0:f32, shape = [2]} at "),
        "{text}"
    );
    assert!(text.contains(&format!("{}:{line}:", file!())), "{text}");
    let steady = jit(|x: Tensor| x * 3.0).check();
    assert_eq!(steady.call(ones([1])).unwrap().to_vec::<f32>().unwrap(), [3.0]);
}

/// What a function does beside its graph: which tensors it captures, what its results are made of, which cells it
/// touches.
#[test]
fn the_check_mode_compares_more_than_graphs() {
    fn headline<R: Tree>(f: &tracewright::jit::Jit<(Tensor, Tensor), R>) -> String {
        let e = f.call(ones([2]), scalar(1.0)).err().expect("a function that changes");
        assert_eq!(e.code(), Code::HostConstant);
        assert!(e.legal().starts_with("pass what changes as an argument"), "{e}");
        e.to_string()
            .lines()
            .filter(|l| !l.contains("legal:") && !l.starts_with("  at "))
            .collect::<Vec<_>>()
            .join("\n")
    }
    let says =
        |note: &str| format!("error[host-constant]: jit: two traces of the same arguments differ\n  note: {note}");
    let turn = || {
        let n = AtomicU32::new(0);
        move || n.fetch_add(1, Ordering::Relaxed).is_multiple_of(2)
    };
    let even = turn();
    let input = jit(move |x: Tensor, y: Tensor| (if even() { x } else { y }, ())).check();
    assert_eq!(headline(&input), says("result.0 was arguments.0 and is arguments.1"));
    let even = turn();
    let either = jit(move |x: Tensor, y: Tensor| if even() { x * 1.5 + y } else { x }).check();
    assert!(headline(&either).starts_with("error[host-constant]: jit: two traces of the same arguments have "));
    let (even, line) = (turn(), line!() + 1);
    let swapped = jit(move |x: Tensor, _: Tensor| if even() { x.exp() - x.sin() } else { x.sin() - x.exp() }).check();
    assert!(headline(&swapped).contains(&format!("exp {{}} became sin {{}} at {}:{line}:", file!())));
    let (even, line) = (turn(), line!() + 1);
    let swapped = jit(move |x: Tensor, y: Tensor| if even() { x.sum(..) - y } else { y - x.sum(..) }).check();
    assert!(headline(&swapped).contains(&format!("sub has other operands at {}:{line}:", file!())));
    let n = AtomicU32::new(0);
    let fixed = jit(move |x: Tensor, _: Tensor| (x * 2.0, n.fetch_add(1, Ordering::Relaxed))).check();
    assert_eq!(headline(&fixed), says("result.1 was 0 and is 1"));
    #[derive(Tree)]
    struct Tagged {
        #[tree(fixed)]
        tag: bool,
    }
    let even = turn();
    let tagged = jit(move |_: Tensor, _: Tensor| Tagged { tag: even() }).check();
    assert_eq!(headline(&tagged), says("result.tag is other fixed data than before"));
    let (even, line) = (turn(), line!() + 2);
    let outputs = jit(move |x: Tensor, y: Tensor| {
        let a = x.exp();
        let b = y.exp();
        if even() { (a.clone(), b, a) } else { (a, b.clone(), b) }
    });
    let at = |line: u32| format!("the exp of {}:{line}:19", file!());
    assert_eq!(headline(&outputs.check()), says(&format!("result.2 was {} and is {}", at(line), at(line + 1))));
    // Only the order of the results differs.
    let (even, line) = (turn(), line!() + 2);
    let swapped = jit(move |x: Tensor, y: Tensor| {
        let a = x.exp();
        let b = y.exp();
        if even() { vec![a, b] } else { vec![b, a] }
    });
    let text = headline(&swapped.check());
    let [first, second] = [at(line), at(line + 1)];
    let note = format!("result.0 was {first} and is {second}\n  note: result.1 was {second} and is {first}");
    assert_eq!(text, says(&note));
    let even = turn();
    let length = jit(move |x: Tensor, _: Tensor| if even() { vec![x] } else { vec![x.clone(), x] }).check();
    assert_eq!(headline(&length), says("result was 1 entry and is 2 entries"));
    let even = turn();
    let cells = [Buffer::new(scalar(0.0)), Buffer::new(scalar(0.0))];
    let cell = jit(move |x: Tensor, y: Tensor| {
        cells[even() as usize].set(y).unwrap();
        x
    });
    assert_eq!(headline(&cell.check()), says("another cell is read or written"));
    let even = turn();
    let cell = Buffer::new(ones([2]));
    let write = jit(move |x: Tensor, _: Tensor| {
        let old = cell.get();
        cell.set(if even() { x } else { old.clone() }).unwrap();
        old
    });
    let old = "a tensor that is not computed from arguments";
    assert_eq!(headline(&write.check()), says(&format!("a cell was given arguments.0 and is given {old}")));
}

#[test]
fn the_check_mode_finds_a_captured_tensor_that_was_replaced() {
    let kept = Arc::new(std::sync::Mutex::new(ones([2])));
    let shared = kept.clone();
    let line = line!() + 1;
    let f = jit(move |x: Tensor| x + &*shared.lock().unwrap()).check();
    for _ in 0..2 {
        assert_eq!(f.call(ones([2])).unwrap().to_vec::<f32>().unwrap(), [2.0, 2.0]);
    }
    // As large as before, so that only the tensor is another.
    *kept.lock().unwrap() = ones([2]) * 7.0;
    let e = f.call(ones([2])).unwrap_err();
    let text = e.to_string();
    assert_eq!(e.headline(), "error[host-constant]: jit: two traces of the same arguments differ");
    let note = format!("the captured tensor f32[2] is another one; it is used at {}:{line}:", file!());
    assert!(text.contains(&note) && text.contains("the first is what was compiled"), "{text}");
    *kept.lock().unwrap() = ones([2, 2]);
    assert!(f.call(ones([2])).unwrap_err().to_string().contains("a captured tensor f32[2] became f32[2, 2]"));
    assert_eq!(f.stats().traces, 1);
}
