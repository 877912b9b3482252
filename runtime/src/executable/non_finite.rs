//! Which op first made a NaN or infinity.

use super::Input;
use crate::array::Array;
use crate::error::ExecError;
use crate::interpreter;
use ir::{EvalError, Graph, Literal, Op, Value};

#[derive(Clone, Copy, Default)]
struct Holds {
    nan: bool,
    infinity: bool,
}

impl Holds {
    fn of(l: &Literal) -> Holds {
        let mut holds = Holds::default();
        if l.dtype().is_float() {
            for x in l.iter().map(|s| s.as_f64()) {
                holds.nan |= x.is_nan();
                holds.infinity |= x.is_infinite();
            }
        }
        holds
    }
}

/// Interprets a graph, and names the first op that makes a NaN of operands without one, or an infinity of finite
/// operands. Constants and arguments are what somebody wanted; only ops with operands make anything.
pub(super) fn find(graph: &Graph, inputs: &[Input]) -> Result<(), ExecError> {
    let literals: Vec<Literal> =
        inputs.iter().filter_map(Input::array).map(Array::to_literal).collect::<Result<_, _>>()?;
    let mut holds = vec![Holds::default(); graph.value_count()];
    for (v, l) in graph.inputs().iter().zip(&literals) {
        holds[v.at()] = Holds::of(l);
    }
    let mut first: Option<(Op, &str)> = None;
    interpreter::interpret_observed(graph, &literals, &mut |v: Value, l| {
        let new = Holds::of(l);
        holds[v.at()] = new;
        let Some((op, _)) = graph.defining_op(v) else { return };
        let operands = &graph.op(op).operands;
        let nan = operands.iter().any(|o| holds[o.at()].nan);
        let infinity = operands.iter().any(|o| holds[o.at()].infinity);
        let made = match (new.nan && !nan, new.infinity && !infinity && !nan) {
            (true, _) if infinity => "made the first NaN, out of an infinity",
            (true, _) => "made the first NaN, out of finite operands",
            (false, true) => "made the first infinity, out of finite operands",
            (false, false) => return,
        };
        if !operands.is_empty() {
            first.get_or_insert((op, made));
        }
    })?;
    first.map_or(Ok(()), |(op, made)| Err(ExecError::op(graph, op, EvalError::Other(made.into()))))
}
