//! Iteration spaces that are cut where conditions change.

use super::{program, steps};
use ir::kernel::{Expr, Stmt};
use tracewright::{DType, PadMode, Result, Tensor, concat, jit, options, stack};

fn normal(dims: [usize; 2]) -> Tensor {
    let n = dims[0] * dims[1];
    (Tensor::arange(n, DType::F32) * 0.37).sin().reshape(dims)
}

/// Loads under a condition, and nests, of all kernels.
fn masked_loads(lowered: &tracewright::jit::Lowered) -> (usize, usize) {
    fn count(stmts: &[Stmt]) -> usize {
        let of = |s: &Stmt| match s {
            Stmt::Let { expr: Expr::Load { mask: Some(_), .. }, .. } => 1,
            Stmt::Loop(l) => count(&l.body.0),
            _ => 0,
        };
        stmts.iter().map(of).sum()
    }
    let kernels = &program(lowered).kernels;
    let nests = || kernels.iter().flat_map(|k| &k.nests);
    (nests().map(|n| count(&n.body.0)).sum(), nests().count())
}

fn stencil(x: &Tensor) -> Tensor {
    let padded = x.pad(&[(1, 1), (1, 1)], 0.0);
    let (rows, columns) = (x.dim(0), x.dim(1));
    let shifted = |i: isize, j: isize| {
        let part = padded.slice(0, i..i - 2 + padded.size(0) as isize);
        part.slice(1, j..j - 2 + padded.size(1) as isize).reshape([rows.clone(), columns.clone()])
    };
    let offsets = (0..3).flat_map(|i| (0..3).map(move |j| (i, j)));
    offsets.map(|(i, j)| shifted(i, j) * (i + 2 * j) as f64).reduce(|a, b| a + b).unwrap()
}

type Function = fn(Tensor) -> Tensor;
const FUNCTIONS: &[(&str, Function)] = &[
    ("stencil", |x| stencil(&x)),
    ("roll", |x| x.roll(&[7, -3], [0, 1]) * 2.0),
    ("roll all", |x| x.roll(&[1234], ..).exp()),
    ("reflect", |x| x.pad(&[(3, 5), (2, 4)], PadMode::Reflect) + 1.0),
    ("circular", |x| x.pad(&[(3, 5), (2, 4)], PadMode::Circular).abs()),
    ("rows", |x| concat(&[x.exp(), x.slice(0, 3..20), x.flip(&[0])], 0) - 1.0),
    ("columns", |x| concat(&[x.clone(), x.slice(1, ..7), x.flip(&[1])], 1)),
    ("stack", |x| stack(&[x.clone(), x.sin(), x.cos()], -1) * 3.0),
    ("both", |x| concat(&[x.pad(&[(0, 0), (4, 4)], 1.0), x.pad(&[(0, 0), (8, 0)], 2.0)], 0)),
    ("every third is another", |x| stack(&[x.clone(), &x + 1.0, &x * 2.0], 1).reshape([-1])),
    ("a padded transpose", |x| x.t().pad(&[(1, 2), (3, 0)], -1.0).t() * 0.5),
];

#[test]
fn cut_spaces_have_the_elements_of_the_whole() -> Result<()> {
    for dims in [[48, 64], [50, 61], [33, 130]] {
        let x = normal(dims);
        for (name, function) in FUNCTIONS {
            let f = jit(*function);
            let compiled = f.call(&x)?;
            let mut interpreted = (*options::current().unwrap()).clone();
            interpreted.jit = false;
            let wanted = options::with_options(interpreted, || jit(*function).call(&x))?;
            assert_eq!(compiled.shape(), wanted.shape(), "{name} of {dims:?}");
            let (got, wanted) = (compiled.to_vec::<f32>()?, wanted.to_vec::<f32>()?);
            let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-5 * b.abs().max(1.0);
            assert!(got.iter().zip(&wanted).all(close), "{name} of {dims:?}");
            let (launches, others) = steps(&f.lower(&x)?);
            assert!(launches <= 3 && others == 0, "{name}: {launches} kernels");
        }
    }
    Ok(())
}

#[test]
fn extents_that_are_symbols() -> Result<()> {
    let functions: &[Function] = &[
        |x| x.pad(&[(0, 0), (4, 2)], PadMode::Reflect) + 1.0,
        |x| x.roll(&[3], [1]) * 2.0,
        |x| concat(&[x.clone(), x.flip(&[0])], 0).exp(),
        |x| stack(&[x.clone(), &x + 1.0], 0),
    ];
    for function in functions {
        let f = jit(*function).dynamic("arguments.0", 0, "A", 1..=200).dynamic("arguments.0", 1, "B", 5..=200);
        for dims in [[1, 5], [2, 6], [60, 70], [1, 200], [200, 5]] {
            let x = normal(dims);
            let (got, wanted) = (f.call(&x)?, jit(*function).call(&x)?);
            assert_eq!(got.to_vec::<f32>()?, wanted.to_vec::<f32>()?, "{dims:?}");
        }
    }
    Ok(())
}

#[test]
fn nothing_is_asked_inside_of_a_box() -> Result<()> {
    let x = normal([48, 64]);
    let masks = |f: Function| Ok::<_, tracewright::Error>(masked_loads(&jit(f).lower(&x)?));
    assert_eq!(masks(|x| stencil(&x))?, (0, 9));
    assert_eq!(masks(|x| x.roll(&[7, -3], [0, 1]) * 2.0)?, (0, 4));
    assert_eq!(masks(|x| x.pad(&[(0, 0), (2, 4)], PadMode::Reflect) + 1.0)?, (0, 3));
    // Small spaces are not worth the code.
    let small = normal([8, 8]);
    assert_eq!(masked_loads(&jit(|x: Tensor| stencil(&x)).lower(&small)?).1, 1);
    Ok(())
}

#[test]
fn gradients_of_padded_rolled_triangles() -> Result<()> {
    let m = Tensor::arange(24, DType::F64).reshape([6, 4]);
    let function = |x: &Tensor| {
        let y = x.tril(0).roll(&[9], ..);
        (&y * &y * 0.5).sum(..)
    };
    let f = jit(move |x: Tensor| tracewright::grad(function)(&x));
    let (gradient, counts) = tracewright::events::Counters::of(|| f.call(&m).and_then(|g| g.to_vec::<f64>()));
    assert_eq!(counts[tracewright::events::Event::Bug], 0);
    assert_eq!(gradient?, m.tril(0).to_vec::<f64>()?);
    Ok(())
}
