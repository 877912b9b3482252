//! A function compiled for one kind of arguments.

use super::Arguments;
use super::entry::Entry;
use super::key::Describe;
use super::lowered::Summary;
use crate::device;
use crate::dispatch::here;
use crate::error::{Code, Error, Result};
use crate::trace;
use crate::tree::{Tree, Visit};
use std::marker::PhantomData;
use std::sync::Arc;

/// A function compiled for one kind of arguments. It never traces: other arguments are an error.
pub struct Compiled<A, R> {
    entry: Arc<Entry<R>>,
    arguments: PhantomData<fn(A)>,
}

impl<A, R: Tree> Compiled<A, R> {
    pub(super) fn new(entry: Arc<Entry<R>>) -> Compiled<A, R> {
        Compiled { entry, arguments: PhantomData }
    }

    /// What became of the function.
    pub fn summary(&self) -> Summary {
        self.entry.summary()
    }

    pub(super) fn run(&self, arguments: &dyn Arguments<A>) -> Result<R> {
        trace::refuse_inside("call", trace::CALL_IT)?;
        let walk = |v: &mut dyn Visit| arguments.visit(v);
        let signature = &self.entry.signature;
        if self.entry.fits(&walk, false, &signature.modes) {
            return device::on(Some(signature.modes.device()), || self.entry.call(&walk));
        }
        let mut d = Describe::new(&[], None, signature.modes.clone());
        arguments.visit(&mut d);
        let (now, _) = d.finish()?;
        let (_, difference) = signature.difference(&now);
        Err(Error::new(Code::Argument, "call", difference, format!("arguments like {signature}")).at(here()))
    }
}
