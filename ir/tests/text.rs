//! The text form and the verifier of graphs.

use ir::graph::{Graph, Op};
use ir::origin::{Location, Origin};
use ir::text::{PrintOptions, parse};
use ir::verify::{Stage, verify};
use ir::{DType, Dim, Primitive, Type};
use proptest::prelude::*;

fn origin(g: &mut Graph) -> ir::origin::OriginId {
    g.origins.intern(Origin { location: Location::caller(), scope: "model.layer".into(), gradient: false })
}

fn single(primitive: &Primitive, operands: &[Type]) -> Graph {
    let mut g = Graph::new("sample");
    let o = origin(&mut g);
    let values: Vec<_> = operands.iter().map(|t| g.add_input(t.clone())).collect();
    let root = g.root();
    let op = g.append(root, primitive.clone(), &values, &[], &[o]).unwrap();
    let results = g.op(op).results.to_vec();
    g.set_outputs(results);
    g
}

#[test]
fn every_sample_reads_back() {
    let mut count = 0;
    for s in Primitive::all_samples() {
        if matches!(s.primitive, Primitive::Fused(_)) {
            continue;
        }
        let types: Vec<Type> = s.operands.iter().map(|l| l.ty()).collect();
        let g = single(&s.primitive, &types);
        let text = g.to_string();
        let back = parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!(back, g, "{text}");
        assert_eq!(back.to_string(), text);
        assert_eq!(back.structural_hash(), g.structural_hash());
        verify(&g, Stage::Traced).unwrap();
        let bytes = postcard::to_stdvec(&g).unwrap();
        let stored: Graph = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(stored, g);
        assert_eq!(stored.display(ORIGINS).to_string(), g.display(ORIGINS).to_string());
        count += 1;
    }
    assert!(count > 100, "only {count} samples");
}

const ORIGINS: PrintOptions = PrintOptions { origins: true, elide: None };

const FUSED: &str = "\
graph @fused(%0: f32[B, 10], %1: f32[10]) -> (f32[B, 10]) where B in 1..=4096 {
  %2: f32[B, 10] = fused %0, %1 {kind = loop} {
    ^(%3: f32[B, 10], %4: f32[10]):
    %5: f32[B, 10] = broadcast_in_dim %4 {shape = [B, 10], dims = [1]}
    %6: f32[B, 10] = add %3, %5
    %7: f32[B, 10] = full {value = -0.0:f32, shape = [B, 10]}
    %8: f32[B, 10] = max %6, %7
    yield %8
  }
  return %2
}
";

#[test]
fn regions_read_back() {
    let g = parse(FUSED).unwrap();
    assert_eq!(g.to_string(), FUSED);
    verify(&g, Stage::Fused).unwrap();
    let mut again = g.clone();
    again.compact();
    assert_eq!(again, g);
}

#[test]
fn parse_errors_point() {
    let cases = [
        (
            "graph @g(%0: f32[2]) -> (f32[2]) {\n  %1: f32[2] = bend %0\n  return %1\n}",
            "unknown op `bend` at line 2, column 16",
        ),
        ("graph @g(", "expected `%`, found the end at line 1, column 10"),
        ("graph @g(%0: f32[2]) -> (f32[2]) {\n  return %1\n}", "%1 is not defined here at line 2, column 12"),
        ("graph @g(%0: f32[2]) -> (f32[2]) {\n  %1: f32[3] = neg %0\n  return %1\n}", "%1 has type f32[2], not f32[3]"),
        ("graph @g(%0: f32[2]) -> (f32[2]) {\n  %1: f32[2] = negate %0\n  return %1\n}", "unknown op `negate`"),
        ("graph @g(%0: f99[2]) -> () {\n  return\n}", "unknown dtype `f99`"),
        ("graph @g(%0: bool[2]) -> (bool[2]) {\n  %1: bool[2] = neg %0\n  return %1\n}", "neg(bool[2])"),
        ("graph @g() -> () {\n  return\n} more", "expected the end, found `more`"),
    ];
    for (text, message) in cases {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn deep_nesting_is_refused() {
    let mut text = String::from("graph @g() -> () {\n");
    for _ in 0..10_000 {
        text.push_str("fused {kind = loop} {\n^():\n");
    }
    assert!(parse(&text).unwrap_err().to_string().contains("nest too deep"));
}

#[test]
fn the_verifier_finds_each_fault() {
    let good = || {
        parse("graph @g(%0: f32[2]) -> (f32[2]) {\n  %1: f32[2] = neg %0\n  %2: f32[2] = exp %1\n  return %2\n}\n")
            .unwrap()
    };
    type Fault = fn(&mut Graph);
    let faults: [(u32, Fault); 9] = [
        (1, |g| {
            let root = g.root();
            let op = g.region(root).ops[0];
            g.region_mut(root).ops.push(op);
        }),
        (2, |g| {
            let root = g.root();
            g.region_mut(root).ops.swap(0, 1);
        }),
        (3, |g| {
            let root = g.root();
            let twice = g.region(root).params[0];
            g.region_mut(root).params.push(twice);
        }),
        (4, |g| g.op_mut(Op(0)).primitive = ir::ops::convert::Convert { dtype: DType::I32 }.into()),
        (5, |g| g.op_mut(Op(1)).origins.clear()),
        (6, |g| {
            let o = origin(g);
            let shape = ir::Shape::from([Dim::symbol("Q")]);
            let root = g.root();
            g.append(root, ir::ops::create::Full { value: ir::Scalar::F32(0.0), shape }.into(), &[], &[], &[o])
                .unwrap();
        }),
        (7, |g| g.symbols.push(ir::graph::SymbolDecl { symbol: ir::Symbol::new("B"), min: 2, max: 1 })),
        (7, |g| g.symbols.push(ir::graph::SymbolDecl { symbol: ir::Symbol::new("2 x"), min: 1, max: 2 })),
        (7, |g| g.symbols.push(ir::graph::SymbolDecl { symbol: ir::Symbol::new(""), min: 1, max: 2 })),
    ];
    verify(&good(), Stage::Traced).unwrap();
    for (number, fault) in faults {
        let mut g = good();
        fault(&mut g);
        let broken = verify(&g, Stage::Traced).unwrap_err();
        assert!(broken.iter().any(|b| b.invariant == number), "{number}: {broken:?}");
    }
    assert!(verify(&good(), Stage::Fused).unwrap_err().iter().all(|b| b.invariant == 8));
}

#[test]
fn origins_do_not_enter_equality() {
    let a = parse(FUSED).unwrap();
    let mut b = a.clone();
    for i in 0..b.op_count() {
        let o = origin(&mut b);
        b.op_mut(Op(i as u32)).origins.push(o);
    }
    assert_eq!(a, b);
    assert_eq!(a.structural_hash(), b.structural_hash());
    assert!(b.display(ORIGINS).to_string().contains("ir/tests/text.rs"));
    assert!(parse(&b.display(ORIGINS).to_string()).unwrap() == a);
}

proptest! {
    #[test]
    fn damaged_text_never_panics(at in 0..FUSED.len(), cut in 0..20usize, with in "[ -~]{0,6}") {
        let end = (at + cut).min(FUSED.len());
        let _ = parse(&format!("{}{with}{}", &FUSED[..at], &FUSED[end..]));
    }

    #[test]
    fn any_text_never_panics(text in "\\PC{0,200}") {
        let _ = parse(&text);
        let _ = parse(&format!("graph @g(%0: f32[{text}]) -> () {{ return }}"));
    }
}

/// A shape of that many extents, each a sum of two symbols: its product has 2^rank terms.
fn sums(rank: usize) -> String {
    (0..rank).map(|i| format!("a{i}+b{i}")).collect::<Vec<_>>().join(", ")
}

#[test]
fn shapes_whose_size_cannot_be_multiplied_out_are_refused() {
    let graph = |shape: &str| {
        let bounds: Vec<String> = (0..26).flat_map(|i| [format!("a{i} in 1..=2"), format!("b{i} in 1..=2")]).collect();
        let bounds = bounds.join(", ");
        format!(
            "graph @g(%0: f32[{shape}]) -> (f32[{shape}]) where {bounds} {{\n  \
             %1: f32[{shape}] = reshape %0 {{shape = [{shape}]}}\n  return %1\n}}"
        )
    };
    parse(&graph(&sums(8))).unwrap();
    let e = parse(&graph(&sums(26))).unwrap_err();
    assert_eq!(e.message, "a shape whose size has 67108864 terms; at most 256 are legal");
    let e = parse(&graph(&["1"; 65].join(", "))).unwrap_err();
    assert_eq!(e.message, "a shape of 65 axes; at most 64 are legal");
    for (extent, joined) in [("a0", "*"), ("a0", "+"), ("floordiv(a0, 3)", "*")] {
        let e = parse(&graph(&[extent; 100_000].join(joined))).unwrap_err();
        assert!(e.message.starts_with("a dimension has more than 256 "), "{}", e.message);
    }
}

#[test]
fn ops_whose_results_are_too_complex_are_violations() {
    let mut g = Graph::new("sums");
    let o = origin(&mut g);
    let extents = |range: std::ops::Range<usize>| -> Vec<Dim> {
        range.map(|i| Dim::symbol(&format!("a{i}")) + Dim::symbol(&format!("b{i}"))).collect()
    };
    // Each operand is legal, their product is not.
    let (x, y) = (extents(0..8), extents(8..16));
    let (x, y) = (g.add_input(Type::new(DType::F32, x.as_slice())), g.add_input(Type::new(DType::F32, y.as_slice())));
    let none = || smallvec::SmallVec::new();
    let outer = ir::ops::contract::DotGeneral {
        lhs_batch: none(),
        rhs_batch: none(),
        lhs_contract: none(),
        rhs_contract: none(),
    };
    let e = g.append(g.root(), outer.into(), &[x, y], &[], &[o]).unwrap_err();
    assert_eq!(e.rule, "a shape whose size has 65536 terms; at most 256 are legal");
    let flat = ir::ops::view::Reshape { shape: (0..65).map(|_| Dim::from(1)).collect() };
    let one = g.add_input(Type::new(DType::F32, [1]));
    let e = g.append(g.root(), flat.into(), &[one], &[], &[o]).unwrap_err();
    assert_eq!(e.rule, "a shape of 65 axes; at most 64 are legal");
}

#[test]
fn violations_say_what_they_are_about() {
    use ir::ops::{binary, reduce, view};
    use ir::{Shape, ViolationKind as Kind};
    // A symbol may have any name.
    let ty =
        |shape: &[&str], dtype| Type::new(dtype, shape.iter().map(|d| d.parse::<Dim>().unwrap()).collect::<Shape>());
    let (named, floats) = (ty(&["rank", "dtype"], DType::F32), ty(&["3"], DType::F32));
    let (ints, empty) = (ty(&["3"], DType::I64), ty(&["2", "0"], DType::F32));
    let axes = |axes: &[usize]| axes.iter().copied().collect::<ir::Axes>();
    let cases: [(Primitive, Vec<&Type>, Kind); 6] = [
        (view::Reshape { shape: ty(&["rank"], DType::F32).shape }.into(), vec![&named], Kind::Shape),
        (binary::Add {}.into(), vec![&floats, &ints], Kind::DType),
        (reduce::ReduceSum { axes: axes(&[1]) }.into(), vec![&floats], Kind::Axis),
        (reduce::ReduceSum { axes: axes(&[1, 1]) }.into(), vec![&named], Kind::Axis),
        (view::Transpose { permutation: axes(&[0, 1]) }.into(), vec![&floats], Kind::Rank),
        (reduce::ArgMax { axes: axes(&[1]) }.into(), vec![&empty], Kind::Empty),
    ];
    for (primitive, operands, kind) in cases {
        let e = primitive.infer(&operands, &[]).unwrap_err();
        assert_eq!(e.kind, kind, "{e}");
    }
}

/// A model has no lines; and whatever names hold, an origin stays in its comment.
#[test]
fn origins_without_lines() {
    let at = |file: &'static str, line| Location { file: file.into(), line, column: 7 };
    assert_eq!([at("m.onnx", 0).to_string(), at("a.rs", 3).to_string()], ["m.onnx", "a.rs:3:7"]);
    let origin = Origin { location: at("m\n.onnx", 0), scope: "\u{1b}[0m".into(), gradient: true };
    assert_eq!(origin.to_string(), r"gradient of m\n.onnx in \u{1b}[0m");
}
