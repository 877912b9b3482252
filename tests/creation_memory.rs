//! Making tensors under a limit of memory, in a process of its own because the limit is that of the process.

use runtime::buffer::{set_memory_limit, stats, trim};
use std::sync::Mutex;
use tracewright::{Code, DType, Tensor, control, fori, grad, jacfwd, jit, vmap};

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
    let wanted = format!("note: the most is wanted for f32[1048576], 4194304 bytes, of exp at {}:{made}:", file!());
    assert!(text.contains(&wanted), "{text}");
    assert_eq!(grow.call(&x).unwrap().to_vec::<f32>().unwrap().len(), n);
}

/// The error has these words, and says that the most is wanted for a type by an op of a line.
fn wants(t: &Tensor, line: u32, most: &str) -> String {
    let e = t.err().unwrap();
    assert_eq!(e.code(), Code::Memory, "{e}");
    assert_eq!(e.location().unwrap().file, file!());
    let text = e.to_string();
    let (_, note) = text.split_once("note: the most is wanted for ").unwrap_or_else(|| panic!("{text}"));
    assert!(note.starts_with(most), "{text}");
    assert!(note.lines().next().unwrap().contains(&format!("{}:{line}:", file!())), "{text}");
    text
}

#[test]
fn what_a_transform_has_no_memory_for_is_named() {
    let _alone = LIMIT.lock().unwrap();
    // What each iteration keeps for the gradient.
    let line = line!() + 1;
    let long = |x: &Tensor| fori(0..1i64 << 38, |_, c: &Tensor| (c * x).sin(), &Tensor::from(0.3f64));
    let text = wants(&grad(long)(&Tensor::from(1.0f64)), line, "f64[274877906944], 2199023255552 bytes, of scan at ");
    assert!(text.starts_with("error[memory]: call: no memory for a buffer of "), "{text}");
    let line = line!() + 1;
    let stacked = control::scan::times(1i64 << 45, |c: &Tensor| (c + 1.0, c.clone()), &Tensor::from(0.0f64)).1;
    wants(&stacked, line, "f64[35184372088832], 281474976710656 bytes, of scan at ");
    // The function's own line, and not that of the transform.
    let line = line!() + 1;
    let wide = |x: &Tensor| Tensor::ones([1usize << 40], DType::F64) * x;
    wants(&vmap(wide)(&Tensor::from([1.0f64, 2.0])), line, "f64[2, 1099511627776], 17592186044416 bytes, of ");
    let line = line!() + 1;
    let columns = jacfwd(|x: &Tensor| x * 2.0)(&Tensor::ones([1 << 20], DType::F64));
    let text = wants(&columns, line, "f64[1048576, 1048576], 8796093022208 bytes, of ");
    assert!(text.contains(&format!("\n  at {}:{line}:", file!())), "{text}");
    // A graph of the same structure is compiled already, with other lines.
    let line = line!() + 1;
    let again = jacfwd(|x: &Tensor| x * 2.0)(&Tensor::ones([1 << 20], DType::F64));
    wants(&again, line, "f64[1048576, 1048576], 8796093022208 bytes, of ");
    // An eager op says what is wanted, but has no line but its own.
    let big = Tensor::from([[1.0f64, 2.0]]).broadcast_to([1i64 << 45, 2]);
    let e = (&big + 1.0).err().unwrap();
    assert_eq!((e.code(), e.location().unwrap().line), (Code::Memory, line!() - 1), "{e}");
    assert!(!e.to_string().contains("note: the most"), "{e}");
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
