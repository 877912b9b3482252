//! What goes wrong on a device, and what is left of it. Each test has a process of its own, since what breaks a device
//! breaks it for the whole process.

use crate::device::device;
use tracewright::events::{Event, capture};
use tracewright::options::{self, Options};
use tracewright::{Code, Generator, Tensor, jit};

/// The driver's codes.
const ILLEGAL_ADDRESS: i32 = 700;
const UNKNOWN: i32 = 999;

macro_rules! apart {
    ($($name:ident)*) => {
        mod all { use crate::device::apart; $(#[test] fn $name() { apart(concat!("failures::", stringify!($name))); })* }
    };
}
apart!(memory_that_is_not_there a_kernel_that_breaks_the_device a_launch_that_fails_once a_launch_that_fails_after_another_wrote a_recording_that_fails a_broken_device_in_a_replay recordings_give_their_memory_back a_model_that_leaves_no_room_for_recordings);

#[test]
#[ignore = "run by another test in a process of its own"]
fn memory_that_is_not_there() {
    let device = device().expect("the emulator");
    let x = Tensor::ones([256, 256], tracewright::DType::F32).to_device(device);
    let f = jit(|x: Tensor| x.matmul(&x).tanh().matmul(&x).softmax(-1).max(..));
    let want = f.call(&x).unwrap().item::<f32>().unwrap();
    emulator::set_memory(600 << 10);
    let e = f.call(&x).unwrap_err();
    let text = e.to_string();
    assert_eq!(e.code(), Code::Memory, "{text}");
    // What of the plan wants the most, and where it was recorded.
    assert!(text.contains("cuda:0 has no") && text.contains("are free"), "{text}");
    assert!(
        text.contains("the most is wanted for f32[256, 256], 262144 bytes") && text.contains("failures.rs"),
        "{text}"
    );
    let e = (&x * 2.0 + Tensor::zeros([512, 512], tracewright::DType::F32).to_device(device)).err().unwrap();
    assert_eq!(e.code(), Code::Memory, "{e}");
    emulator::set_memory(64 << 20);
    assert_eq!(f.call(&x).unwrap().item::<f32>().unwrap(), want);
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn a_kernel_that_breaks_the_device() {
    let device = device().expect("the emulator");
    let x = Generator::new(1).normal([64, 64], 0.0, 1.0).to_device(device);
    let f = jit(|x: Tensor| x.matmul(&x).exp().cumsum(0).softmax(-1));
    let y = f.call(&x).unwrap();
    device.synchronize().unwrap();
    emulator::break_device("kernel", 3, ILLEGAL_ADDRESS);
    let e = f.call(&x).and_then(|y| y.to_vec::<f32>()).unwrap_err();
    let text = e.to_string();
    assert_eq!(e.code(), Code::Device, "{text}");
    assert!(text.contains("CUDA_ERROR_ILLEGAL_ADDRESS") && text.contains("the last step that began is"), "{text}");
    assert!(text.contains("failures.rs") && text.contains("the process cannot use the device any more"), "{text}");
    // Everything that comes after says so, and the processor is none the worse.
    for e in [y.to_vec::<f32>().unwrap_err(), (&x + 1.0).err().unwrap(), f.call(&x).err().unwrap()] {
        assert!(e.to_string().contains("it has failed before"), "{e}");
    }
    assert_eq!(Tensor::from([1.0f32]).exp().item::<f32>().unwrap(), 1f32.exp());
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn a_launch_that_fails_once() {
    let device = device().expect("the emulator");
    options::set_default(Options { graphs: false, ..(*options::current().unwrap()).clone() });
    let x = Tensor::from([1.0f32, 2.0]).to_device(device);
    let mut state = x.clone() + 0.0;
    let f = jit(|s: Tensor, x: Tensor| (&s + &x, (s * x).sum(..)));
    f.call_mut(&mut state, &x).unwrap();
    let before = state.to_vec::<f32>().unwrap();
    emulator::fail("cuLaunchKernel", 1, UNKNOWN);
    let e = f.call_mut(&mut state, &x).unwrap_err();
    assert_eq!(e.code(), Code::Device);
    assert!(e.to_string().contains("CUDA_ERROR_UNKNOWN") && !e.to_string().contains("cannot use"), "{e}");
    assert_eq!(state.to_vec::<f32>().unwrap(), before);
    f.call_mut(&mut state, &x).unwrap();
    assert_eq!(state.to_vec::<f32>().unwrap(), [before[0] + 1.0, before[1] + 2.0]);
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn a_launch_that_fails_after_another_wrote() {
    let device = device().expect("the emulator");
    options::set_default(Options { graphs: false, ..(*options::current().unwrap()).clone() });
    let vector = |n: usize| Tensor::ones([n], tracewright::DType::F32).to_device(device);
    let mut state = (vector(2), vector(3));
    let f = jit(|(a, b): (Tensor, Tensor), x: Tensor| {
        let a = a + &x;
        ((a.clone(), a.cumsum(0).sum(..) * b), ())
    });
    let x = Tensor::from(2.0f32).to_device(device);
    emulator::reset_counters();
    f.call_mut(&mut state, &x).unwrap();
    emulator::fail("cuLaunchKernel", emulator::counters().launches as u32, UNKNOWN);
    let e = f.call_mut(&mut state, &x).unwrap_err();
    assert!(e.to_string().contains("what the call overwrites may be half written"), "{e}");
    f.call_mut(&mut state, &x).unwrap();
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn a_recording_that_fails() {
    let device = device().expect("the emulator");
    let x = Tensor::from([1.0f32, 2.0]).to_device(device);
    // A product and a sum: what is one launch is not recorded.
    let ones = Tensor::ones([2, 2], tracewright::DType::F32).to_device(device);
    let f = jit(move |x: Tensor| x.reshape([1, 2]).matmul(&ones).exp().sum(..));
    let want = f.call(&x).unwrap().item::<f32>().unwrap();
    emulator::fail("cuLaunchKernel", 1, UNKNOWN);
    // It goes step by step, now and later.
    let (got, records) = capture(|| (0..3).map(|_| f.call(&x).unwrap().item::<f32>().unwrap()).collect::<Vec<_>>());
    assert_eq!(got, [want; 3]);
    let why: Vec<&str> =
        records.iter().filter(|r| r.event == Event::ReplayRefused).map(|r| r.reason.as_str()).collect();
    assert!(
        why.len() == 1 && why[0].contains("no longer recorded") && why[0].contains("CUDA_ERROR_UNKNOWN"),
        "{why:?}"
    );
    assert_eq!(emulator::counters().graph_launches, 0);
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn a_broken_device_in_a_replay() {
    let device = device().expect("the emulator");
    let x = Tensor::from([1.0f32, 2.0]).to_device(device);
    let mut state = &x + 0.0;
    // A product and a sum: what is one launch is not recorded.
    let ones = Tensor::ones([2, 2], tracewright::DType::F32).to_device(device) * 0.5;
    let f = jit(move |s: Tensor, x: Tensor| ((&s + x.reshape([1, 2]).matmul(&ones).reshape([2])).relu(), ()));
    let (_, records) = capture(|| (0..6).for_each(|_| f.call_mut(&mut state, &x).unwrap()));
    assert_eq!(records.iter().filter(|r| r.event == Event::ReplayRefused).count(), 0);
    assert_eq!(state.to_vec::<f32>().unwrap(), [10.0, 11.0]);
    assert!(emulator::counters().graph_launches >= 4);
    emulator::break_device("kernel", 1, ILLEGAL_ADDRESS);
    let e = f.call_mut(&mut state, &x).and_then(|()| state.to_vec::<f32>()).unwrap_err();
    assert!(e.to_string().contains("the last step that began is"), "{e}");
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn recordings_give_their_memory_back() {
    let device = device().expect("the emulator");
    let f = jit(|x: Tensor| x.matmul(&x).tanh().matmul(&x).softmax(-1).max(..));
    let sizes = [128, 129, 130, 131];
    let inputs = sizes.map(|n| Tensor::ones([n, n], tracewright::DType::F32).to_device(device));
    let call = || inputs.iter().map(|x| f.call(x).unwrap().item::<f32>().unwrap()).collect::<Vec<_>>();
    let want = call();
    (0..3).for_each(|_| assert_eq!(call(), want));
    let used = device.memory().unwrap().used;
    // Room for a tensor, but not for what the recordings keep as well.
    let size = 1 << 20;
    emulator::set_memory(used + size as u64 / 2);
    let (large, records) = capture(|| Tensor::zeros([size / 4], tracewright::DType::F32).to_device(device) + 1.0);
    assert_eq!(large.to_vec::<f32>().unwrap()[size / 4 - 1], 1.0);
    let why: Vec<&str> =
        records.iter().filter(|r| r.event == Event::ReplayRefused).map(|r| r.reason.as_str()).collect();
    assert!(why.len() == 1 && why[0].contains("4 recordings are made again"), "{why:?}");
    emulator::set_memory(64 << 20);
    drop(large);
    let before = emulator::counters().graph_instantiations;
    (0..2).for_each(|_| assert_eq!(call(), want));
    assert_eq!(emulator::counters().graph_instantiations, before + 4);
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn a_model_that_leaves_no_room_for_recordings() {
    let device = device().expect("the emulator");
    // Weights stay where they are, so they are not copied; what each call brings is.
    let w = Tensor::ones([256, 256], tracewright::DType::F32).to_device(device) * 0.01;
    let f = jit(move |x: Tensor| x.matmul(&w).relu());
    let inputs: Vec<Tensor> =
        (0..4).map(|i| Tensor::full([2, 256], i as f32, tracewright::DType::F32).to_device(device)).collect();
    let call = |x: &Tensor| f.call(x).unwrap().to_vec::<f32>().unwrap()[0];
    let before = emulator::counters().bytes_on_device;
    let got: Vec<f32> = inputs.iter().chain(&inputs).map(call).collect();
    assert!((0..8).all(|i| (got[i] - 2.56 * (i % 4) as f32).abs() < 1e-4), "{got:?}");
    let copied = emulator::counters().bytes_on_device - before;
    assert!(copied > 0 && copied < 8 * 3 * 2048, "{copied} bytes");
    assert!(emulator::counters().graph_launches >= 4);
    // A call that has no memory for a recording goes step by step.
    let large = Tensor::ones([512, 512], tracewright::DType::F32).to_device(device);
    let square = jit(|x: Tensor| x.matmul(&x).relu());
    let want = square.call(&large).unwrap().to_vec::<f32>().unwrap();
    let others = [&large * 1.0, &large * 1.0].map(|x| x.to_device(device) + 0.0);
    emulator::set_memory(device.memory().unwrap().used + (18 << 20) + (512 << 10));
    let run =
        || others.iter().chain(&others).map(|x| square.call(x).unwrap().to_vec::<f32>().unwrap()).collect::<Vec<_>>();
    let (got, records) = capture(run);
    assert!(got.iter().all(|y| *y == want));
    let why: Vec<&str> =
        records.iter().filter(|r| r.event == Event::ReplayRefused).map(|r| r.reason.as_str()).collect();
    assert!(
        why.last().is_some_and(|w| w.contains("no longer recorded") && w.contains("has no 1048576 bytes")),
        "{why:?}"
    );
}
