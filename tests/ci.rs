//! `.ci/run` stops with a failure at the first step that fails.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs `.ci/run` with a `cargo` that only writes down its arguments and fails where `fails` occurs in them.
fn run(number: usize, fails: &str) -> (bool, Vec<String>) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("ci-{number}"));
    fs::create_dir_all(&folder).unwrap();
    let (cargo, log) = (folder.join("cargo"), folder.join("log"));
    let _ = fs::remove_file(&log);
    let script =
        format!("#!/bin/sh\necho \"$*\" >> '{}'\ncase \"$*\" in *\"$CI_STEP_FAILS\"*) exit 1;; esac\n", log.display());
    fs::write(&cargo, script).unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let status = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/run"))
        .env("PATH", path)
        .env("CI_STEP_FAILS", fails)
        .env("NVRTC", "named, so nothing is fetched")
        .env("TW_ONNX_CASES", "named as well")
        .status()
        .unwrap();
    let steps =
        fs::read_to_string(&log).unwrap().lines().filter(|l| !l.contains("--version")).map(String::from).collect();
    (status.success(), steps)
}

#[test]
fn a_failing_step_fails_the_run() {
    let (passed, steps) = run(0, "no such step");
    let all_tests = "test --locked --workspace --features cuda";
    assert!(passed && steps.len() > 7 && steps.iter().any(|step| step == all_tests), "{steps:#?}");
    for (i, step) in steps.iter().enumerate() {
        let (passed, until) = run(i + 1, step);
        assert!(!passed, "the run passed although `cargo {step}` failed");
        assert_eq!(until, steps[..=i], "steps ran after `cargo {step}` had failed");
    }
}
