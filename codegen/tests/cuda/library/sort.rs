use super::{Library, barriers, without_barrier};
use crate::data::{Random, is_nan, to_bytes, unusual};
use crate::target::{Aligned, SCHEDULES, can_run};
use codegen::cuda::library::{Routine, Sort};
use ir::{DType, Data, Scalar};
use std::cmp::Ordering;

/// Bytes beside each buffer, which a kernel without a barrier may read.
const ROOM: usize = 1 << 16;

struct Case {
    dtype: DType,
    shape: [u64; 3],
    descending: bool,
}

impl Case {
    fn data(&self) -> Data {
        let [outer, n, inner] = self.shape;
        let mut random = Random::new(n + 31 * inner + 1);
        let unusual = unusual(self.dtype);
        let value = |random: &mut Random| match random.below(3) {
            0 => unusual[random.below(unusual.len() as u64) as usize],
            1 => random.plain(self.dtype),
            _ if self.dtype == DType::Bool => Scalar::Bool(random.bits() & 1 == 1),
            // Any bits: subnormal numbers, NaNs of both signs.
            _ => Scalar::from_bits(self.dtype, random.bits() >> (64 - 8 * self.dtype.size())),
        };
        Data::collect(self.dtype, (0..outer * n * inner).map(|_| value(&mut random)))
    }

    fn sort(&self, data: u64, out: u64) -> Sort {
        let [outer, n, inner] = self.shape;
        Sort { dtype: self.dtype, outer, n, inner, descending: self.descending, data, out }
    }

    fn routines(&self) -> Vec<Routine> {
        self.sort(0, 0).launches(0).iter().map(|l| l.routine).collect()
    }

    /// By the standard library's stable sort.
    fn want(&self, data: &Data) -> Vec<i64> {
        let [outer, n, inner] = self.shape.map(|n| n as usize);
        let order = |a: Scalar, b: Scalar| match (is_nan(a), is_nan(b)) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            _ if self.dtype.is_float() => a.as_f64().partial_cmp(&b.as_f64()).unwrap(),
            _ if self.dtype == DType::U64 => a.bits().cmp(&b.bits()),
            _ => a.as_i64().cmp(&b.as_i64()),
        };
        let mut out = vec![0; outer * n * inner];
        for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
            let at = |k: usize| (o * n + k) * inner + i;
            let mut positions: Vec<usize> = (0..n).collect();
            positions.sort_by(|&a, &b| {
                let order = order(data.get(at(a)), data.get(at(b)));
                if self.descending { order.reverse() } else { order }
            });
            positions.iter().enumerate().for_each(|(k, &p)| out[at(k)] = p as i64);
        }
        out
    }

    fn outcome(&self, library: &Library, data: &Data, most: u32, schedule: (i32, u32)) -> Result<Vec<i64>, String> {
        let room = |bytes: usize| Aligned::new(&vec![0xa5; bytes + 2 * ROOM]);
        let mut memory = Aligned::new(&to_bytes(data));
        let mut out = room(8 * data.len());
        let sort = self.sort(memory.at().addr() as u64, (out.at().addr() + ROOM) as u64);
        let mut scratch = room(sort.scratch_bytes().unwrap() as usize);
        library.run(&sort.launches((scratch.at().addr() + ROOM) as u64), most, schedule)?;
        let _ = memory.bytes();
        for bytes in [out.bytes(), scratch.bytes()] {
            let (before, behind) = (&bytes[..ROOM], &bytes[bytes.len() - ROOM..]);
            assert!(before.iter().chain(behind).all(|&b| b == 0xa5), "memory beside a buffer was written");
        }
        let positions = &out.bytes()[ROOM..][..8 * data.len()];
        Ok(positions.chunks(8).map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect())
    }

    fn check(&self, library: &Library) {
        let data = self.data();
        let want = self.want(&data);
        let schedules: &[_] = if data.len() > 20_000 { &SCHEDULES[2..3] } else { &SCHEDULES };
        for (n, &schedule) in schedules.iter().enumerate() {
            let most = [1, u32::MAX, 3, 2][n];
            let got = self.outcome(library, &data, most, schedule);
            let place = format!("{} {:?} {}, {schedule:?}", self.dtype, self.shape, self.descending);
            assert!(got.unwrap_or_else(|e| panic!("{e}: {place}")) == want, "{place}");
        }
    }
}

fn check(cases: &[Case]) {
    if !can_run() {
        return;
    }
    let library = Library::new(&cases.iter().flat_map(Case::routines).collect::<Vec<_>>());
    cases.iter().for_each(|case| case.check(&library));
}

#[test]
fn short_rows_of_every_dtype() {
    let mut cases = Vec::new();
    for dtype in DType::ALL {
        for (i, shape) in [
            [1, 0, 1],
            [0, 5, 2],
            [1, 1, 1],
            [300, 2, 3],
            [3, 3, 5],
            [2, 31, 1],
            [1, 33, 7],
            [700, 5, 1],
            [1, 9, 700],
            [2, 1000, 1],
        ]
        .into_iter()
        .enumerate()
        {
            cases.push(Case { dtype, shape, descending: i % 2 == 0 });
            cases.push(Case { dtype, shape, descending: i % 2 == 1 });
        }
    }
    check(&cases);
}

#[test]
fn rows_by_chance() {
    let mut random = Random::new(5);
    let mut cases = Vec::new();
    for n in 0..120 {
        let dtype = DType::ALL[random.below(DType::ALL.len() as u64) as usize];
        let mut extent = |most: u64| [1, random.below(4), random.below(most)][random.below(3) as usize];
        let (outer, inner) = (extent(20), extent(20));
        let length = if n % 10 == 0 { random.below(6000) } else { random.below(300) };
        cases.push(Case {
            dtype,
            shape: [outer.min(3 + 9000 / (length + 1)), length, inner.min(4)],
            descending: n % 2 == 0,
        });
    }
    check(&cases);
}

#[test]
fn long_rows_are_merged() {
    let mut cases = Vec::new();
    for dtype in DType::ALL {
        for shape in [[2, 2048, 1], [1, 2049, 2], [2, 1025, 1], [1, 7000, 1], [1, 8193, 1], [2, 4100, 3]] {
            cases.push(Case { dtype, shape, descending: shape[1] % 2 == 0 });
        }
    }
    cases.push(Case { dtype: DType::F32, shape: [1, 70_000, 1], descending: true });
    cases.push(Case { dtype: DType::I64, shape: [1, 40_000, 1], descending: false });
    check(&cases);
}

/// Every barrier is there because results are wrong without it.
#[test]
fn a_missing_barrier_of_a_sort_is_caught() {
    if !can_run() {
        return;
    }
    let cases = [[5, 200, 1], [1, 4500, 1]].map(|shape| Case { dtype: DType::F32, shape, descending: false });
    let routines: Vec<Routine> = cases.iter().flat_map(Case::routines).collect();
    let right = |library: &Library, case: &Case| {
        let (data, want) = (case.data(), case.want(&case.data()));
        SCHEDULES.iter().all(|&schedule| case.outcome(library, &data, 1, schedule).is_ok_and(|got| got == want))
    };
    let whole = Library::new(&routines);
    assert!(cases.iter().all(|case| right(&whole, case)));
    assert_eq!(barriers(&routines[0].prelude()), 6);
    for number in 0..6 {
        // Without one, threads take stale numbers for places.
        let broken = Library::edited(&routines, &|text| {
            let (items, room) = (
                "alignas(16) TW_SHARED Item items[ITEMS];",
                "static Item room[9 * ITEMS]; Item* items = room + 4 * ITEMS;",
            );
            assert!(text.contains(items));
            without_barrier(&text.replace(items, room), number)
        });
        assert!(!cases.iter().all(|case| right(&broken, case)), "without barrier {number}");
    }
}
