//! Capture, graphs and their updates.

use crate::device::{Device, launch};
use cudarc::driver::sys::CUresult::*;
use cudarc::driver::{result, sys};
use emulator::{Alone, Schedule};
use std::ffi::c_void;
use std::ptr;

const TEXT: &str = r#"
TW_KERNEL void add(float* x, float a) { x[threadIdx.x] += a; }
TW_KERNEL void scale(float* x, float a) { x[threadIdx.x] *= a; }
"#;
const MODE: sys::CUstreamCaptureMode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;

fn device() -> Option<(Alone, Device)> {
    emulator::ready().then(|| (emulator::alone(), Device::new(TEXT)))
}

fn capture(stream: sys::CUstream, enqueue: impl FnOnce()) -> Result<sys::CUgraph, sys::CUresult> {
    // SAFETY: the stream exists.
    unsafe {
        result::stream::begin_capture(stream, MODE).unwrap();
        enqueue();
        result::stream::end_capture(stream).map_err(|e| e.0)
    }
}

fn instantiate(graph: sys::CUgraph) -> sys::CUgraphExec {
    let mut executable = ptr::null_mut();
    // SAFETY: the graph exists.
    unsafe { sys::cuGraphInstantiateWithFlags(&mut executable, graph, 0).result().unwrap() };
    executable
}

#[test]
fn a_graph_runs_again_and_again_and_can_be_changed() {
    let Some((_alone, device)) = device() else { return };
    let stream = device.stream();
    let x = device.upload(&[1.0f32; 4]);
    let record = |a: f32| {
        let steps = || {
            launch(device.function("add"), 1, 4, stream, &mut (x, a)).unwrap();
            launch(device.function("scale"), 1, 4, stream, &mut (x, 2.0f32)).unwrap();
        };
        capture(stream, steps).unwrap()
    };
    let graph = record(1.0);
    let executable = instantiate(graph);
    assert_eq!(device.download::<f32>(x, 4, stream), [1.0; 4], "nothing of it has run");
    let run = || unsafe { result::graph::launch(executable, stream).unwrap() };
    run();
    run();
    assert_eq!(device.download::<f32>(x, 4, stream), [10.0; 4]);
    // By another capture, which has the same form.
    let changed = record(2.0);
    let mut info = sys::CUgraphExecUpdateResultInfo {
        result: sys::CUgraphExecUpdateResult::CU_GRAPH_EXEC_UPDATE_ERROR,
        errorNode: ptr::null_mut(),
        errorFromNode: ptr::null_mut(),
    };
    unsafe { sys::cuGraphExecUpdate_v2(executable, changed, &mut info).result().unwrap() };
    assert_eq!(info.result, sys::CUgraphExecUpdateResult::CU_GRAPH_EXEC_UPDATE_SUCCESS);
    run();
    assert_eq!(device.download::<f32>(x, 4, stream), [24.0; 4]);
    // By the arguments of one node. What was launched before keeps its own.
    let mut nodes = [ptr::null_mut(); 2];
    let mut count = 2;
    unsafe { sys::cuGraphGetNodes(graph, nodes.as_mut_ptr(), &mut count).result().unwrap() };
    run();
    let (mut at, mut a) = (x, 0.5f32);
    let mut pointers: [*mut c_void; 2] = [(&raw mut at).cast(), (&raw mut a).cast()];
    unsafe {
        let mut node: sys::CUDA_KERNEL_NODE_PARAMS = std::mem::zeroed();
        sys::cuGraphKernelNodeGetParams_v2(nodes[1], &mut node).result().unwrap();
        assert_eq!((node.blockDimX, node.gridDimX), (4, 1));
        assert_eq!(node.kernelParams.add(1).read().cast::<f32>().read(), 2.0);
        node.kernelParams = pointers.as_mut_ptr();
        sys::cuGraphExecKernelNodeSetParams_v2(executable, nodes[1], &node).result().unwrap();
    }
    run();
    assert_eq!(device.download::<f32>(x, 4, stream), [27.0; 4]);
    // Another form is refused, and changes nothing.
    let shorter = capture(stream, || launch(device.function("add"), 1, 4, stream, &mut (x, 1.0f32)).unwrap()).unwrap();
    let refused = unsafe { sys::cuGraphExecUpdate_v2(executable, shorter, &mut info) };
    assert_eq!(refused, CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
    assert_eq!(info.result, sys::CUgraphExecUpdateResult::CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED);
    let counters = emulator::counters();
    assert_eq!((counters.graph_launches, counters.kernels, counters.launches), (5, 10, 5));
}

#[test]
fn what_a_capture_forbids_spoils_it() {
    let Some((_alone, device)) = device() else { return };
    let stream = device.stream();
    let x = device.upload(&[1.0f32; 4]);
    let event = result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING).unwrap();
    let forbidden: [(&str, sys::CUresult, &dyn Fn() -> sys::CUresult); 6] = [
        ("wait", CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, &|| unsafe { sys::cuStreamSynchronize(stream) }),
        ("context", CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, &|| unsafe { sys::cuCtxSynchronize() }),
        ("alloc", CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, &|| unsafe { sys::cuMemAlloc_v2(&mut 0, 16) }),
        ("async", CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, &|| unsafe { sys::cuMemAllocAsync(&mut 0, 16, stream) }),
        ("copy", CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, &|| unsafe {
            sys::cuMemcpyHtoD_v2(x, [0u8].as_ptr().cast(), 1)
        }),
        ("event", CUDA_ERROR_CAPTURED_EVENT, &|| unsafe {
            sys::cuEventRecord(event, stream).result().unwrap();
            sys::cuEventQuery(event)
        }),
    ];
    for (name, want, call) in forbidden {
        let outcome = capture(stream, || {
            assert_eq!(call(), want, "{name}");
            let refused = launch(device.function("add"), 1, 4, stream, &mut (x, 1.0f32));
            assert_eq!(refused.unwrap_err().0, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "{name}");
        });
        assert_eq!(outcome, Err(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED), "{name}");
    }
    assert_eq!(device.download::<f32>(x, 4, stream), [1.0; 4]);
}

/// Two branches and what comes after both; branches run in either order.
#[test]
fn a_capture_takes_in_streams_that_wait_for_it() {
    let Some((_alone, device)) = device() else { return };
    let (main, side) = (device.stream(), device.stream());
    let x = device.upload(&[1.0f32]);
    let [fork, join] = [(); 2].map(|()| result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING).unwrap());
    let wait = |stream, event| unsafe {
        result::stream::wait_event(stream, event, sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT).unwrap()
    };
    let record = |joins: bool, ordered: bool| {
        capture(main, || unsafe {
            result::event::record(fork, main).unwrap();
            wait(side, fork);
            launch(device.function("scale"), 1, 1, main, &mut (x, 10.0f32)).unwrap();
            if ordered {
                result::event::record(fork, main).unwrap();
                wait(side, fork);
            }
            launch(device.function("add"), 1, 1, side, &mut (x, 1.0f32)).unwrap();
            result::event::record(join, side).unwrap();
            if joins {
                wait(main, join);
            }
        })
    };
    assert_eq!(record(false, false), Err(CUDA_ERROR_STREAM_CAPTURE_UNJOINED));
    for (ordered, want) in [(true, [11.0, 11.0]), (false, [11.0, 20.0])] {
        let executable = instantiate(record(true, ordered).unwrap());
        for (schedule, want) in [Schedule::FirstIn, Schedule::LastIn].into_iter().zip(want) {
            emulator::set_schedule(schedule);
            unsafe {
                result::memcpy_htod_sync(x, &[1.0f32]).unwrap();
                result::graph::launch(executable, main).unwrap();
            }
            assert_eq!(device.download::<f32>(x, 1, main), [want], "{ordered} {schedule:?}");
        }
    }
}
