//! Single ops outside of `jit`, over 2⁶, 2¹², 2¹⁸ and 2²⁴ elements.

use super::{Times, time};
use tracewright::{Generator, Result, Tensor, nn};

const OPS: &[&str] = &["add", "exp", "sum", "softmax", "layer_norm", "gather", "matmul"];
const EXPONENTS: &[u32] = &[6, 12, 18, 24];

/// All of them.
pub fn names() -> impl Iterator<Item = String> {
    OPS.iter().flat_map(|op| EXPONENTS.iter().map(move |e| format!("eager_{op}_{e}")))
}

/// The workload `eager_OP_EXPONENT`.
pub fn workload(name: &str, rounds: usize) -> Result<Option<Times>> {
    let Some((op, exponent)) = name.strip_prefix("eager_").and_then(|rest| rest.rsplit_once('_')) else {
        return Ok(None);
    };
    let Some(&exponent) = EXPONENTS.iter().find(|e| e.to_string() == exponent) else { return Ok(None) };
    let (n, side) = (1usize << exponent, 1usize << (exponent / 2));
    let g = Generator::new(0);
    let (flat, square) = (g.normal([n], 0.0, 1.0), g.normal([side, side], 0.0, 1.0));
    let inner = (1 << 18 >> exponent).max(1) as usize;
    let run = |f: &dyn Fn() -> Tensor| time(rounds, inner, || f().ok().map(drop));
    Ok(Some(match op {
        "add" => {
            let other = g.normal([n], 0.0, 1.0);
            run(&|| &flat + &other)?
        }
        "exp" => run(&|| flat.exp())?,
        "sum" => run(&|| flat.sum(..))?,
        "softmax" => run(&|| square.softmax(-1))?,
        "layer_norm" => {
            let layer = nn::LayerNorm::new(side);
            run(&|| layer.forward(&square))?
        }
        "gather" => {
            let indices = g.integers([n], 0, n as i64);
            run(&|| flat.take(&indices, 0))?
        }
        "matmul" => {
            let other = g.normal([side, side], 0.0, 1.0);
            run(&|| square.matmul(&other))?
        }
        _ => return Ok(None),
    }))
}
