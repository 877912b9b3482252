//! Kernels as CUDA C++.
//!
//! A task is run by the 32 threads of a warp, for each virtual lane of an accumulator one thread: iteration `i` of a lanes
//! loop belongs to thread `i % 32`, each thread combines its own in order, and the tree that folds the lanes is a tree of
//! shuffles. So reductions have the bits that the kernel IR says, those of every other target.
//!
//! - Outside of lanes loops all threads compute the same, and the first one stores.
//! - A lanes loop without accumulators may take its iterations in any order: there each thread takes as many neighbours as 16
//!   bytes hold, where addresses allow it.
//! - Between loops that meet in memory threads wait for each other.
//! - Tasks of all nests are numbered through; the warps of a launch take them in turn, however many warps there are.
//!
//! Text needs no CUDA to be made. The prelude gives a C++ compiler for the processor what it takes to run it, for tests.

mod emit;
mod expr;
mod index;
pub mod library;
#[cfg(feature = "cuda")]
pub mod nvrtc;
mod reach;
mod rows;
mod vector;

pub use reach::is_narrow;

use crate::sizes::Sizes;
use ir::kernel::{Expr, Kernel, Stmt, UnaryOp};
use smallvec::SmallVec;

/// Threads of a block, as many as kernels are compiled for.
pub const BLOCK: u32 = 128;
/// Blocks that a multiprocessor is to hold at least. Without a number the assembler aims for so many that it spills.
pub const RESIDENT: u32 = 8;
/// Tasks that a block runs at once.
pub const WARPS: u32 = BLOCK / 32;
/// Scratch bytes of a task, at most, that are kept in shared memory: four tasks have what a block may have, 48 KiB.
pub const SHARED_SCRATCH: usize = 12 << 10;

/// Why a kernel has no CUDA text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The kernel does not pass the verifier.
    #[error("bug in tracewright: the kernel is ill-formed: {0}")]
    Invalid(String),
}

/// How wide index arithmetic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IndexWidth {
    /// 32 bits: for calls in which no tensor has 2^30 elements or more, where [`is_narrow`] holds.
    Bits32,
    /// 64 bits.
    Bits64,
}

/// The text of a kernel and how it is launched.
#[derive(Debug)]
pub struct Source {
    /// What the function is written in. Kernels that need the same have the same.
    pub prelude: String,
    /// The function, CUDA C++.
    pub function: String,
    /// The name of the function.
    pub entry: String,
    /// Where the scratch rows of tasks are.
    pub scratch: Rows,
    sites: usize,
    sizes: Sizes,
}

/// Where the scratch rows of tasks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// In shared memory or in registers, or there are none.
    Shared,
    /// In memory that the launch gives, [`Source::scratch_bytes`] for each warp.
    Global,
}

/// What a check site reports: the first index out of range by task, then by order in the task.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    /// The index.
    pub index: i64,
    /// The first index too large.
    pub bound: i64,
    /// The task, numbered through all nests; `i64::MAX` when there was no offence.
    pub task: i64,
    order: i64,
    lock: u32,
    pad: u32,
}

/// Where a launch stands among the steps of a call; the last parameter of every kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// A word of the device that gets the number of the first launch that meets an index out of range.
    pub failed: u64,
    /// A word that gets the number of the step when the launch begins, or 0.
    pub progress: u64,
    /// The number of the step.
    pub step: u32,
    /// Not 0 if the launch does nothing once an earlier one has failed.
    pub gated: u32,
    /// The number of the launch in its call, from 1.
    pub launch: u32,
}

impl Status {
    /// No offence.
    pub const NONE: Status = Status { index: 0, bound: 0, task: i64::MAX, order: i64::MAX, lock: 0, pad: 0 };

    /// As it lies in the memory of a device.
    pub fn to_bytes(&self) -> [u8; 40] {
        let mut bytes = [0; 40];
        for (to, word) in bytes.chunks_exact_mut(8).zip([self.index, self.bound, self.task, self.order]) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes[32..36].copy_from_slice(&self.lock.to_le_bytes());
        bytes
    }

    /// The status that lies in the memory of a device as those 40 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Status {
        let word = |i: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[8 * i..8 * i + 8]);
            i64::from_le_bytes(word)
        };
        Status { index: word(0), bound: word(1), task: word(2), order: word(3), lock: word(4) as u32, pad: 0 }
    }

    /// True if there was an offence.
    pub fn is_set(&self) -> bool {
        self.task != i64::MAX
    }
}

impl Source {
    /// The text of a kernel: a function of that name, of pointers to the buffers, then the extents (i64), the statuses of
    /// the sites, scratch memory, and a [`Run`].
    ///
    /// ```
    /// use codegen::cuda::{IndexWidth, Source};
    /// let kernel = ir::kernel::text::parse("kernel @double(%x: in f32, %y: out f32; N) {
    ///   nest %t in 0..1 work 1 {
    ///     for %i in 0..N lanes {
    ///       %a: f32 = load %x[%i]
    ///       %b: f32 = add %a, %a
    ///       store %y[%i], %b
    ///     }
    ///   }
    /// }")?;
    /// let source = Source::new(&kernel, "double", IndexWidth::Bits32)?;
    /// assert!(source.function.contains("v0 + v0"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(kernel: &Kernel, entry: &str, width: IndexWidth) -> Result<Source, SourceError> {
        let broken = ir::kernel::verify::verify(kernel);
        if let Err(list) = broken {
            let list: Vec<String> = list.iter().map(ToString::to_string).collect();
            return Err(SourceError::Invalid(list.join("; ")));
        }
        let sizes = Sizes::new(kernel);
        let scratch = match rows::in_memory(kernel) {
            Some(bytes) if bytes <= SHARED_SCRATCH as i64 => Rows::Shared,
            _ => Rows::Global,
        };
        let index = match width {
            IndexWidth::Bits32 => "int",
            IndexWidth::Bits64 => "long long",
        };
        let prelude = std::iter::once(format!("#define TW_INDEX {index}\n").as_str()).chain(parts(kernel)).collect();
        let function = emit::function(kernel, entry, scratch);
        Ok(Source { prelude, function, entry: entry.into(), scratch, sites: kernel.sites as usize, sizes })
    }

    /// The whole text.
    pub fn text(&self) -> String {
        format!("{}{}", self.prelude, self.function)
    }

    /// Number of index-check sites; a launch gives one [`Status`] for each.
    pub fn sites(&self) -> usize {
        self.sites
    }

    /// Tasks of each nest; `None` if the numbers overflow.
    pub fn grids(&self, extents: &[i64]) -> Option<SmallVec<[i64; 8]>> {
        self.sizes.grids(extents)
    }

    /// Bytes of scratch of one warp.
    pub fn scratch_bytes(&self, extents: &[i64]) -> Option<usize> {
        self.sizes.scratch_bytes(extents)
    }
}

/// The parts of the prelude that every kernel needs.
fn base() -> [&'static str; 8] {
    [
        concat!("#ifndef TW_HOST\n", include_str!("prelude/cuda.cu"), "#endif\n\n"),
        include_str!("prelude/base.cu"),
        "\n",
        include_str!("prelude/integer.cu"),
        "\n",
        include_str!("prelude/float.cu"),
        "\n",
        concat!(include_str!("prelude/warp.cu"), "\n"),
    ]
}

/// The parts of the prelude that a kernel needs.
fn parts(kernel: &Kernel) -> Vec<&'static str> {
    let mut needs = Needs::default();
    kernel.nests.iter().for_each(|n| needs.block(&n.body.0));
    let mut parts = base().to_vec();
    let optional = [
        (needs.functions, include_str!("prelude/math.cu")),
        (needs.special || needs.random, include_str!("prelude/special.cu")),
        (needs.random, include_str!("prelude/random.cu")),
        (kernel.sites > 0, include_str!("prelude/check.cu")),
    ];
    parts.extend(optional.into_iter().filter(|(needed, _)| *needed).flat_map(|(_, part)| [part, "\n"]));
    parts
}

#[derive(Default)]
struct Needs {
    functions: bool,
    special: bool,
    random: bool,
}

impl Needs {
    fn block(&mut self, block: &[Stmt]) {
        use ir::kernel::BinaryOp::{Atan2, LogGammaSlope, Pow, Rem};
        for stmt in block {
            match stmt {
                Stmt::Loop(l) => self.block(&l.body.0),
                Stmt::Let { expr: Expr::Unary(UnaryOp::Lgamma | UnaryOp::Digamma | UnaryOp::ErfInv, _), .. } => {
                    self.special = true
                }
                Stmt::Let { expr: Expr::Unary(..) | Expr::Binary(Pow | Atan2 | Rem, ..), .. } => self.functions = true,
                Stmt::Let { expr: Expr::Draw { .. } | Expr::Binary(LogGammaSlope, ..), .. } => self.random = true,
                _ => {}
            }
        }
    }
}
