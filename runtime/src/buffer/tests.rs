use super::*;
use ir::Scalar;
use std::sync::Mutex;

/// The limits and the shared cache are the process's; tests that set them or use large blocks take turns.
static LIMITS: Mutex<()> = Mutex::new(());

#[test]
fn aligned_initialised_and_of_that_length() {
    let _turn = LIMITS.lock();
    for len in [0, 1, 63, 64, 65, 127, 128, 129, 1000, 4096, 65536, 65537, 1 << 20, 5_000_001] {
        for _ in 0..3 {
            let mut buffer = Buffer::try_alloc(len).unwrap();
            assert_eq!((buffer.len(), buffer.is_empty()), (len, len == 0));
            assert_eq!(buffer.ptr() as usize % ALIGN, 0);
            buffer.get_mut().unwrap().fill(0xa5);
            drop(buffer);
            assert!(Buffer::zeroed(len).unwrap().bytes().iter().all(|&b| b == 0), "{len} bytes");
        }
    }
}

#[test]
fn the_next_buffer_of_a_size_is_the_freed_one() {
    let _turn = LIMITS.lock();
    for len in [100, 40_000, 70_001, 3_000_000] {
        let first = Buffer::try_alloc(len).unwrap();
        let address = first.ptr();
        drop(first);
        assert_eq!(Buffer::try_alloc(len).unwrap().ptr(), address, "{len} bytes");
    }
}

#[test]
fn a_steady_thread_takes_nothing_from_the_system() {
    let work = || {
        let kept: Vec<Buffer> = (0..20).map(|i| Buffer::try_alloc(i * 300).unwrap()).collect();
        kept.iter().map(Buffer::len).sum::<usize>()
    };
    work();
    let before = thread_stats();
    work();
    let after = thread_stats();
    assert_eq!((after.allocs - before.allocs, after.system_allocs - before.system_allocs), (20, 0));
}

#[test]
fn sole_ownership() {
    let mut buffer = Buffer::from_slice(&[1.5f32, -2.0]).unwrap();
    assert!(buffer.is_unique());
    let other = buffer.clone();
    assert!(!buffer.is_unique() && buffer.get_mut().is_none() && buffer.same(&other));
    assert!(buffer.view_mut::<f32>().unwrap().is_none());
    drop(other);
    buffer.view_mut::<f32>().unwrap().unwrap()[1] = 7.0;
    assert_eq!(buffer.view::<f32>().unwrap(), [1.5, 7.0]);
    assert!(!buffer.same(&Buffer::from_slice(&[1.5f32, 7.0]).unwrap()));
}

#[test]
fn literals_come_back_as_they_were() {
    for dtype in DType::ALL {
        for dims in [&[2usize, 3][..], &[], &[0, 4]] {
            let literal = Literal::from_fn(dims, dtype, |i| Scalar::of(dtype, i as f64));
            let buffer = Buffer::from_literal(&literal).unwrap();
            assert_eq!(buffer.len(), literal.numel() * dtype.size());
            assert_eq!(buffer.to_literal(dtype, dims).unwrap(), literal);
        }
    }
}

#[test]
fn bytes_that_are_no_such_tensor() {
    let mut buffer = Buffer::zeroed(6).unwrap();
    let error = buffer.to_literal(DType::F32, &[2]).unwrap_err();
    assert_eq!(error.to_string(), "a buffer of 6 bytes cannot hold f32[2], which takes 8");
    let error = buffer.to_literal(DType::F32, &[usize::MAX, 3]).unwrap_err().to_string();
    assert!(error.ends_with("which takes more than can be counted"), "{error}");
    assert!(buffer.view::<i32>().is_err() && buffer.view::<u8>().is_ok());
    buffer.get_mut().unwrap()[4] = 2;
    let error = buffer.to_literal(DType::Bool, &[6]).unwrap_err();
    assert_eq!(error.to_string(), "byte 4 of a bool buffer is 2, neither 0 nor 1");
    assert!(buffer.view_mut::<bool>().is_err());
}

#[test]
fn absurd_sizes_are_errors() {
    let _turn = LIMITS.lock();
    for len in [usize::MAX, isize::MAX as usize, isize::MAX as usize / 2, 1 << 60, 1 << 46] {
        let error = Buffer::try_alloc(len).unwrap_err();
        assert_eq!(error.bytes, len);
        assert!(Buffer::zeroed(len).is_err());
        assert!(Buffer::try_alloc(64).is_ok());
    }
    assert!(stats().held < 1 << 40, "a failed request stayed counted");
}

#[test]
fn memory_limit_counts_what_is_held_and_drops_the_cache_first() {
    let _turn = LIMITS.lock();
    let (megabyte, before) = (1 << 20, stats().held);
    set_memory_limit(before + 400 * megabyte);
    let first = Buffer::try_alloc(250 * megabyte).unwrap();
    let error = Buffer::try_alloc(250 * megabyte).unwrap_err();
    assert!(error.to_string().starts_with("no memory for a buffer of 262144000 bytes ("), "{error}");
    drop(first);
    // A block of another size: only what the cache holds can make room for it.
    assert!(Buffer::try_alloc(350 * megabyte).is_ok());
    set_memory_limit(isize::MAX as usize);
}

#[test]
fn the_cache_is_bounded_and_can_be_emptied() {
    let _turn = LIMITS.lock();
    set_cache_limit(8 << 20);
    let buffers: Vec<Buffer> = (0..16).map(|i| Buffer::try_alloc((1 << 20) + (i << 18)).unwrap()).collect();
    let evicted = stats().evicted;
    drop(buffers);
    assert!(stats().cached <= 8 << 20 && stats().evicted > evicted);
    trim();
    assert!(stats().cached < 1 << 20, "{:?}", stats());
    set_cache_limit(1 << 30);
}

#[test]
fn buffers_travel_between_threads() {
    let (sender, receiver) = std::sync::mpsc::channel::<Buffer>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for i in 0..2000i32 {
                sender.send(Buffer::from_slice(&vec![i; 1 + i as usize % 500]).unwrap()).unwrap();
            }
        });
        scope.spawn(move || {
            for (i, buffer) in receiver.iter().enumerate() {
                let copy = buffer.clone();
                assert!(copy.view::<i32>().is_ok());
                assert!(buffer.bytes().chunks_exact(4).all(|c| c == (i as i32).to_le_bytes()), "buffer {i}");
            }
        });
    });
}
