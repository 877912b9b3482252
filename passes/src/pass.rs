//! What a pass is: the trait, what it may ask for, and how it fails.

use crate::grain::Grain;
use ir::Graph;

/// A transformation of a graph. Passes only transform; the [driver](crate::driver) times, verifies, counts and bisects.
///
/// Rules for passes: types of inputs and outputs stay; every op keeps at least one origin; the work is linear in the
/// size of the graph, or bounded; nothing is made worse.
pub trait Pass {
    /// The name in logs, dumps and `TRACEWRIGHT_PASSES`.
    fn name(&self) -> &'static str;
    /// What it needs and what it guarantees, in a line.
    fn about(&self) -> &'static str;
    /// True if lowering relies on the pass: it can be neither switched off nor cut off by `stop`.
    fn required(&self) -> bool {
        false
    }
    /// False if results may differ in rounding: in 16-bit floats, or in the order of float sums.
    fn is_exact(&self) -> bool {
        true
    }
    /// Transforms the graph; yields whether anything changed.
    fn run(&self, graph: &mut Graph, cx: &mut PassContext) -> Result<bool, PassError>;
    /// What holds once the pass has run and through every later pass. Checked after each pass from check level 2.
    fn guarantee(&self, _graph: &Graph) -> Result<(), String> {
        Ok(())
    }
}

/// Options that change what passes do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PassOptions {
    /// 16-bit floats round after every op, also inside fused groups.
    pub strict16: bool,
    /// Largest result of constant folding, in bytes.
    pub fold_bytes: usize,
    /// Work of all constant folding of one graph, in scalar operations.
    pub fold_work: usize,
    /// How finely work is cut into tasks.
    pub grain: Grain,
}

impl Default for PassOptions {
    fn default() -> Self {
        PassOptions { strict16: false, fold_bytes: 64 << 10, fold_work: 1 << 20, grain: Grain::CPU }
    }
}

/// What a [`Note`] is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoteKind {
    /// What was done.
    Decision,
    /// What was not done.
    Refusal,
}

/// Something a pass decided that a person may want to know, such as a refused fusion.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// Name of the pass.
    pub pass: &'static str,
    /// What it is about.
    pub kind: NoteKind,
    /// What, and the reason.
    pub text: String,
}

/// What a running pass may use.
#[derive(Debug)]
pub struct PassContext {
    /// Options.
    pub options: PassOptions,
    /// Scalar operations left for constant folding.
    pub fold_work_left: usize,
    pub(crate) pass: &'static str,
    pub(crate) number: usize,
    pub(crate) notes: Vec<Note>,
}

impl PassContext {
    /// A context for passes run by hand.
    pub fn new(options: PassOptions) -> PassContext {
        PassContext { options, fold_work_left: options.fold_work, pass: "", number: 0, notes: Vec::new() }
    }
    /// Records a decision.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(Note { pass: self.pass, kind: NoteKind::Decision, text: text.into() });
    }
    /// Records what was refused, with the reason.
    pub fn refuse(&mut self, text: impl Into<String>) {
        self.notes.push(Note { pass: self.pass, kind: NoteKind::Refusal, text: text.into() });
    }
    /// What has been recorded.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }
    /// An error that blames the running pass.
    pub fn bug(&self, what: impl Into<String>) -> PassError {
        PassError::Bug { pass: self.pass, number: self.number, what: what.into() }
    }
}

/// Why the pipeline stopped.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PassError {
    /// The graph was ill-formed before the first pass.
    #[error("bug in tracewright: the graph given to the passes is ill-formed: {0}")]
    Input(String),
    /// A pass is at fault.
    #[error("bug in tracewright: pass {number}, `{pass}`, {what}")]
    Bug {
        /// Name of the pass.
        pass: &'static str,
        /// Position in the pipeline, from 1.
        number: usize,
        /// What it did.
        what: String,
    },
}
