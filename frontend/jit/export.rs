//! Compiled functions that leave the program.

use super::{Arguments, Jit, Recorded};
use crate::device;
use crate::dispatch::{enter, here};
use crate::error::{Code, Error, Result};
use crate::io::{Exported, exported::Traced};
use crate::trace;
use crate::tree::{Named, Tree, leaves, named};
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

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
            let leaves = leaves(&|v| arguments.visit(v), "arguments").into_iter().map(|(path, t)| (path, Some(t)));
            let state = donated.then_some(signature.donated);
            let traced = Traced { leaves: leaves.collect(), cells: cells.collect(), state };
            let Recorded { graph, wiring } = recorded;
            Ok((Exported::of(graph, &wiring, traced)?, wiring.template))
        })
    }

    /// Saves what was compiled for the last call: all of its arguments, a state too, are inputs of the file, `arguments.0` and
    /// so on. [`Jit::export`] and [`Jit::export_mut`] need no call, give other names, and save values of a state.
    ///
    /// ```
    /// use tracewright::{Tensor, io::Exported, jit};
    /// let path = std::env::temp_dir().join("tracewright-doc-save.tw");
    /// let double = jit(|x: Tensor| x * 2.0);
    /// double.call(Tensor::from([1.5f32]))?;
    /// double.save(&path)?;
    /// assert_eq!(Exported::load(&path)?.call(&[Tensor::from([4.0f32])])?[0].to_vec::<f32>()?, [8.0]);
    /// # std::fs::remove_file(path).unwrap();
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let _here = enter();
        self.last_entry().and_then(|last| last.save(path.as_ref())).map_err(Error::observed)
    }

    fn last_entry(&self) -> Result<Exported> {
        let entries = self.entries.read().unwrap_or_else(|e| e.into_inner());
        let Some(entry) = entries.get(self.last.load(Relaxed)) else {
            let rule = "the function has not been called, so nothing says what its arguments are";
            return Err(Error::new(Code::Argument, "save", rule, "a call before, or export with examples").at(here()));
        };
        let leaves = entry.signature.leaf_paths().map(|path| (path.to_string(), None)).collect();
        Exported::of(entry.graph.clone(), &entry.wiring, Traced { leaves, cells: HashMap::new(), state: None })
    }
}
