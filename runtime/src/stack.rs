//! How much of a thread's stack is left.

/// Bytes from here to the end of this thread's stack, or `None` where the system does not say.
pub fn left() -> Option<usize> {
    thread_local! {
        static END: Option<usize> = end();
    }
    let here = 0u8;
    let at = std::hint::black_box(&raw const here).addr();
    END.with(|end| end.map(|end| at.saturating_sub(end)))
}

/// The lowest address of this thread's stack, towards which it grows.
#[cfg(target_os = "linux")]
fn end() -> Option<usize> {
    let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    let (mut lowest, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: the attributes are read and destroyed only after they were filled in, and all pointers are to locals.
    let found = unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return None;
        }
        let found = libc::pthread_attr_getstack(attributes.as_ptr(), &mut lowest, &mut size);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        found
    };
    (found == 0).then(|| lowest.addr())
}

#[cfg(not(target_os = "linux"))]
fn end() -> Option<usize> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::left;

    #[test]
    fn deeper_calls_leave_less() {
        fn deeper(n: usize) -> usize {
            let space = std::hint::black_box([0u8; 1024]);
            if n == 0 { left().unwrap() } else { deeper(n - 1) - usize::from(space[n % 1024]) }
        }
        let thread = std::thread::Builder::new().stack_size(1 << 20);
        let run = || {
            let before = left().unwrap();
            // The system may hand out a larger stack that an ended thread has left.
            assert!((1 << 19..1 << 30).contains(&before), "{before}");
            let after = deeper(100);
            assert!(after < before - 100 * 1024 && after > 0, "{before} {after}");
        };
        thread.spawn(run).unwrap().join().unwrap();
    }
}
