//! Loads, stores and index checks.

use super::emit::{Emitter, Result, Val, Vecs, data};
use super::index::Stride;
use super::registers::{lane_type, lanes_of, register};
use super::routines::Routine;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8X16, I16X8, I32, I32X4, I64X2};
use cranelift_codegen::ir::{Block as ClifBlock, BlockArg, InstBuilder, Value};
use ir::kernel::{Index, IndexNode, Memory, Var};
use ir::{DType, Scalar};
use smallvec::{SmallVec, smallvec};

/// An element in memory: an address and bytes to add to it.
type Place = (Value, i32);

impl Emitter<'_, '_> {
    // ---- addresses ----

    /// The place of the element in one iteration of the block. A constant at the end of the expression becomes part
    /// of the offset, so that neighbours share the address.
    fn place(&mut self, memory: Memory, index: Index, lane: usize) -> Result<Place> {
        let size = self.memory_dtype(memory)?.size() as i64;
        let (rest, offset) = match self.kernel.indices.node(index) {
            IndexNode::Add(rest, c) => match self.kernel.indices.as_const(c) {
                Some(c) if (c.saturating_mul(size)).unsigned_abs() < 1 << 30 => (rest, c * size),
                _ => (index, 0),
            },
            _ => (index, 0),
        };
        let at = self.index_at(rest, lane)?;
        let bytes = if size == 1 { at } else { self.b.ins().ishl_imm_u(at, size.trailing_zeros() as i64) };
        let pointer = self.pointer(memory)?;
        Ok((self.b.ins().iadd(pointer, bytes), offset as i32))
    }

    /// The places of the sub-block's elements.
    fn places(&mut self, memory: Memory, index: Index) -> Result<SmallVec<[Place; 8]>> {
        let size = self.memory_dtype(memory)?.size() as i64;
        let width = self.width();
        let first = self.lanes.as_ref().map_or(0, |l| l.sub * width);
        match self.stride(index) {
            Stride::Elements(s) if s.saturating_mul(size).saturating_mul(32).unsigned_abs() < 1 << 30 => {
                let (base, offset) = self.place(memory, index, 0)?;
                Ok((first..first + width).map(|lane| (base, offset + (lane as i64 * s * size) as i32)).collect())
            }
            Stride::Times(step, s) => {
                let (mut base, offset) = self.place(memory, index, 0)?;
                let step = self.index(step)?;
                let scale = self.int(s.wrapping_mul(size));
                let step = self.b.ins().imul(step, scale);
                let mut places = SmallVec::new();
                if first > 0 {
                    let skip = self.int(first as i64);
                    let skip = self.b.ins().imul(step, skip);
                    base = self.b.ins().iadd(base, skip);
                }
                for lane in 0..width {
                    if lane > 0 {
                        base = self.b.ins().iadd(base, step);
                    }
                    places.push((base, offset));
                }
                Ok(places)
            }
            _ => (first..first + width).map(|lane| self.place(memory, index, lane)).collect(),
        }
    }

    // ---- elements ----

    /// Loads one element as a scalar of the lanes of its dtype, not yet a mask for bool.
    fn load_scalar(&mut self, dtype: DType, (base, offset): Place) -> Value {
        match dtype {
            DType::F16 | DType::BF16 | DType::U16 => self.b.ins().uload16(I32, data(), base, offset),
            DType::I16 => self.b.ins().sload16(I32, data(), base, offset),
            DType::U8 | DType::Bool => self.b.ins().uload8(I32, data(), base, offset),
            DType::I8 => self.b.ins().sload8(I32, data(), base, offset),
            _ => self.b.ins().load(lane_type(dtype), data(), base, offset),
        }
    }

    /// Stores a lane of a vector; bool as 0 or 1.
    fn store_lane(&mut self, dtype: DType, vec: Value, lane: usize, (base, offset): Place) {
        let x = self.b.ins().extractlane(vec, lane as u8);
        match dtype {
            DType::F16 | DType::BF16 | DType::U16 | DType::I16 => self.b.ins().istore16(data(), x, base, offset),
            DType::U8 | DType::I8 => self.b.ins().istore8(data(), x, base, offset),
            DType::Bool => {
                let x = self.b.ins().band_imm_s(x, 1);
                self.b.ins().istore8(data(), x, base, offset)
            }
            _ => self.b.ins().store(data(), x, base, offset),
        };
    }

    /// Bytes 0 and 1 as a mask.
    fn mask_of_bytes(&mut self, bytes: Value) -> Value {
        let zero = self.bits(I32X4, 0);
        self.b.ins().icmp(IntCC::NotEqual, bytes, zero)
    }

    /// The vectors of scalars as [`Emitter::load_scalar`] loads them.
    pub(super) fn gather(&mut self, dtype: DType, scalars: &[Value]) -> Vecs {
        let mut vecs = Vecs::new();
        for chunk in scalars.chunks(lanes_of(dtype)) {
            let mut vec = self.b.ins().scalar_to_vector(register(dtype), chunk[0]);
            for (lane, &x) in chunk.iter().enumerate().skip(1) {
                vec = self.b.ins().insertlane(vec, x, lane as u8);
            }
            vecs.push(if dtype == DType::Bool { self.mask_of_bytes(vec) } else { vec });
        }
        vecs
    }

    /// Loads one element into every lane.
    pub(super) fn load_splat(&mut self, dtype: DType, place: Place) -> (Value, Option<Value>) {
        let x = self.load_scalar(dtype, place);
        let vec = self.b.ins().splat(register(dtype), x);
        let vec = if dtype == DType::Bool { self.mask_of_bytes(vec) } else { vec };
        (vec, (dtype == DType::I64).then_some(x))
    }

    /// Loads neighbouring elements.
    pub(super) fn load_vectors(&mut self, dtype: DType, (base, offset): Place, count: usize) -> Vecs {
        let per = lanes_of(dtype);
        match dtype {
            DType::F16 | DType::BF16 | DType::U16 => {
                (0..count / per).map(|j| self.b.ins().uload16x4(data(), base, offset + 8 * j as i32)).collect()
            }
            DType::I16 => {
                (0..count / per).map(|j| self.b.ins().sload16x4(data(), base, offset + 8 * j as i32)).collect()
            }
            DType::I8 => {
                let mut vecs = Vecs::new();
                for j in (0..count).step_by(8) {
                    let at = offset + j as i32;
                    if count - j >= 8 {
                        let wide = self.b.ins().sload8x8(data(), base, at);
                        vecs.extend([self.b.ins().swiden_low(wide), self.b.ins().swiden_high(wide)]);
                    } else {
                        let four = self.b.ins().load(I32, data(), base, at);
                        let four = self.b.ins().scalar_to_vector(I32X4, four);
                        let four = self.cast(I8X16, four);
                        let wide = self.b.ins().swiden_low(four);
                        vecs.push(self.b.ins().swiden_low(wide));
                    }
                }
                vecs
            }
            DType::U8 | DType::Bool => {
                let mut vecs = Vecs::new();
                for j in (0..count).step_by(8) {
                    let at = offset + j as i32;
                    let halves: SmallVec<[Value; 2]> = if count - j >= 8 {
                        let wide = self.b.ins().uload8x8(data(), base, at);
                        smallvec![self.b.ins().uwiden_low(wide), self.b.ins().uwiden_high(wide)]
                    } else {
                        let four = self.b.ins().load(I32, data(), base, at);
                        let four = self.b.ins().scalar_to_vector(I32X4, four);
                        let four = self.cast(I8X16, four);
                        let wide = self.b.ins().uwiden_low(four);
                        smallvec![self.b.ins().uwiden_low(wide)]
                    };
                    for half in halves {
                        vecs.push(if dtype == DType::Bool { self.mask_of_bytes(half) } else { half });
                    }
                }
                vecs
            }
            _ => (0..count / per)
                .map(|j| self.b.ins().load(register(dtype), data(), base, offset + 16 * j as i32))
                .collect(),
        }
    }

    /// Stores neighbouring elements.
    pub(super) fn store_vectors(&mut self, dtype: DType, vecs: &[Value], (base, offset): Place) {
        match dtype {
            DType::F16 | DType::BF16 | DType::U16 | DType::I16 => {
                for (j, pair) in vecs.chunks(2).enumerate() {
                    let (low, high) = (pair[0], *pair.last().unwrap_or(&pair[0]));
                    let signed = dtype == DType::I16;
                    let narrow = if signed { self.b.ins().snarrow(low, high) } else { self.b.ins().unarrow(low, high) };
                    self.store_low(narrow, pair.len() == 2, I64X2, base, offset + 16 * j as i32);
                }
            }
            DType::U8 | DType::I8 | DType::Bool => {
                let ones = (dtype == DType::Bool).then(|| self.bits(I32X4, 1));
                let vecs: Vecs = vecs.iter().map(|&v| ones.map_or(v, |ones| self.b.ins().band(v, ones))).collect();
                for (j, pair) in vecs.chunks(2).enumerate() {
                    let narrow = self.b.ins().snarrow(pair[0], *pair.last().unwrap_or(&pair[0]));
                    let signed = dtype == DType::I8;
                    let bytes = if signed {
                        self.b.ins().snarrow(narrow, narrow)
                    } else {
                        self.b.ins().unarrow(narrow, narrow)
                    };
                    let ty = if pair.len() == 2 { I64X2 } else { I32X4 };
                    self.store_low(bytes, false, ty, base, offset + 8 * j as i32);
                }
            }
            _ => {
                for (j, &vec) in vecs.iter().enumerate() {
                    self.b.ins().store(data(), vec, base, offset + 16 * j as i32);
                }
            }
        }
    }

    /// Stores a whole vector, or its first lane as one of type `ty`.
    fn store_low(&mut self, vec: Value, whole: bool, ty: cranelift_codegen::ir::Type, base: Value, offset: i32) {
        debug_assert!(matches!(self.b.func.dfg.value_type(vec), I16X8 | I8X16));
        if whole {
            self.b.ins().store(data(), vec, base, offset);
        } else {
            let vec = self.cast(ty, vec);
            let low = self.b.ins().extractlane(vec, 0);
            self.b.ins().store(data(), low, base, offset);
        }
    }

    // ---- statements ----

    pub(super) fn load(
        &mut self,
        var: Var,
        memory: Memory,
        index: Index,
        mask: Option<(Var, Scalar)>,
        varying: bool,
    ) -> Result<()> {
        let dtype = self.memory_dtype(memory)?;
        if !varying {
            if let Some((mask, fallback)) = mask {
                let fallback = self.constant(fallback);
                let vecs = self.branch(mask, &[fallback], |e| {
                    let place = e.place(memory, index, 0)?;
                    Ok(smallvec![e.load_splat(dtype, place).0])
                })?;
                self.define(var, vecs, false);
            } else {
                let place = self.place(memory, index, 0)?;
                let (vec, scalar) = self.load_splat(dtype, place);
                self.define_val(var, Val::Uniform { vec, scalar });
            }
            return Ok(());
        }
        let vecs = match mask {
            None => self.load_live(dtype, memory, index, None)?,
            Some((mask, fallback)) if self.is_uniform(mask)? => {
                let fallback = self.constant(fallback);
                let fallback = vec![fallback; self.width() / lanes_of(dtype)];
                self.branch(mask, &fallback, |e| e.load_live(dtype, memory, index, None))?
            }
            Some((mask, fallback)) => {
                let mask = self.vecs(mask)?;
                self.load_live(dtype, memory, index, Some((&mask, fallback)))?
            }
        };
        self.define(var, vecs, true);
        Ok(())
    }

    /// Loads the elements of every iteration of the sub-block.
    fn load_all(&mut self, dtype: DType, memory: Memory, index: Index) -> Result<Vecs> {
        let width = self.width();
        match self.stride(index) {
            Stride::Elements(0) => {
                let place = self.place(memory, index, 0)?;
                let vec = self.load_splat(dtype, place).0;
                Ok(smallvec![vec; width / lanes_of(dtype)])
            }
            Stride::Elements(1) => {
                let place = self.places(memory, index)?[0];
                Ok(self.load_vectors(dtype, place, width))
            }
            _ => {
                let places = self.places(memory, index)?;
                let scalars: SmallVec<[Value; 8]> = places.iter().map(|&p| self.load_scalar(dtype, p)).collect();
                Ok(self.gather(dtype, &scalars))
            }
        }
    }

    /// Loads the elements of those iterations that there are, and where the mask is true.
    fn load_live(&mut self, dtype: DType, memory: Memory, index: Index, mask: Option<(&Vecs, Scalar)>) -> Result<Vecs> {
        let Some(every) = self.every(mask.map(|(m, _)| m)) else {
            return self.load_all(dtype, memory, index);
        };
        if mask.is_some() && self.stride(index) != Stride::Elements(1) {
            return self.load_some(dtype, memory, index, mask);
        }
        let types = smallvec![register(dtype); self.width() / lanes_of(dtype)];
        self.either(every, types, |e| e.load_all(dtype, memory, index), |e| e.load_some(dtype, memory, index, mask))
    }

    /// The same without branches: what is not to be loaded comes from nowhere.
    fn load_some(&mut self, dtype: DType, memory: Memory, index: Index, mask: Option<(&Vecs, Scalar)>) -> Result<Vecs> {
        let places = self.places(memory, index)?;
        let mut scalars: SmallVec<[Value; 8]> = SmallVec::new();
        for (lane, &place) in places.iter().enumerate() {
            let place = self.place_if(mask.map(|(m, _)| m), lane, place);
            scalars.push(self.load_scalar(dtype, place));
        }
        let loaded = self.gather(dtype, &scalars);
        let Some((mask, other)) = mask else { return Ok(loaded) };
        let other = self.constant(other);
        Ok(self.choose(dtype, mask, &loaded, &smallvec![other], loaded.len()))
    }

    /// The place, or nowhere if there is no such iteration or the mask is false there.
    fn place_if(&mut self, mask: Option<&Vecs>, lane: usize, (base, offset): Place) -> Place {
        let mut address = self.b.ins().iadd_imm_s(base, offset as i64);
        if let Some(mask) = mask {
            let on = self.b.ins().extractlane(mask[lane / 4], (lane % 4) as u8);
            let nowhere = self.nowhere();
            address = self.b.ins().select(on, address, nowhere);
        }
        // The first iteration of a block is always there.
        if let Some(live) = self.lanes.as_ref().and_then(|l| l.live).filter(|_| lane > 0) {
            let on = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, live.count, lane as i64);
            let nowhere = self.nowhere();
            address = self.b.ins().select(on, address, nowhere);
        }
        (address, 0)
    }

    pub(super) fn store(&mut self, memory: Memory, index: Index, value: Var, mask: Option<Var>) -> Result<()> {
        let dtype = self.memory_dtype(memory)?;
        if self.lanes.is_none() {
            let store = |e: &mut Self| {
                let vec = e.vecs(value)?[0];
                let place = e.place(memory, index, 0)?;
                e.store_lane(dtype, vec, 0, place);
                Ok(Vecs::new())
            };
            match mask {
                Some(mask) => self.branch(mask, &[], store)?,
                None => store(self)?,
            };
            return Ok(());
        }
        match mask {
            None => self.store_live(dtype, memory, index, value, None),
            Some(mask) if self.is_uniform(mask)? => {
                let store = |e: &mut Self| e.store_live(dtype, memory, index, value, None).map(|()| Vecs::new());
                self.branch(mask, &[], store).map(|_| ())
            }
            Some(mask) => {
                let mask = self.vecs(mask)?;
                self.store_live(dtype, memory, index, value, Some(&mask))
            }
        }
    }

    /// Stores the elements of those iterations that there are, and where the mask is true.
    fn store_live(
        &mut self,
        dtype: DType,
        memory: Memory,
        index: Index,
        value: Var,
        mask: Option<&Vecs>,
    ) -> Result<()> {
        let Some(every) = self.every(mask) else {
            return self.store_all(dtype, memory, index, value);
        };
        let some = |e: &mut Self| {
            let vecs = e.spread(dtype, value)?;
            for (lane, place) in e.places(memory, index)?.into_iter().enumerate() {
                let place = e.place_if(mask, lane, place);
                e.store_lane(dtype, vecs[lane / lanes_of(dtype)], lane % lanes_of(dtype), place);
            }
            Ok(Vecs::new())
        };
        if mask.is_some() && self.stride(index) != Stride::Elements(1) {
            some(self)?;
            return Ok(());
        }
        let all = |e: &mut Self| e.store_all(dtype, memory, index, value).map(|()| Vecs::new());
        self.either(every, smallvec![], all, some)?;
        Ok(())
    }

    /// The vectors of a value at the sub-block, also if it is uniform.
    fn spread(&mut self, dtype: DType, value: Var) -> Result<Vecs> {
        let vecs = self.vecs(value)?;
        let want = self.width() / lanes_of(dtype);
        Ok(if vecs.len() == want { vecs } else { smallvec![vecs[0]; want] })
    }

    fn store_all(&mut self, dtype: DType, memory: Memory, index: Index, value: Var) -> Result<()> {
        let vecs = self.spread(dtype, value)?;
        let places = self.places(memory, index)?;
        if self.stride(index) == Stride::Elements(1) {
            self.store_vectors(dtype, &vecs, places[0]);
        } else {
            for (lane, place) in places.into_iter().enumerate() {
                self.store_lane(dtype, vecs[lane / lanes_of(dtype)], lane % lanes_of(dtype), place);
            }
        }
        Ok(())
    }

    pub(super) fn check(&mut self, site: u32, index: Var, bound: Index, mask: Option<Var>) -> Result<()> {
        if site >= self.kernel.sites {
            return Err(self.malformed(format!("site {site} does not exist")));
        }
        let varies = self.index_varies(bound)
            || !self.is_uniform(index)?
            || mask.map(|m| self.is_uniform(m)).transpose()? == Some(false);
        let width = if varies { self.width() } else { 1 };
        let vecs = self.vecs(index)?;
        let bounds: Vecs = if self.index_varies(bound) {
            self.index_vectors(bound)?
        } else {
            let bound = self.index(bound)?;
            smallvec![self.b.ins().splat(I64X2, bound)]
        };
        let mask = match mask {
            Some(mask) => {
                let mask = self.vecs(mask)?;
                Some(self.widen_masks(&mask, width.div_ceil(2)))
            }
            None => None,
        };
        let live = match self.live_mask() {
            Some(live) if varies => Some(self.widen_masks(&live, width / 2)),
            _ => None,
        };
        let zero = self.bits(I64X2, 0);
        let mut bad = Vecs::new();
        for j in 0..width.div_ceil(2) {
            let (index, bound) = (vecs[j.min(vecs.len() - 1)], bounds[j.min(bounds.len() - 1)]);
            let below = self.b.ins().icmp(IntCC::SignedLessThan, index, zero);
            let above = self.b.ins().icmp(IntCC::SignedGreaterThanOrEqual, index, bound);
            let mut out = self.b.ins().bor(below, above);
            if let Some(mask) = &mask {
                out = self.b.ins().band(out, mask[j.min(mask.len() - 1)]);
            }
            if let Some(live) = &live {
                out = self.b.ins().band(out, live[j]);
            }
            bad.push(out);
        }
        let mut any = bad[0];
        for &more in &bad[1..] {
            any = self.b.ins().bor(any, more);
        }
        let any = self.b.ins().vany_true(any);
        let (record, after) = (self.b.create_block(), self.b.create_block());
        self.b.set_cold_block(record);
        self.b.ins().brif(any, record, &[], after, &[]);
        self.b.switch_to_block(record);
        let (slot, task) = self.site(site)?;
        for lane in 0..width {
            let (j, at) = (lane / 2, (lane % 2) as u8);
            let offence = self.b.ins().extractlane(bad[j], at);
            let index = self.b.ins().extractlane(vecs[j.min(vecs.len() - 1)], at);
            let bound = self.b.ins().extractlane(bounds[j.min(bounds.len() - 1)], at);
            self.routine(Routine::Record, &[slot, task, index, bound, offence], None)?;
        }
        self.b.ins().jump(after, &[]);
        self.b.switch_to_block(after);
        Ok(())
    }

    // ---- branches ----

    /// Whether every iteration of the sub-block is there and the mask is true in all; `None` if that is certain.
    fn every(&mut self, mask: Option<&Vecs>) -> Option<Value> {
        let whole = self.lanes.as_ref().and_then(|l| l.live).map(|l| l.whole);
        let mask = mask.map(|mask| {
            let mut all = mask[0];
            for &more in &mask[1..] {
                all = self.b.ins().band(all, more);
            }
            self.b.ins().vall_true(all)
        });
        match (whole, mask) {
            (Some(whole), Some(mask)) => Some(self.b.ins().band(whole, mask)),
            (one, other) => one.or(other),
        }
    }

    /// What `then` yields where a uniform mask is true, else `otherwise`.
    fn branch(&mut self, mask: Var, otherwise: &[Value], then: impl FnOnce(&mut Self) -> Result<Vecs>) -> Result<Vecs> {
        let mask = self.vecs(mask)?[0];
        let on = self.condition(mask);
        let (enter, after) = (self.b.create_block(), self.b.create_block());
        let results = self.results(after, otherwise.iter().map(|&v| self.b.func.dfg.value_type(v)).collect());
        let args: SmallVec<[BlockArg; 8]> = otherwise.iter().map(|&v| v.into()).collect();
        self.b.ins().brif(on, enter, &[], after, &args);
        self.b.switch_to_block(enter);
        self.arm(after, then)?;
        self.b.switch_to_block(after);
        Ok(results)
    }

    /// What `then` yields if the condition holds, else what `otherwise` yields; vectors of those types.
    fn either(
        &mut self,
        condition: Value,
        types: SmallVec<[cranelift_codegen::ir::Type; 4]>,
        then: impl FnOnce(&mut Self) -> Result<Vecs>,
        otherwise: impl FnOnce(&mut Self) -> Result<Vecs>,
    ) -> Result<Vecs> {
        let (fast, slow, after) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
        let results = self.results(after, types);
        self.b.ins().brif(condition, fast, &[], slow, &[]);
        self.b.switch_to_block(fast);
        self.arm(after, then)?;
        self.b.switch_to_block(slow);
        self.arm(after, otherwise)?;
        self.b.switch_to_block(after);
        Ok(results)
    }

    fn results(&mut self, block: ClifBlock, types: SmallVec<[cranelift_codegen::ir::Type; 4]>) -> Vecs {
        types.into_iter().map(|ty| self.b.append_block_param(block, ty)).collect()
    }

    fn arm(&mut self, after: ClifBlock, emit: impl FnOnce(&mut Self) -> Result<Vecs>) -> Result<()> {
        let scope = self.scope();
        let vecs = emit(self)?;
        self.leave(scope);
        let args: SmallVec<[BlockArg; 8]> = vecs.iter().map(|&v| v.into()).collect();
        self.b.ins().jump(after, &args);
        Ok(())
    }

    /// Masks for 64-bit lanes of masks for 32-bit ones; as many as wanted.
    pub(super) fn widen_masks(&mut self, masks: &[Value], want: usize) -> Vecs {
        let mut wide = Vecs::new();
        for &mask in masks {
            wide.push(self.b.ins().swiden_low(mask));
            if wide.len() < want {
                wide.push(self.b.ins().swiden_high(mask));
            }
        }
        wide
    }
}
