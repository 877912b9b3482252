//! One open trace.

use super::{STACK, TraceInfo, Traced};
use crate::cell::CellId;
use crate::error::Error;
use crate::scope;
use crate::tensor::{Held, Identity, Repr, Tensor};
use ir::origin::OriginId;
use ir::{Graph, Origin, Primitive, Symbol, Value, Violation};
use std::borrow::Cow;
use std::collections::HashMap;
use std::panic::Location;
use std::sync::Arc;

/// A function being recorded.
pub(crate) struct Trace {
    pub info: TraceInfo,
    pub graph: Graph,
    /// Outside tensors that became inputs, in order of their first use.
    pub captures: Vec<(Tensor, Value)>,
    captured: HashMap<Identity, Value>,
    pub cells: Vec<CellUse>,
    /// Under vmap, once it is asked for: the input that stands for the number of the example.
    pub example: Option<Tensor>,
    pub symbol_values: HashMap<Symbol, i64>,
    /// The last origin, which the next op often shares.
    last_origin: Option<(&'static Location<'static>, Arc<str>, OriginId)>,
}

/// What a trace knows about a cell.
pub(crate) struct CellUse {
    pub cell: Arc<dyn CellId>,
    /// The input that stands for the value before the trace.
    pub input: Value,
    /// That value in the enclosing trace.
    pub source: Tensor,
    pub read: Tensor,
    /// The last value written, and the line that wrote it.
    pub written: Option<(Tensor, &'static Location<'static>)>,
}

impl CellUse {
    /// The value after what was traced so far.
    pub fn current(&self) -> Tensor {
        self.written.as_ref().map_or(&self.read, |(value, _)| value).clone()
    }
}

/// Closes its trace, and any left open inside, when dropped; also in a panic.
pub(crate) struct Guard {
    pub(super) depth: usize,
}

impl Guard {
    /// Ends the trace and yields it.
    pub fn finish(self) -> Trace {
        STACK.with_borrow_mut(|s| {
            s.truncate(self.depth + 1);
            s.pop().expect("a guard outlives its trace only here")
        })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Tensors in a dropped trace may themselves look at the stack, so they are dropped after the borrow.
        let dropped = STACK.with_borrow_mut(|s| s.split_off(self.depth.min(s.len())));
        drop(dropped);
    }
}

impl Trace {
    pub(super) fn new(info: TraceInfo, name: &str) -> Trace {
        Trace {
            info,
            graph: Graph::new(name),
            captures: Vec::new(),
            captured: HashMap::new(),
            cells: Vec::new(),
            example: None,
            symbol_values: HashMap::new(),
            last_origin: None,
        }
    }

    /// The tensor of a value.
    pub fn tensor(&self, value: Value, made: &'static Location<'static>) -> Tensor {
        let ty = self.graph.ty(value).clone();
        Tensor(Repr::Traced(Arc::new(Traced { trace: self.info, value, ty, made })))
    }

    /// The value that stands for a tensor: its own, or a hidden input.
    pub fn lift(&mut self, tensor: &Tensor) -> Result<Value, Error> {
        let key = match tensor.held() {
            Held::Traced(t) if t.trace.id == self.info.id => return Ok(t.value),
            Held::Error(e) => return Err(e),
            _ => tensor.identity().expect("only errors have none"),
        };
        if let Some(&v) = self.captured.get(&key) {
            return Ok(v);
        }
        let value = self.graph.add_input(tensor.ty());
        self.captured.insert(key, value);
        self.captures.push((tensor.clone(), value));
        Ok(value)
    }

    pub(super) fn append(
        &mut self,
        primitive: Primitive,
        operands: &[Value],
        at: &'static Location<'static>,
    ) -> Result<Tensor, Violation> {
        let origin = self.origin(at);
        let root = self.graph.root();
        let op = self.graph.append(root, primitive, operands, &[], &[origin])?;
        let value = self.graph.op(op).results[0];
        Ok(self.tensor(value, at))
    }

    pub fn origin(&mut self, at: &'static Location<'static>) -> OriginId {
        let path = scope::current();
        if let Some((location, scope, id)) = &self.last_origin
            && std::ptr::eq(*location, at)
            && *scope == path
        {
            return *id;
        }
        let scope: Cow<'static, str> = Cow::Owned(path.to_string());
        let id = self.graph.origins.intern(Origin { location: at.into(), scope, gradient: false });
        self.last_origin = Some((at, path, id));
        id
    }
}
