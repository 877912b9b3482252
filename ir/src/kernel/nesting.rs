//! How deep blocks nest, and reading them without running out of stack.

use super::{Block, Stmt};
use serde::de::{Deserialize, Deserializer, Error};
use std::cell::Cell;

/// Loops nest at most this deep in a verified kernel; everything that walks blocks stops there.
pub const MAX_NESTING: usize = 64;

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

struct Enter;
impl Drop for Enter {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// Refuses blocks that nest deeper than [`MAX_NESTING`], since data from outside decides how deep this recurses.
impl<'de> Deserialize<'de> for Block {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Block, D::Error> {
        DEPTH.set(DEPTH.get() + 1);
        let _enter = Enter;
        if DEPTH.get() > MAX_NESTING + 1 {
            return Err(D::Error::custom(format_args!("loops nest more than {MAX_NESTING} deep")));
        }
        Vec::<Stmt>::deserialize(deserializer).map(Block)
    }
}
