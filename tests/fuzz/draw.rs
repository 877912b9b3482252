//! Draws random well-typed graphs over every primitive of the op table.

mod control;
mod ops;
mod patterns;

use crate::case::{self, BATCH, Case, Content, extent};
use crate::random::Random;
use ir::graph::SymbolDecl;
use ir::{Axes, DType, Dim, Graph, Literal, Location, Origin, Primitive, Scalar, Shape, Symbol, Type, Value};
use runtime::Device;

/// How an input gets its elements.
#[derive(Clone)]
enum Feed {
    Content(Content),
    /// Indices below an extent.
    Index(Dim),
}

struct Draw {
    r: Random,
    graph: Graph,
    /// Values that the symbol takes, from the smallest to the largest; any one value for a graph without.
    batches: Vec<i64>,
    symbolic: bool,
    /// Values that ops may use.
    values: Vec<Value>,
    feeds: Vec<Feed>,
    /// Results of reductions: what was reduced over which axes.
    reduced: Vec<(Value, Value, Axes)>,
    /// The most elements of a value.
    limit: usize,
    /// The float dtype that most values have.
    home: DType,
    odd: bool,
    line: u32,
    /// Regions around what is drawn.
    depth: usize,
}

/// The case of a seed.
pub fn draw(seed: u64) -> Case {
    let mut d = Draw::new(seed);
    if d.symbolic {
        let mut shape = d.shape();
        let at = d.r.below(shape.rank() + 1);
        shape.insert(at, Dim::symbol(BATCH));
        // The batch itself has to fit, whatever else does.
        let shape = if d.fits(&shape) { shape } else { Shape::from([Dim::symbol(BATCH)]) };
        let dtype = d.dtype();
        d.input(Type::new(dtype, shape));
    }
    let ops = d.r.weighted(&[(30, 5), (35, 14), (25, 30), (10, 80)]);
    let ops = 1 + d.r.below(ops);
    let mut left = ops * 4;
    while d.graph.region(d.graph.root()).ops.len() < ops && left > 0 {
        if d.r.percent(12) {
            d.pattern();
        } else {
            let name = d.name();
            d.op(name);
        }
        left -= 1;
    }
    d.outputs();
    if d.r.percent(25) {
        d.gradients();
        // Of gradients too.
        if d.r.percent(20) {
            d.gradients();
        }
    }
    d.finish()
}

impl Draw {
    fn new(seed: u64) -> Draw {
        let mut r = Random::new(seed);
        let symbolic = r.percent(30);
        let batches = match r.below(6) {
            _ if !symbolic => vec![1],
            0 => vec![0, 3],
            1 => vec![1, 2, 6],
            2 => vec![1, 33],
            _ => vec![2, 5],
        };
        let limit = r.weighted(&[(600, 300), (350, 1500), (45, 12_000), (5, 1 << 18)]);
        let home = r.weighted(&[(60, DType::F32), (20, DType::F64), (10, DType::F16), (10, DType::BF16)]);
        let odd = r.percent(20);
        let mut graph = Graph::new("fuzz");
        if symbolic {
            let (min, max) = (batches[0], batches[batches.len() - 1]);
            graph.symbols.push(SymbolDecl { symbol: Symbol::new(BATCH), min, max });
        }
        let (values, feeds, reduced) = (Vec::new(), Vec::new(), Vec::new());
        Draw { r, graph, batches, symbolic, values, feeds, reduced, limit, home, odd, line: 0, depth: 0 }
    }

    fn name(&mut self) -> &'static str {
        let names = Primitive::NAMES;
        if self.r.percent(30) {
            return self.r.of(&[
                "add",
                "mul",
                "sub",
                "reduce_sum",
                "dot_general",
                "broadcast_in_dim",
                "reshape",
                "transpose",
                "slice",
                "pad",
                "concatenate",
                "gather",
                "scatter",
                "select",
                "compare",
                "exp",
            ]);
        }
        self.r.of(names)
    }

    fn dtype(&mut self) -> DType {
        if self.r.percent(60) {
            return self.home;
        }
        self.r.of(&DType::ALL)
    }

    fn dim(&mut self) -> Dim {
        if self.symbolic && self.r.percent(25) {
            return Dim::symbol(BATCH);
        }
        let large = self.limit > 2000;
        match self.r.below(100) {
            0..4 => Dim::from(0),
            4..20 => Dim::from(1),
            20..70 => Dim::from(2 + self.r.below(4)),
            70..90 => Dim::from(6 + self.r.below(12)),
            _ if large => Dim::from(30 + self.r.below(self.limit / 20)),
            _ => Dim::from(18 + self.r.below(50)),
        }
    }

    fn shape(&mut self) -> Shape {
        let rank = self.r.weighted(&[(8, 0), (25, 1), (34, 2), (22, 3), (8, 4), (3, 5)]);
        for _ in 0..8 {
            let shape: Shape = (0..rank).map(|_| self.dim()).collect();
            if self.fits(&shape) {
                return shape;
            }
        }
        Shape::from([3])
    }

    /// True if the extents are possible and the elements not too many, for every batch.
    fn fits(&self, shape: &Shape) -> bool {
        self.batches.iter().all(|&b| {
            let mut extents = shape.iter().map(|d| usize::try_from(d.eval(&|_| Some(b))?).ok());
            extents.try_fold(1usize, |p, n| p.checked_mul(n?)).is_some_and(|n| n <= self.limit)
        })
    }

    fn ty(&self, v: Value) -> Type {
        self.graph.ty(v).clone()
    }
    fn rank(&self, v: Value) -> usize {
        self.graph.ty(v).rank()
    }
    fn min_extent(&self, d: &Dim) -> i64 {
        self.batches.iter().map(|&b| extent(d, b)).min().expect("one batch at least")
    }

    fn content(&mut self) -> Content {
        let odd = if self.odd { 30 } else { 0 };
        self.r.weighted(&[(40, Content::Eighths), (30, Content::Uniform), (30, Content::Positive), (odd, Content::Odd)])
    }

    fn input(&mut self, ty: Type) -> Value {
        let content = self.content();
        self.feed(ty, Feed::Content(content))
    }

    fn feed(&mut self, ty: Type, feed: Feed) -> Value {
        if self.depth > 0 {
            // A region has the inputs that its op gives it.
            let content = self.content();
            let value = match feed {
                Feed::Content(_) => case::scalar(&mut self.r, ty.dtype, content),
                Feed::Index(_) => Scalar::zero(ty.dtype),
            };
            return self.push(ir::ops::create::Full { value, shape: ty.shape }, &[]);
        }
        let v = self.graph.add_input(ty);
        self.feeds.push(feed);
        self.values.push(v);
        v
    }

    /// Appends an op, unless its results are too large or its type rule says no.
    fn emit(&mut self, primitive: impl Into<Primitive>, operands: &[Value]) -> Option<Value> {
        let primitive = primitive.into();
        // Which of several offences in a loop is reported first is nobody's business.
        if self.depth > 0 && primitive.traits().fallible {
            return None;
        }
        let types = self.graph.infer(&primitive, operands, &[]).ok()?;
        types.iter().all(|t| self.fits(&t.shape)).then(|| self.push(primitive, operands))
    }

    /// Appends an op.
    fn push(&mut self, primitive: impl Into<Primitive>, operands: &[Value]) -> Value {
        self.line += 1;
        let location = Location { file: "model.rs".into(), line: self.line, column: 1 };
        let scope = self.r.of(&["", "layer", "layer.inner"]);
        let origin = self.graph.origins.intern(Origin { location, scope: scope.into(), gradient: false });
        let root = self.graph.root();
        let op = self.graph.append(root, primitive.into(), operands, &[], &[origin]).expect("it is legal");
        let v = self.graph.op(op).results[0];
        self.values.push(v);
        v
    }

    /// A value that will do, most often a recent one.
    fn known(&mut self, fits: impl Fn(&Type) -> bool) -> Option<Value> {
        let fitting: Vec<Value> = self.values.iter().copied().filter(|&v| fits(self.graph.ty(v))).collect();
        if fitting.is_empty() {
            return None;
        }
        let n = fitting.len();
        let recent = &fitting[n.saturating_sub(4)..];
        Some(if self.r.percent(60) { self.r.of(recent) } else { self.r.of(&fitting) })
    }

    /// A value of a legal dtype.
    fn operand(&mut self, legal: impl Fn(DType) -> bool) -> Value {
        if self.r.percent(80)
            && let Some(v) = self.known(|t| legal(t.dtype))
        {
            return v;
        }
        let dtype = loop {
            let dtype = self.dtype();
            if legal(dtype) {
                break dtype;
            }
        };
        let shape = self.shape();
        self.input(Type::new(dtype, shape))
    }

    /// A value of that type: known, made by an op, or an input.
    fn of_type(&mut self, ty: &Type) -> Value {
        if self.r.percent(65)
            && let Some(v) = self.known(|t| t == ty)
        {
            return v;
        }
        if self.r.percent(40)
            && let Some(v) = self.made(ty)
        {
            return v;
        }
        self.input(ty.clone())
    }

    fn made(&mut self, ty: &Type) -> Option<Value> {
        use ir::ops::{convert::Convert, create::Full, view::BroadcastInDim};
        match self.r.below(3) {
            0 => {
                let content = self.content();
                let value = case::scalar(&mut self.r, ty.dtype, content);
                self.emit(Full { value, shape: ty.shape.clone() }, &[])
            }
            1 => {
                let v = self.known(|t| t.shape == ty.shape && t.dtype != ty.dtype)?;
                self.emit(Convert { dtype: ty.dtype }, &[v])
            }
            _ => {
                // An operand that lacks some axes.
                let dims: Axes = (0..ty.rank()).filter(|_| self.r.percent(50)).collect();
                let shape: Shape = dims.iter().map(|&a| ty.shape[a].clone()).collect();
                let small = Type::new(ty.dtype, shape);
                let v = match self.known(|t| *t == small) {
                    Some(v) => v,
                    None => self.input(small),
                };
                self.emit(BroadcastInDim { shape: ty.shape.clone(), dims }, &[v])
            }
        }
    }

    fn outputs(&mut self) {
        let root = self.graph.root();
        let used: Vec<Value> =
            self.graph.region(root).ops.iter().flat_map(|&op| self.graph.op(op).operands.to_vec()).collect();
        let mut unused: Vec<Value> = self.values.iter().copied().filter(|v| !used.contains(v)).collect();
        // What nobody uses is mostly an output; now and then it is dead.
        unused.retain(|&v| self.graph.defining_op(v).is_some() && self.r.percent(90));
        let n = self.r.weighted(&[(50, 0), (30, 1), (15, 2), (5, 4)]);
        for _ in 0..n {
            let v = self.r.of(&self.values.clone());
            unused.push(v);
        }
        self.r.shuffle(&mut unused);
        unused.truncate(8);
        if unused.is_empty() {
            unused.extend(self.values.last());
        }
        self.graph.set_outputs(unused);
    }

    /// Adds the gradients of some outputs by some values.
    fn gradients(&mut self) {
        let is_float = |g: &Graph, v: &Value| g.ty(*v).dtype.is_float();
        let mut outputs = self.graph.outputs().to_vec();
        let mut seeds: Vec<Value> = outputs.iter().copied().filter(|v| is_float(&self.graph, v)).collect();
        seeds.dedup();
        self.r.shuffle(&mut seeds);
        seeds.truncate(2);
        if seeds.len() == 2 && seeds[0] == seeds[1] {
            seeds.pop();
        }
        let mut wrt: Vec<Value> = self.values.iter().copied().filter(|v| is_float(&self.graph, v)).collect();
        self.r.shuffle(&mut wrt);
        wrt.truncate(3);
        let mut pairs = Vec::new();
        for v in seeds {
            let ty = self.ty(v);
            pairs.push((v, self.of_type(&ty)));
        }
        let found = passes::autodiff::append_vjp(&mut self.graph, &pairs, &wrt);
        for gradient in found.values.into_iter().flatten() {
            let ty = self.ty(gradient);
            // A vjp may make values that are larger than anything here.
            if self.fits(&ty.shape) && outputs.len() < 10 {
                outputs.push(gradient);
            }
        }
        self.graph.set_outputs(outputs);
    }

    fn finish(mut self) -> Case {
        let types = self.graph.input_types();
        let wrong = self.r.percent(6);
        let mut arguments = Vec::new();
        for &batch in &self.batches {
            let mut all: Vec<Literal> = Vec::new();
            for (ty, feed) in types.iter().zip(&self.feeds) {
                let dims = case::extents(ty, batch);
                all.push(match feed {
                    Feed::Content(content) => case::literal(&mut self.r, ty.dtype, &dims, *content),
                    Feed::Index(limit) => {
                        let limit = extent(limit, batch) as usize;
                        case::indices(&mut self.r, ty.dtype, &dims, limit, wrong)
                    }
                });
            }
            arguments.push(all);
        }
        let mut donations: Vec<(usize, usize)> = Vec::new();
        for (o, out) in self.graph.output_types().iter().enumerate() {
            let free = |i: &usize| types[*i] == *out && donations.iter().all(|d| d.0 != *i);
            let candidates: Vec<usize> = (0..types.len()).filter(free).collect();
            if !candidates.is_empty() && self.r.percent(35) {
                donations.push((self.r.of(&candidates), o));
            }
        }
        let mut passes: Vec<String> = Vec::new();
        if self.r.percent(12) {
            let optional: Vec<_> = passes::pipeline().into_iter().filter(|p| !p.required()).collect();
            passes.extend(optional.iter().filter(|_| self.r.percent(40)).map(|p| format!("-{}", p.name())));
            passes.dedup();
        }
        let device = Device::Cpu;
        let (strict16, order, passes) = (self.r.percent(50), self.r.bits(), passes.join(","));
        let check = if self.r.percent(15) { 3 } else { 1 };
        Case { graph: self.graph, arguments, batches: self.batches, donations, strict16, passes, check, order, device }
    }
}
