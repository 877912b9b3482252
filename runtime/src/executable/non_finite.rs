//! Which op first made a NaN or infinity.

use super::Input;
use crate::array::Array;
use crate::error::ExecError;
use crate::interpreter;
use ir::ops::Control;
use ir::{EvalError, Graph, Literal, Op};

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
/// operands, wherever it runs. Constants and arguments are what somebody wanted; only ops with operands make anything, and
/// ops with regions only what the ops in them make.
pub(super) fn find(graph: &Graph, inputs: &[Input]) -> Result<(), ExecError> {
    let literals: Vec<Literal> =
        inputs.iter().filter_map(Input::array).map(Array::to_literal).collect::<Result<_, _>>()?;
    let mut first: Option<ExecError> = None;
    interpreter::interpret_watched(graph, &literals, &mut |ran| {
        if first.is_some() || ran.operands.is_empty() || !graph.op(ran.op).regions.is_empty() {
            return;
        }
        let new = Holds::of(ran.result);
        if !new.nan && !new.infinity {
            return;
        }
        let operands: Vec<Holds> = ran.operands.iter().map(Holds::of).collect();
        let nan = operands.iter().any(|o| o.nan);
        let infinity = operands.iter().any(|o| o.infinity);
        let made = match (new.nan && !nan, new.infinity && !infinity && !nan) {
            (true, _) if infinity => "made the first NaN, out of an infinity",
            (true, _) => "made the first NaN, out of finite operands",
            (false, true) => "made the first infinity, out of finite operands",
            (false, false) => return,
        };
        let message = EvalError::Other(format!("{made}{}", iterations(graph, ran.within)));
        first = Some(ExecError::op(graph, ran.op, message));
    })?;
    first.map_or(Ok(()), Err)
}

/// In which iterations of the loops around it.
fn iterations(graph: &Graph, within: &[(Op, u64)]) -> String {
    let loops = within.iter().rev().filter_map(|&(op, number)| {
        let primitive = &graph.op(op).primitive;
        let is_loop = matches!(primitive.control(), Some(Control::While { .. } | Control::Scan { .. }));
        is_loop.then(|| format!(", in iteration {number} of {}", primitive.name()))
    });
    loops.collect()
}
