//! Differential fuzzing: random well-typed graphs over every primitive go through every stage of the compiler, and every
//! stage is compared with the interpreter.
//!
//! A graph is a function of its seed alone. To look at one again, put its seed into [`RERUN`] and run
//! `cargo test --test fuzz rerun -- --nocapture`. The test `long_run` draws more graphs than a usual run.

mod batching;
mod bounds;
mod case;
mod derivatives;
mod draw;
#[cfg(feature = "cuda")]
mod gpu;
mod random;
mod shrink;
mod stages;

use case::Case;
use ir::Primitive;
use ir::ops::Sample;
use runtime::Device;
use stages::{Facts, Failure};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Graphs of a usual run: seeds from 0.
const GRAPHS: u64 = 10_000;
/// Seeds to look at.
const RERUN: &[u64] = &[];
/// Failures after which a run stops.
const ENOUGH: usize = 5;

struct Report {
    facts: Facts,
    failures: Vec<(u64, String)>,
}

/// Checks the graphs of a range of seeds there, on all cores.
fn run(first: u64, count: u64, device: Device) -> Report {
    let next = AtomicU64::new(first);
    let report = Mutex::new(Report { facts: Facts::default(), failures: Vec::new() });
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut own = Facts::default();
                loop {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= first + count || report.lock().unwrap().failures.len() >= ENOUGH {
                        break;
                    }
                    let case = Case { device, ..draw::draw(seed) };
                    match stages::check(&case) {
                        Ok(facts) => own.add(facts),
                        Err(failure) => {
                            let text = explain(seed, &case, &failure);
                            // A long run may be cut short.
                            eprintln!("{text}");
                            report.lock().unwrap().failures.push((seed, text));
                        }
                    }
                }
                report.lock().unwrap().facts.add(own);
            });
        }
    });
    report.into_inner().unwrap()
}

/// A failure for people: the smallest case that fails in the same way.
fn explain(seed: u64, case: &Case, failure: &Failure) -> String {
    let (small, failure) = shrink::shrink(case, failure);
    let mut text = format!("seed {seed} fails in stage `{}`: {}\n{}", failure.stage, failure.message, small.graph);
    for (batch, arguments) in small.batches.iter().zip(&small.arguments) {
        let _ = writeln!(text, "with B = {batch}: {arguments:?}");
    }
    let Case { donations, strict16, order, passes, check, device, .. } = &small;
    let _ = writeln!(
        text,
        "on {device}, donations {donations:?}, strict16 {strict16}, order {order}, passes `{passes}`, check {check}"
    );
    text
}

fn explain_all(failures: &[(u64, String)]) {
    let all: String = failures.iter().map(|(_, text)| format!("\n{text}")).collect();
    assert!(failures.is_empty(), "{} of the graphs failed:{all}", failures.len());
}

fn summary(facts: &Facts, count: u64, begun: Instant) {
    println!(
        "{count} graphs in {:.1?}: {} ops with their dtypes drawn, {} ops compiled, {} kernels ({} runs of one on several threads), {} elements compared, {:.1} % of them open, \
         {} index errors, {} calls with donations, {} derivatives compared, {} extents refused, {} batched, {} of them through every stage",
        begun.elapsed(),
        facts.drawn.len(),
        facts.survived.len(),
        facts.kernels,
        facts.parallel,
        facts.compared,
        share(facts) * 100.0,
        facts.errors,
        facts.donated,
        facts.derivatives,
        facts.refused,
        facts.batched[0],
        facts.batched[1],
    );
}

/// How many of the elements are open.
fn share(facts: &Facts) -> f64 {
    facts.unknown as f64 / facts.compared.max(1) as f64
}

fn judge(report: Report, count: u64, begun: Instant) {
    let Report { facts, failures } = report;
    explain_all(&failures);
    summary(&facts, count, begun);
    // Every op, with every dtype that it has samples of. Groups are what the compiler makes, nobody records them.
    let operand = |s: &Sample| s.operands.first().map(|l| l.dtype());
    let typed = Primitive::all_samples().into_iter().filter_map(|s| Some((s.primitive.name(), operand(&s)?.name())));
    let missing: BTreeSet<_> = typed.filter(|pair| !facts.drawn.contains(pair)).collect();
    assert!(missing.is_empty(), "these ops were never drawn with these dtypes: {missing:?}");
    let drawn: BTreeSet<&str> = facts.drawn.iter().map(|(name, _)| *name).collect();
    let missing = |found: &BTreeSet<&str>, but: &[&str]| -> Vec<&str> {
        // Of the ops with regions, branches and loops are drawn.
        let skipped = |n: &&str| Primitive::has_regions(n) && !["switch", "while_loop", "scan"].contains(n);
        let names = Primitive::NAMES.iter().copied().filter(|n| !skipped(n));
        names.filter(|n| !but.contains(n) && !found.contains(n)).collect()
    };
    assert_eq!(missing(&drawn, &[]), Vec::<&str>::new(), "these ops were never drawn");
    // A stopped gradient is nothing once gradients are there, nor is a name.
    assert_eq!(
        missing(&facts.survived, &["stop_gradient", "captured", "named"]),
        Vec::<&str>::new(),
        "these ops never reached a compiled graph"
    );
    assert!(share(&facts) < 0.1, "{:.1} % of the elements were not compared", share(&facts) * 100.0);
    assert!(
        [
            facts.errors,
            facts.donated,
            facts.derivatives,
            facts.refused,
            facts.parallel,
            facts.batched[0],
            facts.batched[1]
        ]
        .iter()
        .all(|&n| n > 0)
    );
}

#[test]
fn random_graphs_agree_with_the_interpreter_at_every_stage() {
    let begun = Instant::now();
    judge(run(0, GRAPHS, Device::Cpu), GRAPHS, begun);
}

/// What a variable says.
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |v| v.parse().unwrap_or_else(|_| panic!("{name}={v} is no number")))
}

/// `FUZZ_GRAPHS` graphs (a million unless told), seeds from `FUZZ_FIRST` (10,000 unless told).
#[test]
#[ignore = "takes hours"]
fn long_run() {
    let (first, count) = (number("FUZZ_FIRST", GRAPHS), number("FUZZ_GRAPHS", 1_000_000));
    let begun = Instant::now();
    judge(run(first, count, Device::Cpu), count, begun);
}

#[test]
fn rerun() {
    for &seed in RERUN {
        let case = draw::draw(seed);
        println!("seed {seed}\n{}", case.graph);
        if let Err(failure) = stages::check(&case) {
            panic!("{}", explain(seed, &case, &failure));
        }
    }
}

#[test]
fn a_seed_always_gives_the_same_case() {
    for seed in 0..50 {
        let (a, b) = (draw::draw(seed), draw::draw(seed));
        assert_eq!(a.graph.to_string(), b.graph.to_string());
        assert!(a.arguments == b.arguments && a.donations == b.donations);
    }
}
