//! Making tensors under a limit of memory, in a process of its own because the limit is that of the process.

use runtime::buffer::{set_memory_limit, stats, trim};
use std::sync::Mutex;
use tracewright::{Code, DType, Tensor, jit};

/// The limit is one for all tests.
static LIMIT: Mutex<()> = Mutex::new(());

#[test]
fn a_compiled_call_without_memory_names_its_function_and_line() {
    let _alone = LIMIT.lock().unwrap();
    let n = 1usize << 20;
    let made = line!() + 1;
    let grow = jit(|x: Tensor| x.exp()).named("grow");
    let x = Tensor::ones([n], DType::F32);
    grow.call(&x).unwrap();
    trim();
    set_memory_limit(stats().held + 4 * n - 1);
    let (outcome, line) = (grow.call(&x), line!());
    set_memory_limit(isize::MAX as usize);
    let e = outcome.err().unwrap();
    assert_eq!((e.code(), e.op()), (Code::Memory, "call"), "{e}");
    assert_eq!((&*e.location().unwrap().file, e.location().unwrap().line), (file!(), line), "{e}");
    let text = e.to_string();
    assert!(text.contains(&format!("\n  note: in the compiled function grow ({}:{made}:", file!())), "{text}");
    assert_eq!(grow.call(&x).unwrap().to_vec::<f32>().unwrap().len(), n);
}

#[test]
fn constructors_take_memory_once_and_name_themselves_when_there_is_none() {
    let _alone = LIMIT.lock().unwrap();
    let n = 1usize << 20;
    let data = vec![1.0f32; n];
    let makers: [(&str, &dyn Fn() -> Tensor); 6] = [
        ("zeros", &|| Tensor::zeros([n], DType::F32)),
        ("ones", &|| Tensor::ones([n], DType::F32)),
        ("full", &|| Tensor::full([n], 2.5, DType::F32)),
        ("iota", &|| Tensor::arange(n, DType::F32)),
        ("linspace", &|| Tensor::linspace(0.0, 1.0, n)),
        ("from_slice", &|| Tensor::from_slice(&data, [n])),
    ];
    for (name, make) in makers {
        trim();
        let held = stats().held;
        set_memory_limit(held + 4 * n - 1);
        let e = make().ok().unwrap_err();
        assert_eq!((e.code(), e.op()), (Code::Memory, name), "{e}");
        assert_eq!(e.rule(), "there is no memory for f32[1048576]");
        // What it takes is enough, but for the block's header.
        set_memory_limit(held + 4 * n + 8192);
        let made = make();
        set_memory_limit(isize::MAX as usize);
        let values = made.to_vec::<f32>().unwrap();
        assert_eq!(values.len(), n, "{name}");
        let last = match name {
            "zeros" => 0.0,
            "full" => 2.5,
            "iota" => (n - 1) as f32,
            _ => 1.0,
        };
        assert_eq!(values[n - 1], last, "{name}");
    }
}
