//! The memory plan: which buffers share memory, and which outputs are written over donated inputs.

use super::Elementwise;
use ir::Dim;
use ir::program::{BufferId, Program, Slot, Step, StepKind, Storage};
use std::collections::HashSet;

/// First and last step of each buffer, `None` if no step writes it (inputs and constants).
struct Lives {
    defined: Vec<Option<usize>>,
    last: Vec<usize>,
}

fn lives(program: &Program, steps: &[Step]) -> Lives {
    let n = program.buffers.len();
    let mut lives = Lives { defined: vec![None; n], last: vec![0; n] };
    for (i, step) in steps.iter().enumerate() {
        let [reads, writes] = program.accesses(&step.kind);
        for b in writes {
            lives.defined[b.at()].get_or_insert(i);
            lives.last[b.at()] = i;
        }
        for b in reads {
            lives.last[b.at()] = i;
        }
    }
    lives
}

/// Decides the storage of every buffer that a step writes.
pub(super) fn plan(program: &mut Program, donations: &[(usize, usize)], elementwise: &Elementwise) {
    let lives = lives(program, &program.steps);
    let mut outputs: HashSet<BufferId> = HashSet::new();
    for (number, &b) in program.output_buffers.clone().iter().enumerate() {
        // A buffer that is two outputs, an input or a constant is shared when the call returns; it gets no new place.
        if outputs.insert(b) && lives.defined[b.at()].is_some() {
            program.buffers[b.at()].storage = Storage::Output(number);
        }
    }
    for &(input, output) in donations {
        if let Err(reason) = in_place(program, &lives, elementwise, input, output) {
            program.not_taken.push((input, reason));
        }
    }
    let steps = std::mem::take(&mut program.steps);
    assign_slots(program, &steps, &[], &mut Vec::new());
    program.steps = steps;
}

/// Writes an output over a donated input, where nothing can fail after the write begins and nothing reads the old
/// contents after it; else says why not.
fn in_place(
    program: &mut Program,
    lives: &Lives,
    elementwise: &Elementwise,
    input: usize,
    output: usize,
) -> Result<(), &'static str> {
    let out = *program.output_buffers.get(output).ok_or("there is no such output")?;
    let source = (0..program.buffers.len()).find(|&b| program.buffers[b].storage == Storage::Input(input));
    let source = source.ok_or("there is no such input")?;
    if out.at() == source {
        return Err("the output is the input as it came");
    }
    if program.buffers[out.at()].storage != Storage::Output(output) {
        return Err("the output is another output, an input or a constant");
    }
    if program.buffers[out.at()].ty != program.buffers[source].ty {
        return Err("input and output differ in type");
    }
    let defined = lives.defined[out.at()].ok_or("no step writes the output")?;
    if defined < program.fallible_prefix {
        return Err("a step that may fail comes after the one that writes the output, or is it");
    }
    if program.output_buffers.iter().any(|b| b.at() == source) {
        return Err("the input is an output too");
    }
    if lives.last[source] > defined {
        return Err("the input is read after the output is written");
    }
    if lives.last[source] == defined {
        let reads_and_writes = "the step that writes the output reads other elements of the input";
        let StepKind::Launch(launch) = &program.steps[defined].kind else { return Err(reads_and_writes) };
        let [reads, writes] = program.accesses(&program.steps[defined].kind);
        let repeated = launch.buffers.iter().filter(|b| b.at() == source).count() > 1;
        let read = reads.iter().position(|b| b.at() == source);
        let written = writes.iter().position(|&b| b == out);
        if let (Some(p), Some(o)) = (read, written) {
            let fits = elementwise.get(&defined).is_some_and(|e| e.contains(&(p, o)));
            if repeated || !fits {
                return Err(reads_and_writes);
            }
        }
    }
    program.buffers[out.at()].storage = Storage::InPlace { output, input };
    Ok(())
}

/// Gives temporaries slots of the arena, first come first served: the smallest free slot that is large enough, else the
/// largest free one, which grows, else a new one. Symbolic sizes are compared where their difference is a number.
///
/// Temporaries of a block inside a step take slots that are free while that step runs, and leave them free after it. What
/// the block yields is needed until its end.
fn assign_slots(program: &mut Program, steps: &[Step], yields: &[BufferId], free: &mut Vec<usize>) {
    let lives = lives(program, steps);
    let mut releases: Vec<Vec<usize>> = vec![Vec::new(); steps.len()];
    for (i, step) in steps.iter().enumerate() {
        let [_, writes] = program.accesses(&step.kind);
        for b in writes {
            if lives.defined[b.at()] != Some(i) || program.buffers[b.at()].storage != Storage::Slot(usize::MAX) {
                continue;
            }
            let size = program.buffers[b.at()].ty.bytes();
            let slot = match choose(&program.slots, free, &size) {
                Some(at) => free.swap_remove(at),
                None => {
                    program.slots.push(Slot::default());
                    program.slots.len() - 1
                }
            };
            let sizes = &mut program.slots[slot].sizes;
            if !sizes.contains(&size) {
                sizes.push(size);
            }
            program.buffers[b.at()].storage = Storage::Slot(slot);
            let last = if yields.contains(&b) { steps.len() - 1 } else { lives.last[b.at()].max(i) };
            releases[last].push(slot);
        }
        for block in step.kind.blocks() {
            assign_slots(program, &block.steps, &block.yields, free);
        }
        free.append(&mut releases[i]);
    }
}

/// The size of a slot as one dimension, where its sizes compare.
fn slot_size(slot: &Slot) -> Option<Dim> {
    let mut largest = slot.sizes.first()?.clone();
    for s in &slot.sizes {
        if (s - &largest).known()? > 0 {
            largest = s.clone();
        }
    }
    Some(largest)
}

fn choose(slots: &[Slot], free: &[usize], size: &Dim) -> Option<usize> {
    let excess = |&at: &usize| (slot_size(&slots[free[at]])? - size).known();
    let candidates: Vec<(usize, i64)> = (0..free.len()).filter_map(|at| Some((at, excess(&at)?))).collect();
    let fitting = candidates.iter().filter(|c| c.1 >= 0).min_by_key(|c| c.1);
    fitting.or_else(|| candidates.iter().max_by_key(|c| c.1)).map(|c| c.0)
}
