//! Faults planted in the compiler, and the check that finds each: a wrong fusion, a lost mask, a bad reuse of a buffer, a
//! wrong derivative, a stale cache entry.
//!
//! The faults are planted from outside, as passes, kernels, programs, gradients and trees that are wrong; the compiler
//! itself knows nothing of them.

#[path = "../ir/tests/support/mod.rs"]
mod support;

use ir::kernel::{Expr, Memory, Stmt};
use ir::ops::binary::Add;
use ir::program::{Program, Storage};
use ir::verify::Stage;
use ir::{Graph, Literal, Primitive};
use passes::autodiff::append_vjp;
use passes::driver::run;
use passes::fuse::Fuse;
use passes::{CheckLevel, Pass, PassContext, PassError, Settings};
use runtime::executable::Comparison;
use runtime::program_interpreter::{self, RunOptions};
use support::gradients::{self, Differentiated};
use tracewright::{Code, Tensor, Tree, jit};

fn read(text: &str) -> Graph {
    ir::text::parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// The program of a graph, by the usual pipeline.
fn lower(graph: &Graph) -> Program {
    let outcome = passes::optimize(graph.clone(), &Settings::default(), None).unwrap();
    passes::lower::lower(&outcome.graph, &[]).unwrap()
}

fn numbers(dims: &[usize]) -> Literal {
    Literal::from_vec(dims, (0..dims.iter().product()).map(|i| i as f32 + 1.0).collect())
}

// ---- a wrong fusion ----

/// Fuses as usual, and then makes one op of a group read another member than it should.
struct FuseWrongly;

impl Pass for FuseWrongly {
    fn name(&self) -> &'static str {
        "fuse"
    }
    fn about(&self) -> &'static str {
        "a fault"
    }
    fn run(&self, graph: &mut Graph, cx: &mut PassContext) -> Result<bool, PassError> {
        let changed = Fuse.run(graph, cx)?;
        let regions = graph.reachable_regions();
        let ops = regions.into_iter().flat_map(|r| graph.region(r).ops.clone());
        let op = ops.into_iter().find(|&op| graph.op(op).primitive.name() == "sub").expect("a difference");
        graph.op_mut(op).operands.swap(0, 1);
        Ok(changed)
    }
}

const CENTRED: &str = "graph @centred(%0: f32[4, 3]) -> (f32[4, 3]) {
  %1: f32[4] = reduce_max %0 {axes = [1]}
  %2: f32[4, 3] = broadcast_in_dim %1 {shape = [4, 3], dims = [0]}
  %3: f32[4, 3] = sub %0, %2
  %4: f32[4, 3] = exp %3
  return %4
}";

fn fuse_with(pass: Box<dyn Pass>, check: CheckLevel) -> Result<Graph, String> {
    let graph = read(CENTRED);
    let mut comparison = Comparison::new(&graph, false).expect("a small graph");
    let settings = Settings { check, ..Settings::default() };
    let outcome = run(graph, &[pass], &settings, (check == CheckLevel::Compare).then_some(&mut comparison as _));
    Ok(outcome.map_err(|e| e.to_string())?.graph)
}

#[test]
fn a_wrong_fusion_is_found_by_interpreting_after_the_pass() {
    assert!(fuse_with(Box::new(Fuse), CheckLevel::Compare).is_ok());
    // It is a well-formed graph that computes something else, so the verifier has nothing to say.
    let wrong = fuse_with(Box::new(FuseWrongly), CheckLevel::Passes).unwrap();
    assert_eq!(ir::verify::verify(&wrong, Stage::Fused), Ok(()));
    assert_eq!(
        fuse_with(Box::new(FuseWrongly), CheckLevel::Compare).unwrap_err(),
        "bug in tracewright: pass 1, `fuse`, changed output 0, element 1: 0.34993777 became 2.857651 \
         (TRACEWRIGHT_CHECK=3)"
    );
}

// ---- a lost mask ----

fn without_masks(program: &mut Program) -> usize {
    fn visit(block: &mut ir::kernel::Block, lost: &mut usize) {
        for stmt in &mut block.0 {
            match stmt {
                Stmt::Let { expr: Expr::Load { memory: Memory::Param(_), mask, .. }, .. } => {
                    *lost += usize::from(mask.take().is_some());
                }
                Stmt::Loop(l) => visit(&mut l.body, lost),
                _ => {}
            }
        }
    }
    let mut lost = 0;
    let nests = program.kernels.iter_mut().flat_map(|k| &mut k.nests);
    nests.for_each(|n| visit(&mut n.body, &mut lost));
    lost
}

#[test]
fn a_lost_mask_is_found_by_interpreting_the_kernel() {
    let graph = read(
        "graph @padded(%0: f32[3]) -> (f32[5]) {
           %1: f32[5] = pad %0 {value = 0.0:f32, low = [1], high = [1], interior = [0]}
           %2: f32[5] = exp %1
           return %2
         }",
    );
    let mut program = lower(&graph);
    let comparison = Comparison::new(&graph, false).unwrap();
    assert_eq!(comparison.check_program(&program), Ok(()));
    assert_eq!(without_masks(&mut program), 1);
    // Neither verifier looks at what indices are.
    assert!(program.kernels.iter().all(|k| ir::kernel::verify::verify(k).is_ok()));
    assert_eq!(ir::program::verify::verify(&program), Ok(()));
    let found = comparison.check_program(&program).unwrap_err();
    let expected = "bug in tracewright: the program cannot be run (TRACEWRIGHT_CHECK=3): step 0 (exp) runs a faulty \
                    kernel: element -1 of %p0 is out of range, there are 3, in `%7: f32 = load %p0[%i1 - 1]` (nest 0, \
                    task 0)";
    assert_eq!(found, expected);
}

// ---- a bad reuse of a buffer ----

#[test]
fn a_bad_reuse_of_a_buffer_is_found_by_the_verifier_of_programs() {
    // The second product is computed while the first still waits for its use.
    let graph = read(
        "graph @products(%0: f32[4, 4], %1: f32[4, 4]) -> (f32[4, 4]) {
           %2: f32[4, 4] = dot_general %0, %1 {lhs_batch = [], rhs_batch = [], lhs_contract = [1], rhs_contract = [0]}
           %3: f32[4, 4] = dot_general %1, %0 {lhs_batch = [], rhs_batch = [], lhs_contract = [1], rhs_contract = [0]}
           %4: f32[4, 4] = sub %2, %3
           return %4
         }",
    );
    let mut program = lower(&graph);
    assert_eq!(ir::program::verify::verify(&program), Ok(()));
    let temporaries: Vec<usize> =
        (0..program.buffers.len()).filter(|&b| matches!(program.buffers[b].storage, Storage::Slot(_))).collect();
    let [first, second] = temporaries[..] else { panic!("{:?}", program.buffers) };
    program.buffers[second].storage = program.buffers[first].storage.clone();

    let broken = ir::program::verify::verify(&program).unwrap_err();
    let found: Vec<String> = broken.iter().map(ToString::to_string).collect();
    let expected = "invariant 5: step 1 (dot_general) writes b3 over b2 in slot 0, which is needed until step 2 (sub)";
    assert_eq!(found, [expected]);
    // And if nobody asked the verifier:
    let ran = program_interpreter::run(&program, &[numbers(&[4, 4]), numbers(&[4, 4])], &RunOptions::default());
    assert_eq!(ran.unwrap_err().to_string(), "step 2 (sub) reads b2, which b3 has overwritten");
    let compared = Comparison::new(&graph, false).unwrap().check_program(&program).unwrap_err();
    assert!(compared.ends_with("step 2 (sub) reads b2, which b3 has overwritten"), "{compared}");
}

// ---- a wrong derivative ----

/// `tanh(x)` summed, with its gradient by the usual rules.
fn differentiated() -> (Graph, Differentiated) {
    let forward = read(
        "graph @tanh(%0: f64[3]) -> (f64[]) {
           %1: f64[3] = tanh %0
           %2: f64[] = reduce_sum %1 {axes = [0]}
           return %2
         }",
    );
    let mut graph = forward.clone();
    let (x, y) = (graph.inputs()[0], graph.outputs()[0]);
    let cotangent = graph.add_input(graph.ty(y).clone());
    let gradient = append_vjp(&mut graph, &[(y, cotangent)], &[x]).values[0].expect("a gradient");
    graph.set_outputs(vec![y, gradient]);
    (forward, Differentiated { graph, by: vec![0] })
}

#[test]
fn a_wrong_derivative_is_found_by_finite_differences() {
    let (forward, mut derived) = differentiated();
    let x = Literal::from_vec(&[3], vec![-0.5f64, 0.25, 1.0]);
    let right = gradients::compare(&forward, &derived, std::slice::from_ref(&x));
    assert!(right.wrong.is_empty() && right.checked == 3, "{right:?}");

    // 1 - tanh(x)^2 becomes 1 + tanh(x)^2.
    let ops = derived.graph.region(derived.graph.root()).ops.clone();
    let op = ops.into_iter().find(|&op| derived.graph.op(op).primitive.name() == "sub").unwrap();
    derived.graph.op_mut(op).primitive = Primitive::from(Add {});
    assert_eq!(ir::verify::verify(&derived.graph, Stage::Traced), Ok(()));
    let wrong = gradients::compare(&forward, &derived, &[x]);
    assert_eq!(wrong.wrong.len(), 3, "{wrong:?}");
    let first = &wrong.wrong[0];
    assert!(first.starts_with("by operand 0 at element 0 = -0.5: rule "), "{first}");
}

// ---- a stale cache entry ----

/// A tree that keeps a number from the key: what is compiled for one rate is found for every other.
struct Scaled {
    weight: Tensor,
    rate: f32,
}

impl Tree for Scaled {
    fn visit(&self, v: &mut dyn tracewright::tree::Visit) {
        v.enter(tracewright::tree::Step::Field("weight"));
        self.weight.visit(v);
        v.exit();
    }
    fn visit_mut(&mut self, f: &mut dyn FnMut(&mut Tensor)) {
        self.weight.visit_mut(f);
    }
    fn map(&self, f: &mut dyn FnMut(&Tensor) -> Tensor) -> Scaled {
        Scaled { weight: f(&self.weight), rate: self.rate }
    }
}

#[test]
fn a_stale_cache_entry_is_found_by_tracing_again() {
    let scaled = |rate| Scaled { weight: Tensor::from([1.0f32, 2.0]), rate };
    let scale = |s: Scaled| &s.weight * s.rate;
    let unchecked = jit(scale);
    assert_eq!(unchecked.call(scaled(2.0)).unwrap().to_vec::<f32>().unwrap(), [2.0, 4.0]);
    // The fault: this is what was compiled for the other rate.
    assert_eq!(unchecked.call(scaled(3.0)).unwrap().to_vec::<f32>().unwrap(), [2.0, 4.0]);

    let checked = jit(scale).check();
    checked.call(scaled(2.0)).unwrap();
    checked.call(scaled(2.0)).unwrap();
    let error = checked.call(scaled(3.0)).unwrap_err();
    assert_eq!(error.code(), Code::HostConstant);
    let message = error.to_string();
    assert!(message.contains("two traces of the same arguments differ"), "{message}");
    assert!(
        message.contains("full {value = 2.0:f32, shape = [2]} became full {value = 3.0:f32, shape = [2]}"),
        "{message}"
    );
    assert_eq!((checked.stats().traces, checked.stats().hits), (1, 2));
}
