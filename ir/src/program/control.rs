//! Steps that hold other steps: branches and loops.
//!
//! Buffers whose storage is [`Moving`](super::Storage::Moving) have no memory of their own: the step around theirs says, for
//! each iteration, where they are.

use super::{BufferId, Step, StepKind};
use crate::Dim;

/// Steps that run one after the other, and what they yield.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Block {
    /// The steps.
    pub steps: Vec<Step>,
    /// The buffers that hold what is yielded.
    pub yields: Vec<BufferId>,
}

/// One of several blocks runs.
#[derive(Clone, PartialEq, Debug)]
pub struct Branches {
    /// The number of the block, or a bool for one of two.
    pub choice: BufferId,
    /// The blocks; what they yield are moving buffers.
    pub blocks: Vec<Block>,
    /// Where the moving buffers are when a block runs.
    pub results: Vec<BufferId>,
}

/// A value that goes from one iteration to the next. An iteration reads it in one place and writes the next one in the
/// other; the last one is written to the result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Carried {
    /// What the first iteration reads.
    pub initial: BufferId,
    /// Where an iteration reads it: moving.
    pub before: BufferId,
    /// Where an iteration writes it: moving.
    pub after: BufferId,
    /// Where the last one is in the end.
    pub result: BufferId,
    /// The other place.
    pub spare: BufferId,
}

impl Carried {
    /// All of its buffers.
    pub fn buffers(&self) -> [BufferId; 5] {
        [self.initial, self.before, self.after, self.result, self.spare]
    }
}

/// Iterations while a condition holds.
#[derive(Clone, PartialEq, Debug)]
pub struct WhileLoop {
    /// Yields whether to go on.
    pub condition: Block,
    /// One iteration.
    pub body: Block,
    /// What is carried.
    pub carried: Vec<Carried>,
}

/// A tensor and its element along the first axis in one iteration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Elements {
    /// The tensor.
    pub whole: BufferId,
    /// The element: moving.
    pub element: BufferId,
}

/// Iterations over elements.
#[derive(Clone, PartialEq, Debug)]
pub struct ScanLoop {
    /// How many.
    pub length: Dim,
    /// From the last element to the first.
    pub reverse: bool,
    /// Where the number of the element is written before each iteration, if the body reads it.
    pub number: Option<BufferId>,
    /// One iteration.
    pub body: Block,
    /// What is carried.
    pub carried: Vec<Carried>,
    /// What is read element by element.
    pub scanned: Vec<Elements>,
    /// What is written element by element.
    pub stacked: Vec<Elements>,
}

impl StepKind {
    /// The blocks inside.
    pub fn blocks(&self) -> Vec<&Block> {
        match self {
            StepKind::Switch(s) => s.blocks.iter().collect(),
            StepKind::While(w) => vec![&w.condition, &w.body],
            StepKind::Scan(s) => vec![&s.body],
            _ => Vec::new(),
        }
    }

    /// What a loop carries.
    pub fn carried(&self) -> &[Carried] {
        match self {
            StepKind::While(w) => &w.carried,
            StepKind::Scan(s) => &s.carried,
            _ => &[],
        }
    }
}

/// Every step and those inside of it, outermost first, with its depth.
pub fn all_steps(steps: &[Step]) -> Vec<(usize, &Step)> {
    fn walk<'a>(steps: &'a [Step], depth: usize, all: &mut Vec<(usize, &'a Step)>) {
        for step in steps {
            all.push((depth, step));
            step.kind.blocks().into_iter().for_each(|b| walk(&b.steps, depth + 1, all));
        }
    }
    let mut all = Vec::new();
    walk(steps, 0, &mut all);
    all
}
