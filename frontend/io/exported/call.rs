//! Calling exported functions.

use super::specialize::{bindings, specialize};
use super::{Exported, Made, Role};
use crate::device;
use crate::dispatch::{enter, here};
use crate::error::{Code, Error, Result};
use crate::jit::Source;
use crate::tape;
use crate::tensor::{Held, Tensor};
use crate::trace;
use crate::transform::traced;
use ir::Type;
use runtime::options::suggest;
use runtime::{Array, Executable};
use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

impl Exported {
    /// Runs it, compiled, on arguments in their order; the state stays as it is. It may be called while a function is traced,
    /// and on tracked tensors: it has derivatives.
    #[track_caller]
    pub fn call<T: Borrow<Tensor>>(&self, arguments: &[T]) -> Result<Vec<Tensor>> {
        let _here = enter();
        self.run(&cloned(arguments)).map_err(Error::observed)
    }

    /// As [`Exported::call`], and updates the state in place; on an error it is as it was.
    #[track_caller]
    pub fn call_mut<T: Borrow<Tensor>>(&mut self, arguments: &[T]) -> Result<Vec<Tensor>> {
        let _here = enter();
        self.update(&cloned(arguments)).map_err(Error::observed)
    }

    /// As [`Exported::call`], by name. Missing and unexpected names, and those of another type, are listed all at once.
    #[track_caller]
    pub fn call_named(&self, arguments: &BTreeMap<String, Tensor>) -> Result<BTreeMap<String, Tensor>> {
        let _here = enter();
        let outputs = self.in_order(arguments).and_then(|arguments| self.run(&arguments)).map_err(Error::observed)?;
        Ok(self.by_name(outputs))
    }

    /// As [`Exported::call_mut`], by name.
    #[track_caller]
    pub fn call_mut_named(&mut self, arguments: &BTreeMap<String, Tensor>) -> Result<BTreeMap<String, Tensor>> {
        let _here = enter();
        let arguments = self.in_order(arguments).map_err(Error::observed)?;
        let outputs = self.update(&arguments).map_err(Error::observed)?;
        Ok(self.by_name(outputs))
    }

    fn by_name(&self, outputs: Vec<Tensor>) -> BTreeMap<String, Tensor> {
        self.outputs.iter().map(|o| o.name.clone()).zip(outputs).collect()
    }

    /// The arguments in the order of the inputs. One that is in the file too may be given or not.
    fn in_order(&self, arguments: &BTreeMap<String, Tensor>) -> Result<Vec<Tensor>> {
        let wanted = || self.inputs.iter().enumerate().filter(|(_, input)| input.role == Role::Argument);
        let given =
            |i: usize| arguments.iter().find(|(name, _)| self.inputs[i].is_called(name)).map(|(_, t)| t.clone());
        let mut notes = Vec::new();
        for (i, input) in wanted() {
            if given(i).is_none() {
                notes.push(format!("missing: {}: {}", input.name, self.input_type(i)));
            }
        }
        let missing = notes.len();
        for (name, tensor) in arguments {
            if !wanted().any(|(_, input)| input.is_called(name)) {
                let missing = wanted().filter(|(i, _)| given(*i).is_none()).map(|(_, input)| input.name.as_str());
                let near = suggest(name, missing);
                let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                notes.push(format!("unexpected: {name}: {}{hint}", tensor.try_type()?));
            }
        }
        if !notes.is_empty() {
            let rule = format!("of the arguments {missing} are missing and {} unexpected", notes.len() - missing);
            let names: Vec<&str> = wanted().map(|(_, input)| input.name.as_str()).collect();
            let legal =
                if names.is_empty() { "no arguments".into() } else { format!("arguments {}", names.join(", ")) };
            let e = Error::new(Code::Argument, "call", rule, legal).at(here());
            return Err(notes.into_iter().fold(e, Error::note));
        }
        Ok(wanted().filter_map(|(i, _)| given(i)).collect())
    }

    /// The tensor of each input, given the arguments; all that do not fit are listed.
    fn tensors(&self, arguments: &[Tensor]) -> Result<Vec<Tensor>> {
        let names: Vec<&str> =
            self.inputs.iter().filter(|i| i.role == Role::Argument).map(|i| i.name.as_str()).collect();
        if names.len() != arguments.len() {
            let rule = format!("it takes {} arguments, {} are given", names.len(), arguments.len());
            let legal =
                if names.is_empty() { "no arguments".into() } else { format!("arguments {}", names.join(", ")) };
            return Err(Error::new(Code::Argument, "call", rule, legal).at(here()));
        }
        let mut arguments = arguments.iter();
        let mut tensors = Vec::with_capacity(self.inputs.len());
        for input in &self.inputs {
            let tensor = if input.role == Role::Argument { arguments.next() } else { input.value.as_ref() };
            match tensor {
                Some(t) => tensors.push(t.clone()),
                None => {
                    let rule = format!("`{}` has no value: a call that was to update it ended early", input.name);
                    return Err(Error::new(Code::Argument, "call", rule, "set_state, or the file loaded again"));
                }
            }
        }
        Ok(tensors)
    }

    /// The tensors of all inputs, whose types fit.
    pub(super) fn checked(&self, arguments: &[Tensor]) -> Result<Vec<Tensor>> {
        let tensors = self.tensors(arguments)?;
        self.check(&tensors)?;
        Ok(tensors)
    }

    /// The types of the tensors; all that do not fit are listed.
    fn check(&self, tensors: &[Tensor]) -> Result<Vec<Type>> {
        let given: Vec<Type> = tensors.iter().map(Tensor::try_type).collect::<Result<_>>()?;
        let (_, wrong) = bindings(&self.graph.input_types(), &given);
        if wrong.is_empty() {
            return Ok(given);
        }
        let note = |&i: &usize| format!("{} is {}, wanted {}", self.inputs[i].name, given[i], self.input_type(i));
        let rule = match &wrong[..] {
            [one] => note(one),
            _ => format!("{} inputs have other types", wrong.len()),
        };
        let e = Error::new(Code::Argument, "call", rule, "one extent for each symbol, all else as wanted").at(here());
        Err(if wrong.len() > 1 { wrong.iter().map(note).fold(e, Error::note) } else { e })
    }

    fn run(&self, arguments: &[Tensor]) -> Result<Vec<Tensor>> {
        let tensors = self.tensors(arguments)?;
        let given = self.check(&tensors)?;
        let outputs = if trace::active() {
            let (symbols, _) = bindings(&self.graph.input_types(), &given);
            trace::inline(&specialize(&self.graph, &symbols)?, &tensors)?
        } else if tape::wants(tensors.iter()) {
            traced::apply(&self.graph, &tensors)?
        } else {
            device::among(&tensors, || {
                let mut inputs: Vec<runtime::Input> =
                    arrays(&tensors)?.into_iter().map(runtime::Input::Shared).collect();
                let outputs = self.executable(false)?.call(&mut inputs).map_err(failed)?;
                Ok::<_, Error>(outputs.into_iter().map(Tensor::array).collect::<Vec<_>>())
            })?
        };
        Ok(self.results(&tensors, &outputs))
    }

    fn results(&self, inputs: &[Tensor], outputs: &[Tensor]) -> Vec<Tensor> {
        self.outputs.iter().map(|o| tensor(o.source, inputs, outputs)).collect()
    }

    fn update(&mut self, arguments: &[Tensor]) -> Result<Vec<Tensor>> {
        trace::refuse_inside("call_mut", trace::CALL_IT)?;
        let tensors = self.tensors(arguments)?;
        if tape::wants(tensors.iter()) {
            let rule = "a tensor is on the tape, and the call overwrites the state";
            let legal = "tape::detach the arguments, no_grad around the call, or call";
            return Err(Error::new(Code::Gradient, "call_mut", rule, legal).at(here()));
        }
        self.check(&tensors)?;
        let (executable, held) =
            device::among(&tensors, || Ok::<_, Error>((self.executable(true)?, arrays(&tensors)?)))?;
        let place = device::of_tensors(&tensors);
        drop(tensors);
        let donations = self.donations();
        let mut inputs = Vec::with_capacity(held.len());
        for (i, array) in held.into_iter().enumerate() {
            // Out of the state while it may be overwritten, so that nobody else holds it.
            if donations.iter().any(|d| d.0 == i) {
                self.inputs[i].value = None;
                inputs.push(runtime::Input::Donated(array));
            } else {
                inputs.push(runtime::Input::Shared(array));
            }
        }
        let outcome = device::on(place, || executable.call(&mut inputs));
        for (input, slot) in inputs.iter().zip(&mut self.inputs) {
            if let (runtime::Input::Donated(a), None) = (input, &slot.value) {
                slot.value = Some(Tensor::array(a.clone()));
            }
        }
        let outputs: Vec<Tensor> = outcome.map_err(failed)?.into_iter().map(Tensor::array).collect();
        // What is passed on unchanged was not donated.
        let kept: Vec<Tensor> = inputs
            .iter()
            .map(|i| i.array().map_or_else(|| Tensor::error(taken()), |a| Tensor::array(a.clone())))
            .collect();
        for i in 0..self.inputs.len() {
            if let Role::State(Some(source)) = self.inputs[i].role {
                self.inputs[i].value = Some(tensor(source, &kept, &outputs));
            }
        }
        Ok(self.results(&kept, &outputs))
    }

    /// State that an output may take over the memory of: nothing else passes it on.
    pub(super) fn donations(&self) -> Vec<(usize, usize)> {
        let kept = |i: usize| {
            let next = self.inputs.iter().any(|input| input.role == Role::State(Some(Source::Input(i))));
            next || self.outputs.iter().any(|o| o.source == Source::Input(i))
        };
        let mut donations: Vec<(usize, usize)> = Vec::new();
        for (i, input) in self.inputs.iter().enumerate() {
            if let Role::State(Some(Source::Output(o))) = input.role
                && !kept(i)
                && self.source_type(Source::Output(o)) == self.input_type(i)
                && donations.iter().all(|d| d.1 != o)
            {
                donations.push((i, o));
            }
        }
        donations
    }

    /// What runs, compiled at the first call on a device under the options in force.
    fn executable(&self, updating: bool) -> Result<Arc<Executable>> {
        let modes = crate::modes::current()?;
        let find =
            |all: &[Made]| all.iter().find(|(m, u, _)| *m == modes && *u == updating).map(|(_, _, made)| made.clone());
        if let Some(found) = find(&self.executables.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(found);
        }
        let donations = if updating { self.donations() } else { Vec::new() };
        let made = Arc::new(Executable::compile(&self.graph, &donations).map_err(failed)?);
        let mut all = self.executables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(first) = find(&all) {
            return Ok(first);
        }
        if all.len() == KEPT {
            all.remove(0);
        }
        all.push((modes, updating, made.clone()));
        Ok(made)
    }
}

/// Executables that are kept, each for other options or another device.
const KEPT: usize = 8;

fn cloned<T: Borrow<Tensor>>(tensors: &[T]) -> Vec<Tensor> {
    tensors.iter().map(|t| t.borrow().clone()).collect()
}

fn taken() -> Error {
    Error::new(Code::Bug, "call_mut", "an input that is also a result was donated", "please report it")
}

fn failed(e: runtime::ExecError) -> Error {
    let e = Error::exec(e);
    if e.location().is_some() { e } else { e.at(here()) }
}

fn arrays(tensors: &[Tensor]) -> Result<Vec<Array>> {
    let array = |t: &Tensor| match t.held() {
        Held::Array(a) => Ok(a.clone()),
        Held::Traced(v) => Err(trace::ended("call", v).at(here())),
        Held::Error(e) => Err(e),
    };
    tensors.iter().map(array).collect()
}

fn tensor(source: Source, inputs: &[Tensor], outputs: &[Tensor]) -> Tensor {
    match source {
        Source::Input(i) => inputs[i].clone(),
        Source::Output(i) => outputs[i].clone(),
    }
}
