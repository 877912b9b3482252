//! Random kernels: they are correct, read back as they print, and mean the same in every order of tasks. Random damage
//! to their text and to their bytes never makes anything panic.

mod random_kernel;

use ir::kernel::interp::{self, Options, Order};
use ir::kernel::text::parse;
use ir::kernel::verify::verify;
use ir::kernel::*;
use ir::{Data, Scalar};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use random_kernel::*;

fn run(kernel: &Kernel, order: Order) -> Result<(Vec<Data>, interp::Status), interp::RunError> {
    let mut data = buffers(kernel);
    let status = interp::run_with(kernel, &mut data, &[TASKS], &Options { order, limit: 3_000_000 })?;
    Ok((data, status))
}

fn bits(data: &[Data]) -> Vec<Vec<u64>> {
    // Which NaN an operation yields is left open.
    let bits = |s: Scalar| if s.dtype().is_float() && s.as_f64().is_nan() { u64::MAX } else { s.bits() };
    data.iter().map(|d| (0..d.len()).map(|i| bits(d.get(i))).collect()).collect()
}

/// Everything that takes kernels from outside.
fn survives(kernel: &Kernel) {
    let text = kernel.to_string();
    let canonical = kernel.canonical();
    if verify(kernel).is_ok() {
        assert_eq!(canonical, canonical.canonical());
        assert_eq!(parse(&text).unwrap(), canonical);
        let mut data = buffers(kernel);
        let extents = vec![2; kernel.extents as usize];
        let _ = interp::run_with(kernel, &mut data, &extents, &Options { limit: 20_000, ..Default::default() });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..Default::default() })]

    #[test]
    fn random_kernels_are_correct_and_read_back(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let kernel = kernel(bytes);
        prop_assert_eq!(verify(&kernel), Ok(()));
        let text = kernel.to_string();
        let read = parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        prop_assert_eq!(&read, &kernel.canonical());
        prop_assert_eq!(read.key(), kernel.key());
        prop_assert_eq!(read.to_string(), text);
        prop_assert_eq!(verify(&read), Ok(()));
        let bytes = postcard::to_allocvec(&kernel).unwrap();
        prop_assert_eq!(postcard::from_bytes::<Kernel>(&bytes).unwrap(), kernel);
    }

    #[test]
    fn the_order_of_tasks_and_lanes_does_not_matter(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let kernel = kernel(bytes);
        let run = |order| match run(&kernel, order) {
            Ok((data, status)) => Some((bits(&data), status)),
            Err(interp::RunError::Statement { fault: interp::Fault::Limit, .. }) => None,
            Err(e) => panic!("{e}\n{kernel}"),
        };
        let forward = run(Order::Forward);
        for order in [Order::Reverse, Order::Shuffled(7)] {
            prop_assert_eq!(&run(order), &forward, "{}", kernel);
        }
    }

    #[test]
    fn damaged_text_never_panics(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        damage in proptest::collection::vec((any::<u32>(), any::<u32>(), 0..6u8), 1..6),
    ) {
        let words = ["%0", "%i0", "N0", "}", "{", "(", "[", "-", "9223372036854775807", "lanes", "yield sum", "f16", "\u{e9}", " if %1"];
        let mut text: Vec<char> = kernel(bytes).to_string().chars().collect();
        for (a, b, how) in damage {
            let (at, to) = (a as usize % (text.len() + 1), b as usize % (text.len() + 1));
            let (from, until) = (at.min(to), at.max(to).min(at.min(to) + 40));
            let word = words[b as usize % words.len()].chars();
            match how {
                0 => drop(text.splice(at..at, word)),
                1 => drop(text.drain(from..until)),
                2 => text.truncate(at.max(20)),
                3 => {
                    let piece: Vec<char> = text[from..until].to_vec();
                    drop(text.splice(from..from, piece));
                }
                4 if at < text.len() => text[at] = char::from(32 + (b % 95) as u8),
                _ => drop(text.splice(at..(at + 1).min(text.len()), word)),
            }
        }
        let text: String = text.into_iter().collect();
        match parse(&text) {
            Ok(kernel) => survives(&kernel),
            Err(e) => {
                prop_assert!(e.line <= text.lines().count() + 1);
                e.to_string();
            }
        }
    }

    #[test]
    fn damaged_bytes_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        damage in proptest::collection::vec((any::<u32>(), any::<u8>()), 1..4),
    ) {
        let mut stored = postcard::to_allocvec(&kernel(bytes)).unwrap();
        for (at, byte) in damage {
            let at = at as usize % stored.len();
            stored[at] = byte;
        }
        if let Ok(kernel) = postcard::from_bytes::<Kernel>(&stored) {
            survives(&kernel);
        }
    }

    #[test]
    fn arbitrary_text_never_panics(text in "[ %a-z0-9(){}@:;,.\\[\\]\n-]{0,200}") {
        prop_assert!(parse(&text).is_err());
        let (headed, closed) = (format!("kernel @k{text}"), text.contains('}'));
        prop_assert!(parse(&headed).is_err() || closed);
    }
}

/// The generator must reach every construct, or the properties above say little.
#[test]
fn random_kernels_cover_every_construct() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = proptest::collection::vec(any::<u8>(), 600..601);
    let texts: String =
        (0..2400).map(|_| kernel(strategy.new_tree(&mut runner).unwrap().current()).to_string()).collect();
    let mut words: Vec<String> =
        ["const ", "index ", "select ", "convert ", "load ", "store ", "check ", "lanes {", " else "]
            .map(String::from)
            .to_vec();
    words.extend([" mod ", "/", "min(", "max(", "inout", "scratch(", "nan:", "-inf", "] if "].map(String::from));
    words.extend(UnaryOp::ALL.iter().map(|op| format!("= {} ", op.name())));
    words.extend(BinaryOp::ALL.iter().map(|op| format!("= {} ", op.name())));
    words.extend(CompareOp::ALL.iter().map(|op| format!("= {} ", op.name())));
    words.extend(Combine::ALL.iter().map(|c| format!("yield {} ", c.name())));
    for word in words {
        assert!(texts.contains(&word), "no random kernel has `{word}`");
    }
}
