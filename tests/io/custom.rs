//! Saved graphs with ops of the user's, and what `compare` says of one whose code is wrong.

use crate::folder;
use tracewright::custom::{AttrReader, Call, CpuBody, CustomOp, Fault, call, register};
use tracewright::io::Exported;
use tracewright::options::{self, Options};
use tracewright::{Literal, Tensor, Type, jit};

/// Twice its operand, in the interpreter; its code adds one where that is above 2.
#[derive(Clone)]
struct Twice;

impl CustomOp for Twice {
    const NAME: &'static str = "io.twice";
    const PURE: bool = true;
    fn from_attributes(_: &mut AttrReader) -> Result<Twice, Fault> {
        Ok(Twice)
    }
    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, Fault> {
        Ok(vec![operands[0].clone()])
    }
    fn eval(&self, operands: &[&Literal]) -> Result<Vec<Literal>, Fault> {
        let values = operands[0].as_slice::<f64>().iter().map(|x| 2.0 * x).collect();
        Ok(vec![Literal::from_vec(operands[0].dims(), values)])
    }
    fn cpu() -> Option<CpuBody<Twice>> {
        Some(CpuBody::whole(|_, cx: &mut Call<'_>| {
            let values: Vec<f64> = cx.operand::<f64>(0).iter().map(|x| 2.0 * x + f64::from(*x > 2.0)).collect();
            cx.result::<f64>(0).copy_from_slice(&values);
            Ok(())
        }))
    }
}

fn exported() -> Exported {
    register::<Twice>().unwrap();
    let f = jit(|x: Tensor| {
        let [y] = call(&Twice, &[&x.exp()]);
        y.sqrt()
    });
    f.export(Tensor::from([0.0f64, 1.0])).unwrap()
}

#[test]
fn the_first_op_that_differs_is_named() {
    let f = exported();
    let [outputs, ops] = f.compare(&[Tensor::from([0.0f64, 0.5])]).unwrap();
    assert!(outputs.iter().chain(&ops).all(|c| c.wrong.is_none()), "below 2 its code is right");
    let [_, ops] = f.compare(&[Tensor::from([0.0f64, 1.0])]).unwrap();
    let wrong: Vec<_> = ops.iter().filter(|c| c.wrong.is_some()).collect();
    let [first] = wrong[..] else { panic!("{ops:?}") };
    assert_eq!(first.name, "io.twice");
    assert!(first.place.contains("tests/io/custom.rs:"), "{}", first.place);
    let wrong = first.wrong.as_deref().unwrap();
    assert!(
        wrong.starts_with("element 1: interpreted 5.43656365691809") && wrong.contains("compiled 6.4365"),
        "{wrong}"
    );
    assert!((first.largest - 1.0).abs() < 1e-9);
}

#[test]
fn what_is_interpreted_is_not_compared_with_itself() {
    let f = exported();
    let interpreted = Options { jit: false, ..(*options::current().unwrap()).clone() };
    let e = options::with_options(interpreted, || f.compare(&[Tensor::from([0.0f64, 0.5])])).unwrap_err().to_string();
    assert!(e.contains("compare: the graph is interpreted, and would be compared with itself"), "{e}");
}

#[test]
fn ops_that_are_missing_are_listed() {
    let folder = folder();
    let path = folder.path().join("f.tw");
    exported().save(&path).unwrap();
    Exported::load(&path).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(8).position(|w| w == b"io.twice").unwrap();
    bytes[at..at + 8].copy_from_slice(b"io.thric");
    crate::hostile::seal(&mut bytes);
    std::fs::write(&path, bytes).unwrap();
    let text = Exported::load(&path).err().unwrap().to_string();
    assert!(text.contains("custom ops are missing: `io.thric` version 1; register them before"), "{text}");
}
