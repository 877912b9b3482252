//! Positions of elements that are not zero: results whose shape depends on the elements, for eager code only.

use crate::dispatch::{enter, here};
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use ir::Literal;

impl Tensor {
    /// The positions of the elements that are not zero, in row-major order, one row for each; i64 of shape `[n, rank]`.
    /// For eager code only: the number of rows depends on the elements.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([[0.0f32, 2.0], [3.0, 0.0]]);
    /// assert_eq!(x.nonzero()?.to_vec::<i64>()?, [0, 1, 1, 0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn nonzero(&self) -> Result<Tensor> {
        let _here = enter();
        let array = self.read("nonzero")?;
        let literal = array.to_literal().map_err(|e| Error::exec(e).at(here()))?;
        let dims = literal.dims();
        let mut rows: Vec<i64> = Vec::new();
        let mut at = vec![0i64; dims.len()];
        for value in literal.iter() {
            if value.as_i128().map_or_else(|| value.as_f64() != 0.0, |i| i != 0) {
                rows.extend(&at);
            }
            // The next position in row-major order.
            for (i, &n) in at.iter_mut().zip(dims).rev() {
                *i += 1;
                if *i < n as i64 {
                    break;
                }
                *i = 0;
            }
        }
        let count = if dims.is_empty() { literal.get(0).as_f64().ne(&0.0) as usize } else { rows.len() / dims.len() };
        Ok(Tensor::constant(Literal::from_vec(&[count, dims.len()], rows)))
    }
}
