//! Loops, accumulators and memory.

use crate::data::*;
use crate::target::finish;
use ir::{DType, Data, Scalar};

pub const SOFTMAX: &str = "kernel @softmax(%x: in f32, %y: out f32; R, N) scratch(%row: f32[N]) {
  nest %r in 0..R work N*20 {
    for %i in 0..N lanes {
      %0: f32 = load %x[%r*N + %i]
      yield max %0 -> %top: f32
    }
    for %i1 in 0..N lanes {
      %1: f32 = load %x[%r*N + %i1]
      %2: f32 = sub %1, %top
      %3: f32 = exp %2
      store %row[%i1], %3
      yield sum %3 -> %total: f32
    }
    for %i2 in 0..N lanes {
      %4: f32 = load %row[%i2]
      %5: f32 = div %4, %total
      store %y[%r*N + %i2], %5
    }
  }
}";

#[test]
pub fn softmax_over_rows() {
    for n in LENGTHS {
        let x = Random::new(n as u64).data(DType::F32, 3 * n);
        check_text(SOFTMAX, &[x, Data::filled(Scalar::F32(0.0), 3 * n)], &[3, n as i64], Within::Ulps(4));
    }
    finish();
}

#[test]
fn accumulators_of_every_kind() {
    for dtype in DType::ALL.into_iter().filter(|d| !d.is_half()) {
        let arithmetic = dtype != DType::Bool;
        for combine in ["sum", "product", "max", "min", "any", "all", "argmax", "argmin"] {
            let positions = combine.starts_with("arg");
            let boolean = combine == "any" || combine == "all";
            if boolean == arithmetic && (boolean || combine == "sum" || combine == "product") {
                continue;
            }
            for kind in [" lanes", ""] {
                let (input, result) = if positions {
                    ("%p: i64 = index %i*2 + 1\n", format!("%x, %p -> %v: {dtype}, %at: i64"))
                } else {
                    ("", format!("%x -> %v: {dtype}"))
                };
                let position = if positions { "store %q[0], %at" } else { "" };
                let text = format!(
                    "kernel @reduce(%a: in {dtype}, %o: out {dtype}, %q: out i64; N) {{
                       nest %t in 0..1 work N {{
                         for %i in 0..N{kind} {{
                           %x: {dtype} = load %a[%i]
                           {input} yield {combine} {result}
                         }}
                         store %o[0], %v
                         {position}
                       }}
                     }}"
                );
                for (round, n) in LENGTHS.into_iter().chain([64, 1000]).enumerate() {
                    let mut random = Random::new(n as u64 + 7);
                    let special = unusual(dtype);
                    let data = Data::collect(
                        dtype,
                        (0..n).map(|i| match i % 7 {
                            // NaN and infinities in some rounds only, or they would hide everything else.
                            3 if round % 2 == 1 => special[random.below(special.len() as u64) as usize],
                            _ => random.plain(dtype),
                        }),
                    );
                    let outputs = [Data::filled(Scalar::zero(dtype), 1), Data::I64(vec![-1])];
                    let data = [data, outputs[0].clone(), outputs[1].clone()];
                    check_text(&text, &data, &[n as i64], Within::Bits);
                    let fixed =
                        text.replace("; N)", ")").replace("work N", "work 1").replace("0..N", &format!("0..{n}"));
                    check_text(&fixed, &data, &[], Within::Bits);
                }
            }
        }
    }
    finish();
}

#[test]
fn several_accumulators_and_a_long_body() {
    for extra in [0, 20, 300] {
        let mut body = String::from("%x: f32 = load %a[%i]\n%d: f64 = convert %x\n%w0: f32 = mul %x, %x\n");
        for j in 0..extra {
            body += &format!("%w{}: f32 = add %w{j}, %x\n", j + 1);
        }
        let text = format!(
            "kernel @many(%a: in f32, %o: out f32, %p: out f64, %q: out f32; N) {{
               nest %t in 0..1 work N {{
                 for %i in 0..N lanes {{
                   {body}
                   store %q[%i], %w{extra}
                   yield sum %x -> %s: f32
                   yield max %w{extra} -> %m: f32
                   yield sum %d -> %e: f64
                 }}
                 store %o[0], %s
                 store %o[1], %m
                 store %p[0], %e
               }}
             }}"
        );
        for n in LENGTHS {
            let data = [
                Random::new(3).data(DType::F32, n),
                Data::F32(vec![0.0; 2]),
                Data::F64(vec![0.0]),
                Data::F32(vec![0.0; n]),
            ];
            check_text(&text, &data, &[n as i64], Within::Bits);
        }
    }
    finish();
}

#[test]
fn serial_loops_in_lanes() {
    for dtype in DType::ALL.into_iter().filter(|&d| d != DType::Bool && !d.is_half()) {
        // Reductions over rows of a matrix, lanes over its columns; with a second, a uniform and a position accumulator.
        let text = format!(
            "kernel @columns(%a: in {dtype}, %o: out {dtype}, %m: out {dtype}, %p: out i64, %u: out i64; M, N) {{
               nest %t in 0..1 work M*N {{
                 for %i in 0..N lanes {{
                   %scale: {dtype} = load %a[%i]
                   for %k in 0..M {{
                     %x: {dtype} = load %a[%k*N + %i]
                     %y: {dtype} = mul %x, %scale
                     %row: i64 = index %k
                     yield sum %y -> %s: {dtype}
                     yield argmin %x, %row -> %v: {dtype}, %at: i64
                     yield sum %row -> %rows: i64
                   }}
                   for %k2 in 0..M {{
                     %z: {dtype} = load %a[%k2*N + %i]
                     yield max %z -> %top: {dtype}
                   }}
                   %total: {dtype} = add %s, %top
                   store %o[%i], %total
                   store %m[%i], %v
                   store %p[%i], %at
                   store %u[%i], %rows
                 }}
               }}
             }}"
        );
        for n in LENGTHS {
            for m in [1, 2, 5] {
                let data = [
                    Random::new(11).data(dtype, m * n),
                    Data::filled(Scalar::zero(dtype), n),
                    Data::filled(Scalar::zero(dtype), n),
                    Data::I64(vec![0; n]),
                    Data::I64(vec![0; n]),
                ];
                check_text(&text, &data, &[m as i64, n as i64], Within::Bits);
            }
        }
    }
    finish();
}

/// Each of the loops may be one access of several elements.
#[test]
fn short_serial_loops_one_after_another() {
    for (dtype, part) in [(DType::F32, 4), (DType::F32, 2), (DType::I64, 2), (DType::U8, 16), (DType::F64, 3)] {
        let text = format!(
            "kernel @parts(%a: in {dtype}, %b: in {dtype}, %o: out {dtype}, %q: out {dtype}; N) {{
               nest %t in 0..1 work N {{
                 for %i in 0..N lanes {{
                   for %k in 0..{part} {{
                     %x: {dtype} = load %a[%i*{part} + %k]
                     yield sum %x -> %s: {dtype}
                   }}
                   for %k1 in 0..{part} {{
                     %y: {dtype} = load %b[%i*{part} + %k1]
                     %z: {dtype} = add %y, %s
                     store %o[%i*{part} + %k1], %z
                   }}
                   for %k2 in 0..{part} {{
                     %v: {dtype} = load %a[%i*{part} + %k2]
                     %w: {dtype} = mul %v, %v
                     store %q[%i*{part} + %k2], %w
                   }}
                 }}
               }}
             }}"
        );
        for n in LENGTHS {
            let [a, b] = [3, 4].map(|seed| Random::new(seed).data(dtype, part * n));
            let zeros = || Data::filled(Scalar::zero(dtype), part * n);
            check_text(&text, &[a, b, zeros(), zeros()], &[n as i64], Within::Bits);
        }
    }
    finish();
}

#[test]
fn serial_loops_whose_length_varies() {
    let text = "kernel @triangle(%a: in f32, %o: out f32; N) {
      nest %t in 0..1 work N {
        for %i in 0..N lanes {
          for %k in 0..%i + 1 {
            %x: f32 = load %a[%k]
            yield sum %x -> %s: f32
          }
          store %o[%i], %s
        }
      }
    }";
    for n in LENGTHS {
        let data = [Random::new(2).data(DType::F32, n), Data::F32(vec![0.0; n])];
        check_text(text, &data, &[n as i64], Within::Bits);
    }
    finish();
}

#[test]
fn strides_of_every_kind() {
    for dtype in DType::ALL {
        for (index, len) in [
            ("%i*3 + 2", 3),
            ("N - %i - 1", 1),
            ("%i*N", 0),
            ("%i mod 5", 1),
            ("%i/3 + %i", 2),
            ("min(%i*2, 17)", 2),
            ("max(N - %i*2, 0)", 2),
            ("%i*2 - %i", 1),
            ("%i*%i mod 7", 1),
            ("4", 1),
            ("(%i + N)*S mod N", 1),
        ] {
            let text = format!(
                "kernel @gather(%a: in {dtype}, %o: out {dtype}, %q: out {dtype}; N, S) {{
                   nest %t in 0..1 work N {{
                     for %i in 0..N lanes {{
                       %x: {dtype} = load %a[{index}]
                       store %o[%i], %x
                       store %q[%i*S], %x
                     }}
                   }}
                 }}"
            );
            for n in LENGTHS {
                let size = if len == 0 { n * n } else { len * n + 20 };
                let data = [
                    Random::new(4).data(dtype, size),
                    Data::filled(Scalar::zero(dtype), n),
                    Data::filled(Scalar::one(dtype), 3 * n),
                ];
                check_text(&text, &data, &[n as i64, 3], Within::Bits);
            }
        }
    }
    finish();
}

#[test]
fn masks() {
    for dtype in DType::ALL {
        let fallback = if dtype == DType::Bool { "true" } else { "7" };
        for condition in ["%in", "%uni", "%odd"] {
            for (from, to) in [("%i - 4", "%i"), ("%i*2 - 8", "%i*2"), ("4", "%i")] {
                let text = format!(
                    "kernel @pad(%a: in {dtype}, %o: out {dtype}; N, M) {{
                       nest %t in 0..2 work N {{
                         %four: i64 = const 4
                         %zero: i64 = const 0
                         %two: i64 = const 2
                         %task: i64 = index %t
                         %uni: bool = eq %task, %zero
                         for %i in 0..N lanes {{
                           %at: i64 = index {from}
                           %ge: bool = ge %at, %zero
                           %len: i64 = index M
                           %lt: bool = lt %at, %len
                           %in: bool = and %ge, %lt
                           %n: i64 = index %i
                           %half: i64 = rem %n, %two
                           %even: bool = eq %half, %zero
                           %odd: bool = and %in, %even
                           %both: bool = and {condition}, %in
                           %x: {dtype} = load %a[{from}] if %both else {fallback}
                           store %o[%t*2*N + {to}], %x if {condition}
                         }}
                       }}
                     }}"
                );
                for n in LENGTHS {
                    for m in [n, n.saturating_sub(9), 2 * n] {
                        let data = [Random::new(9).data(dtype, m), Data::filled(Scalar::one(dtype), 4 * n)];
                        check_text(&text, &data, &[n as i64, m as i64], Within::Bits);
                    }
                }
            }
        }
    }
    finish();
}

#[test]
fn gathers_with_checks() {
    let text = "kernel @rows(%ids: in i64, %table: in f32, %o: out f32; B, V, D) sites 1 {
      nest %b in 0..B work D {
        %id: i64 = load %ids[%b]
        check 0: %id in 0..V
        %zero: i64 = const 0
        %last: i64 = index V - 1
        %low: i64 = max %id, %zero
        %at: i64 = min %low, %last
        for %i in 0..D lanes {
          %x: f32 = load %table[%at*D + %i]
          store %o[%b*D + %i], %x
        }
      }
    }";
    let scalar = "kernel @elements(%ids: in i64, %table: in f32, %o: out f32; B, V, D) sites 2 {
      nest %b in 0..B work D {
        for %i in 0..D lanes {
          %id: i64 = load %ids[%b*D + %i]
          %zero: i64 = const 0
          %positive: bool = gt %id, %zero
          check 1: %id in 0..V
          check 0: %id in 0..2 if %positive
          %last: i64 = index V - 1
          %low: i64 = max %id, %zero
          %at: i64 = min %low, %last
          %x: f32 = load %table[%at]
          store %o[%b*D + %i], %x
        }
      }
    }";
    for d in LENGTHS {
        for ids in [[0, 1, 2, 3], [3, 9, -1, 10], [0, -7, 5, i64::MIN], [i64::MAX, 4, 0, 0]] {
            let table = Random::new(1).data(DType::F32, 4 * d.max(1));
            let o = Data::F32(vec![0.0; 4 * d]);
            check_text(text, &[Data::I64(ids.into()), table.clone(), o.clone()], &[4, 4, d as i64], Within::Bits);
            let many = (0..4 * d).map(|i| if i % 11 == 10 { ids[i % 4] } else { (i % 4) as i64 }).collect();
            check_text(scalar, &[Data::I64(many), table, o], &[4, 4, d as i64], Within::Bits);
        }
    }
    finish();
}

pub const NESTS: &str =
    "kernel @two(%a: in f32, %o: out f32, %p: inout f32; N, M) scratch(%s: f64[M], %r: u8[3], %q: f32[M + 1]) {
      nest %i in 0..N work 1 {
        %x: f32 = load %a[%i]
        store %o[%i], %x
      }
      nest %z in 0..M - M work 1 {
        %x0: f32 = load %a[%z]
        store %o[%z], %x0
      }
      nest %j in 0..M work 3 {
        for %k in 0..M lanes {
          %n: i64 = index %k*%j
          %d: f64 = convert %n
          store %s[%k], %d
          %f: f32 = convert %d
          store %q[%k + 1], %f
        }
        for %k2 in 0..M {
          %e: f64 = load %s[%k2]
          %g: f32 = load %q[%k2 + 1]
          %h: f64 = convert %g
          %eh: f64 = add %e, %h
          yield sum %eh -> %t: f64
        }
        %old: f32 = load %p[%j]
        %t32: f32 = convert %t
        %new: f32 = add %old, %t32
        store %p[%j], %new
      }
    }";

#[test]
fn several_nests_share_one_numbering() {
    for (n, m) in [(3, 5), (0, 4), (4, 0), (1, 33)] {
        let mut random = Random::new(1);
        let data = [random.data(DType::F32, n), Data::F32(vec![0.0; n]), random.data(DType::F32, m)];
        check_text(NESTS, &data, &[n as i64, m as i64], Within::Bits);
    }
    finish();
}

/// Compiles and runs in a process where memory that was writable can never become executable.
#[test]
fn large_frames_touch_every_page() {
    // Every value lives to the end, far more than there are registers.
    let mut body = String::new();
    (0..3000).for_each(|j| body += &format!("%v{j}: f32 = load %a[%t*3000 + {j}]\n"));
    body += "%s0: f32 = const 0\n";
    (0..3000).rev().enumerate().for_each(|(n, j)| body += &format!("%s{}: f32 = add %s{n}, %v{j}\n", n + 1));
    let text =
        format!("kernel @k(%a: in f32, %o: out f32) {{ nest %t in 0..1 work 1 {{ {body} store %o[0], %s3000 }} }}");
    let run = move || {
        let data = [Random::new(8).data(DType::F32, 3000), Data::F32(vec![0.0])];
        check_text(&text, &data, &[], Within::Bits);
        finish();
    };
    std::thread::Builder::new().stack_size(1 << 20).spawn(run).unwrap().join().unwrap();
}
