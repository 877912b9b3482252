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
        let all = outcomes(&kernel, &data, &extents, 0, edit);
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
        for outcome in outcomes(&kernel, &data, &[3, 40], 0, &|f| f.replace(from, to)) {
            assert!(outcome.is_err_and(|e| e.contains(why)), "{to}");
        }
    }
}

/// A thread finds an index out of range before others have begun, in a launch that does nothing after one.
#[test]
fn threads_agree_on_whether_there_is_anything_to_do() {
    if !can_run() {
        return;
    }
    let kernel = parse(
        "kernel @looked_up(%p0: in i64, %p1: in f64, %p2: out f64; N) sites 1 {
          nest %i in 0..N work 8 {
            for %j in 0..4 lanes {
              %0: i64 = load %p0[%i*4 + %j]
              check 0: %0 in 0..3
              %1: i64 = const 0
              %2: i64 = max %0, %1
              %3: i64 = const 2
              %4: i64 = min %2, %3
              %5: f64 = load %p1[%4]
              yield sum %5 -> %6: f64
            }
            store %p2[%i], %6
          }
        }",
    );
    let data = [Data::I64(vec![2, 9, 0, 1, 1, 0, 2, 7]), Data::F64(vec![1.0, 2.0, 4.0]), Data::F64(vec![0.0; 2])];
    let gated = |f: &str| f.replace("if (tw_begin(run))", "run.gated = 1; if (tw_begin(run))");
    for outcome in outcomes(&kernel.unwrap(), &data, &[2], 0, &gated) {
        assert_eq!(outcome.map(|data| data[2].get(1)), Ok(Data::F64(vec![11.0]).get(0)));
    }
}

/// Groups of elements are read and written as one where addresses allow it, and one by one elsewhere.
#[test]
fn groups_of_elements_at_every_address() {
    if !can_run() {
        return;
    }
    let kernel = parse(
        "kernel @parts(%x: in f32, %y: out f32; N) {
          nest %t in 0..1 work N {
            for %i in 0..N lanes {
              for %k in 0..4 {
                %0: f32 = load %x[%i*4 + %k]
                %1: f32 = add %0, %0
                store %y[%i*4 + %k], %1
              }
            }
          }
        }",
    );
    let kernel = kernel.unwrap();
    let numbers: Vec<f32> = (0..4 * 40).map(|i| i as f32).collect();
    let data = [Data::F32(numbers.clone()), Data::F32(vec![0.0; 4 * 40])];
    let careless = |f: &str| {
        assert!(f.contains("const bool aligned = tw_multiple("), "{f}");
        f.replace("const bool aligned = ", "const bool aligned = true || ")
    };
    for shift in 0..4 {
        for outcome in outcomes(&kernel, &data, &[40], shift, &|f| f.into()) {
            let Data::F32(got) = &outcome.unwrap()[1] else { panic!("floats") };
            assert!(got.iter().zip(&numbers).all(|(got, x)| *got == x + x), "behind {shift}: {got:?}");
        }
        // What a GPU would refuse is found here.
        for outcome in outcomes(&kernel, &data, &[40], shift, &careless) {
            assert_eq!(outcome.err().is_some_and(|e| e.contains("misaligned address")), shift > 0, "behind {shift}");
        }
    }
}
