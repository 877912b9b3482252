//! Accumulators.

use super::emit::{Emitter, Result, Val, Vecs};
use super::registers::{lanes_of, register};
use cranelift_codegen::ir::{InstBuilder, Value};
use ir::kernel::{Accumulator, BinaryOp, Combine, CompareOp, Loop};
use ir::{DType, Scalar};
use smallvec::{SmallVec, smallvec};

/// What an accumulator starts from, for each of its inputs.
pub(super) fn identity(combine: Combine, inputs: &[DType]) -> SmallVec<[Scalar; 2]> {
    let dtype = inputs[0];
    match combine {
        Combine::Sum => smallvec![Scalar::zero(dtype)],
        Combine::Product => smallvec![Scalar::one(dtype)],
        Combine::Max => smallvec![Scalar::lowest(dtype)],
        Combine::Min => smallvec![Scalar::highest(dtype)],
        Combine::Any => smallvec![Scalar::Bool(false)],
        Combine::All => smallvec![Scalar::Bool(true)],
        Combine::ArgMax => smallvec![Scalar::lowest(dtype), Scalar::I64(i64::MAX)],
        Combine::ArgMin => smallvec![Scalar::highest(dtype), Scalar::I64(i64::MAX)],
    }
}

impl Emitter<'_, '_> {
    /// The dtypes of an accumulator's inputs; an error if they do not suit it.
    pub(super) fn accumulated(&self, a: &Accumulator) -> Result<SmallVec<[DType; 2]>> {
        let dtypes: SmallVec<[DType; 2]> = a.inputs.iter().map(|&v| self.dtype(v)).collect();
        let arity = if matches!(a.combine, Combine::ArgMax | Combine::ArgMin) { 2 } else { 1 };
        if dtypes.len() != arity || a.results.len() != arity {
            return Err(self.malformed(format!("{:?} of {} inputs", a.combine, dtypes.len())));
        }
        let boolean = matches!(a.combine, Combine::Any | Combine::All);
        if boolean && dtypes[0] != DType::Bool || arity == 2 && dtypes[1] != DType::I64 {
            return self.unsupported(&format!("{:?}", a.combine), dtypes[arity - 1]);
        }
        if arity == 2 && dtypes[0].is_half() {
            return self.unsupported(&format!("{:?}", a.combine), dtypes[0]);
        }
        Ok(dtypes)
    }

    /// Takes `x` into `into`: the vectors of each input, both of the same shape.
    pub(super) fn combine(&mut self, c: Combine, dtypes: &[DType], into: &[Vecs], x: &[Vecs]) -> Result<Vec<Vecs>> {
        let op = match c {
            Combine::Sum => BinaryOp::Add,
            Combine::Product => BinaryOp::Mul,
            Combine::Max => BinaryOp::Max,
            Combine::Min => BinaryOp::Min,
            Combine::Any => BinaryOp::Or,
            Combine::All => BinaryOp::And,
            Combine::ArgMax => return self.combine_position(CompareOp::Gt, dtypes, into, x),
            Combine::ArgMin => return self.combine_position(CompareOp::Lt, dtypes, into, x),
        };
        let pick = |v: &Vecs, j: usize| v[j.min(v.len() - 1)];
        let vecs = (0..into[0].len())
            .map(|j| self.binary_vector(op, dtypes[0], pick(&into[0], j), pick(&x[0], j), [None; 2], false))
            .collect::<Result<Vecs>>()?;
        Ok(vec![vecs])
    }

    fn combine_position(
        &mut self,
        better: CompareOp,
        dtypes: &[DType],
        into: &[Vecs],
        x: &[Vecs],
    ) -> Result<Vec<Vecs>> {
        let dtype = dtypes[0];
        // NaN is best of all; among equals the smaller position is better.
        let beats = self.compare_vectors(better, dtype, &x[0], &into[0])?;
        let mut equal = self.compare_vectors(CompareOp::Eq, dtype, &x[0], &into[0])?;
        let mut take = beats;
        if dtype.is_float() {
            let new = self.compare_vectors(CompareOp::Ne, dtype, &x[0], &x[0])?;
            let old = self.compare_vectors(CompareOp::Ne, dtype, &into[0], &into[0])?;
            let pick = |v: &Vecs, j: usize| v[j.min(v.len() - 1)];
            for j in 0..take.len() {
                let (new, old) = (pick(&new, j), pick(&old, j));
                let only_new = self.b.ins().band_not(new, old);
                take[j] = self.b.ins().bor(take[j], only_new);
                let both = self.b.ins().band(new, old);
                equal[j] = self.b.ins().bor(equal[j], both);
            }
        }
        let earlier = self.compare_vectors(CompareOp::Lt, DType::I64, &x[1], &into[1])?;
        for j in 0..take.len() {
            let tie = self.b.ins().band(equal[j], earlier[j.min(earlier.len() - 1)]);
            take[j] = self.b.ins().bor(take[j], tie);
        }
        let value = self.choose(dtype, &take, &x[0], &into[0], into[0].len());
        let position = self.choose(DType::I64, &take, &x[1], &into[1], into[1].len());
        Ok(vec![value, position])
    }

    // ---- accumulators of serial loops ----

    /// True if an accumulator has a value for each iteration of the lanes loop at hand.
    fn varies_per_lane(&self, a: &Accumulator) -> bool {
        self.lanes.as_ref().is_some_and(|l| a.inputs.iter().any(|&v| l.varying(v)))
    }

    /// Sub-blocks of an accumulator, and vectors of each input in one.
    fn shape(&self, a: &Accumulator, dtype: DType) -> (usize, usize) {
        match &self.lanes {
            Some(l) if self.varies_per_lane(a) => (l.subs, l.width / lanes_of(dtype)),
            _ => (1, 1),
        }
    }

    /// The vectors that the accumulators of a serial loop start from: by accumulator, sub-block, input.
    pub(super) fn identities(&mut self, l: &Loop) -> Result<SmallVec<[Value; 16]>> {
        let mut out = SmallVec::new();
        for a in &l.accumulators {
            let dtypes = self.accumulated(a)?;
            let values: Vec<Value> = identity(a.combine, &dtypes).into_iter().map(|s| self.constant(s)).collect();
            for _ in 0..self.shape(a, dtypes[0]).0 {
                for (&value, &dtype) in values.iter().zip(&dtypes) {
                    out.extend(std::iter::repeat_n(value, self.shape(a, dtype).1));
                }
            }
        }
        Ok(out)
    }

    /// Takes the inputs of one iteration into the accumulators of a serial loop.
    pub(super) fn combine_all(&mut self, l: &Loop, carried: &[Value]) -> Result<SmallVec<[Value; 16]>> {
        let mut out = SmallVec::new();
        let mut rest = carried;
        for a in &l.accumulators {
            let dtypes = self.accumulated(a)?;
            for sub in 0..self.shape(a, dtypes[0]).0 {
                if let Some(lanes) = &mut self.lanes {
                    lanes.sub = sub;
                }
                let into = self.take_shape(a, &dtypes, &mut rest);
                let x = a.inputs.iter().map(|&v| self.vecs(v)).collect::<Result<Vec<Vecs>>>()?;
                out.extend(self.combine(a.combine, &dtypes, &into, &x)?.into_iter().flatten());
            }
            if let Some(lanes) = &mut self.lanes {
                lanes.sub = 0;
            }
        }
        Ok(out)
    }

    fn take_shape(&self, a: &Accumulator, dtypes: &[DType], rest: &mut &[Value]) -> Vec<Vecs> {
        dtypes
            .iter()
            .map(|&dtype| {
                let (vecs, after) = rest.split_at(self.shape(a, dtype).1);
                *rest = after;
                Vecs::from(vecs)
            })
            .collect()
    }

    /// Defines the results of a serial loop from its final accumulators.
    pub(super) fn define_results(&mut self, l: &Loop, ends: &[Value]) -> Result<()> {
        let mut rest = ends;
        for a in &l.accumulators {
            let dtypes = self.accumulated(a)?;
            let mut subs: SmallVec<[SmallVec<[Vecs; 4]>; 2]> = smallvec![SmallVec::new(); dtypes.len()];
            for _ in 0..self.shape(a, dtypes[0]).0 {
                for (k, vecs) in self.take_shape(a, &dtypes, &mut rest).into_iter().enumerate() {
                    subs[k].push(vecs);
                }
            }
            for (&result, subs) in a.results.iter().zip(subs) {
                let val = if self.varies_per_lane(a) {
                    Val::Varying(subs)
                } else {
                    Val::Uniform { vec: subs[0][0], scalar: None }
                };
                self.define_val(result, val);
            }
        }
        Ok(())
    }

    // ---- accumulators of lanes loops ----

    /// Folds virtual lanes, given as the vectors of each input, and yields the outcome in every lane.
    pub(super) fn fold(&mut self, c: Combine, dtypes: &[DType], mut state: Vec<Vecs>) -> Result<Vec<Value>> {
        let lanes = |state: &[Vecs]| state[0].len() * lanes_of(dtypes[0]);
        while lanes(&state) > 4 {
            let halves = |v: &Vecs| (Vecs::from(&v[..v.len() / 2]), Vecs::from(&v[v.len() / 2..]));
            let (low, high): (Vec<Vecs>, Vec<Vecs>) = state.iter().map(halves).unzip();
            state = self.combine(c, dtypes, &low, &high)?;
        }
        // Lanes 2 and 3 into 0 and 1, then 1 into 0.
        let (mut low, mut high) = (Vec::new(), Vec::new());
        for (vecs, &dtype) in state.iter().zip(dtypes) {
            low.push(Vecs::from(&vecs[..1]));
            high.push(match vecs.get(1) {
                Some(&second) => smallvec![second],
                None => smallvec![self.shuffle32(register(dtype), vecs[0], vecs[0], [2, 3, 2, 3])],
            });
        }
        let state = self.combine(c, dtypes, &low, &high)?;
        let high = state.iter().zip(dtypes).map(|(vecs, &dtype)| {
            let order = if lanes_of(dtype) == 2 { [2, 3, 2, 3] } else { [1, 1, 1, 1] };
            smallvec![self.shuffle32(register(dtype), vecs[0], vecs[0], order)]
        });
        let high: Vec<Vecs> = high.collect();
        let state = self.combine(c, dtypes, &state, &high)?;
        let splat = state.iter().zip(dtypes).map(|(vecs, &dtype)| {
            let order = if lanes_of(dtype) == 2 { [0, 1, 0, 1] } else { [0, 0, 0, 0] };
            self.shuffle32(register(dtype), vecs[0], vecs[0], order)
        });
        Ok(splat.collect())
    }
}
