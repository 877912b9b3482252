//! Runs a pipeline: times, verifies, checks what passes claim, skips what the [`PassSpec`] says, and turns a panic in
//! a pass into an error that names it.

use crate::pass::{Note, Pass, PassContext, PassError, PassOptions};
use crate::spec::{PassSpec, Skip};
use ir::Graph;
use ir::verify::Stage;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// How much is verified.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum CheckLevel {
    /// Nothing.
    Off,
    /// The graph before the first and after the last pass.
    #[default]
    Boundaries,
    /// Also after each pass that changed something, with the guarantees of all passes so far.
    Passes,
    /// Also whatever the observer checks: the runtime interprets the graph and compares.
    Compare,
}

/// How a pipeline runs.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Which passes run.
    pub spec: PassSpec,
    /// How much is verified.
    pub check: CheckLevel,
    /// Options of the passes.
    pub options: PassOptions,
}

/// One pass of a pipeline, as it went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PassRun {
    /// Name.
    pub name: &'static str,
    /// Position in the pipeline, from 1.
    pub number: usize,
    /// Which of the passes of that name, from 1.
    pub occurrence: usize,
    /// Whether it changed the graph.
    pub changed: bool,
    /// False if the pass may change how floats round.
    pub exact: bool,
    /// Time it took, without checks.
    pub elapsed: Duration,
    /// Why it did not run, if it did not.
    pub skipped: Option<Skip>,
}

/// Looks on while a pipeline runs: dumps, logs, comparison with the interpreter.
pub trait PassObserver {
    /// The graph before the first pass. An error stops the pipeline.
    fn before(&mut self, _graph: &Graph) -> Result<(), String> {
        Ok(())
    }
    /// The graph after a pass, skipped ones included. An error stops the pipeline and blames the pass.
    fn after_pass(&mut self, run: &PassRun, graph: &Graph) -> Result<(), String>;
}

/// What a pipeline yields.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The graph, densely numbered.
    pub graph: Graph,
    /// Every pass, in order.
    pub runs: Vec<PassRun>,
    /// What passes noted.
    pub notes: Vec<Note>,
}

/// Runs a pipeline on a graph.
pub fn run(
    mut graph: Graph,
    pipeline: &[Box<dyn Pass>],
    settings: &Settings,
    mut observer: Option<&mut dyn PassObserver>,
) -> Result<Outcome, PassError> {
    let mut cx = PassContext::new(settings.options);
    if settings.check >= CheckLevel::Boundaries {
        verify(&graph).map_err(PassError::Input)?;
    }
    if let Some(o) = observer.as_mut() {
        o.before(&graph).map_err(PassError::Input)?;
    }
    let signature = (graph.input_types(), graph.output_types());
    let mut runs: Vec<PassRun> = Vec::with_capacity(pipeline.len());
    let mut occurrences: HashMap<&str, usize> = HashMap::new();
    for (i, pass) in pipeline.iter().enumerate() {
        let occurrence = occurrences.entry(pass.name()).or_default();
        *occurrence += 1;
        (cx.pass, cx.number) = (pass.name(), i + 1);
        let mut run = PassRun {
            name: pass.name(),
            number: i + 1,
            occurrence: *occurrence,
            changed: false,
            exact: pass.is_exact(),
            elapsed: Duration::ZERO,
            skipped: settings.spec.refusal(&**pass, i + 1, *occurrence),
        };
        if run.skipped.is_none() {
            step(&mut graph, &**pass, &mut cx, &mut run)?;
            let passed = pipeline[..=i].iter().zip(runs.iter().chain([&run]));
            let passed = passed.filter(|(_, r)| r.skipped.is_none()).map(|(p, _)| &**p);
            if settings.check >= CheckLevel::Passes && run.changed {
                check(&graph, &signature, passed, &cx)?;
            }
        }
        if let Some(o) = observer.as_mut() {
            o.after_pass(&run, &graph).map_err(|what| cx.bug(what))?;
        }
        runs.push(run);
    }
    if settings.check == CheckLevel::Boundaries {
        let passed = pipeline.iter().zip(&runs).filter(|(_, r)| r.skipped.is_none()).map(|(p, _)| &**p);
        check(&graph, &signature, passed, &cx)?;
    }
    graph.compact();
    Ok(Outcome { graph, runs, notes: cx.notes })
}

fn step(graph: &mut Graph, pass: &dyn Pass, cx: &mut PassContext, run: &mut PassRun) -> Result<(), PassError> {
    let before = cfg!(debug_assertions).then(|| graph.structural_hash());
    let start = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| pass.run(graph, cx)));
    run.elapsed = start.elapsed();
    run.changed = outcome.map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|s| s.to_string());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        cx.bug(format!("panicked: {}", text.as_deref().unwrap_or("no message")))
    })??;
    if !run.changed && before.is_some_and(|hash| hash != graph.structural_hash()) {
        return Err(cx.bug("says that it changed nothing, but did"));
    }
    Ok(())
}

type Signature = (Vec<ir::Type>, Vec<ir::Type>);

fn check<'a>(
    graph: &Graph,
    signature: &Signature,
    passed: impl Iterator<Item = &'a dyn Pass>,
    cx: &PassContext,
) -> Result<(), PassError> {
    verify(graph).map_err(|e| cx.bug(format!("left an ill-formed graph: {e}")))?;
    if (&graph.input_types(), &graph.output_types()) != (&signature.0, &signature.1) {
        return Err(cx.bug("changed the types of inputs or outputs"));
    }
    for pass in passed {
        pass.guarantee(graph).map_err(|e| cx.bug(format!("broke what `{}` guarantees: {e}", pass.name())))?;
    }
    Ok(())
}

fn verify(graph: &Graph) -> Result<(), String> {
    ir::verify::verify(graph, Stage::Traced)
        .map_err(|broken| broken.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}
