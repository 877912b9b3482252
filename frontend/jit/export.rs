//! Compiled functions that leave the program.

use super::{Arguments, Jit};
use crate::device;
use crate::error::Result;
use crate::io::{Exported, exported::Traced};
use crate::trace;
use crate::tree::{Named, Tree, leaves, named};

impl<A: 'static, R: Tree> Jit<A, R> {
    pub(super) fn exported(&self, what: &'static str, arguments: &dyn Arguments<A>, donated: bool) -> Result<Exported> {
        self.exported_with(what, arguments, donated).map(|(exported, _)| exported)
    }

    /// With the result, for all but its leaves.
    pub(crate) fn exported_with(
        &self,
        what: &'static str,
        arguments: &dyn Arguments<A>,
        donated: bool,
    ) -> Result<(Exported, R)> {
        trace::refuse_inside(what, trace::CALL_IT)?;
        device::where_leaves_are(&|v| arguments.visit(v), || {
            let (signature, recorded) = self.trace(arguments, donated)?;
            let cells = named(&|v| arguments.visit(v), "arguments").into_iter().filter_map(|(path, part)| match part {
                Named::Cell(cell) => Some((cell.id(), path)),
                Named::Leaf(_) => None,
            });
            let leaves = leaves(&|v| arguments.visit(v), "arguments");
            let state = donated.then_some(signature.donated);
            Exported::of(recorded, Traced { leaves, cells: cells.collect(), state })
        })
    }
}
