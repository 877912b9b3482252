//! Kernels as machine code of this processor, through Cranelift.
//!
//! A [`Kernel`] becomes one function of a range of tasks. Lanes loops run on 128-bit vectors, a block of iterations at
//! once, and leave the same bits whatever the width of the block: the vector code and the code of the last iterations
//! are emitted by the same functions, on the same vector types.
//!
//! - Every value lives in a vector register: f32, i32, u8, bool, f16 and bf16 as four 32-bit lanes (integers extended,
//!   bool as a mask, 16-bit floats as their bits), f64 and i64 as two 64-bit lanes. A *uniform* value, one that does not
//!   depend on the variable of a lanes loop, has the same content in every lane of one register; a *varying* one has
//!   one register for each four or two iterations.
//! - Index expressions are 64-bit scalars.
//! - Code reaches memory and routines only through its arguments, so it has no relocations.

mod access;
mod combine;
mod convert;
mod draw;
mod emit;
mod index;
mod integer;
mod lanes;
pub mod math;
mod memory;
mod ops;
mod registers;
mod routines;
mod special;

use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings::{self, Configurable};
use cranelift_codegen::{Context, ir as clif};
use cranelift_frontend::FunctionBuilderContext;
use ir::DType;
use ir::kernel::Kernel;
use memory::CodeMemory;
use smallvec::SmallVec;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Choices of one compilation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CompileOptions {
    /// Keeps the CLIF and the disassembly as text.
    pub keep_text: bool,
    /// Runs lanes loops on vectors. Results have the same bits either way.
    pub vectorize: bool,
}

impl Default for CompileOptions {
    fn default() -> Self {
        CompileOptions { keep_text: false, vectorize: true }
    }
}

/// Why a kernel was not compiled.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CompileError {
    /// This machine cannot run our code.
    #[error("no code for this machine: {0}")]
    Host(String),
    /// An operation that has no code for its element type.
    #[error("kernel `{kernel}`: `{op}` of {dtype} has no CPU code")]
    Unsupported {
        /// The kernel's name.
        kernel: String,
        /// The operation.
        op: String,
        /// Its element type.
        dtype: DType,
    },
    /// The kernel breaks a rule of the kernel IR.
    #[error("kernel `{kernel}` is malformed: {what}")]
    Malformed {
        /// The kernel's name.
        kernel: String,
        /// What is wrong.
        what: String,
    },
    /// Cranelift refused what we gave it: a bug of this crate.
    #[error("a bug in code generation for kernel `{kernel}`: {message}\n{text}")]
    Bug {
        /// The kernel's name.
        kernel: String,
        /// What Cranelift says.
        message: String,
        /// The kernel, to reproduce it.
        text: String,
    },
    /// The operating system gave no executable memory.
    #[error("no executable memory: {0}")]
    Memory(String),
}

/// The first index out of range that a call found at one site.
///
/// Of the calls that share the tasks of a launch, the one with the smallest task is the first: see [`Status::merge`].
/// Within a task it is the first in the order in which the code meets them, which is the kernel's own but for a check in
/// a serial loop in a lanes loop: there all iterations of a block of lanes do one iteration of the serial loop together.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    /// The index.
    pub index: i64,
    /// The first index too large.
    pub bound: i64,
    /// The task, numbered through all nests; `i64::MAX` when there was no offence.
    pub task: i64,
}

impl Status {
    /// No offence.
    pub const NONE: Status = Status { index: 0, bound: 0, task: i64::MAX };

    /// True if there was an offence.
    pub fn is_set(&self) -> bool {
        self.task != i64::MAX
    }

    /// Takes in what another call found at the same site; the outcome does not depend on the order of merging.
    pub fn merge(&mut self, other: Status) {
        if other.task < self.task {
            *self = other;
        }
    }
}

/// The type of generated functions: parameters, extents, first task, end of tasks, scratch, status, routines.
type Entry = unsafe extern "C" fn(*const *mut u8, *const i64, i64, i64, *mut u8, *mut Status, *const u8);

/// A kernel in executable memory.
#[derive(Debug)]
pub struct CompiledKernel {
    memory: Arc<CodeMemory>,
    offset: usize,
    code_size: usize,
    sizes: crate::sizes::Sizes,
    sites: usize,
    compile_time: Duration,
    text: Option<Text>,
}

#[derive(Debug)]
struct Text {
    clif: String,
    disassembly: String,
}

impl CompiledKernel {
    /// Runs tasks `begin..end` of the nests' grids, one after the other in one numbering.
    ///
    /// # Safety
    /// `params` points at one pointer for each parameter, to memory that holds all elements the kernel touches and that
    /// nothing else changes, or reads where the kernel writes, during the call; `extents` at the extents, of which
    /// [`CompiledKernel::grids`] knows the grids; `scratch` at [`CompiledKernel::scratch_bytes`] bytes aligned to 64, of
    /// this call alone; `status` at one slot for each site, of this call alone.
    pub unsafe fn call(
        &self,
        params: *const *mut u8,
        extents: *const i64,
        begin: i64,
        end: i64,
        scratch: *mut u8,
        status: *mut Status,
    ) {
        // SAFETY: the code at `offset` was compiled with the signature of `Entry`, and lives as long as `memory`.
        let entry: Entry = unsafe { std::mem::transmute(self.memory.at(self.offset)) };
        // SAFETY: the caller's promise.
        unsafe { entry(params, extents, begin, end, scratch, status, routines::TABLE.address()) }
    }

    /// Tasks of each nest; `None` if an extent is missing or a size overflows.
    pub fn grids(&self, extents: &[i64]) -> Option<SmallVec<[i64; 8]>> {
        self.sizes.grids(extents)
    }

    /// Estimated work of one task of each nest; `None` as for [`CompiledKernel::grids`].
    pub fn works(&self, extents: &[i64]) -> Option<SmallVec<[i64; 8]>> {
        self.sizes.works(extents)
    }

    /// Bytes of scratch that one call needs; `None` as for [`CompiledKernel::grids`].
    pub fn scratch_bytes(&self, extents: &[i64]) -> Option<usize> {
        self.sizes.scratch_bytes(extents)
    }

    /// Number of index-check sites: the slots of a call's status.
    pub fn sites(&self) -> usize {
        self.sites
    }

    /// How long it took to compile.
    pub fn compile_time(&self) -> Duration {
        self.compile_time
    }

    /// Bytes of machine code with its constants.
    pub fn code_size(&self) -> usize {
        self.code_size
    }

    /// The function as given to Cranelift, if the text was to be kept.
    pub fn clif(&self) -> Option<&str> {
        self.text.as_ref().map(|t| t.clif.as_str())
    }

    /// The machine code as text, if it was to be kept.
    pub fn disassembly(&self) -> Option<&str> {
        self.text.as_ref().map(|t| t.disassembly.as_str())
    }
}

/// Compiles kernels for the processor that it runs on.
pub struct Compiler {
    isa: OwnedTargetIsa,
}

/// One kernel's code before it has an address.
struct Code {
    bytes: Vec<u8>,
    sizes: crate::sizes::Sizes,
    sites: usize,
    compile_time: Duration,
    text: Option<Text>,
}

impl Compiler {
    /// A compiler for this processor; an error where we have no code for it.
    pub fn new() -> Result<Compiler, CompileError> {
        let host = |e: &dyn std::fmt::Display| CompileError::Host(e.to_string());
        if !cfg!(all(unix, target_arch = "x86_64")) {
            return Err(CompileError::Host("only x86-64 under Unix is supported".into()));
        }
        let builder = cranelift_native::builder().map_err(|e| host(&e))?;
        let mut flags = settings::builder();
        let verify = if cfg!(debug_assertions) { "true" } else { "false" };
        for (name, value) in [
            ("opt_level", "none"),
            ("enable_verifier", verify),
            ("enable_probestack", "true"),
            ("probestack_strategy", "inline"),
            ("unwind_info", "false"),
        ] {
            flags.set(name, value).map_err(|e| host(&e))?;
        }
        let isa = builder.finish(settings::Flags::new(flags)).map_err(|e| host(&e))?;
        for needed in ["has_sse41", "has_sse42"] {
            if !isa.isa_flags().iter().any(|f| f.name == needed && f.as_bool() == Some(true)) {
                return Err(CompileError::Host(format!("the processor lacks {}", &needed[4..])));
            }
        }
        Ok(Compiler { isa })
    }

    /// Compiles one kernel with the default options.
    pub fn compile(&self, kernel: &Kernel) -> Result<CompiledKernel, CompileError> {
        self.compile_with(kernel, CompileOptions::default())
    }

    /// Compiles one kernel.
    pub fn compile_with(&self, kernel: &Kernel, options: CompileOptions) -> Result<CompiledKernel, CompileError> {
        let code = self.code(kernel, options, &mut Workspace::default())?;
        Ok(place(vec![code])?.remove(0))
    }

    /// Compiles kernels into one piece of memory, on up to `threads` threads. The error is that of the first kernel
    /// that has one.
    pub fn compile_all(
        &self,
        kernels: &[Kernel],
        options: CompileOptions,
        threads: usize,
    ) -> Result<Vec<CompiledKernel>, CompileError> {
        let threads = threads.clamp(1, kernels.len().max(1));
        let codes: Vec<Result<Code, CompileError>> = if threads == 1 {
            let mut workspace = Workspace::default();
            kernels.iter().map(|k| self.code(k, options, &mut workspace)).collect()
        } else {
            let next = std::sync::atomic::AtomicUsize::new(0);
            let work = || {
                let mut workspace = Workspace::default();
                let mut done = Vec::new();
                loop {
                    let i = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(kernel) = kernels.get(i) else { return done };
                    done.push((i, self.code(kernel, options, &mut workspace)));
                }
            };
            let mut parts: Vec<(usize, Result<Code, CompileError>)> = std::thread::scope(|scope| {
                let helpers: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
                let mut all = work();
                for helper in helpers {
                    all.extend(helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
                }
                all
            });
            parts.sort_by_key(|&(i, _)| i);
            parts.into_iter().map(|(_, code)| code).collect()
        };
        place(codes.into_iter().collect::<Result<_, _>>()?)
    }

    fn code(&self, kernel: &Kernel, options: CompileOptions, w: &mut Workspace) -> Result<Code, CompileError> {
        let start = Instant::now();
        let bug =
            |message: String| CompileError::Bug { kernel: kernel.name.clone(), message, text: kernel.to_string() };
        ir::kernel::verify::verify(kernel).map_err(|violations| CompileError::Malformed {
            kernel: kernel.name.clone(),
            what: violations.first().map(ToString::to_string).unwrap_or_default(),
        })?;
        w.context.clear();
        emit::function(kernel, options, &*self.isa, &mut w.context.func, &mut w.builder)?;
        let clif = options.keep_text.then(|| w.context.func.display().to_string());
        w.context.set_disasm(options.keep_text);
        let compiled = w.context.compile(&*self.isa, &mut ControlPlane::default()).map_err(|e| {
            bug(format!("{}\n{}", cranelift_codegen::print_errors::pretty_error(e.func, e.inner), e.func.display()))
        })?;
        if let Some(relocation) = compiled.buffer.relocs().first() {
            return Err(bug(format!("the code has a relocation: {relocation:?}")));
        }
        let text = clif.map(|clif| Text { clif, disassembly: compiled.vcode.clone().unwrap_or_default() });
        let bytes = compiled.code_buffer().to_vec();
        let (sizes, sites) = (crate::sizes::Sizes::new(kernel), kernel.sites as usize);
        Ok(Code { bytes, sizes, sites, compile_time: start.elapsed(), text })
    }
}

/// What compiling reuses from kernel to kernel.
struct Workspace {
    context: Context,
    builder: FunctionBuilderContext,
}

impl Default for Workspace {
    fn default() -> Self {
        Workspace { context: Context::for_function(clif::Function::new()), builder: FunctionBuilderContext::new() }
    }
}

/// Puts code in executable memory, each kernel at a multiple of 64 bytes.
fn place(codes: Vec<Code>) -> Result<Vec<CompiledKernel>, CompileError> {
    let mut bytes = Vec::new();
    let mut offsets = Vec::with_capacity(codes.len());
    for code in &codes {
        bytes.resize(bytes.len().next_multiple_of(64), 0xcc);
        offsets.push(bytes.len());
        bytes.extend_from_slice(&code.bytes);
    }
    let memory = Arc::new(CodeMemory::new(&bytes).map_err(|e| CompileError::Memory(e.to_string()))?);
    let place = |(code, offset): (Code, usize)| CompiledKernel {
        memory: memory.clone(),
        offset,
        code_size: code.bytes.len(),
        sizes: code.sizes,
        sites: code.sites,
        compile_time: code.compile_time,
        text: code.text,
    };
    Ok(codes.into_iter().zip(offsets).map(place).collect())
}
