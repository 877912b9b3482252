//! Which function a recorded loss or normalisation is.

use crate::case::Case;
use crate::functions::Function;
use crate::json::Json;
use tracewright::{Tensor, nn};

fn binary(f: fn(&Tensor, &Tensor) -> Tensor) -> Option<Function> {
    Some(Box::new(move |x| f(&x[0], &x[1])))
}

/// The function of `losses.jsonl` with that name.
pub fn function(case: &Case) -> Option<Function> {
    let float = |key: &str| match case.attrs.get(key) {
        Json::Float(x) => *x,
        other => panic!("{}: {key} is {other:?}", case.name),
    };
    let size = |key: &str| case.attrs.get(key).int() as usize;
    Some(match case.op.as_str() {
        "binary_cross_entropy" => return binary(nn::binary_cross_entropy),
        "kl_div" => return binary(nn::kl_div),
        "poisson_nll_loss" => return binary(nn::poisson_nll_loss),
        "soft_margin_loss" => return binary(nn::soft_margin_loss),
        // Means over classes and then over rows are means over everything.
        "multilabel_soft_margin_loss" => return binary(nn::binary_cross_entropy_with_logits),
        "smooth_l1_loss" => {
            let beta = float("beta");
            Box::new(move |x| nn::smooth_l1_loss(&x[0], &x[1], beta))
        }
        "huber_loss" => {
            let delta = float("delta");
            Box::new(move |x| nn::huber_loss(&x[0], &x[1], delta))
        }
        "gaussian_nll_loss" => {
            let eps = float("eps");
            Box::new(move |x| nn::gaussian_nll_loss(&x[0], &x[1], &x[2], eps))
        }
        "hinge_embedding_loss" => {
            let margin = float("margin");
            Box::new(move |x| nn::hinge_embedding_loss(&x[0], &x[1], margin))
        }
        "margin_ranking_loss" => {
            let margin = float("margin");
            Box::new(move |x| nn::margin_ranking_loss(&x[0], &x[1], &x[2], margin))
        }
        "cosine_embedding_loss" => {
            let margin = float("margin");
            Box::new(move |x| nn::cosine_embedding_loss(&x[0], &x[1], &x[2], margin))
        }
        "triplet_margin_loss" => {
            let (margin, p) = (float("margin"), float("p"));
            Box::new(move |x| nn::triplet_margin_loss(&x[0], &x[1], &x[2], margin, p))
        }
        "multi_margin_loss" => {
            let (margin, p) = (float("margin"), float("p"));
            Box::new(move |x| nn::multi_margin_loss(&x[0], &x[1], p, margin))
        }
        "group_norm" => {
            let (groups, eps) = (size("groups"), float("eps"));
            Box::new(move |x| nn::group_norm(&x[0], groups, x.get(1), x.get(2), eps))
        }
        "instance_norm" => {
            let eps = float("eps");
            Box::new(move |x| nn::instance_norm(&x[0], x.get(1), x.get(2), eps))
        }
        "batch_norm" => {
            let eps = float("eps");
            Box::new(move |x| nn::batch_norm(&x[0], &x[1], &x[2], x.get(3), x.get(4), eps))
        }
        "local_response_norm" => {
            let n = size("size");
            Box::new(move |x| nn::local_response_norm(&x[0], n, 0.3, 0.6, 0.9))
        }
        "rms_norm" => {
            let eps = float("eps");
            Box::new(move |x| nn::rms_norm(&x[0], &x[1], eps))
        }
        _ => return None,
    })
}
