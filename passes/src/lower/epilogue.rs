//! What a group makes of the sums of a product, where a library of products can do that as well: a bias, and an activation.

use super::contract::groups;
use super::nest::iteration;
use super::pull::{Puller, input_params};
use ir::kernel::{Access, BinaryOp, Expr, KernelBuilder, UnaryOp};
use ir::program::Activation;
use ir::{DType, Dim, Graph, Lowering, Op, Region, Value};
use std::collections::HashMap;
use std::f64::consts::PI;

/// A bias, by its parameter of the group, and an activation.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Found {
    /// One element for each column of the product.
    pub bias: Option<Value>,
    /// What comes then.
    pub activation: Activation,
}

/// What the region of a group does to each element of the result of a product, which is `product` there, if that is all that
/// it does. f32 gets a bias alone: what a library takes for the hyperbolic tangent may be less exact than f32.
pub fn find(graph: &Graph, group: Region, op: Op, product: Value) -> Option<Found> {
    let data = graph.region(group);
    let [out] = data.yields[..] else { return None };
    let (ty, dtype) = (graph.ty(out), graph.ty(product).dtype);
    if ty.dtype != dtype || !(dtype == DType::F32 || dtype.is_half()) || out == product {
        return None;
    }
    let mut k = KernelBuilder::new("");
    let mut buffers = input_params(graph, &mut k, &data.params);
    buffers.params.entry(product).or_insert_with(|| k.param(dtype, Access::In));
    let (mut extents, mut sites) = (Vec::new(), Vec::new());
    let mut puller = Puller::new(graph, &mut k, &buffers, &mut extents, &mut sites);
    let (index, _) = iteration(&mut puller, &ty.shape, &[]);
    let linear = |from: usize| {
        let places = index.iter().zip(ty.shape.strides()).skip(from);
        places.fold(Dim::from(0), |sum, (i, stride)| sum + i * &stride)
    };
    let root = puller.demand(out, index.clone()).ok()?;
    let line = puller.line(root)?;
    // The last axes of the group are the columns of the product, by whatever names.
    let columns = columns(graph, op)?;
    let extent = |from: usize| ty.shape[from..].iter().fold(Dim::from(1), |n, d| n * d);
    let column = linear((0..=ty.shape.rank()).rev().find(|&from| extent(from) == columns)?);
    let mut algebra = Algebra::default();
    let mut forms: HashMap<_, Form> = HashMap::new();
    for (var, expr) in &line.code {
        let form = match line.loads.get(var) {
            Some((v, at)) if *v == product => (*at == linear(0)).then_some(Form::Sum(None))?,
            Some((v, at)) => (*at == column && graph.ty(*v).dtype == dtype).then_some(Form::Bias(*v))?,
            // In between, nothing is rounded.
            None if matches!(expr, Expr::Convert(_, to) if *to != DType::F32) && *var != line.result => return None,
            None => algebra.form(expr, &forms)?,
        };
        forms.insert(*var, form);
    }
    match forms.remove(&line.result)? {
        Form::Sum(Some(bias)) => Some(Found { bias: Some(bias), activation: Activation::None }),
        Form::Polynomial(p) if dtype.is_half() && algebra.is_gelu(&p, dtype) => {
            Some(Found { bias: algebra.of?, activation: Activation::GeluTanh })
        }
        _ => None,
    }
}

/// The columns of a product as a matrix.
fn columns(graph: &Graph, op: Op) -> Option<Dim> {
    let data = graph.op(op);
    let right = &graph.ty(data.operands[1]).shape;
    let free = groups(&data.primitive.contract_axes()?, right.rank(), 1).free;
    Some(free.iter().fold(Dim::from(1), |n, &a| n * &right[a]))
}

/// The product that a group begins with, and what the group makes of it.
pub fn of_group(graph: &Graph, group: Region) -> Option<(Op, Found)> {
    let is_product = |op: &&Op| graph.op(**op).primitive.lowering() == Lowering::Contract;
    let &op = graph.region(group).ops.iter().find(is_product)?;
    Some((op, find(graph, group, op, graph.op(op).results[0])?))
}

/// A scalar as a function of the sum at its element.
#[derive(Clone, PartialEq, Debug)]
enum Form {
    /// The sum, with a bias or without.
    Sum(Option<Value>),
    Bias(Value),
    Number(f64),
    Polynomial(Polynomial),
}

/// Coefficients by the exponents of a sum and of a hyperbolic tangent of it.
#[derive(Clone, PartialEq, Debug, Default)]
struct Polynomial(Vec<([u8; 2], f64)>);

impl Polynomial {
    fn add(mut self, other: &Polynomial, factor: f64) -> Polynomial {
        for (exponents, c) in &other.0 {
            match self.0.iter_mut().find(|(e, _)| e == exponents) {
                Some((_, sum)) => *sum += factor * c,
                None => self.0.push((*exponents, factor * c)),
            }
        }
        self
    }

    /// None where exponents grow larger than any activation has.
    fn times(&self, other: &Polynomial) -> Option<Polynomial> {
        let mut product = Polynomial::default();
        for ([s, t], a) in &self.0 {
            for ([u, v], b) in &other.0 {
                if s + u > 8 || t + v > 8 {
                    return None;
                }
                product = product.add(&Polynomial(vec![([s + u, t + v], *b)]), *a);
            }
        }
        Some(product)
    }

    /// True if these are the terms, but for relative errors of the coefficients.
    fn is(&self, terms: &[([u8; 2], f64)], within: f64) -> bool {
        let close = |(e, c): &([u8; 2], f64)| {
            let wanted = terms.iter().find(|(other, _)| other == e).map_or(0.0, |(_, w)| *w);
            (c - wanted).abs() <= within * wanted.abs()
        };
        self.0.iter().all(close) && terms.iter().all(|(e, _)| self.0.iter().any(|(other, _)| other == e))
    }
}

/// What is known of the polynomials of a group.
#[derive(Default)]
struct Algebra {
    /// The bias, or none, of the sum that they are in.
    of: Option<Option<Value>>,
    /// What the hyperbolic tangent is taken of.
    tangent: Option<Polynomial>,
}

impl Algebra {
    fn polynomial(&mut self, form: &Form) -> Option<Polynomial> {
        match form {
            Form::Polynomial(p) => Some(p.clone()),
            Form::Number(n) => Some(Polynomial(vec![([0, 0], *n)])),
            Form::Sum(bias) => (*self.of.get_or_insert(*bias) == *bias).then(|| Polynomial(vec![([1, 0], 1.0)])),
            Form::Bias(_) => None,
        }
    }

    fn form(&mut self, expr: &Expr, forms: &HashMap<ir::kernel::Var, Form>) -> Option<Form> {
        match *expr {
            Expr::Const(number) => Some(Form::Number(number.as_f64())),
            Expr::Convert(a, _) => forms.get(&a).cloned(),
            Expr::Unary(UnaryOp::Neg, a) => {
                let p = self.polynomial(&forms[&a])?;
                Some(Form::Polynomial(Polynomial::default().add(&p, -1.0)))
            }
            Expr::Unary(UnaryOp::Tanh, a) => {
                let p = self.polynomial(&forms[&a])?;
                let flat = p.0.iter().all(|([_, t], _)| *t == 0);
                let same = *self.tangent.get_or_insert_with(|| p.clone()) == p;
                (flat && same).then(|| Form::Polynomial(Polynomial(vec![([0, 1], 1.0)])))
            }
            Expr::Binary(op, a, b) => {
                let (a, b) = (&forms[&a], &forms[&b]);
                match (op, a, b) {
                    (BinaryOp::Add, Form::Sum(None), Form::Bias(v))
                    | (BinaryOp::Add, Form::Bias(v), Form::Sum(None)) => {
                        return Some(Form::Sum(Some(*v)));
                    }
                    _ => {}
                }
                let (p, q) = (self.polynomial(a)?, self.polynomial(b)?);
                Some(Form::Polynomial(match (op, b) {
                    (BinaryOp::Add, _) => p.add(&q, 1.0),
                    (BinaryOp::Sub, _) => p.add(&q, -1.0),
                    (BinaryOp::Mul, _) => p.times(&q)?,
                    (BinaryOp::Div, Form::Number(n)) => Polynomial::default().add(&p, 1.0 / n),
                    _ => return None,
                }))
            }
            _ => None,
        }
    }

    /// True for `0.5 s (1 + tanh(√(2/π) (s + 0.044715 s³)))`, D. Hendrycks and K. Gimpel, "Gaussian Error Linear Units", 2016,
    /// with two numbers that may have been rounded to the dtype.
    fn is_gelu(&self, p: &Polynomial, dtype: DType) -> bool {
        let root = (2.0 / PI).sqrt();
        let within = 2.5 * if dtype == DType::BF16 { 2f64.powi(-8) } else { 2f64.powi(-11) };
        p.is(&[([1, 0], 0.5), ([1, 1], 0.5)], 0.0)
            && self.tangent.as_ref().is_some_and(|t| t.is(&[([1, 0], root), ([3, 0], 0.044715 * root)], within))
    }
}
