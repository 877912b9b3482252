//! Recorded calls of what updates places, goes along an axis, or sorts.

use crate::case::Case;
use crate::functions::Function;
use crate::json::Json;
use tracewright::{Tensor, Update};

pub fn function(case: &Case) -> Option<Function> {
    let int = |key: &str| case.attrs.get(key).int() as isize;
    let along = |f: fn(&Tensor, isize) -> Tensor| -> Option<Function> {
        let dim = int("dim");
        Some(Box::new(move |x| f(&x[0], dim)))
    };
    match case.op.as_str() {
        "index_copy" => {
            let dim = int("dim");
            Some(Box::new(move |x| x[0].index_copy(dim, &x[1], &x[2])))
        }
        "index_add" => {
            let dim = int("dim");
            Some(Box::new(move |x| x[0].index_add(dim, &x[1], &x[2])))
        }
        name if name.starts_with("scatter") && name != "scatter_reduce" => {
            let dim = int("dim");
            let how = match name {
                // The recorded call takes every second column.
                "scatter" => {
                    return Some(Box::new(move |x| {
                        let [i, u] = [1, 2].map(|k| x[k].slice_step(1, .., 2));
                        x[0].scatter(dim, &i, &u)
                    }));
                }
                "scatter_add" => Update::Add,
                "scatter_prod" => Update::Mul,
                "scatter_amax" => Update::Max,
                _ => Update::Min,
            };
            Some(Box::new(move |x| x[0].scatter_reduce(dim, &x[1], &x[2], how)))
        }
        "cumsum" => along(Tensor::cumsum),
        "cumprod" => along(Tensor::cumprod),
        "logcumsumexp" => along(Tensor::logcumsumexp),
        "cummax" => along(|x, dim| x.cummax(dim).0),
        "cummin" => along(|x, dim| x.cummin(dim).0),
        "cummax_indices" => along(|x, dim| x.cummax(dim).1),
        "cummin_indices" => along(|x, dim| x.cummin(dim).1),
        "median" => along(|x, dim| x.median(dim).0),
        "kthvalue" => along(|x, dim| x.kthvalue(2, dim).0),
        "sort" if int("largest") == 1 => along(|x, dim| x.sort(dim, true).0),
        "sort" => along(|x, dim| x.sort(dim, false).0),
        "topk" if int("largest") == 1 => along(|x, dim| x.topk(2, dim, true).0),
        "topk" => along(|x, dim| x.topk(2, dim, false).0),
        "quantile" => {
            let (dim, Json::Float(q)) = (int("dim"), case.attrs.get("q")) else { panic!("{}: no share", case.name) };
            let q = *q;
            Some(Box::new(move |x| x[0].quantile(q, dim)))
        }
        "searchsorted" => {
            let right = int("right") == 1;
            Some(Box::new(move |x| x[0].searchsorted(&x[1], right)))
        }
        _ => None,
    }
}
