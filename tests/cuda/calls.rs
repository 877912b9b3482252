//! Calls as a device sees them: what is recorded and replayed, what is waited for, and threads that call at the same time.

use crate::device::{apart, device, is_real};
use emulator::{Pace, Schedule};
use std::sync::Arc;
use tracewright::events::{Counters, Event};
use tracewright::options::{Options, with_options};
use tracewright::{DType, Device, Generator, Tensor, jit, nn, optim, value_and_grad};

type State = (nn::Linear, optim::AdamW);

fn trainer() -> (State, impl Fn(&mut State, &Tensor, &Tensor) -> tracewright::Result<Tensor>) {
    let layer = nn::Linear::new(6, 4, &Generator::new(1));
    let adam = optim::AdamW::new(&layer, 0.05);
    let step = jit(|(layer, adam): State, (x, y): (Tensor, Tensor)| {
        let (loss, d) = value_and_grad(|l: &nn::Linear| nn::cross_entropy(&l.forward(&x), &y))(&layer);
        (adam.update(layer, d), loss)
    });
    ((layer, adam), move |state: &mut State, x: &Tensor, y: &Tensor| step.call_mut(state, (x.clone(), y.clone())))
}

fn data() -> (Tensor, Tensor) {
    (Generator::new(2).normal([10, 6], 0.0, 1.0), Tensor::from((0..10).map(|i| i % 4).collect::<Vec<i64>>()))
}

#[test]
fn a_training_step_is_one_recording() {
    let Some(device) = device() else { return };
    let run = |graphs: bool| {
        with_options(Options { graphs, device, ..(*tracewright::options::current().unwrap()).clone() }, || {
            let ((mut state, step), (x, y)) = (trainer(), data());
            let at = state.0.weight.data_ptr();
            let (losses, counted) = Counters::of(|| {
                (0..8).map(|_| step(&mut state, &x, &y).unwrap().item::<f32>().unwrap()).collect::<Vec<f32>>()
            });
            assert_eq!(state.0.weight.data_ptr(), at, "the parameters are updated in place");
            (losses, counted[Event::Replay])
        })
    };
    let (recorded, replays) = run(true);
    let (plain, none) = run(false);
    assert_eq!(recorded, plain);
    assert!(replays >= 4 && none == 0, "{replays} and {none} replays");
}

#[test]
fn a_wrong_label_leaves_the_state_as_it_was() {
    let Some(device) = device() else { return };
    device.scope(|| {
        let ((mut state, step), (x, y)) = (trainer(), data());
        let wrong = Tensor::from((0..10).map(|i| if i == 7 { 4 } else { 0 }).collect::<Vec<i64>>());
        // Before it is recorded, and after.
        for round in 0..3 {
            for _ in 0..round * 3 {
                step(&mut state, &x, &y).unwrap();
            }
            let before = state.0.weight.to_vec::<f32>().unwrap();
            for _ in 0..3 {
                let e = step(&mut state, &x, &wrong).unwrap_err();
                assert!(e.to_string().contains("index 4"), "{e}");
            }
            assert_eq!(state.0.weight.to_vec::<f32>().unwrap(), before);
        }
        step(&mut state, &x, &y).unwrap();
    });
}

#[test]
fn the_bits_are_the_same_for_every_order_of_threads() {
    let Some(device) = device() else { return };
    if is_real() {
        return;
    }
    let _alone = emulator::alone();
    let mut all: Vec<Vec<f32>> = Vec::new();
    for schedule in [Schedule::FirstIn, Schedule::LastIn, Schedule::Shuffled(5)] {
        for pace in [Pace::Lazy, Pace::Eager, Pace::Chance(3)] {
            emulator::set_schedule(schedule);
            emulator::set_pace(pace);
            all.push(device.scope(|| {
                let ((mut state, step), (x, y)) = (trainer(), data());
                (0..4).map(|_| step(&mut state, &x, &y).unwrap().item::<f32>().unwrap()).collect()
            }));
        }
    }
    assert!(all.iter().all(|losses| *losses == all[0]), "{all:?}");
}

#[test]
fn threads_call_at_the_same_time() {
    let Some(device) = device() else { return };
    let f = Arc::new(jit(|x: Tensor| x.matmul(&x).tanh().sum(0)));
    let input = |i: usize| Generator::new(i as u64).normal([12, 12], 0.0, 1.0);
    let want: Vec<Vec<f32>> = (0..4).map(|i| f.call(input(i)).unwrap().to_vec().unwrap()).collect();
    std::thread::scope(|scope| {
        for (i, want) in want.iter().enumerate() {
            let f = f.clone();
            scope.spawn(move || {
                let x = input(i).to_device(device);
                for _ in 0..20 {
                    let got = f.call(&x).unwrap().to_vec::<f32>().unwrap();
                    assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-5), "{got:?}, not {want:?}");
                }
            });
        }
    });
}

#[test]
fn nothing_is_waited_for_where_nothing_can_fail() {
    // Other tests of this process wait.
    apart("calls::without_waiting");
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn without_waiting() {
    let device = device().expect("the emulator");
    let x = Generator::new(1).normal([32, 32], 0.0, 1.0).to_device(device);
    let f = jit(|x: Tensor| x.matmul(&x).softmax(-1));
    f.call(&x).unwrap().to_vec::<f32>().unwrap();
    emulator::reset_counters();
    let mut y = x;
    for _ in 0..5 {
        y = f.call(&y).unwrap();
    }
    let counters = emulator::counters();
    assert_eq!((counters.stream_syncs, counters.event_syncs, counters.context_syncs), (0, 0, 0));
    assert!(counters.launches + counters.graph_launches > 0);
    let sums = y.sum(-1).to_vec::<f32>().unwrap();
    assert!(sums.iter().all(|s| (s - 1.0).abs() < 1e-5), "{sums:?}");
}

#[test]
fn marks_are_passed_in_order() {
    let Some(device) = device() else { return };
    let x = Tensor::ones([64, 64], DType::F32).to_device(device);
    let before = device.mark().unwrap();
    let y = x.exp();
    let after = device.mark().unwrap();
    after.wait().unwrap();
    assert!(after.is_passed().unwrap() && before.is_passed().unwrap());
    let (there, back) = (after.since(&before).unwrap(), before.since(&after).unwrap());
    assert!(back.is_zero() && there >= back, "{there:?}, {back:?}");
    drop(y);
    let host = Device::Cpu.mark().unwrap();
    let e = after.since(&host).unwrap_err().to_string();
    assert_eq!(e, "cuda:0: a mark of cpu is not on its clock");
    assert!(host.is_passed().unwrap() && host.since(&Device::Cpu.mark().unwrap()).unwrap().is_zero());
}

#[test]
fn after_an_error_scalars_are_where_they_were() {
    let Some(device) = device() else { return };
    let step = jit(|(w, count): (Tensor, Tensor), rows: Tensor| ((&w + w.take(&rows, 0).sum(..), count + 1.0), ()));
    let mut state = (Tensor::ones([3], DType::F32).to_device(device), Tensor::from(0.0f32));
    let rows = |last: i64| Tensor::from([0, last]).to_device(device);
    step.call_mut(&mut state, rows(3)).unwrap_err();
    assert_eq!((state.0.device(), state.1.device()), (device, Device::Cpu));
    step.call_mut(&mut state, rows(2)).unwrap();
    assert_eq!((state.1.device(), state.1.item::<f32>().unwrap()), (device, 1.0));
    assert_eq!(state.0.to_vec::<f32>().unwrap(), [3.0; 3]);
}
