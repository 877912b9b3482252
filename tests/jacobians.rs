//! Jacobians and second derivatives: against finite differences, against recorded values, and nested.

mod target;

use std::collections::BTreeMap;
use tracewright::options::with_options;
use tracewright::{
    Code, DType, Tensor, Tree, custom_jvp, custom_vjp, einsum, grad, hessian, hvp, jacfwd, jacrev, jit, keepdims, nn,
    vmap,
};

fn numbers(shape: &[usize]) -> Tensor {
    let n: usize = shape.iter().product();
    ((Tensor::arange(n, DType::F64) * 1.7 + 0.3).sin() * 1.5).reshape(shape)
}

fn elements(t: &Tensor) -> Vec<f64> {
    t.to_vec().unwrap()
}

#[track_caller]
fn near(got: &Tensor, want: &Tensor, tolerance: f64) {
    assert_eq!(got.shape(), want.shape());
    let (a, b) = (elements(got), elements(want));
    let close = |x: &f64, y: &f64| (x - y).abs() <= tolerance * y.abs().max(1.0);
    assert!(a.iter().zip(&b).all(|(x, y)| close(x, y)), "{a:?} {b:?}");
}

/// The Jacobian by central differences.
fn differences(f: &dyn Fn(&Tensor) -> Tensor, x: &Tensor) -> Tensor {
    let (at, step) = (elements(x), 1e-6);
    let out = f(x).shape();
    let columns: Vec<Vec<f64>> = (0..at.len())
        .map(|i| {
            let moved = |by: f64| {
                let mut at = at.clone();
                at[i] += by;
                elements(&f(&Tensor::from(at).reshape(x.shape())))
            };
            moved(step).iter().zip(moved(-step)).map(|(a, b)| (a - b) / (2.0 * step)).collect()
        })
        .collect();
    let m = columns.first().map_or(0, Vec::len);
    let flat: Vec<f64> = (0..m).flat_map(|j| columns.iter().map(move |c| c[j])).collect();
    let shape: Vec<_> = out.iter().chain(x.shape().iter()).cloned().collect();
    Tensor::from(flat).reshape(&shape[..])
}

type Function = fn(&Tensor) -> Tensor;

const FUNCTIONS: [(&str, &[usize], Function); 14] = [
    ("tanh", &[2, 3], |x| x.tanh()),
    ("scalar to scalar", &[], |x| x.sin() * x),
    ("scalar to vector", &[], |x| x * Tensor::from([1.0f64, -2.0, 0.5])),
    ("vector to scalar", &[4], |x| x.square().sum(..).exp().log1p()),
    ("softmax", &[2, 3], |x| x.softmax(1)),
    ("matrix product", &[2, 3], |x| einsum("ij,kj->ik", &[x, x])),
    ("reads", &[3, 2], |x| x.index_select(0, &Tensor::from([2i64, 0, 2, 1])) * x.sum(..)),
    ("views", &[2, 3], |x| x.t().pad(&[(1, 0), (0, 2)], 0.5).flip(&[0]).reshape([16])),
    ("running sums", &[4], |x| x.cumsum(0).cumprod(0)),
    ("sorted", &[5], |x| x.sort(0, true).0 * x),
    ("layer norm", &[2, 4], |x| (x - x.mean(keepdims(1))) / (x.var(keepdims(1), 0) + 0.1).sqrt()),
    ("constant", &[3], |_| Tensor::from([1.0f64, 2.0])),
    ("itself", &[3], |x| x.clone()),
    ("partly constant", &[3], |x| tracewright::concat(&[x.slice(0, 1..2), Tensor::from([3.0f64])], 0)),
];

#[test]
fn both_modes_against_differences() {
    for (name, shape, f) in FUNCTIONS {
        let x = numbers(shape);
        let want = differences(&f, &x);
        println!("{name}");
        near(&jacrev(f)(&x), &want, 1e-7);
        near(&jacfwd(f)(&x), &want, 1e-7);
        near(&jit(move |x: Tensor| jacrev(f)(&x)).call(&x).unwrap(), &want, 1e-7);
        near(&jit(move |x: Tensor| jacfwd(f)(&x)).call(&x).unwrap(), &want, 1e-7);
        let mut interpreted = target::options();
        interpreted.set("JIT", "off").unwrap();
        with_options(interpreted, || near(&jacrev(f)(&x), &want, 1e-7));
    }
}

#[test]
fn second_derivatives_against_differences_of_the_first() {
    for (name, shape, f) in FUNCTIONS {
        if name == "sorted" {
            continue;
        }
        let x = numbers(shape);
        let scalar = move |x: &Tensor| (f(x) * 0.5).sin().sum(..);
        let want = differences(&grad(scalar), &x);
        println!("{name}");
        near(&hessian(scalar)(&x), &want, 1e-6);
        near(&jacrev(grad(scalar))(&x), &want, 1e-6);
        near(&jacrev(jacfwd(scalar))(&x), &want, 1e-6);
        let v = numbers(shape).cos();
        let n = v.numel();
        let product = hessian(scalar)(&x).reshape([n.clone(), n.clone()]).matmul(&v.reshape([n])).reshape(x.shape());
        near(&hvp(scalar, &x, &v), &product, 1e-12);
        near(&jit(move |x: Tensor, v: Tensor| hvp(scalar, &x, &v)).call(&x, &v).unwrap(), &product, 1e-12);
    }
}

/// JAX 0.4 and later in f64.
#[test]
fn recorded_values() {
    let x = Tensor::from([0.5f64, -1.25, 2.0]);
    let m = Tensor::from([[1.0f64, -0.5, 0.25], [0.75, 2.0, -1.5]]);
    let softmax = Tensor::from([
        [0.14555480530693451, -0.0054331078200886415, -0.1401216974868459],
        [-0.0054331078200886415, 0.029782607755348172, -0.024349499935259537],
        [-0.1401216974868459, -0.024349499935259537, 0.16447119742210536],
    ]);
    near(&jacrev(|x: &Tensor| x.softmax(0))(&x), &softmax, 1e-13);
    near(&hessian(|x: &Tensor| x.logsumexp(0))(&x), &softmax, 1e-13);
    let tanh = [
        [1.7608022120006204, -2.7310935566237924, 3.910248897919184],
        [-0.9993127846742054, 2.501467226277787, -4.000950155642688],
    ];
    near(&jacfwd(|x: &Tensor| m.matmul(x).tanh() * x.square().sum(..))(&x), &Tensor::from(tanh), 1e-13);
    let second = [
        [8.711915783926573, 0.256385299495161, -1.690891122712491],
        [0.256385299495161, 3.776296365910222, 1.6778718319905948],
        [-1.6908911227124912, 1.6778718319905948, -5.534903897086928],
    ];
    let g = |x: &Tensor| (x.sin() * m.matmul(x).exp().select(0, 0)).sum(..) + x.prod(..);
    near(&hessian(g)(&x), &Tensor::from(second), 1e-12);
    let sorted = [[2.0, 0.0, 0.5], [-0.25, 0.5, 0.0], [-1.25, 0.0, -1.25]];
    near(&jacrev(|x: &Tensor| x.sort(0, true).0 * x.cumsum(0))(&x), &Tensor::from(sorted), 1e-13);
    let gram = [
        [[[2.0, -1.0, 0.5], [0.0, 0.0, 0.0]], [[0.75, 2.0, -1.5], [1.0, -0.5, 0.25]]],
        [[[0.75, 2.0, -1.5], [1.0, -0.5, 0.25]], [[0.0, 0.0, 0.0], [1.5, 4.0, -3.0]]],
    ];
    near(&jacrev(|m: &Tensor| einsum("ij,kj->ik", &[m, m]))(&m), &Tensor::from(gram), 1e-13);
}

#[derive(Tree, Clone)]
struct Layer {
    weight: Tensor,
    bias: Tensor,
}

#[test]
fn trees_have_a_block_for_each_pair_of_leaves() {
    let layer = Layer { weight: numbers(&[3, 2]), bias: numbers(&[2]) };
    let x = numbers(&[3]);
    let f = move |(l, x): &(Layer, Tensor)| {
        let y = x.matmul(&l.weight) + &l.bias;
        BTreeMap::from([("norm".to_string(), y.square().sum(..)), ("y".to_string(), y.tanh())])
    };
    let argument = (layer, x);
    for blocks in [jacrev(f)(&argument), jacfwd(f)(&argument)] {
        let shapes = |(l, x): &(Layer, Tensor)| [&l.weight, &l.bias, x].map(|t| t.shape().to_string());
        assert_eq!(shapes(&blocks["y"]), ["[2, 3, 2]", "[2, 2]", "[2, 3]"]);
        assert_eq!(shapes(&blocks["norm"]), ["[3, 2]", "[2]", "[3]"]);
        let (l, x) = argument.clone();
        let by_weight = |w: &Tensor| f(&(Layer { weight: w.clone(), bias: l.bias.clone() }, x.clone()));
        near(&blocks["y"].0.weight, &differences(&|w| by_weight(w)["y"].clone(), &l.weight), 1e-7);
        near(&blocks["norm"].0.weight, &differences(&|w| by_weight(w)["norm"].clone(), &l.weight), 1e-7);
        near(&blocks["y"].1, &differences(&|x| f(&(l.clone(), x.clone()))["y"].clone(), &x), 1e-7);
    }
    // Of a derived tree there is a row for each leaf.
    let (l, x) = argument;
    let loss = move |l: &Layer| (x.matmul(&l.weight) + &l.bias).tanh().prod(..);
    let second = hessian(&loss)(&l);
    let shapes = |l: &Layer| [l.weight.shape().to_string(), l.bias.shape().to_string()];
    assert_eq!(shapes(&second[0]), ["[3, 2, 3, 2]", "[3, 2, 2]"]);
    assert_eq!(shapes(&second[1]), ["[2, 3, 2]", "[2, 2]"]);
    near(&second[0].bias.permute(&[2, 0, 1]), &second[1].weight, 1e-12);
}

#[test]
fn nested_in_everything() {
    let f = |x: &Tensor| (x.cumsum(0) * x.sin()).tanh();
    let xs = numbers(&[4, 3]);
    let each = |g: &dyn Fn(&Tensor) -> Tensor| tracewright::stack(&[0, 1, 2, 3].map(|i| g(&xs.select(0, i))), 0);
    near(&vmap(jacrev(f))(&xs), &each(&jacrev(f)), 1e-12);
    near(&vmap(jacfwd(f))(&xs), &each(&jacrev(f)), 1e-12);
    let loss = move |x: &Tensor| f(x).sum(..);
    near(&vmap(hessian(loss))(&xs), &each(&hessian(loss)), 1e-12);
    near(&jit(move |x: Tensor| vmap(hessian(loss))(&x)).call(&xs).unwrap(), &each(&hessian(loss)), 1e-12);
    // The Jacobian of many examples has blocks on its diagonal.
    let whole = jacrev(vmap(f))(&xs);
    near(&whole.diagonal(0, 0, 2).permute(&[2, 0, 1]), &each(&jacrev(f)), 1e-12);
    near(&whole.square().sum(..), &each(&jacrev(f)).square().sum(..), 1e-12);
    // Gradients through one, and third derivatives.
    let x = xs.select(0, 0);
    let size = move |x: &Tensor| jacfwd(f)(x).square().sum(..);
    near(&grad(size)(&x), &differences(&size, &x), 1e-6);
    let third = jacrev(hessian(loss))(&x);
    near(&third, &differences(&hessian(loss), &x), 1e-6);
    // Of captured values there are none.
    let captured = jacrev(|y: &Tensor| jacrev(|x: &Tensor| x * y)(&x).sum(..))(&x);
    near(&captured, &Tensor::ones([3], DType::F64), 1e-12);
}

#[test]
fn symbolic_extents_and_empty_ones() {
    let f = jit(|x: Tensor| jacrev(|x: &Tensor| x.cumsum(0).sin())(&x)).dynamic("arguments.0", 0, "N", 0..=9);
    for n in [0, 1, 2, 9] {
        near(&f.call(numbers(&[n])).unwrap(), &jacfwd(|x: &Tensor| x.cumsum(0).sin())(&numbers(&[n])), 1e-12);
    }
    assert_eq!(f.stats().traces, 1);
}

#[test]
fn what_is_refused_and_what_is_zero() {
    let x = numbers(&[3]);
    for got in [jacrev(|x: &Tensor| x.argmax(0))(&x), jacfwd(|x: &Tensor| x.argmax(0))(&x)] {
        let e = got.to_vec::<f64>().unwrap_err();
        assert_eq!((e.code(), e.rule()), (Code::Gradient, "the function returned i64[]"), "{e}");
    }
    let e = hessian(|x: &Tensor| x * 2.0)(&x).to_vec::<f64>().unwrap_err();
    assert_eq!(e.code(), Code::Gradient, "{e}");
    // Integers in the argument have zeros.
    let f = |(x, i): &(Tensor, Tensor)| x.index_select(0, i);
    let argument = (x.clone(), Tensor::from([2i64, 0]));
    for (by_x, by_i) in [jacrev(f)(&argument), jacfwd(f)(&argument)] {
        near(&by_x, &Tensor::from([[0.0f64, 0.0, 1.0], [1.0, 0.0, 0.0]]), 0.0);
        assert_eq!(by_i.to_vec::<i64>().unwrap(), [0; 4]);
    }
    // A tensor at two places is one variable.
    let twice = |(x, y): &(Tensor, Tensor)| x * y;
    let (first, second) = jacfwd(twice)(&(x.clone(), x.clone()));
    near(&first, &(&x * 2.0).diag_embed(0), 1e-12);
    near(&second, &first, 0.0);
    let rows = jacrev(|x: &Tensor| x.index_select(0, &Tensor::from([7i64])))(&x).to_vec::<f64>().unwrap_err();
    assert_eq!(rows.code(), Code::Index);
}

#[test]
fn derivatives_that_do_not_depend_on_the_direction() {
    // A gradient of the user's that is 0 everywhere.
    let still = custom_vjp(|x: &Tensor| x * 2.0, |x: &Tensor| (x * 2.0, ()), |_: &(), g: &Tensor| g.zeros_like());
    let x = numbers(&[3]);
    near(&jacrev(&still)(&x), &Tensor::zeros([3, 3], DType::F64), 0.0);
    let still = custom_jvp(|x: &Tensor| x * 2.0, |x: &Tensor, t: &Tensor| (x * 2.0, t.zeros_like()));
    near(&jacfwd(&still)(&x), &Tensor::zeros([3, 3], DType::F64), 0.0);
}

#[test]
fn of_models_with_draws() {
    let g = tracewright::Generator::new(3);
    let model = nn::Linear::new(3, 2, &g);
    let before = g.state().to_vec::<u64>().unwrap();
    let noisy = |x: &Tensor| model.forward(x) * g.uniform([2], 0.5, 1.5);
    let x = Tensor::from([0.5f32, -1.0, 2.0]);
    let jacobian = jacrev(noisy)(&x);
    // One draw for all rows.
    let after = g.state().to_vec::<u64>().unwrap();
    assert_eq!(after[1], before[1] + 1);
    let ratio = (jacobian / &model.weight).to_vec::<f32>().unwrap();
    assert!((ratio[0] - ratio[2]).abs() < 1e-6 && (ratio[3] - ratio[5]).abs() < 1e-6, "{ratio:?}");
}
