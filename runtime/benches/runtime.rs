//! Costs of the runtime's parts: `cargo bench -p tracewright-runtime`. Prints the median of many rounds.

use runtime::buffer::Buffer;
use runtime::pool::{self, Pool};
use std::hint::black_box;
use std::time::{Duration, Instant};

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// Median nanoseconds of one call, over rounds of `batch` calls.
fn time(rounds: usize, batch: usize, mut f: impl FnMut()) -> f64 {
    let once = |f: &mut dyn FnMut()| {
        let start = Instant::now();
        (0..batch).for_each(|_| f());
        start.elapsed().as_nanos() as f64 / batch as f64
    };
    once(&mut f);
    median((0..rounds).map(|_| once(&mut f)).collect())
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

fn main() {
    dispatch();
    allocation();
}
