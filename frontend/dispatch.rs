//! Every public op goes through [`run`]: inside a trace its body records, outside it runs as a cached executable.
//!
//! A body is written once, with tensor methods and [`trace::record`](crate::trace::record), and always runs inside a
//! trace: the user's, or one that is opened to compile the op for eager use.

use crate::eager;
use crate::error::Error;
use crate::scope;
use crate::tensor::{Repr, Tensor};
use crate::trace;
use ir::Dim;
use smallvec::SmallVec;
use std::cell::Cell;
use std::panic::Location;

thread_local! {
    /// The user's line, while an op is at work.
    static HERE: Cell<Option<&'static Location<'static>>> = const { Cell::new(None) };
}

/// The user's line: that of the outermost op at work, else the caller's.
#[track_caller]
pub(crate) fn here() -> &'static Location<'static> {
    HERE.get().unwrap_or(Location::caller())
}

/// Restores the line when dropped.
pub(crate) struct HereGuard(Option<&'static Location<'static>>);

impl Drop for HereGuard {
    fn drop(&mut self) {
        HERE.set(self.0);
    }
}

/// Makes the caller's line the user's line, unless an outer op set it.
#[track_caller]
pub(crate) fn enter() -> HereGuard {
    let before = HERE.get();
    if before.is_none() {
        HERE.set(Some(Location::caller()));
    }
    HereGuard(before)
}

/// Makes that line the user's line, unless an outer op set it.
pub(crate) fn enter_at(line: &'static Location<'static>) -> HereGuard {
    let before = HERE.get();
    HERE.set(before.or(Some(line)));
    HereGuard(before)
}

/// Forgets the user's line for a function of the user that runs inside an op or transform.
pub(crate) fn leave() -> HereGuard {
    HereGuard(HERE.replace(None))
}

/// How an op's executable depends on the extents of its operands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Extents {
    /// Pointwise over operands of one shape, or scalars: one executable for every shape.
    Flat,
    /// One executable for every pattern of equal extents and ones.
    Symbolic,
    /// One executable for each shape, because attributes speak of extents.
    Exact,
}

/// A call of a public op.
pub(crate) struct Call<'a> {
    /// Its name, which with the attributes fixes the body.
    pub name: &'static str,
    /// Attributes, as numbers.
    pub attributes: &'a [i64],
    /// See there.
    pub extents: Extents,
    /// True for a composition, whose ops get its name as scope.
    pub scoped: bool,
}

impl<'a> Call<'a> {
    /// A primitive, or something that needs no scope of its own.
    pub fn plain(name: &'static str, attributes: &'a [i64], extents: Extents) -> Call<'a> {
        Call { name, attributes, extents, scoped: false }
    }
    /// A composition.
    pub fn composed(name: &'static str, attributes: &'a [i64], extents: Extents) -> Call<'a> {
        Call { name, attributes, extents, scoped: true }
    }
}

/// A body that gets operands and sizes.
pub(crate) type Sized<'a> = dyn Fn(&[Tensor], &[Dim]) -> Tensor + 'a;

/// Runs an op. See the [module](self).
#[track_caller]
pub(crate) fn run(call: Call<'_>, operands: &[&Tensor], body: &dyn Fn(&[Tensor]) -> Tensor) -> Tensor {
    run_sized(call, operands, &[], &|t, _| body(t))
}

/// Runs an op whose attributes speak of extents. Given as `sizes` and not among the attributes, they are arguments of the
/// executable: outside of a trace the body gets symbols for them, and other sizes do not compile anew.
#[track_caller]
pub(crate) fn run_sized(call: Call<'_>, operands: &[&Tensor], sizes: &[Dim], body: &Sized<'_>) -> Tensor {
    let _here = enter();
    if let Some(e) = operands.iter().find_map(|t| t.error_ref()) {
        return Tensor(Repr::Error(e.clone()));
    }
    for t in operands {
        if let Repr::Traced(traced) = &t.0
            && !trace::is_open(traced.trace.id)
        {
            let types = operands.iter().map(|t| t.ty().to_string());
            return Tensor::error(
                trace::ended(call.name, traced).with_operands(types).at(here()).in_scope(&scope::current()),
            );
        }
    }
    if trace::active() {
        let operands: SmallVec<[Tensor; 4]> = operands.iter().map(|&t| t.clone()).collect();
        let _scope = call.scoped.then(|| scope::enter(call.name));
        return body(&operands, sizes);
    }
    eager::run(&call, operands, sizes, body)
}

/// An error value of an op with those operands, at the user's line.
#[track_caller]
pub(crate) fn refuse(error: Error, operands: &[&Tensor]) -> Tensor {
    if let Some(e) = operands.iter().find_map(|t| t.error_ref()) {
        return Tensor(Repr::Error(e.clone()));
    }
    let types = operands.iter().map(|t| t.ty().to_string());
    Tensor::error(error.with_operands(types).at(here()).in_scope(&scope::current()))
}

/// What `f` makes of operands that are no error values; its error becomes an error value of the op that it names.
#[track_caller]
pub(crate) fn checked(operands: &[&Tensor], f: impl FnOnce() -> Result<Tensor, Error>) -> Tensor {
    let _here = enter();
    if let Some(e) = operands.iter().find_map(|t| t.error_ref()) {
        return Tensor(Repr::Error(e.clone()));
    }
    f().unwrap_or_else(|e| refuse(e, operands))
}
