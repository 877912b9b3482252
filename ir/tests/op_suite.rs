//! One suite over the samples of every primitive.

mod support;

use ir::ops::{AttrReader, BadSample, Lowering, Sample};
use ir::{DType, Dim, Emit, EmitExt, Graph, Literal, Primitive, Scalar, Type, Value};
use std::collections::{BTreeMap, HashSet};
use support::gradients::{compare_with_differences, differentiate, tamed};
use support::rewriting::canonicalize;
use support::{Failures, call, describe, emitter, evaluate, graph_of, same, stack, unstack, weights};

fn samples() -> Vec<Sample> {
    Primitive::all_samples()
}

fn is_float_op(s: &Sample, result: &Type) -> bool {
    result.dtype.is_float() && s.operands.iter().any(|x| x.dtype().is_float())
}

/// Samples whose floats, result included, are of one dtype.
fn float_samples(dtype: DType) -> impl Iterator<Item = Sample> {
    samples().into_iter().filter(move |s| {
        let graph = s.graph();
        graph.output_types().iter().all(|t| t.dtype == dtype && is_float_op(s, t))
            && s.operands.iter().all(|x| !x.dtype().is_float() || x.dtype() == dtype)
    })
}

#[test]
fn every_primitive_has_samples_over_ranks_and_dtypes() {
    let all = samples();
    for &name in Primitive::NAMES {
        let of: Vec<&Sample> = all.iter().filter(|s| s.primitive.name() == name).collect();
        assert!(Primitive::all_bad_samples().iter().any(|s| s.primitive.name() == name), "{name} has no bad samples");
        // A call with regions is no sample.
        if Primitive::has_regions(name) {
            continue;
        }
        assert!(!of.is_empty(), "{name} has no samples");
        let dims: HashSet<&[usize]> = of.iter().flat_map(|s| &s.operands).map(Literal::dims).collect();
        let has_operands = of.iter().any(|s| !s.operands.is_empty());
        assert!(!has_operands || dims.iter().any(|d| d.contains(&0)), "{name} has no empty sample");
    }
}

#[test]
fn results_have_the_inferred_type_and_are_repeatable() {
    let mut failures = Failures::default();
    for s in samples() {
        let graph = s.graph();
        // `evaluate` checks the types.
        let (first, second) = (evaluate(&graph, &s.operands), evaluate(&graph, &s.operands));
        match (first, second) {
            (Ok(a), Ok(b)) => failures.check(a == b, || format!("{}: {a:?} then {b:?}", describe(&s))),
            (Err(_), Err(_)) if s.primitive.traits().fallible => {}
            (a, b) => failures.add(format!("{}: {a:?} then {b:?}", describe(&s))),
        }
    }
}

#[test]
fn bad_samples_are_refused_with_their_message() {
    let mut failures = Failures::default();
    for BadSample { primitive, operands, message } in Primitive::all_bad_samples() {
        let types: Vec<&Type> = operands.iter().collect();
        match primitive.infer(&types, &[]) {
            Ok(result) => failures.add(format!("{primitive:?} of {operands:?} is accepted as {result:?}")),
            Err(e) => {
                failures.check(e.to_string().contains(message), || format!("`{e}` does not say `{message}`"));
                failures.check(e.op == primitive.name(), || format!("`{e}` does not name {}", primitive.name()));
            }
        }
    }
}

#[test]
fn attributes_and_bytes_read_back() {
    for s in samples() {
        let attributes = s.primitive.attributes().into_iter().map(|(name, value)| (name.to_string(), value));
        let mut reader = AttrReader(attributes.collect());
        assert_eq!(Primitive::from_text(s.primitive.name(), &mut reader), Ok(s.primitive.clone()));
        assert!(reader.0.is_empty(), "{reader:?} left of {:?}", s.primitive);
        let bytes = postcard::to_allocvec(&s.primitive).unwrap();
        assert_eq!(postcard::from_bytes::<Primitive>(&bytes).unwrap(), s.primitive);
    }
}

#[test]
fn documentation_is_whole_and_its_examples_hold() {
    let mut failures = Failures::default();
    let bad = Primitive::all_bad_samples().into_iter().map(|b| b.primitive);
    let mut seen = HashSet::new();
    for p in samples().into_iter().map(|s| s.primitive).chain(bad).filter(|p| seen.insert(p.name())) {
        let (name, doc) = (p.name(), p.doc());
        failures.check(!doc.semantics.is_empty() && !doc.gradient.is_empty(), || format!("{name} lacks documentation"));
        failures.check(!doc.constraints.is_empty(), || format!("{name} lists no constraints"));
        for text in [doc.semantics, doc.gradient] {
            failures.check(text.ends_with('.'), || format!("{name}: `{text}` does not end in a full stop"));
        }
        if Primitive::has_regions(name) {
            continue;
        }
        match support::examples::parse(doc.example) {
            Err(e) => failures.add(format!("{name}: {e} in `{}`", doc.example)),
            Ok((sample, text)) => {
                failures.check(sample.primitive.name() == name, || format!("{name} shows {}", sample.primitive.name()));
                let result = call(sample.primitive, &sample.operands).unwrap();
                let expected = support::examples::elements(&text, result.dtype()).unwrap();
                let equal = expected.len() == result.numel()
                    && result.iter().zip(&expected).all(|(x, &y)| support::same_scalar(x, y));
                failures.check(equal, || format!("{} gives {result:?}", doc.example));
            }
        }
    }
    assert_eq!(seen.len(), Primitive::NAMES.len());
}

#[test]
fn commutative_ops_commute() {
    let mut checked = HashSet::new();
    for s in samples().into_iter().filter(|s| s.primitive.traits().commutative) {
        let swapped = [s.operands[1].clone(), s.operands[0].clone()];
        let (a, b) = (call(s.primitive.clone(), &s.operands).unwrap(), call(s.primitive.clone(), &swapped).unwrap());
        assert!(same(&a, &b), "{}: {a:?} and {b:?}", describe(&s));
        checked.insert(s.primitive.name());
    }
    let expected = ["add", "mul", "max", "min", "and", "or", "xor"];
    assert_eq!(checked, HashSet::from(expected));
}

#[test]
fn a_splat_or_literal_is_what_evaluation_gives() {
    for s in samples() {
        let Ok(result) = evaluate(&s.graph(), &s.operands) else { continue };
        if let Some(value) = s.primitive.splat() {
            assert!(result[0].iter().all(|x| x == value), "{}", describe(&s));
        }
        if let Some(literal) = s.primitive.literal() {
            assert_eq!(*literal, result[0]);
        }
    }
}

fn within_ulps(a: Scalar, b: Scalar, ulps: i64) -> bool {
    let ordered = |s: Scalar| match s {
        Scalar::F64(x) => Some((x.to_bits() as i64) ^ ((x.to_bits() as i64 >> 63) & i64::MAX)),
        Scalar::F32(x) => Some((x.to_bits() as i32 ^ ((x.to_bits() as i32 >> 31) & i32::MAX)) as i64),
        _ => None,
    };
    let near = ordered(a).zip(ordered(b)).is_some_and(|(a, b)| a.abs_diff(b) <= ulps as u64);
    support::same_scalar(a, b) || (ulps > 0 && a.as_f64().is_finite() && b.as_f64().is_finite() && near)
}

#[test]
fn scalar_code_and_index_maps_agree_with_the_reference() {
    let mut failures = Failures::default();
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for s in samples() {
        let graph = s.graph();
        let result = &graph.output_types()[0];
        // 16-bit arithmetic is legalised before it becomes scalar code.
        let half = s.operands.iter().map(Literal::dtype).chain([result.dtype]).any(DType::is_half);
        let lowered = match s.primitive.lowering() {
            Lowering::Pointwise if !half || s.primitive.name() == "convert" => support::kernels::pointwise(&s, result),
            Lowering::Generate if !half => support::kernels::generated(&s, result),
            Lowering::View => match support::kernels::viewed(&s, result) {
                Ok(x) => x,
                Err(e) => {
                    failures.add(format!("{}: {e}", describe(&s)));
                    continue;
                }
            },
            _ => continue,
        };
        *kinds.entry(s.primitive.name()).or_default() += 1;
        let reference = evaluate(&graph, &s.operands).unwrap().remove(0);
        let double = s.operands.first().is_some_and(|x| x.dtype() == DType::F64);
        let ulps = match s.primitive.name() {
            // Sums of larger terms, in f64 itself.
            "lgamma" | "digamma" if double => 256,
            // Quadrature against series.
            "log_gamma_slope" => 1 << 24,
            name if double && ir::kernel::ulps(name) > 0 => 4,
            name => ir::kernel::ulps(name).into(),
        };
        for (i, (x, y)) in reference.iter().zip(lowered.iter()).enumerate() {
            failures.check(within_ulps(x, y, ulps), || {
                let operands: Vec<_> = s.operands.iter().map(|o| o.get(i.min(o.numel().max(1) - 1))).collect();
                format!("{:?} of {operands:?} at {i}: reference {x:?}, kernel {y:?}", s.primitive)
            });
        }
    }
    assert!(kinds.len() >= 39, "{kinds:?}");
}

/// Gamma variates: their derivative keeps the value of the distribution function, not the random numbers, and has none
/// itself. `random.rs` tests it.
fn has_no_slope(s: &Sample) -> bool {
    matches!(s.primitive, Primitive::RandomLogGamma(_) | Primitive::LogGammaSlope(_))
}

/// There is no derivative, and to ask for it is an error.
fn refuses(s: &Sample) -> bool {
    matches!(s.primitive, Primitive::LogGammaSlope(_) | Primitive::Captured(_))
}

#[test]
fn gradients_agree_with_finite_differences() {
    let mut failures = Failures::default();
    let mut checked: BTreeMap<&str, usize> = BTreeMap::new();
    let constant = |s: &Sample| matches!(s.primitive, Primitive::StopGradient(_) | Primitive::Captured(_));
    let differentiable = |s: &Sample| !constant(s) && !has_no_slope(s);
    for s in float_samples(DType::F64).filter(differentiable) {
        let inputs: Vec<Literal> = s.operands.iter().map(tamed).collect();
        match compare_with_differences(&s.graph(), &inputs) {
            Err(reason) => failures.add(format!("{}: {}", describe(&s), reason.0)),
            Ok(compared) => {
                *checked.entry(s.primitive.name()).or_default() += compared.checked;
                for wrong in compared.wrong {
                    failures.add(format!("{:?} {wrong}; operands {inputs:?}", s.primitive));
                }
            }
        }
    }
    // A test that skips everything shows nothing.
    for (name, n) in checked {
        failures.check(n >= 4, || format!("{name}: only {n} elements compared"));
    }
}

#[test]
fn second_derivatives_agree_with_finite_differences() {
    let mut failures = Failures::default();
    let mut checked: BTreeMap<&str, usize> = BTreeMap::new();
    for s in float_samples(DType::F64).filter(|s| s.operands.iter().all(|x| x.numel() <= 64) && !has_no_slope(s)) {
        let Ok(first) = differentiate(s.graph()) else { continue };
        let mut inputs: Vec<Literal> = s.operands.iter().map(tamed).collect();
        let result = first.graph.output_types()[0].shape.known().unwrap();
        inputs.push(weights(&result, DType::F64, 11));
        for (at, &by) in first.by.iter().enumerate() {
            let mut graph = first.graph.clone();
            graph.set_outputs(vec![first.graph.outputs()[at + 1]]);
            match compare_with_differences(&graph, &inputs) {
                Err(reason) => failures.add(format!("{}: {}", describe(&s), reason.0)),
                Ok(compared) => {
                    *checked.entry(s.primitive.name()).or_default() += compared.checked;
                    for wrong in compared.wrong {
                        failures.add(format!("gradient of {:?} by {by}, {wrong}; {inputs:?}", s.primitive));
                    }
                }
            }
        }
    }
    assert!(checked.len() > 20, "{checked:?}");
}

#[test]
fn gradients_exist_for_every_float_dtype() {
    for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16] {
        for s in float_samples(dtype).filter(|s| !refuses(s)) {
            // Types are checked while the gradient is emitted and while it is evaluated.
            let d = differentiate(s.graph()).unwrap_or_else(|e| panic!("{}: {}", describe(&s), e.0));
            let result = d.graph.output_types()[0].clone();
            let inputs: Vec<Literal> =
                s.operands.iter().cloned().chain([weights(&result.shape.known().unwrap(), result.dtype, 1)]).collect();
            if let Err(e) = evaluate(&d.graph, &inputs) {
                assert!(s.primitive.traits().fallible, "{}: {e}", describe(&s));
            }
        }
    }
}

/// The graph of `<cotangent, tangent of the op>`'s two factors: inputs are operands and tangents, output the tangent.
fn tangent_graph(s: &Sample, by: &[usize]) -> (Graph, Option<Value>) {
    let types = s.operands.iter().map(Literal::ty);
    let (mut graph, inputs) = graph_of(types.clone().chain(by.iter().map(|&i| s.operands[i].ty())));
    let (operands, given) = inputs.split_at(s.operands.len());
    let mut tangents = vec![None; operands.len()];
    for (&i, &t) in by.iter().zip(given) {
        tangents[i] = Some(t);
    }
    let mut b = emitter(&mut graph);
    let op = b.append(s.primitive.clone(), operands, &[]);
    let results = b.graph.op(op).results.clone();
    let tangent =
        s.primitive.jvp(&mut b, operands, &results, &tangents).unwrap_or_else(|e| panic!("{}: {}", describe(s), e.0));
    if let Some(t) = tangent {
        assert_eq!(graph.ty(t), graph.ty(results[0]), "tangent of {:?}", s.primitive);
    }
    graph.set_outputs(tangent.into_iter().collect());
    (graph, tangent)
}

fn dot(a: &Literal, b: &Literal) -> (f64, f64) {
    let products = a.iter().zip(b.iter()).map(|(x, y)| x.as_f64() * y.as_f64());
    products.fold((0.0, 0.0), |(sum, size), p| (sum + p, size + p.abs()))
}

#[test]
fn forward_and_reverse_mode_are_transposes() {
    let mut failures = Failures::default();
    let mut checked = HashSet::new();
    for s in float_samples(DType::F64).filter(|s| !refuses(s)) {
        let s = Sample { operands: s.operands.iter().map(tamed).collect(), ..s };
        let d = differentiate(s.graph()).unwrap();
        let Ok(values) = evaluate(&s.graph(), &s.operands) else { continue };
        let result = &values[0];
        let cotangent = weights(result.dims(), DType::F64, 5);
        let arguments: Vec<Literal> = s.operands.iter().cloned().chain([cotangent.clone()]).collect();
        let reverse = evaluate(&d.graph, &arguments).unwrap();
        let floats: Vec<usize> = (0..s.operands.len()).filter(|&i| s.operands[i].dtype().is_float()).collect();
        // One operand at a time, and all at once.
        let mut sets: Vec<Vec<usize>> = floats.iter().map(|&i| vec![i]).collect();
        sets.push(floats);
        for by in sets {
            let tangents: Vec<Literal> =
                by.iter().map(|&i| weights(s.operands[i].dims(), DType::F64, i as u64 + 20)).collect();
            let (graph, tangent) = tangent_graph(&s, &by);
            let forward = match tangent {
                None => (0.0, 0.0),
                Some(_) => {
                    let arguments: Vec<Literal> = s.operands.iter().chain(&tangents).cloned().collect();
                    dot(&evaluate(&graph, &arguments).unwrap()[0], &cotangent)
                }
            };
            let mut backward = (0.0, 0.0);
            for (&i, t) in by.iter().zip(&tangents) {
                if let Some(at) = d.by.iter().position(|&j| j == i) {
                    let (sum, size) = dot(&reverse[at + 1], t);
                    backward = (backward.0 + sum, backward.1 + size);
                }
            }
            let equal = (forward.0 - backward.0).abs() <= 1e-10 * (1.0 + forward.1 + backward.1);
            let undefined = !forward.0.is_finite() && !backward.0.is_finite();
            failures.check(equal || undefined, || {
                format!("{} by {by:?}: forward {}, reverse {}", describe(&s), forward.0, backward.0)
            });
            if equal && forward.1 > 0.0 {
                checked.insert(s.primitive.name());
            }
        }
    }
    assert!(checked.len() > 20, "{checked:?}");
}

/// The operand with its elements in reverse order: another legal operand, for indices too.
fn reversed(x: &Literal) -> Literal {
    Literal::from_fn(x.dims(), x.dtype(), |i| x.get(x.numel() - 1 - i))
}

#[test]
fn batching_agrees_with_a_loop() {
    let mut failures = Failures::default();
    let mut checked = HashSet::new();
    for s in samples() {
        let n = s.operands.len().min(4);
        for set in 0..1usize << n {
            // Without operands there is only the empty set; with some, a batched one is among them.
            if (set == 0) != (n == 0) {
                continue;
            }
            let batched = |i: usize| i < n && set >> i & 1 == 1;
            for last in [false, true] {
                let axis = |i: usize| batched(i).then(|| if last { s.operands[i].rank() } else { 0 });
                let calls: Vec<Vec<Literal>> = (0..2)
                    .map(|k| {
                        let operands = s.operands.iter().enumerate();
                        operands.map(|(i, x)| if batched(i) && k == 1 { reversed(x) } else { x.clone() }).collect()
                    })
                    .collect();
                let expected: Result<Vec<Literal>, _> = calls.iter().map(|c| call(s.primitive.clone(), c)).collect();
                let Ok(expected) = expected else { continue };
                let operands: Vec<Literal> = (0..s.operands.len())
                    .map(|i| match axis(i) {
                        Some(axis) => stack(&[calls[0][i].clone(), calls[1][i].clone()], axis),
                        None => s.operands[i].clone(),
                    })
                    .collect();
                let (mut graph, inputs) = graph_of(operands.iter().map(Literal::ty));
                let axes: Vec<Option<usize>> = (0..inputs.len()).map(axis).collect();
                let out = s.primitive.batch(&mut emitter(&mut graph), &inputs, &axes, &Dim::from(2));
                graph.set_outputs(vec![out]);
                let what = || format!("{} batched at {axes:?}", describe(&s));
                match evaluate(&graph, &operands) {
                    Err(e) => failures.add(format!("{}: {e}", what())),
                    Ok(result) => {
                        let result = &result[0];
                        if result.rank() != expected[0].rank() + 1 || result.dims()[0] != 2 {
                            failures.add(format!("{}: result {:?}", what(), result.ty()));
                            continue;
                        }
                        for (k, expected) in expected.iter().enumerate() {
                            let part = unstack(result, k);
                            failures.check(same(&part, expected), || format!("{}: {part:?}, not {expected:?}", what()));
                        }
                        checked.insert(s.primitive.name());
                    }
                }
            }
        }
    }
    let others = Primitive::NAMES.iter().filter(|name| !Primitive::has_regions(name));
    assert_eq!(checked.len(), others.count(), "all without regions");
}

/// Constants at which identities hold.
fn special(dtype: DType) -> Vec<Scalar> {
    let numbers = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, -4.0, 3.0, f64::NAN];
    let mut all: Vec<Scalar> = numbers.iter().map(|&x| Scalar::of(dtype, x)).collect();
    all.extend([Scalar::lowest(dtype), Scalar::highest(dtype)]);
    let mut seen = HashSet::new();
    all.retain(|&s| seen.insert(s));
    all
}

/// Graphs that compute the sample's op over operands that rules look at: constants, one value twice, results of other
/// ops.
fn variants(s: &Sample) -> Vec<(Graph, Vec<Literal>)> {
    use ir::ops::{convert, unary};
    type Make<'a> = Box<dyn Fn(&mut dyn Emit, &mut Vec<Value>) -> bool + 'a>;
    let mut makes: Vec<Make> = vec![Box::new(|_, _| true)];
    for i in 0..s.operands.len() {
        let dtype = s.operands[i].dtype();
        for value in special(dtype) {
            makes.push(Box::new(move |b, operands| {
                operands[i] = b.full(value, &b.ty(operands[i]).shape.clone());
                true
            }));
        }
        let inner: [Primitive; 6] = [
            unary::Neg {}.into(),
            unary::Abs {}.into(),
            unary::Sign {}.into(),
            unary::Floor {}.into(),
            unary::Round {}.into(),
            unary::Not {}.into(),
        ];
        for p in inner {
            makes.push(Box::new(move |b, operands| {
                let legal = p.infer(&[b.ty(operands[i])], &[]).is_ok();
                if legal {
                    operands[i] = b.emit(p.clone(), &[operands[i]]);
                }
                legal
            }));
        }
        // The op over itself, and over sums, products, differences and comparisons with a constant.
        for value in [3.0, -1.0] {
            for which in 0..3 {
                makes.push(Box::new(move |b, operands| {
                    let x = operands[i];
                    if b.ty(x).dtype == DType::Bool {
                        return false;
                    }
                    let c = b.full_like(x, value);
                    operands[i] = [b.add(x, c), b.mul(x, c), b.sub(x, c)][which];
                    true
                }));
            }
        }
        for via in DType::ALL {
            makes.push(Box::new(move |b, operands| {
                let same = b.ty(operands[i]).dtype;
                let there = b.emit(convert::Convert { dtype: via }.into(), &[operands[i]]);
                operands[i] = b.emit(convert::Convert { dtype: same }.into(), &[there]);
                true
            }));
        }
        makes.push(Box::new(move |b, operands| {
            let types: Vec<Type> = operands.iter().map(|&v| b.ty(v).clone()).collect();
            let legal = s.primitive.infer(&types.iter().collect::<Vec<_>>(), &[]).is_ok_and(|r| r[0] == types[i]);
            if legal {
                operands[i] = b.emit(s.primitive.clone(), &operands.clone());
            }
            legal
        }));
        for j in 0..i {
            makes.push(Box::new(move |b, operands| {
                let equal = b.ty(operands[i]) == b.ty(operands[j]);
                operands[i] = operands[j];
                equal
            }));
        }
    }
    let mut out = Vec::new();
    for make in makes {
        let (mut graph, mut operands) = graph_of(s.operands.iter().map(Literal::ty));
        let mut b = emitter(&mut graph);
        if !make(&mut b, &mut operands) || graph.infer(&s.primitive, &operands, &[]).is_err() {
            continue;
        }
        let result = emitter(&mut graph).emit(s.primitive.clone(), &operands);
        graph.set_outputs(vec![result]);
        out.push((graph, s.operands.clone()));
    }
    out
}

#[test]
fn canonicalisation_keeps_every_bit() {
    let mut failures = Failures::default();
    let mut applied: BTreeMap<&str, usize> = BTreeMap::new();
    for s in samples() {
        for (graph, inputs) in variants(&s) {
            let mut simple = graph.clone();
            let rules = canonicalize(&mut simple);
            if rules.is_empty() {
                continue;
            }
            rules.iter().for_each(|name| *applied.entry(name).or_default() += 1);
            match (evaluate(&graph, &inputs), evaluate(&simple, &inputs)) {
                (Ok(a), Ok(b)) => failures.check(same(&a[0], &b[0]), || {
                    let at = a[0].iter().zip(b[0].iter()).position(|(x, y)| !support::same_scalar(x, y)).unwrap_or(0);
                    let (x, y) = (a[0].get(at), b[0].get(at));
                    format!(
                        "{}, rules {rules:?}: element {at} was {x:?}, became {y:?}\n  {:?}",
                        describe(&s),
                        ops(&graph)
                    )
                }),
                (Err(_), Err(_)) => {}
                (a, b) => failures.add(format!("{}, rules {rules:?}: {a:?} became {b:?}", describe(&s))),
            }
        }
    }
    assert!(applied.len() >= 25, "{applied:?}");
}

fn ops(graph: &Graph) -> Vec<&Primitive> {
    graph.region(graph.root()).ops.iter().map(|&op| &graph.op(op).primitive).collect()
}
