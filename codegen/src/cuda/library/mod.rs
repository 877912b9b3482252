//! Kernels written by hand: matrix products and sorting.
//!
//! A [`Routine`] is one kernel, text and name; [`Product`] and [`Sort`] say which to launch for given extents, with which
//! arguments, and how much memory they need besides. What is launched follows from extents and strides alone, so results have
//! the same bits on every device. Kernels take their arguments as one structure, then a [`Run`](super::Run); however many
//! blocks there are, they do all of the work.

mod product;
mod sort;

pub use product::{Epilogue, Matrix, Product, Way};
pub use sort::Sort;

use super::BLOCK;
use ir::DType;
use smallvec::SmallVec;
use std::fmt::Write;

/// A kernel of the library.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Routine {
    /// A matrix product, or a part of its terms.
    Product(DType, Way),
    /// Adds what the parts of a product left.
    Join(DType),
    /// Sorts pieces of rows; `wide` with keys and positions of 64 bits.
    Sort {
        /// Of the elements.
        dtype: DType,
        /// Whether items have 128 bits.
        wide: bool,
    },
    /// Merges sorted runs in pairs.
    Merge {
        /// Whether items have 128 bits.
        wide: bool,
    },
}

impl Routine {
    /// The name of the function.
    pub fn entry(&self) -> String {
        let items = |wide: bool| if wide { "wide" } else { "narrow" };
        match *self {
            Routine::Product(dtype, way) => format!("tw_product_{}_{}", dtype.name(), way.name()),
            Routine::Join(dtype) => format!("tw_join_{}", dtype.name()),
            Routine::Sort { dtype, wide } => format!("tw_sort_{}_{}", dtype.name(), items(wide)),
            Routine::Merge { wide } => format!("tw_merge_{}", items(wide)),
        }
    }

    /// What the function is written in.
    pub fn prelude(&self) -> String {
        let own = match self {
            Routine::Product(..) | Routine::Join(_) => include_str!("product.cu"),
            Routine::Sort { .. } | Routine::Merge { .. } => include_str!("sort.cu"),
        };
        let mut text = String::from("#define TW_INDEX long long\n");
        super::base().iter().for_each(|part| text += part);
        text + own
    }

    /// The function, CUDA C++.
    ///
    /// ```
    /// use codegen::cuda::library::Routine;
    /// let merge = Routine::Merge { wide: false };
    /// assert!(merge.function().contains(&merge.entry()));
    /// ```
    pub fn function(&self) -> String {
        let items = |wide: bool| if wide { "tw_wide_item, 1024" } else { "u64, 2048" };
        let (arguments, resident, body) = match *self {
            Routine::Product(dtype, way) => ("tw_product", way.resident(), way.body(dtype)),
            Routine::Join(dtype) => ("tw_product", 8, format!("tw_join<{}>", dtype.name())),
            Routine::Sort { dtype, wide } => {
                ("tw_sort", 4, format!("tw_sort_pieces<{}, {}>", dtype.name(), items(wide)))
            }
            Routine::Merge { wide } => ("tw_sort", 4, format!("tw_merge_runs<{}>", items(wide))),
        };
        let mut text = String::new();
        let _ = write!(
            text,
            "TW_KERNEL void __launch_bounds__({BLOCK}, {resident}) {}({arguments} p, tw_run run) {{\n    \
             if (tw_begin(run)) return;\n    {body}(p);\n}}\n",
            self.entry()
        );
        text
    }

    /// The whole text.
    pub fn text(&self) -> String {
        self.prelude() + &self.function()
    }
}

/// One launch of a routine, with blocks of [`BLOCK`] threads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Launch {
    /// What is launched.
    pub routine: Routine,
    /// Blocks.
    pub blocks: u32,
    /// The first argument of the kernel, a structure of 64-bit words; the second is a [`Run`](super::Run).
    pub words: SmallVec<[u64; 28]>,
}

/// Launches, one after the other.
pub type Launches = SmallVec<[Launch; 2]>;

/// Blocks for so many pieces of work: more than any device runs at once go on with those after.
fn blocks(items: u64) -> u32 {
    items.clamp(1, 1 << 20) as u32
}
