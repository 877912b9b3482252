//! A device, with a program, by the calls of the driver.

use cudarc::driver::result::DriverError;
use cudarc::driver::{result, sys};
use cudarc::nvrtc::{result as nvrtc, sys as compiler};
use std::ffi::{CString, c_void};

pub struct Device {
    pub number: sys::CUdevice,
    context: sys::CUcontext,
    module: sys::CUmodule,
}

// SAFETY: any thread may use the handles.
unsafe impl Sync for Device {}

/// What a kernel takes.
pub trait Arguments {
    fn pointers(&mut self) -> Vec<*mut c_void>;
}

macro_rules! arguments {
    ($($name:ident)*) => {
        impl<$($name),*> Arguments for ($($name,)*) {
            #[allow(non_snake_case)]
            fn pointers(&mut self) -> Vec<*mut c_void> {
                let ($($name,)*) = self;
                vec![$(std::ptr::from_mut($name).cast()),*]
            }
        }
    };
}
arguments!(A);
arguments!(A B);
arguments!(A B C D);

impl Device {
    pub fn new(text: &str) -> Device {
        result::init().unwrap();
        let number = result::device::get(0).unwrap();
        let context = unsafe { result::primary_ctx::retain(number).unwrap() };
        unsafe { result::ctx::set_current(context).unwrap() };
        let image = compile(text).unwrap();
        let module = unsafe { result::module::load_data(image.as_ptr().cast()).unwrap() };
        Device { number, context, module }
    }

    pub fn make_current(&self) {
        unsafe { result::ctx::set_current(self.context).unwrap() };
    }

    pub fn function(&self, name: &str) -> sys::CUfunction {
        unsafe { result::module::get_function(self.module, CString::new(name).unwrap()).unwrap() }
    }

    pub fn stream(&self) -> sys::CUstream {
        result::stream::create(result::stream::StreamKind::NonBlocking).unwrap()
    }

    pub fn alloc(&self, bytes: usize) -> sys::CUdeviceptr {
        unsafe { result::malloc_sync(bytes).unwrap() }
    }

    pub fn upload<T>(&self, data: &[T]) -> sys::CUdeviceptr {
        let at = self.alloc(size_of_val(data));
        unsafe { result::memcpy_htod_sync(at, data).unwrap() };
        at
    }

    pub fn download<T: Copy + Default>(&self, at: sys::CUdeviceptr, count: usize, stream: sys::CUstream) -> Vec<T> {
        let mut data = vec![T::default(); count];
        unsafe {
            result::memcpy_dtoh_async(&mut data, at, stream).unwrap();
            result::stream::synchronize(stream).unwrap();
        }
        data
    }

    pub fn pinned(&self, bytes: usize) -> *mut c_void {
        unsafe { result::malloc_host(bytes, 0).unwrap() }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = unsafe { result::primary_ctx::release(self.number) };
    }
}

/// The CUBIN of a program, or what the compiler says.
pub fn compile(text: &str) -> Result<Vec<u8>, String> {
    let text = CString::new(text).unwrap();
    let program = nvrtc::create_program(&text, None).unwrap();
    unsafe {
        let options = ["--gpu-architecture=sm_90".to_string(), "--fmad=false".to_string()];
        let image = nvrtc::compile_program(program, &options).map(|()| {
            let mut size = 0;
            compiler::nvrtcGetCUBINSize(program, &mut size).result().unwrap();
            let mut image = vec![0u8; size];
            compiler::nvrtcGetCUBIN(program, image.as_mut_ptr().cast()).result().unwrap();
            image
        });
        let log = nvrtc::get_program_log(program).unwrap();
        nvrtc::destroy_program(program).unwrap();
        image.map_err(|e| format!("{e:?}: {}", std::ffi::CStr::from_ptr(log.as_ptr()).to_string_lossy()))
    }
}

pub fn launch(
    function: sys::CUfunction,
    blocks: u32,
    threads: u32,
    stream: sys::CUstream,
    arguments: &mut impl Arguments,
) -> Result<(), DriverError> {
    let mut pointers = arguments.pointers();
    unsafe { result::launch_kernel(function, (blocks, 1, 1), (threads, 1, 1), 0, stream, &mut pointers) }
}

pub fn message(of: sys::CUresult) -> String {
    DriverError(of).error_name().unwrap().to_string_lossy().into_owned()
}
