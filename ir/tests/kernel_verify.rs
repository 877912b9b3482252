//! The kernel verifier: each invariant is broken once, and the message says where.

use ir::kernel::text::parse;
use ir::kernel::verify::verify;
use ir::kernel::*;
use ir::{DType, Scalar};

fn report(kernel: &Kernel) -> String {
    let violations = verify(kernel).expect_err("the kernel should be refused");
    violations.iter().map(|v| v.to_string()).collect::<Vec<_>>().join("\n")
}

/// What the verifier says of the body of one task; the kernel around it has one of everything.
#[track_caller]
fn body(text: &str) -> String {
    report(&around(text))
}

#[track_caller]
fn around(body: &str) -> Kernel {
    let text = format!(
        "kernel @k(%x: in f32, %y: out f32, %z: inout i64, %h: in f16; N) scratch(%s: f32[N]) sites 1 {{
           nest %t in 0..N work 1 {{
             %f: f32 = const 1.0
             %n: i64 = const 1
             %b: bool = const true
             {body}
           }}
         }}"
    );
    parse(&text).unwrap_or_else(|e| panic!("{e}"))
}

/// A correct kernel with a loop and an accumulator, to be broken by hand where text cannot say it.
fn summing() -> Kernel {
    let kernel = parse(
        "kernel @k(%x: in f32, %y: out f32; N) {
           nest %t in 0..1 work 1 {
             for %i in 0..N lanes { %a: f32 = load %x[%i] yield sum %a -> %r: f32 }
             store %y[%t], %r
           }
         }",
    )
    .unwrap();
    assert_eq!(verify(&kernel), Ok(()));
    kernel
}

fn the_loop(kernel: &mut Kernel) -> &mut Loop {
    match &mut kernel.nests[0].body.0[0] {
        Stmt::Loop(l) => l,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_frame_of_these_tests_is_correct() {
    assert_eq!(verify(&around("")), Ok(()));
}

#[test]
fn rule_1_index_table() {
    let table = |nodes: Vec<IndexNode>| {
        let mut k = summing();
        k.indices = nodes.into();
        k.nests[0].grid = Index(0);
        k.nests[0].work = Index(0);
        k.nests[0].body.0.clear();
        k
    };
    insta::assert_snapshot!(report(&table(vec![IndexNode::Add(Index(1), Index(1)), IndexNode::Const(1)])), @"
    index #0: an operand does not come before its user, in `index table` (rule 1)
    index #0: the expression is too large or malformed, in `nest %i0 in 0..undefined#0 work undefined#0 {` (rule 1)
    index #0: the expression is too large or malformed, in `nest %i0 in 0..undefined#0 work undefined#0 {` (rule 1)
    ");
    insta::assert_snapshot!(report(&table(vec![])), @"
    index #0: not in the index table, in `nest %i0 in 0..undefined#0 work undefined#0 {` (rule 1)
    index #0: not in the index table, in `nest %i0 in 0..undefined#0 work undefined#0 {` (rule 1)
    ");
    let mut doubling = vec![IndexNode::Const(1)];
    doubling.extend((0..100).map(|i| IndexNode::Add(Index(i), Index(i))));
    let mut k = table(doubling);
    k.nests[0].grid = Index(100);
    insta::assert_snapshot!(report(&k), @"index #100: the expression is too large or malformed, in `nest %i0 in 0..undefined#100 work 1 {` (rule 1)");
    let mut chain = vec![IndexNode::Const(1)];
    chain.extend((0..100_000).map(|i| IndexNode::Max(Index(i), Index(0))));
    let mut k = table(chain);
    k.nests[0].grid = Index(100_000);
    insta::assert_snapshot!(report(&k), @"index #100000: the expression is too large or malformed, in `nest %i0 in 0..undefined#100000 work 1 {` (rule 1)");
    assert_eq!(k.canonical().indices.nodes().len(), 100_001);
}

#[test]
fn rule_2_numbers() {
    insta::assert_snapshot!(body("check 1: %n in 0..N"), @"site 1: there are 1 sites, in `check 1: %1 in 0..N0` (rule 2)");
    let mut k = summing();
    k.extents = 0;
    k.params.clear();
    insta::assert_snapshot!(report(&k), @"
    N0: there are 0 extents, in `for %i1 in 0..N0 lanes {` (rule 2)
    %p0: there are 0 parameters, in `%0: f32 = load %p0[%i1]` (rule 2)
    %p1: there are 0 parameters, in `store %p1[%i0], %1` (rule 2)
    ");
    let mut k = summing();
    k.nests[0].body.0[1] =
        Stmt::Store { memory: Memory::Scratch(0), index: k.nests[0].grid, value: Var(1), mask: None };
    insta::assert_snapshot!(report(&k), @"%s0: there are 0 scratch rows, in `store %s0[1], %1` (rule 2)");
    let mut k = summing();
    (k.extents, k.sites) = (1 << 20, u32::MAX);
    insta::assert_snapshot!(report(&k), @"
    1048576 extents: at most 65536 are allowed, in `kernel @k` (rule 2)
    4294967295 sites: at most 65536 are allowed, in `kernel @k` (rule 2)
    ");
}

#[test]
fn rule_3_definitions() {
    let mut k = summing();
    let stmts = the_loop(&mut k).body.0.clone();
    the_loop(&mut k).body.0.extend(stmts);
    insta::assert_snapshot!(report(&k), @"%0: the value is defined twice, in `%0: f32 = load %p0[%i1]` (rule 3)");
    let mut k = summing();
    the_loop(&mut k).iter = k.nests[0].task;
    insta::assert_snapshot!(report(&k), @"
    %i0: the iteration variable is defined twice, in `for %i0 in 0..N0 lanes {` (rule 3)
    %undefined_i1: the iteration variable is used outside its loop or nest, in `%0: f32 = load %p0[%undefined_i1]` (rule 5)
    %i0: the iteration variable is used outside its loop or nest, in `store %p1[%i0], %1` (rule 5)
    ");
    let mut k = summing();
    k.vars.clear();
    k.iters = 0;
    insta::assert_snapshot!(report(&k), @"
    %i0: there are 0 iteration variables, in `nest %i0 in 0..1 work 1 {` (rule 3)
    %i1: there are 0 iteration variables, in `for %i1 in 0..N0 lanes {` (rule 3)
    %i1: the iteration variable is used outside its loop or nest, in `%undefined0 = load %p0[%i1]` (rule 5)
    %undefined0: there are 0 values, in `%undefined0 = load %p0[%i1]` (rule 3)
    %undefined0: there are 0 values, in `yield sum %undefined0 -> %undefined1` (rule 3)
    %undefined1: there are 0 values, in `yield sum %undefined0 -> %undefined1` (rule 3)
    %i0: the iteration variable is used outside its loop or nest, in `store %p1[%i0], %undefined1` (rule 5)
    %undefined1: there are 0 values, in `store %p1[%i0], %undefined1` (rule 3)
    ");
}

#[test]
fn rule_4_dominance() {
    insta::assert_snapshot!(body("%c: f32 = neg %d  %d: f32 = neg %f"), @"%4: the value is used before it is defined, in `%3: f32 = neg %4` (rule 4)");
    insta::assert_snapshot!(body("for %i in 0..N { %c: f32 = neg %f } store %y[%t], %c"), @"%3: the value is used outside the block that defines it, in `store %p1[%i0], %3` (rule 4)");
    insta::assert_snapshot!(body("for %i in 0..N { %c: f32 = neg %r yield sum %c -> %r: f32 }"), @"%4: the value is used before it is defined, in `%3: f32 = neg %4` (rule 4)");
    insta::assert_snapshot!(body("store %y[%c], %f  %c: i64 = neg %n"), @"%3: the value is used before it is defined, in `store %p1[%3], %0` (rule 4)");
    // The results of a loop belong to the block around it, not to the nest.
    insta::assert_snapshot!(
        body("for %i in 0..N { for %j in 0..N { %c: f32 = neg %f yield sum %c -> %r: f32 } } store %y[0], %r"),
        @"%4: the value is used outside the block that defines it, in `store %p1[0], %4` (rule 4)"
    );
}

#[test]
fn rule_5_index_scope() {
    insta::assert_snapshot!(body("for %i in 0..N { } store %y[%i], %f"), @"%i1: the iteration variable is used outside its loop or nest, in `store %p1[%i1], %0` (rule 5)");
    insta::assert_snapshot!(body("store %y[%t + %f], %f"), @"%0: an index cannot be f32, in `store %p1[%i0 + %0], %0` (rule 5)");
    insta::assert_snapshot!(body("store %y[%t/0], %f  store %y[%t mod -3], %f"), @"
    %i0/0: the divisor 0 is not positive, in `store %p1[%i0/0], %0` (rule 5)
    %i0 mod -3: the divisor -3 is not positive, in `store %p1[%i0 mod -3], %0` (rule 5)
    ");
    let mut k = summing();
    let inner = k.indices.intern(IndexNode::Iter(the_loop(&mut summing()).iter));
    the_loop(&mut k).extent = inner;
    insta::assert_snapshot!(report(&k), @"%i1: the iteration variable is used outside its loop or nest, in `for %i1 in 0..%i1 lanes {` (rule 5)");
}

#[test]
fn rule_6_launch_shape() {
    let text = "
        kernel @k(%x: in i64; N) scratch(%s: f32[N + %a]) {
          nest %i in 0..N work %i {
            %a: i64 = load %x[%i]
          }
          nest %j in 0..%a work 1 { }
        }";
    insta::assert_snapshot!(report(&parse(text).unwrap()), @"
    %0: only numbers and extents may shape a launch, in `scratch(%s0: f32[N0 + %0])` (rule 6)
    %i0: only numbers and extents may shape a launch, in `nest %i0 in 0..N0 work %i0 {` (rule 6)
    %0: only numbers and extents may shape a launch, in `nest %i1 in 0..%0 work 1 {` (rule 6)
    ");
}

#[test]
fn rule_7_access() {
    insta::assert_snapshot!(body("store %x[%t], %f"), @"%p0: the parameter is `in` but stored to, in `store %p0[%i0], %0` (rule 7)");
    insta::assert_snapshot!(body("%c: f32 = load %y[%t]"), @"%p1: the parameter is `out` but loaded from, in `%3: f32 = load %p1[%i0]` (rule 7)");
    assert_eq!(
        verify(&around("%c: i64 = load %z[%t] store %z[%t], %c  store %s[0], %f  %d: f32 = load %s[0]")),
        Ok(())
    );
}

#[test]
fn rule_8_types_of_operations() {
    insta::assert_snapshot!(body("%c: f16 = load %h[%t]  %d: f16 = add %c, %c"), @"add: not defined on f16, in `%4: f16 = add %3, %3` (rule 8)");
    insta::assert_snapshot!(body("%c: f16 = load %h[%t]  %d: bool = lt %c, %c"), @"lt: not defined on f16, in `%4: bool = lt %3, %3` (rule 8)");
    insta::assert_snapshot!(body("%c: f16 = load %h[%t]  %d: f16 = neg %c"), @"neg: not defined on f16, in `%4: f16 = neg %3` (rule 8)");
    insta::assert_snapshot!(body("%c: i64 = exp %n  %d: f32 = not %f  %e: bool = neg %b"), @"
    exp: not defined on i64, in `%3: i64 = exp %1` (rule 8)
    not: not defined on f32, in `%4: f32 = not %0` (rule 8)
    neg: not defined on bool, in `%5: bool = neg %2` (rule 8)
    ");
    insta::assert_snapshot!(body("%c: f32 = and %f, %f  %d: bool = add %b, %b"), @"
    and: not defined on f32, in `%3: f32 = and %0, %0` (rule 8)
    add: not defined on bool, in `%4: bool = add %2, %2` (rule 8)
    ");
    insta::assert_snapshot!(body("%c: f32 = add %f, %n"), @"add: the operands are f32 and i64, in `%3: f32 = add %0, %1` (rule 8)");
    insta::assert_snapshot!(body("%c: f32 = eq %f, %f"), @"%3: the result is bool, not f32, in `%3: f32 = eq %0, %0` (rule 8)");
    insta::assert_snapshot!(body("%c: f32 = select %n, %f, %f  %d: f32 = select %b, %f, %n"), @"
    %1: the condition is i64, not bool, in `%3: f32 = select %1, %0, %0` (rule 8)
    select: the operands are f32 and i64, in `%4: f32 = select %2, %0, %1` (rule 8)
    ");
    insta::assert_snapshot!(body("%c: f32 = const f64 1.0  %d: i32 = index %t  %e: f32 = convert i64 %f"), @"
    %3: the result is f64, not f32, in `%3: f32 = const f64 1.0` (rule 8)
    %4: the result is i64, not i32, in `%4: i32 = index %i0` (rule 8)
    %5: the result is i64, not f32, in `%5: f32 = convert i64 %0` (rule 8)
    ");
    // Half floats are loaded, stored, selected and converted.
    assert_eq!(verify(&around("%c: f16 = load %h[%t]  %d: f16 = select %b, %c, %c  %e: f32 = convert %d")), Ok(()));
    assert_eq!(verify(&around("%c: bool = max %b, %b  %d: bool = lt %b, %b  %e: f32 = is_nan %f")), Ok(()));
}

#[test]
fn rule_9_types_of_memory() {
    insta::assert_snapshot!(body("store %y[%t], %n"), @"%p1: i64 is stored to memory of f32, in `store %p1[%i0], %1` (rule 9)");
    insta::assert_snapshot!(body("%c: f64 = load %x[%t]"), @"%3: the result is f32, not f64, in `%3: f64 = load %p0[%i0]` (rule 9)");
    insta::assert_snapshot!(body("%c: f32 = load %x[%t] if %b else f64 0.0"), @"%p0: the fallback is f64, the memory f32, in `%3: f32 = load %p0[%i0] if %2 else f64 0.0` (rule 9)");
}

#[test]
fn rule_10_masks() {
    insta::assert_snapshot!(body("store %y[%t], %f if %n"), @"%1: a mask is bool, not i64, in `store %p1[%i0], %0 if %1` (rule 10)");
    insta::assert_snapshot!(body("%c: f32 = load %x[%t] if %f else 0.0"), @"%0: a mask is bool, not f32, in `%3: f32 = load %p0[%i0] if %0 else 0.0` (rule 10)");
    insta::assert_snapshot!(body("check 0: %n in 0..N if %n"), @"%1: a mask is bool, not i64, in `check 0: %1 in 0..N0 if %1` (rule 10)");
}

#[test]
fn rule_11_checks() {
    insta::assert_snapshot!(body("%c: i32 = const 1  check 0: %c in 0..N"), @"%3: the index is i32, not i64, in `check 0: %3 in 0..N0` (rule 11)");
}

#[test]
fn rule_12_lanes() {
    insta::assert_snapshot!(body("for %i in 0..N lanes { for %j in 0..N { for %k in 0..N lanes { } } }"), @"%i3: a lanes loop inside a lanes loop, in `for %i3 in 0..N0 lanes {` (rule 12)");
    assert_eq!(verify(&around("for %i in 0..N { for %j in 0..N lanes { } for %k in 0..N lanes { } }")), Ok(()));
}

#[test]
fn rule_13_accumulators() {
    let yields = |what: &str| {
        body(&format!(
            "for %i in 0..N lanes {{
               %c: f32 = neg %f  %at: i64 = index %i  %m: bool = const true  %w: i32 = const 0
               yield {what}
             }}"
        ))
    };
    insta::assert_snapshot!(yields("sum %c, %at -> %r: f32"), @"sum: takes 1 inputs and results, found 2 and 1, in `yield sum %3, %4 -> %7: f32` (rule 13)");
    insta::assert_snapshot!(yields("argmax %c -> %r: f32"), @"argmax: takes 2 inputs and results, found 1 and 1, in `yield argmax %3 -> %7: f32` (rule 13)");
    insta::assert_snapshot!(yields("sum %f -> %r: f32"), @"%0: an input of an accumulator is defined outside the body of the loop, in `yield sum %0 -> %7: f32` (rule 13)");
    insta::assert_snapshot!(yields("sum %c -> %r: f64"), @"%7: the result of an accumulator over f32 cannot be f64, in `yield sum %3 -> %7: f64` (rule 13)");
    insta::assert_snapshot!(yields("any %c -> %r: f32"), @"%3: a value of `any` cannot be f32, in `yield any %3 -> %7: f32` (rule 13)");
    insta::assert_snapshot!(yields("product %m -> %r: bool"), @"%5: a value of `product` cannot be bool, in `yield product %5 -> %7: bool` (rule 13)");
    insta::assert_snapshot!(yields("argmin %c, %w -> %r: f32, %q: i32"), @"%6: a position of `argmin` cannot be i32, in `yield argmin %3, %6 -> %7: f32, %8: i32` (rule 13)");
    insta::assert_snapshot!(body("for %i in 0..N { %c: f16 = load %h[%i] yield max %c -> %r: f16 }"), @"%3: a value of `max` cannot be f16, in `yield max %3 -> %4: f16` (rule 13)");
}

#[test]
fn rule_14_nesting() {
    let mut k = summing();
    for i in 0..100 {
        let inner = std::mem::take(&mut k.nests[0].body.0);
        let extent = k.nests[0].grid;
        let (kind, accumulators) = (LoopKind::Serial, Vec::new());
        let l = Loop { iter: Iter(2 + i), extent, kind, accumulators, body: Block(inner) };
        k.nests[0].body.0.push(Stmt::Loop(l));
    }
    k.iters = 102;
    insta::assert_snapshot!(report(&k), @"%i65: loops nest more than 64 deep, in `for %i65 in 0..1 {` (rule 14)");
    let bytes = postcard::to_allocvec(&k).unwrap();
    insta::assert_snapshot!(postcard::from_bytes::<Kernel>(&bytes).unwrap_err(), @"Serde Deserialization Error");
    assert!(k.to_string().contains("undefined: nested too deep"));
}

#[test]
fn every_rule_has_its_test() {
    let documented = include_str!("../src/kernel/verify.rs");
    let tested = include_str!("kernel_verify.rs");
    let rules: Vec<usize> = (1..100).filter(|n| documented.contains(&format!("//! {n}. **"))).collect();
    assert_eq!(rules, (1..=14).collect::<Vec<_>>());
    for n in rules {
        assert!(tested.contains(&format!("(rule {n})")), "no snapshot in this file shows rule {n}");
    }
}

#[test]
fn all_violations_are_reported() {
    let text = body("store %x[%t], %n if %f  %c: f32 = add %f, %n  check 7: %f in 0..N");
    assert_eq!(text.lines().count(), 6, "{text}");
}

#[test]
fn what_the_builder_makes_is_correct() {
    let mut k = KernelBuilder::new("clamped_gather");
    let (x, at, o) =
        (k.param(DType::F32, Access::In), k.param(DType::I64, Access::In), k.param(DType::F32, Access::Out));
    let (n, rows, site) = (k.extent(), k.extent(), k.site());
    let one = k.index(1);
    let i = k.begin_nest(n, one);
    let row = k.load(at, i);
    k.check(site, row, rows, None);
    let zero = k.constant(Scalar::I64(0));
    let last = k.indices.sub(rows, one);
    let last = k.index_value(last);
    let row = k.binary(BinaryOp::Max, row, zero);
    let row = k.binary(BinaryOp::Min, row, last);
    let row = k.index_of(row);
    let v = k.load(x, row);
    k.store(o, i, v);
    k.end_nest();
    let k = k.finish();
    assert_eq!(verify(&k), Ok(()));
    insta::assert_snapshot!(k, @"
    kernel @clamped_gather(%p0: in f32, %p1: in i64, %p2: out f32; N0, N1) sites 1 {
      nest %i0 in 0..N0 work 1 {
        %0: i64 = load %p1[%i0]
        check 0: %0 in 0..N1
        %1: i64 = const 0
        %2: i64 = index N1 - 1
        %3: i64 = max %0, %1
        %4: i64 = min %3, %2
        %5: f32 = load %p0[%4]
        store %p2[%i0], %5
      }
    }
    ");
}
