//! Bad input of compositions: every message names the function, the operands and the line.

use std::panic::Location;
use tracewright::{Code, DType, Error, Interpolation, MatrixNorm, Merge, PadMode, Shape, Tensor, einsum, jit};
use tracewright::{Indexing, block_diag, broadcast_shapes, concat, hstack, meshgrid, multi_dot, nn, signal};

fn f32s(shape: impl Into<Shape>) -> Tensor {
    Tensor::ones(shape, DType::F32)
}

fn err(t: Tensor) -> Error {
    t.ok().unwrap_err()
}

/// The error of a call on this line, eager and while it is traced.
#[track_caller]
fn says(call: impl Fn() -> Tensor + Send + Sync + 'static, code: Code, headline: &str, legal: &str) {
    let line = Location::caller().line();
    let eager = err(call());
    let traced = jit(move |_: Tensor| call()).call(f32s([1])).unwrap_err();
    for e in [eager, traced] {
        assert_eq!((e.code(), e.headline().as_str(), e.legal()), (code, headline, legal));
        let at = e.location().expect("a line");
        assert_eq!((at.file.as_ref(), at.line), (file!(), line), "{e}");
    }
}

#[test]
#[rustfmt::skip]
fn arranging() {
    says(|| f32s([2, 3]).pad(&[(1, 1)], 0.0), Code::Rank, "error[rank]: pad(f32[2, 3]): 1 pairs for a tensor of rank 2", "one pair per axis");
    says(|| f32s([2, 3]).pad(&[(0, 0), (3, 0)], PadMode::Reflect), Code::Shape, "error[shape]: pad(f32[2, 3]): 3 elements of axis 1 of extent 3 cannot be reflected", "at most 2 at each end of axis 1");
    says(|| f32s([0]).pad(&[(1, 0)], PadMode::Reflect), Code::Shape, "error[shape]: pad(f32[0]): 1 elements of axis 0 of extent 0 cannot be reflected", "at most 0 at each end of axis 0");
    says(|| f32s([3]).pad(&[(0, 4)], PadMode::Circular), Code::Shape, "error[shape]: pad(f32[3]): 4 elements of axis 0 of extent 3 cannot be wrapped", "at most 3 at each end of axis 0");
    says(|| f32s([0, 3]).pad(&[(1, 0), (0, 0)], PadMode::Replicate), Code::Empty, "error[empty]: pad(f32[0, 3]): axis 0 is empty, so there is no element to repeat", "an axis with elements, or a constant");
    says(|| f32s([3]).to_dtype(DType::U8).pad(&[(1, 0)], 300), Code::DType, "error[dtype]: pad(u8[3]): 300 does not fit u8", "numbers from 0 to 255, or another dtype");
    says(|| f32s([3]).roll(&[1, 2], [0]), Code::Argument, "error[argument]: roll(f32[3]): 2 shifts for 1 axes", "one shift per axis");
    says(|| f32s([3]).roll(&[1], [1]), Code::Axis, "error[axis]: roll(f32[3]): axis 1 does not exist", "axes go from -1 to 0");
    says(|| f32s([3]).repeat_interleave(2, 1), Code::Axis, "error[axis]: repeat_interleave(f32[3]): axis 1 does not exist", "axes go from -1 to 0");
    says(|| f32s([3]).repeat_each(&Tensor::from([1i64, 2]), 0, 3), Code::Shape, "error[shape]: repeat_each(f32[3], i64[2]): counts of shape [2] for axis 0 of extent 3", "shape [3]");
    says(|| f32s([2, 2]).diagonal(0, 1, -1), Code::Axis, "error[axis]: diagonal(f32[2, 2]): axis 1 is named twice", "two axes");
    says(|| f32s([2]).tril(0), Code::Rank, "error[rank]: tril(f32[2]): the tensor has rank 1", "at least two axes");
    says(|| f32s([2, 2, 2]).diag(0), Code::Rank, "error[rank]: diag(f32[2, 2, 2]): the tensor has rank 3", "a vector or a matrix");
    says(|| f32s([2]).trace(), Code::Rank, "error[rank]: trace(f32[2]): the tensor has rank 1", "a matrix");
    says(|| f32s([3]).unfold(0, 4, 1), Code::Shape, "error[shape]: unfold(f32[3]): windows of 4 elements do not fit axis 0 of extent 3", "at most 3 elements");
    says(|| f32s([3]).unfold(0, 1, 0), Code::Argument, "error[argument]: unfold(f32[3]): the step is 0", "a step of at least 1");
    says(|| f32s([3, 3]).im2col([1, 1], [1, 1]), Code::Rank, "error[rank]: im2col(f32[3, 3]): the tensor has rank 2", "[.., channels, height, width]");
    says(|| f32s([2, 3]).movedim(&[0, 1], &[0]), Code::Argument, "error[argument]: movedim(f32[2, 3]): 2 axes are to move to 1 places", "one place per axis");
    says(|| f32s([2, 3]).unflatten(1, [2, 2]), Code::Shape, "error[shape]: unflatten(f32[2, 3]): axis 1 of extent 3 cannot take shape [2, 2]", "extents whose product is that of the axis");
    says(|| f32s([2, 3]).rot90(1, 0, 0), Code::Axis, "error[axis]: rot90(f32[2, 3]): axis 0 is named twice", "name each axis once");
    says(|| meshgrid(&[f32s([2]), f32s([2, 2])], Indexing::Ij)[0].clone(), Code::Rank, "error[rank]: meshgrid(f32[2], f32[2, 2]): tensor 1 has rank 2", "vectors and scalars");
    says(|| block_diag(&[f32s([2, 2, 2])]), Code::Rank, "error[rank]: block_diag(f32[2, 2, 2]): tensor 0 has rank 3", "matrices, vectors and scalars");
    says(|| hstack(&[f32s([2, 2]), f32s([3, 2])]), Code::Shape, "error[shape]: concat(f32[2, 2], f32[3, 2]): tensors 0 and 1 have shapes [2, 2] and [3, 2]", "extents of all axes but 1 are equal");
    let parts = [f32s([5]).chunk(0, 0), f32s([5]).tensor_split(0, 0), f32s([5]).split_every(0, 0)].map(|r| r.unwrap_err().rule().to_string());
    assert_eq!(parts, ["0 parts", "0 parts", "parts of extent 0"]);
    let e = f32s([0]).chunk(usize::MAX, 0).unwrap_err();
    assert_eq!((e.op(), e.legal()), ("chunk", "a number from 1 to 1048576"));
}

#[test]
#[rustfmt::skip]
fn einsums() {
    let pair = || (f32s([2, 3]), f32s([4, 5]));
    says(move || { let (a, b) = pair(); einsum("ij,jk->ik", &[&a, &b]) }, Code::Shape, "error[shape]: einsum(f32[2, 3], f32[4, 5]): `j` of \"ij,jk->ik\" has extent 3 in operand 0 (axis 1) and 4 in operand 1 (axis 0)", "both are equal, or one is 1");
    says(move || { let (a, b) = pair(); einsum("ij,kl->im", &[&a, &b]) }, Code::Argument, "error[argument]: einsum(f32[2, 3], f32[4, 5]): `m` at position 8 of \"ij,kl->im\" stands in the output and in no operand", "letters of the operands");
    says(move || { let (a, b) = pair(); einsum("ij,kl->ii", &[&a, &b]) }, Code::Argument, "error[argument]: einsum(f32[2, 3], f32[4, 5]): `i` at position 8 of \"ij,kl->ii\" stands in the output for the second time", "each letter once in the output");
    says(|| einsum("ij,jk", &[&f32s([2, 3])]), Code::Argument, "error[argument]: einsum(f32[2, 3]): \"ij,jk\" is for 2 operands, there are 1", "as many, with `,` between them");
    says(|| einsum("ijk", &[&f32s([2, 3])]), Code::Rank, "error[rank]: einsum(f32[2, 3]): \"ijk\" has 3 letters for operand 0, which has 2 axes", "a letter for each axis, or `...` for those that have none");
    says(|| einsum("i", &[&f32s([2, 3])]), Code::Rank, "error[rank]: einsum(f32[2, 3]): \"i\" has 1 letters for operand 0, which has 2 axes", "a letter for each axis, or `...` for those that have none");
    says(|| einsum("...ijk", &[&f32s([2, 3])]), Code::Rank, "error[rank]: einsum(f32[2, 3]): \"...ijk\" has 3 letters for operand 0, which has 2 axes", "a letter for each axis, or `...` for those that have none");
    says(|| einsum("ii->i", &[&f32s([2, 3])]), Code::Shape, "error[shape]: einsum(f32[2, 3]): `i` of \"ii->i\" stands for axes 0 and 1 of operand 0, of extents 2 and 3", "both are equal");
    says(|| einsum("...,...", &[&f32s([2, 3]), &f32s([2])]), Code::Shape, "error[shape]: einsum(f32[2, 3], f32[2]): `...` of \"...,...\" has extent 3 in operand 0 (axis 1) and 2 in operand 1 (axis 0)", "both are equal, or one is 1");
    let grammar = "letters for axes, `...`, `,` between operands, and once `->` before the output";
    says(|| einsum("i1->i", &[&f32s([2, 3])]), Code::Argument, "error[argument]: einsum(f32[2, 3]): '1' at position 1 of \"i1->i\"", "letters for axes, `...`, `,` between operands, and once `->` before the output");
    for (text, rule) in [
        ("i->j->k", "'-' at position 4 of \"i->j->k\""), ("i->j,k", "',' at position 4 of \"i->j,k\""), ("i-j", "'-' at position 1 of \"i-j\""), ("i..j", "'.' at position 1 of \"i..j\""),
        ("é", "'é' at position 0 of \"é\""), ("i>", "'>' at position 1 of \"i>\""),
    ] {
        let e = err(einsum(text, &[&f32s([2])]));
        assert_eq!((e.rule(), e.legal()), (rule, grammar));
    }
    assert_eq!(err(einsum("...i...", &[&f32s([2])])).rule(), "a second ellipsis at position 4 of \"...i...\"");
    assert_eq!(err(einsum("", &[])).rule(), "\"\" is for 1 operands, there are 0");
    says(|| einsum("i,i->", &[&f32s([2]).gt(0.0), &f32s([2]).gt(0.0)]), Code::DType, "error[dtype]: einsum(bool[2], bool[2]): \"i,i->\" asks for products or sums of bools", "numbers; convert with to_dtype");
    // A bool can be arranged.
    assert_eq!(einsum("ij->ji", &[&f32s([1, 2]).gt(0.0)]).to_vec::<bool>().unwrap(), [true, true]);
    // An operand that is an error already.
    assert_eq!(err(einsum("ij,jk", &[&f32s([2, 3]), &(f32s([2]) + f32s([3]))])).op(), "add");
}

#[test]
#[rustfmt::skip]
fn products() {
    says(|| f32s([2, 3]).tensordot(&f32s([2, 3]), 1), Code::Shape, "error[shape]: tensordot(f32[2, 3], f32[2, 3]): axis 1 of the left operand has extent 3, axis 0 of the right 2", "paired axes have one extent");
    says(|| f32s([2]).tensordot(&f32s([2, 3]), 2), Code::Rank, "error[rank]: tensordot(f32[2], f32[2, 3]): 2 axes of operands of ranks 1 and 2", "as many axes as both have, or fewer");
    says(|| f32s([2]).tensordot(&f32s([2, 3]), ([0].as_slice(), [].as_slice())), Code::Argument, "error[argument]: tensordot(f32[2], f32[2, 3]): 1 axes of the left operand, 0 of the right", "axes in pairs");
    says(|| f32s([2]).dot(&f32s([2, 3])), Code::Rank, "error[rank]: dot(f32[2], f32[2, 3]): operand 1 has rank 2", "rank 1");
    says(|| f32s([2]).dot(&f32s([3])), Code::Shape, "error[shape]: dot(f32[2], f32[3]): the last axis of the left operand has extent 2, the axis of the right has 3", "both are equal");
    says(|| f32s([2, 2]).outer(&f32s([3])), Code::Rank, "error[rank]: outer(f32[2, 2], f32[3]): operand 0 has rank 2", "rank 1");
    says(|| f32s([2, 2]).inner(&f32s([3])), Code::Shape, "error[shape]: inner(f32[2, 2], f32[3]): the last axes have extents 2 and 3", "both are equal");
    says(|| f32s([2, 2]).mv(&f32s([2, 2])), Code::Rank, "error[rank]: mv(f32[2, 2], f32[2, 2]): operand 1 has rank 2", "rank 1");
    says(|| f32s([2, 2]).mm(&f32s([3, 2])), Code::Shape, "error[shape]: mm(f32[2, 2], f32[3, 2]): the last axis of the left operand has extent 2, the axis before the last of the right has 3", "both are equal");
    says(|| f32s([2, 1, 2]).bmm(&f32s([3, 2, 1])), Code::Shape, "error[shape]: bmm(f32[2, 1, 2], f32[3, 2, 1]): there are 2 matrices on the left and 3 on the right", "as many on both sides; matmul broadcasts");
    says(|| f32s([3]).addmm(&f32s([2, 2]), &f32s([2, 2]), 1, 1), Code::Shape, "error[shape]: addmm(f32[3], f32[2, 2], f32[2, 2]): shape [3] does not broadcast to [2, 2], that of the product", "aligned at the last axis, extents are equal or 1");
    says(|| f32s([2]).addmv(&f32s([2, 2]), &f32s([2, 2]), 1, 1), Code::Rank, "error[rank]: addmv(f32[2], f32[2, 2], f32[2, 2]): operand 2 has rank 2", "rank 1");
    says(|| f32s([2, 3]).matrix_power(2), Code::Shape, "error[shape]: matrix_power(f32[2, 3]): the shape is [2, 3]", "square matrices in the last two axes");
    says(|| multi_dot(&[&f32s([2, 3])]), Code::Argument, "error[argument]: multi_dot(f32[2, 3]): there are 1 matrices", "at least two");
    says(|| multi_dot(&[&f32s([2, 3]), &f32s([3]), &f32s([3, 2])]), Code::Rank, "error[rank]: multi_dot(f32[2, 3], f32[3], f32[3, 2]): operand 1 has rank 1", "matrices; the first and the last may be vectors");
    says(|| multi_dot(&[&f32s([2, 3]), &f32s([4, 2])]), Code::Shape, "error[shape]: multi_dot(f32[2, 3], f32[4, 2]): operand 0 has 3 columns, operand 1 has 4 rows", "both are equal");
    let b = || f32s([2]).gt(0.0);
    for e in [err(b().kron(&b())), err(b().inner(&b())), err(b().tensordot(&b(), 1)), err(b().dot(&b()))] {
        assert_eq!((e.code(), e.rule()), (Code::DType, "both operands are bool"));
    }
}

#[test]
#[rustfmt::skip]
fn norms_and_statistics() {
    says(|| f32s([2]).topk(usize::MAX, 0, true).0, Code::Index, "error[index]: topk(f32[2]): axis 0 of extent 2 has no 18446744073709551615 elements", "k is at most the extent");
    says(|| f32s([2]).kthvalue(usize::MAX, 0).0, Code::Index, "error[index]: kthvalue(f32[2]): axis 0 of extent 2 has no element number 18446744073709551615", "k goes from 1 to the extent");
    says(|| f32s([2, 0]).norm(f64::INFINITY, 1), Code::Empty, "error[empty]: norm(f32[2, 0]): axis 1 is empty, and the norm of order inf has no value for no elements", "an axis with elements, or a finite order of at least 0");
    says(|| f32s([2]).norm(f64::NAN, 0), Code::Argument, "error[argument]: norm(f32[2]): the order is NaN", "a number or an infinity");
    says(|| f32s([2]).norm(2.0, 1), Code::Axis, "error[axis]: norm(f32[2]): axis 1 does not exist", "axes go from -1 to 0");
    says(|| f32s([2, 2]).matrix_norm(MatrixNorm::One, 1), Code::Argument, "error[argument]: matrix_norm(f32[2, 2]): 1 axes are named", "that of the rows and that of the columns");
    says(|| f32s([2]).cosine_similarity(&f32s([3]), 0, 1e-8), Code::Shape, "error[shape]: cosine_similarity(f32[2], f32[3]): extents 2 and 3 of axis 0 do not broadcast", "aligned at the last axis, extents are equal or one of them is 1");
    says(|| f32s([2, 3]).cdist(&f32s([2, 4]), 2.0), Code::Shape, "error[shape]: cdist(f32[2, 3], f32[2, 4]): the tensors have shapes [2, 3] and [2, 4]", "[.., n, k] and [.., m, k]");
    says(|| f32s([2, 3]).cdist(&f32s([2, 3]), -1.0), Code::Argument, "error[argument]: cdist(f32[2, 3], f32[2, 3]): the order is -1", "at least 0");
    says(|| f32s([2]).quantile_with(1.5, .., Interpolation::Lower), Code::Argument, "error[argument]: quantile(f32[2]): the share is 1.5", "a number from 0 to 1");
    says(|| f32s([2]).quantile([0.5, f64::NAN], 0), Code::Argument, "error[argument]: quantile(f32[2]): the share is NaN", "a number from 0 to 1");
    says(|| f32s([2]).quantile(&f32s([1, 1]), 0), Code::Argument, "error[argument]: quantile(f32[2], f32[1, 1]): the shares are f32[1, 1]", "a float scalar or vector");
    says(|| f32s([0]).quantile(0.5, 0), Code::Empty, "error[empty]: quantile(f32[0], f64[]): axis 0 is empty, so there is no element to give", "an axis with elements");
    says(|| f32s([2, 0]).median(..).1, Code::Empty, "error[empty]: median(f32[2, 0]): axis 1 is empty, so there is no element to give", "an axis with elements");
    says(|| f32s([2]).cross(&f32s([2]), 0), Code::Shape, "error[shape]: cross(f32[2], f32[2]): axis 0 of operand 0, of shape [2], has not extent 3", "extent 3");
    says(|| f32s([2]).trapezoid_at(&f32s([3]), 0), Code::Shape, "error[shape]: trapezoid(f32[2], f32[3]): values of shape [2] at places of shape [3]", "places of shape [2] or [2]");
    says(|| f32s([2, 2, 2]).cov(1), Code::Rank, "error[rank]: cov(f32[2, 2, 2]): the tensor has rank 3", "a matrix, or a vector");
    says(|| f32s([2]).gt(0.0).scatter_reduce(0, &Tensor::from([0i64]), &f32s([1]).gt(0.0), Merge::MEAN), Code::DType, "error[dtype]: scatter_reduce(bool[2], i64[1], bool[1]): the elements are bool", "numbers; convert with to_dtype");
    // An index out of range is still an error where the element itself does not count.
    let e = f32s([2]).scatter_reduce(0, &Tensor::from([2i64]), &f32s([1]), Merge::MEAN.without_self()).to_vec::<f32>().unwrap_err();
    assert_eq!((e.code(), e.op()), (Code::Index, "scatter"));
    // A share that is not one gives NaN where only the call knows it.
    assert!(f32s([2]).quantile(&Tensor::from([1.5f32]), 0).to_vec::<f32>().unwrap()[0].is_nan());
    assert_eq!(err(concat(&[], 0)).code(), Code::Empty);
}

#[test]
#[rustfmt::skip]
fn masks_and_places() {
    says(|| f32s([3]).masked_fill(&f32s([3]), 0.0), Code::DType, "error[dtype]: masked_fill(f32[3], f32[3]): the mask has dtype f32", "a bool; compare, or convert with to_dtype");
    says(|| f32s([3]).to_dtype(DType::U8).masked_fill(&f32s([3]).gt(0.0), 300), Code::DType, "error[dtype]: masked_fill(u8[3], bool[3]): 300 does not fit u8", "numbers from 0 to 255, or another dtype");
    says(|| f32s([3]).masked_fill(&f32s([2]).gt(0.0), 0.0), Code::Shape, "error[shape]: masked_fill(f32[3], bool[2]): extents 3 and 2 of axis 0 do not broadcast", "aligned at the last axis, extents are equal or one of them is 1");
    says(|| f32s([3]).masked_scatter(&f32s([2, 3]).gt(0.0), &f32s([6])), Code::Shape, "error[shape]: masked_scatter(f32[3], bool[2, 3], f32[6]): the mask has shape [2, 3]", "one that broadcasts to [3]");
    says(|| f32s([3]).unravel_index([3])[0].clone(), Code::DType, "error[dtype]: unravel_index(f32[3]): the places have dtype f32", "integers");
    says(|| f32s([3]).as_strided(&[2], &[3], 0), Code::Argument, "error[argument]: as_strided(f32[3]): place 3 of 3 elements", "places within the elements");
    says(|| f32s([2, 2]).diagonal_scatter(&f32s([3]), 0, 0, 1), Code::Shape, "error[shape]: diagonal_scatter(f32[2, 2], f32[3]): the values have shape [3]", "that of the diagonal, [2]");
    says(|| f32s([2, 2]).combinations(2, false), Code::Rank, "error[rank]: combinations(f32[2, 2]): the tensor has rank 2", "a vector");
    says(|| f32s([0]).mode(0).0, Code::Empty, "error[empty]: mode(f32[0]): axis 0 is empty, so there is no element to give", "an axis with elements");
    says(|| f32s([1]).gradient(1.0, 0), Code::Shape, "error[shape]: gradient(f32[1]): axis 0 has extent 1", "at least 2 elements");
    says(|| f32s([3, 1, 1]).pixel_shuffle(2), Code::Shape, "error[shape]: pixel_shuffle(f32[3, 1, 1]): 3 channels cannot be divided by 2 * 2", "a multiple of that many channels");
    says(|| f32s([3, 1, 1]).pixel_unshuffle(0), Code::Shape, "error[shape]: pixel_unshuffle(f32[3, 1, 1]): height 1 and width 1 cannot be divided by 0", "multiples of it");
    says(|| f32s([3, 1, 1]).channel_shuffle(2), Code::Shape, "error[shape]: channel_shuffle(f32[3, 1, 1]): 3 channels cannot be divided into 2 groups", "groups of one size");
    says(|| f32s([2]).pdist(2.0), Code::Rank, "error[rank]: pdist(f32[2]): the tensor has rank 1", "a matrix");
    // More places than there are elements for.
    let e = f32s([3]).masked_scatter(&f32s([3]).gt(0.0), &f32s([2])).to_vec::<f32>().unwrap_err();
    assert_eq!((e.code(), e.op()), (Code::Index, "gather"));
    // The dtype of the tensor stays.
    assert_eq!(Tensor::from([1i64, 2]).masked_fill(&Tensor::from([true, false]), 2.7).to_vec::<i64>().unwrap(), [2, 2]);
    assert_eq!(Tensor::from([1u8, 2]).masked_fill(&Tensor::from([true, false]), true).to_vec::<u8>().unwrap(), [1, 2]);
    let e = broadcast_shapes(&[[2, 3].into(), [2].into()]).unwrap_err();
    assert_eq!((e.code(), e.op()), (Code::Shape, "broadcast_shapes"));
}

#[test]
#[rustfmt::skip]
fn losses_and_normalisations() {
    let zeros = || Tensor::zeros([2], DType::I64);
    says(|| nn::l1_loss(&f32s([2]), &f32s([3])), Code::Shape, "error[shape]: l1_loss(f32[2], f32[3]): the shapes are [2] and [3]", "one shape");
    says(|| nn::gaussian_nll_loss(&f32s([2]), &f32s([2]), &f32s([1]), 1e-6), Code::Shape, "error[shape]: gaussian_nll_loss(f32[2], f32[2], f32[1]): the shapes are [2] and [1]", "one shape");
    says(|| nn::huber_loss(&f32s([2]), &f32s([2]), 0.0), Code::Argument, "error[argument]: huber_loss(f32[2], f32[2]): delta is 0", "a number above 0");
    says(|| nn::smooth_l1_loss(&f32s([2]), &f32s([2]), f64::NAN), Code::Argument, "error[argument]: smooth_l1_loss(f32[2], f32[2]): beta is NaN", "a number above 0");
    says(|| nn::cosine_embedding_loss(&f32s([2, 3]), &f32s([2, 3]), &f32s([3]), 0.0), Code::Shape, "error[shape]: cosine_embedding_loss(f32[2, 3], f32[2, 3], f32[3]): vectors of shape [2, 3] and signs of shape [3]", "the signs have the shape without the last axis");
    says(|| nn::triplet_margin_loss(&f32s(Shape::scalar()), &f32s(Shape::scalar()), &f32s(Shape::scalar()), 1.0, 2.0), Code::Rank, "error[rank]: triplet_margin_loss(f32[], f32[], f32[]): the tensors are scalars", "vectors along a last axis");
    says(move || nn::multi_margin_loss(&f32s([3, 2]), &zeros(), 1.0, 1.0), Code::Shape, "error[shape]: multi_margin_loss(f32[3, 2], i64[2]): scores and targets have shapes [3, 2] and [2]", "the targets have the shape of the scores without the last axis");
    says(|| nn::rms_norm(&f32s([2, 3]), &f32s([2]), 1e-5), Code::Shape, "error[shape]: rms_norm(f32[2, 3], f32[2]): the last axes of [2, 3] are not those of the weight, [2]", "the last axes are those of the weight");
    says(|| nn::group_norm(&f32s([2, 3]), 2, None, None, 1e-5), Code::Shape, "error[shape]: group_norm(f32[2, 3]): 3 channels and 2 groups", "a number of channels that the groups divide");
    says(|| nn::group_norm(&f32s([2, 4]), 2, Some(&f32s([2])), None, 1e-5), Code::Shape, "error[shape]: group_norm(f32[2, 4], f32[2]): 4 channels and a parameter of shape [2]", "one element for each channel");
    says(|| nn::instance_norm(&f32s([2, 4]), None, None, 1e-5), Code::Rank, "error[rank]: instance_norm(f32[2, 4]): the tensor has rank 2", "[n, channels, ..] with an axis behind");
    says(|| nn::batch_norm(&f32s([4]), &f32s([4]), &f32s([4]), None, None, 1e-5), Code::Rank, "error[rank]: batch_norm(f32[4], f32[4], f32[4]): the tensor has rank 1", "[n, channels, ..]");
    says(|| nn::local_response_norm(&f32s([2, 4]), 0, 1.0, 1.0, 1.0), Code::Argument, "error[argument]: local_response_norm(f32[2, 4]): the size is 0", "one channel at least");
    says(|| nn::bilinear(&f32s([2, 3]), &f32s([2, 4]), &f32s([5, 4, 3]), None), Code::Shape, "error[shape]: bilinear(f32[2, 3], f32[2, 4], f32[5, 4, 3]): inputs of shapes [2, 3] and [2, 4], a weight of shape [5, 4, 3]", "[.., i], [.., j], [outputs, i, j] and a bias [outputs]");
    says(|| f32s([2]).mvlgamma(0), Code::Argument, "error[argument]: mvlgamma(f32[2]): there are no dimensions", "one at least");
    says(|| f32s([2]).polygamma(171), Code::Argument, "error[argument]: polygamma(f32[2]): derivative 171", "at most 170");
    says(|| signal::hann(3, false, DType::I64), Code::DType, "error[dtype]: hann: the dtype is i64", "a float dtype");
    says(|| signal::kaiser(3, f64::NAN, false, DType::F32), Code::Argument, "error[argument]: kaiser: beta is NaN", "a number from 0 to 500");
    // A class out of range is an error of the call.
    let e = nn::multi_margin_loss(&f32s([1, 2]), &Tensor::from([2i64]), 1.0, 1.0).item::<f32>().unwrap_err();
    assert_eq!(e.code(), Code::Index);
}

/// Numbers that no memory or time is enough for are errors, and never the end of the process.
#[test]
fn absurd_numbers() {
    let (most, x) = (usize::MAX, || f32s([2, 3]));
    let calls: Vec<(&str, Tensor)> = vec![
        ("pad", x().pad(&[(most, most), (0, 0)], 0.0)),
        ("pad_reflect", x().pad(&[(most, most), (0, 0)], PadMode::Reflect)),
        ("pad_replicate", x().pad(&[(most, most), (0, 0)], PadMode::Replicate)),
        ("tile", x().tile(&[most, most])),
        ("repeat_interleave", x().repeat_interleave(most, 0)),
        ("repeat_each", x().repeat_each(&Tensor::from([1i64, 1]), 0, most)),
        ("diag_embed", x().diag_embed(isize::MIN)),
        ("unfold", x().unfold(0, most, most)),
        ("im2col", x().unsqueeze(0).im2col([most, 1], [1, most])),
        ("vander", x().vander(most, true)),
        ("combinations", Tensor::zeros([60], DType::F32).combinations(30, false)),
        ("combinations", Tensor::zeros([60], DType::F32).combinations(most, true)),
        ("tril_indices", Tensor::tril_indices(most, most, 0)),
        ("triu_indices", Tensor::triu_indices(most, 0, 0)),
        ("nonzero_static", x().nonzero_static(most, 0)),
        ("as_strided", x().as_strided(&[most, most], &[0, 0], 0)),
        ("as_strided", x().as_strided(&[most], &[most], most)),
        ("pixel_shuffle", x().unsqueeze(0).pixel_shuffle(1 << 40)),
    ];
    for (name, t) in calls {
        assert!(t.err().is_some(), "{name}");
    }
    // These are legal.
    assert_eq!(x().diagonal(isize::MIN, 0, 1).shape(), [0].into());
    assert_eq!(x().diagonal(isize::MAX, 0, 1).shape(), [0].into());
    assert_eq!(x().tril(isize::MIN).sum(..).item::<f32>().unwrap(), 0.0);
    assert_eq!(x().triu(isize::MIN).sum(..).item::<f32>().unwrap(), 6.0);
    assert_eq!(x().diff(usize::MAX, 1).shape(), [2, 0].into());
    let row = Tensor::from([0i64, 1, 2]);
    for shift in [isize::MIN, isize::MIN + 1, isize::MAX] {
        let place = (-(shift as i128)).rem_euclid(3) as i64;
        assert_eq!(row.roll(&[shift], [0]).to_vec::<i64>().unwrap()[0], place);
    }
    assert_eq!(Tensor::from([[0i64, 1], [1, 0]]).matrix_power(usize::MAX).to_vec::<i64>().unwrap(), [0, 1, 1, 0]);
    assert_eq!(row.combinations(4, false).shape(), [0, 4].into());
    assert_eq!(row.combinations(0, false).shape(), [1, 0].into());
    assert_eq!(Tensor::zeros([0], DType::F32).combinations(2, true).shape(), [0, 2].into());
    let many: Vec<Tensor> = (0..300).map(|_| Tensor::from([[0i64, 1], [1, 0]])).collect();
    assert_eq!(multi_dot(&many.iter().collect::<Vec<_>>()).to_vec::<i64>().unwrap(), [1, 0, 0, 1]);
    let text = vec!["i"; 100].join(",") + "->";
    let ones = f32s([2]);
    assert_eq!(einsum(&text, &vec![&ones; 100]).item::<f32>().unwrap(), 2.0);
}

#[test]
fn sequences_larger_than_memory() {
    for n in [1 << 44, usize::MAX] {
        let all = [signal::hann(n, true, DType::F32), signal::kaiser(n, 1.0, true, DType::F64)];
        for t in all.into_iter().chain([Tensor::logspace(0.0, 1.0, n, 2.0), Tensor::linspace(0.0, 1.0, n)]) {
            let e = t.err().unwrap();
            assert!(matches!(e.code(), Code::Memory | Code::Shape), "{e}");
            assert!(e.location().unwrap().to_string().starts_with(file!()), "{e}");
        }
    }
}
