use super::*;
use crate::events::Counters;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

/// A folder for a test, gone with it.
pub(in super::super) struct Scratch(pub PathBuf);

impl Scratch {
    pub(in super::super) fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("tw-cubins-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const LIMIT: u64 = 1 << 20;

fn cubin(len: usize, seed: u8) -> Cubin {
    let bytes = (0..len).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)).collect();
    Cubin { bytes, log: format!("ptxas info {seed}") }
}

/// Reads with the reasons of what was refused.
fn read(folder: &Folder, key: &Key) -> (Option<Cubin>, Vec<String>) {
    let (found, records) = events::capture(|| folder.read(key));
    assert!(records.iter().all(|r| r.event == Event::CacheRefused));
    (found, records.into_iter().map(|r| r.reason).collect())
}

#[test]
fn what_is_written_is_read_by_others() {
    let scratch = Scratch::new("read");
    let deep = scratch.0.join("a/b");
    let folder = Folder::open(deep.clone(), LIMIT).unwrap();
    assert_eq!(fs::metadata(&deep).unwrap().mode() & 0o7777, 0o700);
    assert_eq!(read(&folder, &[1; 32]), (None, vec![]));
    folder.write(&[1; 32], &cubin(1000, 1));
    folder.write(&[2; 32], &cubin(0, 2));
    let other = Folder::open(deep, LIMIT).unwrap();
    assert_eq!(read(&other, &[1; 32]), (Some(cubin(1000, 1)), vec![]));
    assert_eq!(read(&other, &[2; 32]), (Some(cubin(0, 2)), vec![]));
    assert_eq!(fs::metadata(other.file(&[1; 32])).unwrap().mode() & 0o7777, 0o600);
}

#[test]
fn a_file_that_is_cut_or_changed_anywhere_is_not_used() {
    let scratch = Scratch::new("broken");
    let folder = Folder::open(scratch.0.clone(), LIMIT).unwrap();
    let (key, whole) = ([3; 32], cubin(40, 3));
    let bytes = encode(&key, &whole);
    let refused = |bytes: &[u8], what: &str| {
        fs::write(folder.file(&key), bytes).unwrap();
        let (found, reasons) = read(&folder, &key);
        assert_eq!(found, None, "{what}");
        assert!(reasons.len() == 1 && reasons[0].contains(what), "{reasons:?}, not {what}");
        assert!(!folder.file(&key).exists(), "{what}: the file is removed");
    };
    for len in 0..bytes.len() {
        refused(&bytes[..len], if len < HEADER { "cut short" } else { "not as long as it says" });
    }
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        let what = match at {
            0..8 => "of another format",
            72..88 => "not as long as it says",
            _ => "the checksum is another",
        };
        refused(&changed, what);
    }
    refused(&[&bytes[..], b"x"].concat(), "not as long as it says");
    refused(&encode(&[4; 32], &whole), "of another kernel");
    refused(&vec![0; LIMIT as usize + 1], "too long");
    // Lengths whose sum wraps to the right one.
    let mut wrapped = bytes.clone();
    wrapped[79] = 0xff;
    wrapped[87] = 0xff;
    refused(&wrapped, "not as long as it says");
    folder.write(&key, &whole);
    assert_eq!(read(&folder, &key), (Some(whole), vec![]));
}

#[test]
fn what_others_could_have_written_is_not_used() {
    let scratch = Scratch::new("others");
    let folder = Folder::open(scratch.0.clone(), LIMIT).unwrap();
    let key = [5; 32];
    folder.write(&key, &cubin(10, 5));
    let chmod = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for mode in [0o620, 0o602, 0o666] {
        folder.write(&key, &cubin(10, 5));
        chmod(&folder.file(&key), mode);
        let (found, reasons) = read(&folder, &key);
        assert!(found.is_none() && reasons[0].contains("others may write it"), "{reasons:?}");
    }
    folder.write(&key, &cubin(10, 5));
    let stranger = Folder { user: folder.user + 1, ..Folder::open(scratch.0.clone(), LIMIT).unwrap() };
    let (found, reasons) = read(&stranger, &key);
    assert!(found.is_none() && reasons[0].contains("owned by user"), "{reasons:?}");
    // A link to a file is not a file, whatever it leads to; nor is a pipe, which would wait for a writer.
    folder.write(&[6; 32], &cubin(10, 6));
    symlink(folder.file(&[6; 32]), folder.file(&key)).unwrap();
    assert_eq!(read(&folder, &key).1.len(), 1);
    assert!(Command::new("mkfifo").arg(folder.file(&key)).status().unwrap().success());
    assert!(read(&folder, &key).1[0].contains("not a file"));

    let refused = |user: u32| Folder::of_user(scratch.0.clone(), LIMIT, user).err().unwrap_or_default();
    assert_eq!(refused(folder.user), "");
    assert!(refused(folder.user + 1).ends_with(&format!("not by user {}", folder.user + 1)));
    chmod(&scratch.0, 0o770);
    assert!(refused(folder.user).ends_with("others may write it (mode 770)"));
    chmod(&scratch.0, 0o1777);
    assert!(refused(folder.user).ends_with("others may write it (mode 1777)"));
    chmod(&scratch.0, 0o755);
    assert_eq!(refused(folder.user), "");
}

#[test]
fn a_folder_that_cannot_be_written_is_an_event_once() {
    let scratch = Scratch::new("unwritable");
    fs::create_dir_all(&scratch.0).unwrap();
    let file = scratch.0.join("file");
    fs::write(&file, "").unwrap();
    assert!(Folder::open(file.clone(), LIMIT).is_err());
    assert!(Folder::open(file.join("below"), LIMIT).is_err());
    let gone = scratch.0.join("gone");
    let folder = Folder::open(gone.clone(), LIMIT).unwrap();
    fs::remove_dir(&gone).unwrap();
    let ((), records) = events::capture(|| (0..3).for_each(|n| folder.write(&[n; 32], &cubin(10, n))));
    assert_eq!(records.len(), 1, "{records:?}");
    assert!(records[0].reason.ends_with("nothing more is written to it"), "{records:?}");
}

#[test]
fn the_least_recently_used_go_first() {
    let scratch = Scratch::new("eviction");
    let folder = Folder::open(scratch.0.clone(), LIMIT).unwrap();
    let abandoned = scratch.0.join(".new-1-1");
    let fresh = scratch.0.join(".new-1-2");
    for path in [&abandoned, &fresh] {
        fs::write(path, "x").unwrap();
    }
    fs::File::open(&abandoned).unwrap().set_modified(SystemTime::now() - 2 * ABANDONED).unwrap();
    let len = LIMIT as usize / 32;
    let (((), counts), records) = events::capture(|| {
        Counters::of(|| {
            for n in 0..40 {
                folder.write(&[n; 32], &cubin(len, n));
                // The clock of files may be coarse: ages are made plain.
                let age = Duration::from_secs(600 - u64::from(n));
                fs::File::open(folder.file(&[n; 32])).unwrap().set_modified(SystemTime::now() - age).unwrap();
                assert_eq!(folder.read(&[0; 32]), Some(cubin(len, 0)), "what is in use stays");
            }
        })
    });
    assert!((1..=4).contains(&counts[Event::Eviction]), "{records:?}");
    let there: Vec<u8> = (0..40).filter(|&n| folder.file(&[n; 32]).exists()).collect();
    let bytes: u64 = there.iter().map(|&n| fs::metadata(folder.file(&[n; 32])).unwrap().len()).sum();
    assert!((LIMIT / 2..=LIMIT).contains(&bytes), "{bytes} bytes are left");
    let (first, rest) = there.split_first().unwrap();
    assert!(*first == 0 && rest.windows(2).all(|w| w[1] == w[0] + 1) && rest.last() == Some(&39), "{there:?}");
    assert!(!abandoned.exists() && fresh.exists());
    // What would push all else out is not kept.
    folder.write(&[50; 32], &cubin(LIMIT as usize / 4, 50));
    assert!(!folder.file(&[50; 32]).exists());
}

const SHARED: &str = "TW_TEST_CUBINS";
/// Bytes of a kernel's code, by its number.
const UNIT: usize = 1500;
const KERNELS: u8 = 23;

/// Writes and reads some keys. Whatever is found must be right; without somebody who cuts files nothing is refused.
fn work(path: PathBuf, cut: bool) {
    let folder = Folder::open(path, LIMIT).unwrap();
    let mut found = 0;
    let ((), counts) = Counters::of(|| {
        for round in 0..400usize {
            let n = (round * 7 % usize::from(KERNELS)) as u8;
            let now = cubin(usize::from(n) * UNIT, n);
            if let Some(there) = folder.read(&[n; 32]) {
                assert_eq!(there, now);
                found += 1;
            }
            if round % 3 == 0 {
                folder.write(&[n; 32], &now);
            }
        }
    });
    assert!(found > 0);
    assert!(cut || counts[Event::CacheRefused] == 0, "{counts}");
    assert!(!folder.closed.load(Relaxed), "nothing failed");
}

#[test]
#[ignore = "run by another test in processes of its own"]
fn in_a_process_of_its_own() {
    let name = std::env::var(SHARED).unwrap();
    let (cut, path) = name.split_once(':').unwrap();
    work(path.into(), cut == "cut");
}

#[test]
fn many_write_at_once() {
    let own = concat!(module_path!(), "::in_a_process_of_its_own").split_once("::").unwrap().1;
    for cut in [false, true] {
        let scratch = Scratch::new(if cut { "many-cut" } else { "many" });
        let folder = Folder::open(scratch.0.clone(), LIMIT).unwrap();
        let child = || {
            let name = format!("{}:{}", if cut { "cut" } else { "whole" }, scratch.0.display());
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "--ignored", own]).env(SHARED, name).stdout(std::process::Stdio::piped());
            command.spawn().unwrap()
        };
        let children = [child(), child()];
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| work(scratch.0.clone(), cut));
            }
            for n in (0..KERNELS).cycle().take(if cut { 300 } else { 0 }) {
                // A crash cuts files.
                if let Ok(file) = OpenOptions::new().write(true).open(folder.file(&[n; 32])) {
                    let _ = file.set_len(u64::from(n) * 20);
                }
                std::thread::yield_now();
            }
        });
        for child in children {
            let output = child.wait_with_output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && text.contains("1 passed"), "{text}");
        }
        let files = fs::read_dir(&scratch.0).unwrap().flatten();
        assert_eq!(files.filter(|f| f.file_name().to_string_lossy().starts_with('.')).count(), 0, "unfinished files");
    }
}
