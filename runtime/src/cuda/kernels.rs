//! The kernels of a program on a device.

use super::checks::Checks;
use super::fault::Labels;
use super::gpu::Gpu;
use super::loaded::{self, Loaded};
use super::sort;
use crate::contract::Matmul;
use crate::device::Device;
use crate::error::ExecError;
use crate::executable::machine::LaunchSize;
use crate::options;
use crate::sort::Rows;
use codegen::cuda::{self, IndexWidth, RESIDENT, Rows as ScratchRows, Source, WARPS};
use ir::kernel::Kernel;
use ir::program::{Program, StepKind, Storage};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Elements from which indices need 64 bits: sums of a few of them fit 32.
const WIDE: u64 = 1 << 30;

/// The kernels of a program, compiled and loaded.
pub(crate) struct Kernels {
    pub(super) gpu: &'static Gpu,
    /// Without their names.
    kernels: Vec<Kernel>,
    /// Of both widths of indices, narrow ones first.
    loaded: [OnceLock<Vec<Arc<Loaded>>>; 2],
    pub(super) labels: Arc<Labels>,
    /// True if a step that is no launch may write to an argument after one that can fail.
    pub(super) waits_to_write: bool,
    /// True if all that runs is known before it does.
    pub(super) replayable: bool,
    /// True if products may round their operands.
    pub(super) tf32: bool,
    /// Arguments and results that steps know of which a recording cannot change.
    pub(super) staged: Vec<usize>,
    /// Those that no call uses.
    checks: Mutex<Vec<Checks>>,
    texts: Vec<(String, String)>,
}

impl Kernels {
    /// Compiles the kernels of a program, and with `keep` keeps their texts.
    pub fn new(gpu: &'static Gpu, program: &Program, keep: bool) -> Result<Kernels, ExecError> {
        let anonymous = |k: &Kernel| Kernel { name: String::new(), ..k.clone() };
        let mut new = Kernels {
            gpu,
            kernels: program.kernels.iter().map(anonymous).collect(),
            loaded: Default::default(),
            labels: Arc::new(Labels::of(program)),
            waits_to_write: waits_to_write(program),
            replayable: is_replayable(program),
            tf32: options::read(|o| o.tf32).unwrap_or(false),
            staged: staged(program, &|| gpu.products().has_library()),
            checks: Mutex::default(),
            texts: Vec::new(),
        };
        let known = |b: &ir::program::Buffer| {
            b.ty.shape.known().map(|dims| dims.iter().fold(1u64, |n, &d| n.saturating_mul(d as u64)))
        };
        let largest = program.buffers.iter().filter_map(known).max().unwrap_or(0);
        new.of_width(largest)?;
        if keep {
            let loaded = new.of_width(largest)?;
            new.texts = loaded.iter().map(|l| (l.source.text(), l.function.log.clone())).collect();
        }
        Ok(new)
    }

    /// The functions for a call whose largest tensor has so many elements.
    pub(super) fn of_width(&self, largest: u64) -> Result<&[Arc<Loaded>], ExecError> {
        let (slot, width) = match largest < WIDE {
            true => (&self.loaded[0], IndexWidth::Bits32),
            false => (&self.loaded[1], IndexWidth::Bits64),
        };
        if let Some(loaded) = slot.get() {
            return Ok(loaded);
        }
        let kernels: Vec<&Kernel> = self.kernels.iter().collect();
        let loaded = loaded::load(self.gpu, &kernels, width)?;
        Ok(slot.get_or_init(|| loaded))
    }

    fn source(&self, kernel: usize) -> Option<&Source> {
        let loaded = self.loaded.iter().find_map(OnceLock::get)?;
        Some(&loaded[kernel].source)
    }

    pub fn device(&self) -> Device {
        Device::Cuda(self.gpu.number())
    }

    /// Blocks for so many tasks: as many as run at once take them in turn.
    pub(super) fn blocks(&self, tasks: u64) -> u32 {
        let most = self.gpu.multiprocessors() * RESIDENT;
        tasks.div_ceil(u64::from(WARPS)).clamp(1, u64::from(most)) as u32
    }

    pub fn launch(&self, kernel: usize, extents: &[i64]) -> Option<LaunchSize> {
        let source = self.source(kernel)?;
        let tasks = source.grids(extents)?.iter().try_fold(0u64, |n, &g| n.checked_add(g.max(0) as u64))?;
        let warps = self.blocks(tasks) as usize * cuda::WARPS as usize;
        let scratch = match source.scratch {
            ScratchRows::Shared => 0,
            ScratchRows::Global => source.scratch_bytes(extents)?.checked_mul(warps)?,
        };
        Some(LaunchSize { tasks, work: 0, scratch })
    }

    pub fn product_scratch(&self, product: &Matmul) -> usize {
        self.gpu.products().scratch_bytes(product)
    }

    pub fn sort_scratch(&self, rows: &Rows) -> usize {
        sort::scratch_bytes(rows)
    }

    pub fn texts(&self, kernel: usize) -> Vec<(&'static str, &str)> {
        let Some((text, log)) = self.texts.get(kernel) else { return Vec::new() };
        vec![("cu", text), ("ptxas", log)]
    }

    pub fn describe(&self, kernel: usize) -> String {
        match self.loaded.iter().find_map(OnceLock::get).and_then(|all| all.get(kernel)) {
            Some(l) => format!("{} bytes of code, ready in {:.1?}", l.function.bytes, l.function.time),
            None => String::new(),
        }
    }

    /// Statuses for a call of so many checks.
    pub(super) fn take_checks(&self, sites: usize) -> Result<Checks, ExecError> {
        let free = self.checks.lock().unwrap_or_else(PoisonError::into_inner).pop();
        free.map_or_else(|| Checks::new(self.gpu, sites), Ok)
    }

    /// Gives statuses back, in which there is no offence.
    pub(super) fn return_checks(&self, checks: Checks) {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner).push(checks);
    }
}

/// Launches can be told to do nothing after an offence, other steps cannot.
fn waits_to_write(program: &Program) -> bool {
    let may_fail =
        program.all_steps().iter().any(|(_, s)| matches!(&s.kind, StepKind::Launch(l) if !l.sites.is_empty()));
    let writes = |kind: &StepKind| {
        let outside = |b: &ir::program::BufferId| {
            matches!(program.buffers[b.at()].storage, Storage::InPlace { .. } | Storage::Moving)
        };
        !matches!(kind, StepKind::Launch(_)) && program.accesses(kind)[1].iter().any(outside)
    };
    may_fail
        && program.steps[program.fallible_prefix..].iter().any(|s| {
            writes(&s.kind)
                || ir::program::all_steps(std::slice::from_ref(s)).iter().any(|(_, inner)| writes(&inner.kind))
        })
}

/// Arguments and fresh results of products that are a library's, and of copies.
fn staged(program: &Program, has_library: &dyn Fn() -> bool) -> Vec<usize> {
    let mut found: Vec<usize> = Vec::new();
    for (_, step) in program.all_steps() {
        let buffers = match &step.kind {
            StepKind::Product(p) if has_library() => {
                [Some(p.lhs.0), Some(p.rhs.0), Some(p.out.0), p.epilogue.bias].into_iter().flatten().collect()
            }
            StepKind::Copy { from, to } => vec![*from, *to],
            StepKind::Scan(s) => s.carried.iter().flat_map(|c| [c.initial, c.result]).collect(),
            _ => continue,
        };
        let outside = |b: &usize| matches!(program.buffers[*b].storage, Storage::Input(_) | Storage::Output(_));
        found.extend(buffers.iter().map(|b| b.at()).filter(outside));
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Nothing is decided by the host, and nothing runs there; and there is more than one thing to ask for.
fn is_replayable(program: &Program) -> bool {
    let on_device = |kind: &StepKind| {
        matches!(
            kind,
            StepKind::Launch(_) | StepKind::Product(_) | StepKind::Sort(_) | StepKind::Copy { .. } | StepKind::Scan(_)
        )
    };
    let steps = program.all_steps();
    steps.len() > 1 && steps.iter().all(|(_, s)| on_device(&s.kind)) && !waits_to_write(program)
}
