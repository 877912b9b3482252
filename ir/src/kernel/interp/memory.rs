//! Memory that notices misuse: parameters know which task touched an element, scratch knows what was written.

use super::Fault;
use crate::kernel::Access;
use crate::{DType, Data, Scalar, for_each_dtype};

/// What is wrong with an access; [`Misuse::of`] says where.
pub(super) enum Misuse {
    OutOfRange(usize),
    Undefined,
    Conflict,
}

impl Misuse {
    pub fn of(self, memory: String, index: i64) -> Fault {
        match self {
            Misuse::OutOfRange(len) => Fault::OutOfRange { memory, index, len },
            Misuse::Undefined => Fault::Undefined { memory, index },
            Misuse::Conflict => Fault::Conflict { memory, index },
        }
    }
}

/// The tasks that touched an element: 0 for none, [`Touched::MANY`] for more than one.
#[derive(Clone, Copy, Default)]
struct Touched {
    reader: u32,
    writer: u32,
}

impl Touched {
    const MANY: u32 = u32::MAX;
}

/// A parameter.
pub(super) struct Buffer<'a> {
    data: &'a mut Data,
    /// For each element, unless the parameter is never written.
    touched: Vec<Touched>,
}

impl<'a> Buffer<'a> {
    pub fn new(data: &'a mut Data, access: Access) -> Self {
        let len = if access == Access::In { 0 } else { data.len() };
        Buffer { data, touched: vec![Touched::default(); len] }
    }
    pub fn load(&mut self, index: i64, task: u32) -> Result<Scalar, Misuse> {
        let at = position(index, self.data)?;
        if let Some(t) = self.touched.get_mut(at) {
            if t.writer != 0 && t.writer != task {
                return Err(Misuse::Conflict);
            }
            t.reader = if t.reader == 0 || t.reader == task { task } else { Touched::MANY };
        }
        Ok(self.data.get(at))
    }
    pub fn store(&mut self, index: i64, value: Scalar, task: u32) -> Result<(), Misuse> {
        let at = position(index, self.data)?;
        if let Some(t) = self.touched.get_mut(at) {
            if [t.reader, t.writer].iter().any(|&other| other != 0 && other != task) {
                return Err(Misuse::Conflict);
            }
            t.writer = task;
        }
        set(self.data, at, value);
        Ok(())
    }
}

/// A scratch row of the running task.
pub(super) struct Row {
    data: Data,
    written: Vec<bool>,
}

impl Row {
    pub fn new(dtype: DType, len: usize) -> Self {
        Row { data: Data::filled(Scalar::zero(dtype), len), written: vec![false; len] }
    }
    /// Another task begins.
    pub fn forget(&mut self) {
        self.written.fill(false);
    }
    pub fn load(&self, index: i64) -> Result<Scalar, Misuse> {
        let at = position(index, &self.data)?;
        if self.written[at] { Ok(self.data.get(at)) } else { Err(Misuse::Undefined) }
    }
    pub fn store(&mut self, index: i64, value: Scalar) -> Result<(), Misuse> {
        let at = position(index, &self.data)?;
        self.written[at] = true;
        set(&mut self.data, at, value);
        Ok(())
    }
}

fn position(index: i64, data: &Data) -> Result<usize, Misuse> {
    usize::try_from(index).ok().filter(|&i| i < data.len()).ok_or(Misuse::OutOfRange(data.len()))
}

macro_rules! setter {
    ($(($v:ident, $t:ty)),*) => {
        fn set(data: &mut Data, at: usize, value: Scalar) {
            match (data, value) {
                $((Data::$v(items), Scalar::$v(x)) => items[at] = x,)*
                (data, value) => unreachable!("{value:?} stored to {}: the verifier checks types", data.dtype()),
            }
        }
    };
}
for_each_dtype!(setter);
