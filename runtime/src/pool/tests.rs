use super::*;
use std::sync::atomic::AtomicU8;

/// Runs a loop that counts how often each task was done.
fn counts(pool: &Pool, threads: usize, tasks: u64, grain: u64) -> Vec<u8> {
    let done: Vec<AtomicU8> = (0..tasks).map(|_| AtomicU8::new(0)).collect();
    pool.run_on(threads, tasks, grain, &|worker, begin, end| {
        assert!(worker < threads && begin < end && end <= tasks);
        assert!(begin % grain == 0 && (end % grain == 0 || end == tasks));
        for task in begin..end {
            done[task as usize].fetch_add(1, Relaxed);
        }
    })
    .unwrap();
    done.into_iter().map(AtomicU8::into_inner).collect()
}

#[test]
fn every_task_is_done_once() {
    let pool = Pool::new(4);
    for threads in [1, 2, 3, 4, 9] {
        for tasks in [0, 1, 2, 3, 7, 64, 1000] {
            for grain in [1, 3, 64, 5000] {
                let done = counts(&pool, threads, tasks, grain);
                assert!(done.iter().all(|&n| n == 1), "{threads} threads, {tasks} tasks, grain {grain}: {done:?}");
            }
        }
    }
}

#[test]
fn huge_ranges_do_not_overflow() {
    let pool = Pool::new(2);
    let sum = AtomicU64::new(0);
    for grain in [1, 3, 1 << 40, u64::MAX] {
        sum.store(0, Relaxed);
        pool.run(u64::MAX, grain, &|_, begin, end| {
            sum.fetch_add(end - begin, Relaxed);
        })
        .unwrap();
        assert_eq!(sum.load(Relaxed), u64::MAX);
    }
}

#[test]
fn several_threads_take_part_under_different_numbers() {
    let pool = Pool::new(3);
    let in_use: Vec<AtomicBool> = (0..3).map(|_| AtomicBool::new(false)).collect();
    let most = AtomicUsize::new(0);
    let now = AtomicUsize::new(0);
    for _ in 0..50 {
        pool.run(24, 1, &|worker, _, _| {
            assert!(!in_use[worker].swap(true, SeqCst), "worker number {worker} used twice at once");
            most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
            std::thread::sleep(Duration::from_micros(50));
            now.fetch_sub(1, SeqCst);
            in_use[worker].store(false, SeqCst);
        })
        .unwrap();
    }
    assert_eq!(most.load(SeqCst), 3);
}

#[test]
fn a_panic_is_an_error_and_the_pool_goes_on() {
    let pool = Pool::new(3);
    for threads in [1, 3] {
        for bad in [0, 17, 99] {
            let error = pool
                .run_on(threads, 100, 1, &|_, begin, end| assert!(!(begin..end).contains(&bad), "task {bad} is bad"))
                .unwrap_err();
            assert_eq!(error.to_string(), format!("a task panicked: task {bad} is bad"));
            assert!(counts(&pool, threads, 100, 1).iter().all(|&n| n == 1));
        }
    }
    let error = pool.run(10, 1, &|_, _, _| std::panic::panic_any(7)).unwrap_err();
    assert_eq!(error.message, "(no message)");
}

#[test]
fn a_run_inside_a_task_is_carried_out_by_its_caller() {
    let pool = Pool::new(3);
    let total = AtomicU64::new(0);
    pool.run(20, 1, &|_, begin, end| {
        for _ in begin..end {
            let here = std::thread::current().id();
            pool.run(10, 1, &|worker, begin, end| {
                assert_eq!((worker, std::thread::current().id()), (0, here));
                total.fetch_add(end - begin, Relaxed);
            })
            .unwrap();
        }
    })
    .unwrap();
    assert_eq!(total.load(Relaxed), 200);
    let error = pool.run(4, 1, &|_, _, _| pool.run(1, 1, &|_, _, _| panic!("inner")).unwrap()).unwrap_err();
    assert!(error.message.contains("inner"), "{error}");
    assert!(!INSIDE.get());
}

#[test]
fn user_threads_may_run_at_the_same_time() {
    let pool = Pool::new(2);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..500 {
                    assert!(counts(&pool, 2, 50 + round % 7, 1).iter().all(|&n| n == 1));
                }
            });
        }
    });
}

#[test]
fn more_threads_than_cores_still_finish() {
    let pool = Pool::new(16);
    for _ in 0..300 {
        assert!(counts(&pool, 16, 200, 1).iter().all(|&n| n == 1));
    }
}

#[test]
fn parked_workers_wake_up() {
    let pool = Pool::new(2);
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(1));
        let helped = AtomicBool::new(false);
        let deadline = Instant::now() + Duration::from_secs(20);
        pool.run(2, 1, &|worker, _, _| {
            // One of the two tasks waits until the other thread has come.
            if worker == 1 {
                helped.store(true, SeqCst);
            }
            while !helped.load(SeqCst) {
                assert!(Instant::now() < deadline, "no worker came");
                std::thread::yield_now();
            }
        })
        .unwrap();
    }
}

#[test]
fn limits() {
    assert_eq!(Pool::new(0).num_threads(), 1);
    assert_eq!(Pool::new(usize::MAX).num_threads(), MAX_THREADS);
    let pool = Pool::new(3);
    assert_eq!(pool.num_threads(), 3);
    with_threads(2, || {
        assert_eq!(pool.num_threads(), 2);
        with_threads(1, || assert_eq!(pool.num_threads(), 1));
        assert_eq!(pool.num_threads(), 2);
    });
    let _ = catch_unwind(|| with_threads(7, || panic!("left early")));
    assert_eq!(pool.num_threads(), 3);
}

#[test]
fn dropping_a_pool_ends_its_threads() {
    for pause in [0, 3] {
        let pool = Pool::new(3);
        counts(&pool, 3, 100, 1);
        let shared = Arc::downgrade(&pool.shared);
        std::thread::sleep(Duration::from_millis(pause));
        drop(pool);
        assert!(shared.upgrade().is_none(), "a worker outlived its pool");
    }
}
