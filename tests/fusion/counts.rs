//! How many kernels, and how many bytes they move.

use crate::{bytes, f32s, refusals, steps};
use tracewright::jit::Lowered;
use tracewright::{DType, PadMode, Tensor, concat, einsum, jit, keepdims, nn, value_and_grad};

/// One kernel that reads every input once and writes every output once.
#[track_caller]
fn one_kernel(lowered: &Lowered, moved: i64) {
    let text = lowered.stage("program.txt").unwrap();
    assert_eq!(steps(lowered), (1, 0), "{text}");
    assert_eq!(bytes(lowered), moved, "{text}");
}

const F32: i64 = 4;

#[test]
fn a_chain_of_pointwise_ops() {
    let f = jit(|x: Tensor| (((&x * 2.0 + 1.0).tanh() - &x).exp() / 3.0).abs().sqrt());
    one_kernel(&f.lower(f32s([1000])).unwrap(), 2 * 1000 * F32);
    let gelu = jit(|x: Tensor| x.gelu().gelu().gelu());
    one_kernel(&gelu.lower(f32s([64, 64])).unwrap(), 2 * 4096 * F32);
}

#[test]
fn scalars_and_broadcasts_are_not_written_out() {
    let f = jit(|x: Tensor, row: Tensor, column: Tensor, s: Tensor| (x + row) * column - s);
    let lowered = f.lower(f32s([30, 20]), f32s([20]), f32s([30, 1]), Tensor::from(1.0f32)).unwrap();
    one_kernel(&lowered, (600 + 20 + 30 + 1 + 600) * F32);
}

#[test]
fn views_are_index_maps() {
    let x = f32s([12, 10]);
    type Function = fn(Tensor) -> Tensor;
    let cases: &[(&str, Function)] = &[
        ("reshape", |x| x.reshape([10, 12]) * 2.0),
        ("reshape between", |x| ((x + 1.0).reshape([120]) * 2.0).reshape([4, 30]).exp()),
        ("transpose", |x| x.t() + 1.0),
        ("permute", |x| x.reshape([3, 4, 10]).permute(&[2, 0, 1]) * 2.0),
        ("slice", |x| x.slice(0, 3..9).slice(1, 1..7) * 2.0),
        ("pad", |x| (x * 2.0).pad(&[(1, 2), (0, 3)], 0.0) + 1.0),
        ("flip", |x| x.flip(&[0, 1]) - 1.0),
        ("broadcast", |x| x.unsqueeze(0).broadcast_to([5, 12, 10]) * 3.0),
        ("concat", |x| concat(&[x.slice(0, 2..7), x.flip(&[0]), &x * 2.0], 0).tanh()),
        ("stack of slices", |x| concat(&[x.slice(1, 0..5), x.slice(1, 5..10)], 0).t() * 2.0),
        ("everything", |x| {
            let y = x.t().reshape([5, 24]).flip(&[1]).slice(1, 2..20).pad(&[(0, 0), (1, 1)], 1.0);
            concat(&[y.clone(), y], 0).unsqueeze(1).broadcast_to([10, 3, 20]).exp()
        }),
    ];
    for (name, function) in cases {
        let lowered = jit(*function).lower(&x).unwrap();
        let text = lowered.stage("program.txt").unwrap();
        assert_eq!(steps(&lowered), (1, 0), "{name}: {text}");
        let output = (lowered.graph().output_types()[0].bytes().known()).unwrap();
        assert_eq!(bytes(&lowered), 120 * F32 + output, "{name}: {text}");
        // What fusion did not change is the value.
        let want = function(x.clone()).to_vec::<f32>().unwrap();
        assert_eq!(jit(*function).call(&x).unwrap().to_vec::<f32>().unwrap(), want, "{name}");
    }
}

/// A reshape alone is another name for the same memory.
#[test]
fn a_bare_reshape_moves_nothing() {
    let f = jit(|x: Tensor| x.reshape([20]).reshape([2, 10]));
    let lowered = f.lower(f32s([4, 5])).unwrap();
    assert_eq!((steps(&lowered), bytes(&lowered)), ((0, 0), 0));
}

#[test]
fn rows_in_several_passes() {
    let x = f32s([64, 300]);
    let n = 64 * 300;
    for axis in [0, 1] {
        one_kernel(&jit(move |x: Tensor| x.softmax(axis)).lower(&x).unwrap(), 2 * n * F32);
        one_kernel(&jit(move |x: Tensor| x.log_softmax(axis)).lower(&x).unwrap(), 2 * n * F32);
        let out = [300, 64][axis as usize];
        one_kernel(&jit(move |x: Tensor| x.logsumexp(axis)).lower(&x).unwrap(), (n + out) * F32);
        let normal = jit(move |x: Tensor| {
            let centred = &x - x.mean(keepdims(axis));
            &centred / (centred.square().mean(keepdims(axis)) + 1e-5).sqrt()
        });
        one_kernel(&normal.lower(&x).unwrap(), 2 * n * F32);
    }
    // What stands before and after joins in.
    let around = jit(|x: Tensor, m: Tensor| (x * 0.125 + m).softmax(-1).gelu() * 2.0);
    one_kernel(&around.lower(&x, f32s([64, 300])).unwrap(), 3 * n * F32);
}

#[test]
fn layer_norm_with_its_weights() {
    let layer = nn::LayerNorm::new(300);
    let f = jit(|layer: nn::LayerNorm, x: Tensor| layer.forward(&x));
    one_kernel(&f.lower(&layer, f32s([64, 300])).unwrap(), (2 * 64 * 300 + 2 * 300) * F32);
}

#[test]
fn cross_entropy_and_its_gradient() {
    let (x, y) = (f32s([64, 10]), Tensor::zeros([64], DType::I64));
    let loss = jit(|x: Tensor, y: Tensor| nn::cross_entropy(&x, &y)).lower(&x, &y).unwrap();
    assert_eq!(steps(&loss), (2, 0), "{}", loss.stage("program.txt").unwrap());
    let both = jit(|x: Tensor, y: Tensor| value_and_grad(|x: &Tensor| nn::cross_entropy(x, &y))(&x));
    let both = both.lower(&x, &y).unwrap();
    assert_eq!(steps(&both), (2, 0), "{}", both.stage("program.txt").unwrap());
}

#[test]
fn reductions_over_different_axes_are_kernels_of_their_own() {
    let f = jit(|x: Tensor| (x.sum(0), x.sum(1)));
    assert_eq!(steps(&f.lower(f32s([8, 9])).unwrap()), (2, 0));
    let same = jit(|x: Tensor| {
        let y = &x * 2.0;
        (y.sum(1), y.max(1), y.square().mean(1))
    });
    assert_eq!(steps(&same.lower(f32s([8, 9])).unwrap()), (1, 0));
}

/// Two branches from one value that meet again.
#[test]
fn a_diamond() {
    let f = jit(|x: Tensor| {
        let y = x.exp();
        (&y * 2.0).sin() + (&y - 1.0).cos()
    });
    one_kernel(&f.lower(f32s([100])).unwrap(), 2 * 100 * F32);
    // With a reduction in one branch.
    let f = jit(|x: Tensor| {
        let y = x.exp();
        let left = y.sum(keepdims(1));
        &y * 2.0 + left
    });
    one_kernel(&f.lower(f32s([10, 10])).unwrap(), 2 * 100 * F32);
}

/// A group may not hold both ends of a path that leaves it: the product between reads one and feeds the other.
#[test]
fn a_path_through_a_product_makes_no_cycle() {
    let f = jit(|x: Tensor, w: Tensor| {
        let y = x.exp();
        let z = y.matmul(&w);
        (&y + z).sin() + &y
    });
    let lowered = f.lower(f32s([8, 8]), f32s([8, 8])).unwrap();
    assert_eq!(steps(&lowered), (2, 1), "{}", lowered.stage("program.txt").unwrap());
    let f = jit(|x: Tensor| {
        let y = x.exp();
        let columns = y.sum(0);
        let rows = (&y + columns).sum(1);
        (&y * rows.unsqueeze(1), y)
    });
    let lowered = f.lower(f32s([8, 8])).unwrap();
    assert_eq!(steps(&lowered), (2, 0), "{}", lowered.stage("program.txt").unwrap());
}

#[test]
fn a_refused_fusion_is_an_event_with_a_reason() {
    let line = line!() + 4;
    let refused = refusals(|| {
        let f = jit(|x: Tensor| {
            let rows = x.exp().sum(1);
            rows.unsqueeze(0) + x
        });
        f.lower(f32s([8, 8])).unwrap()
    });
    let reason = "a reduction of the group is read at another index";
    assert_eq!(refused, [format!("`add` (tests/fusion/counts.rs:{line}:13): {reason}")]);
    // One operand's group takes it, the other's does not.
    let line = line!() + 1;
    let refused = refusals(|| jit(|x: Tensor| x.sum(0).exp() + x.sum(1)).lower(f32s([8, 8])).unwrap());
    let reason = "the groups reduce over different axes";
    assert_eq!(refused, [format!("`add` (tests/fusion/counts.rs:{line}:47): {reason}")]);
}

/// The updates of all parameters are one launch.
#[test]
fn updates_of_many_tensors_share_a_launch() {
    let f = jit(|parameters: Vec<Tensor>, gradients: Vec<Tensor>| {
        parameters.iter().zip(&gradients).map(|(p, g)| p - g * 0.1).collect::<Vec<Tensor>>()
    });
    let tensors = vec![f32s([8, 8]), f32s([8]), f32s([3, 3, 3]), f32s([1000])];
    assert_eq!(steps(&f.lower(&tensors, &tensors).unwrap()), (1, 0));
}

#[test]
fn dynamic_slices_fuse() {
    let at = || [Tensor::from(3i64), Tensor::from(100i32)];
    let read = jit(|x: Tensor, (row, column): (Tensor, Tensor)| x.dynamic_slice(&[row, column], &[2, 4]) * 2.0);
    let [row, column] = at();
    let lowered = read.lower(f32s([6, 10]), (row, column)).unwrap();
    one_kernel(&lowered, (60 + 8) * F32 + 8 + 4);
    let write =
        jit(|x: Tensor, (u, row, column): (Tensor, Tensor, Tensor)| (x + 1.0).dynamic_update_slice(&u, &[row, column]));
    let [row, column] = at();
    let lowered = write.lower(f32s([6, 10]), (f32s([2, 4]), row, column)).unwrap();
    one_kernel(&lowered, (60 + 8 + 60) * F32 + 8 + 4);
}

#[test]
fn sorted_values_are_gathered_where_they_are_used() {
    let f = jit(|x: Tensor| x.sort(-1, true).0.narrow(1, 0, 3).exp());
    let lowered = f.lower(f32s([8, 100])).unwrap();
    assert_eq!(steps(&lowered), (1, 1), "{}", lowered.stage("program.txt").unwrap());
}

#[test]
fn a_scan_is_one_kernel() {
    let f = jit(|x: Tensor| x.cumsum(0));
    one_kernel(&f.lower(f32s([100, 30])).unwrap(), 2 * 3000 * F32);
}

/// Rearrangements are index maps, so chains of them are one kernel with what they feed.
#[test]
fn rearrangements_are_index_maps() {
    type Function = fn(&Tensor) -> Tensor;
    let cases: &[(&str, Function)] = &[
        ("pad", |x| x.pad(&[(3, 2), (0, 4)], PadMode::Reflect).roll(&[5], [0]).tril(1) * 2.0),
        ("replicate", |x| x.pad(&[(3, 2), (0, 0)], PadMode::Replicate).exp()),
        ("circular", |x| x.pad(&[(0, 0), (3, 2)], PadMode::Circular).exp()),
        ("roll", |x| x.roll(&[3, -4], [0, 1]).roll(&[1], ..) + 1.0),
        ("tile", |x| x.tile(&[2, 1, 3]) * 2.0),
        ("repeat_interleave", |x| x.repeat_interleave(3, 0).tanh()),
        ("diagonal", |x| x.diagonal(2, 0, 1) * 2.0),
        ("diag_embed", |x| x.diag_embed(-1) * 2.0),
        ("triu", |x| x.t().triu(-2).exp()),
        ("unfold", |x| x.unfold(1, 5, 2) * 0.2),
        ("unfold apart", |x| x.unfold(0, 3, 4) * 0.2),
        ("im2col", |x| x.unsqueeze(0).im2col([3, 3], [1, 1]) * 0.2),
        ("rot90", |x| x.rot90(1, 0, 1).fliplr() * 2.0),
        ("kron", |x| x.kron(&x.narrow(0, 0, 2)) * 2.0),
        ("outer", |x| x.select(0, 0).outer(&x.select(1, 1)).exp()),
        ("views of einsum", |x| einsum("iji->j", &[&x.tile(&[1, 12]).reshape([12, 10, 12])]) * 2.0),
        ("hadamard", |x| einsum("ij,j,i->ji", &[x, &x.select(0, 1), &x.select(1, 1)]) * 2.0),
        ("rows", |x| einsum("ij,ij->i", &[x, &x.exp()])),
        ("diff", |x| x.diff(2, 1) * 2.0),
    ];
    for (name, function) in cases {
        let function = *function;
        let f = jit(move |x: Tensor| function(&x));
        let lowered = f.lower(f32s([12, 10])).unwrap();
        let text = lowered.stage("program.txt").unwrap();
        assert_eq!(steps(&lowered), (1, 0), "{name}: {text}");
        let output = (lowered.graph().output_types()[0].bytes().known()).unwrap();
        assert_eq!(bytes(&lowered), 120 * F32 + output, "{name}: {text}");
    }
    // With a sum behind them nothing but the sum is written.
    let f = jit(|x: Tensor| (x.pad(&[(2, 2), (3, 3)], PadMode::Reflect).roll(&[1], [0]).tril(0) * 2.0).sum(..));
    one_kernel(&f.lower(f32s([40, 30])).unwrap(), (40 * 30 + 1) * F32);
}

#[test]
fn norms_are_one_kernel() {
    let n = 64 * 300;
    for axis in [0, 1] {
        let out = [300, 64][axis as usize];
        for p in [0.0, 1.0, 2.0, 3.0, f64::INFINITY] {
            let f = jit(move |x: Tensor| x.norm(p, axis));
            one_kernel(&f.lower(f32s([64, 300])).unwrap(), (n + out) * F32);
        }
        one_kernel(&jit(move |x: Tensor| x.normalize(2.0, axis, 1e-12)).lower(f32s([64, 300])).unwrap(), 2 * n * F32);
    }
    let similar = jit(|x: Tensor, y: Tensor| x.cosine_similarity(&y, -1, 1e-8));
    one_kernel(&similar.lower(f32s([64, 300]), f32s([64, 300])).unwrap(), (2 * n + 64) * F32);
    // The differences of all pairs are never in memory.
    let distances = jit(|x: Tensor, y: Tensor| x.cdist(&y, 2.0));
    one_kernel(&distances.lower(f32s([20, 30]), f32s([40, 30])).unwrap(), (20 * 30 + 40 * 30 + 20 * 40) * F32);
}

/// One library product for each pair, and kernels only where something is summed or multiplied besides.
#[test]
fn einsums_are_products() {
    let f = jit(|x: Tensor, y: Tensor| einsum("bij,bjk->bik", &[&x, &y]));
    assert_eq!(steps(&f.lower(f32s([2, 3, 4]), f32s([2, 4, 5])).unwrap()), (0, 1));
    // Heads in the middle, as in attention.
    let f = jit(|q: Tensor, k: Tensor| einsum("bqhd,bkhd->bhqk", &[&q, &k]));
    assert_eq!(steps(&f.lower(f32s([2, 8, 4, 16]), f32s([2, 8, 4, 16])).unwrap()).1, 1);
    // What only one operand has is summed before, in one kernel.
    let f = jit(|x: Tensor, y: Tensor| einsum("ijl,jkm->ik", &[&x, &y]));
    assert_eq!(steps(&f.lower(f32s([3, 4, 50]), f32s([4, 5, 60])).unwrap()).1, 1);
    // A chain that is cheaper from the right: 100 x 100 times 100 x 1 first.
    let f = jit(|x: Tensor, y: Tensor, z: Tensor| einsum("ij,jk,kl->il", &[&x, &y, &z]));
    let lowered = f.lower(f32s([100, 100]), f32s([100, 100]), f32s([100, 1])).unwrap();
    assert_eq!(steps(&lowered).1, 2);
    let moved = (100 * 100 + 100 + 100) * F32;
    assert_eq!(bytes(&lowered), 2 * moved, "{}", lowered.stage("program.txt").unwrap());
}

/// A matrix that is the same for all is not repeated.
#[test]
fn products_with_one_matrix() {
    for (a, b) in [(vec![6, 5, 2, 3], vec![3, 4]), (vec![6, 5, 2, 3], vec![1, 1, 3, 4]), (vec![2, 3], vec![1, 1, 3, 4])]
    {
        let lowered = jit(|x: Tensor, y: Tensor| x.matmul(&y)).lower(f32s(a.as_slice()), f32s(b.as_slice())).unwrap();
        assert_eq!(steps(&lowered), (0, 1), "{}", lowered.stage("program.txt").unwrap());
        let all = |dims: &[usize]| dims.iter().product::<usize>() as i64;
        assert_eq!(bytes(&lowered), (all(&a) + all(&b) + all(&a) / 3 * 4) * F32);
    }
}
