//! Draws by the probabilities that a tensor holds: methods, from the generator of the process.

use crate::dispatch::enter;
use crate::random::{self, Generator};
use crate::tensor::Tensor;

impl Tensor {
    /// True with the probability that each element says, by the generator of the process.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([0.0f32, 1.0]).bernoulli().to_vec::<bool>()?, [false, true]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn bernoulli(&self) -> Tensor {
        let _here = enter();
        match self.error_ref() {
            Some(_) => self.clone(),
            None => random::bernoulli(&Generator::default().key(), self.shape(), self),
        }
    }

    /// Positions along the last axis, drawn in proportion to the elements by the generator of the process; see
    /// [`random::multinomial`](crate::random::multinomial).
    #[track_caller]
    pub fn multinomial(&self, count: usize, replacement: bool) -> Tensor {
        let _here = enter();
        random::multinomial(&Generator::default().key(), self, count, replacement)
    }
}
