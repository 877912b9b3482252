//! Compiled graphs against the interpreter.

#[path = "../../tests/target/mod.rs"]
mod target;

use ir::ops::{GraphEmitter, create, index, reduce, region, unary, view};
use ir::{DType, Data, Dim, Emit, EmitExt, Graph, Literal, Location, Origin, Scalar, Shape, Type, Value};
use runtime::events::{Counters, Event, capture};
use runtime::options::with_options;
use runtime::{ExecError, Executable, Input};
use smallvec::SmallVec;

fn build(inputs: &[Type], f: impl FnOnce(&mut GraphEmitter<'_>, &[Value]) -> Vec<Value>) -> Graph {
    let mut graph = Graph::new("test");
    let values: Vec<Value> = inputs.iter().map(|t| graph.add_input(t.clone())).collect();
    let origin = graph.origins.intern(Origin { location: Location::caller(), scope: "".into(), gradient: false });
    let region = graph.root();
    let mut b = GraphEmitter { graph: &mut graph, region, origins: SmallVec::from_iter([origin]) };
    let outputs = f(&mut b, &values);
    graph.set_outputs(outputs);
    graph
}

fn sample(ty: &Type, seed: u64) -> Literal {
    let dims = ty.shape.known().unwrap();
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    Literal::from_fn(&dims, ty.dtype, |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Scalar::of(ty.dtype, (state % 2000) as f64 / 500.0 - 2.0)
    })
}

fn compare(graph: &Graph, inputs: &[Literal]) -> Executable {
    let exe = Executable::compile(graph, &[]).unwrap();
    assert!(exe.is_compiled(), "{:?}", exe.artifacts().fallback);
    let want = runtime::interpreter::interpret(graph, inputs).unwrap();
    let mut args: Vec<Input> = inputs.iter().map(|l| Input::Shared(target::array(l))).collect();
    let got = exe.call(&mut args).unwrap();
    for (i, (w, g)) in want.iter().zip(&got).enumerate() {
        let g = g.to_literal().unwrap();
        assert_eq!((w.dims(), w.dtype()), (g.dims(), g.dtype()), "output {i}");
        for at in 0..w.numel() {
            let (a, b) = (w.get(at).as_f64(), g.get(at).as_f64());
            let close = (a.is_nan() && b.is_nan()) || a == b || (a - b).abs() <= 1e-5 * a.abs().max(1.0);
            assert!(close, "output {i} element {at}: interpreter {a}, compiled {b}\n{:#?}", exe.program());
        }
    }
    exe
}

fn f32s<const N: usize>(dims: [i64; N]) -> Type {
    Type::new(DType::F32, dims.map(Dim::from))
}

fn softmax(b: &mut GraphEmitter<'_>, x: Value) -> Value {
    let shape = b.ty(x).shape.clone();
    let axis = shape.rank() - 1;
    let m = b.emit(reduce::ReduceMax { axes: [axis].as_slice().into(), nonempty: false }.into(), &[x]);
    let m = b.broadcast_reduced(m, &shape, &[axis]);
    let d = b.sub(x, m);
    let e = b.exp(d);
    let s = b.reduce_sum(e, &[axis]);
    let s = b.broadcast_reduced(s, &shape, &[axis]);
    b.div(e, s)
}

#[test]
fn softmax_is_one_kernel() {
    for dims in [[4, 10], [3, 1000], [1, 33], [0, 5], [64, 1]] {
        let t = f32s(dims);
        let g = build(std::slice::from_ref(&t), |b, v| vec![softmax(b, v[0])]);
        let exe = compare(&g, &[sample(&t, 1)]);
        assert_eq!(exe.program().unwrap().steps.len(), 1);
    }
}

#[test]
fn column_sums_and_views() {
    for dims in [[7, 5], [128, 512], [3, 200]] {
        let t = f32s(dims);
        let g = build(std::slice::from_ref(&t), |b, v| {
            let s = b.reduce_sum(v[0], &[0]);
            let y = b.transpose(v[0], &[1, 0]);
            let z = b.mul(y, y);
            let r = b.emit(view::Reverse { axes: [0usize].as_slice().into() }.into(), &[z]);
            let total = b.reduce_sum(v[0], &[0, 1]);
            vec![s, z, r, total]
        });
        compare(&g, &[sample(&t, 2)]);
    }
}

#[test]
fn products_and_bias() {
    let (x, w, c) = (f32s([9, 20]), f32s([20, 33]), f32s([33]));
    let g = build(&[x.clone(), w.clone(), c.clone()], |b, v| {
        let dot = ir::ops::contract::DotGeneral {
            lhs_batch: [].as_slice().into(),
            rhs_batch: [].as_slice().into(),
            lhs_contract: [1usize].as_slice().into(),
            rhs_contract: [0usize].as_slice().into(),
        };
        let y = b.emit(dot.into(), &[v[0], v[1]]);
        let shape = b.ty(y).shape.clone();
        let bias = b.broadcast_in_dim(v[2], &shape, &[1]);
        let y = b.add(y, bias);
        let z = b.emit(unary::Tanh {}.into(), &[y]);
        let flat = b.reshape(z, &Shape::from([9 * 33]));
        vec![z, flat]
    });
    compare(&g, &[sample(&x, 3), sample(&w, 4), sample(&c, 5)]);
}

#[test]
fn gather_scatter_and_errors() {
    let x = f32s([10, 6]);
    let i = Type::new(DType::I64, [4]);
    let g = build(&[x.clone(), i.clone()], |b, v| {
        let y = b.emit(index::Gather { axis: 0, batch: 0, mode: index::IndexMode::Error }.into(), &[v[0], v[1]]);
        let y = b.scale(y, 2.0);
        let z = b.emit(
            index::Scatter { axis: 0, batch: 0, mode: index::IndexMode::Error, combine: index::Update::Add }.into(),
            &[v[0], v[1], y],
        );
        vec![y, z]
    });
    let idx = Literal::new(&[4], Data::I64(vec![3, 3, 0, 9]));
    let exe = compare(&g, &[sample(&x, 6), idx]);
    let bad = Literal::new(&[4], Data::I64(vec![3, 10, 0, -1]));
    let mut args = [sample(&x, 6), bad.clone()].map(|l| Input::Shared(target::array(&l)));
    let compiled = exe.call(&mut args).unwrap_err();
    let interpreted = runtime::interpreter::interpret(&g, &[sample(&x, 6), bad]).unwrap_err();
    assert_eq!(compiled, interpreted);
}

#[test]
fn symbolic_batch() {
    let t = Type::new(DType::F32, [Dim::symbol("B"), Dim::from(12)]);
    let g = build(&[t], |b, v| {
        let y = softmax(b, v[0]);
        let n = b.dim_value(&Dim::symbol("B"));
        let n = b.convert(n, DType::F32);
        let s = b.reduce_sum(y, &[0]);
        let shape = b.ty(s).shape.clone();
        let n = b.broadcast_in_dim(n, &shape, &[]);
        let mean = b.div(s, n);
        let i = b.emit(create::Iota { dtype: DType::F32, shape: b.ty(v[0]).shape.clone(), axis: 0 }.into(), &[]);
        let z = b.add(i, y);
        vec![mean, z]
    });
    for n in [1, 2, 7, 64, 3000] {
        compare(&g, &[sample(&f32s([n, 12]), n as u64)]);
    }
}

#[test]
fn sums_of_what_the_loop_does_not_change() {
    let x = f32s([3]);
    let g = build(std::slice::from_ref(&x), |b, v| {
        let y = b.broadcast_in_dim(v[0], &Shape::from([4, 3]), &[1]);
        let rows = b.broadcast_in_dim(v[0], &Shape::from([3, 5]), &[0]);
        vec![b.reduce_sum(y, &[0]), b.reduce_sum(rows, &[1]), b.reduce_sum(y, &[0, 1])]
    });
    compare(&g, &[sample(&x, 6)]);
}

#[test]
fn a_step_without_a_kernel_is_interpreted_alone() {
    // Sums of neighbours, 19 times over, in a group of its own: written out, each element is half a million additions.
    const WIDTH: i64 = 1 << 19;
    let x = Type::new(DType::F32, [Dim::symbol("B"), Dim::from(WIDTH)]);
    let i = Type::new(DType::I64, [2]);
    let mut g = build(&[x, i], |b, v| {
        let op = index::Gather { axis: 0, batch: 0, mode: index::IndexMode::Error };
        let picked = b.emit(op.into(), &[v[0], v[1]]);
        vec![b.scale(v[0], 0.25), picked]
    });
    let &[quarter, picked] = g.outputs() else { unreachable!("two outputs") };
    let region = g.add_region();
    let mut y = g.add_param(region, g.ty(quarter).clone());
    let origins = g.op(g.defining_op(quarter).unwrap().0).origins.clone();
    let mut b = GraphEmitter { graph: &mut g, region, origins: origins.clone() };
    for level in 0..19 {
        let limits = Shape::from([Dim::symbol("B"), Dim::from(WIDTH >> level)]);
        let [even, odd] = [0, 1].map(|from| {
            let strides = [1, 2].into_iter().collect();
            b.emit(view::Slice { starts: Shape::from([0, from]), limits: limits.clone(), strides }.into(), &[y])
        });
        y = b.add(even, odd);
    }
    g.region_mut(region).yields = vec![y];
    let root = g.root();
    let fused = region::Fused { kind: region::FusionKind::Loop };
    let op = g.append(root, fused.into(), &[quarter], &[region], &origins).unwrap();
    g.set_outputs(vec![picked, g.op(op).results[0]]);

    let (exe, events) = runtime::events::capture(|| Executable::compile(&g, &[]).unwrap());
    let fallbacks: Vec<_> = events.iter().filter(|e| e.event == Event::Fallback).map(|e| e.reason.clone()).collect();
    let [reason] = fallbacks.as_slice() else { panic!("{fallbacks:?}") };
    assert!(reason.starts_with("test: step add (runtime/tests/executable.rs:"), "{reason}");
    assert!(
        reason.ends_with("is interpreted: too large: a fused group expands to more than 400,000 scalar operations")
    );
    assert!(!exe.is_compiled() && exe.program().is_some(), "only the one step is interpreted");
    for (n, index) in [(2, 1), (2, 2), (3, -1), (3, 0)] {
        let indices = Literal::new(&[2], Data::I64(vec![1, index]));
        let inputs = [sample(&f32s([n, WIDTH]), 1), indices];
        let want = runtime::interpreter::interpret(&g, &inputs);
        let before = Counters::thread();
        let got = exe.call(&mut inputs.map(|l| Input::Shared(target::array(&l))));
        let steps = Counters::thread().since(&before)[Event::InterpretedStep];
        match (want, got) {
            (Ok(want), Ok(got)) => {
                assert_eq!(steps, 1);
                assert!(want.iter().zip(&got).all(|(want, got)| *want == got.to_literal().unwrap()));
            }
            (want, got) => assert_eq!(want.err(), got.err()),
        }
    }
}

fn parsed(text: &str) -> Graph {
    ir::text::parse(text).unwrap_or_else(|e| panic!("{e}"))
}

/// Five matrices of 2^62 bytes at once.
#[test]
fn a_plan_that_no_memory_holds_is_the_callers_error() {
    let mut text = String::from("graph @huge(%0: f32[1073741824, 2], %1: f32[2, 1073741824]) -> (f32[]) {\n");
    for i in 0..5 {
        text += &format!("%{}: f32[] = full {{value = {i}.5:f32, shape = []}}\n", 10 * i + 2);
        text += &format!(
            "%{}: f32[1073741824, 2] = broadcast_in_dim %{} {{shape = [1073741824, 2], dims = []}}\n",
            10 * i + 3,
            10 * i + 2
        );
        text += &format!("%{}: f32[1073741824, 2] = mul %0, %{}\n", 10 * i + 4, 10 * i + 3);
        text += &format!(
            "%{}: f32[1073741824, 1073741824] = dot_general %{}, %1 \
             {{lhs_batch = [], rhs_batch = [], lhs_contract = [1], rhs_contract = [0]}}\n",
            10 * i + 5,
            10 * i + 4
        );
    }
    text += "%60: f32[1073741824, 1073741824] = add %5, %15\n";
    text += "%61: f32[1073741824, 1073741824] = add %60, %25\n";
    text += "%62: f32[1073741824, 1073741824] = add %61, %35\n";
    text += "%63: f32[1073741824, 1073741824] = add %62, %45\n";
    text += "%64: f32[] = reduce_sum %63 {axes = [0, 1]}\nreturn %64\n}";
    let graph = parsed(&text);
    let (outcome, counts) = Counters::of(|| Executable::compile(&graph, &[]).map(drop));
    assert!(matches!(&outcome, Err(ExecError::Memory(m)) if m.message.contains("address space")), "{outcome:?}");
    assert_eq!((counts[Event::Bug], counts[Event::Fallback]), (0, 0));
}

#[test]
fn a_graph_that_is_interpreted_as_a_whole_counts_at_every_call() {
    let mut graph = parsed("graph @g(%0: f32[2]) -> (f32[2]) {\n%1: f32[2] = neg %0\nreturn %1\n}");
    let input = target::array(&sample(&f32s([2]), 1));
    let steps = |exe: &Executable| {
        let call = || exe.call(&mut [Input::Shared(input.clone())]).map(drop).unwrap();
        Counters::of(|| (0..3).for_each(|_| call())).1[Event::InterpretedStep]
    };
    let off = target::interpreted();
    let wanted = with_options(off, || Executable::compile(&graph, &[])).unwrap();
    assert_eq!(steps(&wanted), 0);
    // An op without an origin is a bug of whoever made the graph, which the verifier finds.
    let op = graph.region(graph.root()).ops[0];
    graph.op_mut(op).origins.clear();
    let (exe, records) = capture(|| Executable::compile(&graph, &[(0, 0)]).unwrap());
    assert_eq!(steps(&exe), 3);
    let events: Vec<Event> = records.iter().map(|r| r.event).collect();
    assert_eq!(events, [Event::Bug, Event::Fallback]);
    let (_, file) = records[0].reason.split_once("; reproducer: ").unwrap();
    let reproducer = std::fs::read_to_string(file).unwrap();
    std::fs::remove_file(file).unwrap();
    assert!(reproducer.contains("// donations, input to output: 0 to 0\n"), "{reproducer}");
}

#[test]
fn a_donation_that_is_of_no_use_is_an_event_with_a_reason() {
    let graph = parsed(
        "graph @g(%0: f32[2, 2], %1: f32[2]) -> (f32[2, 2], f32[2], f32[2]) {
           %2: f32[2, 2] = transpose %0 {permutation = [1, 0]}
           %3: f32[2, 2] = neg %2
           %4: f32[2] = neg %1
           return %3, %4, %1
         }",
    );
    let (exe, records) = capture(|| Executable::compile(&graph, &[(0, 0), (1, 1), (1, 9)]).unwrap());
    assert_eq!(exe.program().unwrap().not_taken.len(), 3);
    let refused: Vec<String> =
        records.into_iter().filter(|r| r.event == Event::DonationRefused).map(|r| r.reason).collect();
    let want = [
        "g: input 0: the step that writes the output reads other elements of the input",
        "g: input 1: the input is an output too",
        "g: input 1: there is no such output",
    ];
    assert_eq!(refused, want);
}

/// Compiled, interpreted and looked at on the way.
#[test]
fn every_execution_matches_arguments_alike() {
    use runtime::program_interpreter::{ProgramError, RunOptions, run};
    let b = Dim::symbol("B");
    let types = [Type::new(DType::F32, [b.clone()]), Type::new(DType::F32, [b.clone() * 2])];
    let mut graph = build(&types, |e, v| vec![e.exp(v[0]), e.neg(v[1])]);
    let symbol = ir::Symbol::new("B");
    graph.symbols.push(ir::graph::SymbolDecl { symbol, min: 2, max: 4 });
    let executable = Executable::compile(&graph, &[]).unwrap();
    let program = executable.program().unwrap();
    let zeros = |dims: &[usize]| Literal::filled(dims, Scalar::F32(0.0));
    let cases = [
        (vec![zeros(&[3])], "1 inputs given, the graph takes 2"),
        (vec![zeros(&[3]), zeros(&[6, 1])], "input 1 has type f32[6, 1], the graph takes f32[2*B]"),
        (vec![zeros(&[3]), zeros(&[5])], "input 1 has extent 5 on axis 0, the graph takes 2*B"),
        (vec![zeros(&[5]), zeros(&[10])], "B is 5, outside its bounds 2..=4"),
        (vec![zeros(&[1]), zeros(&[2])], "B is 1, outside its bounds 2..=4"),
    ];
    for (inputs, message) in cases {
        let want = ExecError::Argument(message.into());
        let mut arguments: Vec<Input> = inputs.iter().map(|l| Input::Shared(target::array(l))).collect();
        assert_eq!(executable.call(&mut arguments).unwrap_err(), want);
        assert_eq!(runtime::interpreter::interpret(&graph, &inputs).unwrap_err(), want);
        assert_eq!(runtime::interpreter::interpret_observed(&graph, &inputs, &mut |_, _| {}).unwrap_err(), want);
        assert_eq!(runtime::bounds::analyse(&graph, &inputs, false).unwrap_err(), want);
        let run = run(program, &inputs, &RunOptions::default());
        assert!(matches!(run, Err(ProgramError::Call(e)) if e == want), "{message}");
    }
    assert_eq!(runtime::interpreter::interpret(&graph, &[zeros(&[2]), zeros(&[4])]).unwrap().len(), 2);
}
