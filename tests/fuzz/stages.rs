//! Takes a case through every stage of the compiler and compares after each.

use crate::case::{self, Case};
use crate::{batching, bounds, derivatives};
use ir::kernel::interp::Order;
use ir::ops::index::IndexMode;
use ir::program::{Program, Step, StepKind};
use ir::verify::Stage;
use ir::{EvalError, Graph, Literal, Lowering, Primitive, Scalar};
use passes::{CheckLevel, Grain, PassObserver, PassOptions, PassRun, PassSpec, Settings};
use runtime::bounds::{Bounded, analyse};
use runtime::events::{Counters, Event};
use runtime::executable::Executable;
use runtime::interpreter::interpret;
use runtime::options::{self, Options, with_options};
use runtime::program_interpreter::{self, ProgramError, RunOptions};
use runtime::{Array, Device, ExecError, Input, pool};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

/// Where a case went wrong, and how.
#[derive(Clone, Debug)]
pub struct Failure {
    pub stage: String,
    pub message: String,
}

/// What was seen on the way.
#[derive(Default)]
pub struct Facts {
    /// Ops of the graph as drawn, each with the dtypes it computed with.
    pub drawn: BTreeSet<(&'static str, &'static str)>,
    /// Ops of the graph that was compiled.
    pub survived: BTreeSet<&'static str>,
    /// Elements of outputs that were compared, and those of which nothing is known.
    pub compared: usize,
    pub unknown: usize,
    /// Calls that ended in an index error.
    pub errors: usize,
    pub kernels: usize,
    /// Launches that are large enough to run on several threads.
    pub parallel: usize,
    /// Calls with donated inputs.
    pub donated: usize,
    /// Cases whose derivatives were compared.
    pub derivatives: usize,
    /// Cases that were batched, and those of them that went through every stage.
    pub batched: [usize; 2],
    /// Calls whose extents an op does not allow.
    pub refused: usize,
}

impl Facts {
    pub fn add(&mut self, other: Facts) {
        self.drawn.extend(other.drawn);
        self.survived.extend(other.survived);
        self.compared += other.compared;
        self.unknown += other.unknown;
        self.errors += other.errors;
        self.kernels += other.kernels;
        self.parallel += other.parallel;
        self.donated += other.donated;
        self.derivatives += other.derivatives;
        self.refused += other.refused;
        self.batched = [0, 1].map(|i| self.batched[i] + other.batched[i]);
    }
}

type Checked<T> = Result<T, Failure>;

fn fail<T>(stage: impl Into<String>, message: impl Into<String>) -> Checked<T> {
    Err(Failure { stage: stage.into(), message: message.into() })
}

trait At<T> {
    fn at(self, stage: &str) -> Checked<T>;
}
impl<T, E: ToString> At<T> for Result<T, E> {
    fn at(self, stage: &str) -> Checked<T> {
        self.map_err(|e| Failure { stage: stage.into(), message: e.to_string() })
    }
}

thread_local! {
    /// While a case is checked, the last panic instead of its message on stderr.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Everything that must hold of a case. A panic is a failure too.
pub fn check(case: &Case) -> Checked<Facts> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |info| {
            let kept = PANIC.with_borrow_mut(|p| p.as_mut().map(|p| *p = info.to_string()));
            if kept.is_none() {
                usual(info);
            }
        }));
    });
    let current = (*options::current().at("options")?).clone();
    let mut options = Options { strict16: case.strict16, check: case.check, device: case.device, ..current };
    options.set("PASSES", &case.passes).at("options")?;
    PANIC.set(Some(String::new()));
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        with_options(options, || {
            let mut facts = stages(case)?;
            batched(case, &mut facts)?;
            Ok(facts)
        })
    }));
    let panic = PANIC.take().unwrap_or_default();
    outcome.unwrap_or_else(|_| fail("panic", panic))
}

/// The case for several examples, now and then through every stage.
fn batched(case: &Case, facts: &mut Facts) -> Checked<()> {
    let Some(batched) = batching::check(case, case.order) else { return Ok(()) };
    let batched = batched.at("batching")?;
    facts.batched[0] += 1;
    if case.order % 8 < 3
        && let Some(twice) = batching::check(&batched, case.order + 1)
    {
        twice.at("batching of the batched graph")?;
    }
    if case.order.is_multiple_of(8) {
        facts.batched[1] += 1;
        stages(&batched).map_err(|f| Failure { stage: format!("{} of the batched graph", f.stage), ..f })?;
    }
    Ok(())
}

/// What a call has to give.
type Expected = Result<Vec<Bounded>, ExecError>;

fn stages(case: &Case) -> Checked<Facts> {
    let graph = &case.graph;
    round_trips(graph)?;
    verify(graph, Stage::Traced).at("verifier")?;
    let expected: Vec<Expected> = case.arguments.iter().map(|a| analyse(graph, a, case.strict16)).collect();

    let mut compare =
        Compare { case, last: expected.iter().map(outputs_of).collect(), expected, fallible: fallible(graph) };
    let on_cpu = case.device == Device::Cpu;
    let grain = if on_cpu { Grain::CPU } else { Grain::GPU };
    let settings = Settings {
        check: CheckLevel::Passes,
        options: PassOptions { strict16: case.strict16, grain, ..PassOptions::default() },
        spec: PassSpec::parse(&case.passes, &passes::pipeline()).at("options")?,
    };
    let optimised = passes::optimize(graph.clone(), &settings, Some(&mut compare));
    let optimised = match optimised {
        Ok(outcome) => outcome.graph,
        Err(passes::PassError::Bug { pass, what, .. }) => return fail(format!("pass {pass}"), what),
        Err(e) => return fail("passes", e.to_string()),
    };
    let mut expected = compare.expected;
    round_trips(&optimised)?;
    verify(&optimised, Stage::Fused).at("verifier after fusion")?;

    let mut program = passes::lower::lower_for(grain, &optimised, &case.donations, &|_| None).at("lower")?;
    program.checks = ir::program::shape_checks(graph);
    for k in &program.kernels {
        let broken = ir::kernel::verify::verify(k).err().unwrap_or_default();
        if let Some(b) = broken.first() {
            return fail("kernel verifier", format!("{b}\n{k}"));
        }
        let text = k.to_string();
        let read = ir::kernel::text::parse(&text).at("kernel text")?;
        if read != k.canonical() {
            return fail("kernel text", format!("read back as {read}, was {k}"));
        }
    }
    if let Err(broken) = ir::program::verify::verify(&program) {
        return fail("program verifier", broken[0].to_string());
    }
    let mut facts = Facts { drawn: typed_names(graph), survived: names(&optimised), ..Facts::default() };
    facts.kernels = program.kernels.len();

    if let Some(outcome) = derivatives::check(case, case.order) {
        outcome.at("derivatives")?;
        facts.derivatives += 1;
    }
    if case.order.is_multiple_of(3)
        && let Some(outcome) = bounds::check(case, case.order)
    {
        facts.refused += outcome.at("bounds")?;
    }
    let single = single_fallible(graph);
    let mut lowered: Vec<Called> = Vec::new();
    for (n, arguments) in case.arguments.iter().enumerate() {
        let order = if case.order.is_multiple_of(2) { Order::Forward } else { Order::Shuffled(case.order) };
        let options = RunOptions { order, ..RunOptions::default() };
        let called = match program_interpreter::run(&program, arguments, &options) {
            Ok(outputs) => Ok(outputs),
            Err(ProgramError::Call(e)) => Err(e),
            Err(e) => return fail("kernels", e.to_string()),
        };
        match (&expected[n], &called) {
            (Ok(want), Ok(got)) => {
                agree(want, got).at("kernels")?;
                for w in want {
                    facts.compared += w.bounds.len();
                    facts.unknown += w.bounds.iter().filter(|b| b.is_infinite()).count();
                }
            }
            (Err(want), Err(got)) => {
                facts.errors += 1;
                // Which of several stray indices is reported depends on the order of the kernel that reads them.
                if !stray_at_one_place(got, if single { want } else { got }) {
                    return fail("kernels", format!("report {got}, not {want}"));
                }
            }
            (Ok(_), Err(e)) => return fail("kernels", format!("report {e}")),
            (Err(e), Ok(got)) => match unneeded(case, n) {
                Some(want) => {
                    agree(&want, got).at("kernels")?;
                    expected[n] = Ok(want);
                }
                None => return fail("kernels", format!("do not report: {e}")),
            },
        }
        lowered.push(called);
    }

    let (executable, counts) = Counters::of(|| Executable::compile(graph, &case.donations));
    let executable = executable.at("compile")?;
    if let Some(reason) = &executable.artifacts().fallback {
        return fail("compile", reason);
    }
    no_detour(&counts).at("compile")?;
    if executable.program() != Some(&program) {
        return fail("compile", "compiling again gives another program");
    }
    let exact =
        only_exact(&optimised) && (on_cpu || !ops(&optimised).any(|d| OWN_FUNCTIONS.contains(&d.primitive.name())));
    for (n, arguments) in case.arguments.iter().enumerate() {
        let got = call(case, &executable, arguments, &[])?;
        match (&expected[n], &lowered[n], &got) {
            (Ok(want), Ok(interpreted), Ok(got)) => {
                agree(want, got).at("run")?;
                if exact {
                    same(interpreted, got).at("run, against the kernels in the interpreter")?;
                }
            }
            // Where lanes run side by side around a loop, another index may be the first.
            (Err(_), Err(want), Err(e)) if stray_at_one_place(if single { want } else { e }, e) => {}
            (_, want, got) => {
                let errors = (want.as_ref().err(), got.as_ref().err());
                return fail("run", format!("kernels in the interpreter and compiled end differently: {errors:?}"));
            }
        }
        if on_cpu {
            facts.parallel += parallel(&executable, &program, case.batches[n]);
            for threads in 1..=3 {
                let again = pool::with_threads(threads, || call(case, &executable, arguments, &[]))?;
                identical(&got, &again).at(&format!("run on {threads} threads"))?;
            }
        } else {
            #[cfg(feature = "cuda")]
            for schedule in crate::gpu::schedules(case.order) {
                crate::gpu::set_schedule(schedule);
                let again = call(case, &executable, arguments, &[])?;
                identical(&got, &again).at(&format!("run with {schedule:?}"))?;
            }
        }
        if !case.donations.is_empty() {
            let again = call(case, &executable, arguments, &case.donations)?;
            identical(&got, &again).at("run with donated inputs")?;
            facts.donated += 1;
        }
    }
    Ok(facts)
}

fn round_trips(graph: &Graph) -> Checked<()> {
    let text = graph.to_string();
    let read = ir::text::parse(&text).at("text")?;
    if read != *graph || read.to_string() != text {
        return fail("text", format!("{text}\nis read as\n{read}"));
    }
    let bytes = postcard::to_allocvec(graph).at("serde")?;
    let read: Graph = postcard::from_bytes(&bytes).at("serde")?;
    if read != *graph || read.structural_hash() != graph.structural_hash() {
        return fail("serde", format!("{graph}\nis read as\n{read}"));
    }
    Ok(())
}

fn verify(graph: &Graph, stage: Stage) -> Result<(), String> {
    let broken = ir::verify::verify(graph, stage);
    broken.map_err(|b| b.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

fn ops(graph: &Graph) -> impl Iterator<Item = &ir::graph::OpData> {
    graph.reachable_regions().into_iter().flat_map(|r| &graph.region(r).ops).map(|&op| graph.op(op))
}

fn names(graph: &Graph) -> BTreeSet<&'static str> {
    ops(graph).map(|d| d.primitive.name()).collect()
}

/// Names of ops with the dtype of the first operand, or that of the result where there is none.
fn typed_names(graph: &Graph) -> BTreeSet<(&'static str, &'static str)> {
    let dtype = |d: &ir::graph::OpData| graph.ty(*d.operands.first().unwrap_or(&d.results[0])).dtype;
    ops(graph).map(|d| (d.primitive.name(), dtype(d).name())).collect()
}

fn fallible(graph: &Graph) -> usize {
    ops(graph).filter(|d| d.primitive.traits().fallible).count()
}

fn single_fallible(graph: &Graph) -> bool {
    fallible(graph) == 1
}

/// The outputs where all stray indices are of elements that no output needs: those may go unreported. `None` where an
/// output depends on what is read in place of them.
fn unneeded(case: &Case, n: usize) -> Option<Vec<Bounded>> {
    let [filled, clamped] = [IndexMode::Fill, IndexMode::Clamp].map(|mode| {
        let mut graph = case.graph.clone();
        for op in graph.region(graph.root()).ops.clone() {
            if let Primitive::Gather(gather) = &mut graph.op_mut(op).primitive
                && gather.mode == IndexMode::Error
            {
                gather.mode = mode;
            }
        }
        analyse(&graph, &case.arguments[n], case.strict16).ok()
    });
    let (filled, clamped) = (filled?, clamped?);
    let values = |b: &[Bounded]| -> Vec<Literal> { b.iter().map(|b| b.value.clone()).collect() };
    same(&values(&filled), &values(&clamped)).is_ok().then_some(filled)
}

/// Ops whose routines have the bits of one library of functions on the processor, and of another one on GPUs.
const OWN_FUNCTIONS: [&str; 3] = ["random_log_gamma", "log_gamma_slope", "random_poisson"];

/// True if every execution of the kernels gives the same bits: no function of some ulps, no product in any order.
fn only_exact(graph: &Graph) -> bool {
    let mut ops = ops(graph);
    !ops.any(|d| {
        let float = d.results.iter().any(|&v| graph.ty(v).dtype.is_float());
        float && (ir::kernel::ulps(d.primitive.name()) > 0 || d.primitive.lowering() == Lowering::Contract)
    })
}

fn outputs_of(e: &Expected) -> Result<Vec<Literal>, ExecError> {
    match e {
        Ok(all) => Ok(all.iter().map(|b| b.value.clone()).collect()),
        Err(e) => Err(e.clone()),
    }
}

fn is_nan(s: Scalar) -> bool {
    s.dtype().is_float() && s.as_f64().is_nan()
}

/// The same bits, but for the payload of NaN.
fn same(want: &[Literal], got: &[Literal]) -> Result<(), String> {
    for (o, (w, g)) in want.iter().zip(got).enumerate() {
        if w.ty() != g.ty() {
            return Err(format!("output {o} has type {}, not {}", g.ty(), w.ty()));
        }
        let differs = |i: &usize| w.get(*i) != g.get(*i) && !(is_nan(w.get(*i)) && is_nan(g.get(*i)));
        if let Some(i) = (0..w.numel()).find(differs) {
            return Err(format!("output {o}, element {i} is {}, not {}", g.get(i), w.get(i)));
        }
    }
    if want.len() == got.len() { Ok(()) } else { Err(format!("{} outputs, not {}", got.len(), want.len())) }
}

fn agree(want: &[Bounded], got: &[Literal]) -> Result<(), String> {
    let different = want.iter().zip(got).enumerate().find_map(|(o, (w, g))| Some((o, w.difference(g)?)));
    match different {
        Some((o, _)) if want[o].value.ty() != got[o].ty() => {
            Err(format!("output {o} has type {}, not {}", got[o].ty(), want[o].value.ty()))
        }
        Some((o, i)) => {
            let (want, got) = (&want[o], got[o].get(i));
            Err(format!("output {o}, element {i} is {got}, not {} within {:e}", want.value.get(i), want.bounds[i]))
        }
        None if want.len() != got.len() => Err(format!("{} outputs, not {}", got.len(), want.len())),
        None => Ok(()),
    }
}

/// The same outcome of two calls, to the bit.
fn identical(want: &Called, got: &Called) -> Result<(), String> {
    match (want, got) {
        (Ok(want), Ok(got)) => same(want, got),
        (Err(want), Err(got)) if want == got => Ok(()),
        (want, got) => Err(format!("{:?} became {:?}", want.as_ref().err(), got.as_ref().err())),
    }
}

struct IndexError {
    op: String,
    axis: usize,
    index: i128,
    extent: i128,
}

/// True for two index errors of one op and axis, each with an index that is out of range.
fn stray_at_one_place(a: &ExecError, b: &ExecError) -> bool {
    let (Some(a), Some(b)) = (index_error(a), index_error(b)) else { return false };
    let stray = |e: &IndexError| !(0..e.extent).contains(&e.index);
    (&a.op, a.axis, a.extent) == (&b.op, b.axis, b.extent) && stray(&a) && stray(&b)
}

fn index_error(e: &ExecError) -> Option<IndexError> {
    let ExecError::Op { op, error: EvalError::IndexOutOfRange { index, axis, extent }, .. } = e else { return None };
    Some(IndexError { op: op.clone(), axis: *axis, index: *index, extent: *extent as i128 })
}

/// The number of launches that the runtime spreads over threads.
fn parallel(executable: &Executable, program: &Program, batch: i64) -> usize {
    // What `runtime/src/executable/run.rs` holds for worth it.
    const WORK: i64 = 60_000;
    let is_parallel = |step: &&Step| {
        let StepKind::Launch(l) = &step.kind else { return false };
        let extents: Vec<i64> = l.extents.iter().map(|d| case::extent(d, batch)).collect();
        let Some(kernel) = executable.kernel(l.kernel) else { return false };
        let (Some(grids), Some(works)) = (kernel.grids(&extents), kernel.works(&extents)) else { return false };
        let work = grids.iter().zip(&works).map(|(g, w)| g.saturating_mul(*w)).sum::<i64>();
        work >= WORK && grids.iter().sum::<i64>() > 1
    };
    program.steps.iter().filter(is_parallel).count()
}

fn no_detour(counts: &Counters) -> Result<(), String> {
    let detours = [Event::Fallback, Event::InterpretedStep, Event::Bug];
    match detours.into_iter().find(|&e| counts[e] > 0) {
        Some(e) => Err(format!("counted a {}", e.name())),
        None => Ok(()),
    }
}

type Called = Result<Vec<Literal>, ExecError>;

/// Calls an executable; donated inputs must be unchanged if it fails.
fn call(case: &Case, executable: &Executable, arguments: &[Literal], donations: &[(usize, usize)]) -> Checked<Called> {
    let mut inputs: Vec<Input> = Vec::new();
    for (i, l) in arguments.iter().enumerate() {
        let array = case.array(l).at("run")?;
        let donated = donations.iter().any(|d| d.0 == i);
        inputs.push(if donated { Input::Donated(array) } else { Input::Shared(array) });
    }
    let (outcome, counts) = Counters::of(|| executable.call(&mut inputs));
    no_detour(&counts).at("run")?;
    let unchanged = outcome.is_err() || donations.is_empty();
    for (i, (input, argument)) in inputs.iter().zip(arguments).enumerate() {
        let Some(array) = input.array() else { continue };
        let now = array.to_literal().at("run")?;
        if now != *argument && (unchanged || matches!(input, Input::Shared(_))) {
            return fail("run", format!("input {i} has changed"));
        }
    }
    Ok(match outcome {
        Ok(arrays) => Ok(arrays.iter().map(Array::to_literal).collect::<Result<_, _>>().at("run")?),
        Err(e @ ExecError::Op { .. }) => Err(e),
        Err(e) => return fail("run", e.to_string()),
    })
}

/// Interprets after every pass: the same bits as before an exact pass, else within the bounds of the first graph.
struct Compare<'a> {
    case: &'a Case,
    expected: Vec<Expected>,
    last: Vec<Result<Vec<Literal>, ExecError>>,
    fallible: usize,
}

impl PassObserver for Compare<'_> {
    fn after_pass(&mut self, run: &PassRun, graph: &Graph) -> Result<(), String> {
        if !run.changed {
            return Ok(());
        }
        let before = std::mem::replace(&mut self.fallible, fallible(graph));
        for (n, arguments) in self.case.arguments.iter().enumerate() {
            let got = interpret(graph, arguments);
            let at = |e: String| format!("batch {}: {e}\n{}", self.case.batches[n], dense(graph));
            match (&self.last[n], &got) {
                (Ok(want), Ok(got)) => {
                    if run.exact {
                        same(want, got).map_err(at)?;
                    } else if let Ok(bounds) = &self.expected[n] {
                        agree(bounds, got).map_err(at)?;
                    }
                }
                (Err(_), Ok(_)) if self.fallible < before => {
                    // The op that failed was not needed.
                    self.expected[n] = analyse(graph, arguments, self.case.strict16);
                }
                (Err(_), Err(_)) => {}
                (Err(e), Ok(_)) => return Err(at(format!("an error is lost: {e}"))),
                (Ok(_), Err(e)) => return Err(at(e.to_string())),
            }
            self.last[n] = got;
        }
        Ok(())
    }
}

fn dense(graph: &Graph) -> Graph {
    let mut graph = graph.clone();
    graph.compact();
    graph
}
