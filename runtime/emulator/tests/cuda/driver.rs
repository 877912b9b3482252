//! Memory, streams, kernels, and calls that fail.

use crate::device::{Device, launch, message};
use cudarc::driver::sys::CUresult::{self, *};
use cudarc::driver::{result, sys};
use emulator::{Alone, Pace, Schedule};
use std::ptr;

const TEXT: &str = r#"
// A kernel that is declared in a comment, TW_KERNEL void never(, does not count.
TW_KERNEL void __launch_bounds__(128, 8) saxpy(const float* x, float* y, float a, long long n) {
    for (long long i = blockIdx.x * 128 + threadIdx.x; i < n; i += 128 * gridDim.x) y[i] = a * x[i] + y[i];
}
TW_KERNEL void __launch_bounds__(128, 8) neighbour(int* y) {
    TW_SHARED int all[128];
    all[threadIdx.x] = threadIdx.x;
    y[threadIdx.x] = all[(threadIdx.x + 1) % 128];
}
TW_KERNEL void __launch_bounds__(128, 8) divided(int* y) {
    if (threadIdx.x < 64) __syncthreads();
    y[threadIdx.x] = 1;
}
TW_KERNEL void sum(const int* x, int* y) {
    int all = x[threadIdx.x];
    for (int by = 16; by; by /= 2) all += __shfl_down_sync(0xffffffffu, all, by);
    if (threadIdx.x % 32 == 0) y[threadIdx.x / 32] = all;
}
"#;

fn device() -> Option<(Alone, Device)> {
    emulator::ready().then(|| (emulator::alone(), Device::new(TEXT)))
}

#[test]
fn a_kernel_computes() {
    let Some((_alone, device)) = device() else { return };
    let stream = device.stream();
    let (x, y) = (device.upload(&[1.0f32; 300]), device.upload(&vec![2.0f32; 300]));
    launch(device.function("saxpy"), 2, 128, stream, &mut (x, y, 3.0f32, 300i64)).unwrap();
    assert_eq!(device.download::<f32>(y, 300, stream), vec![5.0f32; 300]);
    let counters = emulator::counters();
    assert_eq!(
        (counters.launches, counters.kernels, counters.copies_to_device, counters.bytes_to_host),
        (1, 1, 2, 1200)
    );
}

#[test]
fn what_is_enqueued_waits() {
    let Some((_alone, device)) = device() else { return };
    let stream = device.stream();
    let pinned = device.pinned(4);
    let x = device.upload(&[7.0f32]);
    let word = || unsafe { pinned.cast::<f32>().read_volatile() };
    let rubbish = f32::from_bits(0xa5a5_a5a5);
    for pace in [Pace::Lazy, Pace::Eager] {
        emulator::set_pace(pace);
        unsafe {
            pinned.cast::<f32>().write_volatile(rubbish);
            sys::cuMemcpyDtoHAsync_v2(pinned.cast(), x, 4, stream).result().unwrap();
            assert_eq!(word(), if pace == Pace::Lazy { rubbish } else { 7.0 });
            result::stream::synchronize(stream).unwrap();
        }
        assert_eq!(word(), 7.0);
    }
}

/// A pinned source is read when the copy runs, another one before the call returns.
#[test]
fn host_memory_is_read_when_a_device_would() {
    let Some((_alone, device)) = device() else { return };
    let stream = device.stream();
    let pinned = device.pinned(4).cast::<f32>();
    let mut pageable = 1.0f32;
    let (a, b) = (device.alloc(4), device.alloc(4));
    unsafe {
        pinned.write(1.0);
        sys::cuMemcpyHtoDAsync_v2(a, pinned.cast(), 4, stream).result().unwrap();
        sys::cuMemcpyHtoDAsync_v2(b, (&raw const pageable).cast(), 4, stream).result().unwrap();
        pinned.write(2.0);
        (&raw mut pageable).write_volatile(2.0);
    }
    assert_eq!(device.download::<f32>(a, 1, stream), [2.0]);
    assert_eq!(device.download::<f32>(b, 1, stream), [1.0]);
}

#[test]
fn an_event_lets_a_stream_wait_for_another() {
    let Some((_alone, device)) = device() else { return };
    let (one, other) = (device.stream(), device.stream());
    let event = result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING).unwrap();
    for waits in [false, true] {
        let (x, y) = (device.upload(&[1.0f32]), device.upload(&[0.0f32]));
        launch(device.function("saxpy"), 1, 128, one, &mut (x, x, 1.0f32, 1i64)).unwrap();
        unsafe {
            result::event::record(event, one).unwrap();
            if waits {
                result::stream::wait_event(other, event, sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT).unwrap();
            }
            launch(device.function("saxpy"), 1, 128, other, &mut (x, y, 1.0f32, 1i64)).unwrap();
            assert_eq!(device.download::<f32>(y, 1, other), [if waits { 2.0 } else { 1.0 }]);
            let mut asked = 1;
            while let Err(e) = result::event::query(event) {
                assert_eq!(e.0, CUDA_ERROR_NOT_READY);
                asked += 1;
            }
            assert_eq!(asked, if waits { 1 } else { 3 });
        }
    }
}

/// The streams that wait for the default stream, and it for them.
#[test]
fn the_default_stream_waits_for_others() {
    let Some((_alone, device)) = device() else { return };
    let blocking = result::stream::create(result::stream::StreamKind::Default).unwrap();
    let x = device.upload(&[1.0f32]);
    let add = device.function("saxpy");
    launch(add, 1, 128, blocking, &mut (x, x, 1.0f32, 1i64)).unwrap();
    launch(add, 1, 128, ptr::null_mut(), &mut (x, x, 2.0f32, 1i64)).unwrap();
    let event = result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING).unwrap();
    unsafe {
        result::event::record(event, ptr::null_mut()).unwrap();
        result::event::synchronize(event).unwrap();
    }
    assert_eq!(device.download::<f32>(x, 1, device.stream()), [6.0]);
    launch(add, 1, 128, ptr::null_mut(), &mut (x, x, 1.0f32, 1i64)).unwrap();
    launch(add, 1, 128, blocking, &mut (x, x, 3.0f32, 1i64)).unwrap();
    assert_eq!(device.download::<f32>(x, 1, blocking), [48.0]);
}

#[test]
fn the_order_of_threads_shows_what_is_missing() {
    let Some((_alone, device)) = device() else { return };
    let stream = device.stream();
    let want: Vec<i32> = (0..128).map(|i| (i + 1) % 128).collect();
    let y = device.alloc(512);
    let mut right = 0;
    for schedule in [Schedule::FirstIn, Schedule::LastIn, Schedule::Shuffled(1)] {
        emulator::set_schedule(schedule);
        launch(device.function("neighbour"), 1, 128, stream, &mut (y,)).unwrap();
        right += usize::from(device.download::<i32>(y, 128, stream) == want);
        let (x, y) = (device.upload(&(0..64).collect::<Vec<i32>>()), device.alloc(8));
        launch(device.function("sum"), 1, 64, stream, &mut (x, y)).unwrap();
        assert_eq!(device.download::<i32>(y, 2, stream), [496, 1520]);
    }
    assert_eq!(right, 0);
}

#[test]
fn a_deadlock_breaks_the_device() {
    let Some((_alone, device)) = device() else { return };
    let stream = device.stream();
    let (y, divided) = (device.alloc(512), device.function("divided"));
    launch(divided, 1, 128, stream, &mut (y,)).unwrap();
    let failed = |r: Result<(), result::DriverError>| assert_eq!(r.unwrap_err().0, CUDA_ERROR_LAUNCH_FAILED);
    failed(unsafe { result::stream::synchronize(stream) });
    failed(launch(divided, 1, 128, stream, &mut (y,)));
    failed(result::ctx::synchronize());
    emulator::reset();
    result::ctx::synchronize().unwrap();
}

#[test]
fn an_illegal_address_breaks_the_device() {
    let Some((_alone, device)) = device() else { return };
    let stream = device.stream();
    let x = device.upload(&[0.0f32; 128]);
    let failed = |x, y| {
        launch(device.function("saxpy"), 1, 128, stream, &mut (x, y, 1.0f32, 128i64)).unwrap();
        assert_eq!(unsafe { result::stream::synchronize(stream) }.unwrap_err().0, CUDA_ERROR_ILLEGAL_ADDRESS);
        emulator::reset();
    };
    failed(x, 16);
    failed(x + (1 << 20), x);
    emulator::set_reuse(false);
    let freed = device.upload(&[0.0f32; 128]);
    unsafe { result::free_async(freed, stream).unwrap() };
    failed(freed, x);
}

/// A pool hands out what it has: in the order of the stream that freed it at once, elsewhere when it is free.
#[test]
fn addresses_come_back_in_order() {
    let Some((_alone, device)) = device() else { return };
    let (one, other) = (device.stream(), device.stream());
    let pool = unsafe { result::device::get_default_mem_pool(device.number).unwrap() };
    let mut all = u64::MAX;
    let which = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    unsafe { result::mem_pool::set_attribute(pool, which, (&raw mut all).cast()).unwrap() };
    let alloc = |bytes, stream| unsafe { result::malloc_async(stream, bytes).unwrap() };
    let free = |at, stream| unsafe { result::free_async(at, stream).unwrap() };
    let write = |at, value, stream| unsafe { sys::cuMemsetD32Async(at, value, 2, stream).result().unwrap() };
    let add = device.function("saxpy");
    let a = alloc(8, one);
    write(a, 1, one);
    // Another size, another stream.
    free(a, one);
    assert!(alloc(16, one) != a && alloc(8, other) != a);
    // What was there is gone, and what the new owner writes comes after that.
    let b = alloc(8, one);
    assert_eq!(b, a);
    assert_eq!(device.download::<u32>(b, 2, one), [0xa5a5_a5a5; 2]);
    write(b, 2, one);
    free(b, one);
    assert_eq!(alloc(8, one), a);
    write(a, 3, one);
    assert_eq!(device.download::<u32>(a, 2, one), [3; 2]);
    free(a, one);
    unsafe { result::stream::synchronize(one).unwrap() };
    let c = alloc(8, other);
    assert_eq!(c, a);
    assert_eq!(device.download::<u32>(c, 2, other), [0xa5a5_a5a5; 2]);
    // Nobody has it in the meantime.
    free(c, other);
    unsafe { result::stream::synchronize(other).unwrap() };
    launch(add, 1, 1, one, &mut (c, c, 1.0f32, 1i64)).unwrap();
    assert_eq!(unsafe { result::stream::synchronize(one) }.unwrap_err().0, CUDA_ERROR_ILLEGAL_ADDRESS);
    emulator::reset();
    emulator::set_reuse(false);
    assert!(alloc(8, other) != a);
}

#[test]
fn calls_fail_when_told() {
    let Some((_alone, device)) = device() else { return };
    let stream = device.stream();
    let alloc = || unsafe { result::malloc_async(stream, 16) };
    emulator::fail("cuMemAllocAsync", 2, CUDA_ERROR_OUT_OF_MEMORY as i32);
    let first = alloc().unwrap();
    assert_eq!(alloc().unwrap_err().0, CUDA_ERROR_OUT_OF_MEMORY);
    alloc().unwrap();
    emulator::break_device("cuStreamSynchronize", 1, CUDA_ERROR_ECC_UNCORRECTABLE as i32);
    alloc().unwrap();
    assert_eq!(unsafe { result::stream::synchronize(stream) }.unwrap_err().0, CUDA_ERROR_ECC_UNCORRECTABLE);
    assert_eq!(alloc().unwrap_err().0, CUDA_ERROR_ECC_UNCORRECTABLE);
    assert_eq!(message(CUDA_ERROR_ECC_UNCORRECTABLE), "CUDA_ERROR_ECC_UNCORRECTABLE");
    emulator::reset();
    // The second kernel that runs: the first one has done its work.
    emulator::break_device("kernel", 2, CUDA_ERROR_ILLEGAL_INSTRUCTION as i32);
    let x = device.upload(&[1.0f32]);
    let pinned = device.pinned(4).cast::<f32>();
    for _ in 0..2 {
        launch(device.function("saxpy"), 1, 128, stream, &mut (x, x, 1.0f32, 1i64)).unwrap();
        unsafe { sys::cuMemcpyDtoHAsync_v2(pinned.cast(), x, 4, stream).result().unwrap() };
    }
    assert_eq!(unsafe { result::stream::synchronize(stream) }.unwrap_err().0, CUDA_ERROR_ILLEGAL_INSTRUCTION);
    assert_eq!(unsafe { pinned.read() }, 2.0);
    emulator::reset();
    let freed = |r: Result<(), result::DriverError>| r.map_err(|e| e.0);
    unsafe {
        freed(result::free_async(first, stream)).unwrap();
        assert_eq!(freed(result::free_async(first, stream)), Err(CUDA_ERROR_INVALID_VALUE));
        assert_eq!(freed(result::free_async(first + 4, stream)), Err(CUDA_ERROR_INVALID_VALUE));
        let past: CUresult = sys::cuMemcpyDtoDAsync_v2(x, x, 5, stream);
        assert_eq!(past, CUDA_ERROR_INVALID_VALUE);
    }
}

#[test]
fn memory_ends() {
    let Some((_alone, device)) = device() else { return };
    let stream = device.stream();
    let alloc = |bytes| unsafe { result::malloc_async(stream, bytes).map_err(|e| e.0) };
    emulator::set_memory(emulator::counters().live_bytes + 1000);
    let a = alloc(600).unwrap();
    assert_eq!(alloc(600), Err(CUDA_ERROR_OUT_OF_MEMORY));
    unsafe { result::free_async(a, stream).unwrap() };
    assert_eq!(emulator::counters().live_allocations, 1, "it is freed in the order of the stream");
    let b = alloc(600).unwrap();
    assert_eq!(emulator::counters().live_allocations, 1);
    unsafe { result::free_async(b, stream).unwrap() };
    // A pool keeps what is below its threshold.
    let free = || result::mem_get_info().unwrap().0;
    let pool = unsafe { result::device::get_default_mem_pool(device.number).unwrap() };
    let threshold = |mut bytes: u64| {
        let which = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        unsafe { result::mem_pool::set_attribute(pool, which, (&raw mut bytes).cast()).unwrap() };
    };
    threshold(u64::MAX);
    unsafe { result::stream::synchronize(stream).unwrap() };
    assert_eq!(free(), 400);
    unsafe { result::mem_pool::trim_to(pool, 100).unwrap() };
    assert_eq!(free(), 900);
    threshold(0);
    unsafe { result::stream::synchronize(stream).unwrap() };
    assert_eq!(free(), 1000);
    assert_eq!(unsafe { result::malloc_sync(1001) }.unwrap_err().0, CUDA_ERROR_OUT_OF_MEMORY);
}

#[test]
fn fresh_memory_is_rubbish() {
    let Some((_alone, device)) = device() else { return };
    let x = device.alloc(8);
    assert_eq!(device.download::<u32>(x, 2, device.stream()), [0xa5a5_a5a5; 2]);
}

/// Starts this test once more, with a name of a mistake that it then makes.
#[test]
fn writing_beside_an_allocation_ends_the_process() {
    const NAME: &str = "EMULATOR_MISTAKE";
    if let Ok(mistake) = std::env::var(NAME) {
        let Some((_alone, device)) = device() else { return };
        let stream = device.stream();
        let x = device.upload(&[0.0f32; 100]);
        let (at, n) = if mistake == "before" { (x - 4, 1i64) } else { (x, 101) };
        launch(device.function("saxpy"), 1, 128, stream, &mut (at, at, 1.0f32, n)).unwrap();
        let _ = unsafe { result::stream::synchronize(stream) };
        unsafe { result::free_sync(x).unwrap() };
        return;
    }
    for (mistake, message) in [
        ("behind", "memory behind an allocation of 400 bytes was written, at offset 402; found after kernel saxpy"),
        ("before", "memory before an allocation of 400 bytes was written"),
    ] {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let child = child.args(["driver::writing_beside_an_allocation_ends_the_process", "--exact", "--nocapture"]);
        let output = child.env(NAME, mistake).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(message), "{mistake}: {said}");
    }
}

#[test]
fn threads_may_use_it_at_once() {
    let Some((_alone, device)) = device() else { return };
    let device = &device;
    std::thread::scope(|scope| {
        for t in 0..4 {
            scope.spawn(move || {
                device.make_current();
                let stream = device.stream();
                let x = device.upload(&[1.0f32; 64]);
                for _ in 0..10 {
                    launch(device.function("saxpy"), 1, 64, stream, &mut (x, x, t as f32, 64i64)).unwrap();
                    device.download::<f32>(x, 64, stream);
                }
                let want = (1.0 + t as f32).powi(10);
                assert_eq!(device.download::<f32>(x, 64, stream), vec![want; 64]);
            });
        }
    });
}

/// Whatever the pace, what depends on something comes after it.
#[test]
fn paces_agree_where_order_is_given() {
    let Some((_alone, device)) = device() else { return };
    let (one, other) = (device.stream(), device.stream());
    let event = result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING).unwrap();
    let chances = (0..20).map(Pace::Chance);
    let mut seen = Vec::new();
    for pace in [Pace::Lazy, Pace::Eager].into_iter().chain(chances) {
        emulator::set_pace(pace);
        let (x, y) = (device.upload(&[1.0f32]), device.upload(&[0.0f32]));
        for ordered in [true, false] {
            for _ in 0..3 {
                launch(device.function("saxpy"), 1, 1, one, &mut (x, x, 1.0f32, 1i64)).unwrap();
            }
            unsafe {
                result::event::record(event, one).unwrap();
                if ordered {
                    result::stream::wait_event(other, event, sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT).unwrap();
                }
            }
            launch(device.function("saxpy"), 1, 1, other, &mut (x, y, 1.0f32, 1i64)).unwrap();
            let y = device.download::<f32>(y, 1, other)[0];
            if ordered { assert_eq!(y, 8.0, "{pace:?}") } else { seen.push(y) }
        }
        result::ctx::synchronize().unwrap();
    }
    assert_eq!(seen[..2], [16.0, 72.0]);
    assert!(seen.iter().any(|y| ![16.0, 72.0].contains(y)), "chance lets some of it run: {seen:?}");
}

#[test]
fn devices_are_apart() {
    let Some((_alone, device)) = device() else { return };
    emulator::set_devices(2);
    result::init().unwrap();
    assert_eq!(result::device::get_count().unwrap(), 2);
    let second = result::device::get(1).unwrap();
    let free = || result::mem_get_info().unwrap().0;
    let before = free();
    unsafe {
        let context = result::primary_ctx::retain(second).unwrap();
        result::ctx::set_current(context).unwrap();
        let x = result::malloc_sync(1 << 20).unwrap();
        emulator::break_device("cuCtxSynchronize", 1, CUDA_ERROR_ILLEGAL_ADDRESS as i32);
        assert!(result::ctx::synchronize().is_err() && result::free_sync(x).is_err());
        device.make_current();
        result::ctx::synchronize().unwrap();
        assert_eq!(free(), before);
        // A context that goes away takes all with it, and a new one is whole.
        result::primary_ctx::release(second).unwrap();
        assert_eq!(result::ctx::set_current(context).unwrap_err().0, CUDA_ERROR_INVALID_CONTEXT);
        let context = result::primary_ctx::retain(second).unwrap();
        result::ctx::set_current(context).unwrap();
        result::ctx::synchronize().unwrap();
        assert_eq!(result::mem_get_info().unwrap(), (1 << 30, 1 << 30));
        result::primary_ctx::release(second).unwrap();
        assert_eq!(result::ctx::synchronize().unwrap_err().0, CUDA_ERROR_CONTEXT_IS_DESTROYED);
        device.make_current();
    }
}

/// Freeing at once waits, a stream that is destroyed runs on, and functions of the host run in order.
#[test]
fn what_is_given_up_is_finished() {
    unsafe extern "C" fn note(at: *mut std::ffi::c_void) {
        unsafe { at.cast::<u32>().write(5) };
    }
    let Some((_alone, device)) = device() else { return };
    let stream = device.stream();
    let event = result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING).unwrap();
    let pinned = device.pinned(8).cast::<u32>();
    let (x, other) = (device.upload(&[7u32]), device.alloc(16));
    unsafe {
        sys::cuMemcpyDtoHAsync_v2(pinned.cast(), x, 4, stream).result().unwrap();
        result::free_sync(other).unwrap();
        assert_eq!(pinned.read(), 7);
        result::stream::launch_host_function(stream, note, pinned.add(1).cast()).unwrap();
        result::event::record(event, stream).unwrap();
        result::stream::destroy(stream).unwrap();
        assert_eq!(result::stream::synchronize(stream).unwrap_err().0, CUDA_ERROR_INVALID_HANDLE);
        assert_eq!(pinned.add(1).read(), 0xa5a5_a5a5);
        result::event::synchronize(event).unwrap();
        assert_eq!(pinned.add(1).read(), 5);
    }
}
