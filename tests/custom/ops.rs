//! Ops of a user.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tracewright::custom::{Attr, AttrReader, Batching, Call, CpuBody, CustomOp, Fault, Forward, Reverse, call};
use tracewright::{DType, Literal, Tensor, Type, fori};

fn one<'a>(operands: &[&'a Type]) -> Result<&'a Type, Fault> {
    let [x] = operands else { return Err(format!("takes one operand, not {}", operands.len()).into()) };
    if x.dtype == DType::F64 { Ok(x) } else { Err(format!("takes f64, not {}", x.dtype).into()) }
}

/// `sin(frequency x)`, with all rules but one for batching.
#[derive(Clone)]
pub struct Sine {
    pub frequency: f64,
}

impl CustomOp for Sine {
    const NAME: &'static str = "test.sine";
    const PURE: bool = true;
    fn attributes(&self) -> Vec<(&'static str, Attr)> {
        vec![("frequency", self.frequency.into())]
    }
    fn from_attributes(from: &mut AttrReader) -> Result<Sine, Fault> {
        Ok(Sine { frequency: from.take("frequency")? })
    }
    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, Fault> {
        Ok(vec![one(operands)?.clone()])
    }
    fn eval(&self, operands: &[&Literal]) -> Result<Vec<Literal>, Fault> {
        let values = operands[0].as_slice::<f64>().iter().map(|x| (self.frequency * x).sin()).collect();
        Ok(vec![Literal::from_vec(operands[0].dims(), values)])
    }
    fn vjp(&self, cx: &Reverse<'_>) -> Option<Vec<Option<Tensor>>> {
        let slope = (&cx.operands[0] * self.frequency).cos() * self.frequency;
        Some(vec![Some(&cx.cotangents[0] * slope)])
    }
}

/// Twice its operand, whose rule is the op itself; its code works row by row.
#[derive(Clone)]
pub struct Twice;

impl CustomOp for Twice {
    const NAME: &'static str = "test.twice";
    const VERSION: u32 = 3;
    const PURE: bool = true;
    fn from_attributes(_: &mut AttrReader) -> Result<Twice, Fault> {
        Ok(Twice)
    }
    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, Fault> {
        Ok(vec![one(operands)?.clone()])
    }
    fn eval(&self, operands: &[&Literal]) -> Result<Vec<Literal>, Fault> {
        let values = operands[0].as_slice::<f64>().iter().map(|x| 2.0 * x).collect();
        Ok(vec![Literal::from_vec(operands[0].dims(), values)])
    }
    fn vjp(&self, cx: &Reverse<'_>) -> Option<Vec<Option<Tensor>>> {
        let [g] = call(self, &[&cx.cotangents[0]]);
        Some(vec![Some(g)])
    }
    fn batch(&self, cx: &Batching<'_>) -> Option<Vec<Tensor>> {
        let [y] = call(self, &[&cx.in_front(0)]);
        Some(vec![y])
    }
    fn cpu() -> Option<CpuBody<Twice>> {
        let run = |_: &Twice, call: &mut Call<'_>| {
            let (rows, dims) = (call.rows(), call.dims(0));
            let row: usize = dims[1..].iter().product();
            let x = &call.operand::<f64>(0)[rows.start * row..rows.end * row];
            for (y, x) in call.result::<f64>(0).iter_mut().zip(x) {
                assert_eq!(*y, 0.0, "results begin as zeros");
                *y = 2.0 * x;
            }
            Ok(())
        };
        Some(CpuBody::rows(run, |_, dims| dims[0][1..].iter().product::<usize>() as u64))
    }
}

/// Quotient by 2 and remainder, as two results of two types; no more than a type rule and values.
#[derive(Clone)]
pub struct Halves;

impl CustomOp for Halves {
    const NAME: &'static str = "test.halves";
    const PURE: bool = true;
    fn from_attributes(_: &mut AttrReader) -> Result<Halves, Fault> {
        Ok(Halves)
    }
    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, Fault> {
        let x = one(operands)?;
        Ok(vec![x.clone(), Type::new(DType::Bool, x.shape.clone())])
    }
    fn eval(&self, operands: &[&Literal]) -> Result<Vec<Literal>, Fault> {
        let x = operands[0].as_slice::<f64>();
        let dims = operands[0].dims();
        let halves = x.iter().map(|x| (x / 2.0).floor()).collect();
        let odd = x.iter().map(|x| x % 2.0 != 0.0).collect::<Vec<bool>>();
        Ok(vec![Literal::from_vec::<f64>(dims, halves), Literal::from_vec(dims, odd)])
    }
}

/// The number of times that it ran so far, added to its operand: an effect.
#[derive(Clone)]
pub struct Counted;

pub static RUNS: AtomicUsize = AtomicUsize::new(0);

/// For tests that count: one at a time.
pub fn counting() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl CustomOp for Counted {
    const NAME: &'static str = "test.counted";
    fn from_attributes(_: &mut AttrReader) -> Result<Counted, Fault> {
        Ok(Counted)
    }
    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, Fault> {
        Ok(vec![one(operands)?.clone()])
    }
    fn eval(&self, operands: &[&Literal]) -> Result<Vec<Literal>, Fault> {
        let n = RUNS.fetch_add(1, Ordering::SeqCst) as f64;
        let values = operands[0].as_slice::<f64>().iter().map(|x| x + n).collect();
        Ok(vec![Literal::from_vec(operands[0].dims(), values)])
    }
    fn vjp(&self, cx: &Reverse<'_>) -> Option<Vec<Option<Tensor>>> {
        Some(vec![Some(cx.cotangents[0].clone())])
    }
}

/// Product, whole part of the first operand, and sum: three results, with derivatives of both modes.
#[derive(Clone)]
pub struct Parts;

impl CustomOp for Parts {
    const NAME: &'static str = "test.parts";
    const PURE: bool = true;
    fn from_attributes(_: &mut AttrReader) -> Result<Parts, Fault> {
        Ok(Parts)
    }
    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, Fault> {
        let x = one(&operands[..1])?;
        Ok(vec![x.clone(), Type::new(DType::I64, x.shape.clone()), x.clone()])
    }
    fn eval(&self, operands: &[&Literal]) -> Result<Vec<Literal>, Fault> {
        let (x, y, dims) = (operands[0].as_slice::<f64>(), operands[1].as_slice::<f64>(), operands[0].dims());
        let product = x.iter().zip(y).map(|(x, y)| x * y).collect();
        let whole = x.iter().map(|x| *x as i64).collect();
        let sum = x.iter().zip(y).map(|(x, y)| x + y).collect();
        Ok(vec![
            Literal::from_vec::<f64>(dims, product),
            Literal::from_vec::<i64>(dims, whole),
            Literal::from_vec::<f64>(dims, sum),
        ])
    }
    fn vjp(&self, cx: &Reverse<'_>) -> Option<Vec<Option<Tensor>>> {
        let [x, y] = [0, 1].map(|i| &cx.operands[i]);
        let [g, _, h] = [0, 1, 2].map(|i| &cx.cotangents[i]);
        Some(vec![Some(g * y + h), Some(g * x + h)])
    }
    fn jvp(&self, cx: &Forward<'_>) -> Option<Vec<Option<Tensor>>> {
        let [x, y] = [0, 1].map(|i| &cx.operands[i]);
        let [t, u] = [0, 1].map(|i| &cx.tangents[i]);
        // An integer has no tangent, whatever is given for it.
        Some(vec![Some(t * y + x * u), Some(cx.results[1].ones_like()), Some(t + u)])
    }
}

/// The identity; its gradient has an effect, and nobody uses what that yields.
#[derive(Clone)]
pub struct Loud;

impl CustomOp for Loud {
    const NAME: &'static str = "test.loud";
    const PURE: bool = true;
    fn from_attributes(_: &mut AttrReader) -> Result<Loud, Fault> {
        Ok(Loud)
    }
    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, Fault> {
        Ok(vec![one(operands)?.clone()])
    }
    fn eval(&self, operands: &[&Literal]) -> Result<Vec<Literal>, Fault> {
        Ok(vec![operands[0].clone()])
    }
    fn vjp(&self, cx: &Reverse<'_>) -> Option<Vec<Option<Tensor>>> {
        let (x, g) = (&cx.operands[0], &cx.cotangents[0]);
        let [unused] = call(&Counted, &[g]);
        drop(unused);
        // A loop that reads what the first part knows, too.
        let step = |_: &Tensor, c: &Tensor| {
            let [y] = call(&Counted, &[&(g * x)]);
            c + y.sum(..)
        };
        drop(fori(0..2, step, &Tensor::from(0.0f64)));
        Some(vec![Some(g.clone())])
    }
}
