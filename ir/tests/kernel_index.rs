//! Index expressions: what is simplified, and that simplifying never changes a value.

use ir::kernel::index::IndexTable;
use ir::kernel::*;
use proptest::prelude::*;
use std::collections::HashMap;

/// A table with extents N0, N1 and iteration variables i0 in 0..N0, i1 in 0..N1, i2 in 0..12.
struct Frame {
    t: IndexTable,
    extents: [Index; 2],
    iters: [Index; 3],
}

fn frame() -> Frame {
    let mut t = IndexTable::default();
    let extents = [0, 1].map(|i| t.intern(IndexNode::Extent(Extent(i))));
    let twelve = t.constant(12);
    for (i, extent) in [extents[0], extents[1], twelve].into_iter().enumerate() {
        t.bound(Iter(i as u32), extent);
    }
    let iters = [0, 1, 2].map(|i| t.intern(IndexNode::Iter(Iter(i))));
    Frame { t, extents, iters }
}

fn shown(build: impl FnOnce(&mut Frame) -> Index) -> String {
    let mut f = frame();
    let i = build(&mut f);
    let (one, mut k) = (f.t.constant(1), KernelBuilder::new("k"));
    for _ in 0..2 {
        k.extent();
    }
    k.indices = f.t;
    let mut kernel = {
        k.begin_nest(one, one);
        k.index_value(i);
        k.end_nest();
        k.finish()
    };
    // Three variables around the expression, so that they have names.
    let Some(stmt) = kernel.nests[0].body.0.pop() else { panic!("one statement") };
    let around = |iter, body| {
        let (kind, accumulators) = (LoopKind::Serial, vec![]);
        Stmt::Loop(Loop { iter: Iter(iter), extent: one, kind, accumulators, body: Block(vec![body]) })
    };
    kernel.nests[0].task = Iter(0);
    kernel.nests[0].body.0.push(around(1, around(2, stmt)));
    kernel.iters = 3;
    let text = kernel.to_string();
    text.split_once("= index ").and_then(|(_, r)| r.split_once('\n')).expect("an index").0.to_string()
}

#[test]
fn sums_gather_terms_and_numbers() {
    let s = shown(|f| {
        let five = f.t.constant(5);
        let a = f.t.add(five, f.iters[0]);
        let b = f.t.add(f.iters[1], a);
        f.t.add(b, a)
    });
    assert_eq!(s, "%i1 + %i0*2 + 10");
    let s = shown(|f| {
        let a = f.t.add(f.iters[0], f.iters[1]);
        f.t.sub(a, f.iters[0])
    });
    assert_eq!(s, "%i1");
    let s = shown(|f| f.t.sub(f.extents[0], f.extents[0]));
    assert_eq!(s, "0");
    let s = shown(|f| {
        let (four, three) = (f.t.constant(4), f.t.constant(3));
        let a = f.t.add(f.iters[0], three);
        f.t.mul(four, a)
    });
    assert_eq!(s, "%i0*4 + 12");
}

#[test]
fn quotients_and_remainders_of_a_flattened_index_come_apart() {
    let flat = |f: &mut Frame| {
        let row = f.t.mul(f.iters[0], f.extents[1]);
        f.t.add(row, f.iters[1])
    };
    assert_eq!(
        shown(|f| {
            let a = flat(f);
            f.t.floor_div(a, f.extents[1])
        }),
        "%i0"
    );
    assert_eq!(
        shown(|f| {
            let a = flat(f);
            f.t.modulo(a, f.extents[1])
        }),
        "%i1"
    );
    assert_eq!(
        shown(|f| {
            let a = flat(f);
            let n = f.t.mul(f.extents[0], f.extents[1]);
            f.t.modulo(a, n)
        }),
        "%i0*N1 + %i1"
    );
    let numbers = |f: &mut Frame| {
        let twelve = f.t.constant(12);
        let row = f.t.mul(f.iters[0], twelve);
        f.t.add(row, f.iters[2])
    };
    assert_eq!(
        shown(|f| {
            let a = numbers(f);
            let c = f.t.constant(12);
            f.t.floor_div(a, c)
        }),
        "%i0"
    );
    assert_eq!(
        shown(|f| {
            let a = numbers(f);
            let c = f.t.constant(4);
            f.t.floor_div(a, c)
        }),
        "%i0*3 + %i2/4"
    );
    assert_eq!(
        shown(|f| {
            let a = numbers(f);
            let c = f.t.constant(4);
            f.t.modulo(a, c)
        }),
        "%i2 mod 4"
    );
    assert_eq!(
        shown(|f| {
            let a = numbers(f);
            let c = f.t.constant(5);
            f.t.modulo(a, c)
        }),
        "(%i0*12 + %i2) mod 5"
    );
}

#[test]
fn nested_quotients_and_remainders_join() {
    let two = |f: &mut Frame, a, b| (f.t.constant(a), f.t.constant(b));
    assert_eq!(
        shown(|f| {
            let (a, b) = two(f, 3, 4);
            let q = f.t.floor_div(f.iters[0], a);
            f.t.floor_div(q, b)
        }),
        "%i0/12"
    );
    assert_eq!(
        shown(|f| {
            let (a, b) = two(f, 12, 4);
            let q = f.t.modulo(f.iters[0], a);
            f.t.modulo(q, b)
        }),
        "%i0 mod 4"
    );
    assert_eq!(
        shown(|f| {
            let (a, b) = two(f, 4, 12);
            let q = f.t.modulo(f.iters[0], a);
            f.t.floor_div(q, b)
        }),
        "0"
    );
    assert_eq!(
        shown(|f| {
            let c = f.t.constant(1024);
            f.t.ceil_div(f.extents[0], c)
        }),
        "(N0 + 1023)/1024"
    );
    assert_eq!(
        shown(|f| {
            let c = f.t.constant(1);
            f.t.floor_div(f.extents[0], c)
        }),
        "N0"
    );
    assert_eq!(
        shown(|f| {
            let c = f.t.constant(0);
            f.t.floor_div(c, f.extents[0])
        }),
        "0"
    );
}

#[test]
fn overflow_of_numbers_is_left_alone() {
    let max = |f: &mut Frame| f.t.constant(i64::MAX);
    assert_eq!(
        shown(|f| {
            let m = max(f);
            f.t.add(m, m)
        }),
        "9223372036854775807 + 9223372036854775807"
    );
    assert_eq!(
        shown(|f| {
            let m = max(f);
            f.t.mul(m, m)
        }),
        "9223372036854775807*9223372036854775807"
    );
    assert_eq!(
        shown(|f| {
            let m = max(f);
            let a = f.t.mul(f.iters[0], m);
            f.t.add(a, a)
        }),
        "%i0*9223372036854775807 + %i0*9223372036854775807"
    );
}

/// One step of building: an operation, and which earlier expressions it takes.
type Step = (u8, usize, usize, i8);

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..Default::default() })]

    /// Each expression is built twice: as written, and simplified.
    #[test]
    fn simplifying_never_changes_a_value(
        steps in proptest::collection::vec(any::<Step>(), 1..14),
        n in (1..20i64, 1..20i64),
        at in (0..1000i64, 0..1000i64, 0..12i64),
    ) {
        let mut f = frame();
        let mut plain: Vec<Index> = f.extents.iter().chain(&f.iters).copied().collect();
        let mut simple = plain.clone();
        for (op, i, j, c) in steps {
            let (i, j) = (i % plain.len(), j % plain.len());
            let divisor = match c {
                0..64 => f.t.constant(1 + c as i64 % 13),
                64.. => f.extents[c as usize % 2],
                _ => { let c = f.t.constant(2); f.t.intern(IndexNode::Mul(f.extents[0], c)) }
            };
            let (p, s) = ((plain[i], plain[j]), (simple[i], simple[j]));
            let (p, s) = match op % 9 {
                0 | 1 => (f.t.intern(IndexNode::Add(p.0, p.1)), f.t.add(s.0, s.1)),
                2 => (f.t.intern(IndexNode::Mul(p.0, divisor)), f.t.mul(s.0, divisor)),
                3 => (f.t.intern(IndexNode::FloorDiv(p.0, divisor)), f.t.floor_div(s.0, divisor)),
                4 => (f.t.intern(IndexNode::Mod(p.0, divisor)), f.t.modulo(s.0, divisor)),
                5 => (f.t.intern(IndexNode::Min(p.0, p.1)), f.t.min(s.0, s.1)),
                6 => (f.t.intern(IndexNode::Max(p.0, p.1)), f.t.max(s.0, s.1)),
                7 => {
                    let minus = f.t.constant(-1);
                    let negated = f.t.intern(IndexNode::Mul(p.1, minus));
                    (f.t.intern(IndexNode::Add(p.0, negated)), f.t.sub(s.0, s.1))
                }
                _ => { let c = f.t.constant(c as i64); (c, c) }
            };
            plain.push(p);
            simple.push(s);
        }
        let values = HashMap::from([
            (f.extents[0], n.0), (f.extents[1], n.1),
            (f.iters[0], at.0 % n.0), (f.iters[1], at.1 % n.1), (f.iters[2], at.2),
        ]);
        let value = |i| f.t.eval(i, &|leaf| values.iter().find(|(v, _)| f.t.node(**v) == leaf).map(|(_, n)| *n));
        for (p, s) in plain.iter().zip(&simple) {
            if let Some(expected) = value(*p) {
                prop_assert_eq!(value(*s), Some(expected), "{:?}", f.t.nodes());
            }
        }
    }
}
