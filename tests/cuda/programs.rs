//! Programs of several kinds, on the device against the processor.

use crate::device::{both, device};
use tracewright::{DType, Device, Generator, Tensor, Tree, device, grad, jit, nn, optim, value_and_grad};

fn close(got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len());
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= 1e-5 * (1.0 + w.abs()) || g.is_nan() && w.is_nan(), "{i}: {g}, not {w}");
    }
}

#[test]
fn an_eager_op() {
    let Some((got, want)) = both(|| {
        let x = Tensor::from([[1.0f32, -2.0, 0.5], [3.0, 4.0, -1.0]]);
        (x.exp() + 1.0).to_vec::<f32>()
    }) else {
        return;
    };
    close(&got, &want);
}

#[test]
fn softmax_of_rows() {
    let Some((got, want)) = both(|| {
        let x = Generator::new(1).normal([7, 33], 0.0, 1.0);
        jit(|x: Tensor| x.softmax(-1)).call(&x)?.to_vec::<f32>()
    }) else {
        return;
    };
    close(&got, &want);
}

#[test]
fn a_product_with_its_gradient() {
    let Some((got, want)) = both(|| {
        let g = Generator::new(2);
        let (x, w) = (g.normal([5, 17], 0.0, 1.0), g.normal([17, 9], 0.0, 1.0));
        let slope = grad(move |w: &Tensor| x.matmul(w).gelu().sum(..));
        slope(&w).to_vec::<f32>()
    }) else {
        return;
    };
    close(&got, &want);
}

#[test]
fn tensors_move() {
    let Some(device) = device() else { return };
    let x = Tensor::arange(100_000, DType::F32);
    let there = x.to_device(device);
    assert_eq!((there.device(), x.device()), (device, Device::Cpu));
    assert_eq!(there.to_device(Device::Cpu).to_vec::<f32>().unwrap(), x.to_vec::<f32>().unwrap());
    let e = (&there + &x).err().unwrap();
    assert!(e.to_string().contains("cuda:0") && e.to_string().contains("is on cpu"), "{e}");
    assert_eq!((there * 2.0).sum(..).item::<f32>().unwrap(), (x * 2.0).sum(..).item::<f32>().unwrap());
}

#[test]
fn an_index_out_of_range() {
    let Some(device) = device() else { return };
    device.scope(|| {
        let x = Tensor::from([1.0f32, 2.0, 3.0]);
        let take = jit(|(x, i): (Tensor, Tensor)| x.take(&i, 0) * 2.0);
        let ok = take.call((x.clone(), Tensor::from([2i64, 0]))).unwrap();
        assert_eq!(ok.to_vec::<f32>().unwrap(), [6.0, 2.0]);
        let e = take.call((x.clone(), Tensor::from([0i64, 7]))).unwrap_err();
        assert!(e.to_string().contains("index 7"), "{e}");
        // And the next call is none the worse.
        let ok = take.call((x, Tensor::from([1i64, 1]))).unwrap();
        assert_eq!(ok.to_vec::<f32>().unwrap(), [4.0, 4.0]);
    });
}

#[test]
fn a_training_step_in_place() {
    let Some((got, want)) = both(|| {
        let g = Generator::new(3);
        let layer = nn::Linear::new(4, 3, &g);
        let sgd = optim::Sgd::new(0.1).momentum(&layer, 0.9, false);
        let mut state = (layer, sgd);
        let x = g.normal([8, 4], 0.0, 1.0);
        let step = jit(|(layer, sgd): (nn::Linear, optim::Sgd), x: Tensor| {
            let (loss, d) = value_and_grad(|l: &nn::Linear| l.forward(&x).square().mean(..))(&layer);
            (sgd.update(layer, d), loss)
        });
        let mut losses: Vec<f32> = Vec::new();
        for _ in 0..6 {
            losses.push(step.call_mut(&mut state, &x)?.item::<f32>()?);
        }
        Ok(losses)
    }) else {
        return;
    };
    close(&got, &want);
    assert!(got[5] < got[0]);
}

#[test]
fn sums_over_a_batch_of_any_size() {
    let Some((got, want)) = both(|| {
        let doubles = |seed, n: usize, m: usize| Generator::new(seed).normal([n, m], 0.0, 1.0).to_dtype(DType::F64);
        let w = doubles(5, 20, 8);
        let f = jit(|(w, x): (Tensor, Tensor)| {
            let (loss, (dw, dx)) =
                value_and_grad(|(w, x): &(Tensor, Tensor)| x.matmul(w).tanh().square().sum(..))(&(w, x));
            (loss, dw, dx.sum(0), dx.max(0))
        });
        let f = f.dynamic("arguments.0.1", 0, "B", 1..=100_000);
        let mut all = Vec::new();
        for n in [1, 127, 128, 129, 1000] {
            let (loss, dw, sums, most) = f.call((w.clone(), doubles(n, n as usize, 20)))?;
            for t in [loss, dw, sums, most] {
                all.extend(t.to_dtype(DType::F32).to_vec::<f32>()?);
            }
        }
        Ok(all)
    }) else {
        return;
    };
    close(&got, &want);
}

#[test]
fn a_function_runs_where_its_captures_are() {
    let Some(device) = device() else { return };
    let w = Tensor::from([1.0f32, 2.0]);
    let there = w.to_device(device);
    let scaled = {
        let there = there.clone();
        jit(move |x: Tensor| (&there * x).sum(..))
    };
    for x in [Tensor::from(3.0f32), Tensor::from(3.0f32).to_device(device)] {
        let y = scaled.call(&x).unwrap();
        assert_eq!((y.device(), y.item::<f32>().unwrap()), (device, 9.0));
    }
    let e = scaled.call(&w).unwrap_err().to_string();
    assert!(e.contains("argument 0, f32[2], is on cpu, and the function runs on cuda:0"), "{e}");
    let e = jit(move |x: Tensor| &w * x).call(&there).unwrap_err().to_string();
    assert!(e.contains("a captured tensor, f32[2], is on cpu, and the function runs on cuda:0"), "{e}");
    assert!(e.contains("programs.rs"), "{e}");
}

/// Two layers with one weight, and a mean that goes along.
#[derive(Tree)]
struct Tied {
    into: Tensor,
    out: Tensor,
    mean: nn::Buffer,
}

#[test]
fn tied_leaves_stay_tied_on_the_device_and_cells_follow() {
    let Some(device) = device() else { return };
    let weight = Generator::new(3).normal([4, 4], 0.0, 1.0);
    let here = Tied { into: weight.clone(), out: weight, mean: nn::Buffer::new(Tensor::zeros([4], DType::F32)) };
    let mut there = device::to(&here, device);
    assert_eq!(there.parameter_count(), 16);
    assert_eq!(there.into.data_ptr(), there.out.data_ptr());
    let step = jit(|m: Tied, x: Tensor| {
        m.mean.set(m.mean.get() * 0.5 + x.mean(0)).unwrap();
        let g = grad(|w: &Tensor| (x.matmul(w).tanh().matmul(&w.t()) + m.mean.get()).square().mean(..))(&m.into);
        let next = &m.into - g * 0.1;
        (Tied { into: next.clone(), out: next, mean: m.mean }, x.sum(..))
    });
    let x = Generator::new(4).normal([3, 4], 0.0, 1.0).to_device(device);
    for _ in 0..2 {
        there = step.call(&there, &x).unwrap().0;
    }
    assert_eq!(there.mean.get().device(), device);
    // What is there already is not looked at.
    let large = Tensor::zeros([1], DType::F32).broadcast_to([1usize << 45]);
    assert_eq!(device::to(&large, Device::Cpu).shape().to_string(), large.shape().to_string());
    assert_eq!(there.into.data_ptr(), there.out.data_ptr());
}
