//! Which value stands in for which.

use ir::Value;

/// Replacements of values, followed to their end. Values that nobody replaced stand for themselves.
#[derive(Debug, Default)]
pub(crate) struct Redirect {
    to: Vec<Value>,
}

impl Redirect {
    /// Lets `new` stand in for `old`.
    pub fn set(&mut self, old: Value, new: Value) {
        debug_assert_ne!(self.resolve(new), old, "a value stands in for itself");
        while self.to.len() <= old.at() {
            self.to.push(Value(self.to.len() as u32));
        }
        self.to[old.at()] = new;
    }
    /// What stands in for a value now.
    pub fn resolve(&self, mut v: Value) -> Value {
        while let Some(&next) = self.to.get(v.at())
            && next != v
        {
            v = next;
        }
        v
    }
    /// Resolves a list of values in place.
    pub fn apply(&self, values: &mut [Value]) {
        values.iter_mut().for_each(|v| *v = self.resolve(*v));
    }
}
