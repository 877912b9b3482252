//! The text form of kernels: snapshots, the round-trip law, and what the reader says about bad text.

use ir::kernel::text::parse;
use ir::kernel::verify::verify;
use ir::kernel::*;
use ir::{DType, Scalar};

#[track_caller]
fn round_trips(text: &str) {
    let kernel = parse(text).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(verify(&kernel), Ok(()));
    assert_eq!(kernel.to_string(), text);
}

/// Row-wise softmax with a scratch row: three passes over a row.
const SOFTMAX: &str = "\
kernel @softmax(%p0: in f32, %p1: out f32; N0, N1) scratch(%s0: f32[N1]) {
  nest %i0 in 0..N0 work N1*20 {
    for %i1 in 0..N1 lanes {
      %0: f32 = load %p0[%i0*N1 + %i1]
      yield max %0 -> %1: f32
    }
    for %i2 in 0..N1 lanes {
      %2: f32 = load %p0[%i0*N1 + %i2]
      %3: f32 = sub %2, %1
      %4: f32 = exp %3
      store %s0[%i2], %4
      yield sum %4 -> %5: f32
    }
    for %i3 in 0..N1 lanes {
      %6: f32 = load %s0[%i3]
      %7: f32 = div %6, %5
      store %p1[%i0*N1 + %i3], %7
    }
  }
}
";

#[test]
fn softmax_round_trips() {
    round_trips(SOFTMAX);
}

#[test]
fn every_construct_round_trips() {
    round_trips(
        "\
kernel @\"a \\\"b\\\"\\u{a}\"(%p0: in bf16, %p1: inout i64, %p2: out bool; N0, N1) scratch(%s0: i64[N0/8 + 1], %s1: u8[7]) sites 2 {
  nest %i0 in 0..(N0 + 1023)/1024 work 1024 {
    %0: i64 = const -3
    %1: bool = const true
    for %i1 in 0..min(N0 - %i0*1024, 1024) {
      %2: bf16 = load %p0[%i1 mod 4 + %i0/2*(N1 + 1)] if %1 else nan:0x7fc0
      %3: f32 = convert %2
      %4: i64 = index max(%i1 - N1*3, 0) + -9223372036854775808
      %5: bool = lt %3, %3
      %6: i64 = select %5, %4, %0
      %7: i64 = neg %6
      %8: i64 = xor %6, %7
      check 1: %8 in 0..N1 if %5
      check 0: %0 in 0..7
      store %s0[%8 - N1 - %i1*%i1], %8 if %5
      yield argmax %3, %4 -> %9: f32, %10: i64
      yield any %5 -> %11: bool
    }
    store %p2[0], %11
  }
  nest %i2 in 0..1 work 1 {
    %12: f64 = const -inf
  }
}
",
    );
}

#[test]
fn an_empty_kernel_round_trips() {
    round_trips("kernel @none() {\n}\n");
    round_trips("kernel @extents(; N0) {\n}\n");
}

#[test]
fn differences_print_as_differences_and_nothing_else_does() {
    // Nodes that the reader's `-` would make differently must not print with one.
    let nodes = |t: &mut index::IndexTable, (a, b): (Index, Index)| {
        let c = |t: &mut index::IndexTable, n| t.constant(n);
        let (minus_one, minus_two, two, five, minus_five) = (c(t, -1), c(t, -2), c(t, 2), c(t, 5), c(t, -5));
        let (b2, five_neg) = (t.intern(IndexNode::Mul(b, two)), t.intern(IndexNode::Mul(five, minus_one)));
        let (b_neg, b_neg2) = (t.intern(IndexNode::Mul(b, minus_one)), t.intern(IndexNode::Mul(b, minus_two)));
        let (b2_neg, sum) = (t.intern(IndexNode::Mul(b2, minus_one)), t.intern(IndexNode::Add(a, b)));
        let sum_neg = t.intern(IndexNode::Mul(sum, minus_one));
        let neg_b = t.intern(IndexNode::Mul(minus_one, b));
        let minus_five_neg = t.intern(IndexNode::Mul(minus_five, minus_one));
        [b_neg, b_neg2, b2_neg, five_neg, minus_five, minus_five_neg, sum, sum_neg, neg_b]
            .map(|right| t.intern(IndexNode::Add(a, right)))
    };
    let mut k = KernelBuilder::new("k");
    let (a, b) = (k.extent(), k.extent());
    let all = nodes(&mut k.indices, (a, b));
    let one = k.index(1);
    k.begin_nest(one, one);
    for i in all {
        k.index_value(i);
    }
    k.end_nest();
    let kernel = k.finish();
    assert_eq!(parse(&kernel.to_string()).unwrap(), kernel.canonical());
    insta::assert_snapshot!(kernel, @"
    kernel @k(; N0, N1) {
      nest %i0 in 0..1 work 1 {
        %0: i64 = index N0 - N1
        %1: i64 = index N0 - N1*2
        %2: i64 = index N0 + N1*2*-1
        %3: i64 = index N0 + 5*-1
        %4: i64 = index N0 - 5
        %5: i64 = index N0 - -5
        %6: i64 = index N0 + (N0 + N1)
        %7: i64 = index N0 - (N0 + N1)
        %8: i64 = index N0 + -1*N1
      }
    }
    ");
}

#[test]
fn names_and_numbering_do_not_matter() {
    let plain = parse(
        "kernel @a(%p0: in f32, %p1: out f32; N0) { nest %i0 in 0..N0 work 1 { %0: f32 = load %p0[%i0] store %p1[%i0], %0 } }",
    );
    let named = parse(
        "// with comments and names
        kernel @b(%x: in f32, %y: out f32; Rows) {
          nest %row in 0..Rows work 1 { // one element
            %value: f32 = load %x[%row]
            store %y[%row], %value
          }
        }",
    );
    let (plain, named) = (plain.unwrap(), named.unwrap());
    assert_ne!(plain, named);
    assert_eq!(plain.key(), named.key());
}

#[test]
fn canonical_drops_what_is_unused() {
    let mut k = KernelBuilder::new("k");
    let o = k.param(DType::F32, Access::Out);
    let n = k.extent();
    k.index(99);
    let one = k.index(1);
    let i = k.begin_nest(n, one);
    k.constant(Scalar::I64(0));
    let x = k.constant(Scalar::F32(1.0));
    k.store(o, i, x);
    k.end_nest();
    let mut kernel = k.finish();
    kernel.nests[0].body.0.remove(0);
    let canonical = kernel.canonical();
    assert_eq!(canonical.vars, [DType::F32]);
    assert_eq!(
        canonical.indices.nodes(),
        [IndexNode::Extent(Extent(0)), IndexNode::Const(1), IndexNode::Iter(Iter(0))]
    );
    assert_eq!(canonical, canonical.canonical());
}

#[track_caller]
fn message(text: &str) -> String {
    parse(text).expect_err("the text should not parse").to_string()
}

#[test]
fn errors_point_at_the_place() {
    insta::assert_snapshot!(message("kernel @k(%p: in f32) {\n  nest %i in 0..4 {\n}"), @"
    expected `work`, found `{`
     --> 2:19
      |
    2 |   nest %i in 0..4 {
      |                   ^
    ");
    insta::assert_snapshot!(message("kernel @k(%p: in f12) {}"), @"
    unknown dtype `f12`
     --> 1:18
      |
    1 | kernel @k(%p: in f12) {}
      |                  ^
    ");
    insta::assert_snapshot!(message("kernel @k(; N) { nest %i in 0..N work 1 { %x: f32 = sqroot %x } }"), @"
    there is no operation `sqroot`
     --> 1:53
      |
    1 | kernel @k(; N) { nest %i in 0..N work 1 { %x: f32 = sqroot %x } }
      |                                                     ^
    ");
    insta::assert_snapshot!(message("kernel @k(; N) { nest %i in 0..M work 1 { } }"), @"
    there is no extent `M`
     --> 1:32
      |
    1 | kernel @k(; N) { nest %i in 0..M work 1 { } }
      |                                ^
    ");
    insta::assert_snapshot!(message("kernel @k() { nest %i in 0..1 work 1 { %x: f32 = neg %y } }"), @"
    `%y` is defined nowhere
     --> 1:54
      |
    1 | kernel @k() { nest %i in 0..1 work 1 { %x: f32 = neg %y } }
      |                                                      ^
    ");
    insta::assert_snapshot!(message("kernel @k() { nest %i in 0..1 work 1 { %x: i32 = const 1.5 } }"), @"
    `1.5` is not a i32 value
     --> 1:56
      |
    1 | kernel @k() { nest %i in 0..1 work 1 { %x: i32 = const 1.5 } }
      |                                                        ^
    ");
}

#[test]
fn hostile_text_is_an_error() {
    let deep = |n: usize| {
        let mut s = String::from("kernel @k() { nest %i in 0..1 work 1 { ");
        (0..n).for_each(|i| s.push_str(&format!("for %i{i} in 0..1 {{ ")));
        s.push_str(&"}".repeat(n + 2));
        s
    };
    assert!(parse(&deep(64)).is_ok());
    insta::assert_snapshot!(parse(&deep(100_000)).unwrap_err().message, @"loops nest at most 64 deep");
    let wrap = |e: &str| format!("kernel @k(; N) {{ nest %i in 0..{e} work 1 {{}} }}");
    insta::assert_snapshot!(parse(&wrap(&"(".repeat(100_000))).unwrap_err().message, @"index expression nests too deep");
    insta::assert_snapshot!(parse(&wrap(&format!("N{}", "+N".repeat(100_000)))).unwrap_err().message, @"index expression is too large");
    insta::assert_snapshot!(parse(&wrap(&"min(N,".repeat(100_000))).unwrap_err().message, @"index expression nests too deep");
    assert!(parse(&wrap("9223372036854775807")).is_ok());
    insta::assert_snapshot!(parse(&wrap("9223372036854775808")).unwrap_err().message, @"`9223372036854775808` is not a 64-bit number");
    assert!(parse(&format!("{}\u{1F600}", SOFTMAX)).is_err());
}
