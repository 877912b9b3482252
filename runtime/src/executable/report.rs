//! What a compilation says about itself: events, the artefacts of `TRACEWRIGHT_LOG`, and text for people.

use super::compile::Artifacts;
use super::inspect::Inspector;
use super::machine::Machine;
use crate::events::{self, Event};
use crate::options::{Artefact, Options};
use ir::Graph;
use ir::program::{Activation, BufferId, Carried, Elements, Program, StepKind};
use passes::{Note, NoteKind, PassRun};
use std::fmt::Write;

/// What passes decided, and which were left out.
pub(super) fn passes(name: &str, runs: &[PassRun], notes: &[Note]) {
    for run in runs {
        if let Some(why) = &run.skipped {
            events::record(Event::PassSkipped, format_args!("{name}: {} (number {}): {why}", run.name, run.number));
        }
    }
    for note in notes {
        match note.kind {
            NoteKind::Refusal => events::record(Event::FusionRefused, &note.text),
            NoteKind::Decision => events::write(Artefact::Fusion, || format!("{}: {}", note.pass, note.text)),
        }
    }
}

/// The kernels of a program with what they became, and its memory plan.
pub(super) fn program(program: &Program, machine: &Machine) {
    interpreted(program);
    for (input, reason) in &program.not_taken {
        events::record(Event::DonationRefused, format_args!("{}: input {input}: {reason}", program.name));
    }
    events::write(Artefact::Kernels, || {
        let count = |f: fn(&StepKind) -> bool| program.all_steps().iter().filter(|(_, s)| f(&s.kind)).count();
        let mut text = format!(
            "{}: kernels {}, launches {}, products {}, sorts {}, ops with code of their own {}, interpreted steps {}",
            program.name,
            program.kernels.len(),
            count(|k| matches!(k, StepKind::Launch(_))),
            count(|k| matches!(k, StepKind::Product(_))),
            count(|k| matches!(k, StepKind::Sort(_))),
            count(|k| matches!(k, StepKind::Opaque(_))),
            count(|k| matches!(k, StepKind::Interpret { .. })),
        );
        for (i, kernel) in program.kernels.iter().enumerate() {
            let _ = write!(text, "\n  kernel{i} {}: {}", kernel.name, machine.describe(i));
        }
        text
    });
    events::write(Artefact::Memory, || memory(program));
}

/// Counts a bug of ours and leaves a reproducer.
pub(super) fn bug(graph: &Graph, donations: &[(usize, usize)], reason: &str, inspector: &Inspector, options: &Options) {
    let file = inspector.reproducer(graph, donations, reason, options);
    events::record(Event::Bug, format!("{}: {reason}; reproducer: {file}", graph.name));
}

/// The memory plan: its peak, and where every buffer is.
fn memory(p: &Program) -> String {
    let m = p.footprint();
    format!(
        "{}: peak {} bytes: inputs {}, constants {}, outputs {}, {} slots of {} bytes",
        p.name,
        m.peak,
        m.inputs,
        m.constants,
        m.outputs,
        p.slots.len(),
        m.arena
    )
}

/// Counts the steps that will be interpreted.
pub(super) fn interpreted(program: &Program) {
    for (_, step) in program.all_steps() {
        if let StepKind::Interpret { reason, .. } = &step.kind {
            let place = step.origins.first().map(|o| format!(" ({o})")).unwrap_or_default();
            events::record(
                Event::Fallback,
                format!("{}: step {}{place} is interpreted: {reason}", program.name, step.name),
            );
        }
    }
}

/// Times of one compilation, a line each.
pub(super) fn times(name: &str, a: &Artifacts) -> String {
    let mut text = format!("{name}: compiled in {:.2?}\n", a.total);
    for run in &a.passes {
        let what = match (&run.skipped, run.changed) {
            (Some(_), _) => "skipped",
            (None, true) => "changed",
            (None, false) => "",
        };
        let _ = writeln!(text, "  {:2} {:<16} {:>10.1?} {what}", run.number, run.name, run.elapsed);
    }
    let _ = writeln!(text, "     {:<16} {:>10.1?}", "lower", a.lower);
    let _ = writeln!(text, "     {:<16} {:>10.1?}", "codegen", a.codegen);
    text
}

/// A program for people: buffers with their places, steps with what they read and write, the planned peak.
pub(super) fn describe(p: &Program) -> String {
    let mut text = format!("program {}\n", p.name);
    for (i, b) in p.buffers.iter().enumerate() {
        let place = match &b.storage {
            ir::program::Storage::Constant(_) => "constant".to_string(),
            other => format!("{other:?}"),
        };
        let _ = writeln!(text, "  b{i}: {} in {place}", b.ty);
    }
    for (i, slot) in p.slots.iter().enumerate() {
        let _ = writeln!(text, "  slot {i}: the largest of {:?} bytes", slot.sizes);
    }
    let memory = p.footprint();
    let _ = writeln!(
        text,
        "  peak: {} bytes (inputs {}, constants {}, outputs {}, arena {})",
        memory.peak, memory.inputs, memory.constants, memory.outputs, memory.arena
    );
    for (input, reason) in &p.not_taken {
        let _ = writeln!(text, "  input {input} keeps its memory: {reason}");
    }
    let mut top = 0;
    for (i, (depth, step)) in p.all_steps().into_iter().enumerate() {
        let what = match &step.kind {
            StepKind::Launch(l) => {
                let buffers: Vec<String> = l.buffers.iter().map(|b| format!("b{}", b.0)).collect();
                format!("kernel{}({}; {:?})", l.kernel, buffers.join(", "), l.extents)
            }
            StepKind::Product(m) => {
                let [batch, rows, columns, sum] = &m.extents;
                let bias = m.epilogue.bias.map(|b| format!(" + b{}", b.0)).unwrap_or_default();
                let product = format!("b{} x b{}{bias}", m.lhs.0.0, m.rhs.0.0);
                let sums = match m.epilogue.activation {
                    Activation::None => product,
                    Activation::GeluTanh => format!("gelu_tanh({product})"),
                };
                format!("b{} = {sums} [{batch}, {rows}, {columns}, {sum}]", m.out.0.0)
            }
            StepKind::Sort(s) => {
                let order = if s.descending { "descending" } else { "ascending" };
                format!("b{} = {order} order of b{} {:?}", s.out.0, s.input.0, s.extents)
            }
            StepKind::Opaque(o) => {
                let list = |all: &[BufferId]| all.iter().map(|b| format!("b{}", b.0)).collect::<Vec<_>>().join(", ");
                format!("{} = {:?}({})", list(&o.outputs), o.primitive, list(&o.inputs))
            }
            StepKind::Copy { from, to } => format!("b{} = b{}", to.0, from.0),
            StepKind::Switch(s) => {
                let results: Vec<String> = s.results.iter().map(|b| format!("b{}", b.0)).collect();
                let yields: Vec<String> = s.blocks.iter().map(|b| buffers(&b.yields)).collect();
                format!("{} = the one of {} that b{} chooses", results.join(", "), yields.join(" or "), s.choice.0)
            }
            StepKind::While(w) => format!("while {}: {}", buffers(&w.condition.yields), carried(&w.carried)),
            StepKind::Scan(s) => {
                let elements = |list: &[Elements]| {
                    list.iter().map(|e| format!("b{} of b{}", e.element.0, e.whole.0)).collect::<Vec<_>>().join(", ")
                };
                let number = s.number.map(|b| format!(", number b{}", b.0)).unwrap_or_default();
                let order = if s.reverse { "backwards " } else { "" };
                format!(
                    "{} times {order}over [{}] to [{}]{number}; {}",
                    s.length,
                    elements(&s.scanned),
                    elements(&s.stacked),
                    carried(&s.carried)
                )
            }
            StepKind::Interpret { reason, .. } => format!("interpreted: {reason}"),
        };
        let indent = depth * 2;
        top += usize::from(depth == 0);
        let fallible = if depth == 0 && top <= p.fallible_prefix { " (may fail)" } else { "" };
        let _ = writeln!(text, "  {:indent$}{i}: {} {what}{fallible}", "", step.name);
        for o in step.origins.iter().take(4) {
            let _ = writeln!(text, "  {:indent$}     {o}", "");
        }
    }
    text
}

fn buffers(list: &[BufferId]) -> String {
    format!("({})", list.iter().map(|b| format!("b{}", b.0)).collect::<Vec<_>>().join(", "))
}

/// What a loop carries: from where, as what it goes round, and to where.
fn carried(list: &[Carried]) -> String {
    let one = |c: &Carried| {
        format!("b{} as b{} to b{}, last b{} (or b{})", c.initial.0, c.before.0, c.after.0, c.result.0, c.spare.0)
    };
    format!("carries [{}]", list.iter().map(one).collect::<Vec<_>>().join(", "))
}
