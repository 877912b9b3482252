//! The index maps of views ([`OpDef::view`]) against their reference evaluation: every result element of chains of
//! views, exhaustively on small shapes, at random on longer chains, and with symbolic extents at several values.

mod support;

use ir::ops::{EvalContext, view::*};
use ir::{Axes, DType, Dim, EvalError, Literal, Primitive, Ranges, Scalar, Shape, Symbol, Type};
use proptest::prelude::*;
use smallvec::{SmallVec, smallvec};

/// Views over views; value 0 is the input.
#[derive(Clone, Debug)]
struct Chain {
    types: Vec<Type>,
    steps: Vec<(Primitive, Vec<usize>)>,
}

impl Chain {
    fn on(shape: Shape) -> Chain {
        Chain { types: vec![Type::new(DType::I64, shape)], steps: Vec::new() }
    }
    fn last(&self) -> usize {
        self.steps.len()
    }
    fn shape(&self) -> &Shape {
        &self.types[self.last()].shape
    }
    fn push(&mut self, op: Primitive, operands: Vec<usize>) -> bool {
        let types: Vec<&Type> = operands.iter().map(|&v| &self.types[v]).collect();
        match op.infer(&types, &[]) {
            Ok(mut result) => {
                self.types.push(result.remove(0));
                self.steps.push((op, operands));
                true
            }
            Err(_) => false,
        }
    }
    fn with(&self, op: &Primitive) -> Chain {
        let mut chain = self.clone();
        let last = chain.last();
        let operands = if matches!(op, Primitive::Concatenate(_)) { vec![last, last] } else { vec![last] };
        assert!(chain.push(op.clone(), operands), "{op:?} on {:?}", self.shape());
        chain
    }
}

/// Conditions, as a view has them, and what stands where they hold.
type Piece = (SmallVec<[Dim; 2]>, SmallVec<[(Dim, Dim); 1]>, Source);

/// Where an element comes from, as the index maps say.
enum Source {
    Input(SmallVec<[Dim; 4]>),
    Pieces(Vec<Piece>, Option<Scalar>),
}

fn source(chain: &Chain, v: usize, index: &[Dim], ranges: &Ranges) -> Source {
    let Some(step) = v.checked_sub(1) else { return Source::Input(index.into()) };
    let (op, operands) = &chain.steps[step];
    let types: Vec<&Type> = operands.iter().map(|&v| &chain.types[v]).collect();
    let view = op.view(&types, &chain.types[v], index, ranges);
    let pieces = view.pieces.into_iter().map(|p| {
        let from = source(chain, operands[p.operand], &p.index, ranges);
        (p.non_negative, p.divisible, from)
    });
    Source::Pieces(pieces.collect(), view.fill)
}

/// The element at that index: `Ok` with its position in the input, `Err` with a fill value.
fn find(s: &Source, input: &[usize], at: &dyn Fn(&Symbol) -> Option<i64>) -> Result<usize, Scalar> {
    let value = |d: &Dim| d.eval(at).unwrap_or_else(|| panic!("{d} has no value"));
    match s {
        Source::Input(index) => Ok(index.iter().zip(input).fold(0, |sum, (d, &extent)| {
            let i = value(d);
            assert!((0..extent as i64).contains(&i), "{d} is {i}, outside 0..{extent}");
            sum * extent + i as usize
        })),
        Source::Pieces(pieces, fill) => {
            let applies = |n: &[Dim], d: &[(Dim, Dim)]| {
                n.iter().all(|n| value(n) >= 0) && d.iter().all(|(a, b)| value(a).rem_euclid(value(b)) == 0)
            };
            match pieces.iter().find(|(n, d, _)| applies(n, d)) {
                Some((_, _, from)) => find(from, input, at),
                None => Err(fill.expect("a piece applies where there is no fill value")),
            }
        }
    }
}

fn extents(ty: &Type, dim: &dyn Fn(&Dim) -> Result<i64, EvalError>) -> Result<SmallVec<[usize; 4]>, EvalError> {
    let extent = |d: &Dim| usize::try_from(dim(d)?).map_err(|_| EvalError::BadDim(d.to_string()));
    ty.shape.iter().map(extent).collect()
}

/// Compares map and evaluation at every index, with symbols bound; `Err` if the chain is not legal there.
fn check(chain: &Chain, symbols: &[(&str, i64)]) -> Result<(), EvalError> {
    let bound = |s: &Symbol| symbols.iter().find(|(n, _)| *n == s.name()).map(|&(_, v)| v);
    let dim = |d: &Dim| d.eval(&bound).ok_or_else(|| EvalError::BadDim(d.to_string()));
    let input = extents(&chain.types[0], &dim)?;
    let mut values = vec![Literal::from_fn(&input, DType::I64, |i| Scalar::I64(i as i64))];
    for (i, (op, operands)) in chain.steps.iter().enumerate() {
        let operands: Vec<&Literal> = operands.iter().map(|&v| &values[v]).collect();
        let results = [extents(&chain.types[i + 1], &dim)?];
        let mut region = |_: usize, _: &[Literal]| unreachable!("views have no regions");
        let mut cx = EvalContext { dim: &dim, results: &results, regions: &[], region: &mut region };
        let out = op.eval(&operands, &mut cx)?.remove(0);
        assert_eq!(out.dims(), &results[0][..], "{op:?}");
        values.push(out);
    }
    let result = values.last().expect("the input at least");
    let mut ranges = Ranges::new();
    for (name, _) in symbols {
        ranges.declare_minimum(Symbol::new(name), 1);
    }
    let names: Vec<Symbol> = (0..result.rank()).map(|i| Symbol::new(&format!("i{i}"))).collect();
    for (name, extent) in names.iter().zip(chain.shape().iter()) {
        ranges.declare(name.clone(), extent.clone());
    }
    let index: Vec<Dim> = names.iter().map(|n| Dim::symbol(n.name())).collect();
    let map = source(chain, chain.last(), &index, &ranges);
    let strides = ir::literal::strides_of(result.dims());
    for position in 0..result.numel() {
        let at = |s: &Symbol| match names.iter().position(|n| n == s) {
            Some(k) => Some((position / strides[k] % result.dims()[k]) as i64),
            None => bound(s),
        };
        let found = match find(&map, &input, &at) {
            Ok(i) => Scalar::I64(i as i64),
            Err(fill) => fill,
        };
        assert_eq!(found, result.get(position), "element {position} of {chain:?} with {symbols:?}");
    }
    Ok(())
}

fn shape(dims: &[i64]) -> Shape {
    dims.iter().copied().collect()
}

fn permutations(rank: usize) -> Vec<Axes> {
    if rank == 0 {
        return vec![Axes::new()];
    }
    let smaller = permutations(rank - 1);
    smaller
        .iter()
        .flat_map(|p| {
            (0..rank).map(move |at| {
                let mut p = p.clone();
                p.insert(at, rank - 1);
                p
            })
        })
        .collect()
}

/// Every shape of up to three axes with that many elements.
fn factorings(n: usize) -> Vec<Vec<i64>> {
    if n == 0 {
        return vec![vec![0], vec![2, 0], vec![0, 3]];
    }
    let mut all = vec![vec![n as i64]];
    if n == 1 {
        all.push(vec![]);
    }
    for a in (1..=n).filter(|&a| n.is_multiple_of(a)) {
        all.push(vec![a as i64, (n / a) as i64]);
        for b in (1..=n / a).filter(|&b| (n / a).is_multiple_of(b)) {
            all.push(vec![a as i64, b as i64, (n / a / b) as i64]);
        }
    }
    all
}

fn pad(low: &[i64], high: &[i64], interior: &[usize]) -> Primitive {
    Pad { value: Scalar::I64(-1), low: shape(low), high: shape(high), interior: interior.into() }.into()
}

/// Views of a tensor of that shape: all reshapes, transposes and reversals, and some of the others.
fn views(dims: &[usize]) -> Vec<Primitive> {
    let rank = dims.len();
    let mut all: Vec<Primitive> = Vec::new();
    all.extend(permutations(rank).into_iter().map(|permutation| Transpose { permutation }.into()));
    all.extend(factorings(dims.iter().product()).iter().map(|s| Reshape { shape: shape(s) }.into()));
    all.extend(
        (0..1 << rank).map(|set: usize| Reverse { axes: (0..rank).filter(|a| set >> a & 1 == 1).collect() }.into()),
    );
    for a in 0..rank {
        let n = dims[a];
        all.push(Concatenate { axis: a }.into());
        let one = |x: i64| -> Vec<i64> { (0..rank).map(|i| if i == a { x } else { 0 }).collect() };
        let whole: Vec<i64> = dims.iter().map(|&d| d as i64).collect();
        for (start, limit, stride) in [(0, n, 2), (n.min(1), n, 1), (0, n / 2, 1), (n.min(1), n, 3), (n, n, 1)] {
            let limits: Vec<i64> = (0..rank).map(|i| if i == a { limit as i64 } else { whole[i] }).collect();
            let strides = (0..rank).map(|i| if i == a { stride } else { 1 }).collect();
            all.push(Slice { starts: shape(&one(start as i64)), limits: shape(&limits), strides }.into());
        }
        let interior: Vec<usize> = (0..rank).map(|i| if i == a { 1 } else { 0 }).collect();
        all.push(pad(&one(1), &one(2), &vec![0; rank]));
        all.push(pad(&one(0), &one(1), &interior));
        if n > 0 {
            all.push(pad(&one(-1), &one(1), &vec![0; rank]));
            all.push(pad(&one(-1), &one(0), &interior));
        }
    }
    for at in 0..=rank {
        let mut wide: Vec<i64> = dims.iter().map(|&d| d as i64).collect();
        wide.insert(at, 2);
        all.push(BroadcastInDim { shape: shape(&wide), dims: (0..=rank).filter(|&d| d != at).collect() }.into());
    }
    let stretched: Vec<i64> = dims.iter().map(|&d| if d == 1 { 3 } else { d as i64 }).collect();
    all.push(BroadcastInDim { shape: shape(&stretched), dims: (0..rank).collect() }.into());
    all
}

fn exhaust(chain: &Chain, depth: usize, count: &mut usize) {
    let dims = chain.shape().known().expect("numbers");
    if dims.len() > 4 || dims.iter().product::<usize>() > 48 {
        return;
    }
    for op in views(&dims) {
        let next = chain.with(&op);
        if depth == 1 {
            check(&next, &[]).unwrap();
            *count += 1;
        } else {
            exhaust(&next, depth - 1, count);
        }
    }
}

#[test]
fn chains_of_two_views_on_small_shapes() {
    let mut count = 0;
    for dims in [&[][..], &[1], &[5], &[0], &[2, 3], &[4, 1], &[1, 1], &[2, 0], &[2, 3, 2], &[3, 1, 2], &[2, 2, 2]] {
        exhaust(&Chain::on(shape(dims)), 2, &mut count);
    }
    assert!(count > 5_000, "{count} chains");
}

#[test]
fn chains_of_three_views_on_tiny_shapes() {
    let mut count = 0;
    for dims in [&[][..], &[3], &[2, 2]] {
        exhaust(&Chain::on(shape(dims)), 3, &mut count);
    }
    assert!(count > 10_000, "{count} chains");
}

/// Reads decisions from a list of numbers.
struct Choices<'a>(std::slice::Iter<'a, u32>);
impl Choices<'_> {
    fn below(&mut self, n: usize) -> usize {
        self.0.next().map_or(0, |&x| x as usize % n.max(1))
    }
}

/// A legal view of the last value, or of it and an earlier one; symbolic extents are kept whole or split off.
fn step(chain: &mut Chain, c: &mut Choices<'_>) {
    let last = chain.last();
    let shape = chain.shape().clone();
    let rank = shape.rank();
    let (op, operands): (Primitive, Vec<usize>) = match c.below(8) {
        0 => {
            let all = permutations(rank);
            (Transpose { permutation: all[c.below(all.len())].clone() }.into(), vec![last])
        }
        1 => {
            // Splits an axis in two.
            let axis = c.below(rank);
            if rank == 0 || rank > 4 {
                return;
            }
            let parts: Vec<Dim> =
                [2, 3, 4].into_iter().map(Dim::from).filter(|p| shape[axis].exact_div(p).is_some()).collect();
            let mut new = shape.clone();
            let part = match parts.is_empty() {
                true => Dim::from(1),
                false => parts[c.below(parts.len())].clone(),
            };
            new[axis] = shape[axis].exact_div(&part).expect("a divisor");
            new.insert(axis + c.below(2), part);
            (Reshape { shape: new }.into(), vec![last])
        }
        2 => {
            // Joins neighbours.
            if rank < 2 {
                return;
            }
            let axis = c.below(rank - 1);
            let mut new = shape.clone();
            let right = new.remove(axis + 1);
            new[axis] = &shape[axis] * right;
            (Reshape { shape: new }.into(), vec![last])
        }
        3 => (Reverse { axes: (0..rank).filter(|_| c.below(2) == 1).collect() }.into(), vec![last]),
        4 => {
            let starts = (0..rank).map(|_| c.below(2)).collect();
            let limits = shape.iter().map(|d| d - c.below(2)).collect();
            (Slice { starts, limits, strides: (0..rank).map(|_| 1 + c.below(3) / 2).collect() }.into(), vec![last])
        }
        5 => {
            let width = |c: &mut Choices<'_>| c.below(4) as i64 - 1;
            let low: Shape = (0..rank).map(|_| width(c)).collect();
            let high = (0..rank).map(|_| width(c)).collect();
            let interior = (0..rank).map(|_| c.below(4) / 3).collect();
            (Pad { value: Scalar::I64(-1), low, high, interior }.into(), vec![last])
        }
        6 => {
            if rank > 4 {
                return;
            }
            let at = c.below(rank + 1);
            let mut new = shape.clone();
            for d in new.iter_mut().filter(|d| d.is(1)) {
                *d = Dim::from(1 + c.below(3));
            }
            new.insert(at, Dim::from(1 + c.below(3)));
            (BroadcastInDim { shape: new, dims: (0..=rank).filter(|&d| d != at).collect() }.into(), vec![last])
        }
        _ => {
            let axis = c.below(rank);
            (Concatenate { axis }.into(), vec![last, c.below(last + 1), last])
        }
    };
    chain.push(op, operands);
}

/// The chain as a graph; concatenations see each value as often as they name it.
fn graph(chain: &Chain) -> ir::Graph {
    let (mut graph, inputs) = support::graph_of([chain.types[0].clone()]);
    let mut values = inputs;
    for (op, operands) in &chain.steps {
        let operands: Vec<ir::Value> = operands.iter().map(|&v| values[v]).collect();
        let op = support::emitter(&mut graph).append(op.clone(), &operands, &[]);
        values.push(graph.op(op).results[0]);
    }
    graph.set_outputs(vec![*values.last().expect("the input at least")]);
    graph
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3_000) })]

    #[test]
    fn long_chains(dims in prop::collection::vec(1i64..5, 0..4), choices in prop::collection::vec(any::<u32>(), 0..60)) {
        let mut chain = Chain::on(shape(&dims));
        let mut c = Choices(choices.iter());
        while c.0.len() > 0 && chain.steps.len() < 8 {
            let before = chain.clone();
            step(&mut chain, &mut c);
            if chain.shape().known().is_some_and(|d| d.iter().product::<usize>() > 400) {
                chain = before;
            }
        }
        prop_assert!(check(&chain, &[]).is_ok());
        let plain = graph(&chain);
        let mut simple = plain.clone();
        support::rewriting::canonicalize(&mut simple);
        let x = Literal::from_fn(&chain.types[0].shape.known().expect("numbers"), DType::I64, |i| Scalar::I64(i as i64));
        prop_assert_eq!(support::evaluate(&plain, std::slice::from_ref(&x)), support::evaluate(&simple, &[x]));
    }

    #[test]
    fn symbolic_chains(
        dims in prop::collection::vec(0usize..6, 1..4),
        choices in prop::collection::vec(any::<u32>(), 0..50),
    ) {
        let (b, c) = (Dim::symbol("B"), Dim::symbol("C"));
        let all = [b.clone(), c, Dim::from(2), Dim::from(3), &b * 2, b + 1];
        let mut chain = Chain::on(dims.iter().map(|&i| all[i].clone()).collect());
        let mut c = Choices(choices.iter());
        while c.0.len() > 0 && chain.steps.len() < 6 {
            step(&mut chain, &mut c);
        }
        for b in [1, 2, 3, 5] {
            for c in [1, 2, 4] {
                let total = extents_product(&chain, b, c);
                if total < 3_000 {
                    // What a symbolic slice or pad cannot do at some extent is an error there.
                    let _ = check(&chain, &[("B", b), ("C", c)]);
                }
            }
        }
    }
}

fn extents_product(chain: &Chain, b: i64, c: i64) -> i64 {
    let value = |s: &Symbol| Some(if s.name() == "B" { b } else { c });
    chain.types.iter().map(|t| t.shape.numel().eval(&value).unwrap_or(i64::MAX)).max().unwrap_or(0)
}

/// The one source of every element of a chain of moves, in text.
fn moved(chain: &Chain) -> String {
    let mut ranges = Ranges::new();
    let names: Vec<String> = (0..chain.shape().rank()).map(|i| format!("i{i}")).collect();
    for (name, extent) in names.iter().zip(chain.shape().iter()) {
        ranges.declare(Symbol::new(name), extent.clone());
    }
    let index: Vec<Dim> = names.iter().map(|n| Dim::symbol(n)).collect();
    let mut s = source(chain, chain.last(), &index, &ranges);
    loop {
        s = match s {
            Source::Input(index) => return format!("{:?}", &index[..]),
            Source::Pieces(mut pieces, _) => {
                assert_eq!(pieces.len(), 1, "one piece");
                let (conditions, divisible, inner) = pieces.remove(0);
                assert!(conditions.is_empty() && divisible.is_empty(), "no conditions: {conditions:?} {divisible:?}");
                inner
            }
        }
    }
}

fn reshapes(from: &[&str], to: &[&[&str]]) -> Chain {
    let dims = |text: &[&str]| -> Shape { text.iter().map(|d| d.parse::<Dim>().unwrap()).collect() };
    let mut chain = Chain::on(dims(from));
    for s in to {
        let op = Reshape { shape: dims(s) }.into();
        chain = chain.with(&op);
    }
    chain
}

#[test]
fn nested_reshapes_cancel() {
    for (from, to) in [
        (&["2", "3", "4"][..], &[&["6", "4"][..], &["2", "12"], &["24"], &["2", "3", "4"]][..]),
        (&["B", "3", "4"], &[&["B", "12"], &["3*B", "4"], &["12*B"], &["B", "3", "4"]]),
        (&["B", "C", "4"], &[&["B*C", "4"], &["4*B*C"], &["B", "4*C"], &["B", "C", "4"]]),
        (&["B", "C", "D"], &[&["B*C", "D"], &["B", "C*D"], &["B*C*D"], &["B", "C", "D"]]),
        (&["N", "B+1", "4"], &[&["N*B+N", "4"], &["4*N*B+4*N"], &["N", "4*B+4"], &["N", "B+1", "4"]]),
        (&["N", "B+1", "C+2"], &[&["N", "B*C+2*B+C+2"], &["N", "B+1", "C+2"]]),
        (&["1", "B", "1", "4"], &[&["4*B"], &["B", "4", "1"], &["1", "B", "1", "4"]]),
    ] {
        let chain = reshapes(from, to);
        let expected: Vec<String> =
            from.iter().enumerate().map(|(i, d)| if *d == "1" { "0".into() } else { format!("i{i}") }).collect();
        assert_eq!(moved(&chain), format!("[{}]", expected.join(", ")), "{from:?} -> {to:?}");
    }
}

#[test]
fn reshapes_keep_what_they_do_not_touch() {
    assert_eq!(moved(&reshapes(&["B", "12"], &[&["B", "3", "4"]])), "[i0, 4*i1+i2]");
    assert_eq!(moved(&reshapes(&["B", "3", "4"], &[&["B", "12"]])), "[i0, floordiv(i1, 4), mod(i1, 4)]");
    assert_eq!(moved(&reshapes(&["B", "3", "4"], &[&["3*B", "4"]])), "[floordiv(i0, 3), mod(i0, 3), i1]");
    assert_eq!(moved(&reshapes(&["6", "4"], &[&["3", "8"]])), "[2*i0+floordiv(i1, 4), mod(i1, 4)]");
    assert_eq!(moved(&reshapes(&["B", "C", "5"], &[&["B", "5*C"]])), "[i0, floordiv(i1, 5), mod(i1, 5)]");
}

#[test]
fn transposed_reshapes_are_simple() {
    // Heads of attention: [B, T, 4*8] -> [B, T, 4, 8] -> [B, 4, T, 8] and back.
    let to_heads = Chain::on(["B", "T", "32"].map(|d| d.parse::<Dim>().unwrap()).into_iter().collect())
        .with(&Reshape { shape: ["B", "T", "4", "8"].map(|d| d.parse::<Dim>().unwrap()).into_iter().collect() }.into())
        .with(&Transpose { permutation: smallvec![0, 2, 1, 3] }.into());
    assert_eq!(moved(&to_heads), "[i0, i2, 8*i1+i3]");
    let back = to_heads
        .with(&Transpose { permutation: smallvec![0, 2, 1, 3] }.into())
        .with(&Reshape { shape: ["B", "T", "32"].map(|d| d.parse::<Dim>().unwrap()).into_iter().collect() }.into());
    assert_eq!(moved(&back), "[i0, i1, i2]");
    // Flat index of a transpose.
    let flat = Chain::on(["4", "B"].map(|d| d.parse::<Dim>().unwrap()).into_iter().collect())
        .with(&Transpose { permutation: smallvec![1, 0] }.into())
        .with(&Reshape { shape: ["4*B"].map(|d| d.parse::<Dim>().unwrap()).into_iter().collect() }.into());
    assert_eq!(moved(&flat), "[mod(i0, 4), floordiv(i0, 4)]");
}

#[test]
fn conditions_that_always_hold_fall_away() {
    // The middle of a padded tensor is the tensor; a slice of a concatenation is one operand.
    let b = Dim::symbol("B");
    let padded = Chain::on(Shape::from([b.clone()])).with(&pad(&[2], &[3], &[0]));
    let slice = |start: Dim, limit: Dim| -> Primitive {
        Slice { starts: [start].into(), limits: [limit].into(), strides: smallvec![1] }.into()
    };
    assert_eq!(moved(&padded.with(&slice(Dim::from(2), &b + 2))), "[i0]");
    let twice = Chain::on(Shape::from([b.clone()])).with(&Concatenate { axis: 0 }.into());
    assert_eq!(moved(&twice.with(&slice(Dim::from(0), b.clone()))), "[i0]");
    assert_eq!(moved(&twice.with(&slice(b.clone(), &b * 2))), "[i0]");
}

#[test]
fn bounds_are_proved_only_where_they_hold() {
    let mut r = Ranges::new();
    let d = |text: &str| text.parse::<Dim>().unwrap();
    r.declare(Symbol::new("i"), d("B"));
    r.declare(Symbol::new("j"), Dim::from(4));
    r.declare(Symbol::new("k"), d("C+2"));
    for yes in [
        "i",
        "B-1-i",
        "4*B-1-4*i-j",
        "i*B",
        "B*B-1-B*i-i",
        "C+1-k",
        "3-mod(k, 4)",
        "k-4*floordiv(k, 4)",
        "i*j",
        "floordiv(k, 3)",
        "C+1-2*floordiv(k, 2)",
        "3*i-i*j",
        "mod(i, 4)",
        "2*B-1-2*i-floordiv(j, 2)",
    ] {
        assert!(r.is_non_negative(&d(yes)), "{yes}");
    }
    for no in
        ["-1", "i-1", "B-2-i", "2-j", "4*B-2-4*i-j", "i-j", "C-k", "2-mod(k, 4)", "2*i-i*j", "B-1", "floordiv(k, 2)-1"]
    {
        assert!(!r.is_non_negative(&d(no)), "{no}");
    }
}
