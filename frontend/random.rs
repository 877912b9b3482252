//! Random numbers of the host: counter-based, so that a seed gives the same numbers everywhere.

use crate::dispatch::{enter, here};
use crate::error::{Code, Error};
use crate::tensor::Tensor;
use crate::{scope, trace};
use ir::{Literal, Shape};
use std::sync::{Arc, Mutex};

/// A stream of random numbers from a seed. Clones share the stream.
///
/// The bits are Philox4x32-10 (Salmon, Moraes, Dror and Shaw, *Parallel Random Numbers: As Easy as 1, 2, 3*, 2011), with
/// the seed as key and a counter of blocks. Numbers can be drawn only outside of traces.
///
/// ```
/// use tracewright::Generator;
/// let (a, b) = (Generator::new(7).uniform([3], 0.0, 1.0), Generator::new(7).uniform([3], 0.0, 1.0));
/// assert_eq!(a.to_vec::<f32>()?, b.to_vec::<f32>()?);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Generator {
    key: [u32; 2],
    /// The number of blocks drawn.
    counter: Arc<Mutex<u128>>,
}

/// One block of Philox4x32-10.
fn philox(counter: u128, mut key: [u32; 2]) -> [u32; 4] {
    let mut c = [counter as u32, (counter >> 32) as u32, (counter >> 64) as u32, (counter >> 96) as u32];
    for round in 0..10 {
        if round > 0 {
            key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
        }
        let (a, b) = (c[0] as u64 * 0xD251_1F53, c[2] as u64 * 0xCD9E_8D57);
        c = [(b >> 32) as u32 ^ c[1] ^ key[0], b as u32, (a >> 32) as u32 ^ c[3] ^ key[1], a as u32];
    }
    c
}

impl Generator {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Generator {
        Generator { key: [seed as u32, (seed >> 32) as u32], counter: Arc::new(Mutex::new(0)) }
    }

    /// `n` numbers of 32 bits; whole blocks are drawn.
    pub fn bits(&self, n: usize) -> Vec<u32> {
        let blocks = n.div_ceil(4) as u128;
        let first = {
            let mut counter = self.counter.lock().unwrap_or_else(|e| e.into_inner());
            let first = *counter;
            *counter = first.wrapping_add(blocks);
            first
        };
        let mut out: Vec<u32> = (0..blocks).flat_map(|i| philox(first.wrapping_add(i), self.key)).collect();
        out.truncate(n);
        out
    }

    #[track_caller]
    fn draw(&self, name: &'static str, shape: Shape, per: usize, value: impl Fn(&[u32]) -> f32) -> Tensor {
        let _here = enter();
        let refuse = |code, rule: String, legal: &str| {
            Tensor::error(Error::new(code, name, rule, legal).at(here()).in_scope(&scope::current()))
        };
        if trace::active() {
            let legal = "draw before the call and pass the numbers as an argument";
            return refuse(Code::Trace, "random numbers cannot be drawn while a function is traced".into(), legal);
        }
        let numel = shape.known().and_then(|d| d.iter().try_fold(1usize, |n, &d| n.checked_mul(d)));
        let Some(n) = numel.filter(|&n| n <= isize::MAX as usize / (4 * (per + 1))) else {
            return refuse(
                Code::Shape,
                format!("shape {shape}"),
                "extents that are numbers, and not too many elements",
            );
        };
        if let Err(e) = runtime::buffer::check_room(n * (per + 1) * 4) {
            return refuse(Code::Memory, e.to_string(), "a smaller shape");
        }
        let bits = self.bits(n * per);
        let dims = shape.known().unwrap_or_default();
        Tensor::literal(Literal::from_vec(&dims, bits.chunks(per).map(value).collect()))
    }

    /// Uniform f32 numbers in `low..high`, from 24 bits each.
    ///
    /// ```
    /// use tracewright::Generator;
    /// let x = Generator::new(1).uniform([1000], -1.0, 1.0);
    /// assert!(x.abs().max(..).item::<f32>()? <= 1.0);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn uniform(&self, shape: impl Into<Shape>, low: f32, high: f32) -> Tensor {
        self.draw("uniform", shape.into(), 1, |b| low + unit(b[0]) * (high - low))
    }

    /// Normal f32 numbers, by the method of Box and Muller.
    ///
    /// ```
    /// use tracewright::Generator;
    /// let x = Generator::new(1).normal([1000], 5.0, 0.1);
    /// assert!((x.mean(..).item::<f32>()? - 5.0).abs() < 0.05);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn normal(&self, shape: impl Into<Shape>, mean: f32, deviation: f32) -> Tensor {
        self.draw("normal", shape.into(), 2, |b| {
            // 1 - u is never 0.
            let radius = (-2.0 * (1.0 - unit(b[0])).ln()).sqrt();
            mean + deviation * radius * (std::f32::consts::TAU * unit(b[1])).cos()
        })
    }

    /// The numbers below `n` in random order (Fisher and Yates).
    ///
    /// ```
    /// use tracewright::Generator;
    /// let mut order = Generator::new(1).permutation(4);
    /// order.sort();
    /// assert_eq!(order, [0, 1, 2, 3]);
    /// ```
    pub fn permutation(&self, n: usize) -> Vec<usize> {
        let bits = self.bits(2 * n);
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            let wide = (bits[2 * i] as u128) << 32 | bits[2 * i + 1] as u128;
            order.swap(i, ((wide * (i as u128 + 1)) >> 64) as usize);
        }
        order
    }
}

/// In 0..1, from the upper 24 bits.
fn unit(bits: u32) -> f32 {
    (bits >> 8) as f32 / (1u32 << 24) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of the Random123 library.
    #[test]
    fn philox_known_answers() {
        assert_eq!(philox(0, [0, 0]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox(u128::MAX, [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let counter = 0x0370_7344_1319_8a2e_85a3_08d3_243f_6a88;
        assert_eq!(philox(counter, [0xa409_3822, 0x299f_31d0]), [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    #[test]
    fn permutation_is_one() {
        let mut p = Generator::new(3).permutation(100);
        assert_ne!(p, (0..100).collect::<Vec<_>>());
        p.sort();
        assert_eq!(p, (0..100).collect::<Vec<_>>());
    }
}
