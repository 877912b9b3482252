//! Matrix products on a device: by cuBLASLt where it can, else by kernels of our own.

use super::blaslt::{self, BlasLt, Refusal};
use crate::contract::{Matmul, Operand};
use crate::events::{self, Event};
use codegen::cuda::library::{Epilogue, Launch, Launches, Matrix, Product};
use cudarc::driver::sys::CUstream;
use std::sync::OnceLock;

/// What the workspace of the library begins at a multiple of.
const WORKSPACE_ALIGNMENT: u64 = 256;

/// What multiplies matrices on one device.
pub(super) struct Products {
    library: Option<BlasLt>,
}

/// Why a product failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum ProductError<E> {
    /// There is no product of the dtype, or its scratch memory has more bytes than numbers count.
    Unsupported,
    /// cuBLASLt has failed.
    Library(String),
    /// A launch has failed.
    Launch(E),
}

impl Products {
    /// For the device whose context is current. Without cuBLASLt kernels of our own do all of it, which is an event, once.
    pub fn new() -> Products {
        static NOTED: OnceLock<()> = OnceLock::new();
        let library = BlasLt::open().map_err(|why| {
            NOTED.get_or_init(|| {
                events::record(Event::Fallback, format_args!("products are kernels of tracewright: {why}"));
            });
        });
        Products { library: library.ok() }
    }

    /// Only kernels of our own.
    pub fn own() -> Products {
        Products { library: None }
    }

    /// Bytes of scratch memory for a product; its addresses do not matter.
    pub fn scratch_bytes(&self, product: &Matmul) -> usize {
        let own = described(product, &Epilogue::default()).scratch_bytes();
        let own = own.map_or(usize::MAX, |bytes| bytes as usize);
        // Kernels of our own step in where the library refuses at the last moment.
        match self.asks_library(product, &Epilogue::default()) {
            true => own.max(blaslt::workspace_bytes(product) + WORKSPACE_ALIGNMENT as usize),
            false => own,
        }
    }

    /// True if the library is asked for a product first.
    pub fn asks_library(&self, product: &Matmul, epilogue: &Epilogue) -> bool {
        self.library.is_some() && blaslt::expressible(product, epilogue).is_ok()
    }

    /// The launches of a product that is not the library's.
    pub fn own_launches(&self, product: &Matmul, epilogue: &Epilogue, scratch: u64) -> Option<Launches> {
        described(product, epilogue).launches(scratch)
    }

    /// True if some products are those of a library.
    pub fn has_library(&self) -> bool {
        self.library.is_some()
    }

    /// Enqueues a product on a stream, with scratch memory at a multiple of 16.
    ///
    /// # Safety
    /// As for [`MatmulLibrary::multiply`](crate::contract::MatmulLibrary::multiply), in memory of the device, until the stream
    /// has run it; bytes of scratch memory are [as many as the product asks for](Products::scratch_bytes). The device's
    /// context is current.
    pub unsafe fn multiply<E>(
        &self,
        product: &Matmul,
        epilogue: &Epilogue,
        tf32: bool,
        scratch: u64,
        stream: CUstream,
        launch: &mut dyn FnMut(&Launch) -> Result<(), E>,
    ) -> Result<(), ProductError<E>> {
        if product.batch == 0 || product.m == 0 || product.n == 0 {
            return Ok(());
        }
        if let Some(library) = &self.library {
            let workspace = scratch.next_multiple_of(WORKSPACE_ALIGNMENT);
            // SAFETY: passed on.
            match unsafe { library.multiply(product, epilogue, tf32, workspace, stream.cast()) } {
                Ok(()) => return Ok(()),
                Err(Refusal::Unsupported(_)) => {}
                Err(Refusal::Failed(why)) => return Err(ProductError::Library(why)),
            }
        }
        let launches: Launches = described(product, epilogue).launches(scratch).ok_or(ProductError::Unsupported)?;
        launches.iter().try_for_each(launch).map_err(ProductError::Launch)
    }
}

/// A product as kernels of our own know it.
fn described(p: &Matmul, epilogue: &Epilogue) -> Product {
    let matrix = |o: &Operand| Matrix { address: o.data.addr() as u64, strides: o.strides.map(|n| n as i64) };
    let (lhs, rhs, out) = (matrix(&p.lhs), matrix(&p.rhs), matrix(&p.out));
    let [batch, m, n, k] = [p.batch, p.m, p.n, p.k].map(|n| n as u64);
    Product { dtype: p.dtype, batch, m, n, k, lhs, rhs, out, epilogue: *epilogue }
}
