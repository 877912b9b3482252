//! One compiled entry and its call.

use super::key::{Matcher, Signature};
use super::lowered::Summary;
use super::record::{Feed, Recorded, Source, Wiring};
use crate::cell;
use crate::device;
use crate::dispatch::here;
use crate::error::{Code, Error, Result};
use crate::modes::Modes;
use crate::tape::{self, Plan};
use crate::tensor::{Held, Repr, Tensor};
use crate::tree::{Fixed, Tree, Visit};
use ir::Graph;
use runtime::{Array, ExecError, Executable, Input, Outputs};
use smallvec::SmallVec;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// A function compiled for one signature.
pub(crate) struct Entry<R> {
    pub signature: Signature,
    /// The function's name and where it was made.
    label: String,
    /// What was traced.
    pub graph: Graph,
    executable: Executable,
    /// With its gradients, by the inputs that want one, for calls on the tape.
    plans: Mutex<Vec<(Vec<bool>, Arc<Plan>)>>,
    traced: Duration,
    pub wiring: Wiring<R>,
    /// Inputs whose memory an output may take over.
    donated: Vec<bool>,
    /// When it was last used.
    pub used: AtomicU64,
}

pub(crate) type Inputs = SmallVec<[Input; 8]>;

impl<R: Tree> Entry<R> {
    pub fn compile(signature: Signature, label: String, recorded: Recorded<R>, traced: Duration) -> Result<Entry<R>> {
        let donations = recorded.donations(signature.donated);
        let Recorded { graph, wiring } = recorded;
        let place = wiring.place().map_err(|e| located(e, &label))?;
        let made = device::on(Some(place), || Executable::compile(&graph, &donations));
        let executable = made.map_err(|e| located(Error::exec(e), &label))?;
        let leaf_inputs = wiring.leaf_input.iter().filter(|(_, first)| *first).count();
        let donated = (0..leaf_inputs).map(|i| donations.iter().any(|d| d.0 == i)).collect();
        let (plans, used) = (Mutex::default(), AtomicU64::new(0));
        Ok(Entry { signature, label, graph, executable, plans, traced, wiring, donated, used })
    }

    pub fn summary(&self) -> Summary {
        Summary::of(&self.executable, self.traced)
    }

    /// True if it was made for arguments like these.
    pub fn fits(&self, walk: &dyn Fn(&mut dyn Visit), donated: bool, modes: &Modes) -> bool {
        if donated != self.signature.donating || *modes != self.signature.modes {
            return false;
        }
        let mut m = Matcher::new(&self.signature);
        walk(&mut m);
        m.finish()
    }

    /// Runs it on leaves that fit.
    pub fn call(&self, walk: &dyn Fn(&mut dyn Visit)) -> Result<R> {
        let mut inputs = SmallVec::new();
        let mut gather = Gather { entry: &self.wiring.leaf_input, leaf: 0, inputs: &mut inputs, tracked: false };
        walk(&mut gather);
        if gather.tracked || self.captures_tracked() {
            return self.call_on_tape(walk);
        }
        let outputs = self.run(&mut inputs)?;
        Ok(self.build(&inputs, &outputs))
    }

    /// True if the function captures a tensor that goes on the tape now.
    fn captures_tracked(&self) -> bool {
        self.wiring.feeds.iter().any(|f| matches!(f, Feed::Capture(t) if tape::records(t)))
    }

    /// Runs the forward part of the function and its gradients.
    fn call_on_tape(&self, walk: &dyn Fn(&mut dyn Visit)) -> Result<R> {
        let mut arguments = Vec::new();
        walk(&mut Tensors { entry: &self.wiring.leaf_input, leaf: 0, inputs: &mut arguments });
        let writes = self.wiring.cells.iter().any(|c| c.write.is_some());
        let _exclusive = writes.then(cell::exclusive);
        arguments.extend(self.wiring.feeds.iter().map(|feed| match feed {
            Feed::Capture(t) => t.clone(),
            Feed::Cell(i) => self.wiring.cells[*i].cell.stored().to_device(self.executable.device()),
        }));
        let wanted: Vec<bool> = arguments.iter().map(|t| t.tracked().is_some()).collect();
        let known = |plans: &[(Vec<bool>, Arc<Plan>)]| plans.iter().find(|(w, _)| *w == wanted).map(|(_, p)| p.clone());
        let found = known(&self.plans.lock().unwrap_or_else(PoisonError::into_inner));
        let plan = match found {
            Some(plan) => plan,
            None => {
                let plan = tape::plan(&self.graph, &wanted)?;
                self.plans.lock().unwrap_or_else(PoisonError::into_inner).push((wanted, plan.clone()));
                plan
            }
        };
        let outputs = tape::run("jit", &plan, &arguments).map_err(|e| self.located(e))?;
        let tensor = |source: &Source| match *source {
            Source::Output(i) => outputs[i].clone(),
            Source::Input(i) => arguments[i].clone(),
        };
        for c in &self.wiring.cells {
            if let Some(source) = &c.write {
                c.cell.store(tensor(source).detach());
            }
        }
        let mut sources = self.wiring.results.iter();
        Ok(self.wiring.template.map(&mut |_| tensor(sources.next().expect("one source per result leaf"))))
    }

    /// Runs it with the leaves of `state` first, which it may overwrite; they are as before if it fails.
    pub fn call_mut<S: Tree>(&self, state: &mut S, walk_rest: &dyn Fn(&mut dyn Visit)) -> Result<R> {
        let mut seen = Seen(self.captures_tracked());
        state.visit(&mut seen);
        walk_rest(&mut seen);
        if seen.0 {
            let rule = "a tensor is on the tape, and the call overwrites its state";
            let legal = "tape::detach the arguments, no_grad around the call, or call";
            return Err(Error::new(Code::Gradient, "call_mut", rule, legal).at(here()));
        }
        let mut taken = Taken { entry: self, state, inputs: SmallVec::new(), done: false };
        let leaf = taken.take();
        walk_rest(&mut Gather { entry: &self.wiring.leaf_input, leaf, inputs: &mut taken.inputs, tracked: false });
        let outputs = self.run(&mut taken.inputs)?;
        let result = self.build(&taken.inputs, &outputs);
        taken.done = true;
        Ok(result)
    }

    fn run(&self, inputs: &mut Inputs) -> Result<Outputs> {
        let writes = self.wiring.cells.iter().any(|c| c.write.is_some());
        let _exclusive = writes.then(cell::exclusive);
        for feed in &self.wiring.feeds {
            inputs.push(Input::Shared(match feed {
                Feed::Capture(t) => match t.held() {
                    Held::Array(a) => a.clone(),
                    _ => unreachable!("a capture is an array"),
                },
                Feed::Cell(i) => match self.wiring.cells[*i].cell.stored().held() {
                    // Where a cell was before does not matter.
                    Held::Array(a) => a.to_device(self.executable.device()).map_err(|e| self.failed(e))?,
                    Held::Error(e) => return Err(e),
                    Held::Traced(_) => unreachable!("a cell outside of traces holds no traced value"),
                },
            }));
        }
        let outputs = self.executable.call(inputs).map_err(|e| self.failed(e))?;
        for c in &self.wiring.cells {
            if let Some(source) = &c.write {
                c.cell.store(Tensor::array(self.array(source, inputs, &outputs)));
            }
        }
        Ok(outputs)
    }

    /// What no op of the function is to blame for, such as a lack of memory, happens at the line of the call.
    fn failed(&self, e: ExecError) -> Error {
        self.located(Error::exec(e))
    }

    fn located(&self, e: Error) -> Error {
        located(e, &self.label)
    }

    fn array(&self, source: &Source, inputs: &Inputs, outputs: &Outputs) -> Array {
        match source {
            Source::Output(i) => outputs[*i].clone(),
            Source::Input(i) => match &inputs[*i] {
                Input::Shared(a) | Input::Donated(a) => a.clone(),
                Input::Taken => unreachable!("an input that is also a result is not donated"),
            },
        }
    }

    fn build(&self, inputs: &Inputs, outputs: &Outputs) -> R {
        let mut sources = self.wiring.results.iter();
        self.wiring.template.map(&mut |_| {
            let source = sources.next().expect("one source per result leaf");
            Tensor::array(self.array(source, inputs, outputs))
        })
    }
}

/// The error, at the line of the call if it has no other.
fn located(e: Error, label: &str) -> Error {
    match e.location() {
        Some(_) => e,
        None => e.at(here()).note(format!("in the compiled function {label}")),
    }
}

/// A state whose tensors a call has taken, and gives back unless it is done: also when it panics.
struct Taken<'a, R: Tree, S: Tree> {
    entry: &'a Entry<R>,
    state: &'a mut S,
    inputs: Inputs,
    done: bool,
}

impl<R: Tree, S: Tree> Taken<'_, R, S> {
    /// Moves the tensors into the inputs, and says how many leaves there are.
    fn take(&mut self) -> usize {
        let mut leaf = 0;
        self.state.visit_mut(&mut |t| {
            let (i, first) = self.entry.wiring.leaf_input[leaf];
            leaf += 1;
            // Taken out even where it is tied, so that the memory has no other holder.
            let taken = std::mem::replace(t, in_use());
            if let (true, Some(a)) = (first, taken.into_array()) {
                self.inputs.push(if self.entry.donated[i] { Input::Donated(a) } else { Input::Shared(a) });
            }
        });
        leaf
    }
}

impl<R: Tree, S: Tree> Drop for Taken<'_, R, S> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        // A tree that panics when it is walked could do so again, and end the process.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let mut leaves = self.entry.wiring.leaf_input.iter();
            self.state.visit_mut(&mut |t| {
                if let Some(a) = leaves.next().and_then(|&(i, _)| self.inputs.get(i)).and_then(Input::array) {
                    *t = Tensor::array(a.clone());
                }
            });
        }));
    }
}

/// Clones the arrays of a call, each input once.
struct Gather<'a> {
    entry: &'a [(usize, bool)],
    leaf: usize,
    inputs: &'a mut Inputs,
    /// True if one of them goes on the tape.
    tracked: bool,
}

impl Visit for Gather<'_> {
    fn leaf(&mut self, tensor: &Tensor) {
        let (_, first) = self.entry[self.leaf];
        self.leaf += 1;
        self.tracked |= tape::records(tensor);
        if let (Held::Array(a), true) = (tensor.held(), first) {
            self.inputs.push(Input::Shared(a.clone()));
        }
    }
    fn fixed(&mut self, _: Fixed<'_>) {}
}

/// Clones the tensors of a call, each input once.
struct Tensors<'a> {
    entry: &'a [(usize, bool)],
    leaf: usize,
    inputs: &'a mut Vec<Tensor>,
}

impl Visit for Tensors<'_> {
    fn leaf(&mut self, tensor: &Tensor) {
        let (_, first) = self.entry[self.leaf];
        self.leaf += 1;
        if first {
            self.inputs.push(tensor.clone());
        }
    }
    fn fixed(&mut self, _: Fixed<'_>) {}
}

/// Whether a tensor goes on the tape.
struct Seen(bool);

impl Visit for Seen {
    fn leaf(&mut self, tensor: &Tensor) {
        self.0 |= tape::records(tensor);
    }
    fn fixed(&mut self, _: Fixed<'_>) {}
}

/// What stands in a state while a call has taken its tensors.
fn in_use() -> Tensor {
    static TAKEN: OnceLock<Error> = OnceLock::new();
    let e = TAKEN.get_or_init(|| {
        Error::new(crate::Code::Argument, "call_mut", "the state is in use by a call", "wait for that call").observed()
    });
    Tensor(Repr::Error(e.clone()))
}
