//! A call in the steady state asks the system for nothing.

use ir::ops::{GraphEmitter, contract, reduce};
use ir::{DType, Dim, Emit, EmitExt, Graph, Location, Origin, Type, Value};
use runtime::pool::with_threads;
use runtime::{Array, Executable, Input};
use smallvec::SmallVec;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNT.try_with(|c| c.set(c.get() + 1));
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn build(inputs: &[Type], f: impl FnOnce(&mut GraphEmitter<'_>, &[Value]) -> Vec<Value>) -> Graph {
    let mut graph = Graph::new("test");
    let values: Vec<Value> = inputs.iter().map(|t| graph.add_input(t.clone())).collect();
    let origin = graph.origins.intern(Origin { location: Location::caller(), scope: "".into(), gradient: false });
    let region = graph.root();
    let mut b = GraphEmitter { graph: &mut graph, region, origins: SmallVec::from_iter([origin]) };
    let outputs = f(&mut b, &values);
    graph.set_outputs(outputs);
    graph
}

fn f32s<const N: usize>(dims: [i64; N]) -> Type {
    Type::new(DType::F32, dims.map(Dim::from))
}

/// Allocations of a hundred calls, after some that fill the caches.
fn allocations(graph: &Graph) -> usize {
    let exe = Executable::compile(graph, &[]).unwrap();
    assert!(exe.is_compiled());
    let arrays: Vec<Array> = graph
        .input_types()
        .iter()
        .map(|t| {
            Array::from_slice(&t.shape.known().unwrap(), &vec![0.5f32; t.shape.numel().as_usize().unwrap()]).unwrap()
        })
        .collect();
    let mut inputs: SmallVec<[Input; 8]> = arrays.into_iter().map(Input::Shared).collect();
    let mut call = |n: usize| (0..n).for_each(|_| drop(exe.call(&mut inputs).unwrap()));
    call(5);
    let before = COUNT.get();
    call(100);
    COUNT.get() - before
}

#[test]
fn a_small_call() {
    let g = build(&[f32s([4])], |b, v| {
        let (two, one) = (b.full_like(v[0], 2.0), b.full_like(v[0], 1.0));
        let y = b.mul(v[0], two);
        vec![b.add(y, one)]
    });
    assert_eq!(allocations(&g), 0);
}

#[test]
fn kernels_of_several_passes_and_products() {
    let g = build(&[f32s([32, 64]), f32s([64, 48])], |b, v| {
        let none = Default::default;
        let op = contract::DotGeneral {
            lhs_batch: none(),
            rhs_batch: none(),
            lhs_contract: [1usize].as_slice().into(),
            rhs_contract: [0usize].as_slice().into(),
        };
        let y = b.emit(op.into(), &[v[0], v[1]]);
        let shape = b.ty(y).shape.clone();
        let max = b.emit(reduce::ReduceMax { axes: [1usize].as_slice().into(), nonempty: false }.into(), &[y]);
        let max = b.broadcast_reduced(max, &shape, &[1]);
        let shifted = b.sub(y, max);
        let e = b.exp(shifted);
        let sum = b.reduce_sum(e, &[1]);
        let columns = b.reduce_sum(e, &[0]);
        vec![e, sum, columns]
    });
    // The library of matrix products gets its packing space from the system.
    assert!(with_threads(1, || allocations(&g)) <= 100);
}
