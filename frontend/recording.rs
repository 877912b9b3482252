//! Graphs as files: read from text, run, differentiated, looked at.

use crate::dispatch::{enter, here};
use crate::error::{Code, Error, Result};
use crate::jit::Lowered;
use crate::tensor::{Held, Tensor};
use crate::transform::append;
use crate::{strict, tape, trace};
use ir::text::{ParseError, PrintOptions};
use ir::verify::{Stage, verify};
use ir::{Graph, Location, Origin, Type, Value};
use runtime::{Executable, Input};
use std::panic::catch_unwind;
use std::sync::OnceLock;

/// A graph that needs no function: what [`Lowered::ir`](crate::jit::Lowered::ir) prints, read back.
///
/// ```
/// use tracewright::{Recording, Tensor};
/// let double = Recording::parse(
///     "double.ir",
///     "graph @double(%0: f32[B]) -> (f32[B]) {
///        %1: f32[B] = add %0, %0
///        return %1
///      }",
/// )?;
/// let out = double.call(&[Tensor::from([1.0f32, 2.5])])?;
/// assert_eq!(out[0].to_vec::<f32>()?, [2.0, 5.0]);
/// # Ok::<(), tracewright::Error>(())
/// ```
pub struct Recording {
    graph: Graph,
    executable: OnceLock<Executable>,
}

impl Recording {
    /// Reads the text form; `file` is its name in messages. Errors name the line and column.
    pub fn parse(file: &str, text: &str) -> Result<Recording> {
        // The parser and the rules of ops never panic, so a panic is a bug; a file must not end a process for it.
        let parsed = catch_unwind(|| ir::text::parse(text)).map_err(|payload| strict::bug(payload, "parse"))?;
        let mut graph = parsed.map_err(|e| unreadable(file, e).observed())?;
        let origins: Vec<Origin> = graph.origins.into();
        let named = |o: Origin| Origin { location: Location { file: file.to_string().into(), ..o.location }, ..o };
        graph.origins = origins.into_iter().map(named).collect::<Vec<Origin>>().into();
        if let Err(broken) = verify(&graph, Stage::Traced) {
            let notes = broken.iter().skip(1).take(8).map(|b| b.to_string());
            let e = Error::new(Code::Text, "verify", broken[0].to_string(), "a well-formed graph");
            return Err(notes.fold(e.in_file(file, 1, 1), Error::note).observed());
        }
        Ok(Recording { graph, executable: OnceLock::new() })
    }

    pub(crate) fn into_graph(self) -> Graph {
        self.graph
    }

    /// Types of the inputs.
    pub fn inputs(&self) -> Vec<Type> {
        self.graph.input_types()
    }

    /// Types of the outputs.
    pub fn outputs(&self) -> Vec<Type> {
        self.graph.output_types()
    }

    /// The bounds of each symbol that is declared.
    pub fn symbols(&self) -> impl Iterator<Item = (&str, i64, i64)> {
        self.graph.symbols.iter().map(|s| (s.symbol.name(), s.min, s.max))
    }

    /// The graph as text; what [`Recording::parse`] reads.
    pub fn ir(&self) -> String {
        self.graph.to_string()
    }

    /// As [`Recording::ir`], with the origin of each op; long constants are shortened.
    pub fn annotated(&self) -> String {
        self.graph.display(PrintOptions { origins: true, elide: Some(64) }).to_string()
    }

    /// Compiles it, and keeps every stage.
    #[track_caller]
    pub fn lower(&self) -> Result<Lowered> {
        let _here = enter();
        let executable = Executable::inspect(&self.graph, &[]).map_err(|e| Error::exec(e).observed())?;
        Ok(Lowered::new(self.graph.clone(), executable))
    }

    /// Runs it, compiled at the first call under the options then in force.
    #[track_caller]
    pub fn call(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let _here = enter();
        self.run(inputs).map_err(Error::observed)
    }

    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        if tape::wants(inputs.iter()) && !trace::active() {
            let arrays = self.graph.inputs().len() == inputs.len() && inputs.iter().all(|t| t.error_ref().is_none());
            if arrays {
                return tape::apply("call", &self.graph, inputs);
            }
        }
        let array = |t: &Tensor| match t.held() {
            Held::Array(a) => Ok(Input::Shared(a.clone())),
            Held::Traced(t) if trace::is_open(t.trace.id) => {
                let legal = "call it outside of traced functions";
                Err(Error::new(Code::Trace, "call", "a recording cannot be called while tracing", legal).at(here()))
            }
            Held::Traced(t) => Err(trace::ended("call", t).at(here())),
            Held::Error(e) => Err(e),
        };
        let mut inputs: Vec<Input> = inputs.iter().map(array).collect::<Result<_>>()?;
        let executable = match self.executable.get() {
            Some(e) => e,
            None => {
                let e = Executable::compile(&self.graph, &[]).map_err(Error::exec)?;
                self.executable.get_or_init(|| e)
            }
        };
        let outputs = executable.call(&mut inputs).map_err(Error::exec)?;
        Ok(outputs.into_iter().map(Tensor::array).collect())
    }

    /// The graph that yields its only output, a float scalar, and the gradient by each float input.
    pub fn gradient(&self) -> Result<Recording> {
        let refuse = |rule: String| {
            let legal = "one output, a float scalar such as f32[]";
            Err(Error::new(Code::Gradient, "grad", rule, legal).observed())
        };
        let types = self.outputs();
        let [ty] = types.as_slice() else {
            return refuse(format!("the graph has {} outputs", types.len()));
        };
        if !ty.dtype.is_float() || ty.rank() != 0 {
            return refuse(format!("the output has type {ty}"));
        }
        let mut graph = self.graph.clone();
        differentiate(&mut graph)?;
        graph.name = format!("{}_grad", graph.name);
        Ok(Recording { graph, executable: OnceLock::new() })
    }
}

/// Makes the gradients by the float inputs outputs, after the one there is.
fn differentiate(graph: &mut Graph) -> Result<()> {
    let loss = graph.outputs()[0];
    let wrt: Vec<Value> = graph.inputs().iter().copied().filter(|&v| graph.ty(v).dtype.is_float()).collect();
    let origins = match graph.defining_op(loss) {
        Some((op, _)) => graph.op(op).origins.to_vec(),
        // The output is an input.
        None => vec![append::origin(graph, here())],
    };
    let found = append::gradients("grad", graph, loss, &wrt, &origins)?;
    append::record_cuts(&found.cuts);
    let mut outputs = vec![loss];
    for (&v, gradient) in wrt.iter().zip(found.values) {
        outputs.push(gradient.unwrap_or_else(|| append::zeros(graph, v, &origins)));
    }
    graph.set_outputs(outputs);
    Ok(())
}

fn unreadable(file: &str, e: ParseError) -> Error {
    Error::new(Code::Text, "parse", e.message, "")
        .in_file(file, e.line, e.column)
        .note(format!("`{}`", e.source.trim()))
}
