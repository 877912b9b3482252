//! How finely work is cut into tasks.

/// How much one task does, and when a reduction gets a second stage. Everything here looks at shapes alone, so a program
/// computes the same bits wherever it runs; programs of different grains may round sums differently.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Grain {
    /// Elements of plain loops that a task covers, about.
    pub elements: i64,
    /// Columns of a reduction along columns that a task covers.
    pub columns: i64,
    /// Columns of a scatter or a scan that a task covers.
    pub running: i64,
    /// When reductions get a second stage.
    pub split: SplitGrain,
    /// True if the library of products adds a bias, and applies an activation, before sums are rounded.
    pub epilogues: bool,
    /// What pays where a task is run by a warp; none where it is not.
    pub warp: Option<WarpGrain>,
}

/// How a warp reads: neighbouring threads want neighbouring elements, and each of them several at once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct WarpGrain {
    /// Longest row that a single thread reduces, the neighbouring one to a neighbouring thread.
    pub narrow: i64,
    /// Bytes that a thread loads at once, at most.
    pub access: i64,
    /// Bytes of rows that a task keeps between the passes over them, at most.
    pub kept: i64,
    /// Rows of a plain loop that are shorter are taken several at a time.
    pub row: i64,
    /// Side of the square that goes through memory of the task where loads and stores run across each other.
    pub tile: i64,
}

/// When a reduction gets a second stage, and how many parts the first one has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SplitGrain {
    /// Elements from which a second stage is worth it: of all tasks together,
    pub elements: usize,
    /// and of one task.
    pub each: usize,
    /// Elements that one part reduces at least.
    pub part: usize,
    /// Independent tasks that are enough without a second stage.
    pub enough: usize,
    /// Tasks that are made at most.
    pub most: usize,
    /// True if the second stage is no longer than the first.
    pub balanced: bool,
}

impl Grain {
    /// For a few threads, each of which takes long to start.
    pub const CPU: Grain = Grain {
        elements: 4096,
        columns: 64,
        running: 256,
        split: SplitGrain { elements: 1 << 17, each: 0, part: 1 << 14, enough: 8, most: 64, balanced: false },
        epilogues: false,
        warp: None,
    };
    /// For thousands of warps that hide each other's waiting. A thread has four accesses of 16 bytes under way in a plain
    /// loop over f32; a reduction is split where it has fewer than two tasks for each of 132 multiprocessors, and more than
    /// 8192 elements in each (the rule of PyTorch's Inductor).
    pub const GPU: Grain = Grain {
        elements: 512,
        columns: 32,
        running: 32,
        split: SplitGrain { elements: 1 << 14, each: 1 << 13, part: 1 << 12, enough: 264, most: 4096, balanced: true },
        epilogues: true,
        warp: Some(WarpGrain { narrow: 16, access: 16, kept: 12 << 10, row: 256, tile: 32 }),
    };
}

impl Default for Grain {
    fn default() -> Grain {
        Grain::CPU
    }
}
