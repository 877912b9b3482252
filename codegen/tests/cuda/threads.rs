//! What threads do to one another.

use crate::data::{Random, Within};
use crate::exact::exact;
use crate::loops::{NESTS, SOFTMAX};
use crate::random_kernel::{TASKS, buffers};
use crate::target::{can_run, check, finish, outcomes};
use ir::kernel::{interp, text::parse};
use ir::{DType, Data};

#[test]
fn random_kernels_compute_what_the_interpreter_does() {
    for seed in 0..192 {
        let mut random = Random::new(seed);
        let bytes = (0..random.below(600)).map(|_| random.bits() as u8).collect();
        let kernel = exact(bytes);
        check(&kernel, &buffers(&kernel), &[TASKS], Within::Bits);
    }
    finish();
}

/// Rows that one loop writes and another reads at other places, and a value that goes from thread to thread.
#[test]
fn a_missing_barrier_is_caught() {
    if !can_run() {
        return;
    }
    let kernel = parse(NESTS).unwrap();
    let (n, m) = (3, 33);
    let mut random = Random::new(1);
    let data = [random.data(DType::F32, n), Data::F32(vec![0.0; n]), random.data(DType::F32, m)];
    let extents = [n as i64, m as i64];
    let mut want = data.to_vec();
    interp::run(&kernel, &mut want, &extents).unwrap();
    let right = |edit: &dyn Fn(&str) -> String| {
        let all = outcomes(&kernel, &data, &extents, edit);
        let bits = |all: &[Data]| all.iter().flat_map(|d| (0..d.len()).map(|i| d.get(i).bits())).collect::<Vec<_>>();
        let same = |got: &Vec<Data>| bits(got) == bits(&want);
        all.iter().filter(|got| got.as_ref().is_ok_and(same)).count()
    };
    assert_eq!(right(&|f| f.into()), 4);
    assert!(right(&|f| f.replace("__syncwarp();", "")) < 4);
}

#[test]
fn threads_that_do_not_come_to_a_barrier_are_reported() {
    if !can_run() {
        return;
    }
    let kernel = parse(SOFTMAX).unwrap();
    let data = [Random::new(3).data(DType::F32, 3 * 40), Data::F32(vec![0.0; 3 * 40])];
    for (from, to, why) in
        [("__syncwarp();", "if (lane != 3) __syncwarp();", "wait"), ("tw_down(", "lane == 7 ? 0.0f : tw_down(", "wait")]
    {
        for outcome in outcomes(&kernel, &data, &[3, 40], &|f| f.replace(from, to)) {
            assert!(outcome.is_err_and(|e| e.contains(why)), "{to}");
        }
    }
}
