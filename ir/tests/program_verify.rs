//! The verifier of programs accepts a sound one and names what is wrong with each other.

use ir::kernel::text::parse;
use ir::program::verify::verify;
use ir::program::{Buffer, BufferId, Epilogue, Launch, Product, Program, Site, Slot, Sort, Step, StepKind, Storage};
use ir::{DType, Dim, Literal, Scalar, Type};

const HALVE: &str = "kernel @halve(%x: in f32, %y: out f32; N) {
  nest %i in 0..N work 1 {
    %a: f32 = load %x[%i]
    %c: f32 = const 0.5
    %b: f32 = mul %a, %c
    store %y[%i], %b
  }
}";

const ROWS: &str = "kernel @rows(%x: in f32, %y: out f32; N) sites 1 {
  nest %i in 0..N work 1 {
    %j: i64 = index %i
    check 0: %j in 0..N
    %a: f32 = load %x[%i]
    store %y[%i], %a
  }
}";

fn launch(kernel: usize, from: u32, to: u32, sites: usize) -> Step {
    let site = Site { op: "gather", axis: 0, extent: Dim::from(4), unsigned: false, origins: Vec::new() };
    let buffers = vec![BufferId(from), BufferId(to)];
    let kind = StepKind::Launch(Launch { kernel, buffers, extents: vec![Dim::symbol("B")], sites: vec![site; sites] });
    Step { kind, origins: Vec::new(), name: "halve".into() }
}

/// b0 (input) -> b1 -> b2 -> b3 -> b4 (output over the input); b1 and b3 share a slot.
fn sound() -> Program {
    let ty = Type::new(DType::F32, [Dim::symbol("B")]);
    let buffer = |storage| Buffer { ty: ty.clone(), storage };
    let slot = || Slot { sizes: vec![ty.bytes()] };
    let storages = [
        Storage::Input(0),
        Storage::Slot(0),
        Storage::Slot(1),
        Storage::Slot(0),
        Storage::InPlace { output: 0, input: 0 },
    ];
    Program {
        name: "test".into(),
        inputs: vec![ty.clone()],
        outputs: vec![ty.clone()],
        output_buffers: vec![BufferId(4)],
        buffers: storages.into_iter().map(buffer).collect(),
        kernels: [HALVE, ROWS].map(|text| parse(text).unwrap_or_else(|e| panic!("{e}"))).to_vec(),
        steps: vec![launch(1, 0, 1, 1), launch(0, 1, 2, 0), launch(0, 2, 3, 0), launch(0, 3, 4, 0)],
        slots: vec![slot(), slot()],
        fallible_prefix: 1,
        ..Program::default()
    }
}

/// Breaks the sound program and expects exactly these complaints.
fn broken(change: impl FnOnce(&mut Program), expected: &[&str]) {
    let mut program = sound();
    change(&mut program);
    let found: Vec<String> = verify(&program).expect_err("it is broken").iter().map(ToString::to_string).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_sound_program_passes() {
    assert_eq!(verify(&sound()), Ok(()));
    assert_eq!(verify(&Program::default()), Ok(()));
}

#[test]
fn names() {
    broken(
        |p| p.steps[1] = launch(7, 1, 2, 0),
        &["invariant 1: step 1 (halve) names a buffer or kernel that does not exist"],
    );
    broken(|p| p.buffers[2].storage = Storage::Slot(5), &["invariant 1: b2 lies in Slot(5), which does not exist"]);
    broken(|p| p.output_buffers.clear(), &["invariant 1: 1 outputs are read from []"]);
}

#[test]
fn launches() {
    broken(
        |p| p.buffers[2].ty.dtype = DType::I32,
        &[
            "invariant 2: step 1 (halve) gives [f32, i32], [(1, 1), (0, 0)]; its kernel takes [f32, f32] (extents and \
             sites given, taken)",
            "invariant 2: step 2 (halve) gives [i32, f32], [(1, 1), (0, 0)]; its kernel takes [f32, f32] (extents and \
             sites given, taken)",
        ],
    );
    broken(|p| p.fallible_prefix = 0, &["invariant 9: step 0 (halve) can fail, but only the first 0 may"]);
}

#[test]
fn interpreted_steps_may_fail() {
    broken(
        |p| {
            let graph = Box::new(ir::text::parse("graph @halve(%0: f32[4]) -> (f32[4]) {\n  return %0\n}").unwrap());
            let [inputs, outputs] = [1, 2].map(|b| vec![BufferId(b)]);
            p.steps[1].kind = StepKind::Interpret { graph, inputs, outputs, reason: "slow".into() };
        },
        &["invariant 9: step 1 (halve) can fail, but only the first 1 may"],
    );
}

#[test]
fn reads_and_writes() {
    broken(
        |p| p.steps[1] = launch(0, 1, 0, 0),
        &[
            "invariant 3: step 1 (halve) writes b0, which is not to be written",
            "invariant 4: step 2 (halve) reads b2, which no step before it has written",
        ],
    );
    broken(
        |p| p.steps.push(launch(0, 0, 4, 0)),
        &[
            "invariant 3: step 4 (halve) writes b4, which was written before",
            "invariant 8: step 3 (halve) writes b4 over input 0, which is read afterwards",
        ],
    );
    let constant = Literal::filled(&[2], Scalar::F32(1.0));
    broken(
        |p| p.buffers[2].storage = Storage::Constant(constant),
        &["invariant 3: step 1 (halve) writes b2, which is not to be written"],
    );
}

#[test]
fn slots() {
    broken(
        |p| p.buffers[2].storage = Storage::Slot(0),
        &[
            "invariant 5: step 1 (halve) writes b2 over b1 in slot 0, which is needed until step 1 (halve)",
            "invariant 5: step 2 (halve) writes b3 over b2 in slot 0, which is needed until step 2 (halve)",
        ],
    );
    broken(|p| p.slots[1].sizes = vec![Dim::symbol("B")], &["invariant 6: b2 of 4*B bytes lies in slot 1 of [B]"]);
    broken(|p| p.buffers[2].storage = Storage::Slot(usize::MAX), &["invariant 1: b2 is written, but has no place"]);
}

#[test]
fn outputs() {
    broken(
        |p| p.output_buffers[0] = BufferId(3),
        &["invariant 7: output 0 is read from b3, which is temporary or never written"],
    );
    broken(
        |p| p.buffers[2].storage = Storage::Output(0),
        &["invariant 7: b2 and b4 both lie in the memory of output 0"],
    );
    broken(
        |p| p.outputs[0] = Type::new(DType::F32, [3]),
        &["invariant 7: output 0 of type f32[3] is read from b4 of type f32[B]"],
    );
}

#[test]
fn in_place() {
    broken(
        |p| p.fallible_prefix = 4,
        &["invariant 8: step 3 (halve) writes over input 0 before the last step that can fail"],
    );
    broken(
        |p| {
            p.buffers[1].storage = Storage::Slot(1);
            p.buffers[2].storage = Storage::InPlace { output: 0, input: 0 };
            p.buffers[4].storage = Storage::Slot(0);
            p.output_buffers[0] = BufferId(2);
            p.steps[2] = launch(0, 0, 3, 0);
            p.steps[3] = launch(0, 2, 4, 0);
            p.slots.push(p.slots[0].clone());
            p.buffers[4].storage = Storage::Slot(2);
        },
        &["invariant 8: step 1 (halve) writes b2 over input 0, which is read afterwards"],
    );
    broken(
        |p| p.inputs[0] = Type::new(DType::F32, [3]),
        &["invariant 8: b4 of type f32[B] takes the memory of input 0: f32[3]"],
    );
    let whole = |b: u32| (BufferId(b), [0, 0, 1].map(Dim::from));
    let product = Product {
        dtype: DType::F32,
        extents: [1, 1, 1, 1].map(Dim::from),
        lhs: whole(0),
        rhs: whole(3),
        out: whole(4),
        epilogue: Epilogue::default(),
    };
    let step = |product| Step { kind: StepKind::Product(product), origins: Vec::new(), name: "dot".into() };
    let plain = step(product.clone());
    broken(|p| p.steps[3] = plain, &["invariant 8: step 3 (dot) writes b4 over input 0, which is read afterwards"]);
    let biased = step(Product { epilogue: Epilogue { bias: Some(BufferId(1)), ..Epilogue::default() }, ..product });
    broken(
        |p| p.steps[3] = biased,
        &[
            "invariant 12: step 3 (dot) gives 1 columns of f32 the bias f32[B]",
            "invariant 5: step 2 (halve) writes b3 over b1 in slot 0, which is needed until step 3 (dot)",
            "invariant 8: step 3 (dot) writes b4 over input 0, which is read afterwards",
        ],
    );
}

#[test]
fn sorts() {
    let sort = |n: i64| {
        let extents = [1, n, 1].map(Dim::from);
        let sort = Sort { extents, input: BufferId(2), out: BufferId(3), descending: false };
        Step { kind: StepKind::Sort(sort), origins: Vec::new(), name: "argsort".into() }
    };
    // Positions are i64, one for each element.
    broken(|p| p.steps[2] = sort(4), &["invariant 10: step 2 (argsort) sorts f32[B] to f32[B] in rows of [1, 4, 1]"]);
}
