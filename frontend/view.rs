//! Views. In a trace they record ops. Outside of traces a view waits: the op that reads it is compiled with the view in it,
//! so that nothing is copied. Only where the elements themselves are asked for is a view run by itself, once.

use crate::dispatch::{self, Call, Extents, enter_at, here};
use crate::eager;
use crate::error::Error;
use crate::ops::prim;
use crate::tape;
use crate::tensor::{Repr, Tensor};
use crate::trace::{self, record};
use ir::ops::view;
use ir::{Axes, DType, Dim, Shape};
use runtime::array::byte_length;
use runtime::{Array, Device};
use smallvec::SmallVec;
use std::panic::Location;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// How many steps may wait.
const WAITING: usize = 6;

/// A step from a tensor to a view of it.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// `counts` elements of each axis, `strides` apart; none beyond `limits`, which symbols decide about in a trace.
    Slice { starts: Shape, counts: Shape, strides: Axes, limits: Shape },
    /// Axis `i` of the view is that axis of the tensor.
    Permute(Axes),
    /// Reverses axes.
    Flip(Axes),
    /// Aligned at the last axis.
    Broadcast(Shape),
    /// Axes of extent 1 come or go.
    Reshape(Shape),
}

impl Step {
    /// Extents after the step.
    fn result(&self, shape: &Shape) -> Shape {
        match self {
            Step::Slice { counts, .. } => counts.clone(),
            Step::Permute(axes) => axes.iter().map(|&a| shape[a].clone()).collect(),
            Step::Flip(_) => shape.clone(),
            Step::Broadcast(new) | Step::Reshape(new) => new.clone(),
        }
    }

    /// Records the step in the user's trace.
    fn trace(&self, x: &Tensor) -> Tensor {
        match self {
            Step::Slice { starts, strides, limits, .. } if x.error_ref().is_none() => {
                let (starts, limits, strides) = (starts.clone(), limits.clone(), strides.clone());
                record(view::Slice { starts, limits, strides }, &[x])
            }
            _ => self.record(x, &mut Dim::clone),
        }
    }

    /// Records the step, with another dimension in the place of each of its own.
    fn record(&self, x: &Tensor, dim: &mut dyn FnMut(&Dim) -> Dim) -> Tensor {
        if x.error_ref().is_some() {
            return x.clone();
        }
        match self {
            Step::Slice { starts, counts, strides, .. } => {
                let starts: Shape = starts.iter().map(&mut *dim).collect();
                let counts: Shape = counts.iter().map(&mut *dim).collect();
                let end = |i: usize| match counts[i].is(0) {
                    true => starts[i].clone(),
                    false => &starts[i] + (&counts[i] - 1) * strides[i] + 1,
                };
                let limits: Shape = (0..starts.rank()).map(end).collect();
                let whole = starts.iter().all(|s| s.is(0)) && strides.iter().all(|&s| s == 1);
                match whole && limits == x.ty().shape {
                    true => x.clone(),
                    false => record(view::Slice { starts, limits, strides: strides.clone() }, &[x]),
                }
            }
            Step::Permute(axes) => prim::transpose(x, axes),
            Step::Flip(axes) if axes.is_empty() => x.clone(),
            Step::Flip(axes) => record(view::Reverse { axes: axes.clone() }, &[x]),
            Step::Broadcast(shape) => prim::broadcast(x, &shape.iter().map(dim).collect()),
            Step::Reshape(shape) => prim::reshape(x, &shape.iter().map(dim).collect()),
        }
    }

    /// What tells it from other steps, with a code for each dimension.
    fn encode(&self, out: &mut SmallVec<[i64; 16]>, code: &mut dyn FnMut(usize) -> i64) {
        // Steps are on arrays, so their dimensions are numbers.
        let mut dims = |out: &mut SmallVec<[i64; 16]>, shape: &Shape| {
            out.extend(shape.iter().map(|d| d.as_usize().map_or(i64::MIN, &mut *code)));
        };
        let axes = |out: &mut SmallVec<[i64; 16]>, axes: &Axes| out.extend(axes.iter().map(|&a| a as i64));
        // No code is as small.
        let mut begin = |kind: i64, rank: usize| out.extend([i64::MIN + kind, rank as i64]);
        match self {
            Step::Slice { starts, counts, strides, .. } => {
                begin(1, strides.len());
                dims(out, starts);
                dims(out, counts);
                axes(out, strides);
            }
            Step::Permute(a) | Step::Flip(a) => {
                begin(2 + matches!(self, Step::Flip(_)) as i64, a.len());
                axes(out, a);
            }
            Step::Broadcast(shape) | Step::Reshape(shape) => {
                begin(4 + matches!(self, Step::Reshape(_)) as i64, shape.rank());
                dims(out, shape);
            }
        }
    }
}

/// Steps from one tensor to a view of it, for the tape.
pub(crate) struct Steps(pub SmallVec<[Step; 2]>);

impl Steps {
    /// What tells them from others.
    pub fn encode(&self, out: &mut SmallVec<[i64; 16]>, code: &mut dyn FnMut(usize) -> i64) {
        self.0.iter().for_each(|s| s.encode(out, code));
    }

    /// Records them on a traced value.
    pub fn record(&self, x: &Tensor, dim: &mut dyn FnMut(&Dim) -> Dim) -> Tensor {
        self.0.iter().fold(x.clone(), |x, step| step.record(&x, dim))
    }
}

/// A view of an array that nobody has asked the elements of.
pub(crate) struct View {
    pub dtype: DType,
    /// Where its elements are.
    pub device: Device,
    pub shape: Shape,
    /// Gone once there are elements.
    base: Mutex<Option<Array>>,
    steps: SmallVec<[Step; 2]>,
    /// The last op, and its line.
    name: &'static str,
    line: &'static Location<'static>,
    settled: OnceLock<Array>,
}

impl View {
    fn new(base: Array, shape: Shape, steps: SmallVec<[Step; 2]>, name: &'static str) -> View {
        let (dtype, device, base) = (base.dtype(), base.device(), Mutex::new(Some(base)));
        View { dtype, device, shape, base, steps, name, line: here(), settled: OnceLock::new() }
    }

    /// The array that it is read from, and whether that holds its elements as they are.
    pub fn source(&self) -> (Array, bool) {
        let base = match self.settled.get() {
            Some(_) => None,
            None => self.base.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        };
        match base {
            Some(base) => (base, false),
            None => (self.settled.get().expect("the base goes when there are elements").clone(), true),
        }
    }

    /// True until somebody asks for the elements.
    pub fn is_waiting(&self) -> bool {
        self.settled.get().is_none()
    }

    /// The elements in memory of their own. What failed, for want of memory, may succeed another time.
    pub fn settle(&self) -> Result<&Array, Error> {
        if let Some(array) = self.settled.get() {
            return Ok(array);
        }
        let (base, done) = self.source();
        let array = match done {
            true => base,
            false => {
                let _line = enter_at(self.line);
                let waiting = View::new(base, self.shape.clone(), self.steps.clone(), self.name);
                let waiting = Tensor(Repr::View(Arc::new(waiting)));
                // One that cannot be fails with its numbers.
                let extents = if self.fits() { Extents::Symbolic } else { Extents::Exact };
                match eager::run(&Call::plain(self.name, &[], extents), &[&waiting], &[], &|t, _| t[0].clone()).0 {
                    Repr::Array(a) => a,
                    Repr::Error(e) => return Err(e),
                    Repr::Traced(_) | Repr::View(_) | Repr::Tracked(_) => {
                        unreachable!("an op outside of traces yields an array or an error")
                    }
                }
            }
        };
        let array = self.settled.get_or_init(|| array);
        self.base.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(array)
    }

    /// True unless its extents cannot be those of an array.
    fn fits(&self) -> bool {
        self.shape.known().is_some_and(|dims| byte_length(self.dtype, &dims).is_ok())
    }

    /// What tells its steps from those of other views.
    pub fn encode(&self, out: &mut SmallVec<[i64; 16]>, code: &mut dyn FnMut(usize) -> i64) {
        self.steps.iter().for_each(|s| s.encode(out, code));
    }

    /// Records its steps on a traced value that stands for its base.
    pub fn record(&self, base: &Tensor, dim: &mut dyn FnMut(&Dim) -> Dim) -> Tensor {
        self.steps.iter().fold(base.clone(), |x, step| step.record(&x, dim))
    }
}

/// A view of a tensor; the steps must fit.
pub(crate) fn view(name: &'static str, x: &Tensor, steps: impl IntoIterator<Item = Step>) -> Tensor {
    if trace::active() {
        let steps: SmallVec<[Step; 2]> = steps.into_iter().collect();
        return dispatch::run(Call::plain(name, &[], Extents::Exact), &[x], &|t| {
            steps.iter().fold(t[0].clone(), |x, step| step.trace(&x))
        });
    }
    if tape::records(x) {
        let steps: SmallVec<[Step; 2]> = steps.into_iter().collect();
        return tape::viewed(name, x, view(name, x.plain(), steps.clone()), steps);
    }
    let (base, mut all, mut shape) = match &x.plain().0 {
        Repr::Array(a) => (a.clone(), SmallVec::new(), a.dims().into()),
        Repr::View(v) => match v.source() {
            (base, false) if v.steps.len() < WAITING => (base, v.steps.clone(), v.shape.clone()),
            (elements, true) => (elements, SmallVec::new(), v.shape.clone()),
            _ => match v.settle() {
                Ok(a) => (a.clone(), SmallVec::new(), v.shape.clone()),
                Err(e) => return Tensor(Repr::Error(e)),
            },
        },
        Repr::Error(_) => return x.clone(),
        Repr::Tracked(_) => unreachable!("it is a plain tensor"),
        Repr::Traced(t) => {
            return Tensor::error(trace::ended(name, t).with_operands([t.ty.to_string()]).at(here()));
        }
    };
    for step in steps {
        shape = step.result(&shape);
        all.push(step);
    }
    if all.is_empty() {
        return x.plain().clone();
    }
    let made = View::new(base, shape, all, name);
    if !made.fits()
        && let Err(e) = made.settle()
    {
        return Tensor(Repr::Error(e));
    }
    Tensor(Repr::View(Arc::new(made)))
}
