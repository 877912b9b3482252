//! The tensor IR: a graph of ops in SSA form.
//!
//! A [`Graph`] has one root region. A region is one block: parameters, ops in topological order, and the values it
//! yields. Regions are isolated: an op uses only parameters and results of its own region, so what a nested region
//! needs from outside is passed as operands of its op. Entities are 32-bit ids into tables of the graph; ops own
//! their attributes ([`Primitive`]), the graph owns operands, results and origins.
//!
//! Passes edit in place through [`Graph::rewrite`]; ops that fall out stay in the tables, unreachable, until
//! [`Graph::compact`].

mod edit;

use crate::ops::{Primitive, rules::violation};
use crate::origin::{OriginId, OriginTable};
use crate::{Lowering, Symbol, Type, Violation};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::collections::HashMap;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        pub struct $name(pub u32);
        impl $name {
            /// The number as an index into the graph's table.
            pub fn at(self) -> usize { self.0 as usize }
        }
    )* };
}
ids!(
    /// A tensor value.
    Value,
    /// An application of a primitive.
    Op,
    /// A nested block with its own values.
    Region
);

/// Operand or result list.
pub type Values = SmallVec<[Value; 2]>;

/// Where a value comes from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Definition {
    /// Parameter of a region, by number.
    Param(Region, u32),
    /// Result of an op, by number.
    Result(Op, u32),
}

/// A value's type and definition.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ValueData {
    /// Type.
    pub ty: Type,
    /// Definition.
    pub def: Definition,
}

/// One op.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OpData {
    /// What it computes, with attributes.
    pub primitive: Primitive,
    /// Operands.
    pub operands: Values,
    /// Results.
    pub results: Values,
    /// Nested regions.
    pub regions: SmallVec<[Region; 0]>,
    /// The source lines and scopes it derives from, at least one.
    pub origins: SmallVec<[OriginId; 2]>,
}

/// One region.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RegionData {
    /// Parameters.
    pub params: Vec<Value>,
    /// Ops in topological order.
    pub ops: Vec<Op>,
    /// What the region yields.
    pub yields: Vec<Value>,
}

/// A symbolic dimension of a graph's inputs, with inclusive bounds.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct SymbolDecl {
    /// Name.
    pub symbol: Symbol,
    /// Smallest value.
    pub min: i64,
    /// Largest value.
    pub max: i64,
}

/// A tensor program. See the [module](self).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Graph {
    /// A name for people, not part of the graph's identity.
    pub name: String,
    /// Declarations of the symbols in the types.
    pub symbols: Vec<SymbolDecl>,
    /// Origins of ops.
    pub origins: OriginTable,
    values: Vec<ValueData>,
    ops: Vec<OpData>,
    regions: Vec<RegionData>,
}

/// The types of a nested region, for type rules.
#[derive(Clone, Debug)]
pub struct RegionType {
    /// Types of its parameters.
    pub params: Vec<Type>,
    /// Types of what it yields.
    pub yields: Vec<Type>,
}

/// What a rewrite does with an op.
pub enum Rewrite {
    /// The op stays.
    Keep,
    /// The op goes; its results become these values, of the same types.
    Replace(Values),
}

impl Graph {
    /// An empty graph.
    pub fn new(name: &str) -> Graph {
        Graph {
            name: name.into(),
            symbols: Vec::new(),
            origins: OriginTable::default(),
            values: Vec::new(),
            ops: Vec::new(),
            regions: vec![RegionData::default()],
        }
    }

    /// The outermost region.
    pub fn root(&self) -> Region {
        Region(0)
    }
    /// Data of a value.
    pub fn value(&self, v: Value) -> &ValueData {
        &self.values[v.at()]
    }
    /// Type of a value.
    pub fn ty(&self, v: Value) -> &Type {
        &self.values[v.at()].ty
    }
    /// Data of an op.
    pub fn op(&self, op: Op) -> &OpData {
        &self.ops[op.at()]
    }
    /// Data of a region.
    pub fn region(&self, r: Region) -> &RegionData {
        &self.regions[r.at()]
    }
    /// Data of a region, to edit.
    pub fn region_mut(&mut self, r: Region) -> &mut RegionData {
        &mut self.regions[r.at()]
    }
    /// Data of an op, to edit; types and definitions must stay right.
    pub fn op_mut(&mut self, op: Op) -> &mut OpData {
        &mut self.ops[op.at()]
    }
    /// Inputs of the graph.
    pub fn inputs(&self) -> &[Value] {
        &self.regions[0].params
    }
    /// Outputs of the graph.
    pub fn outputs(&self) -> &[Value] {
        &self.regions[0].yields
    }
    /// Replaces the outputs of the graph.
    pub fn set_outputs(&mut self, outputs: Vec<Value>) {
        self.regions[0].yields = outputs;
    }
    /// Types of the inputs.
    pub fn input_types(&self) -> Vec<Type> {
        self.inputs().iter().map(|&v| self.ty(v).clone()).collect()
    }
    /// Types of the outputs.
    pub fn output_types(&self) -> Vec<Type> {
        self.outputs().iter().map(|&v| self.ty(v).clone()).collect()
    }
    /// The op that defines a value and the number of the result, unless it is a parameter.
    pub fn defining_op(&self, v: Value) -> Option<(Op, usize)> {
        match self.value(v).def {
            Definition::Result(op, i) => Some((op, i as usize)),
            Definition::Param(..) => None,
        }
    }
    /// Number of value slots; a table indexed by [`Value`] needs that length.
    pub fn value_count(&self) -> usize {
        self.values.len()
    }
    /// Number of op slots.
    pub fn op_count(&self) -> usize {
        self.ops.len()
    }
    /// Number of region slots.
    pub fn region_count(&self) -> usize {
        self.regions.len()
    }

    /// Adds a parameter to a region.
    pub fn add_param(&mut self, region: Region, ty: Type) -> Value {
        let number = self.region(region).params.len() as u32;
        let v = self.add_value(ty, Definition::Param(region, number));
        self.region_mut(region).params.push(v);
        v
    }
    /// Adds an input to the graph.
    pub fn add_input(&mut self, ty: Type) -> Value {
        self.add_param(self.root(), ty)
    }
    /// Adds an empty region, to be given to an op.
    pub fn add_region(&mut self) -> Region {
        self.regions.push(RegionData::default());
        Region(self.regions.len() as u32 - 1)
    }
    fn add_value(&mut self, ty: Type, def: Definition) -> Value {
        self.values.push(ValueData { ty, def });
        Value(self.values.len() as u32 - 1)
    }

    /// The types of a region.
    pub fn region_type(&self, r: Region) -> RegionType {
        let types = |vs: &[Value]| vs.iter().map(|&v| self.ty(v).clone()).collect();
        RegionType { params: types(&self.region(r).params), yields: types(&self.region(r).yields) }
    }

    /// Infers the result types of an op without adding it.
    pub fn infer(
        &self,
        p: &Primitive,
        operands: &[Value],
        regions: &[Region],
    ) -> Result<SmallVec<[Type; 1]>, Violation> {
        let types: SmallVec<[&Type; 4]> = operands.iter().map(|&v| self.ty(v)).collect();
        let regions: Vec<RegionType> = regions.iter().map(|&r| self.region_type(r)).collect();
        let results = p.infer(&types, &regions)?;
        for ty in &results {
            if let Some(rule) = ty.shape.too_complex() {
                return Err(violation(&**p, &types, rule, ""));
            }
            // Counts of elements beyond that would no longer be exact, and rules compare them.
            if !ty.is_addressable() {
                let rule = format!("the result has type {ty}, which is larger than any memory");
                return Err(violation(&**p, &types, rule, "fewer than 2^63 bytes"));
            }
        }
        Ok(results)
    }

    /// Appends an op to a region; its result types are inferred.
    pub fn append(
        &mut self,
        region: Region,
        primitive: Primitive,
        operands: &[Value],
        regions: &[Region],
        origins: &[OriginId],
    ) -> Result<Op, Violation> {
        let op = self.detached(primitive, operands, regions, origins)?;
        self.region_mut(region).ops.push(op);
        Ok(op)
    }

    /// Makes an op that is in no region yet.
    pub fn detached(
        &mut self,
        primitive: Primitive,
        operands: &[Value],
        regions: &[Region],
        origins: &[OriginId],
    ) -> Result<Op, Violation> {
        let types = self.infer(&primitive, operands, regions)?;
        let op = Op(self.ops.len() as u32);
        let results =
            types.into_iter().enumerate().map(|(i, ty)| self.add_value(ty, Definition::Result(op, i as u32))).collect();
        self.ops.push(OpData {
            primitive,
            operands: operands.into(),
            results,
            regions: regions.into(),
            origins: origins.into(),
        });
        Ok(op)
    }

    /// Walks the ops of a region in order, lets `f` keep or replace each, and redirects uses of what was replaced.
    /// Operands are already redirected when `f` sees an op; ops that `f` appends to the region land before it.
    /// Returns whether anything was replaced.
    pub fn rewrite(&mut self, region: Region, mut f: impl FnMut(&mut Graph, Op) -> Rewrite) -> bool {
        let ops = std::mem::take(&mut self.region_mut(region).ops);
        let mut moved: HashMap<Value, Value> = HashMap::new();
        for op in ops {
            if !moved.is_empty() {
                for v in &mut self.ops[op.at()].operands {
                    *v = moved.get(v).copied().unwrap_or(*v);
                }
            }
            match f(self, op) {
                Rewrite::Keep => self.region_mut(region).ops.push(op),
                Rewrite::Replace(new) => {
                    let old = self.op(op).results.clone();
                    debug_assert!(old.iter().zip(&new).all(|(&o, &n)| self.ty(o) == self.ty(n)));
                    moved.extend(old.into_iter().zip(new));
                }
            }
        }
        for v in &mut self.region_mut(region).yields {
            *v = moved.get(v).copied().unwrap_or(*v);
        }
        !moved.is_empty()
    }

    /// Every region that can be reached, outermost first.
    pub fn reachable_regions(&self) -> Vec<Region> {
        let mut all = vec![self.root()];
        let mut next = 0;
        while next < all.len() {
            for &op in &self.region(all[next]).ops {
                all.extend(self.op(op).regions.iter().copied());
            }
            next += 1;
        }
        all
    }

    /// The regions whose ops run one by one: the root and, at any depth, those of control flow; not those of groups.
    pub fn blocks(&self) -> Vec<Region> {
        let mut all = vec![self.root()];
        let mut next = 0;
        while next < all.len() {
            for &op in &self.region(all[next]).ops {
                let data = self.op(op);
                if data.primitive.lowering() == Lowering::Control {
                    all.extend(data.regions.iter().copied());
                }
            }
            next += 1;
        }
        all
    }

    /// Drops what cannot be reached and numbers everything densely in program order.
    pub fn compact(&mut self) {
        let old = std::mem::replace(self, Graph::new(""));
        self.name = old.name.clone();
        self.symbols = old.symbols.clone();
        let mut origins = HashMap::new();
        let root = self.root();
        self.copy_region(&old, old.root(), root, &mut origins);
    }

    fn copy_region(&mut self, from: &Graph, r: Region, to: Region, origins: &mut HashMap<OriginId, OriginId>) {
        let mut values: HashMap<Value, Value> = HashMap::new();
        for &p in &from.region(r).params {
            values.insert(p, self.add_param(to, from.ty(p).clone()));
        }
        for &op in &from.region(r).ops {
            let data = from.op(op);
            let mut regions = SmallVec::new();
            for &inner in &data.regions {
                let new = self.add_region();
                self.copy_region(from, inner, new, origins);
                regions.push(new);
            }
            let new = Op(self.ops.len() as u32);
            let results: Values = data
                .results
                .iter()
                .enumerate()
                .map(|(i, &v)| self.add_value(from.ty(v).clone(), Definition::Result(new, i as u32)))
                .collect();
            values.extend(data.results.iter().copied().zip(results.iter().copied()));
            let origins = data
                .origins
                .iter()
                .map(|&o| *origins.entry(o).or_insert_with(|| self.origins.intern(from.origins.get(o).clone())))
                .collect();
            self.ops.push(OpData {
                primitive: data.primitive.clone(),
                operands: data.operands.iter().map(|v| values[v]).collect(),
                results,
                regions,
                origins,
            });
            self.region_mut(to).ops.push(new);
        }
        self.region_mut(to).yields = from.region(r).yields.iter().map(|v| values[v]).collect();
    }

    /// Copies the body of another graph into a region of this one, its inputs bound to `arguments`; yields the values
    /// that its outputs became.
    pub fn inline(&mut self, region: Region, other: &Graph, arguments: &[Value]) -> Vec<Value> {
        let mut origins = HashMap::new();
        let mut values: HashMap<Value, Value> = other.inputs().iter().copied().zip(arguments.iter().copied()).collect();
        for &op in &other.region(other.root()).ops {
            let new = self.inline_op(other, op, &|v| values[&v], &mut origins);
            let results = self.op(new).results.clone();
            values.extend(other.op(op).results.iter().copied().zip(results));
            self.region_mut(region).ops.push(new);
        }
        other.outputs().iter().map(|v| values[v]).collect()
    }

    /// Copies one op of another graph, regions included, with operands mapped; it is in no region yet.
    pub fn inline_op(
        &mut self,
        other: &Graph,
        op: Op,
        operand: &dyn Fn(Value) -> Value,
        origins: &mut HashMap<OriginId, OriginId>,
    ) -> Op {
        let data = other.op(op);
        let mut regions = SmallVec::new();
        for &inner in &data.regions {
            let new = self.add_region();
            self.copy_region(other, inner, new, origins);
            regions.push(new);
        }
        let new = Op(self.ops.len() as u32);
        let results = data
            .results
            .iter()
            .enumerate()
            .map(|(i, &v)| self.add_value(other.ty(v).clone(), Definition::Result(new, i as u32)))
            .collect();
        let origins = data
            .origins
            .iter()
            .map(|&o| *origins.entry(o).or_insert_with(|| self.origins.intern(other.origins.get(o).clone())))
            .collect();
        let operands = data.operands.iter().map(|&v| operand(v)).collect();
        self.ops.push(OpData { primitive: data.primitive.clone(), operands, results, regions, origins });
        new
    }
}

/// Structural equality: same symbols, types, ops, attributes and wiring. Names and origins do not count.
impl PartialEq for Graph {
    fn eq(&self, other: &Graph) -> bool {
        self.symbols == other.symbols && regions_equal(self, self.root(), other, other.root())
    }
}
impl Eq for Graph {}

fn regions_equal(a: &Graph, ra: Region, b: &Graph, rb: Region) -> bool {
    let (da, db) = (a.region(ra), b.region(rb));
    let mut same: HashMap<Value, Value> = HashMap::new();
    let mut bind = |x: &[Value], y: &[Value]| {
        let types = x.len() == y.len() && x.iter().zip(y).all(|(&v, &w)| a.ty(v) == b.ty(w));
        same.extend(x.iter().copied().zip(y.iter().copied()));
        types
    };
    if !bind(&da.params, &db.params) || da.ops.len() != db.ops.len() {
        return false;
    }
    for (&x, &y) in da.ops.iter().zip(&db.ops) {
        let (x, y) = (a.op(x), b.op(y));
        if x.primitive != y.primitive || x.regions.len() != y.regions.len() || !bind(&x.results, &y.results) {
            return false;
        }
        if !x.regions.iter().zip(&y.regions).all(|(&r, &s)| regions_equal(a, r, b, s)) {
            return false;
        }
    }
    let wired = |x: &[Value], y: &[Value]| x.len() == y.len() && x.iter().zip(y).all(|(v, w)| same.get(v) == Some(w));
    da.ops.iter().zip(&db.ops).all(|(&x, &y)| wired(&a.op(x).operands, &b.op(y).operands))
        && wired(&da.yields, &db.yields)
}

impl Graph {
    /// A hash that agrees with equality.
    pub fn structural_hash(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        fn region(g: &Graph, r: Region, h: &mut DefaultHasher) {
            let mut number: HashMap<Value, u32> = HashMap::new();
            let data = g.region(r);
            data.params.len().hash(h);
            for &p in &data.params {
                number.insert(p, number.len() as u32);
                g.ty(p).hash(h);
            }
            for &op in &data.ops {
                let op = g.op(op);
                op.primitive.hash(h);
                op.operands.iter().for_each(|v| number.get(v).hash(h));
                for &v in &op.results {
                    number.insert(v, number.len() as u32);
                }
                op.regions.iter().for_each(|&r| region(g, r, h));
            }
            data.yields.iter().for_each(|v| number.get(v).hash(h));
        }
        let mut h = DefaultHasher::new();
        self.symbols.hash(&mut h);
        region(self, self.root(), &mut h);
        h.finish()
    }
}
