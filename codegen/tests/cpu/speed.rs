//! Timings, for people: `cargo test --release -p tracewright-codegen --test cpu speed -- --ignored --nocapture`.

use crate::target::*;
use codegen::cpu::{CompileOptions, CompiledKernel, Status};
use ir::kernel::text::parse;
use std::time::Instant;

/// Best time of one call, in ns.
fn time(kernel: &CompiledKernel, buffers: &[usize], extents: &[i64]) -> f64 {
    let mut memory: Vec<Vec<f32>> = buffers.iter().map(|&n| vec![0.5f32; n]).collect();
    let pointers: Vec<*mut u8> = memory.iter_mut().map(|m| m.as_mut_ptr().cast()).collect();
    let tasks = kernel.grids(extents).unwrap().iter().sum();
    let mut scratch = vec![0u64; kernel.scratch_bytes(extents).unwrap() / 8 + 8];
    let row: *mut u8 = scratch.as_mut_ptr().cast();
    // SAFETY: there are 64 bytes more than the kernel asks for.
    let row = unsafe { row.add(row.align_offset(64)) };
    let mut status = vec![Status::NONE; kernel.sites()];
    // SAFETY: the caller gives the lengths that the kernel reads and writes.
    let mut run = || unsafe { kernel.call(pointers.as_ptr(), extents.as_ptr(), 0, tasks, row, status.as_mut_ptr()) };
    run();
    let mut best = f64::MAX;
    for _ in 0..200 {
        let start = Instant::now();
        let mut rounds = 0;
        while rounds < 10 || start.elapsed().as_micros() < 300 {
            run();
            rounds += 1;
        }
        best = best.min(start.elapsed().as_nanos() as f64 / rounds as f64);
    }
    best
}

fn report(name: &str, text: &str, buffers: &[usize], extents: &[i64], elements: usize) {
    let kernel = parse(text).unwrap_or_else(|e| panic!("{e}"));
    let (mut best, mut compiled) = (u128::MAX, None);
    for _ in 0..20 {
        let k = compiler().compile_with(&kernel, CompileOptions::default()).unwrap();
        best = best.min(k.compile_time().as_micros());
        compiled = Some(k);
    }
    let compiled = compiled.unwrap();
    let ns = time(&compiled, buffers, extents);
    let (size, each) = (compiled.code_size(), ns / elements as f64);
    println!("{name:32} {each:8.3} ns/el {ns:10.0} ns a call; compiled in {best:5} µs, {size:5} bytes");
}

fn pointwise(inputs: usize, body: &str) -> String {
    let mut text = "kernel @k(".to_string();
    (0..inputs).for_each(|i| text += &format!("%x{i}: in f32, "));
    text += "%y: out f32; N) { nest %t in 0..1 work N { for %i in 0..N lanes {\n";
    (0..inputs).for_each(|i| text += &format!("%v{i}: f32 = load %x{i}[%i]\n"));
    text + body + "store %y[%i], %r } } }"
}

#[test]
#[ignore = "prints timings"]
fn kernels() {
    let n = 4096;
    let constants = "%a: f32 = const 1.5\n%b: f32 = const 2\n%c: f32 = const 0.25\n%d: f32 = const 3\n";
    let chain = "%1: f32 = mul %v0, %a\n%2: f32 = add %1, %b\n%3: f32 = mul %2, %c\n%r: f32 = add %3, %d\n";
    report("(x*a+b)*c+d", &pointwise(1, &format!("{constants}{chain}")), &[n, n], &[n as i64], n);
    report("x*2+1 on 4", &pointwise(1, &format!("{constants}{chain}")), &[n, n], &[4], 4);
    let relu = "%z: f32 = const 0\n%s: f32 = add %v0, %v1\n%t1: f32 = add %s, %v2\n%r: f32 = max %t1, %z\n";
    report("relu(a+b+c)", &pointwise(3, relu), &[n; 4], &[n as i64], n);
    for op in ["exp", "log", "tanh", "logistic", "sin", "cos", "erf", "sqrt"] {
        report(op, &pointwise(1, &format!("%r: f32 = {op} %v0\n")), &[n, n], &[n as i64], n);
    }
    for (how, f) in [("sum", "%x"), ("max", "%x"), ("sum", "%sq")] {
        let text = format!(
            "kernel @k(%a: in f32, %y: out f32; N) {{ nest %t in 0..1 work N {{
               for %i in 0..N lanes {{ %x: f32 = load %a[%i] %sq: f32 = mul %x, %x yield {how} {f} -> %s: f32 }}
               store %y[0], %s }} }}"
        );
        report(&format!("{how} of {f}"), &text, &[n, 1], &[n as i64], n);
        report(&format!("{how} of {f}, 10"), &text, &[n, 1], &[10], 10);
    }
    let columns = "kernel @k(%a: in f32, %y: out f32; M, N) { nest %t in 0..1 work N { for %i in 0..N lanes {
      for %k in 0..M { %x: f32 = load %a[%k*N + %i] yield sum %x -> %s: f32 } store %y[%i], %s } } }";
    report("column sums 64x64", columns, &[n, 64], &[64, 64], n);
    report("column sums 32x128", columns, &[n, 128], &[32, 128], n);
    let bias = "kernel @k(%a: in f32, %b: in f32, %y: out f32; M, N) { nest %t in 0..M work N { for %i in 0..N lanes {
      %x: f32 = load %a[%t*N + %i] %z: f32 = load %b[%i] %s: f32 = add %x, %z store %y[%t*N + %i], %s } } }";
    report("bias 64x64", bias, &[n, 64, n], &[64, 64], n);
    report("bias 409x10", bias, &[n, 10, n], &[409, 10], 4090);
    let softmax = crate::loops::SOFTMAX;
    report("softmax 4x1024", softmax, &[n, n], &[4, 1024], n);
    report("softmax 64x64", softmax, &[n, n], &[64, 64], n);
    report("softmax 409x10", softmax, &[n, n], &[409, 10], 4090);
}

#[test]
#[ignore = "prints timings"]
fn long_chains() {
    for length in [10, 100, 1000, 10_000] {
        let mut body = String::new();
        for j in 0..length {
            let from = if j == 0 { "%v0".to_string() } else { format!("%c{}", j - 1) };
            let op = ["add", "mul", "sub", "max"][j % 4];
            body += &format!("%k{j}: f32 = const {}.5\n%c{j}: f32 = {op} {from}, %k{j}\n", j % 97);
        }
        body += &format!("%z: f32 = const 1\n%r: f32 = mul %c{}, %z\n", length - 1);
        report(&format!("chain of {length}"), &pointwise(1, &body), &[1024, 1024], &[1024], 1024);
    }
}
