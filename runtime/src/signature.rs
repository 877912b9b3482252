//! What arguments must look like, and what their extents say about symbols. The one place where a call's types are held
//! against the declared ones.

use crate::error::ExecError;
use ir::graph::SymbolDecl;
use ir::{DType, Dim, Symbol, Type};
use smallvec::SmallVec;

/// Declared types of inputs, made ready to be compared with many calls.
pub(crate) struct Signature {
    inputs: Vec<Declared>,
    symbols: Vec<SymbolDecl>,
}

struct Declared {
    ty: Type,
    extents: Vec<Extent>,
}

enum Extent {
    Known(usize),
    /// A bare symbol, by number.
    Symbol(usize),
    Expression(Dim),
}

/// Values of the symbols of a signature.
pub(crate) type SymbolValues = SmallVec<[i64; 4]>;

/// The value of a symbol that no extent binds.
const UNBOUND: i64 = i64::MIN;

impl Signature {
    /// For inputs of those types. Symbols that are not declared have no bounds.
    pub fn of(inputs: &[Type], symbols: &[SymbolDecl]) -> Signature {
        let mut symbols = symbols.to_vec();
        for symbol in inputs.iter().flat_map(|ty| ty.shape.iter().flat_map(Dim::symbols)) {
            if !symbols.iter().any(|s| s.symbol == symbol) {
                symbols.push(SymbolDecl { symbol, min: 0, max: i64::MAX });
            }
        }
        let extent = |d: &Dim| match d.as_usize() {
            Some(n) => Extent::Known(n),
            None => match symbols.iter().position(|s| *d == Dim::symbol(s.symbol.name())) {
                Some(i) => Extent::Symbol(i),
                None => Extent::Expression(d.clone()),
            },
        };
        let declared = |ty: &Type| Declared { ty: ty.clone(), extents: ty.shape.iter().map(extent).collect() };
        Signature { inputs: inputs.iter().map(declared).collect(), symbols }
    }

    /// Holds `count` arguments against it and reads the symbols' values from their extents: a dimension that is a bare
    /// symbol binds it, every other one must then agree. `given` is the type of an argument, `None` if it is gone.
    pub fn bind<'a>(
        &self,
        count: usize,
        given: impl Fn(usize) -> Option<(DType, &'a [usize])>,
    ) -> Result<SymbolValues, ExecError> {
        if count != self.inputs.len() {
            let message = format!("{count} inputs given, the graph takes {}", self.inputs.len());
            return Err(ExecError::Argument(message));
        }
        let mut values = SymbolValues::from_elem(UNBOUND, self.symbols.len());
        for (i, Declared { ty, extents }) in self.inputs.iter().enumerate() {
            let (dtype, dims) =
                given(i).ok_or_else(|| ExecError::Argument(format!("input {i} was given away before")))?;
            let fits = dtype == ty.dtype
                && dims.len() == extents.len()
                && extents.iter().zip(dims).all(|(e, &n)| match e {
                    Extent::Known(k) => *k == n,
                    Extent::Symbol(s) => {
                        let value = &mut values[*s];
                        if *value == UNBOUND {
                            *value = n as i64;
                        }
                        *value == n as i64
                    }
                    Extent::Expression(_) => true,
                });
            if !fits {
                let given = Type::new(dtype, dims);
                return Err(ExecError::Argument(format!("input {i} has type {given}, the graph takes {ty}")));
            }
        }
        for (SymbolDecl { symbol, min, max }, &v) in self.symbols.iter().zip(&values) {
            if v != UNBOUND && !(*min..=*max).contains(&v) {
                return Err(ExecError::Argument(format!("{symbol} is {v}, outside its bounds {min}..={max}")));
            }
        }
        for (i, Declared { extents, .. }) in self.inputs.iter().enumerate() {
            for (axis, e) in extents.iter().enumerate() {
                if let Extent::Expression(d) = e
                    && let Some((_, dims)) = given(i)
                    && self.dim(&values, d) != Some(dims[axis] as i64)
                {
                    let message = format!("input {i} has extent {} on axis {axis}, the graph takes {d}", dims[axis]);
                    return Err(ExecError::Argument(message));
                }
            }
        }
        Ok(values)
    }

    /// True if every call has the same extents.
    pub fn is_static(&self) -> bool {
        self.symbols.is_empty()
    }

    /// The value of a dimension under values of the symbols.
    pub fn dim(&self, values: &[i64], d: &Dim) -> Option<i64> {
        d.eval(&|symbol| {
            let at = self.symbols.iter().position(|s| s.symbol == *symbol)?;
            (values[at] != UNBOUND).then_some(values[at])
        })
    }

    /// The symbols that have a value, with it.
    pub fn named(&self, values: &[i64]) -> impl Iterator<Item = (Symbol, i64)> {
        let bound = self.symbols.iter().zip(values).filter(|(_, v)| **v != UNBOUND);
        bound.map(|(s, &v)| (s.symbol.clone(), v))
    }
}
