//! Calling: finding the entry, tracing where there is none.

use super::check::differing;
use super::compiled::Compiled;
use super::entry::Entry;
use super::key::{Describe, Signature};
use super::lowered::{Lowered, Summary};
use super::record::{Recorded, record};
use super::{Arguments, Jit};
use crate::device;
use crate::dispatch::{enter, leave};
use crate::error::{Error, Result};
use crate::io::Exported;
use crate::modes::Modes;
use crate::tensor::Tensor;
use crate::tree::{Tree, Visit, leaves};
use crate::{strict, trace};
use ir::Symbol;
use runtime::Executable;
use runtime::events::{self, Event};
use std::borrow::Borrow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

/// Counters of a compiled function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Stats {
    /// Times it was traced for a new kind of arguments.
    pub traces: u64,
    /// Calls that an entry served.
    pub hits: u64,
    /// Entries that had to go.
    pub evictions: u64,
    /// Entries there are.
    pub entries: usize,
}

type Found<R> = (Arc<Entry<R>>, bool);

impl<A: 'static, R: Tree> Jit<A, R> {
    /// Counters.
    pub fn stats(&self) -> Stats {
        Stats {
            traces: self.traces.load(Relaxed),
            hits: self.hits.load(Relaxed),
            evictions: self.evictions.load(Relaxed),
            entries: self.entries.read().unwrap_or_else(|e| e.into_inner()).len(),
        }
    }

    /// What became of it for the arguments of the last call; `None` before the first.
    pub fn summary(&self) -> Option<Summary> {
        let entries = self.entries.read().unwrap_or_else(|e| e.into_inner());
        entries.get(self.last.load(Relaxed)).map(|e| e.summary())
    }

    fn label(&self) -> String {
        format!("{} ({})", self.name, self.made)
    }

    /// The entry for a call, traced if there is none.
    fn entry(&self, arguments: &dyn Arguments<A>, donated: bool) -> Result<Arc<Entry<R>>> {
        let modes = crate::modes::current()?;
        let walk = |v: &mut dyn Visit| arguments.visit(v);
        if let Some((entry, last)) = self.find(&walk, donated, &modes) {
            if !last {
                entry.used.store(self.clock.fetch_add(1, Relaxed) + 1, Relaxed);
            }
            self.hits.fetch_add(1, Relaxed);
            events::count(Event::CacheHit);
            if self.check {
                let compiled = &entry.graph;
                let (signature, again) = self.trace(arguments, donated)?;
                if let Some(e) = differing(&signature, (compiled, &entry.wiring), again.parts()) {
                    return Err(e.note("the first is what was compiled, the second what this call would be"));
                }
            }
            return Ok(entry);
        }
        let start = Instant::now();
        let (signature, recorded) = self.trace(arguments, donated)?;
        let traced = start.elapsed();
        self.miss(&signature);
        let entry = Arc::new(Entry::compile(signature, self.label(), recorded, traced)?);
        entry.used.store(self.clock.fetch_add(1, Relaxed) + 1, Relaxed);
        let mut entries = self.entries.write().unwrap_or_else(|e| e.into_inner());
        // Another thread may have been faster.
        if let Some(first) = entries.iter().find(|e| e.fits(&walk, donated, &modes)) {
            return Ok(first.clone());
        }
        if entries.len() >= self.capacity {
            let oldest = (0..entries.len()).min_by_key(|&i| entries[i].used.load(Relaxed)).unwrap_or(0);
            let gone = entries.swap_remove(oldest);
            self.evictions.fetch_add(1, Relaxed);
            let (label, capacity) = (self.label(), self.capacity);
            events::record(
                Event::Eviction,
                format_args!("{label}: {capacity} entries are kept, {} goes", gone.signature),
            );
        }
        entries.push(entry.clone());
        self.last.store(entries.len() - 1, Relaxed);
        Ok(entry)
    }

    fn find(&self, walk: &dyn Fn(&mut dyn Visit), donated: bool, modes: &Modes) -> Option<Found<R>> {
        let entries = self.entries.read().unwrap_or_else(|e| e.into_inner());
        let last = self.last.load(Relaxed);
        if let Some(e) = entries.get(last)
            && e.fits(walk, donated, modes)
        {
            return Some((e.clone(), true));
        }
        let at = entries.iter().position(|e| e.fits(walk, donated, modes))?;
        self.last.store(at, Relaxed);
        Some((entries[at].clone(), false))
    }

    /// Counts a miss and says why it was one.
    fn miss(&self, signature: &Signature) {
        self.traces.fetch_add(1, Relaxed);
        let entries = self.entries.read().unwrap_or_else(|e| e.into_inner());
        let nearest = entries.iter().map(|e| e.signature.difference(signature)).min_by_key(|d| d.0);
        let (event, reason) = match nearest {
            None => (Event::Trace, format!("{}: first trace, {signature}", self.label())),
            Some((_, difference)) => (Event::Retrace, format!("{}: {difference}", self.label())),
        };
        events::record(event, &reason);
        events::record(Event::CacheMiss, reason);
    }

    /// Traces for these arguments.
    pub(super) fn trace(&self, arguments: &dyn Arguments<A>, donated: bool) -> Result<(Signature, Recorded<R>)> {
        let modes = crate::modes::current()?;
        let mut dynamic = self.dynamic.clone();
        loop {
            let donated = donated.then(|| self.state_leaves(arguments));
            let mut d = Describe::new(&dynamic, donated, modes.clone());
            arguments.visit(&mut d);
            let (signature, symbols) = d.finish()?;
            let recorded = self.record(arguments, &signature, &symbols);
            // A function that turned a symbol into a number is traced again for that number, which goes into the key;
            // what became of the first trace, an error too, no longer counts.
            let specialized = trace::take_specialized();
            if !specialized.is_empty() {
                dynamic.retain(|d| !specialized.contains(&d.symbol.symbol));
                continue;
            }
            let recorded = recorded?;
            if self.check {
                let again = self.record(arguments, &signature, &symbols)?;
                if let Some(e) = differing(&signature, recorded.parts(), again.parts()) {
                    return Err(e);
                }
            }
            return Ok((signature, recorded));
        }
    }

    fn record(
        &self,
        arguments: &dyn Arguments<A>,
        signature: &Signature,
        symbols: &[(Symbol, i64)],
    ) -> Result<Recorded<R>> {
        record(&*self.function, &self.name, arguments, signature, symbols)
    }

    /// Number of leaves of the first argument.
    fn state_leaves(&self, arguments: &dyn Arguments<A>) -> usize {
        let all = leaves(&|v| arguments.visit(v), "");
        all.iter().filter(|(path, _)| path == "0" || path.starts_with("0.")).count()
    }

    fn run(&self, arguments: &dyn Arguments<A>) -> Result<R> {
        if trace::active() {
            return self.inline(arguments);
        }
        let walk = |v: &mut dyn Visit| arguments.visit(v);
        device::where_leaves_are(&walk, || self.entry(arguments, false)?.call(&walk))
    }

    /// Records the function into the trace that is open.
    fn inline(&self, arguments: &dyn Arguments<A>) -> Result<R> {
        if let Some(e) = leaves(&|v| arguments.visit(v), "").iter().find_map(|(_, t)| t.error_ref().cloned()) {
            return Err(e);
        }
        let _line = leave();
        let outcome = catch_unwind(AssertUnwindSafe(|| self.function.run(arguments.map(&mut Tensor::clone))));
        let result = outcome.map_err(|payload| strict::caught(payload, "jit"))?;
        match result.leaves().iter().find_map(|(_, t)| t.error_ref().cloned()) {
            Some(e) => Err(e),
            None => Ok(result),
        }
    }

    fn compiled(&self, arguments: &dyn Arguments<A>) -> Result<Compiled<A, R>> {
        trace::refuse_inside("compile", trace::CALL_IT)?;
        let entry = device::where_leaves_are(&|v| arguments.visit(v), || self.entry(arguments, false))?;
        Ok(Compiled::new(entry))
    }

    fn lowered(&self, what: &'static str, arguments: &dyn Arguments<A>, donated: bool) -> Result<Lowered> {
        trace::refuse_inside(what, trace::CALL_IT)?;
        device::where_leaves_are(&|v| arguments.visit(v), || {
            let (signature, recorded) = self.trace(arguments, donated)?;
            let donations = recorded.donations(signature.donated);
            let place = recorded.wiring.place()?;
            let made = device::on(Some(place), || Executable::inspect(&recorded.graph, &donations));
            let executable = made.map_err(Error::exec)?;
            Ok(Lowered::new(recorded.graph, executable))
        })
    }
}

macro_rules! calls {
    ($(($first:ident $state:ident; $($t:ident $x:ident),*))*) => { $(
        impl<$first: Tree, $($t: Tree,)* R: Tree> Jit<($first, $($t,)*), R> {
            /// Runs it, compiled; arguments are given by value or by reference. On an error nothing has changed.
            #[track_caller]
            pub fn call(&self, $state: impl Borrow<$first>, $($x: impl Borrow<$t>),*) -> Result<R> {
                let _here = enter();
                self.run(&($state.borrow(), $($x.borrow(),)*)).map_err(Error::observed)
            }

            /// Compiles it for arguments like these, and only for them.
            #[track_caller]
            pub fn compile(
                &self,
                $state: impl Borrow<$first>,
                $($x: impl Borrow<$t>),*
            ) -> Result<Compiled<($first, $($t,)*), R>> {
                let _here = enter();
                self.compiled(&($state.borrow(), $($x.borrow(),)*)).map_err(Error::observed)
            }

            /// Traces it for these arguments, to look at the stages of its compilation by a `call`.
            #[track_caller]
            pub fn lower(&self, $state: impl Borrow<$first>, $($x: impl Borrow<$t>),*) -> Result<Lowered> {
                let _here = enter();
                self.lowered("lower", &($state.borrow(), $($x.borrow(),)*), false).map_err(Error::observed)
            }

            /// Traces it for these arguments, to be saved as a file; see [`Exported`].
            #[track_caller]
            pub fn export(&self, $state: impl Borrow<$first>, $($x: impl Borrow<$t>),*) -> Result<Exported> {
                let _here = enter();
                self.exported("export", &($state.borrow(), $($x.borrow(),)*), false).map_err(Error::observed)
            }
        }

        impl<$first: Tree, $($t: Tree,)* R: Tree> Compiled<($first, $($t,)*), R> {
            /// Runs it; other arguments than those it was compiled for are an error.
            #[track_caller]
            pub fn call(&self, $state: impl Borrow<$first>, $($x: impl Borrow<$t>),*) -> Result<R> {
                let _here = enter();
                self.run(&($state.borrow(), $($x.borrow(),)*)).map_err(Error::observed)
            }
        }

        impl<$first: Tree, $($t: Tree,)* R: Tree> Jit<($first, $($t,)*), ($first, R)> {
            /// Runs a function of a state and more that returns the new state and more. The state is updated in place;
            /// on an error it is as it was.
            #[track_caller]
            pub fn call_mut(&self, $state: &mut $first, $($x: impl Borrow<$t>),*) -> Result<R> {
                let _here = enter();
                $(let $x = $x.borrow();)*
                let outcome = (|| {
                    if trace::active() {
                        return self.inline(&(&*$state, $($x,)*));
                    }
                    let place = device::of(&|v| (&*$state, $($x,)*).visit(v));
                    device::on(place, || {
                        let entry = self.entry(&(&*$state, $($x,)*), true)?;
                        entry.call_mut($state, &|_v: &mut dyn Visit| { $($x.visit(_v);)* })
                    })
                })();
                let (new, rest) = outcome.map_err(Error::observed)?;
                *$state = new;
                Ok(rest)
            }

            /// Traces it for these arguments, to look at the stages of its compilation by a `call_mut`, where results
            /// may take over the memory of the state.
            #[track_caller]
            pub fn lower_mut(&self, $state: impl Borrow<$first>, $($x: impl Borrow<$t>),*) -> Result<Lowered> {
                let _here = enter();
                self.lowered("lower_mut", &($state.borrow(), $($x.borrow(),)*), true).map_err(Error::observed)
            }

            /// Traces what a `call_mut` runs, to be saved as a file with the values of the state; see [`Exported`].
            #[track_caller]
            pub fn export_mut(&self, $state: impl Borrow<$first>, $($x: impl Borrow<$t>),*) -> Result<Exported> {
                let _here = enter();
                self.exported("export_mut", &($state.borrow(), $($x.borrow(),)*), true).map_err(Error::observed)
            }
        }
    )* };
}
calls! {
    (A a;)
    (A a; B b)
    (A a; B b, C c)
    (A a; B b, C c, D d)
    (A a; B b, C c, D d, E e)
    (A a; B b, C c, D d, E e, F f)
}
