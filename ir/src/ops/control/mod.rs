//! Structured control flow: ops whose regions run once, several times, or not at all.
//!
//! Regions are isolated, so whatever a branch or a body needs from outside is an operand: constants first, then what is
//! carried from one iteration to the next, then what is taken apart along its first axis. [`Control`] says how the operands
//! of an op are used; transforms and lowering read it and need no names. Differentiation and batching of these ops are
//! transforms of their regions, so they stand with the transforms and not here.

mod call;
mod fence;
mod region_types;
mod scan;
mod switch;
mod while_loop;

pub use call::{Call, CustomJvp, CustomVjp, Kept, Save};
pub use fence::{Fence, Named};
pub use scan::Scan;
pub use switch::{Switch, chosen};
pub use while_loop::While;

use crate::Dim;

/// What these ops are.
pub(super) const FAMILY: &str = "Structured control flow";

/// How an op uses its operands and regions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Control {
    /// Of all regions the one that operand 0 chooses runs, on the other operands, and yields the results.
    Switch,
    /// Region 0, of constants and carried values, says whether region 1, of the same, runs again; that yields the carried
    /// values, which are the results in the end. The carried operands are the last ones.
    While {
        /// Number of constants.
        constants: usize,
    },
    /// Region 0 runs once for each element of the scanned operands' first axes.
    Scan(Scanning),
    /// Region 0 runs, on the operands.
    Call(Kept),
    /// Region 0 runs, on the operands; region 1 yields beside its results what region 2 needs, which takes that and
    /// gradients by the float results, and yields those by the float operands.
    CustomVjp,
    /// Region 0 runs, on the operands; region 1, of those and tangents of the float ones, yields its results and tangents
    /// of the float ones.
    CustomJvp,
}

/// What a scan runs over. Operands are constants, carried values and scanned tensors; the body's parameters are the number
/// of the element (i64), constants, carried values and elements; it yields the carried values and an element of each stacked
/// result. Results are the carried values in the end and the stacked results.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scanning {
    /// Iterations: the first extent of scanned and stacked tensors.
    pub length: Dim,
    /// From the last element to the first.
    pub reverse: bool,
    /// Number of constants.
    pub constants: usize,
    /// Number of carried values.
    pub carried: usize,
}

impl Control {
    /// The operand that a parameter of any of the regions is, or is an element of; `None` for the number of the element.
    pub fn operand(&self, parameter: usize) -> Option<usize> {
        match self {
            Control::Switch => Some(parameter + 1),
            Control::While { .. } | Control::Call(_) => Some(parameter),
            Control::Scan(_) => parameter.checked_sub(1),
            Control::CustomVjp | Control::CustomJvp => None,
        }
    }
    /// The parameter of every region that an operand is; `None` for the choice of a switch, and where regions differ.
    pub fn parameter(&self, operand: usize) -> Option<usize> {
        match self {
            Control::Switch => operand.checked_sub(1),
            Control::While { .. } | Control::Call(_) => Some(operand),
            Control::Scan(_) => Some(operand + 1),
            Control::CustomVjp | Control::CustomJvp => None,
        }
    }
    /// How many operands of a loop, the first ones, are the same in every iteration.
    pub fn constants(&self) -> Option<usize> {
        match self {
            Control::While { constants } => Some(*constants),
            Control::Scan(s) => Some(s.constants),
            _ => None,
        }
    }
    /// The operand that a result is the last value of, if it is carried.
    pub fn carries(&self, result: usize) -> Option<usize> {
        match self {
            Control::While { constants } => Some(constants + result),
            Control::Scan(s) => (result < s.carried).then_some(s.constants + result),
            _ => None,
        }
    }
    /// True if what that region yields becomes the results, one by one.
    pub fn yields_results(&self, region: usize) -> bool {
        match self {
            Control::While { .. } => region == 1,
            Control::CustomVjp | Control::CustomJvp => false,
            _ => true,
        }
    }
    /// True for functions that the user has given derivatives: operands and results stay as they are.
    pub fn is_custom(&self) -> bool {
        matches!(self, Control::CustomVjp | Control::CustomJvp)
    }
    /// True for a function that runs once, region 0: it can be replaced by the ops of that region.
    pub fn is_call(&self) -> bool {
        self.is_custom() || matches!(self, Control::Call(_))
    }
}

/// The rules that stand with the transforms.
macro_rules! transformed_as_regions {
    () => {
        fn vjp(
            &self,
            _: &mut dyn crate::ops::Emit,
            _: &crate::ops::VjpContext<'_>,
        ) -> Result<crate::ops::PerOperand, crate::NotDifferentiable> {
            unreachable!("regions are differentiated by the transform")
        }
        fn jvp(
            &self,
            _: &mut dyn crate::ops::Emit,
            _: &[crate::Value],
            _: &[crate::Value],
            _: &[Option<crate::Value>],
        ) -> Result<Option<crate::Value>, crate::NotDifferentiable> {
            unreachable!("regions are differentiated by the transform")
        }
        fn batch(
            &self,
            _: &mut dyn crate::ops::Emit,
            _: &[crate::Value],
            _: &[Option<usize>],
            _: &crate::Dim,
        ) -> crate::Value {
            unreachable!("regions are batched by the transform")
        }
    };
}
use transformed_as_regions;
