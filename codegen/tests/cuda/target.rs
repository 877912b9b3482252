//! Runs generated CUDA C++ on the processor, under several schedules of threads, and compares with the kernel interpreter.

use crate::data::{Within, from_bytes, near, to_bytes};
use codegen::cuda::{IndexWidth, Rows, Run, Source, Status, WARPS};
use ir::Data;
use ir::kernel::{Kernel, interp};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The C++ compiler.
const COMPILER: &str = "g++";
/// What runs the threads of kernels.
const SHIM: [(&str, &str); 4] = [
    ("block.h", include_str!("../../../runtime/emulator/src/block.h")),
    ("shim.h", include_str!("../../../runtime/emulator/src/shim.h")),
    ("threads.h", include_str!("../../../runtime/emulator/src/threads.h")),
    ("threads.cpp", include_str!("../../../runtime/emulator/src/threads.cpp")),
];
/// Kernels in one translation unit, at most.
const UNIT: usize = 64;
/// Long bodies of lanes loops are nothing special.
pub const LONG_BODIES: bool = false;
/// How exact random numbers are that need functions: those of another library.
pub const DRAWN: Within = Within::Ulps(64);
/// First in, first out; last in; and two orders by chance.
pub const SCHEDULES: [(c_int, c_uint); 4] = [(0, 0), (1, 0), (2, 7), (2, 1234)];
/// So many elements behind a multiple of 64 bytes buffers begin, in turn: groups of elements have no whole accesses then.
const SHIFTS: [usize; 4] = [0, 1, 0, 3];

/// A call that waits for its kernel to be compiled.
struct Case {
    kernel: usize,
    data: Vec<Data>,
    extents: Vec<i64>,
    within: Within,
}

#[derive(Default)]
struct Batch {
    kernels: Vec<Kernel>,
    numbers: HashMap<Kernel, usize>,
    cases: Vec<Case>,
}

thread_local! {
    static BATCH: RefCell<Batch> = RefCell::default();
}

/// Notes a call: all of a test are compiled together and run by [`finish`].
pub fn check(kernel: &Kernel, data: &[Data], extents: &[i64], within: Within) {
    BATCH.with_borrow_mut(|batch| {
        let next = batch.numbers.len();
        let kernel = *batch.numbers.entry(kernel.clone()).or_insert_with(|| {
            batch.kernels.push(kernel.clone());
            next
        });
        batch.cases.push(Case { kernel, data: data.to_vec(), extents: extents.to_vec(), within });
    });
}

/// Why a kernel is refused.
pub fn refusal(kernel: &Kernel) -> Option<String> {
    Source::new(kernel, "kernel", IndexWidth::Bits64).err().map(|e| e.to_string())
}

/// False where there is no C++ compiler.
pub fn can_run() -> bool {
    let found = Command::new(COMPILER).arg("--version").output().is_ok_and(|o| o.status.success());
    if !found {
        emulator::skip("there is no C++ compiler");
    }
    found
}

/// Compiles and runs what was noted.
pub fn finish() {
    let Batch { kernels, mut cases, .. } = BATCH.take();
    assert!(!cases.is_empty(), "nothing was checked");
    if !can_run() {
        return;
    }
    cases.sort_by_key(|c| c.kernel);
    let mut cases = cases.into_iter().peekable();
    for (n, kernels) in kernels.chunks(UNIT).enumerate() {
        let unit = Unit::new(kernels);
        while let Some(case) = cases.next_if(|c| c.kernel / UNIT == n) {
            for width in [IndexWidth::Bits32, IndexWidth::Bits64] {
                unit.check(&kernels[case.kernel % UNIT], case.kernel % UNIT, width, &case);
            }
        }
    }
}

/// What each schedule makes of a kernel whose function was changed, with buffers that begin so many elements behind a
/// multiple of 64 bytes: the buffers, or what went wrong.
pub fn outcomes(
    kernel: &Kernel,
    data: &[Data],
    extents: &[i64],
    shift: usize,
    edit: &dyn Fn(&str) -> String,
) -> Vec<Result<Vec<Data>, String>> {
    let unit = Unit::edited(std::slice::from_ref(kernel), edit);
    let case = Case { kernel: 0, data: data.to_vec(), extents: extents.to_vec(), within: Within::Bits };
    let run = |&(schedule, seed): &(c_int, c_uint)| Ok(unit.run(&unit.sources[0][0], &case, schedule, seed, shift)?.0);
    SCHEDULES.iter().map(run).collect()
}

pub type Launch = unsafe extern "C" fn(*mut *mut c_void, c_uint, c_int, c_uint) -> *const c_char;

/// Kernels as a shared object, each with indices of both widths.
struct Unit {
    library: *mut c_void,
    sources: Vec<[Source; 2]>,
}

/// A shared object of that C++.
pub fn load(text: &str) -> *mut c_void {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("cuda_{}_{number}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for generated code");
    let (source, object) = (folder.join("kernels.cpp"), folder.join("kernels.so"));
    for (name, text) in SHIM {
        std::fs::write(folder.join(name), text).expect("a file of the shim");
    }
    std::fs::write(&source, text).expect("a file of generated code");
    let flags = ["-std=c++17", "-O1", "-ffp-contract=off", "-fno-strict-aliasing", "-w", "-shared", "-fPIC"];
    // A GPU refuses such accesses, this processor does not.
    let flags = flags.into_iter().chain(["-fsanitize=alignment", "-fsanitize-undefined-trap-on-error"]);
    let sources = [&source, &folder.join("threads.cpp")];
    let output = Command::new(COMPILER).args(flags).args(sources).arg("-o").arg(&object).output();
    let output = output.expect("the compiler starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{}:\n{}",
        source.display(),
        errors.lines().take(40).collect::<Vec<_>>().join("\n")
    );
    let path = CString::new(object.to_str().expect("a path in UTF-8")).expect("no zero in a path");
    // SAFETY: the library was just made, and runs no code when it is loaded.
    let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    assert!(!library.is_null(), "{} cannot be loaded", object.display());
    std::fs::remove_dir_all(&folder).expect("the folder goes away");
    library
}

impl Unit {
    fn new(kernels: &[Kernel]) -> Unit {
        Unit::edited(kernels, &|function| function.into())
    }

    /// The functions with changes.
    fn edited(kernels: &[Kernel], edit: &dyn Fn(&str) -> String) -> Unit {
        let mut sources = Vec::new();
        // What has one prelude stands behind it.
        let mut parts: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
        for (n, kernel) in kernels.iter().enumerate() {
            sources.push([(IndexWidth::Bits32, "narrow"), (IndexWidth::Bits64, "wide")].map(|(width, name)| {
                let source =
                    Source::new(kernel, &format!("{name}{n}"), width).unwrap_or_else(|e| panic!("{e}\n{kernel}"));
                let part = parts.entry(source.prelude.clone()).or_default();
                part.0 += &edit(&source.function);
                part.1.push(source.entry.clone());
                source
            }));
        }
        let mut text = String::from("#include \"shim.h\"\n");
        for (n, (prelude, (functions, entries))) in parts.iter().enumerate() {
            text += &format!("#undef TW_INDEX\nnamespace part{n} {{\n{prelude}{functions}}}\n");
            entries.iter().for_each(|entry| text += &format!("TW_LAUNCHER({entry}, part{n})\n"));
        }
        let library = load(&text);
        Unit { library, sources }
    }

    fn check(&self, kernel: &Kernel, number: usize, width: IndexWidth, case: &Case) {
        let narrow = width == IndexWidth::Bits32;
        let fits = |n: &i64| n.unsigned_abs() < 1 << 30;
        if narrow && !case.extents.iter().all(fits) {
            return;
        }
        let source = &self.sources[number][usize::from(!narrow)];
        let mut want = case.data.clone();
        let recorded = interp::run(kernel, &mut want, &case.extents).unwrap_or_else(|e| panic!("{kernel}\n{e}"));
        for ((schedule, seed), shift) in SCHEDULES.into_iter().zip(SHIFTS) {
            let how = format!("schedule {schedule}/{seed}, shift {shift}, {width:?}\n{kernel}\n{}", source.function);
            let (got, statuses) =
                self.run(source, case, schedule, seed, shift).unwrap_or_else(|e| panic!("{e}, {how}"));
            for (p, (got, want)) in got.iter().zip(&want).enumerate() {
                for i in 0..got.len() {
                    let (got, want) = (got.get(i), want.get(i));
                    assert!(near(got, want, case.within), "buffer {p}[{i}]: {got:?}, not {want:?}, {how}");
                }
            }
            for (site, (got, want)) in statuses.iter().zip(&recorded.offences).enumerate() {
                let got = got.is_set().then_some((got.index, got.bound));
                assert_eq!(got, want.map(|o| (o.index, o.bound)), "site {site}, {how}");
            }
        }
    }

    fn run(
        &self,
        source: &Source,
        case: &Case,
        schedule: c_int,
        seed: c_uint,
        shift: usize,
    ) -> Result<(Vec<Data>, Vec<Status>), String> {
        let name = CString::new(format!("{}_launch", source.entry)).expect("no zero in a name");
        // SAFETY: the library exports that function, of that type, for each of its kernels.
        let launch: Launch = unsafe { std::mem::transmute(libc::dlsym(self.library, name.as_ptr())) };
        let mut buffers: Vec<Aligned> =
            case.data.iter().map(|d| Aligned::shifted(&to_bytes(d), shift * d.dtype().size())).collect();
        let mut pointers: Vec<*mut u8> = buffers.iter_mut().map(|b| b.at()).collect();
        let mut extents = case.extents.clone();
        let mut statuses = vec![Status::NONE; source.sites()];
        let tasks: i64 = source.grids(&case.extents).expect("grids").iter().sum();
        // As many blocks as there is work for, but few: warps take several tasks.
        let grid = (tasks as u64).div_ceil(u64::from(WARPS)).clamp(1, 3) as u32;
        let row = source.scratch_bytes(&case.extents).expect("a scratch size");
        let bytes = if source.scratch == Rows::Global { row * (grid * WARPS) as usize } else { 0 };
        let mut scratch = Aligned::new(&vec![0xa5; bytes]);
        let mut status: *mut Status = statuses.as_mut_ptr();
        let mut rows: *mut u8 = scratch.at();
        let (mut failed, mut progress) = (0u32, 0u32);
        let [at_failed, at_progress] = [&mut failed, &mut progress].map(|word| std::ptr::from_mut(word).addr() as u64);
        let mut place = Run { failed: at_failed, progress: at_progress, step: 7, gated: 1, launch: 3 };
        let mut arguments: Vec<*mut c_void> = Vec::new();
        arguments.extend(pointers.iter_mut().map(|p| std::ptr::from_mut(p).cast()));
        arguments.extend(extents.iter_mut().map(|e| std::ptr::from_mut(e).cast()));
        arguments.push(std::ptr::from_mut(&mut status).cast());
        arguments.push(std::ptr::from_mut(&mut rows).cast());
        arguments.push(std::ptr::from_mut(&mut place).cast());
        // SAFETY: the arguments are those of the kernel; buffers are as long as the interpreter found them to be enough.
        let failure = unsafe { launch(arguments.as_mut_ptr(), grid, schedule, seed) };
        if !failure.is_null() {
            // SAFETY: it is a text of the library, which is copied at once.
            return Err(unsafe { CStr::from_ptr(failure) }.to_string_lossy().into_owned());
        }
        // SAFETY: both are words of this function.
        let [failed, progress] = [&raw const failed, &raw const progress].map(|word| unsafe { word.read_volatile() });
        assert_eq!(progress, 7, "the step is known");
        assert_eq!(failed != 0, statuses.iter().any(Status::is_set), "one word says whether a site has failed");
        Ok((case.data.iter().zip(&buffers).map(|(d, b)| from_bytes(d.dtype(), b.bytes())).collect(), statuses))
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        // SAFETY: nothing of the library is in use any more.
        unsafe { libc::dlclose(self.library) };
    }
}

/// Bytes at a multiple of 64, with a border that must stay as it is.
pub struct Aligned {
    memory: Vec<u8>,
    from: usize,
    len: usize,
}

const BORDER: usize = 256;
const MARK: u8 = 0x5a;

impl Aligned {
    pub fn new(bytes: &[u8]) -> Aligned {
        Aligned::shifted(bytes, 0)
    }
    /// So many bytes behind that.
    fn shifted(bytes: &[u8], shift: usize) -> Aligned {
        let mut memory = vec![MARK; bytes.len() + 2 * BORDER + 64];
        let from = BORDER + memory[BORDER..].as_ptr().align_offset(64) + shift;
        memory[from..from + bytes.len()].copy_from_slice(bytes);
        Aligned { memory, from, len: bytes.len() }
    }
    pub fn at(&mut self) -> *mut u8 {
        self.memory[self.from..].as_mut_ptr()
    }
    pub fn bytes(&self) -> &[u8] {
        let end = self.from + self.len;
        let border = self.memory[..self.from].iter().chain(&self.memory[end..]);
        assert!(border.into_iter().all(|&b| b == MARK), "memory beside a buffer was written");
        &self.memory[self.from..end]
    }
}
