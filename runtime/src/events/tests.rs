use super::*;
use crate::options::{Artefacts, Options, with_options};

#[test]
fn counts_belong_to_a_thread_and_to_the_process() {
    let before = Counters::process();
    let ((), here) = Counters::of(|| {
        count(Event::CacheHit);
        count(Event::CacheHit);
        record(Event::Retrace, "batch is 3, was 2");
        std::thread::spawn(|| (0..5).for_each(|_| count(Event::CacheHit))).join().unwrap();
    });
    assert_eq!((here[Event::CacheHit], here[Event::Retrace], here[Event::Bug]), (2, 1, 0));
    assert_eq!(here.to_string(), "1 retrace, 2 cache hit");
    assert_eq!(Counters::default().to_string(), "no events");
    // Other tests may count meanwhile.
    let all = Counters::process().since(&before);
    assert!(all[Event::CacheHit] >= 7 && all[Event::Retrace] >= 1);
}

#[test]
fn reasons_are_captured_and_kept() {
    let ((), outer) = capture(|| {
        record(Event::FusionRefused, "reduce of another space");
        let ((), inner) = capture(|| record(Event::Eviction, 7));
        assert_eq!(inner, [Record { event: Event::Eviction, reason: "7".into() }]);
        std::thread::spawn(|| record(Event::Fallback, "on another thread")).join().unwrap();
    });
    let events: Vec<Event> = outer.iter().map(|record| record.event).collect();
    assert_eq!(events, [Event::FusionRefused, Event::Eviction]);
    let unique = format!("{:?}", std::thread::current().id());
    (0..RECENT + 5).for_each(|i| record(Event::Bug, format!("{unique} {i}")));
    let recent = recent();
    assert_eq!(recent.len(), RECENT);
    assert!(recent.iter().any(|r| r.reason == format!("{unique} {}", RECENT + 4)));
    // A capture that is left by a panic does not go on.
    let _ = std::panic::catch_unwind(|| capture(|| panic!("left early")));
    assert!(CAPTURES.with_borrow(Vec::is_empty));
}

#[test]
fn stderr_shows_what_the_options_select() {
    let show = |log: Artefacts| {
        let options = Options { log, ..Options::default() };
        let work = || {
            record(Event::CacheMiss, "no entry for f32[3]\nnearest: f32[2]");
            record(Event::Retrace, "shape");
            write(Artefact::Kernels, || "kernel @k()".to_owned());
        };
        with_options(options, || written(work)).1
    };
    assert_eq!(show(Artefacts::NONE), "");
    assert_eq!(
        show(Artefacts::NONE.with(Artefact::Cache)),
        "[cache] cache miss: no entry for f32[3]\n[cache] nearest: f32[2]\n"
    );
    assert_eq!(
        show(Artefacts::NONE.with(Artefact::Trace).with(Artefact::Kernels)),
        "[trace] retrace: shape\n[kernels] kernel @k()\n"
    );
}

#[test]
fn text_is_not_made_for_nobody() {
    with_options(Options::default(), || write(Artefact::Passes, || panic!("nobody reads this")));
}

#[test]
fn names_are_unique() {
    let mut names: Vec<&str> = Event::ALL.map(Event::name).to_vec();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), COUNT);
}
