//! Calls that run out of memory, in a process of their own because the limit is that of the process.

use ir::{DType, Literal};
use runtime::buffer::{set_memory_limit, stats, trim};
use runtime::{Array, Executable, Input};

/// A state that the first step updates in place, then a product that packs its operands.
const STEP: &str = "graph @step(%0: f32[1024], %1: i32[300,300]) -> (f32[1024], i32[300,300]) {
  %2: f32[1024] = add %0, %0
  %3: i32[300,300] = dot_general %1, %1 {lhs_batch = [], rhs_batch = [], lhs_contract = [1], rhs_contract = [0]}
  return %2, %3
}";

#[test]
fn a_state_stays_as_it_was_whatever_memory_is_missing() {
    let graph = ir::text::parse(STEP).unwrap();
    let exe = Executable::compile(&graph, &[(0, 0)]).unwrap();
    assert!(exe.is_compiled());
    let ones = Literal::from_vec(&[1024], vec![1.0f32; 1024]);
    let matrix = Array::from_literal(&Literal::from_fn(&[300, 300], DType::I32, |_| ir::Scalar::I32(1))).unwrap();
    let call = |state: Array| {
        let mut inputs = vec![Input::Donated(state), Input::Shared(matrix.clone())];
        let outputs = exe.call(&mut inputs);
        let state = match inputs.swap_remove(0) {
            Input::Donated(state) => state,
            _ => outputs.as_ref().unwrap()[0].clone(),
        };
        (state, outputs.map(|_| ()))
    };
    let (mut state, mut refused) = (Array::from_literal(&ones).unwrap(), 0);
    trim();
    for room in (0..).step_by(16 << 10) {
        set_memory_limit(stats().held + room);
        let outcome;
        (state, outcome) = call(state);
        set_memory_limit(isize::MAX as usize);
        let sum: f32 = state.as_slice::<f32>().unwrap().iter().sum();
        match outcome {
            Ok(()) => {
                assert_eq!(sum, 2048.0);
                break;
            }
            Err(e) => {
                refused += 1;
                assert!(e.to_string().contains("no memory for a buffer"), "{e}");
                assert_eq!(sum, 1024.0, "with room for {room} bytes: {e}");
            }
        }
        trim();
    }
    assert!(refused > 20, "{refused} limits were too small");
}
