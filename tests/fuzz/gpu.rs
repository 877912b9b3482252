//! The graphs on a GPU, or on the emulator of one under several orders of threads.

#[path = "../cuda/device.rs"]
#[allow(dead_code, reason = "graphs need no second device")]
mod device;

use crate::{explain_all, number, run, summary};
use emulator::{Pace, Schedule};
use std::time::Instant;

/// Graphs of a usual run: seeds from 0.
const GRAPHS: u64 = 300;

/// In which order threads go on, and when what is enqueued runs; nobody says so to a GPU.
pub fn schedules(seed: u64) -> [(Schedule, Pace); 3] {
    let chance = seed as u32;
    [
        (Schedule::LastIn, Pace::Eager),
        (Schedule::Shuffled(chance), Pace::Chance(chance)),
        (Schedule::FirstIn, Pace::Lazy),
    ]
}

pub fn set_schedule((schedule, pace): (Schedule, Pace)) {
    if !device::is_real() {
        emulator::set_schedule(schedule);
        emulator::set_pace(pace);
    }
}

fn check(first: u64, count: u64) {
    let Some(device) = device::device() else { return };
    let begun = Instant::now();
    let report = run(first, count, device);
    explain_all(&report.failures);
    summary(&report.facts, count, begun);
    let facts = report.facts;
    assert!(facts.unknown * 10 < facts.compared, "{} elements of {} were not compared", facts.unknown, facts.compared);
    let seen = [facts.kernels as u64 / count, facts.errors as u64, facts.donated as u64, facts.derivatives as u64];
    assert!(seen.iter().all(|&n| n > 0), "kernels of a graph, errors, donations, derivatives: {seen:?}");
}

#[test]
fn random_graphs_agree_on_a_gpu() {
    check(0, GRAPHS);
}

/// As `long_run`; `FUZZ_GRAPHS` are 2000 unless told.
#[test]
#[ignore = "takes an hour"]
fn long_run_on_a_gpu() {
    check(number("FUZZ_FIRST", GRAPHS), number("FUZZ_GRAPHS", 2000));
}
