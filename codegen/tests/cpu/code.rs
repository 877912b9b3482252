//! Machine code and its memory.

use crate::data::*;
use crate::loops::{NESTS, softmax_over_rows};
use crate::ops::pointwise;
use crate::target::*;
use codegen::cpu::CompileOptions;
use ir::kernel::BinaryOp;
use ir::kernel::interp::scalar;
use ir::kernel::text::parse;
use ir::{DType, Data, Scalar};

#[test]
fn pointwise_vectors_are_packed() {
    let kernel = parse(
        "kernel @k(%x: in f32, %y: out f32; N) {
          nest %t in 0..1 work N {
            %two: f32 = const 2
            %one: f32 = const 1
            for %i in 0..N lanes {
              %a: f32 = load %x[%i]
              %b: f32 = mul %a, %two
              %c: f32 = add %b, %one
              store %y[%i], %c
            }
          }
        }",
    )
    .unwrap();
    let compiled = compiler().compile_with(&kernel, CompileOptions { keep_text: true, vectorize: true }).unwrap();
    let assembly = compiled.disassembly().unwrap();
    assert!(assembly.contains("mulps") && assembly.contains("addps"), "{assembly}");
    assert!(compiled.clif().unwrap().contains("fmul"));
    assert!(compiled.code_size() > 0 && !compiled.compile_time().is_zero());
    assert!(compiler().compile(&kernel).unwrap().clif().is_none());
    for n in LENGTHS {
        let x = Random::new(1).data(DType::F32, n);
        check(&kernel, &[x, Data::filled(Scalar::F32(0.0), n)], &[n as i64], Within::Bits);
    }
}

#[test]
fn kernels_compile_together() {
    let kernels: Vec<_> = (0..20)
        .map(|n| {
            parse(&format!(
                "kernel @k{n}(%o: out i64) {{ nest %t in 0..3 work 1 {{ %x: i64 = index %t*{n} + 1 store %o[%t], %x }} }}"
            ))
            .unwrap()
        })
        .collect();
    for threads in [1, 2, 5] {
        let compiled = compiler().compile_all(&kernels, CompileOptions::default(), threads).unwrap();
        for (n, k) in compiled.iter().enumerate() {
            let (got, _) = execute(k, &[Data::I64(vec![0; 3])], &[], &[(0, 3)]);
            assert_eq!(format!("{:?}", got[0].get(2)), format!("{}:i64", 2 * n + 1));
        }
    }
    assert!(compiler().compile_all(&[], CompileOptions::default(), 2).unwrap().is_empty());
}

#[test]
fn malformed_kernels_are_refused() {
    let kernel =
        parse("kernel @k(%o: out f32) { nest %t in 0..1 work 1 { %x: f32 = const 1 store %o[0], %x } }").unwrap();
    assert!(compiler().compile(&kernel).is_ok());
    let mut wrong = kernel.clone();
    wrong.vars[0] = DType::I64;
    let message = compiler().compile(&wrong).unwrap_err().to_string();
    assert!(message.starts_with("kernel `k` is malformed: "), "{message}");
}

#[test]
#[cfg(target_os = "linux")]
fn code_needs_no_writable_executable_memory() {
    const MARK: &str = "TRACEWRIGHT_TEST_DENY_WRITE_EXECUTE";
    const PR_SET_MDWE: i32 = 65;
    const PR_MDWE_REFUSE_EXEC_GAIN: libc::c_ulong = 1;
    if std::env::var_os(MARK).is_some() {
        // SAFETY: it changes this process only, which runs nothing else.
        if unsafe { libc::prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) } != 0 {
            println!("skipped: this kernel cannot deny it");
            return;
        }
        return softmax_over_rows();
    }
    let name = "loops::code_needs_no_writable_executable_memory";
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let output = command.args(["--exact", name, "--nocapture"]).env(MARK, "1").output().unwrap();
    print!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn sizes_are_known_before_a_launch() {
    let compiled = compiler().compile(&parse(NESTS).unwrap()).unwrap();
    assert_eq!(compiled.grids(&[3, 5]).unwrap().as_slice(), [3, 0, 5]);
    assert_eq!(compiled.works(&[3, 5]).unwrap().as_slice(), [1, 1, 3]);
    assert_eq!(compiled.scratch_bytes(&[3, 5]), Some(64 + 64 + 64));
    assert_eq!(compiled.scratch_bytes(&[3, 9]), Some(128 + 64 + 64));
    assert_eq!(compiled.grids(&[3]), None);
    assert_eq!(compiled.scratch_bytes(&[3, i64::MAX]), None);
}

#[test]
fn binary_operations_with_a_constant() {
    for &op in BinaryOp::ALL {
        for dtype in DType::ALL {
            let zero = Scalar::zero(dtype);
            if scalar::binary(op, zero, zero).is_none() {
                continue;
            }
            // Only these look at a constant.
            let special = matches!(op, BinaryOp::Max | BinaryOp::Min | BinaryOp::Div | BinaryOp::Rem);
            for c in unusual(dtype).into_iter().step_by(if special { 1 } else { 9 }) {
                for left in [true, false] {
                    let kernel = pointwise(&[dtype], |k, x| {
                        let c = k.constant(c);
                        if left { k.binary(op, c, x[0]) } else { k.binary(op, x[0], c) }
                    });
                    let values = unusual(dtype);
                    let n = values.len();
                    let data = [Data::collect(dtype, values.into_iter()), Data::filled(zero, n)];
                    let within = if op.ulps() > 0 && dtype.is_float() { Within::Ulps(4) } else { Within::Bits };
                    check(&kernel, &data, &[n as i64], within);
                }
            }
        }
    }
}
