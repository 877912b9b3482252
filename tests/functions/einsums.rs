//! Random einsums against sums over all values of all labels.

use std::collections::BTreeMap;
use tracewright::{DType, Tensor, einsum, grad, jit};

/// xorshift64*, after Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled", 2016.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n
    }
}

/// Labels of the axes of each operand and of the output; digits stand for axes of the ellipsis.
struct Case {
    text: String,
    operands: Vec<(Vec<char>, Vec<usize>)>,
    output: Vec<char>,
    extents: BTreeMap<char, usize>,
}

fn draw(draw: &mut Draw) -> Case {
    let letters = ['a', 'b', 'c', 'Z', 'k'];
    let mut extents: BTreeMap<char, usize> = letters.iter().map(|&c| (c, [1, 2, 3][draw.below(3)])).collect();
    extents.extend([('0', 1 + draw.below(2)), ('1', 2)]);
    let count = 1 + [0, 1, 1, 2, 2, 3, 4][draw.below(7)];
    let mut operands: Vec<(Vec<char>, Vec<usize>)> = Vec::new();
    let mut terms = Vec::new();
    for _ in 0..count {
        let mut labels: Vec<char> = (0..draw.below(4)).map(|_| letters[draw.below(5)]).collect();
        let mut term: String = labels.iter().collect();
        if draw.below(3) == 0 {
            let at = draw.below(labels.len() + 1);
            let dots = &['1', '0'][draw.below(3).min(2)..];
            labels.splice(at..at, dots.iter().copied());
            term.insert_str(at, "...");
        }
        // An axis of extent 1 stands for any other of its label, if the operand has the label once.
        let once = |c: char| labels.iter().filter(|d| **d == c).count() == 1;
        let shape = labels.iter().map(|&c| if once(c) && draw.below(5) == 0 { 1 } else { extents[&c] }).collect();
        operands.push((labels, shape));
        terms.push(term);
    }
    // What all operands have with extent 1 has extent 1.
    for (c, extent) in &mut extents {
        let all = operands.iter().flat_map(|(l, s)| l.iter().zip(s)).filter(|(d, _)| *d == c).map(|(_, n)| *n);
        *extent = all.max().unwrap_or(1);
    }
    let present = |c: &char| operands.iter().any(|(l, _)| l.contains(c));
    let dots: Vec<char> = ['1', '0'].into_iter().filter(present).collect();
    let mut text = terms.join(if draw.below(2) == 0 { "," } else { " , " });
    let output = if draw.below(3) == 0 {
        let times = |c: char| operands.iter().flat_map(|(l, _)| l).filter(|d| **d == c).count();
        let mut once: Vec<char> = letters.into_iter().filter(|&c| times(c) == 1).collect();
        once.sort_unstable();
        dots.into_iter().chain(once).collect()
    } else {
        let mut kept: Vec<char> = letters.into_iter().filter(present).filter(|_| draw.below(2) == 0).collect();
        (1..kept.len()).for_each(|i| kept.swap(i, draw.below(i + 1)));
        let mut written: String = kept.iter().collect();
        if draw.below(3) > 0 {
            let at = draw.below(kept.len() + 1);
            written.insert_str(at, "...");
            kept.splice(at..at, dots);
        }
        text = format!("{text}->{written}");
        kept
    };
    Case { text, operands, output, extents }
}

/// The value and, for the sum of it, the gradient by the first operand: by the definition.
fn by_hand(case: &Case, data: &[Vec<f64>]) -> (Vec<f64>, Vec<f64>) {
    let labels: Vec<char> = case.extents.keys().copied().collect();
    let used = |c: &char| case.operands.iter().any(|(l, _)| l.contains(c));
    let labels: Vec<char> = labels.into_iter().filter(used).collect();
    let place = |own: &[char], shape: &dyn Fn(usize) -> usize, value: &dyn Fn(char) -> usize| {
        own.iter().enumerate().fold(0, |n, (a, &c)| {
            let extent = shape(a);
            n * extent + if extent == 1 { 0 } else { value(c) }
        })
    };
    let size = |c: &char| case.extents[c];
    let mut y = vec![0.0; case.output.iter().map(size).product()];
    let mut g = vec![0.0; data[0].len()];
    let total: usize = labels.iter().map(size).product();
    for flat in 0..total {
        let mut rest = flat;
        let values: BTreeMap<char, usize> = labels
            .iter()
            .map(|c| {
                let v = rest % size(c);
                rest /= size(c);
                (*c, v)
            })
            .collect();
        let at: Vec<usize> = case.operands.iter().map(|(l, s)| place(l, &|a| s[a], &|c| values[&c])).collect();
        let others: f64 = (1..at.len()).map(|i| data[i][at[i]]).product();
        let out = place(&case.output, &|a| size(&case.output[a]), &|c| values[&c]);
        y[out] += data[0][at[0]] * others;
        g[at[0]] += others * (out + 1) as f64;
    }
    (y, g)
}

#[test]
fn any_string_gives_what_it_says() {
    let mut random = Draw(0x9E37_79B9_7F4A_7C15);
    for number in 0..150 {
        let case = draw(&mut random);
        let data: Vec<Vec<f64>> = (case.operands.iter())
            .map(|(_, shape)| (0..shape.iter().product()).map(|_| random.below(41) as f64 / 8.0 - 2.5).collect())
            .collect();
        let tensors: Vec<Tensor> =
            data.iter().zip(&case.operands).map(|(d, (_, shape))| Tensor::from_slice(d, shape.as_slice())).collect();
        let (want, gradient) = by_hand(&case, &data);
        let what = format!("{number}: {:?} of {:?}", case.text, case.operands.iter().map(|o| &o.1).collect::<Vec<_>>());
        let text = case.text.clone();
        let compute = move |x: &[Tensor]| einsum(&text, &x.iter().collect::<Vec<_>>());
        let eager = compute(&tensors);
        let compiled = jit(move |x: Vec<Tensor>| {
            let y = compute(&x);
            let weights = Tensor::iota([y.numel()], 0, DType::F64).reshape(y.shape()) + 1.0;
            let weighed = |first: &Tensor| {
                let mut x = x.clone();
                x[0] = first.clone();
                (compute(&x) * &weights).sum(..)
            };
            (y, grad(weighed)(&x[0]))
        });
        let (y, g) = compiled.call(tensors).unwrap_or_else(|e| panic!("{what}: {e}"));
        let shape: Vec<usize> = case.output.iter().map(|c| case.extents[c]).collect();
        for (got, want) in [(eager, &want), (y.clone(), &want), (g, &gradient)] {
            let got = got.to_vec::<f64>().unwrap_or_else(|e| panic!("{what}: {e}"));
            let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-9 * (1.0 + b.abs());
            assert!(got.len() == want.len() && got.iter().zip(want).all(near), "{what}: {got:?} instead of {want:?}");
        }
        assert_eq!(y.shape(), shape.as_slice().into(), "{what}");
    }
}

/// 16-bit products are summed in f32, integers wrap in their dtype, and dtypes are promoted.
#[test]
fn dtypes() {
    for dtype in [DType::F16, DType::BF16] {
        let ones = Tensor::ones([3000], dtype);
        for equation in ["i,i->", "i,i,i->"] {
            let all = vec![&ones; equation.matches('i').count()];
            assert_eq!(
                einsum(equation, &all).to_dtype(DType::F32).item::<f32>().unwrap(),
                if dtype == DType::F16 { 3000.0 } else { 3008.0 }
            );
        }
        assert_eq!(einsum("i->", &[&ones]).dtype(), dtype);
    }
    let x = Tensor::from([100i8, 100]);
    assert_eq!(einsum("i,i->", &[&x, &x]).to_vec::<i8>().unwrap(), [32]);
    assert_eq!(einsum("i->", &[&x]).to_vec::<i8>().unwrap(), [-56]);
    let y = einsum("i,i->", &[&x, &Tensor::from([0.5f32, 1.0])]);
    assert_eq!(y.item::<f32>().unwrap(), 150.0);
}
