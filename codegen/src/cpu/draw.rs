//! Random numbers.
//!
//! Four consecutive words of a stream that start a block are that block, computed once in scalar registers. Other lanes
//! compute the block of each and select its word.

use super::emit::{Emitter, Result, Vecs};
use super::routines::Routine;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F64, F64X2, I8, I32, I32X4, I64, I64X2};
use cranelift_codegen::ir::{ConstantData, InstBuilder, Value};
use ir::kernel::{Draw, Var};
use smallvec::SmallVec;

const ROUNDS: usize = 10;
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const KEY_STEPS: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// The vector of a value that has lane `lane`, of so many in a vector, and that lane's number in it.
fn of_lane(vecs: &Vecs, lane: usize, lanes: usize) -> (Value, u8) {
    if vecs.len() == 1 { (vecs[0], (lane % lanes) as u8) } else { (vecs[lane / lanes], (lane % lanes) as u8) }
}

impl Emitter<'_, '_> {
    pub(super) fn draw(&mut self, draw: Draw, key: [Var; 2], index: Var, parameter: Option<Var>) -> Result<Vecs> {
        let same_key = self.is_uniform(key[0])? && self.is_uniform(key[1])?;
        let same_index = self.is_uniform(index)?;
        let keys = [self.vecs(key[0])?, self.vecs(key[1])?];
        let indices = self.vecs(index)?;
        let routine = match draw {
            Draw::Bits { stream } => {
                let groups = if same_key && same_index { 1 } else { self.width() / 4 };
                let words = (0..groups).map(|j| {
                    let key = [0, 1].map(|k| keys[k][j.min(keys[k].len() - 1)]);
                    let pair = [2 * j, 2 * j + 1].map(|i| indices[i.min(indices.len() - 1)]);
                    match (same_key, same_index) {
                        (true, true) => self.one_word(stream, key, pair[0]),
                        (true, false) => self.words(stream, key, pair),
                        (false, _) => self.any_words(stream, key, pair),
                    }
                });
                return Ok(words.collect());
            }
            Draw::LogGamma => Routine::LogGamma,
            Draw::Poisson => Routine::Poisson,
        };
        let Some(parameter) = parameter else { return Err(self.malformed("a draw lacks its parameter")) };
        let same = same_key && same_index && self.is_uniform(parameter)?;
        let parameters = self.vecs(parameter)?;
        let vectors = if same { 1 } else { self.width() / 2 };
        let mut out = Vecs::new();
        for j in 0..vectors {
            let mut lanes: SmallVec<[Value; 2]> = SmallVec::new();
            for lane in 2 * j..2 * j + if same { 1 } else { 2 } {
                let sources = [(&keys[0], 4), (&keys[1], 4), (&indices, 2), (&parameters, 2)];
                let arguments = sources.map(|(vecs, lanes)| {
                    let (vec, at) = of_lane(vecs, lane, lanes);
                    self.b.ins().extractlane(vec, at)
                });
                let number = self.routine(routine, &arguments, Some(F64))?;
                lanes.push(number.ok_or_else(|| self.malformed("a routine without a result"))?);
            }
            let vec = self.b.ins().splat(F64X2, lanes[0]);
            out.push(match lanes.get(1) {
                Some(&second) => self.b.ins().insertlane(vec, second, 1),
                None => vec,
            });
        }
        Ok(out)
    }

    /// One word, in every lane.
    fn one_word(&mut self, stream: u32, key: [Value; 2], index: Value) -> Value {
        let index = self.b.ins().extractlane(index, 0);
        let block = self.block(stream, key, index);
        let which = self.b.ins().band_imm_u(index, 3);
        let mut word = block[3];
        for (i, &other) in block[..3].iter().enumerate() {
            let is = self.b.ins().icmp_imm_u(IntCC::Equal, which, i as i64);
            word = self.b.ins().select(is, other, word);
        }
        self.b.ins().splat(I32X4, word)
    }

    /// Words at four indices under one key: of one block, where that is what they are.
    fn words(&mut self, stream: u32, key: [Value; 2], pair: [Value; 2]) -> Value {
        let first = self.b.ins().extractlane(pair[0], 0);
        let all = self.b.ins().splat(I64X2, first);
        let mut differences = [0u64, 2].into_iter().zip(pair).map(|(start, indices)| {
            let bytes: Vec<u8> = [start, start + 1].iter().flat_map(|n| n.to_le_bytes()).collect();
            let constant = self.b.func.dfg.constants.insert(ConstantData::from(bytes));
            let steps = self.b.ins().vconst(I64X2, constant);
            let expected = self.b.ins().iadd(all, steps);
            self.b.ins().bxor(indices, expected)
        });
        let (low, high) = (differences.next(), differences.next());
        drop(differences);
        let (Some(low), Some(high)) = (low, high) else { return all };
        let difference = self.b.ins().bor(low, high);
        let scattered = self.b.ins().vany_true(difference);
        let within = self.b.ins().band_imm_u(first, 3);
        let within = self.b.ins().ireduce(I8, within);
        let other = self.b.ins().bor(scattered, within);
        let (one, any, done) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
        let out = self.b.append_block_param(done, I32X4);
        self.b.set_cold_block(any);
        self.b.ins().brif(other, any, &[], one, &[]);

        self.b.switch_to_block(one);
        let block = self.block(stream, key, first);
        let mut words = self.b.ins().scalar_to_vector(I32X4, block[0]);
        for (lane, &word) in block.iter().enumerate().skip(1) {
            words = self.b.ins().insertlane(words, word, lane as u8);
        }
        self.b.ins().jump(done, &[words.into()]);

        self.b.switch_to_block(any);
        let words = self.any_words(stream, key, pair);
        self.b.ins().jump(done, &[words.into()]);

        self.b.switch_to_block(done);
        out
    }

    /// The four words (I32) of the block that has the index, under the key in the first lane.
    fn block(&mut self, stream: u32, key: [Value; 2], index: Value) -> [Value; 4] {
        let first_key = key.map(|k| self.b.ins().extractlane(k, 0));
        let number = self.b.ins().ushr_imm_u(index, 2);
        let low = self.b.ins().ireduce(I32, number);
        let high = self.b.ins().ushr_imm_u(number, 32);
        let high = self.b.ins().ireduce(I32, high);
        let zero = self.b.ins().iconst(I32, 0);
        let stream = self.b.ins().iconst(I32, stream as i64);
        let mut c = [low, high, zero, stream];
        for round in 0..ROUNDS {
            // From the first key each time, which is one addition that waits for nothing.
            let key = [0, 1].map(|i| {
                let steps = KEY_STEPS[i].wrapping_mul(round as u32);
                let steps = self.b.ins().iconst(I32, steps as i64);
                self.b.ins().iadd(first_key[i], steps)
            });
            let [(low0, high0), (low1, high1)] = [0, 1].map(|i| {
                let wide = self.b.ins().uextend(I64, c[2 * i]);
                let by = self.b.ins().iconst(I64, MULTIPLIERS[i] as i64);
                let product = self.b.ins().imul(wide, by);
                let high = self.b.ins().ushr_imm_u(product, 32);
                (self.b.ins().ireduce(I32, product), self.b.ins().ireduce(I32, high))
            });
            let first = self.b.ins().bxor(high1, c[1]);
            let third = self.b.ins().bxor(high0, c[3]);
            c = [self.b.ins().bxor(first, key[0]), low1, self.b.ins().bxor(third, key[1]), low0];
        }
        c
    }

    /// Words at any four indices, each under its own key.
    fn any_words(&mut self, stream: u32, first_key: [Value; 2], pair: [Value; 2]) -> Value {
        let numbers = pair.map(|indices| self.b.ins().ushr_imm_u(indices, 2));
        let low = self.shuffle32(I32X4, numbers[0], numbers[1], [0, 2, 4, 6]);
        let high = self.shuffle32(I32X4, numbers[0], numbers[1], [1, 3, 5, 7]);
        let mut c = [low, high, self.bits(I32X4, 0), self.bits(I32X4, stream.into())];
        for round in 0..ROUNDS {
            let key = [0, 1].map(|i| {
                let steps = self.bits(I32X4, KEY_STEPS[i].wrapping_mul(round as u32).into());
                self.b.ins().iadd(first_key[i], steps)
            });
            let [(low0, high0), (low1, high1)] = [0, 1].map(|i| {
                let by = self.bits(I32X4, MULTIPLIERS[i].into());
                let halves = [self.b.ins().uwiden_low(c[2 * i]), self.b.ins().uwiden_high(c[2 * i])];
                let factors = [self.b.ins().uwiden_low(by), self.b.ins().uwiden_high(by)];
                let products = [0, 1].map(|h| self.b.ins().imul(halves[h], factors[h]));
                let low = self.shuffle32(I32X4, products[0], products[1], [0, 2, 4, 6]);
                (low, self.shuffle32(I32X4, products[0], products[1], [1, 3, 5, 7]))
            });
            let first = self.b.ins().bxor(high1, c[1]);
            let third = self.b.ins().bxor(high0, c[3]);
            c = [self.b.ins().bxor(first, key[0]), low1, self.b.ins().bxor(third, key[1]), low0];
        }
        let places = self.shuffle32(I32X4, pair[0], pair[1], [0, 2, 4, 6]);
        let [odd, upper] = [1, 2].map(|bit| {
            let bit = self.bits(I32X4, bit);
            let set = self.b.ins().band(places, bit);
            self.b.ins().icmp(IntCC::Equal, set, bit)
        });
        let lower_half = self.b.ins().bitselect(odd, c[1], c[0]);
        let upper_half = self.b.ins().bitselect(odd, c[3], c[2]);
        self.b.ins().bitselect(upper, upper_half, lower_half)
    }
}
