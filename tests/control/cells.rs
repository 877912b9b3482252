//! Cells inside branches and loops.

use super::{bits, interpreted, numbers};
use std::sync::OnceLock;
use tracewright::nn::Buffer;
use tracewright::options::with_options;
use tracewright::{Code, DType, Generator, Tensor, cond, control, fori, jit, nn, scan, switch, vmap, while_loop};

/// Runs a function eager, in `jit`, and interpreted, with a cell that begins anew each time; the function and the cell
/// give the same every time. Yields what it returned and the cell.
fn with_cell(f: impl Fn(&Buffer) -> Tensor + Clone + Send + Sync + 'static) -> (Vec<f64>, f64) {
    let run = |inside: bool| {
        let cell = Buffer::new(Tensor::from(1.0f64));
        let (f, held) = (f.clone(), cell.clone());
        let out = match inside {
            true => jit(move |x: Tensor| f(&held) + x).call(Tensor::from(0.0f64)).unwrap(),
            false => f(&held),
        };
        (out.reshape([-1]).to_vec::<f64>().unwrap(), cell.get().item::<f64>().unwrap())
    };
    let want = run(false);
    assert_eq!(run(true), want);
    assert_eq!(with_options(interpreted(), || run(false)), want);
    assert_eq!(with_options(interpreted(), || run(true)), want);
    want
}

fn set(cell: &Buffer, value: Tensor) {
    cell.set(value).unwrap();
}

#[test]
fn a_loop_carries_what_it_writes() {
    let (out, cell) = with_cell(|cell| {
        let body = |_: &Tensor, c: &Tensor| {
            set(cell, cell.get() * 2.0);
            c + cell.get()
        };
        fori(0..4, body, &Tensor::from(0.0f64))
    });
    assert_eq!((out, cell), (vec![2.0 + 4.0 + 8.0 + 16.0], 16.0));
    let (out, cell) = with_cell(|cell| {
        let body = |c: &Tensor, x: &Tensor| {
            set(cell, cell.get() + x);
            (c + 1.0, cell.get())
        };
        let (c, ys) = scan(body, &Tensor::from(0.0f64), &Tensor::from([10.0f64, 20.0, 30.0]));
        c + ys
    });
    assert_eq!((out, cell), (vec![14.0, 34.0, 64.0], 61.0));
    let (out, cell) = with_cell(|cell| {
        // The condition reads what the body writes.
        let body = |c: &Tensor| {
            set(cell, cell.get() * 3.0);
            c + 1.0
        };
        while_loop(|_: &Tensor| cell.get().lt(50.0), body, &Tensor::from(0.0f64))
    });
    assert_eq!((out, cell), (vec![4.0], 81.0));
}

#[test]
fn a_cell_alone_may_be_what_a_loop_carries() {
    let (out, cell) = with_cell(|cell| {
        while_loop(|()| cell.get().lt(10.0), |()| set(cell, cell.get() + 4.0), &());
        cell.get()
    });
    assert_eq!((out, cell), (vec![13.0], 13.0));
    let (_, cell) = with_cell(|cell| {
        control::map(|x: &Tensor| set(cell, cell.get() + x), &Tensor::from([1.0f64, 2.0]));
        cell.get()
    });
    assert_eq!(cell, 4.0);
}

#[test]
fn a_branch_that_does_not_run_writes_nothing() {
    for p in [true, false] {
        let (out, cell) = with_cell(move |cell| {
            let yes = || {
                set(cell, cell.get() + 5.0);
                cell.get()
            };
            let out = cond(&Tensor::from(p), yes, || cell.get() * 10.0);
            out + cell.get()
        });
        assert_eq!((out, cell), if p { (vec![12.0], 6.0) } else { (vec![11.0], 1.0) });
    }
    // Only one of three writes, and without a look at the old value.
    for i in 0..3i64 {
        let (_, cell) = with_cell(move |cell| {
            let nothing = || Tensor::from(0.0f64);
            let write = || {
                set(cell, Tensor::from(9.0f64));
                nothing()
            };
            switch(&Tensor::from(i), &[&nothing, &write, &nothing])
        });
        assert_eq!(cell, if i == 1 { 9.0 } else { 1.0 });
    }
}

#[test]
fn what_was_written_before_in_the_trace_is_read() {
    let (out, cell) = with_cell(|cell| {
        set(cell, cell.get() + 1.0);
        let inner = fori(0..3, |_, c: &Tensor| c * cell.get(), &Tensor::from(1.0f64));
        set(cell, cell.get() * inner);
        cell.get()
    });
    assert_eq!((out, cell), (vec![16.0], 16.0));
}

#[test]
fn loops_within_loops_carry_cells() {
    let (out, cell) = with_cell(|cell| {
        let inner = |_: &Tensor, c: &Tensor| {
            let bumped = || set(cell, cell.get() + 1.0);
            cond(&cell.get().lt(5.0), bumped, || ());
            c + cell.get()
        };
        fori(0..3, |_, c: &Tensor| fori(0..2, inner, c), &Tensor::from(0.0f64))
    });
    // 2, 3, 4, 5, 5, 5
    assert_eq!((out, cell), (vec![24.0], 5.0));
}

#[test]
fn a_loop_that_fails_leaves_cells_as_they_were() {
    static LINE: OnceLock<u32> = OnceLock::new();
    let cell = Buffer::new(Tensor::from(1.0f64));
    let table = numbers(&[3]);
    let held = cell.clone();
    let f = move |at: &Tensor| {
        let body = |_: &(), i: &Tensor| {
            set(&held, held.get() + 1.0);
            LINE.set(line!() + 1).unwrap_or(());
            ((), table.index_select(0, &i.reshape([1])))
        };
        scan(body, &(), at).1
    };
    for _ in 0..2 {
        let e = f(&Tensor::from([0i64, 7])).to_vec::<f64>().unwrap_err();
        assert_eq!(e.code(), Code::Index);
        assert!(e.location().unwrap().to_string().contains(&format!("cells.rs:{}:", LINE.get().unwrap())), "{e}");
    }
    let inside = f.clone();
    let e = jit(move |at: Tensor| inside(&at)).call(Tensor::from([0i64, 7])).unwrap_err();
    assert!(e.location().unwrap().to_string().contains(&format!("cells.rs:{}:", LINE.get().unwrap())), "{e}");
    assert_eq!(cell.get().item::<f64>().unwrap(), 1.0);
    f(&Tensor::from([0i64, 2])).to_vec::<f64>().unwrap();
    assert_eq!(cell.get().item::<f64>().unwrap(), 3.0);
}

#[test]
fn draws_differ_from_iteration_to_iteration() {
    let shapes: [fn(&Generator) -> Tensor; 3] = [
        |g| g.uniform([3], 0.0, 1.0),
        |g| g.normal([2, 2], 0.0, 1.0).to_dtype(DType::F64).round() + g.uniform([2, 2], 0.0, 1.0),
        |g| g.permutation(5).to_dtype(DType::F64),
    ];
    for draw in shapes {
        let mut want = Vec::new();
        let same = Generator::new(5);
        for _ in 0..4 {
            want.push(draw(&same));
        }
        let want = bits(&tracewright::stack(&want, 0));
        let scanned = move |g: &Generator| control::scan::times(4, |_: &()| ((), draw(g)), &()).1;
        let g = Generator::new(5);
        assert_eq!(bits(&scanned(&g)), want);
        assert_eq!(bits(&g.state()), bits(&same.state()));
        assert_eq!(bits(&with_options(interpreted(), || scanned(&Generator::new(5)))), want);
        let g = Generator::new(5);
        let held = g.clone();
        let compiled = jit(move |_: Tensor| scanned(&held));
        assert_eq!(bits(&compiled.call(Tensor::from(0.0f32)).unwrap()), want);
        assert_eq!(bits(&g.state()), bits(&same.state()));
        let again = compiled.call(Tensor::from(0.0f32)).unwrap();
        assert_ne!(bits(&again), want);
        assert_eq!(compiled.stats().traces, 1);
    }
}

#[test]
fn dropout_in_a_loop_drops_others_each_time() {
    let layer = nn::Dropout::new(0.5);
    let g = Generator::default();
    let before = g.state();
    let x = Tensor::ones([64], DType::F32);
    let masks = control::scan::times(8, |_: &()| ((), layer.forward(&x)), &()).1;
    let rows: std::collections::BTreeSet<String> =
        (0..8).map(|i| format!("{:?}", masks.select(0, i).to_vec::<f32>().unwrap())).collect();
    assert_eq!(rows.len(), 8);
    assert_ne!(bits(&g.state()), bits(&before));
}

#[test]
fn a_condition_writes_no_cell() {
    let cell = Buffer::new(Tensor::from(1.0f64));
    let held = cell.clone();
    let line = line!() + 2;
    let condition = move |c: &Tensor| {
        held.set(held.get() + 1.0).unwrap();
        c.lt(5.0)
    };
    let e = while_loop(condition, |c: &Tensor| c + 1.0, &Tensor::from(0.0f64)).to_vec::<f64>().unwrap_err();
    assert_eq!((e.code(), e.rule()), (Code::Trace, "the condition writes a cell"));
    assert!(e.location().unwrap().to_string().contains(&format!("cells.rs:{line}")), "{e}");
    assert!(e.to_string().contains("in the condition of the loop at"), "{e}");
    assert_eq!(cell.get().item::<f64>().unwrap(), 1.0);
}

#[test]
fn under_vmap_each_example_draws_its_own() {
    let g = Generator::new(3);
    let x = numbers(&[5]);
    let draws = vmap(|x: &Tensor| {
        fori(0..3, |_, c: &Tensor| c + g.uniform([0usize; 0], 0.0, 1.0).to_dtype(DType::F64), &(x * 0.0))
    });
    let values = draws(&x).to_vec::<f64>().unwrap();
    assert_eq!(values.iter().map(|v| v.to_bits()).collect::<std::collections::BTreeSet<_>>().len(), 5);
}
