//! Gradients of exported functions.

use super::{Exported, Input, Output, Role};
use crate::dispatch::{enter, here};
use crate::error::{Code, Error, Result};
use crate::jit::Source;
use crate::transform::append;
use ir::Value;
use std::collections::BTreeMap;
use std::sync::Mutex;

impl Exported {
    /// The function that also takes a cotangent `cot_<output>` for each of these outputs, and also returns the gradient
    /// `grad_<input>` by each float argument and then each float state, whose name or a path above it is in `by`: of the sum of
    /// products of outputs and cotangents.
    ///
    /// ```
    /// use tracewright::{Recording, Tensor, io::Exported};
    /// let text = "graph @square(%0: f32[N]) -> (f32[N]) { %1: f32[N] = mul %0, %0 return %1 }";
    /// let square = Exported::of_recording(Recording::parse("square.ir", text)?).rename("0", "x")?;
    /// let out = square.vjp(&["x"], &["x"])?.call(&[Tensor::from([3.0f32]), Tensor::from([1.0f32])])?;
    /// assert_eq!(out[1].to_vec::<f32>()?, [6.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn vjp(&self, outputs: &[&str], by: &[&str]) -> Result<Exported> {
        let _here = enter();
        self.differentiated(outputs, by).map_err(Error::observed)
    }

    fn differentiated(&self, names: &[&str], paths: &[&str]) -> Result<Exported> {
        let mut graph = self.graph.clone();
        let (mut inputs, mut outputs) = (self.inputs.clone(), self.outputs.clone());
        let value = |source: Source| match source {
            Source::Input(i) => self.graph.inputs()[i],
            Source::Output(i) => self.graph.outputs()[i],
        };
        let mut seeds: Vec<(Value, Value)> = Vec::new();
        for &name in names {
            let found = self.outputs.iter().find(|o| o.name == name);
            let float = found.filter(|o| self.source_type(o.source).dtype.is_float());
            let Some(output) = float else {
                let rule = match found {
                    Some(o) => format!("output `{name}` is {}", self.source_type(o.source)),
                    None => format!("there is no output `{name}`"),
                };
                let floats = self.outputs().into_iter().filter(|(_, ty)| ty.dtype.is_float()).map(|(name, _)| name);
                let legal = format!("an output of floats: {}", floats.collect::<Vec<_>>().join(", "));
                return Err(Error::new(Code::Gradient, "vjp", rule, legal));
            };
            let seed = graph.add_input(self.source_type(output.source).clone());
            seeds.push((value(output.source), seed));
            inputs.push(Input { name: format!("cot_{name}"), also: Vec::new(), role: Role::Argument, value: None });
        }
        let named = |i: usize, path: &str| super::below(&self.inputs[i].name, path).is_some();
        if let Some(path) = paths.iter().find(|path| !(0..self.inputs.len()).any(|i| named(i, path))) {
            let names: Vec<&str> = self.inputs.iter().map(|i| i.name.as_str()).collect();
            let rule = format!("no input is `{path}` or below it");
            return Err(Error::new(Code::Argument, "vjp", rule, format!("one of {}", names.join(", "))));
        }
        let chosen = |i: &usize| self.inputs[*i].role != Role::Constant && self.input_type(*i).dtype.is_float();
        let mut by: Vec<usize> = (0..self.inputs.len()).filter(chosen).collect();
        by.retain(|&i| paths.iter().any(|path| named(i, path)));
        by.sort_by_key(|&i| self.inputs[i].role != Role::Argument);
        let wrt: Vec<Value> = by.iter().map(|&i| self.graph.inputs()[i]).collect();
        let origins = [append::origin(&mut graph, here())];
        let found = append::pull("vjp", &mut graph, &seeds, &wrt, &origins)?;
        append::record_cuts(&found.cuts);
        let gradients = found.or_zeros(&mut graph, &wrt, &origins);
        let mut values = graph.outputs().to_vec();
        for (i, gradient) in by.into_iter().zip(gradients) {
            outputs
                .push(Output { name: format!("grad_{}", self.inputs[i].name), source: Source::Output(values.len()) });
            values.push(gradient);
        }
        graph.set_outputs(values);
        graph.name = format!("{}_vjp", graph.name);
        let metadata = BTreeMap::new();
        let made = Exported { graph, inputs, outputs, metadata, executables: Mutex::default() };
        match made.names_problem() {
            Some(rule) => Err(Error::new(Code::Argument, "vjp", rule, "other names of inputs and outputs")),
            None => Ok(made),
        }
    }
}
