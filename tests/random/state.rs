//! Generators as cells.

use tracewright::{
    DType, Generator, Key, Tensor, grad, jit, manual_seed, rand, randint, randn, randperm, value_and_grad,
};

fn numbers(x: &Tensor) -> Vec<f32> {
    x.to_vec().unwrap()
}

#[test]
fn each_draw_differs_and_seeds_repeat() {
    let g = Generator::new(1);
    let (a, b) = (numbers(&g.uniform([4], 0.0, 1.0)), numbers(&g.uniform([4], 0.0, 1.0)));
    assert_ne!(a, b);
    let same = Generator::new(1);
    let shared = same.clone();
    assert_eq!((numbers(&same.uniform([4], 0.0, 1.0)), numbers(&shared.uniform([4], 0.0, 1.0))), (a.clone(), b));
    g.seed(1).unwrap();
    assert_eq!(numbers(&g.uniform([4], 0.0, 1.0)), a);
    assert_eq!(g.state().to_vec::<u64>().unwrap(), [1, 1]);
}

#[test]
fn compiled_draws_are_the_eager_ones_and_go_on() {
    let (g, eager) = (Generator::new(5), Generator::new(5));
    let held = g.clone();
    let f = jit(move |x: Tensor| {
        let first = &x + held.normal([3], 0.0, 1.0);
        (first, held.integers([2], 0, 1000), held.bernoulli([5], 0.5))
    });
    for _ in 0..3 {
        let (a, b, c) = f.call(Tensor::from([0.0f32, 0.0, 0.0])).unwrap();
        assert_eq!(numbers(&a), numbers(&eager.normal([3], 0.0, 1.0)));
        assert_eq!(b.to_vec::<i64>().unwrap(), eager.integers([2], 0, 1000).to_vec::<i64>().unwrap());
        assert_eq!(c.to_vec::<bool>().unwrap(), eager.bernoulli([5], 0.5).to_vec::<bool>().unwrap());
    }
    assert_eq!(g.state().to_vec::<u64>().unwrap(), [5, 9]);
    // Eager draws go on where the compiled ones stopped.
    assert_eq!(numbers(&g.uniform([2], 0.0, 1.0)), numbers(&eager.uniform([2], 0.0, 1.0)));
}

#[test]
fn a_call_that_fails_leaves_the_state() {
    let g = Generator::new(2);
    let held = g.clone();
    let f = jit(move |x: Tensor, at: Tensor| held.normal([3], 0.0, 1.0) + x.take(&at, 0));
    let x = Tensor::from([1.0f32, 2.0]);
    assert!(f.call(x.clone(), Tensor::from([0i64, 7, 1])).is_err());
    assert_eq!(g.state().to_vec::<u64>().unwrap(), [2, 0]);
    let drawn = f.call(x, Tensor::from([0i64, 0, 0])).unwrap();
    assert_eq!(numbers(&(drawn - 1.0)).len(), 3);
    assert_eq!(g.state().to_vec::<u64>().unwrap(), [2, 1]);
}

#[test]
fn states_are_kept_and_put_back() {
    let g = Generator::new(3);
    g.uniform([10], 0.0, 1.0);
    let kept = g.state();
    let after = numbers(&g.normal([4], 0.0, 1.0));
    let other = Generator::new(99);
    other.set_state(kept).unwrap();
    assert_eq!(numbers(&other.normal([4], 0.0, 1.0)), after);
    let e = g.set_state(Tensor::from([1.0f32, 2.0])).unwrap_err();
    assert!(
        e.to_string().contains("a state is not f32[2]; legal: a tensor of type u64[2]")
            || e.to_string().contains("u64[2]"),
        "{e}"
    );
}

#[test]
fn forks_go_their_own_way() {
    let g = Generator::new(4);
    let (a, b) = (g.fork(), g.fork());
    let drawn = [&g, &a, &b].map(|g| numbers(&g.uniform([4], 0.0, 1.0)));
    assert!(drawn[0] != drawn[1] && drawn[1] != drawn[2] && drawn[0] != drawn[2]);
}

#[test]
fn gradients_draw_and_count_once() {
    let (g, eager) = (Generator::new(6), Generator::new(6));
    let held = g.clone();
    let loss = move |x: &Tensor| (x * held.normal([3], 0.0, 1.0)).sum(..);
    let x = Tensor::from([1.0f32, 1.0, 1.0]);
    // The gradient is what was drawn: eager, and in a compiled function.
    assert_eq!(numbers(&grad(loss.clone())(&x)), numbers(&eager.normal([3], 0.0, 1.0)));
    let f = jit(move |x: Tensor| value_and_grad(loss.clone())(&x));
    for _ in 0..2 {
        let (value, slope) = f.call(x.clone()).unwrap();
        let drawn = numbers(&eager.normal([3], 0.0, 1.0));
        assert_eq!(numbers(&slope), drawn);
        assert!((value.item::<f32>().unwrap() - drawn.iter().sum::<f32>()).abs() < 1e-5);
    }
    assert_eq!(g.state().to_vec::<u64>().unwrap(), [6, 3]);
}

#[test]
fn generators_are_parts_of_trees() {
    let f = jit(|(g, x): (Generator, Tensor)| x + g.uniform([2], 0.0, 1.0));
    let (a, b) = (Generator::new(1), Generator::new(2));
    let zero = Tensor::from([0.0f32, 0.0]);
    let first = f.call((a.clone(), zero.clone())).unwrap();
    assert_ne!(numbers(&first), numbers(&f.call((b, zero.clone())).unwrap()));
    assert_ne!(numbers(&first), numbers(&f.call((a.clone(), zero)).unwrap()));
    assert_eq!(a.state().to_vec::<u64>().unwrap(), [1, 2]);
}

/// All that touches the generator of the process is in this one test, since tests run side by side.
#[test]
fn the_generator_of_the_process() {
    manual_seed(7).unwrap();
    let first = (numbers(&rand([3])), numbers(&randn([3])), randint([3], 0, 100).to_vec::<i64>().unwrap());
    let order = randperm(5).to_vec::<i64>().unwrap();
    manual_seed(7).unwrap();
    let f = jit(|_: Tensor| ((rand([3]), randn([3])), (randint([3], 0, 100), randperm(5))));
    let ((a, b), (c, d)) = f.call(Tensor::from(0.0f32)).unwrap();
    assert_eq!((numbers(&a), numbers(&b), c.to_vec::<i64>().unwrap()), first);
    assert_eq!(d.to_vec::<i64>().unwrap(), order);
    assert_eq!(Generator::default().state().to_vec::<u64>().unwrap(), [7, 4]);
    // Seeding is part of a compiled function.
    let g = jit(|_: Tensor| {
        manual_seed(7).unwrap();
        rand([3])
    });
    for _ in 0..2 {
        assert_eq!(numbers(&g.call(Tensor::from(0.0f32)).unwrap()), first.0);
    }
}

#[test]
fn keys_are_arguments() {
    let f = jit(|key: Key, step: Tensor| tracewright::random::normal(&key.fold_in(&step), [3], DType::F32, 0.0, 1.0));
    let key = Key::new(8);
    for step in 0..3i64 {
        let eager = tracewright::random::normal(&key.fold_in(step), [3], DType::F32, 0.0, 1.0);
        assert_eq!(numbers(&f.call(key.clone(), Tensor::from(step)).unwrap()), numbers(&eager));
    }
    // Symbolic extents.
    let f = jit(|key: Key, x: Tensor| tracewright::random::uniform_like(&key, &x, 0.0, 1.0)).dynamic(
        "arguments.1",
        0,
        "B",
        1..=64,
    );
    for n in [1usize, 5, 64] {
        let x = f.call(key.clone(), Tensor::zeros([n, 3], DType::F32)).unwrap();
        assert_eq!(numbers(&x), numbers(&tracewright::random::uniform(&key, [n, 3], DType::F32, 0.0, 1.0)));
    }
}

#[test]
fn draws_of_symbolic_shape() {
    use tracewright::random;
    let f = |key: Key, x: Tensor| {
        let [a, b, c, d] = key.split();
        let n = x.shape()[0].clone();
        let order = random::permutation(&a, n);
        let chosen = random::choice(&d, &x, 0, 2, true, None);
        (random::shuffle(&a, &x, 0), order, (random::dropout(&b, &x, 0.5), random::categorical(&c, &x, -1)), chosen)
    };
    let compiled = jit(f).dynamic("arguments.1", 0, "B", 1..=64);
    for n in [1usize, 3, 40] {
        let x = Tensor::arange(n * 3, DType::F32).reshape([n, 3]);
        let (a, b) = (compiled.call(Key::new(1), x.clone()).unwrap(), f(Key::new(1), x));
        assert_eq!((numbers(&a.0), a.1.to_vec::<i64>().unwrap()), (numbers(&b.0), b.1.to_vec::<i64>().unwrap()));
        assert_eq!(numbers(&a.2.0), numbers(&b.2.0));
        assert_eq!((a.2.1.to_vec::<i64>().unwrap(), numbers(&a.3)), (b.2.1.to_vec::<i64>().unwrap(), numbers(&b.3)));
    }
}

#[test]
fn threads_share_a_generator() {
    let g = Generator::new(10);
    let held = g.clone();
    let f = jit(move |x: Tensor| x + held.uniform([2], 0.0, 1.0));
    let mut drawn: Vec<Vec<u32>> = std::thread::scope(|scope| {
        let work = |n: usize| {
            let (f, g) = (&f, &g);
            let bits = |x: Tensor| numbers(&x).iter().map(|x| x.to_bits()).collect();
            scope.spawn(move || -> Vec<Vec<u32>> {
                (0..50)
                    .map(|i| match (i + n) % 2 {
                        0 => bits(g.uniform([2], 0.0, 1.0)),
                        _ => bits(f.call(Tensor::from([0.0f32, 0.0])).unwrap()),
                    })
                    .collect()
            })
        };
        let threads: Vec<_> = (0..4).map(work).collect();
        threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(g.state().to_vec::<u64>().unwrap(), [10, 200]);
    drawn.sort();
    drawn.dedup();
    assert_eq!(drawn.len(), 200);
}
