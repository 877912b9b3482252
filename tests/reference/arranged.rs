//! Recorded calls of what rearranges, repeats and pads.

use crate::case::Case;
use crate::functions::Function;
use crate::json::Json;
use tracewright::{Indexing, PadMode, Tensor};
use tracewright::{block_diag, cartesian_prod, column_stack, dstack, hstack, meshgrid, vstack};

fn pairs(flat: &[i64]) -> Vec<(usize, usize)> {
    flat.chunks_exact(2).map(|e| (e[0] as usize, e[1] as usize)).collect()
}

/// The function of `arranged.jsonl` with that name.
pub fn function(case: &Case) -> Option<Function> {
    let int = |key: &str| case.attrs.get(key).int() as isize;
    let size = |key: &str| case.attrs.get(key).int() as usize;
    let ints = |key: &str| -> Vec<isize> { case.attrs.get(key).ints().iter().map(|&n| n as isize).collect() };
    let sizes = |key: &str| -> Vec<usize> { case.attrs.get(key).ints().iter().map(|&n| n as usize).collect() };
    let two = |key: &str| -> [usize; 2] { sizes(key).try_into().expect("two") };
    let flag = |key: &str| *case.attrs.get(key) == Json::Bool(true);
    let float = |key: &str| match case.attrs.get(key) {
        Json::Float(x) => *x,
        other => panic!("{}: {key} is {other:?}", case.name),
    };
    Some(match case.op.as_str() {
        "pad" => {
            let mode = match (case.attrs.get("mode").text(), case.attrs.find("value")) {
                ("reflect", _) => PadMode::Reflect,
                ("replicate", _) => PadMode::Replicate,
                ("circular", _) => PadMode::Circular,
                ("constant", Some(Json::Float(value))) => (*value).into(),
                other => panic!("{}: mode {other:?}", case.name),
            };
            let ends = pairs(&case.attrs.get("pad").ints());
            Box::new(move |x| x[0].pad(&ends, mode))
        }
        "roll" => {
            let shifts = ints("shifts");
            match case.attrs.find("dims").map(|_| ints("dims")) {
                Some(dims) => Box::new(move |x| x[0].roll(&shifts, dims.as_slice())),
                None => Box::new(move |x| x[0].roll(&shifts, ..)),
            }
        }
        "tile" => {
            let dims = sizes("dims");
            Box::new(move |x| x[0].tile(&dims))
        }
        "repeat_interleave" => {
            let (n, dim) = (size("repeats"), int("dim"));
            Box::new(move |x| x[0].repeat_interleave(n, dim))
        }
        "repeat_each" => {
            let (dim, total) = (int("dim"), size("total"));
            Box::new(move |x| x[0].repeat_each(&x[1], dim, total))
        }
        "rot90" => {
            let (k, dims) = (int("k"), ints("dims"));
            Box::new(move |x| x[0].rot90(k, dims[0], dims[1]))
        }
        "movedim" => {
            let (from, to) = (ints("source"), ints("destination"));
            Box::new(move |x| x[0].movedim(&from, &to))
        }
        "hstack" => Box::new(hstack),
        "vstack" => Box::new(vstack),
        "dstack" => Box::new(dstack),
        "column_stack" => Box::new(column_stack),
        "block_diag" => Box::new(block_diag),
        "cartesian_prod" => Box::new(cartesian_prod),
        "meshgrid" => {
            let indexing = if case.attrs.get("indexing").text() == "ij" { Indexing::Ij } else { Indexing::Xy };
            let at = size("at");
            Box::new(move |x| meshgrid(x, indexing)[at].clone())
        }
        "vander" => {
            let (n, increasing) = (size("n"), *case.attrs.get("increasing") == Json::Bool(true));
            Box::new(move |x| x[0].vander(n, increasing))
        }
        "diagonal" => {
            let (offset, a, b) = (int("offset"), int("dim1"), int("dim2"));
            Box::new(move |x| x[0].diagonal(offset, a, b))
        }
        "diag_embed" => {
            let offset = int("offset");
            Box::new(move |x| x[0].diag_embed(offset))
        }
        "tril" | "triu" => {
            let (offset, lower) = (int("diagonal"), case.op == "tril");
            Box::new(move |x| if lower { x[0].tril(offset) } else { x[0].triu(offset) })
        }
        "trace" => Box::new(|x| x[0].trace()),
        "tril_indices" | "triu_indices" => {
            let (rows, columns, offset) = (size("rows"), size("columns"), int("offset"));
            let lower = case.op == "tril_indices";
            Box::new(move |_| match lower {
                true => Tensor::tril_indices(rows, columns, offset),
                false => Tensor::triu_indices(rows, columns, offset),
            })
        }
        "unfold" => {
            let (dim, size, step) = (int("dim"), size("size"), size("step"));
            Box::new(move |x| x[0].unfold(dim, size, step))
        }
        "im2col" => {
            let (size, step) = (two("size"), two("step"));
            Box::new(move |x| x[0].im2col(size, step))
        }
        "masked_fill" => {
            let value = float("value");
            Box::new(move |x| x[0].masked_fill(&x[1], value))
        }
        "masked_scatter" => Box::new(|x| x[0].masked_scatter(&x[1], &x[2])),
        "index_fill" => {
            let (dim, value) = (int("dim"), float("value"));
            Box::new(move |x| x[0].index_fill(dim, &x[1], value))
        }
        "take_flat" => Box::new(|x| x[0].take_flat(&x[1])),
        "put_flat" => {
            let accumulate = flag("accumulate");
            Box::new(move |x| x[0].put_flat(&x[1], &x[2], accumulate))
        }
        "nonzero_static" => {
            let (size, fill) = (size("size"), case.attrs.get("fill").int());
            Box::new(move |x| x[0].nonzero_static(size, fill))
        }
        "isin" => Box::new(|x| x[0].isin(&x[1])),
        "bucketize" => {
            let right = flag("right");
            Box::new(move |x| x[0].bucketize(&x[1], right))
        }
        "as_strided" => {
            let (sizes, strides, offset) = (sizes("size"), sizes("stride"), size("offset"));
            Box::new(move |x| x[0].as_strided(&sizes, &strides, offset))
        }
        "diagonal_scatter" => {
            let (offset, a, b) = (int("offset"), int("dim1"), int("dim2"));
            Box::new(move |x| x[0].diagonal_scatter(&x[1], offset, a, b))
        }
        "combinations" => {
            let (r, repeated) = (size("r"), flag("repeated"));
            Box::new(move |x| x[0].combinations(r, repeated))
        }
        "pixel_shuffle" | "pixel_unshuffle" | "channel_shuffle" => {
            let (n, op) = (size("n"), case.op.clone());
            Box::new(move |x| match op.as_str() {
                "pixel_shuffle" => x[0].pixel_shuffle(n),
                "pixel_unshuffle" => x[0].pixel_unshuffle(n),
                _ => x[0].channel_shuffle(n),
            })
        }
        _ => return None,
    })
}
