//! A call: memory for its results, the steps, and what leaves.

use super::bind::Place;
use super::{Compiled, Input, Outputs};
use crate::array::Array;
use crate::error::ExecError;
use crate::events::{self, Event};
use smallvec::SmallVec;

impl Compiled {
    pub(super) fn call(&self, inputs: &mut [Input]) -> Result<Outputs, ExecError> {
        let bound = self.bound_for(inputs)?;
        // Which outputs take over a donated input's memory in this call.
        let mut takes: SmallVec<[Option<usize>; 8]> = SmallVec::from_elem(None, bound.outputs.len());
        for place in &bound.places {
            if let Place::Donated { output, input } = *place
                && let Input::Donated(a) = &inputs[input]
            {
                if a.is_unique() {
                    takes[output] = Some(input);
                } else {
                    let reason =
                        format!("input {input} of {} is shared; its output gets new memory", self.program.name);
                    events::record(Event::DonationCopied, reason);
                }
            }
        }
        let mut fresh: SmallVec<[Option<Array>; 8]> = SmallVec::from_elem(None, bound.outputs.len());
        for place in &bound.places {
            let (Place::Output(o) | Place::Donated { output: o, .. }) = *place else { continue };
            if takes[o].is_none() {
                let (dtype, dims) = &bound.outputs[o];
                let output = self.machine.uninit(*dtype, dims);
                fresh[o] = Some(output.map_err(|e| e.wanting(|| self.wanted_output(&bound, o)))?);
            }
        }
        let mut pointers: SmallVec<[*mut u8; 32]> = bound
            .places
            .iter()
            .enumerate()
            .map(|(b, place)| match *place {
                Place::Input(i) => inputs[i].array().map_or(std::ptr::null_mut(), |a| a.address()),
                Place::Output(o) | Place::Donated { output: o, .. } => match (takes[o], &fresh[o]) {
                    (Some(i), _) => inputs[i].array().map_or(std::ptr::null_mut(), |a| a.address()),
                    (None, Some(a)) => a.address(),
                    (None, None) => std::ptr::null_mut(),
                },
                Place::Constant(_) => self.constants[b].as_ref().map_or(std::ptr::null_mut(), |a| a.address()),
                Place::Arena(_) | Place::Moving => std::ptr::null_mut(),
            })
            .collect();
        self.machine.run(self, &bound, &mut pointers)?;

        // Nothing fails from here on: outputs leave, donated arrays are taken.
        let mut taken: SmallVec<[Option<Array>; 8]> = SmallVec::from_elem(None, bound.outputs.len());
        for (o, input) in takes.iter().enumerate() {
            if let Some(i) = *input
                && let Input::Donated(a) = std::mem::replace(&mut inputs[i], Input::Taken)
            {
                taken[o] = Some(a);
            }
        }
        let mut results = Outputs::new();
        for (o, &b) in self.program.output_buffers.iter().enumerate() {
            let (_, dims) = &bound.outputs[o];
            let array = match bound.places[b.at()] {
                Place::Input(i) => inputs[i].array().cloned(),
                Place::Output(p) | Place::Donated { output: p, .. } if p == o => {
                    taken[p].take().or_else(|| fresh[p].take())
                }
                // The same buffer is an earlier output.
                Place::Output(p) | Place::Donated { output: p, .. } => results.get(p).cloned(),
                Place::Constant(_) => self.constants[b.at()].clone(),
                Place::Arena(_) | Place::Moving => None,
            };
            let array = array.ok_or_else(|| ExecError::Bug(format!("output {o} has no memory")))?;
            results.push(if array.dims() == dims.as_slice() { array } else { array.reshaped(dims)? });
        }
        Ok(results)
    }
}
