//! Programs: what is refused, and what is kept.

use crate::device::{Device, compile, launch};
use cudarc::driver::result;
use cudarc::driver::sys::CUresult::*;

#[test]
fn a_mistake_is_in_the_log() {
    if !emulator::ready() {
        return;
    }
    let _alone = emulator::alone();
    let error = compile("TW_KERNEL void f(int* x) {\n    x[0] = unknown;\n}").unwrap_err();
    assert!(error.contains("NVRTC_ERROR_COMPILATION") && error.contains(":2:") && error.contains("unknown"), "{error}");
}

#[test]
fn an_image_that_is_none_is_refused() {
    if !emulator::ready() {
        return;
    }
    let _alone = emulator::alone();
    let device = Device::new("TW_KERNEL void f(int* x) { x[0] = 1; }");
    let mut image = compile("TW_KERNEL void g(int* x) { x[0] = 2; }").unwrap();
    let load = |image: &[u8]| unsafe { result::module::load_data(image.as_ptr().cast()).map_err(|e| e.0) };
    let module = load(&image).unwrap();
    let missing = unsafe { result::module::get_function(module, c"f".into()) };
    assert_eq!(missing.unwrap_err().0, CUDA_ERROR_NOT_FOUND);
    let function = unsafe { result::module::get_function(module, c"g".into()).unwrap() };
    let too_many = launch(function, 1, 2048, device.stream(), &mut (0u64,));
    assert_eq!(too_many.unwrap_err().0, CUDA_ERROR_INVALID_VALUE);
    unsafe { result::module::unload(module).unwrap() };
    let unloaded = launch(function, 1, 1, device.stream(), &mut (0u64,));
    assert_eq!(unloaded.unwrap_err().0, CUDA_ERROR_INVALID_HANDLE);
    let middle = image.len() / 2;
    image[middle] ^= 1;
    assert_eq!(load(&image), Err(CUDA_ERROR_INVALID_IMAGE));
    assert_eq!(load(b"something else"), Err(CUDA_ERROR_INVALID_IMAGE));
}

#[test]
fn a_program_is_compiled_once() {
    if !emulator::ready() {
        return;
    }
    let _alone = emulator::alone();
    let unique = format!("TW_KERNEL void f(int* x) {{ x[0] = {}; }}", std::process::id());
    let before = emulator::compilations();
    let images = [(); 3].map(|()| compile(&unique).unwrap());
    assert_eq!(emulator::compilations() - before, 1);
    assert!(images[0] == images[1] && images[0] == images[2] && images[0].starts_with(b"\x7fELF"));
}

/// Functions of C, and what threads tell one another.
#[test]
fn a_kernel_may_use_what_the_shim_offers() {
    if !emulator::ready() {
        return;
    }
    let _alone = emulator::alone();
    let device = Device::new(
        "TW_KERNEL void f(float* x, unsigned* n) {
            x[threadIdx.x] = expf(x[threadIdx.x]) + powf(2.0f, 0.5f);
            float higher = __shfl_xor_sync(0xffffffffu, x[threadIdx.x], 1);
            unsigned odd = __ballot_sync(0xffffffffu, threadIdx.x % 2);
            if (threadIdx.x == 0) x[1] = higher;
            atomicAdd(n, odd);
        }",
    );
    let stream = device.stream();
    let (x, n) = (device.upload(&[0.0f32; 64]), device.upload(&[1u32]));
    launch(device.function("f"), 1, 64, stream, &mut (x, n)).unwrap();
    assert_eq!(device.download::<f32>(x, 64, stream), [1.0 + 2f32.sqrt(); 64]);
    assert_eq!(device.download::<u32>(n, 1, stream), [0xaaaa_aaaau32.wrapping_mul(64).wrapping_add(1)]);
}

/// Blocks and threads in three dimensions, and more than one program at a time.
#[test]
fn positions_have_three_dimensions() {
    if !emulator::ready() {
        return;
    }
    let _alone = emulator::alone();
    let device = Device::new(
        "TW_KERNEL void f(int* x) {
            int t = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
            int b = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
            x[b * 24 + t] = b * 24 + t;
        }",
    );
    let stream = device.stream();
    let mut x = device.alloc(24 * 6 * 4);
    let mut arguments = [(&raw mut x).cast()];
    for schedule in [emulator::Schedule::LastIn, emulator::Schedule::Shuffled(3)] {
        emulator::set_schedule(schedule);
        unsafe {
            result::memset_d8_sync(x, 0, 24 * 6 * 4).unwrap();
            result::launch_kernel(device.function("f"), (3, 2, 1), (4, 3, 2), 0, stream, &mut arguments).unwrap();
        }
        assert_eq!(device.download::<i32>(x, 144, stream), (0..144).collect::<Vec<i32>>());
    }
}
