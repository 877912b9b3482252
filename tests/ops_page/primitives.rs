//! The sections on primitives, one per family of the op table.

use ir::graph::Graph;
use ir::ops::{BadSample, Entry, GraphEmitter, Lowering, Sample};
use ir::origin::{Location, Origin};
use ir::program::StepKind;
use ir::{Dim, Primitive, Type, Value};
use passes::driver::{CheckLevel, Settings};
use smallvec::smallvec;
use std::collections::BTreeSet;
use std::fmt::Write;

pub const INTRODUCTION: &str = "\
Every primitive has a type rule, a reference evaluation, a gradient or a reason for having none, a batching rule, and samples \
that the generic test suites run. Symbolic dimensions may stand wherever an extent does.

- *Constraints* are what the type rule asks of operands and attributes. *Refused* are calls that break one, with the error.
- *Gradient* is by each operand, with `g` for the gradient by the result and `z` for the result.
- *Batching* lists the ops that a call becomes when operands get an extra axis in front: all of them, and the first alone.
- *Runs on* has the interpreter, which runs everything, and what the samples become on the CPU: a kernel of ours, which is \
machine code and fuses with its neighbours, or a step of a library, which does not.
- *Example* is a call in the text form of the IR with its result; a test evaluates it.
";

/// The most refused calls shown of one op.
const MOST_REFUSED: usize = 4;

/// Title and text of each family, in the order of the table.
pub fn sections() -> Vec<(String, String)> {
    let mut families: Vec<&str> = Vec::new();
    for entry in Primitive::TABLE {
        if !families.contains(&entry.family) {
            families.push(entry.family);
        }
    }
    let of = |family: &str| Primitive::TABLE.iter().filter(|e| e.family == family).collect::<Vec<_>>();
    let section = |family: &str| {
        let entries = of(family);
        let names: Vec<String> = entries.iter().map(|e| format!("[`{0}`](#{0})", e.name)).collect();
        let texts: Vec<String> = entries.iter().map(|e| describe(e)).collect();
        (family.to_string(), format!("{}\n\n{}", names.join(" · "), texts.join("\n")))
    };
    families.into_iter().map(section).collect()
}

fn describe(entry: &Entry) -> String {
    let samples = (entry.samples)();
    let bad = (entry.bad_samples)();
    let op = samples.first().map_or_else(|| &bad[0].primitive, |s| &s.primitive);
    let doc = op.doc();
    let mut text = format!("#### `{}`\n\n", entry.name);
    let (summary, semantics) = (plain(entry.doc), plain(doc.semantics));
    let words = |text: &str| text.to_lowercase().split(|c: char| !c.is_alphanumeric()).collect::<Vec<_>>().join(" ");
    // A summary that says something new is short.
    if summary.len() < 60 && !words(&semantics).contains(words(summary.trim_end_matches('.')).trim()) {
        text += &format!("{summary} ");
    }
    text += &format!("{semantics}\n\n");
    if !entry.attributes.is_empty() {
        text += "- **Attributes**\n";
        for a in entry.attributes {
            let _ = writeln!(text, "  - `{}` ({}): {}", a.name, a.kind, plain(a.doc));
        }
    }
    text += "- **Constraints**\n";
    for (i, constraint) in doc.constraints.iter().enumerate() {
        let _ = writeln!(text, "  {}. {constraint}", i + 1);
    }
    let _ = writeln!(text, "- **Gradient**: {}", plain(doc.gradient));
    if let Some(batching) = batching(&samples) {
        let _ = writeln!(text, "- **Batching**: {batching}");
    }
    let _ = writeln!(text, "- **Runs on**: interpreter; CPU: {}", cpu(op, &samples));
    let traits = op.traits();
    let facts = [
        (traits.commutative, "the operands may be swapped without changing a bit"),
        (traits.fallible, "may report an error at run time"),
        (!traits.pure, "does more than give its result"),
    ];
    let facts: Vec<&str> = facts.into_iter().filter_map(|(holds, fact)| holds.then_some(fact)).collect();
    if !facts.is_empty() {
        let _ = writeln!(text, "- **Also**: {}", facts.join("; "));
    }
    let _ = writeln!(text, "- **Example**: `{}`", doc.example);
    let refused = refused(&bad);
    if !refused.is_empty() {
        text += "- **Refused**\n";
        text.extend(refused.iter().map(|error| format!("  - `{error}`\n")));
    }
    text
}

/// Documentation without the links of rustdoc, on one line.
pub fn plain(doc: &str) -> String {
    let mut text = doc.split_whitespace().collect::<Vec<_>>().join(" ");
    while let Some(start) = text.find("](crate::") {
        let end = text[start..].find(')').map_or(text.len(), |at| start + at + 1);
        text.replace_range(start + 1..end, "");
    }
    text.replace("[`", "`").replace("`]", "`")
}

/// The errors of calls that break different rules.
fn refused(bad: &[BadSample]) -> Vec<String> {
    let mut errors: Vec<(String, String)> = Vec::new();
    for sample in bad {
        let types: Vec<&Type> = sample.operands.iter().collect();
        let error = sample.primitive.infer(&types, &[]).expect_err("a bad sample");
        // One of each message, whatever its numbers and dtypes.
        let kind: String = error.rule.split(|c: char| !c.is_alphabetic()).filter(|w| w.len() > 4).collect();
        if errors.iter().all(|(other, _)| *other != kind) {
            errors.push((kind, error.to_string()));
        }
    }
    errors.into_iter().take(MOST_REFUSED).map(|(_, error)| error).collect()
}

fn new_graph(types: impl IntoIterator<Item = Type>) -> (Graph, Vec<Value>) {
    let mut graph = Graph::new("sample");
    let inputs = types.into_iter().map(|ty| graph.add_input(ty)).collect();
    (graph, inputs)
}

fn emitter(graph: &mut Graph) -> GraphEmitter<'_> {
    let location = Location { file: "sample.rs".into(), line: 1, column: 1 };
    let origins = smallvec![graph.origins.intern(Origin { location, scope: "".into(), gradient: false })];
    GraphEmitter { region: graph.root(), origins, graph }
}

fn batching(samples: &[Sample]) -> Option<String> {
    let ordinary = |s: &&Sample| s.operands.iter().all(|x| x.numel() > 1);
    let sample = samples.iter().filter(ordinary).max_by_key(|s| s.operands.len())?;
    let n = sample.operands.len();
    if n == 0 {
        return Some("no operands, so the result is the same for all".into());
    }
    let all = batched(sample, &vec![Some(0); n]);
    let mut first = vec![None; n];
    first[0] = Some(0);
    let alone = batched(sample, &first);
    Some(if n == 1 { all } else { format!("{all}; the first operand alone: {alone}") })
}

/// The ops that a call becomes when those operands carry an extra axis.
fn batched(sample: &Sample, axes: &[Option<usize>]) -> String {
    let size = Dim::from(2);
    let types = sample.operands.iter().zip(axes).map(|(x, axis)| {
        let mut ty = x.ty();
        axis.iter().for_each(|&axis| ty.shape.insert(axis, size.clone()));
        ty
    });
    let (mut graph, inputs) = new_graph(types);
    sample.primitive.batch(&mut emitter(&mut graph), &inputs, axes, &size);
    let names = graph.region(graph.root()).ops.iter().map(|&op| format!("`{}`", graph.op(op).primitive.name()));
    names.collect::<Vec<_>>().join(", ")
}

/// What the op is to the compiler, and what steps its samples become.
fn cpu(op: &Primitive, samples: &[Sample]) -> String {
    let steps: BTreeSet<&str> = samples.iter().flat_map(steps).collect();
    let kind = match op.lowering() {
        Lowering::Pointwise => "pointwise",
        Lowering::Generate => "made from the index alone",
        Lowering::View => "a view: index arithmetic in the kernel that reads it",
        Lowering::Reduce(_) => "a reduction",
        Lowering::Contract => "a product",
        Lowering::Gather => "element reads",
        Lowering::Scatter(_) => "element updates",
        Lowering::Cumulative => "a running value",
        Lowering::Sort => "a sort",
        Lowering::Constant => "data of the program",
        Lowering::Opaque => "code of its own",
        Lowering::Fused => return "kernel, of its region".into(),
        Lowering::Fence => "another name for memory",
        Lowering::Control => return "a step that holds the steps of its regions".into(),
    };
    let steps =
        if steps.is_empty() { "nothing to run".into() } else { steps.into_iter().collect::<Vec<_>>().join(", or ") };
    format!("{steps} ({kind})")
}

/// What steps the compiler makes of a call.
fn steps(sample: &Sample) -> Vec<&'static str> {
    let settings = Settings { check: CheckLevel::Off, ..Settings::default() };
    let graph = passes::optimize(sample.graph(), &settings, None).expect("a sample compiles").graph;
    let program = passes::lower::lower(&graph, &[]).expect("a sample has code");
    let name = |kind: &StepKind| match kind {
        StepKind::Launch(_) => "kernel",
        StepKind::Product(_) => "library product",
        StepKind::Sort(_) => "library sort",
        StepKind::Opaque(_) => "code of its own",
        StepKind::Copy { .. } => "copy",
        StepKind::Interpret { .. } => "interpreter",
        other => unreachable!("{other:?} is no sample"),
    };
    program.steps.iter().map(|step| name(&step.kind)).collect()
}
