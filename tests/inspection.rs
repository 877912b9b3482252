//! Seeing what it did: dumps, stages, logs, bisection, checks, NaN, through options as users set them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use tracewright::events::{self, Counters, Event};
use tracewright::options::{Options, with_options};
use tracewright::{Result, Tensor, cond, fori, grad, jit, scan, scope, value_and_grad, while_loop};

fn options(name: &str, value: &str) -> Options {
    let mut options = Options::default();
    options.set(name, value).unwrap();
    options
}

fn softmax_loss(x: Tensor) -> (Tensor, Tensor) {
    scope("model", || value_and_grad(|x: &Tensor| x.softmax(-1).square().sum(..))(&x))
}

fn x() -> Tensor {
    Tensor::from([[1.0f32, -2.0, 0.5], [0.0, 4.0, -1.0]])
}

/// A folder of its own, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("tracewright-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_dump_has_every_stage() -> Result<()> {
    let folder = Folder::new("dump");
    let with_dump = Options { dump: Some(folder.0.clone()), ..Options::default() };
    with_options(with_dump, || jit(softmax_loss).named("loss").call(x()))?;
    let made = std::fs::read_dir(&folder.0).unwrap().map(|e| e.unwrap().path());
    let [one] = made.filter(|p| p.to_str().unwrap().ends_with("-loss")).collect::<Vec<_>>().try_into().unwrap();
    let read = |name: &str| std::fs::read_to_string(one.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert!(read("00-trace.ir").contains("in model.softmax"), "{}", read("00-trace.ir"));
    assert!(read("00-trace.ir").contains("gradient of tests/inspection.rs:"));
    assert!(read("program.txt").contains("kernel0"));
    assert!(read("kernel0.kir").starts_with("kernel"));
    assert!(read("kernel0.clif").contains("function"));
    assert!(read("kernel0.asm").contains("ret"));
    for part in ["canonicalize", "fuse", "lower", "codegen"] {
        assert!(read("timing.txt").contains(part), "{}", read("timing.txt"));
    }
    let page = read("index.html");
    let files: BTreeSet<String> =
        std::fs::read_dir(&one).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    for name in files.iter().filter(|name| *name != "index.html") {
        assert!(page.contains(&format!("<details id=\"{name}\"")), "{name} is not on the page");
    }
    // The same stages as values.
    let lowered = with_options(Options::default(), || jit(softmax_loss).named("loss").lower(x()))?;
    let stages: BTreeSet<String> = lowered.stages().iter().map(|s| s.name.clone()).collect();
    assert_eq!(stages, files.into_iter().filter(|name| name != "index.html").collect());
    assert_eq!(lowered.stage("program.txt"), Some(read("program.txt").as_str()));
    Ok(())
}

#[test]
fn a_dump_that_cannot_be_written_does_not_stop_a_call() -> Result<()> {
    let file = Folder::new("file-in-the-way");
    std::fs::write(&file.0, "not a folder").unwrap();
    let with_dump = Options { dump: Some(file.0.join("below")), ..Options::default() };
    let call = || with_options(with_dump, || jit(|x: Tensor| x * 3.0).call(Tensor::from(2.0f32)));
    let (out, counts) = Counters::of(call);
    assert_eq!(out?.item::<f32>()?, 6.0);
    assert!(counts[Event::DumpFailed] > 0, "nothing is silent");
    std::fs::remove_file(&file.0).unwrap();
    Ok(())
}

#[test]
fn logs_have_the_artefacts_asked_for() -> Result<()> {
    let text = |artefacts: &str| {
        let call = || with_options(options("LOG", artefacts), || jit(softmax_loss).named("logged").call(x()));
        let (result, text) = events::written(call);
        result.map(|_| text)
    };
    assert_eq!(text("")?, "");
    let passes = text("passes")?;
    assert!(passes.contains("logged: compiled in") && passes.contains("canonicalize"), "{passes}");
    assert!(!passes.contains("group of"));
    let fusion = text("fusion")?;
    assert!(fusion.contains("group of"), "{fusion}");
    let trace = text("trace,cache")?;
    assert!(trace.contains("logged"), "{trace}");
    let all = text("all")?;
    assert!(all.len() > passes.len().max(fusion.len()));
    Ok(())
}

#[test]
fn passes_can_be_left_out_and_stopped() -> Result<()> {
    let kernels = |spec: &str| {
        let f = jit(softmax_loss);
        let out = with_options(options("PASSES", spec), || f.call(x()))?;
        let summary = f.summary().expect("it was called");
        assert!(summary.compiled, "{summary:?}");
        Ok::<_, tracewright::Error>((summary.launches, out.0.item::<f32>()?, out.1.to_vec::<f32>()?))
    };
    let (fused, value, gradient) = kernels("")?;
    for spec in ["-fuse", "-canonicalize", "-cse,-dce", "stop=1", "stop=5"] {
        let (launches, v, g) = kernels(spec)?;
        assert!(launches >= fused, "{spec}: {launches} launches, fused {fused}");
        assert!((v - value).abs() < 1e-6 && g.iter().zip(&gradient).all(|(a, b)| (a - b).abs() < 1e-6), "{spec}");
    }
    assert!(kernels("-fuse")?.0 > fused);
    let unknown = jit(softmax_loss);
    let mut misspelt = Options::default();
    misspelt.passes.disabled.push("fusee".into());
    let e = with_options(misspelt, || unknown.call(x()));
    let message = e.unwrap_err().to_string();
    assert!(message.contains("did you mean") && message.contains("fuse"), "{message}");
    Ok(())
}

#[test]
fn without_the_jit_everything_is_interpreted_and_says_so() -> Result<()> {
    let f = jit(softmax_loss);
    let (out, events) = events::capture(|| with_options(options("JIT", "off"), || f.call(x())));
    let (value, _) = out?;
    let summary = f.summary().expect("it was called");
    assert!(!summary.compiled && summary.launches == 0);
    assert_eq!(summary.fallback.as_deref(), Some("the JIT is off"));
    assert!(events.iter().all(|e| e.event != Event::Fallback), "it was asked for: {events:?}");
    let compiled = jit(softmax_loss).call(x())?.0;
    assert!((value.item::<f32>()? - compiled.item::<f32>()?).abs() < 1e-6);
    Ok(())
}

#[test]
fn every_check_level_compiles() -> Result<()> {
    let plain = jit(softmax_loss).call(x())?.1.to_vec::<f32>()?;
    for level in ["0", "1", "2", "3"] {
        let f = jit(softmax_loss);
        let before = Counters::thread();
        let (_, g) = with_options(options("CHECK", level), || f.call(x()))?;
        assert_eq!(g.to_vec::<f32>()?, plain, "level {level}");
        let happened = Counters::thread().since(&before);
        assert_eq!((happened[Event::Fallback], happened[Event::Bug]), (0, 0), "level {level}");
    }
    Ok(())
}

#[test]
fn the_op_that_first_made_a_nan_or_infinity_is_named() -> Result<()> {
    let says = |input: [f32; 2], f: fn(Tensor) -> Tensor| {
        let f = jit(f);
        let out = with_options(options("NAN", "on"), || f.call(Tensor::from(input)));
        let message =
            out.map(|_| "nothing".to_string()).unwrap_or_else(|e| e.headline().replace("error[argument]: ", ""));
        // The next call works.
        with_options(options("NAN", "on"), || f.call(Tensor::from([1.0f32, 2.0]))).unwrap();
        message
    };
    let infinity = "made the first infinity, out of finite operands";
    assert_eq!(says([1.0, 0.0], |x| (&x + 1.0) / x), format!("div: {infinity}"));
    assert_eq!(says([1.0, 0.0], |x| x.log().exp()), format!("log: {infinity}"));
    assert_eq!(says([-1.0, 4.0], |x| x.sqrt() * 2.0), "sqrt: made the first NaN, out of finite operands");
    assert_eq!(says([f32::INFINITY, 0.0], |x| &x - &x), "sub: made the first NaN, out of an infinity");
    // What came in, and constants, are what somebody wanted.
    assert_eq!(says([f32::NAN, f32::INFINITY], |x| x * 2.0), "nothing");
    assert_eq!(says([1.0, 2.0], |x| x.logsumexp(0)), "nothing");
    let error = with_options(options("NAN", "on"), || {
        jit(|x: Tensor| scope("head", || x.log())).call(Tensor::from([0.0f32])).unwrap_err()
    });
    assert_eq!(error.scope(), "head");
    // Inside of branches and loops it is the op that runs there, in its iteration.
    let infinity = |x: Tensor| scan(|c: &Tensor, x: &Tensor| ((c + x).log(), ()), &Tensor::from(1.0f32), &x).0;
    assert_eq!(
        says([0.0, 0.0], infinity),
        "log: made the first infinity, out of finite operands, in iteration 1 of scan"
    );
    let chosen =
        |x: Tensor| fori(0..3, |_, x: &Tensor| cond(&x.sum(..).abs().gt(9.0), || x.sqrt() - 7.0, || x * 10.0), &x);
    let nested = "sqrt: made the first NaN, out of finite operands, in iteration 2 of scan";
    assert_eq!(says([0.5, 0.5], chosen), nested);
    let repeated = |x: Tensor| while_loop(|x: &Tensor| x.sum(..).gt(5.0), |x: &Tensor| (x - 3.0).sqrt() - x, &x);
    assert_eq!(
        says([2.0, 5.0], repeated),
        "sqrt: made the first NaN, out of finite operands, in iteration 0 of while_loop"
    );
    let line = line!() + 2;
    let error = with_options(options("NAN", "on"), || {
        let log = |c: &Tensor, x: &Tensor| ((c * x).log(), ());
        grad(|x: &Tensor| scan(log, &Tensor::from(-1.0f32), x).0)(&Tensor::from([1.0f32, 2.0])).err().unwrap()
    });
    assert_eq!((error.op(), error.location().unwrap().line), ("log", line), "{error}");
    assert!(error.location().unwrap().to_string().starts_with("tests/inspection.rs:"));
    Ok(())
}

/// Events of that kind that a compilation and a call record, with their reasons.
fn reasons(event: Event, f: impl FnOnce()) -> Vec<String> {
    let ((), records) = events::capture(f);
    records.into_iter().filter(|r| r.event == event).map(|r| r.reason).collect()
}

#[test]
fn caches_kernels_and_memory_say_what_they_did() -> Result<()> {
    let text = |artefacts: &str| {
        let f = jit(|x: Tensor| x.softmax(-1)).named("seen");
        let call = || with_options(options("LOG", artefacts), || (0..3).try_for_each(|_| f.call(x()).map(drop)));
        let (result, text) = events::written(call);
        result.map(|()| text)
    };
    let cache = text("cache")?;
    assert!(cache.contains("[cache] cache miss: seen (tests/inspection.rs:"), "{cache}");
    assert!(cache.contains("[cache] kernels: ") && cache.contains(" were compiled before"), "{cache}");
    let kernels = text("kernels")?;
    assert!(
        kernels.contains("[kernels] seen: kernels 1, launches 1, products 0, sorts 0, ops with code of their own 0, interpreted steps 0"),
        "{kernels}"
    );
    assert!(kernels.contains("bytes of code, compiled in"), "{kernels}");
    let memory = text("memory")?;
    // Six floats come in, six go out.
    let plan = "[memory] seen: peak 48 bytes: inputs 24, constants 0, outputs 24, 0 slots of 0 bytes";
    assert!(memory.contains(plan), "{memory}");
    let lowered = jit(|x: Tensor| x.matmul(&x.t()).exp().matmul(&x)).dynamic("arguments.0", 0, "B", 1..=9).lower(x())?;
    let program = lowered.stage("program.txt").unwrap();
    assert!(
        program.contains("peak: 24*B+8*B*B bytes (inputs 12*B, constants 0, outputs 12*B, arena 8*B*B)"),
        "{program}"
    );
    let ((), counts) = Counters::of(|| {
        let f = jit(softmax_loss);
        (0..4).for_each(|_| drop(f.call(x()).unwrap()));
    });
    assert!(counts[Event::CacheMiss] >= 1 && counts[Event::CacheHit] >= 3, "{counts}");
    Ok(())
}

#[test]
fn a_pass_that_is_left_out_is_an_event() {
    let run = || drop(with_options(options("PASSES", "-fuse,stop=15"), || jit(|x: Tensor| x + 1.0).call(x())).unwrap());
    let skipped = reasons(Event::PassSkipped, run);
    assert!(skipped.iter().any(|r| r.contains("fuse") && r.contains("switched off by name")), "{skipped:?}");
    assert!(skipped.iter().any(|r| r.contains("after `stop`")), "{skipped:?}");
}

#[test]
fn a_comparison_that_is_not_made_is_an_event() {
    let large = Tensor::zeros([1025, 1025], tracewright::DType::F32);
    let run = || drop(with_options(options("CHECK", "3"), || jit(|x: Tensor| x + 1.0).named("f").call(large)).unwrap());
    assert_eq!(reasons(Event::CheckSkipped, run), ["f: too large to compare passes with the interpreter"]);
    let index = Tensor::from([0i64, 0]);
    let f = jit(|i: Tensor| Tensor::from([1.0f32]).index_select(0, &i)).named("f");
    let run = || drop(with_options(options("CHECK", "3"), || f.call(index)).unwrap());
    let skipped = reasons(Event::CheckSkipped, run);
    assert!(skipped.len() == 1 && skipped[0].starts_with("f: passes are not compared: "), "{skipped:?}");
}

#[test]
fn dumps_are_numbered_after_those_of_earlier_processes() -> Result<()> {
    let folder = Folder::new("numbers");
    std::fs::create_dir_all(folder.0.join("0041-earlier")).unwrap();
    std::fs::create_dir_all(folder.0.join("notes-9999")).unwrap();
    for name in ["one", "two"] {
        let with_dump = Options { dump: Some(folder.0.clone()), ..Options::default() };
        with_options(with_dump, || jit(|x: Tensor| x + 1.0).named(name).compile(Tensor::from(1.0f32)))?;
    }
    for name in ["0042-one", "0043-two"] {
        assert!(folder.0.join(name).join("program.txt").exists(), "{name}");
    }
    Ok(())
}
