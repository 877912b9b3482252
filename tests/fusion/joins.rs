//! Concatenations of many operands: each is copied once per stage, by loops that read it alone.

use crate::{program, steps};
use tracewright::{DType, Tensor, concat, jit, stack};

/// Pieces of two rows each, of differing widths (some have none), with the value that each is filled with.
fn pieces(count: usize) -> Vec<Tensor> {
    (0..count).map(|i| Tensor::full([2, i % 4], i as f32, DType::F32)).collect()
}

/// Characters of all kernels.
fn size(count: usize) -> usize {
    let lowered = jit(|xs: Vec<Tensor>| concat(&xs, 1)).lower(pieces(count)).unwrap();
    program(&lowered).kernels.iter().map(|k| k.to_string().len()).sum()
}

#[test]
fn kernels_grow_linearly_with_the_operands() {
    let (some, many) = (size(64), size(512));
    assert!(many < 12 * some, "{some} characters for 64 operands, {many} for 512");
}

#[test]
fn long_ones_are_joined_in_stages() {
    for (count, launches) in [(16, 1), (17, 1), (64, 1), (65, 3), (200, 5), (4097, 68)] {
        let xs: Vec<Tensor> = (0..count).map(|i| Tensor::full([3], i as f32, DType::F32)).collect();
        let f = jit(|xs: Vec<Tensor>| concat(&xs, 0));
        let lowered = f.lower(&xs).unwrap();
        assert_eq!(steps(&lowered), (launches, 0), "{count} operands");
        // Stages of equal shape share a kernel, and two shapes are as even as can be.
        assert!(program(&lowered).kernels.len() <= 5, "{count} operands");
        let want: Vec<f32> = (0..3 * count).map(|i| (i / 3) as f32).collect();
        assert_eq!(f.call(&xs).unwrap().to_vec::<f32>().unwrap(), want, "{count} operands");
    }
}

#[test]
fn readers_of_long_ones_see_the_same_elements() {
    for count in [15, 17, 40, 65, 130] {
        let xs = pieces(count);
        let row: Vec<f32> = (0..count).flat_map(|i| vec![i as f32; i % 4]).collect();
        let want: Vec<f32> = row.iter().chain(&row).map(|v| 2.0 * v + 1.0).collect();
        let f = jit(|xs: Vec<Tensor>| concat(&xs, 1) * 2.0 + 1.0);
        assert_eq!(f.call(&xs).unwrap().to_vec::<f32>().unwrap(), want, "{count} operands");
        let total = 2.0 * row.iter().sum::<f32>();
        let f = jit(|xs: Vec<Tensor>| concat(&xs.iter().map(|x| x.t() * 2.0).collect::<Vec<_>>(), 0).sum(0));
        assert_eq!(f.call(&xs).unwrap().to_vec::<f32>().unwrap(), [total, total], "{count} operands");
        let f = jit(|xs: Vec<Tensor>| stack(&xs.iter().map(|x| x.sum(1)).collect::<Vec<_>>(), 1).max(..));
        assert_eq!(f.call(&xs).unwrap().item::<f32>().unwrap(), row_maximum(count), "{count} operands");
    }
}

fn row_maximum(count: usize) -> f32 {
    (0..count).map(|i| (i * (i % 4)) as f32).fold(0.0, f32::max)
}

#[test]
fn gradients_of_long_ones() {
    let xs: Vec<Tensor> = (0..100).map(|i| Tensor::full([2], i as f32, DType::F32)).collect();
    let f = jit(|xs: Vec<Tensor>| tracewright::grad(|xs: &Vec<Tensor>| (concat(xs, 0) * concat(xs, 0)).sum(..))(&xs));
    for (i, g) in f.call(&xs).unwrap().iter().enumerate() {
        assert_eq!(g.to_vec::<f32>().unwrap(), [2.0 * i as f32; 2]);
    }
}
