//! Layers, losses, normalisation and cells for neural networks.
//!
//! A network is a struct of layers and tensors that derives [`Module`], which is a [`Tree`](crate::Tree).

mod dropout;
mod init;
mod layers;
mod loss;
mod margin;
mod normalize;
mod pairs;

pub use crate::cell::Buffer;
pub use dropout::{AlphaDropout, Dropout, FeatureAlphaDropout, FeatureDropout, dropout};
pub use init::{kaiming_uniform, xavier_uniform};
pub use layers::{Embedding, LayerNorm, Linear, bilinear, linear};
pub use loss::{cross_entropy, nll_loss};
pub use margin::{cosine_embedding_loss, multi_margin_loss, triplet_margin_loss, triplet_margin_with_distance_loss};
pub use normalize::{batch_norm, group_norm, instance_norm, local_response_norm, rms_norm};
pub use pairs::{
    binary_cross_entropy, binary_cross_entropy_with_logits, gaussian_nll_loss, hinge_embedding_loss, huber_loss,
    kl_div, l1_loss, margin_ranking_loss, mse_loss, poisson_nll_loss, smooth_l1_loss, soft_margin_loss,
};
pub use tracewright_derive::Module;
