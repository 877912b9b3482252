//! Random numbers.
//!
//! Every function takes a [`Key`] and is pure: one key gives the same numbers eager and compiled, for any number of
//! threads, and before and after fusion. Keys are made from a seed, and from each other with [`Key::split`] and
//! [`Key::fold_in`], as in JAX; a key is used for one draw, as equal keys give equal bits.
//!
//! ```
//! use tracewright::{DType, Key, random};
//! let [weights, noise] = Key::new(0).split();
//! let w = random::normal(&weights, [2, 3], DType::F32, 0.0, 1.0);
//! let u = random::uniform(&noise, [3], DType::F64, -1.0, 1.0);
//! assert_eq!(w.to_vec::<f32>()?, random::normal(&weights, [2, 3], DType::F32, 0.0, 1.0).to_vec::<f32>()?);
//! assert!(u.abs().max(..).item::<f64>()? <= 1.0);
//! # Ok::<(), tracewright::Error>(())
//! ```
//!
//! A [`Generator`] holds a key and a count of draws, so that each draw differs, as in PyTorch; [`rand`], [`randn`] and what
//! stands with them draw from the generator of the process, which [`manual_seed`] sets.
//!
//! The bits are Philox4x32-10 (Salmon, Moraes, Dror and Shaw, *Parallel Random Numbers: As Easy as 1, 2, 3*, 2011) of the
//! key and of an element's number in row-major order, so the first elements do not depend on how many there are. They are
//! not those of PyTorch or of JAX. Uniform numbers have the same bits wherever they are computed, all others are within
//! the error of the functions they are made with.
//!
//! Parameters are numbers, or tensors that broadcast to the shape; numbers that no distribution has, such as a negative
//! deviation, are errors, and in tensors give NaN or what the formula gives. What is drawn has gradients by its float
//! parameters, with the random bits held fixed, and gamma variates by their shape with their quantile held fixed.
//!
//! # For users of PyTorch and JAX
//!
//! | here | PyTorch | JAX |
//! |---|---|---|
//! | [`manual_seed`], [`Generator::default`] | `torch.manual_seed`, `torch.default_generator` | |
//! | [`Generator::state`], [`Generator::set_state`] | `Generator.get_state`, `set_state` | |
//! | [`Key::new`], [`Key::split`], [`Key::fold_in`] | | `jax.random.key`, `split`, `fold_in` |
//! | [`rand`], [`randn`], [`randint`], [`randperm`] | the same | |
//! | `Tensor::bernoulli`, `Tensor::multinomial` | the same | |
//! | [`uniform`], [`normal`], [`bernoulli`], [`exponential`], … | `Tensor.uniform_`, … with a generator | `jax.random.uniform`, … |
//! | [`integers`] | `torch.randint` | `jax.random.randint` |
//! | [`truncated_normal`] | `nn.init.trunc_normal_` | `jax.random.truncated_normal` |
//! | [`gamma`]`(concentration, rate)` | `distributions.Gamma` | `jax.random.gamma / rate` |
//! | [`geometric`], from 1 on | `Tensor.geometric_` | `jax.random.geometric` |
//! | [`shuffle`] | `x[torch.randperm(n)]` | `jax.random.permutation(key, x)` |
//!
//! Other than there, a draw in a compiled function is not fixed when it is traced: keys and states are inputs. A new seed, a new
//! step and a new probability of dropout in eager code compile nothing; in a compiled function numbers of the host are constants.

mod continuous;
mod discrete;
mod dropout;
mod gamma;
mod generator;
mod key;
mod order;
mod process;
mod source;

pub use continuous::{
    cauchy, exponential, gumbel, laplace, log_normal, logistic, normal, normal_like, pareto, truncated_normal, uniform,
    uniform_like, weibull,
};
pub use discrete::{bernoulli, bits, categorical, geometric, gumbel_softmax, integers, poisson};
pub use dropout::{alpha_dropout, dropout, feature_alpha_dropout, feature_dropout, rrelu};
pub use gamma::{beta, chi2, dirichlet, gamma, log_gamma, student_t};
pub use generator::Generator;
pub use key::Key;
pub use order::{choice, multinomial, permutation, shuffle};
pub use process::{manual_seed, rand, rand_like, randint, randn, randn_like, randperm};
