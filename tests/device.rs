//! Devices where there is no GPU.

use tracewright::{Code, Device, Tensor, device, jit};

/// What is said where there is no GPU; `None` where there is one.
fn missing() -> Option<String> {
    let e = Device::cuda(0).err()?;
    assert!(e.usable && e.device == Device::Cuda(0));
    Some(e.to_string())
}

#[test]
fn one_line_says_what_is_missing() {
    let Some(text) = missing() else { return println!("skipped: there is a GPU") };
    assert_eq!(text.lines().count(), 1, "{text}");
    let why = match cfg!(feature = "cuda") {
        true => ["libcuda.so.1 cannot be opened", "there is no NVIDIA GPU"].iter().any(|why| text.contains(why)),
        false => text == "cuda:0: this program was built without the feature `cuda`",
    };
    assert!(why, "{text}");
    assert_eq!(Device::cuda_count().unwrap_err().to_string(), text);
}

#[test]
fn what_needs_it_is_an_error_and_all_else_works() {
    if missing().is_none() {
        return println!("skipped: there is a GPU");
    }
    let x = Tensor::from([1.0f32, 2.0]);
    let there = Device::Cuda(0);
    let moved = device::to(&(x.clone(), x.clone()), there);
    for e in [
        x.to_device(there).err().unwrap(),
        (moved.1 + 1.0).err().unwrap(),
        there.scope(|| Tensor::ones([2], tracewright::DType::F32)).err().unwrap(),
        there.scope(|| jit(|()| Tensor::ones([2], tracewright::DType::F32)).call(())).unwrap_err(),
    ] {
        assert_eq!(e.code(), Code::Device, "{e}");
        assert!(e.to_string().contains("tests/device.rs"), "{e}");
    }
    assert_eq!((x * 2.0).to_vec::<f32>().unwrap(), [2.0, 4.0]);
}

#[test]
fn names_are_read() {
    for (text, device) in [("cpu", Device::Cpu), ("cuda", Device::Cuda(0)), ("cuda:3", Device::Cuda(3))] {
        assert_eq!(text.parse::<Device>().unwrap(), device);
        assert_eq!(device.to_string().parse::<Device>().unwrap(), device);
    }
    for text in ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "CPU"] {
        let e = text.parse::<Device>().unwrap_err();
        assert_eq!(e.to_string(), format!("`{text}` is none of cpu, cuda, cuda:N"));
    }
}
