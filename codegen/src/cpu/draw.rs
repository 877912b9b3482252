//! Random numbers.
//!
//! Sixteen consecutive words of a stream that start a block are four blocks, computed in the lanes of vectors. Other lanes
//! compute the block of each and select its word.

use super::emit::{Emitter, Result, Vecs, data, visit};
use super::index::Stride;
use super::registers::is_wide;
use super::routines::Routine;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F64, F64X2, I32, I32X4, I64, I64X2};
use cranelift_codegen::ir::{BlockArg, ConstantData, InstBuilder, Value};
use ir::Scalar;
use ir::kernel::{BinaryOp, Draw, Expr, Index, Kernel, Stmt, Var};
use smallvec::{SmallVec, smallvec};

const ROUNDS: usize = 10;
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const KEY_STEPS: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Whether a kernel draws random bits.
pub(super) fn draws_bits(kernel: &Kernel) -> bool {
    let mut found = false;
    let mut look = |s: &Stmt| found |= matches!(s, Stmt::Let { expr: Expr::Draw { draw: Draw::Bits { .. }, .. }, .. });
    kernel.nests.iter().for_each(|n| visit(&n.body, &mut look));
    found
}

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
                if same_key && same_index {
                    return Ok(smallvec![self.one_word(stream, [keys[0][0], keys[1][0]], indices[0])?]);
                }
                if same_key
                    && self.width().is_multiple_of(16)
                    && let Some(first) = self.run(index)
                {
                    return self.consecutive_words(stream, [keys[0][0], keys[1][0]], first);
                }
                let words = (0..self.width() / 4).map(|j| {
                    let key = [0, 1].map(|k| keys[k][j.min(keys[k].len() - 1)]);
                    let pair = [2 * j, 2 * j + 1].map(|i| indices[i.min(indices.len() - 1)]);
                    self.any_words(stream, key, pair)
                });
                return words.collect();
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
    fn one_word(&mut self, stream: u32, key: [Value; 2], index: Value) -> Result<Value> {
        let index = self.b.ins().extractlane(index, 0);
        let block = self.block(stream, key, index)?;
        let which = self.b.ins().band_imm_u(index, 3);
        let mut word = block[3];
        for (i, &other) in block[..3].iter().enumerate() {
            let is = self.b.ins().icmp_imm_u(IntCC::Equal, which, i as i64);
            word = self.b.ins().select(is, other, word);
        }
        Ok(self.b.ins().splat(I32X4, word))
    }

    /// The words at consecutive indices under one key, as many as the sub-block has lanes.
    fn consecutive_words(&mut self, stream: u32, key: [Value; 2], first: Value) -> Result<Vecs> {
        let vectors = self.width() / 4;
        let within = self.b.ins().band_imm_u(first, 3);
        let (whole, cut, done) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
        let out: Vecs = (0..vectors).map(|_| self.b.append_block_param(done, I32X4)).collect();
        self.b.set_cold_block(cut);
        self.b.ins().brif(within, cut, &[], whole, &[]);

        self.b.switch_to_block(whole);
        let mut words = Vecs::new();
        for start in (0..vectors).step_by(4) {
            let at = self.b.ins().iadd_imm_s(first, 4 * start as i64);
            words.extend(self.four_blocks(stream, key, at)?);
        }
        let words: SmallVec<[BlockArg; 4]> = words.into_iter().map(BlockArg::from).collect();
        self.b.ins().jump(done, &words);

        // Rows that do not start with a block: one vector after the other.
        self.b.switch_to_block(cut);
        let slot = self.slot(16 * vectors);
        let (zero, end) = (self.int(0), self.int(vectors as i64));
        self.counted(zero, end, 1, &[], true, |e, group, _| {
            let four = e.b.ins().ishl_imm_u(group, 2);
            let start = e.b.ins().iadd(first, four);
            let pair = e.four_from(start);
            let words = e.any_words(stream, key, pair)?;
            let at = e.b.ins().stack_addr(I64, slot, 0);
            let offset = e.b.ins().ishl_imm_u(group, 4);
            let at = e.b.ins().iadd(at, offset);
            e.b.ins().store(data(), words, at, 0);
            Ok(smallvec![])
        })?;
        let words: SmallVec<[BlockArg; 4]> =
            (0..vectors).map(|j| self.b.ins().stack_load(I64, I32X4, slot, 16 * j as i32).into()).collect();
        self.b.ins().jump(done, &words);

        self.b.switch_to_block(done);
        Ok(out)
    }

    /// Four consecutive integers in two vectors.
    fn four_from(&mut self, first: Value) -> [Value; 2] {
        let first = self.b.ins().splat(I64X2, first);
        [0u64, 2].map(|step| {
            let bytes: Vec<u8> = [step, step + 1].iter().flat_map(|n| n.to_le_bytes()).collect();
            let constant = self.b.func.dfg.constants.insert(ConstantData::from(bytes));
            let steps = self.b.ins().vconst(I64X2, constant);
            self.b.ins().iadd(first, steps)
        })
    }

    /// The sixteen words from the start of a block on.
    fn four_blocks(&mut self, stream: u32, key: [Value; 2], first: Value) -> Result<[Value; 4]> {
        let number = self.b.ins().ushr_imm_u(first, 2);
        let pair = self.four_from(number);
        let [a, b, c, d] = self.blocks(stream, key, pair, 2)?;
        // From a word of each block to each block's words.
        let [ab, cd] = [(a, b), (c, d)].map(|(x, y)| {
            let low = self.shuffle32(I32X4, x, y, [0, 4, 1, 5]);
            (low, self.shuffle32(I32X4, x, y, [2, 6, 3, 7]))
        });
        let join = |e: &mut Self, x: Value, y: Value| {
            (e.shuffle32(I32X4, x, y, [0, 1, 4, 5]), e.shuffle32(I32X4, x, y, [2, 3, 6, 7]))
        };
        let ((first, second), (third, fourth)) = (join(self, ab.0, cd.0), join(self, ab.1, cd.1));
        Ok([first, second, third, fourth])
    }

    /// The first lane of a value whose lanes are consecutive.
    fn run(&self, index: Var) -> Option<Value> {
        let (sub, first) = self.runs.get(index.at()).copied().flatten()?;
        (self.lanes.as_ref()?.sub == sub).then_some(first)
    }

    /// Notes an index that goes up by one from lane to lane.
    pub(super) fn note_run(&mut self, var: Var, index: Index) -> Result<()> {
        if let Some(lanes) = &self.lanes
            && !self.runs.is_empty()
            && self.stride(index) == Stride::Elements(1)
        {
            let sub = lanes.sub;
            let first = self.index_at(index, sub * self.width())?;
            self.runs[var.at()] = Some((sub, first));
        }
        Ok(())
    }

    /// What becomes of consecutive lanes in an operation that keeps them so.
    pub(super) fn pass_run_on(&mut self, var: Var, expr: &Expr) {
        if self.runs.is_empty() {
            return;
        }
        self.runs[var.at()] = match *expr {
            Expr::Convert(a, to) if to.is_int() && self.dtype(a).is_int() && is_wide(to) && is_wide(self.dtype(a)) => {
                self.runs[a.at()]
            }
            // The highest bit, which no index has.
            Expr::Binary(BinaryOp::Or, a, b) if self.known(b) == Some(Scalar::U64(1 << 63)) => {
                let run = self.runs[a.at()];
                run.map(|(sub, first)| {
                    let bit = self.int(i64::MIN);
                    (sub, self.b.ins().bor(first, bit))
                })
            }
            _ => None,
        };
    }

    /// The four words (I32) of the block that has the index, under the key in the first lane.
    fn block(&mut self, stream: u32, key: [Value; 2], index: Value) -> Result<[Value; 4]> {
        let [k0, k1] = key.map(|k| self.b.ins().extractlane(k, 0));
        let number = self.b.ins().ushr_imm_u(index, 2);
        let low = self.b.ins().ireduce(I32, number);
        let high = self.b.ins().ushr_imm_u(number, 32);
        let high = self.b.ins().ireduce(I32, high);
        let zero = self.b.ins().iconst(I32, 0);
        let stream = self.b.ins().iconst(I32, stream as i64);
        let start = [low, high, zero, stream, k0, k1];
        let (first, rounds) = (self.int(0), self.int(ROUNDS as i64));
        let (_, end) = self.counted(first, rounds, 1, &start, true, |e, _, c| {
            let [(low0, high0), (low1, high1)] = [0, 1].map(|i| {
                let wide = e.b.ins().uextend(I64, c[2 * i]);
                let by = e.b.ins().iconst(I64, MULTIPLIERS[i] as i64);
                let product = e.b.ins().imul(wide, by);
                let high = e.b.ins().ushr_imm_u(product, 32);
                (e.b.ins().ireduce(I32, product), e.b.ins().ireduce(I32, high))
            });
            let [first, third] = [(high1, 1, 4), (high0, 3, 5)].map(|(high, word, key)| {
                let mixed = e.b.ins().bxor(high, c[word]);
                e.b.ins().bxor(mixed, c[key])
            });
            let [k0, k1] = [0, 1].map(|i| {
                let step = e.b.ins().iconst(I32, KEY_STEPS[i] as i64);
                e.b.ins().iadd(c[4 + i], step)
            });
            Ok(smallvec![first, low1, third, low0, k0, k1])
        })?;
        Ok([end[0], end[1], end[2], end[3]])
    }

    /// For each word, a vector with that of four blocks, each under its own key; so many rounds at once, in a loop over the
    /// others: unrolled all the way it takes long to compile.
    fn blocks(&mut self, stream: u32, key: [Value; 2], numbers: [Value; 2], unrolled: usize) -> Result<[Value; 4]> {
        let low = self.shuffle32(I32X4, numbers[0], numbers[1], [0, 2, 4, 6]);
        let high = self.shuffle32(I32X4, numbers[0], numbers[1], [1, 3, 5, 7]);
        let start = [low, high, self.bits(I32X4, 0), self.bits(I32X4, stream.into()), key[0], key[1]];
        let (zero, rounds) = (self.int(0), self.int(ROUNDS as i64));
        let (_, end) = self.counted(zero, rounds, unrolled as i64, &start, true, |e, _, carried| {
            let mut c = [carried[0], carried[1], carried[2], carried[3]];
            let mut key = [carried[4], carried[5]];
            for _ in 0..unrolled {
                let [(low0, high0), (low1, high1)] = [0, 1].map(|i| {
                    let by = e.bits(I32X4, MULTIPLIERS[i].into());
                    let halves = [e.b.ins().uwiden_low(c[2 * i]), e.b.ins().uwiden_high(c[2 * i])];
                    let factors = [e.b.ins().uwiden_low(by), e.b.ins().uwiden_high(by)];
                    let products = [0, 1].map(|h| e.b.ins().imul(halves[h], factors[h]));
                    let low = e.shuffle32(I32X4, products[0], products[1], [0, 2, 4, 6]);
                    (low, e.shuffle32(I32X4, products[0], products[1], [1, 3, 5, 7]))
                });
                let first = e.b.ins().bxor(high1, c[1]);
                let third = e.b.ins().bxor(high0, c[3]);
                c = [e.b.ins().bxor(first, key[0]), low1, e.b.ins().bxor(third, key[1]), low0];
                key = [0, 1].map(|i| {
                    let step = e.bits(I32X4, KEY_STEPS[i].into());
                    e.b.ins().iadd(key[i], step)
                });
            }
            Ok(SmallVec::from_slice(&[c[0], c[1], c[2], c[3], key[0], key[1]]))
        })?;
        Ok([end[0], end[1], end[2], end[3]])
    }

    /// Words at any four indices, each under its own key.
    fn any_words(&mut self, stream: u32, key: [Value; 2], pair: [Value; 2]) -> Result<Value> {
        let numbers = pair.map(|indices| self.b.ins().ushr_imm_u(indices, 2));
        let c = self.blocks(stream, key, numbers, 1)?;
        let places = self.shuffle32(I32X4, pair[0], pair[1], [0, 2, 4, 6]);
        let [odd, upper] = [1, 2].map(|bit| {
            let bit = self.bits(I32X4, bit);
            let set = self.b.ins().band(places, bit);
            self.b.ins().icmp(IntCC::Equal, set, bit)
        });
        let lower_half = self.b.ins().bitselect(odd, c[1], c[0]);
        let upper_half = self.b.ins().bitselect(odd, c[3], c[2]);
        Ok(self.b.ins().bitselect(upper, upper_half, lower_half))
    }
}
