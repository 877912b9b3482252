use super::folder::Scratch;
use super::*;
use crate::events::Counters;
use crate::options::{CacheFolder, Options, with_options};
use std::ffi::{CString, c_void};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

const TARGET: Target = Target { arch: Arch { major: 9, minor: 0 }, version: (13, 0) };

fn cache() -> Cache {
    Cache::new()
}

/// Stands for the compiler: what it makes is the text.
fn fake(text: &str) -> Result<Cubin, NvrtcError> {
    match text {
        "bad" => Err(NvrtcError::Refused("no".into())),
        text => Ok(Cubin { bytes: text.as_bytes().repeat(3), log: format!("log of {text}") }),
    }
}

/// Hits and misses of a call, with the texts that came back.
fn get(cache: &Cache, texts: &[&str], target: Target, folder: Option<&Folder>) -> (u64, u64) {
    let (found, counts) = Counters::of(|| cache.get(texts, target, folder, &fake).unwrap());
    for (cubin, text) in found.iter().zip(texts) {
        assert_eq!(**cubin, fake(text).unwrap());
    }
    assert_eq!(found.len(), texts.len());
    (counts[Event::CacheHit], counts[Event::CacheMiss])
}

#[test]
fn memory_then_disk_then_the_compiler() {
    let scratch = Scratch::new("order");
    let folder = Folder::open(scratch.0.clone(), ON_DISK).unwrap();
    let (first, second) = (cache(), cache());
    assert_eq!(get(&first, &["a", "b", "a"], TARGET, Some(&folder)), (1, 2));
    assert_eq!(get(&first, &["b", "c"], TARGET, None), (1, 1));
    // Another process: what is on disk is not compiled.
    assert_eq!(get(&second, &["c", "b", "a"], TARGET, Some(&folder)), (2, 1));
    assert_eq!(get(&second, &["a", "b", "c"], TARGET, None), (3, 0));
    assert_eq!(get(&cache(), &["a", "b", "c"], TARGET, Some(&folder)), (3, 0));
    assert_eq!(get(&cache(), &["a", "b", "c"], TARGET, None), (0, 3));
    assert_eq!(get(&first, &[], TARGET, Some(&folder)), (0, 0));
}

#[test]
fn a_failure_is_told_and_not_kept() {
    let (cache, scratch) = (cache(), Scratch::new("failure"));
    let folder = Folder::open(scratch.0.clone(), ON_DISK).unwrap();
    for _ in 0..2 {
        let failed = cache.get(&["a", "bad"], TARGET, Some(&folder), &fake);
        assert_eq!(failed.unwrap_err(), NvrtcError::Refused("no".into()));
    }
    assert_eq!(get(&cache, &["a"], TARGET, None), (1, 0));
    assert_eq!(std::fs::read_dir(&scratch.0).unwrap().count(), 1);
}

#[test]
fn the_key_has_all_that_code_depends_on() {
    let targets = [
        TARGET,
        Target { arch: Arch { major: 8, minor: 0 }, ..TARGET },
        Target { version: (13, 1), ..TARGET },
        Target { version: (12, 0), ..TARGET },
    ];
    let mut keys: Vec<Key> = targets.iter().flat_map(|t| ["", "a", "b"].map(|text| t.key(text))).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 12);
    assert_eq!(TARGET.key("a"), TARGET.key("a"));
}

#[test]
fn many_threads_compile_a_text_once() {
    let (cache, compiled) = (cache(), AtomicUsize::new(0));
    let slow = |text: &str| {
        compiled.fetch_add(1, Relaxed);
        std::thread::sleep(std::time::Duration::from_millis(5));
        fake(text)
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| cache.get(&["a", "b"], TARGET, None, &slow).unwrap());
        }
    });
    assert_eq!(compiled.into_inner(), 2);
}

#[test]
fn threads_compile_different_texts_at_the_same_time() {
    let (cache, there) = (cache(), AtomicUsize::new(0));
    let meet = |text: &str| {
        there.fetch_add(1, Relaxed);
        let met = (0..10_000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(1));
            there.load(Relaxed) == 2
        });
        assert!(met, "{text} is compiled alone");
        fake(text)
    };
    std::thread::scope(|scope| {
        for text in ["a", "b"] {
            let (cache, meet) = (&cache, &meet);
            scope.spawn(move || cache.get(&[text], TARGET, None, meet).unwrap());
        }
    });
    assert!(lock(&cache.claimed).is_empty());
}

#[test]
fn memory_is_bounded() {
    let cache = cache();
    let big = |_: &str| Ok(Cubin { bytes: vec![0; IN_MEMORY / 4], log: String::new() });
    let ((), counts) = Counters::of(|| {
        for text in ["a", "b", "c", "d", "a", "e"] {
            cache.get(&[text], TARGET, None, &big).unwrap();
        }
    });
    assert_eq!((counts[Event::Eviction], counts[Event::CacheMiss]), (1, 5));
    assert!(lock(&cache.memory).as_ref().unwrap().bytes <= IN_MEMORY);
    let ((), counts) = Counters::of(|| _ = cache.get(&["a", "e", "b"], TARGET, None, &big).unwrap());
    assert_eq!(counts[Event::CacheMiss], 1, "what was used last is there");
}

#[test]
fn the_folder_is_that_of_the_options() {
    let scratch = Scratch::new("options");
    let of = |cache: CacheFolder| with_options(Options { cache, ..Options::default() }, folder_in_force);
    assert!(of(CacheFolder::Off).is_none());
    let one = of(CacheFolder::At(scratch.0.join("one"))).unwrap();
    assert!(Arc::ptr_eq(&one, &of(CacheFolder::At(scratch.0.join("one"))).unwrap()));
    std::fs::write(scratch.0.join("file"), "").unwrap();
    let (counts, records) = events::capture(|| {
        Counters::of(|| (0..3).for_each(|_| assert!(of(CacheFolder::At(scratch.0.join("file"))).is_none()))).1
    });
    assert_eq!(counts[Event::CacheRefused], 1);
    assert!(records[0].reason.contains("file"), "{records:?}");
}

/// Loads the compiler that `NVRTC` names, so that it is found by its name. False, with a line that says so, where there is none.
fn nvrtc() -> bool {
    let Some(path) = std::env::var_os("NVRTC") else {
        emulator::skip("NVRTC does not name the library");
        return false;
    };
    let path = Path::new(&path);
    let load = |path: &Path| {
        let name = CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: the libraries are NVIDIA's; loading them changes nothing of this process.
        let library: *mut c_void = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
        assert!(!library.is_null(), "{} cannot be loaded", path.display());
    };
    let mut names = path.parent().unwrap().read_dir().unwrap().flatten().map(|entry| entry.path());
    let builtins = names.find(|p| p.file_name().is_some_and(|n| n.to_string_lossy().contains("nvrtc-builtins.so")));
    builtins.iter().for_each(|p| load(p));
    load(path);
    true
}

#[test]
fn nvidias_compiler_fills_the_cache() {
    // Other tests of this process load the emulator under the compiler's name.
    let name = "cuda::cache::tests::in_a_process_with_nvidias_compiler";
    let args = ["--exact", name, "--ignored", "--nocapture"];
    let out = std::process::Command::new(std::env::current_exe().unwrap()).args(args).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && text.contains("1 passed"), "{text}");
    print!("{text}");
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn in_a_process_with_nvidias_compiler() {
    if !nvrtc() {
        return;
    }
    let scratch = Scratch::new("nvrtc");
    let options = Options { cache: CacheFolder::At(scratch.0.clone()), ..Options::default() };
    let text = |n| format!("extern \"C\" __global__ void k{n}(float* x) {{ x[threadIdx.x] += {n}.0f; }}");
    let texts: Vec<String> = (0..3).map(text).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    with_options(options, || {
        // An RTX 4090 is 8.9, which version 13 knows; no GPU is 8.255.
        for gpu in [Arch { major: 8, minor: 0 }, Arch { major: 9, minor: 0 }, Arch { major: 8, minor: 255 }] {
            let (found, counts) = Counters::of(|| cubins(&texts, gpu).unwrap());
            assert_eq!((counts[Event::CacheMiss], counts[Event::CacheHit]), (3, 0), "{gpu}");
            for (n, cubin) in found.iter().enumerate() {
                assert_eq!(&cubin.bytes[..4], b"\x7fELF");
                let usage = cubin.usage();
                assert!(usage.len() == 1 && usage[0].entry == format!("k{n}") && usage[0].registers > 0, "{usage:?}");
            }
            let (one, counts) = Counters::of(|| cubin(texts[1], gpu).unwrap());
            assert!(Arc::ptr_eq(&one, &found[1]) && counts[Event::CacheMiss] == 0);
        }
        assert_eq!(std::fs::read_dir(&scratch.0).unwrap().count(), 9);
        let error = cubin("extern \"C\" __global__ void k(float* x) { y = 1; }", Arch { major: 9, minor: 0 });
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("bug in tracewright: NVRTC refuses a kernel: kernels.cu(1): error: "), "{error}");
        let error = cubin(texts[0], Arch { major: 3, minor: 5 }).unwrap_err().to_string();
        assert!(error.contains("cannot compile for sm_35; it knows sm_75, "), "{error}");
    });
}
