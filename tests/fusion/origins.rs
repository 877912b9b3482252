//! No op loses the line that recorded it, at any stage.

use crate::program;
use ir::Graph;
use passes::{CheckLevel, PassObserver, PassRun, Settings};
use tracewright::jit::Lowered;
use tracewright::{Generator, Tensor, Tree, grad, jit, nn, optim, scope};

/// Every op of every region with its origins, checked.
fn check(graph: &Graph, stage: &str) {
    for region in graph.reachable_regions() {
        for &op in &graph.region(region).ops {
            let data = graph.op(op);
            let name = data.primitive.name();
            assert!(!data.origins.is_empty(), "{stage}: {name} has lost its origin in\n{graph}");
            for &o in &data.origins {
                let location = &graph.origins.get(o).location;
                let known = location.line > 0 && location.file.contains("tests/fusion/");
                assert!(known, "{stage}: {name} says it comes from {location:?}");
            }
        }
    }
}

struct Watch(usize);

impl PassObserver for Watch {
    fn after_pass(&mut self, run: &PassRun, graph: &Graph) -> Result<(), String> {
        check(graph, &format!("after {}", run.name));
        self.0 += 1;
        Ok(())
    }
}

/// Checks the graph as traced and after every pass, each step of the program, and each op line of the dumps.
pub fn assert_origins(lowered: &Lowered) {
    check(lowered.graph(), "as traced");
    let mut watch = Watch(0);
    let settings = Settings { check: CheckLevel::Passes, ..Settings::default() };
    let outcome = passes::optimize(lowered.graph().clone(), &settings, Some(&mut watch)).unwrap();
    assert_eq!(watch.0, outcome.runs.len());
    for step in &program(lowered).steps {
        assert!(!step.origins.is_empty(), "the step {} has lost its origin", step.name);
    }
    for stage in lowered.stages().iter().filter(|s| s.name.ends_with(".ir")) {
        for line in stage.text.lines() {
            let is_op = line.contains(" = ") && !line.ends_with('{') || line.trim_start().starts_with("} ");
            assert!(!is_op || line.contains("  // "), "{}: {line}", stage.name);
        }
    }
}

#[derive(Tree, Clone)]
struct Network {
    first: nn::Linear,
    norm: nn::LayerNorm,
    out: nn::Linear,
}

fn network(m: &Network, x: &Tensor) -> Tensor {
    let h = scope("hidden", || m.norm.forward(&m.first.forward(x)).gelu());
    scope("head", || m.out.forward(&h))
}

fn training_step() -> Lowered {
    let g = Generator::new(1);
    let model =
        Network { first: nn::Linear::new(8, 16, &g), norm: nn::LayerNorm::new(16), out: nn::Linear::new(16, 4, &g) };
    let optimizer = optim::AdamW::new(&model, 1e-3);
    let step = jit(|(model, optimizer): (Network, optim::AdamW), x: Tensor, y: Tensor| {
        let loss = |m: &Network| nn::cross_entropy(&network(m, &x), &y);
        let (loss, gradients) = grad::value_and_grad(loss)(&model);
        let (gradients, _) = optim::clip_grad_norm(gradients, 1.0);
        (optimizer.update(model, gradients), loss)
    });
    let state = (model, optimizer);
    step.lower_mut(&state, g.normal([32, 8], 0.0, 1.0), Tensor::from(vec![1i64; 32])).unwrap()
}

#[test]
fn a_whole_training_step() {
    assert_origins(&training_step());
}

/// A gradient names the op that it differentiates, with its scope, and says that it is a gradient; what the forward
/// pass and the optimiser compute does not.
#[test]
fn gradients_say_so() {
    let lowered = training_step();
    let steps = &program(&lowered).steps;
    let origins = || steps.iter().flat_map(|s| &s.origins);
    for scope in ["hidden.linear", "hidden.layer_norm", "hidden.gelu", "head.linear", "cross_entropy"] {
        let of = |gradient: bool| origins().any(|o| o.gradient == gradient && o.scope.starts_with(scope));
        assert!(of(true), "no gradient of {scope}");
        assert!(of(false), "nothing forward of {scope}");
    }
    for o in origins().filter(|o| o.scope.starts_with("adamw") || o.scope.starts_with("clip_grad_norm")) {
        assert!(!o.gradient, "{o} is no gradient");
    }
    let text = lowered.stage("program.txt").unwrap();
    assert!(text.contains("gradient of tests/fusion/origins.rs:"), "{text}");
}
