//! Costs of the runtime's parts: `cargo bench -p tracewright-runtime`. Prints the median of many rounds.

use runtime::buffer::Buffer;
use runtime::contract::{self, Matmul, Operand};
use runtime::pool::{self, Pool};
use runtime::scratch::Scratch;
use std::hint::black_box;
use std::time::{Duration, Instant};

fn median(samples: Vec<f64>) -> f64 {
    quantile(samples, 0.5)
}

fn quantile(mut samples: Vec<f64>, q: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[(samples.len() as f64 * q) as usize]
}

/// Median nanoseconds of one call, over rounds of `batch` calls.
fn time(rounds: usize, batch: usize, f: impl FnMut()) -> f64 {
    median(times(rounds, batch, f))
}

fn times(rounds: usize, batch: usize, mut f: impl FnMut()) -> Vec<f64> {
    let once = |f: &mut dyn FnMut()| {
        let start = Instant::now();
        (0..batch).for_each(|_| f());
        start.elapsed().as_nanos() as f64 / batch as f64
    };
    once(&mut f);
    (0..rounds).map(|_| once(&mut f)).collect()
}

fn busy(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {}
}

fn dispatch() {
    let pool = Pool::new(pool::cores());
    let empty = time(200, 100, || pool.run_on(2, 2, 1, &|_, _, _| {}).unwrap());
    println!("pool: two empty tasks, spinning workers        {empty:9.0} ns");
    let alone = time(200, 100, || pool.run_on(1, 2, 1, &|_, _, _| {}).unwrap());
    println!("pool: two empty tasks, one thread              {alone:9.0} ns");
    let half = Duration::from_micros(5);
    let split = time(200, 100, || pool.run_on(2, 2, 1, &|_, _, _| busy(half)).unwrap());
    println!("pool: 2 x 5 us on two threads                  {split:9.0} ns");
    let parked = median(
        (0..60)
            .map(|_| {
                std::thread::sleep(Duration::from_millis(1));
                let start = Instant::now();
                pool.run_on(2, 2, 1, &|_, _, _| busy(half)).unwrap();
                start.elapsed().as_nanos() as f64
            })
            .collect(),
    );
    println!("pool: 2 x 5 us on two threads, parked worker   {parked:9.0} ns");
    for threads in [2, 3, 8] {
        let crowded = Pool::new(threads);
        let t = time(50, 20, || crowded.run_on(threads, 16, 1, &|_, _, _| busy(half)).unwrap());
        println!("pool: 16 x 5 us on {threads} threads                    {t:9.0} ns");
    }
}

fn allocation() {
    for len in [64, 1 << 10, 16 << 10, 1 << 20] {
        let t = time(200, 1000, || drop(black_box(Buffer::try_alloc(black_box(len)).unwrap())));
        println!("buffer: allocate and free {len:9} bytes      {t:9.1} ns");
    }
    for megabytes in [1, 16, 64] {
        let fresh = time(7, 1, || {
            runtime::buffer::trim();
            let mut buffer = Buffer::try_alloc(megabytes << 20).unwrap();
            buffer.get_mut().unwrap().fill(1);
        });
        let reused = time(7, 1, || Buffer::try_alloc(megabytes << 20).unwrap().get_mut().unwrap().fill(1));
        println!("buffer: fill {megabytes:3} MiB, fresh {:8.0} us, reused {:8.0} us", fresh / 1e3, reused / 1e3);
    }
}

/// GFLOP/s of products by shape, layout and threads.
fn products() {
    use ir::DType::{self, *};
    let pool = Pool::new(2);
    let run = |dtype: DType, [batch, m, n, k]: [usize; 4], transposed: &str| {
        let fill = |n: usize| {
            let buffer = Buffer::zeroed(n * dtype.size()).unwrap();
            // SAFETY: the buffer is new and holds that many bytes; 0x3c is a small number in every dtype.
            unsafe { buffer.ptr().write_bytes(0x3c, buffer.len()) };
            buffer
        };
        let (lhs, rhs, out) = (fill(batch * m * k), fill(batch * k * n), fill(batch * m * n));
        let matrix = |data: &Buffer, rows: usize, cols: usize, transposed: bool| Operand {
            data: data.ptr(),
            strides: match transposed {
                true => [(rows * cols) as isize, 1, rows as isize],
                false => [(rows * cols) as isize, cols as isize, 1],
            },
        };
        let product = Matmul {
            dtype,
            batch,
            m,
            n,
            k,
            lhs: matrix(&lhs, m, k, transposed.starts_with('T')),
            rhs: matrix(&rhs, k, n, transposed.ends_with('T')),
            out: matrix(&out, m, n, false),
        };
        let flops = 2.0 * (batch * m * n * k) as f64;
        let rounds = ((8e9 / flops) as usize).clamp(11, 2000);
        let speed = |threads| {
            let library = contract::library();
            let scratch = Scratch::new(threads, library.scratch_bytes(&product)).unwrap();
            // SAFETY: the buffers hold every element, and there is scratch memory for this product.
            let call = || unsafe { library.multiply(&pool, &product, &scratch, None).unwrap() };
            // A tenth of the rounds, because the machine may be busy with other things.
            flops / quantile(times(rounds, 1, call), 0.1)
        };
        let (one, two) = (speed(1), speed(2));
        println!(
            "product: {dtype:4} {batch:3} x {m:4} {n:5} {k:4} {transposed}  {one:6.1} {two:6.1} GFLOP/s on 1, 2 threads"
        );
    };
    for shape in [
        [1, 128, 512, 784],
        [1, 128, 784, 512],
        [1, 784, 512, 128],
        [1, 128, 10, 512],
        [1, 512, 10, 128],
        [1, 512, 512, 512],
        [1, 1024, 1024, 1024],
        [1, 128, 3072, 768],
        [1, 8, 3072, 768],
        [1, 4, 4096, 4096],
        [1, 2, 3072, 768],
        [1, 1, 3072, 768],
        [1, 64, 64, 64],
        [1, 32, 32, 32],
        [1, 8, 8, 8],
        [24, 128, 128, 64],
        [64, 16, 16, 16],
        [1, 64, 10, 20000],
    ] {
        for transposed in ["NN", "NT", "TN"] {
            run(F32, shape, transposed);
        }
    }
    for dtype in [F64, BF16, F16, I32, I64, U8] {
        for shape in [[1, 512, 512, 512], [1, 8, 3072, 768], [1, 1, 3072, 768]] {
            run(dtype, shape, "NN");
            run(dtype, shape, "NT");
        }
    }
}

fn main() {
    if std::env::args().any(|a| a == "product") {
        return products();
    }
    dispatch();
    allocation();
    products();
}
