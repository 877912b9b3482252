//! What an op can do wrong, and what the call then says.

use crate::ops::Sine;
use tracewright::custom::{
    Attr, AttrReader, Batching, Call, CpuBody, CustomOp, Fault, Forward, Reverse, call, register,
};
use tracewright::{
    Code, DType, Error, Literal, Recording, Tensor, Type, cond, fori, grad, jacfwd, jacrev, jit, jvp, vjp, vmap,
};

/// The identity, but for what `wrong` names.
#[derive(Clone)]
struct Bad {
    wrong: String,
}

#[track_caller]
fn bad(x: &Tensor, wrong: &str) -> Tensor {
    let [y] = call(&Bad { wrong: wrong.into() }, &[x]);
    y
}

const READS: u32 = line!() + 3;

fn read(t: &Tensor) -> f32 {
    t.sum(..).item::<f32>().unwrap()
}

impl Bad {
    fn is(&self, what: &str) -> bool {
        assert!(self.wrong != format!("{what} panics"), "no {what} today");
        self.wrong == what
    }
}

impl CustomOp for Bad {
    const NAME: &'static str = "test.bad";
    const PURE: bool = true;
    fn attributes(&self) -> Vec<(&'static str, Attr)> {
        assert!(self.wrong != "attributes panics", "no attributes today");
        match self.wrong.as_str() {
            "attribute twice" => vec![("wrong", self.wrong.clone().into()), ("wrong", 1i64.into())],
            _ => vec![("wrong", self.wrong.clone().into())],
        }
    }
    fn from_attributes(from: &mut AttrReader) -> Result<Bad, Fault> {
        Ok(Bad { wrong: from.take("wrong")? })
    }
    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, Fault> {
        match self.is("infer") {
            true => Err("these operands are not to its taste".into()),
            false if self.wrong == "no results" => Ok(Vec::new()),
            false => Ok(vec![operands[0].clone()]),
        }
    }
    fn eval(&self, operands: &[&Literal]) -> Result<Vec<Literal>, Fault> {
        let x = operands[0].clone();
        match self.wrong.as_str() {
            "eval dtype" => Ok(vec![Literal::from_vec(x.dims(), vec![0.0f64; x.numel()])]),
            "eval extents" => Ok(vec![Literal::from_vec(&[1], vec![0.0f32])]),
            "eval count" => Ok(vec![x.clone(), x]),
            _ if self.is("eval") => Err("it was not in the mood".into()),
            _ => Ok(vec![x]),
        }
    }
    fn vjp(&self, cx: &Reverse<'_>) -> Option<Vec<Option<Tensor>>> {
        let g = cx.cotangents[0].clone();
        match self.wrong.as_str() {
            "vjp extents" => Some(vec![Some(g.sum(..))]),
            "vjp dtype" => Some(vec![Some(g.to_dtype(DType::F64))]),
            "vjp count" => Some(vec![Some(g.clone()), Some(g)]),
            "vjp ill-typed" => Some(vec![Some(g.matmul(&cx.operands[0]))]),
            "vjp state" => Some(vec![Some(tracewright::rand([3]) * g)]),
            "vjp none" => None,
            "vjp reads" => Some(vec![Some(g * read(&cx.operands[0]))]),
            _ if self.is("vjp") => Some(vec![None]),
            _ => Some(vec![Some(g)]),
        }
    }
    fn jvp(&self, cx: &Forward<'_>) -> Option<Vec<Option<Tensor>>> {
        self.is("jvp").then(|| vec![Some(cx.tangents[0].sum(..))])
    }
    fn batch(&self, _: &Batching<'_>) -> Option<Vec<Tensor>> {
        self.is("batch").then(|| vec![Tensor::from([1.0f32])])
    }
    fn cpu() -> Option<CpuBody<Bad>> {
        let run = |op: &Bad, call: &mut Call<'_>| {
            match op.wrong.as_str() {
                "cpu operand dtype" => drop(call.operand::<f64>(0)),
                "cpu result dtype" => drop(call.result::<i32>(0)),
                "cpu result number" => drop(call.result::<f32>(1)),
                "cpu twice" => call.result::<f32>(0)[0] = call.result::<f32>(0)[0],
                _ if op.is("cpu") => return Err("the machine is on fire".into()),
                _ => call.result::<f32>(0).copy_from_slice(call.operand(0)),
            }
            Ok(())
        };
        Some(CpuBody::whole(run))
    }
}

/// The error has all these words, names the op, and a line of this file.
fn says(error: Error, words: &[&str]) {
    let text = error.to_string();
    let all = words.iter().chain(&["test.bad", "tests/custom/mistakes.rs:"]);
    for word in all {
        assert!(text.contains(word), "no {word:?} in: {text}");
    }
    assert!(!text.contains("bug in tracewright"), "{text}");
}

fn x() -> Tensor {
    Tensor::from([1.0f32, 2.0, 3.0])
}

#[test]
fn the_fast_body() {
    for (wrong, words) in [
        ("cpu", "the machine is on fire"),
        ("cpu panics", "its CPU body panicked: no cpu today"),
        ("cpu operand dtype", "operand 0 is f32, read as f64"),
        ("cpu result dtype", "result 0 is f32, written as i32"),
        ("cpu result number", "there is no result 1"),
        ("cpu twice", "result 0 was taken before"),
    ] {
        says(bad(&x(), wrong).to_vec::<f32>().unwrap_err(), &[words]);
        let f = jit(move |x: Tensor| bad(&(x * 2.0), wrong) + 1.0);
        says(f.call(x()).unwrap_err(), &[words]);
    }
    // The runtime is as it was.
    assert_eq!(bad(&x(), "nothing").to_vec::<f32>().unwrap(), [1.0, 2.0, 3.0]);
}

#[test]
fn the_reference_evaluation() {
    let mut options = (*tracewright::options::current().unwrap()).clone();
    options.set("JIT", "off").unwrap();
    for (wrong, words) in [
        ("eval", "it was not in the mood"),
        ("eval panics", "eval panicked: no eval today"),
        ("eval dtype", "eval gave f64[3] as result 0, its type rule says f32[3]"),
        ("eval extents", "eval gave f32[1] as result 0, its type rule says f32[3]"),
        ("eval count", "eval gave 2 results, its type rule says 1"),
    ] {
        let f = jit(move |x: Tensor| bad(&(x * 2.0), wrong) + 1.0);
        let error = tracewright::options::with_options(options.clone(), || f.call(x())).unwrap_err();
        says(error, &[words]);
    }
}

#[test]
fn types_and_attributes() {
    for (wrong, words) in [
        ("infer", "these operands are not to its taste"),
        ("infer panics", "its type rule panicked: no infer today"),
        ("no results", "its type rule gives no result"),
        ("attributes panics", "listing its attributes panicked"),
        ("attribute twice", "an attribute cannot be called `wrong`"),
    ] {
        says(bad(&x(), wrong).to_vec::<f32>().unwrap_err(), &[words]);
        says(jit(move |x: Tensor| bad(&x, wrong)).call(x()).unwrap_err(), &[words]);
    }
    let [a, _] = call(&Bad { wrong: "nothing".into() }, &[&x()]);
    says(a.to_vec::<f32>().unwrap_err(), &["it has 1 result, and the call names 2"]);
    // An operand that is an error stays that error.
    let wrong = x() + Tensor::from([1.0f32, 2.0]);
    assert!(bad(&wrong, "nothing").to_vec::<f32>().unwrap_err().to_string().starts_with("error[shape]: add"));
}

#[test]
fn derivatives() {
    for (wrong, words) in [
        ("vjp panics", "vjp panicked: no vjp today"),
        ("vjp extents", "vjp gave f32[] as number 0, which has to be f32[3]"),
        ("vjp dtype", "vjp gave f64[3] as number 0, which has to be f32[3]"),
        ("vjp count", "vjp gave 2 tensors, 1 are needed"),
        ("vjp state", "vjp reads state"),
    ] {
        let gradient = grad(move |x: &Tensor| bad(x, wrong).sum(..))(&x());
        says(gradient.to_vec::<f32>().unwrap_err(), &[words, "test.bad(f32[3])"]);
        let f = jit(move |x: Tensor| grad(move |x: &Tensor| bad(x, wrong).sum(..))(&x));
        says(f.call(x()).unwrap_err(), &[words]);
    }
    for (wrong, words) in [
        ("jvp panics", "jvp panicked: no jvp today"),
        ("jvp", "jvp gave f32[] as number 0, which has to be f32[3]"),
        ("vjp panics", "vjp panicked: no vjp today"),
    ] {
        let (_, tangent) = jvp(|x: &Tensor| bad(x, wrong), &x(), &x());
        says(tangent.to_vec::<f32>().unwrap_err(), &[words]);
    }
    let f = |x: &Tensor| bad(x, "vjp ill-typed").sum(..);
    let error = grad(f)(&x().reshape([3, 1])).to_vec::<f32>().unwrap_err().to_string();
    assert!(error.starts_with("error[shape]: matmul"), "{error}");
}

#[test]
fn what_a_rule_does_wrong_has_its_kind_and_its_own_line() {
    let code = |wrong: &'static str| grad(move |x: &Tensor| bad(x, wrong).sum(..))(&x()).err().unwrap().code();
    assert_eq!((code("vjp dtype"), code("vjp extents")), (Code::DType, Code::Shape));
    let e = grad(|x: &Tensor| bad(x, "vjp reads").sum(..))(&x()).err().unwrap();
    assert_eq!((e.code(), e.location().unwrap().line), (Code::Read, READS));
    assert!(e.to_string().contains("note: in vjp of test.bad, for tests/custom/mistakes.rs:"), "{e}");
}

/// Errors of rules travel as panics do, but are none: nothing is printed.
#[test]
fn errors_of_rules_do_not_reach_the_panic_hook() {
    static HEARD: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        HEARD.lock().unwrap().push(info.to_string());
        before(info)
    }));
    assert!(grad(|x: &Tensor| bad(x, "vjp count").sum(..))(&x()).err().is_some());
    assert!(vmap(|x: &Tensor| bad(x, "batch"))(&x()).err().is_some());
    // The hook takes the lock: it is open when this fails.
    let heard = HEARD.lock().unwrap().clone();
    assert!(!heard.iter().any(|text| text.contains("test.bad")), "{heard:?}");
}

#[test]
fn to_ask_for_a_derivative_that_there_is_not_is_an_error() {
    let line = line!() + 1;
    let f = |x: &Tensor| (bad(x, "vjp none") * 2.0 + x).sum(..);
    let no_rule = |e: Error| {
        let place = format!("at tests/custom/mistakes.rs:{line}:");
        says(e, &["test.bad has no derivative: the op has no rule", &place, "Some(vec![None])", "stop_gradient()"]);
    };
    let of = |t: &Tensor| t.err().expect("an error");
    no_rule(of(&grad(f)(&x())));
    no_rule(of(&jvp(f, &x(), &x()).1));
    no_rule(of(&jacfwd(f)(&x())));
    no_rule(of(&jacrev(f)(&x())));
    no_rule(of(&vmap(grad(f))(&x().reshape([1, 3]))));
    no_rule(of(&vjp(f, &x()).1(&Tensor::from(1.0f32))));
    no_rule(jit(move |x: Tensor| grad(f)(&x)).call(x()).unwrap_err());
    // In branches and loops too.
    no_rule(of(&grad(|x: &Tensor| cond(&x.sum(..).gt(0.0), || f(x), || x.sum(..)))(&x())));
    no_rule(of(&grad(|x: &Tensor| fori(0..2, |_, y: &Tensor| y * f(y), x).sum(..))(&x())));
    // On the tape once a backward gets there.
    let tracked = x().requires_grad();
    let y = f(&tracked);
    assert_eq!(y.to_vec::<f32>().unwrap().len(), 1);
    no_rule(y.backward().unwrap_err());
    assert!(tracked.grad().is_none());
    (&tracked * 2.0).sum(..).backward().unwrap();
    assert_eq!(tracked.grad().unwrap().to_vec::<f32>().unwrap(), [2.0; 3]);
    // A derivative of 0 is none of that; nor does one matter that is multiplied by 0, or that nobody asked for.
    let slope = |f: &dyn Fn(&Tensor) -> Tensor| grad(f)(&x()).to_vec::<f32>().unwrap();
    assert_eq!(slope(&|x| (bad(x, "vjp") + x).sum(..)), [1.0; 3]);
    assert_eq!(slope(&|x| (bad(&x.stop_gradient(), "vjp none") + x).sum(..)), [1.0; 3]);
    assert_eq!(slope(&|x| (bad(&x.floor(), "vjp none") + x).sum(..)), [1.0; 3]);
    assert_eq!(slope(&|x| (bad(x, "vjp none").gt(0.0).where_(x, &(x * 2.0))).sum(..)).len(), 3);
    let constant = x();
    assert_eq!(slope(&|x| (bad(&constant, "vjp none") + x).sum(..)), [1.0; 3]);
}

#[test]
fn batching() {
    let rows = Tensor::from([[1.0f32, 2.0], [3.0, 4.0]]);
    for (wrong, words) in [
        ("batch panics", "batch panicked: no batch today"),
        ("batch", "batch gave f32[1] as number 0, which has to be f32[2, 2]"),
    ] {
        let result = vmap(move |x: &Tensor| bad(x, wrong))(&rows);
        says(result.to_vec::<f32>().unwrap_err(), &[words]);
    }
}

#[test]
fn names_and_text() {
    /// Another op under a name that is taken.
    #[derive(Clone)]
    struct Imposter;
    /// An op under a name that a primitive could have.
    #[derive(Clone)]
    struct Nameless;
    macro_rules! named {
        ($op:ident, $name:literal) => {
            impl CustomOp for $op {
                const NAME: &'static str = $name;
                fn from_attributes(_: &mut AttrReader) -> Result<$op, Fault> {
                    Ok($op)
                }
                fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, Fault> {
                    Ok(vec![operands[0].clone()])
                }
                fn eval(&self, operands: &[&Literal]) -> Result<Vec<Literal>, Fault> {
                    Ok(vec![operands[0].clone()])
                }
            }
        };
    }
    named!(Imposter, "test.sine");
    named!(Nameless, "sine");
    register::<Sine>().unwrap();
    register::<Sine>().unwrap();
    let error = register::<Imposter>().unwrap_err().to_string();
    assert!(error.contains("`test.sine` version 1 is ") && error.contains("Imposter as well"), "{error}");
    assert!(error.contains("legal: one type for each name and version"), "{error}");
    let [y] = call(&Imposter, &[&x()]);
    assert!(y.to_vec::<f32>().unwrap_err().to_string().contains("Imposter as well"));
    let error = register::<Nameless>().unwrap_err();
    assert!(error.rule().contains("`sine` is no name of a custom op"), "{error}");
    assert_eq!(error.legal(), "a name such as `lab.swiglu`");

    let text = "\
graph @f(%0: f64[2]) -> (f64[2]) {
  %1: f64[2] = test.sine %0 {version = 1, frequency = 2.0:f64}
  %2: f64[2] = nobody.knows %1 {version = 1}
  %3: f64[2] = test.sine %2 {version = 7, frequency = 2.0:f64}
  %4: f64[2] = nobody.knows %3 {version = 1}
  return %4
}
";
    let error = Recording::parse("text", text).err().unwrap().to_string();
    let list = "custom ops are missing: `nobody.knows` version 1, `test.sine` version 7 (known is version 1)";
    assert!(error.contains(list) && error.contains(":3:"), "{error}");
    let wrong = text.replace("nobody.knows", "test.sine").replace("frequency", "frequencies");
    let error = Recording::parse("text", &wrong).err().unwrap().to_string();
    assert!(error.contains("attribute `frequency` is missing"), "{error}");
}

/// The identity of what is positive, and an error of all else.
#[derive(Clone)]
struct Positive;

impl CustomOp for Positive {
    const NAME: &'static str = "test.positive";
    const PURE: bool = true;
    fn from_attributes(_: &mut AttrReader) -> Result<Positive, Fault> {
        Ok(Positive)
    }
    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, Fault> {
        Ok(vec![operands[0].clone()])
    }
    fn eval(&self, operands: &[&Literal]) -> Result<Vec<Literal>, Fault> {
        match operands[0].as_slice::<f64>().iter().all(|x| *x > 0.0) {
            true => Ok(vec![operands[0].clone()]),
            false => Err("it is not positive".into()),
        }
    }
}

pub fn positive(x: &Tensor) -> Tensor {
    let [y] = call(&Positive, &[x]);
    y
}
