//! Files that were cut, changed or made up: reading them ends with a result or an error, never with a panic, and takes no
//! memory that the file does not have.
//!
//! Tried of each format: every prefix of a good file; thousands of copies in which up to three bytes have another bit, are 0
//! or 255, or a digit, bracket or quote, and in one of twenty of which bytes are missing. Of saved graphs, 60,000 such copies,
//! half of them with all checksums made right again, so that what is behind them is reached, in all of the file or in one
//! section; and headers whose every offset and length is each of the numbers that sizes go wrong at.

use crate::{data, folder};
use std::path::Path;
use tracewright::io::{Exported, npy, npz, safetensors};
use tracewright::{Generator, Tensor, control, jit, nn};

/// xorshift, <https://www.jstatsoft.org/article/view/v008i14>.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n.max(1)
    }
}

/// Changes a few bytes, mostly by one bit, sometimes to those that sizes are made of.
pub fn change(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.below(3) {
        let at = random.below(bytes.len());
        let new = match random.below(5) {
            0 => 0xff,
            1 => 0,
            2 => b"0123456789[]{}(),:\"'"[random.below(20)],
            _ => bytes[at] ^ (1 << random.below(8)),
        };
        bytes[at] = new;
    }
    if random.below(20) == 0 {
        let at = random.below(bytes.len());
        bytes.drain(at..(at + random.below(9)).min(bytes.len()));
    }
}

/// All prefixes of a file, and `times` changed copies of it; most changes must go unnoticed or be refused by `read`, which
/// says so.
pub fn attack(bytes: &[u8], times: usize, read: &mut dyn FnMut(&[u8]) -> bool) {
    for length in 0..bytes.len() {
        read(&bytes[..length]);
    }
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut refused = 0;
    for _ in 0..times {
        let mut changed = bytes.to_vec();
        change(&mut changed, &mut random);
        refused += usize::from(!read(&changed));
    }
    assert!(refused > 0, "no change was noticed");
}

/// The same for a file of tests.
fn attack_file(name: &str, times: usize, read: &dyn Fn(&Path) -> bool) {
    let folder = folder();
    let path = folder.path().join(name);
    attack(&std::fs::read(data(name)).unwrap(), times, &mut |bytes| {
        // Written anew: a file that is mapped must not become shorter.
        let _ = std::fs::remove_file(&path);
        std::fs::write(&path, bytes).unwrap();
        read(&path)
    });
}

#[test]
fn safetensors_that_were_changed() {
    attack_file("torch.safetensors", 10_000, &|path| safetensors::load(path).is_ok());
}

#[test]
fn npz_that_were_changed() {
    attack_file("stored.npz", 5_000, &|path| npz::load(path).is_ok());
    attack_file("compressed.npz", 5_000, &|path| npz::load(path).is_ok());
}

#[test]
fn npy_that_were_changed() {
    for name in ["version1.npy", "version2.npy", "version3.npy"] {
        attack_file(name, 5_000, &|path| npy::load(path).is_ok());
    }
}

/// A step with weights, a cell, a symbol, a loop and a constant beside the graph.
fn saved_graph() -> Vec<u8> {
    let layer = nn::Linear::new(3, 3, &Generator::new(0));
    let count = nn::Buffer::new(Tensor::from(0i64));
    let big: Vec<f32> = (0..1100).map(|i| i as f32).collect();
    let f = jit(move |l: nn::Linear, x: Tensor| {
        count.set(count.get() + 1i64).unwrap();
        let y = control::fori(0..2, |_, y: &Tensor| l.forward(y).relu(), &x) + Tensor::from(big.as_slice()).sum(..);
        (l, y)
    });
    let f = f.dynamic("arguments.1", 0, "B", 1..=8);
    let exported = f.export_mut(&layer, Tensor::ones([2, 3], tracewright::DType::F32)).unwrap();
    let folder = folder();
    exported.with_metadata("key", "value").save(folder.path().join("f.tw")).unwrap();
    std::fs::read(folder.path().join("f.tw")).unwrap()
}

fn number(bytes: &[u8], at: usize) -> usize {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize
}

/// Makes the checksums right, and the length.
pub fn seal(bytes: &mut [u8]) {
    if bytes.len() < 128 {
        return;
    }
    let length = bytes.len() as u64;
    bytes[16..24].copy_from_slice(&length.to_le_bytes());
    for i in 0..4 {
        let (at, length) = (number(bytes, 24 + 24 * i), number(bytes, 32 + 24 * i));
        if let Some(part) = bytes.get(at..at.saturating_add(length)) {
            let crc = crc32fast::hash(part);
            bytes[40 + 24 * i..][..4].copy_from_slice(&crc.to_le_bytes());
        }
    }
    seal_header(bytes);
}

fn seal_header(bytes: &mut [u8]) {
    let crc = crc32fast::hash(&bytes[16..128]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
}

/// The most memory that the process has had, in bytes.
#[cfg(target_os = "linux")]
fn peak_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}
#[cfg(not(target_os = "linux"))]
fn peak_memory() -> usize {
    0
}

#[test]
fn saved_graphs_that_were_changed() {
    let folder = folder();
    let path = folder.path().join("f.tw");
    let load = |bytes: &[u8]| {
        let _ = std::fs::remove_file(&path);
        std::fs::write(&path, bytes).unwrap();
        Exported::load(&path)
    };
    let good = saved_graph();
    assert!(load(&good).is_ok());
    let before = peak_memory();
    for length in 0..good.len() {
        let text = load(&good[..length]).err().expect("a part is no whole").to_string();
        assert!(text.starts_with(&format!("error[file]: load: {}: it is ", path.display())), "{text}");
    }
    let mut random = Random(0xd1b5_4a32_d192_ed03);
    let tensors = number(&good, 24 + 24 * 3);
    let (mut read, mut refused) = (0, 0);
    for i in 0..60_000 {
        let mut bytes = good.clone();
        match i % 4 {
            // As a damaged disk leaves it: everything but the tensors is under a checksum.
            0 | 1 => {
                change(&mut bytes, &mut random);
                if bytes[..tensors] != good[..tensors] {
                    let gap = bytes.len() == good.len() && load(&bytes).is_ok();
                    // Bytes between sections are nobody's.
                    let sections =
                        |i: usize| number(&good, 24 + 24 * i)..number(&good, 24 + 24 * i) + number(&good, 32 + 24 * i);
                    let inside = |at: &usize| *at < 128 || (0..3).any(|i| sections(i).contains(at));
                    assert!(!gap || !(0..tensors).filter(|&at| bytes[at] != good[at]).any(|at| inside(&at)));
                }
                continue;
            }
            // As somebody makes it who knows the format: anywhere, or in one section.
            2 => change(&mut bytes, &mut random),
            _ => {
                let section = random.below(4);
                let (at, length) = (number(&good, 24 + 24 * section), number(&good, 32 + 24 * section));
                let mut part = bytes[at..at + length.min(2000)].to_vec();
                change(&mut part, &mut random);
                part.resize(length.min(2000), b' ');
                bytes[at..at + length.min(2000)].copy_from_slice(&part);
            }
        }
        seal(&mut bytes);
        match load(&bytes) {
            Ok(f) => {
                read += 1;
                assert!(!f.ir().is_empty() && f.arguments().len() <= 2);
            }
            Err(e) => {
                refused += 1;
                assert!(e.to_string().contains("f.tw"), "{e}");
            }
        }
    }
    assert!(read > 1000 && refused > 10_000, "{read} read, {refused} refused");
    // Offsets and lengths that go wrong.
    let wrong = [0, 1, 63, 64, 127, 128, good.len() as u64, u32::MAX as u64, i64::MAX as u64, u64::MAX - 63, u64::MAX];
    for at in (16..120).step_by(8) {
        for value in wrong {
            let mut bytes = good.clone();
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
            seal_header(&mut bytes);
            let checksum = at >= 24 && (at - 24) % 24 == 16;
            assert!(load(&bytes).is_err() || number(&good, at) as u64 == value || (checksum && at > 90));
        }
    }
    let grown = peak_memory().saturating_sub(before);
    assert!(grown < 256 << 20, "{grown} bytes more than before");
}

#[test]
fn messages_of_saved_graphs() {
    let folder = folder();
    let path = folder.path().join("f.tw");
    let good = saved_graph();
    let message = |bytes: &[u8]| {
        let _ = std::fs::remove_file(&path);
        std::fs::write(&path, bytes).unwrap();
        let text = Exported::load_checked(&path).err().expect("refused").to_string();
        text.replace(&path.display().to_string(), "FILE")
    };
    let legal = "legal: a file that Exported::save wrote";
    let expected = |what: &str| format!("error[file]: load: FILE: {what}\n  {legal}");
    assert_eq!(message(b"PK\x03\x04"), expected("it is no saved graph"));
    assert_eq!(message(b"\x89TW\n\x1a\n"), expected("it is no saved graph; a transfer as text has changed it"));
    assert_eq!(message(&good[..100]), expected("it is cut short: 100 bytes of the 128 of its header"));
    let text = format!("it is cut short: 500 of {} bytes", good.len());
    assert_eq!(message(&good[..500]), expected(&text));
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    assert_eq!(
        message(&with(8, 2)),
        expected("it has version 2 of the format, this program reads up to 1: it is newer")
    );
    assert_eq!(message(&with(30, 9)), expected("its header is damaged"));
    assert_eq!(message(&with(number(&good, 24) + 3, 0)), expected("its manifest section is damaged"));
    assert_eq!(message(&with(number(&good, 48) + 3, 0)), expected("its graph section is damaged"));
    assert_eq!(message(&with(number(&good, 72) + 3, 0)), expected("its origins section is damaged"));
    assert_eq!(message(&with(good.len() - 1, 255)), expected("its tensors section is damaged"));
    // What another program might make of it: the text of a section for another of the same length.
    let replace = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = good.windows(from.len()).position(|w| w == from.as_bytes()).unwrap_or_else(|| panic!("no {from}"));
        let mut bytes = good.clone();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        seal(&mut bytes);
        message(&bytes)
    };
    let manifest = "its manifest is wrong: unknown variant `stale`, expected one of `argument`, `state`, `constant` at line 6 column 21";
    for (from, to, what) in [
        ("\"output\": 1", "\"output\": 9", "its state `cells.0` becomes Output(9), which its graph does not have"),
        ("\"constant\"", "\"argument\"", "no input is called `constant.0`"),
        ("\"role\": \"state\"", "\"role\": \"stale\"", manifest),
        (
            "\"F32\",\"shape\":[3,3]",
            "\"I32\",\"shape\":[3,3]",
            "its tensor `state.weight` is i32[3, 3], its graph wants f32[3, 3]",
        ),
        ("\"state.bias\"", "\"state.dias\"", "it has no tensor `state.dias`"),
    ] {
        assert_eq!(replace(from, to), expected(what));
    }
    assert_eq!(
        replace("-> (f32[", "-> (f64["),
        "error[text]: parse: the returned values do not have the declared types\n  at FILE:19:2\n  note: `}`"
    );
}
