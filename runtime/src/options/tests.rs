use super::*;
use std::panic::{AssertUnwindSafe, catch_unwind};

fn vars(items: &[(&str, &str)]) -> Result<Options, OptionsError> {
    Options::from_vars(items.iter().map(|(name, value)| (name.into(), value.into())))
}

fn error(name: &str, value: &str) -> String {
    vars(&[(name, value)]).unwrap_err().to_string()
}

#[test]
fn each_variable_is_read() {
    let options = vars(&[
        ("TRACEWRIGHT_DEVICE", "cuda:1"),
        ("TRACEWRIGHT_GRAPHS", "off"),
        ("TRACEWRIGHT_LOG", "cache, fusion,"),
        ("TRACEWRIGHT_DUMP", "out/dump"),
        ("TRACEWRIGHT_CHECK", "3"),
        ("TRACEWRIGHT_PASSES", "-fuse,stop=17,-cse"),
        ("TRACEWRIGHT_JIT", "off"),
        ("TRACEWRIGHT_NAN", "1"),
        ("TRACEWRIGHT_THREADS", "3"),
        ("TRACEWRIGHT_STRICT", "true"),
        ("TRACEWRIGHT_STRICT16", "on"),
        ("TRACEWRIGHT_TF32", "on"),
        ("TRACEWRIGHT_CACHE", "out/cache"),
        ("PATH", "ignored"),
    ])
    .unwrap();
    let expected = Options {
        device: Device::Cuda(1),
        graphs: false,
        log: [Artefact::Fusion, Artefact::Cache].into_iter().collect(),
        dump: Some("out/dump".into()),
        check: 3,
        passes: PassSpec { disabled: vec!["fuse".into(), "cse".into()], stop: Some(17) },
        jit: false,
        nan: true,
        threads: Some(3),
        strict: true,
        strict16: true,
        tf32: true,
        cache: CacheFolder::At("out/cache".into()),
    };
    assert_eq!(options, expected);
    // Printed as variables, it reads back the same.
    let text = options.to_string();
    let again: Vec<(&str, &str)> = text.split(' ').map(|word| word.split_once('=').unwrap()).collect();
    assert_eq!((again.len(), vars(&again).unwrap()), (REGISTRY.len(), options));
    assert_eq!(Options::default().to_string(), "");
}

#[test]
fn empty_values_are_defaults() {
    let all: Vec<(String, &str)> = REGISTRY.iter().map(|e| (format!("{PREFIX}{}", e.name), "")).collect();
    let all: Vec<(&str, &str)> = all.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    assert_eq!(vars(&all).unwrap(), Options::default());
    let mut options = vars(&[("TRACEWRIGHT_CHECK", "3")]).unwrap();
    options.set("CHECK", "").unwrap();
    assert_eq!(options, Options::default());
}

#[test]
fn unknown_names_and_values_are_errors_with_a_suggestion() {
    assert_eq!(
        error("TRACEWRIGHT_LGO", "cache"),
        "TRACEWRIGHT_LGO=cache: unknown variable; did you mean TRACEWRIGHT_LOG?"
    );
    assert_eq!(
        error("TRACEWRIGHT_COLOUR", "1"),
        "TRACEWRIGHT_COLOUR=1: unknown variable; there are LOG, DUMP, CHECK, PASSES, JIT, NAN, THREADS, STRICT, STRICT16, TF32, CACHE, DEVICE, GRAPHS"
    );
    assert_eq!(
        error("TRACEWRIGHT_LOG", "cahce"),
        "TRACEWRIGHT_LOG=cahce: unknown artefact `cahce`; did you mean `cache`?"
    );
    assert_eq!(
        error("TRACEWRIGHT_LOG", "trace,colours"),
        "TRACEWRIGHT_LOG=trace,colours: unknown artefact `colours`; one of trace, cache, fusion, kernels, memory, passes, all"
    );
    assert_eq!(error("TRACEWRIGHT_JIT", "oof"), "TRACEWRIGHT_JIT=oof: unknown value `oof`; did you mean `off`?");
    for value in ["4", "-1", "two", "99999999999999999999999"] {
        assert_eq!(error("TRACEWRIGHT_CHECK", value), format!("TRACEWRIGHT_CHECK={value}: not a number from 0 to 3"));
    }
    assert_eq!(error("TRACEWRIGHT_THREADS", "0"), "TRACEWRIGHT_THREADS=0: not a number from 1 to 256");
    assert_eq!(error("TRACEWRIGHT_PASSES", "fuse"), "TRACEWRIGHT_PASSES=fuse: `fuse` is neither `-NAME` nor `stop=N`");
    assert_eq!(error("TRACEWRIGHT_PASSES", "stop=x"), "TRACEWRIGHT_PASSES=stop=x: `x` in `stop=x` is not a count");
    assert_eq!(
        vars(&[("TRACEWRIGHT_NAN", "maybe"), ("TRACEWRIGHT_CHECK", "9")]).unwrap_err().to_string(),
        "TRACEWRIGHT_CHECK=9: not a number from 0 to 3\n\
         TRACEWRIGHT_NAN=maybe: unknown value `maybe`; one of on, off"
    );
    let mut options = Options::default();
    assert!(options.set("TRACEWRIGHT_JIT", "off").is_ok() && options.set("JITT", "off").is_err() && !options.jit);
}

#[cfg(unix)]
#[test]
fn bytes_that_are_not_text_are_an_error() {
    use std::os::unix::ffi::OsStringExt;
    let bytes = OsString::from_vec(vec![b'o', 0xff]);
    let error = Options::from_vars([("TRACEWRIGHT_JIT".into(), bytes.clone())]).unwrap_err();
    assert_eq!(error.to_string(), "TRACEWRIGHT_JIT=o\u{fffd}: not UTF-8");
    assert!(Options::from_vars([(bytes, "x".into())]).is_ok(), "some other program's variable");
}

#[test]
fn pass_names_are_checked_by_who_knows_them() {
    let spec = vars(&[("TRACEWRIGHT_PASSES", "-fuze")]).unwrap().passes;
    assert!(spec.check(["fuze"]).is_ok());
    let error = spec.check(["fold", "fuse"]).unwrap_err();
    assert_eq!(error.to_string(), "TRACEWRIGHT_PASSES=-fuze: unknown pass `fuze`; did you mean `fuse`?");
}

#[test]
fn scopes_nest_and_belong_to_a_thread() {
    let level = |check| Options { check, ..Options::default() };
    let check = || current().unwrap().check;
    let outside = check();
    with_options(level(2), || {
        assert_eq!(check(), 2);
        with_options(level(3), || assert_eq!(check(), 3));
        let _ = catch_unwind(AssertUnwindSafe(|| with_options(level(0), || panic!("left early"))));
        assert_eq!(check(), 2);
        std::thread::scope(|s| s.spawn(|| assert_eq!(check(), outside)).join().unwrap());
    });
    assert_eq!(check(), outside);
}

#[test]
fn values_in_code_are_held_against_the_same_registry() {
    let default = Options::default;
    let error = |options: Options| with_options(options, || current().unwrap_err().to_string());
    assert_eq!(error(Options { check: 9, ..default() }), "TRACEWRIGHT_CHECK=9: not a number from 0 to 3");
    assert_eq!(error(Options { threads: Some(0), ..default() }), "TRACEWRIGHT_THREADS=0: not a number from 1 to 256");
    let passes = PassSpec { disabled: vec!["fuse".into(), String::new()], stop: None };
    assert_eq!(
        error(Options { check: 4, threads: Some(100_000), passes, ..default() }),
        "TRACEWRIGHT_CHECK=4: not a number from 0 to 3\n\
         TRACEWRIGHT_PASSES=-fuse,-: `-` is neither `-NAME` nor `stop=N`\n\
         TRACEWRIGHT_THREADS=100000: not a number from 1 to 256"
    );
    with_options(Options { check: 9, ..default() }, || {
        assert_eq!(with_options(Options { check: 3, ..default() }, || current().unwrap().check), 3);
        assert_eq!(crate::pool::global().num_threads(), crate::pool::cores());
    });
    let dump = Some(PathBuf::from("a, stop=b"));
    assert_eq!(with_options(Options { dump: dump.clone(), ..default() }, || current().unwrap().dump.clone()), dump);
}

#[test]
fn the_table_names_every_setting() {
    let table = markdown();
    assert_eq!(table.lines().count(), 2 + REGISTRY.len());
    assert!(table.contains("| `TRACEWRIGHT_CHECK` | `0` to `3` | `1` | verifies: 0 nothing,"), "{table}");
    assert!(table.contains("| `TRACEWRIGHT_DUMP` | directory | none |"), "{table}");
    for artefact in Artefact::ALL {
        assert!(REGISTRY[0].values.contains(artefact.name()));
    }
}

/// Not a test of its own: what [`the_environment_is_read_once`] runs with variables set.
#[test]
#[ignore = "run by another test in a process of its own"]
fn in_a_process_of_its_own() {
    match current() {
        Ok(options) => println!("read: {options}"),
        Err(error) => println!("error: {error}"),
    }
    let threads = || crate::pool::global().num_threads();
    let of = |n| Options { threads: Some(n), ..Options::default() };
    // The first use of the pool does not fix what later ones may use.
    assert_eq!(with_options(of(7), threads), 7);
    assert_eq!(threads(), current().ok().and_then(|o| o.threads).unwrap_or(crate::pool::cores()));
    set_default(Options { check: 0, ..of(5) });
    assert_eq!(current().unwrap().check, 0);
    assert_eq!((threads(), with_options(of(2), threads), crate::pool::with_threads(3, threads)), (5, 2, 3));
    assert_eq!(std::thread::scope(|s| s.spawn(threads).join().unwrap()), 5);
    assert_eq!(with_options(Options::default(), threads), crate::pool::cores());
    std::thread::scope(|s| s.spawn(|| assert_eq!(current().unwrap().check, 0)).join().unwrap());
    set_default(of(0));
    let error = std::thread::scope(|s| s.spawn(|| current().unwrap_err().to_string()).join().unwrap());
    assert_eq!(error, "TRACEWRIGHT_THREADS=0: not a number from 1 to 256");
    set_default(of(5));
    println!("done");
}

#[test]
fn the_environment_is_read_once() {
    let run = |vars: &[(&str, &str)]| {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "options::tests::in_a_process_of_its_own", "--ignored", "--nocapture"]);
        let output = command.envs(vars.iter().copied()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("done"), "{text}");
        text
    };
    let text = run(&[("TRACEWRIGHT_THREADS", "3"), ("TRACEWRIGHT_CHECK", "2")]);
    assert!(text.contains("read: TRACEWRIGHT_CHECK=2 TRACEWRIGHT_THREADS=3"), "{text}");
    let text = run(&[("TRACEWRIGHT_CHEK", "2")]);
    assert!(text.contains("error: TRACEWRIGHT_CHEK=2: unknown variable; did you mean TRACEWRIGHT_CHECK?"), "{text}");
}
