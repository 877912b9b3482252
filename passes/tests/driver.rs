//! The driver: checks, skipping, blame.

mod graphs;

use graphs::{Recorder, graph};
use ir::graph::Rewrite;
use ir::{DType, EmitExt, Graph, Type};
use passes::cse::EliminateCommonSubexpressions;
use passes::dce::EliminateDeadCode;
use passes::driver::run;
use passes::{CheckLevel, Pass, PassContext, PassError, PassSpec, Settings, Skip};

/// A pass made of a function.
struct Planted(&'static str, fn(&mut Graph) -> bool);
impl Pass for Planted {
    fn name(&self) -> &'static str {
        self.0
    }
    fn about(&self) -> &'static str {
        "a test"
    }
    fn run(&self, graph: &mut Graph, cx: &mut PassContext) -> Result<bool, PassError> {
        cx.note("seen");
        Ok((self.1)(graph))
    }
}

fn three() -> Vec<Box<dyn Pass>> {
    vec![Box::new(EliminateCommonSubexpressions), Box::new(EliminateDeadCode), Box::new(EliminateCommonSubexpressions)]
}

fn program() -> Graph {
    graph(|b| {
        let x = b.input(Type::new(DType::F32, [3]));
        let (y, z) = (b.neg(x), b.neg(x));
        b.exp(y);
        vec![b.add(y, z)]
    })
}

fn settings(check: CheckLevel, spec: &str, pipeline: &[Box<dyn Pass>]) -> Settings {
    Settings { check, spec: PassSpec::parse(spec, pipeline).unwrap(), ..Settings::default() }
}

fn message(pass: Planted, check: CheckLevel) -> String {
    let pipeline: Vec<Box<dyn Pass>> = vec![Box::new(EliminateDeadCode), Box::new(pass)];
    run(program(), &pipeline, &settings(check, "", &pipeline), None).unwrap_err().to_string()
}

#[test]
fn a_panic_is_an_error_that_names_the_pass() {
    let pass = Planted("explode", |_| panic!("no such luck"));
    assert_eq!(message(pass, CheckLevel::Off), "bug in tracewright: pass 2, `explode`, panicked: no such luck");
}

#[test]
fn a_false_claim_of_no_change_is_found() {
    let pass = Planted("sly", |g| {
        g.rewrite(g.root(), |g, op| {
            let operand = g.op(op).operands[0];
            if g.op(op).primitive.name() == "neg" {
                Rewrite::Replace([operand].into_iter().collect())
            } else {
                Rewrite::Keep
            }
        });
        false
    });
    assert_eq!(
        message(pass, CheckLevel::Off),
        "bug in tracewright: pass 2, `sly`, says that it changed nothing, but did"
    );
}

#[test]
fn an_ill_formed_graph_is_found_after_the_pass_that_made_it() {
    let swap = Planted("swap", |g| {
        let root = g.root();
        g.region_mut(root).ops.reverse();
        true
    });
    let found = message(swap, CheckLevel::Passes);
    assert_eq!(
        found,
        "bug in tracewright: pass 2, `swap`, left an ill-formed graph: invariant 2: `add` (model.rs:4:1) reads operand 0, which is not defined before it in its region; invariant 2: `add` (model.rs:4:1) reads operand 1, which is not defined before it in its region"
    );
    let lose = Planted("lose", |g| {
        let op = g.region(g.root()).ops[0];
        g.op_mut(op).origins.clear();
        true
    });
    let found = message(lose, CheckLevel::Boundaries);
    assert_eq!(found, "bug in tracewright: pass 2, `lose`, left an ill-formed graph: invariant 5: `neg` has no origin");
    let retype = Planted("retype", |g| {
        let x = g.add_input(Type::new(DType::F64, [2]));
        g.set_outputs(vec![x]);
        true
    });
    let found = message(retype, CheckLevel::Boundaries);
    assert_eq!(found, "bug in tracewright: pass 2, `retype`, changed the types of inputs or outputs");
}

#[test]
fn a_bad_input_is_not_blamed_on_a_pass() {
    let mut g = program();
    let op = g.region(g.root()).ops[0];
    g.op_mut(op).origins.clear();
    let e = run(g, &three(), &Settings::default(), None).unwrap_err();
    assert_eq!(
        e.to_string(),
        "bug in tracewright: the graph given to the passes is ill-formed: invariant 5: `neg` has no origin"
    );
}

#[test]
fn a_broken_guarantee_names_both_passes() {
    struct NoExp;
    impl Pass for NoExp {
        fn name(&self) -> &'static str {
            "no-exp"
        }
        fn about(&self) -> &'static str {
            "a test"
        }
        fn run(&self, _: &mut Graph, _: &mut PassContext) -> Result<bool, PassError> {
            Ok(false)
        }
        fn guarantee(&self, g: &Graph) -> Result<(), String> {
            let found = g.region(g.root()).ops.iter().any(|&op| g.op(op).primitive.name() == "exp");
            if found { Err("found exp".into()) } else { Ok(()) }
        }
    }
    let put = Planted("put", |g| {
        let (root, op) = (g.root(), g.region(g.root()).ops[0]);
        let (x, origins) = (g.op(op).operands[0], g.op(op).origins.clone());
        g.append(root, ir::ops::unary::Exp {}.into(), &[x], &[], &origins).unwrap();
        true
    });
    let pipeline: Vec<Box<dyn Pass>> = vec![Box::new(EliminateDeadCode), Box::new(NoExp), Box::new(put)];
    for check in [CheckLevel::Boundaries, CheckLevel::Passes] {
        let e = run(program(), &pipeline, &settings(check, "", &pipeline), None).unwrap_err();
        assert_eq!(e.to_string(), "bug in tracewright: pass 3, `put`, broke what `no-exp` guarantees: found exp");
    }
}

#[test]
fn the_observer_sees_every_pass_and_can_stop() {
    let pipeline = three();
    let mut seen = Recorder::default();
    let outcome =
        run(program(), &pipeline, &settings(CheckLevel::Compare, "-cse#1", &pipeline), Some(&mut seen)).unwrap();
    let summary: Vec<_> = seen.runs.iter().map(|r| (r.name, r.number, r.occurrence, r.changed, r.skipped)).collect();
    assert_eq!(
        summary,
        [("cse", 1, 1, false, Some(Skip::SwitchedOff)), ("dce", 2, 1, true, None), ("cse", 3, 2, true, None),]
    );
    assert_eq!(outcome.runs, seen.runs);
    let mut seen = Recorder { fail_after: Some("dce"), ..Recorder::default() };
    let e = run(program(), &pipeline, &Settings::default(), Some(&mut seen)).unwrap_err();
    assert_eq!(e.to_string(), "bug in tracewright: pass 2, `dce`, changed output 0 from 1 to 2");
}

#[test]
fn stop_skips_the_rest_but_not_what_lowering_needs() {
    struct Needed;
    impl Pass for Needed {
        fn name(&self) -> &'static str {
            "needed"
        }
        fn about(&self) -> &'static str {
            "a test"
        }
        fn required(&self) -> bool {
            true
        }
        fn run(&self, _: &mut Graph, _: &mut PassContext) -> Result<bool, PassError> {
            Ok(false)
        }
    }
    let mut pipeline = three();
    pipeline.push(Box::new(Needed));
    let outcome = run(program(), &pipeline, &settings(CheckLevel::Passes, "stop=1", &pipeline), None).unwrap();
    let skipped: Vec<_> = outcome.runs.iter().map(|r| r.skipped).collect();
    assert_eq!(skipped, [None, Some(Skip::Stopped), Some(Skip::Stopped), None]);
    let e = PassSpec::parse("-needed", &pipeline).unwrap_err();
    assert_eq!(e.to_string(), "pass `needed` cannot be switched off: lowering relies on it");
}

#[test]
fn notes_name_their_pass() {
    let pipeline: Vec<Box<dyn Pass>> = vec![Box::new(Planted("look", |_| false))];
    let outcome = run(program(), &pipeline, &Settings::default(), None).unwrap();
    assert_eq!((outcome.notes[0].pass, outcome.notes[0].text.as_str()), ("look", "seen"));
}

#[test]
fn specs_read_back_and_reject_with_a_suggestion() {
    let pipeline = three();
    for text in ["", "-cse", "-cse#2,stop=17", "stop=0"] {
        assert_eq!(PassSpec::parse(text, &pipeline).unwrap().to_string(), text);
    }
    assert_eq!(PassSpec::parse(" -dce , stop=2,", &pipeline).unwrap().to_string(), "-dce,stop=2");
    for (text, message) in [
        ("-cs", "there is no pass `cs`; did you mean `cse`?"),
        ("-vectorise", "there is no pass `vectorise`; there are cse, dce"),
        ("cse", "`cse` is neither `-PASS`, `-PASS#K` nor `stop=N`; did you mean `-cse`?"),
        ("stop", "`stop` is neither `-PASS`, `-PASS#K` nor `stop=N`"),
        ("stop=x", "`stop=x`: `x` is not a number of passes, as in `stop=17`"),
        ("stop=1,stop=2", "`stop` is given twice"),
        ("-cse#3", "`-cse#3`: `cse` occurs 2 times in the pipeline"),
        ("-cse#0", "`-cse#0`: after `#` comes a number from 1"),
        ("-", "there is no pass ``; there are cse, dce"),
    ] {
        assert_eq!(PassSpec::parse(text, &pipeline).unwrap_err().to_string(), message, "{text}");
    }
}
