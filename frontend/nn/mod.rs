//! Layers, losses and cells for neural networks.
//!
//! A network is a struct of layers and tensors that derives [`Module`], which is a [`Tree`](crate::Tree).

mod dropout;
mod init;
mod layers;
mod loss;

pub use crate::cell::Buffer;
pub use dropout::{AlphaDropout, Dropout, FeatureDropout, dropout};
pub use init::{kaiming_uniform, xavier_uniform};
pub use layers::{Embedding, LayerNorm, Linear, linear};
pub use loss::{cross_entropy, mse_loss, nll_loss};
pub use tracewright_derive::Module;
