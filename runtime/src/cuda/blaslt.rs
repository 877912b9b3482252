//! Matrix products by cuBLASLt, a library of NVIDIA's that is opened when a device is.
//!
//! The library chooses an algorithm once for each shape, layout, alignment and epilogue, and that is kept. Sums that are cut in
//! parts are added up in the workspace and in the type that sums are computed in; the scheme that adds them where the result
//! is, in the order of arrival, is ruled out, so results have the same bits at every run on one kind of device.
//!
//! Functions are called through pointers with plain integers as results, since a library may return codes that no list
//! knows. A product neither allocates memory of the device nor waits, so that it can be recorded in a graph.

mod layout;

use crate::contract::{Matmul, Operand};
use crate::events::{self, Event};
use codegen::cuda::library::Epilogue;
use cudarc::cublaslt::sys;
use ir::DType;
use ir::program::Activation;
use layout::{Call, Stored};
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Algorithms that are kept.
const KEPT: usize = 1024;
/// Bytes of workspace, at most.
const WORKSPACE: usize = 32 << 20;
/// Sums of parts that the workspace of a small result holds.
const PARTS: usize = 16;

const SUCCESS: c_int = 0;
/// Codes by which the library says that it cannot do it, not that something went wrong.
const REFUSALS: [c_int; 2] = [7, 15];

type Pointer = *mut c_void;

macro_rules! functions {
    ($($field:ident: $symbol:literal, $($argument:ty),*;)+) => {
        #[derive(Clone, Copy)]
        struct Functions { $($field: unsafe extern "C" fn($($argument),*) -> c_int,)+ }

        impl Functions {
            /// Those of the library of this process, or why there are none.
            fn find() -> Result<Functions, String> {
                // SAFETY: looks whether a library can be opened.
                if !unsafe { sys::is_culib_present() } {
                    return Err("libcublasLt is not installed".into());
                }
                // SAFETY: it can be opened.
                let library = unsafe { sys::culib() };
                Ok(Functions { $($field: {
                    // SAFETY: the function has this type in every version of the library, which is never closed.
                    let found = unsafe { library.get::<unsafe extern "C" fn($($argument),*) -> c_int>($symbol.as_bytes()) };
                    *found.map_err(|_| format!("this libcublasLt has no {}", $symbol))?
                },)+ })
            }
        }
    };
}

functions! {
    create: "cublasLtCreate", *mut Pointer;
    destroy: "cublasLtDestroy", Pointer;
    matmul: "cublasLtMatmul", Pointer, Pointer, *const c_void, *const c_void, Pointer, *const c_void, Pointer, *const c_void,
        *const c_void, Pointer, Pointer, Pointer, *const Algorithm, Pointer, usize, Pointer;
    choose: "cublasLtMatmulAlgoGetHeuristic", Pointer, Pointer, Pointer, Pointer, Pointer, Pointer, Pointer, c_int, *mut Choice,
        *mut c_int;
    new_operation: "cublasLtMatmulDescCreate", *mut Pointer, c_int, c_int;
    set_operation: "cublasLtMatmulDescSetAttribute", Pointer, c_int, *const c_void, usize;
    end_operation: "cublasLtMatmulDescDestroy", Pointer;
    new_layout: "cublasLtMatrixLayoutCreate", *mut Pointer, c_int, u64, u64, i64;
    set_layout: "cublasLtMatrixLayoutSetAttribute", Pointer, c_int, *const c_void, usize;
    end_layout: "cublasLtMatrixLayoutDestroy", Pointer;
    new_preference: "cublasLtMatmulPreferenceCreate", *mut Pointer;
    set_preference: "cublasLtMatmulPreferenceSetAttribute", Pointer, c_int, *const c_void, usize;
    end_preference: "cublasLtMatmulPreferenceDestroy", Pointer;
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Algorithm([u64; 8]);

/// What the library recommends.
#[repr(C)]
#[derive(Default)]
struct Choice {
    algorithm: Algorithm,
    workspace: usize,
    state: c_int,
    waves: f32,
    reserved: [c_int; 4],
}

/// Why the library has not computed a product.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// It cannot.
    Unsupported(String),
    /// It has failed.
    Failed(String),
}

/// The library, for one device.
pub(super) struct BlasLt {
    functions: Functions,
    handle: Pointer,
    plans: Mutex<HashMap<Key, Result<Arc<Plan>, Refusal>>>,
}

// SAFETY: the library's handles may be used by any thread, and by several.
unsafe impl Send for BlasLt {}
// SAFETY: as above.
unsafe impl Sync for BlasLt {}

/// What an algorithm is chosen for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    call: Call,
    /// Bytes that addresses of both operands and the result are multiples of.
    alignments: [u32; 3],
    workspace: usize,
}

/// Something of the library's that goes away again.
struct Owned {
    at: Pointer,
    end: unsafe extern "C" fn(Pointer) -> c_int,
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: it was created by the library, and nothing uses it any more.
        unsafe { (self.end)(self.at) };
    }
}

struct Plan {
    /// Held while the address of a bias is part of it.
    operation: Mutex<Owned>,
    a: Owned,
    b: Owned,
    d: Owned,
    algorithm: Algorithm,
    workspace: usize,
}

// SAFETY: what is behind the pointers is the library's, and changes only while `operation` is held.
unsafe impl Send for Plan {}
// SAFETY: as above.
unsafe impl Sync for Plan {}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The outcome of a call of the library.
fn outcome(function: &str, code: c_int) -> Result<(), Refusal> {
    match code {
        SUCCESS => Ok(()),
        code if REFUSALS.contains(&code) => Err(Refusal::Unsupported(format!("{function} answers {code}"))),
        code => Err(Refusal::Failed(format!("{function} fails with code {code}"))),
    }
}

/// Bytes of workspace for a product: room for several sums of each element.
pub(super) fn workspace_bytes(product: &Matmul) -> usize {
    let elements = product.batch.saturating_mul(product.m).saturating_mul(product.n);
    let size = if product.dtype == DType::F64 { 8 } else { 4 };
    elements.saturating_mul(PARTS * size).min(WORKSPACE - 256).next_multiple_of(256)
}

/// Whether the library may be asked for a product, for any addresses.
pub(super) fn expressible(product: &Matmul, epilogue: &Epilogue) -> Result<(), &'static str> {
    Call::of(product, epilogue, false).map(|_| ())
}

fn alignment(address: u64) -> u32 {
    1 << address.trailing_zeros().min(8)
}

impl BlasLt {
    /// The library for the device whose context is current, or why there is none.
    pub fn open() -> Result<BlasLt, String> {
        let functions = Functions::find()?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: a pointer to what the function writes.
        match unsafe { (functions.create)(&raw mut handle) } {
            SUCCESS => Ok(BlasLt { functions, handle, plans: Mutex::default() }),
            code => Err(format!("cublasLtCreate fails with code {code}")),
        }
    }

    /// Enqueues a product on a stream, with [`workspace_bytes`] at a multiple of 256.
    ///
    /// # Safety
    /// As for [`MatmulLibrary::multiply`](crate::contract::MatmulLibrary::multiply), in memory of the device, until the stream
    /// has run it. The device's context is current.
    pub unsafe fn multiply(
        &self,
        product: &Matmul,
        epilogue: &Epilogue,
        tf32: bool,
        workspace: u64,
        stream: Pointer,
    ) -> Result<(), Refusal> {
        let call = Call::of(product, epilogue, tf32).map_err(|why| Refusal::Unsupported(why.into()))?;
        let address = |o: &Operand| o.data.addr() as u64;
        let (a, b) = match call.exchanged {
            true => (address(&product.rhs), address(&product.lhs)),
            false => (address(&product.lhs), address(&product.rhs)),
        };
        let d = address(&product.out);
        // The preference knows no alignment of the bias; it goes with the result.
        let of_result = alignment(d).min(epilogue.bias.map_or(u32::MAX, alignment));
        let alignments = [alignment(a), alignment(b), of_result];
        let plan = self.plan(Key { call, alignments, workspace: workspace_bytes(product) })?;
        let operation = lock(&plan.operation);
        if let Some(bias) = epilogue.bias {
            self.set(self.functions.set_operation, operation.at, BIAS_POINTER, &bias)?;
        }
        // One product, nothing of what was there.
        let (single, double) = ([1f32, 0.0], [1f64, 0.0]);
        let scale = |i: usize| match product.dtype {
            DType::F64 => std::ptr::from_ref(&double[i]).cast::<c_void>(),
            _ => std::ptr::from_ref(&single[i]).cast(),
        };
        let at = |address: u64| std::ptr::without_provenance_mut::<c_void>(address as usize);
        let work = if plan.workspace == 0 { 0 } else { workspace };
        // SAFETY: layouts say which elements there are, and the caller vouches for those; the numbers to scale by live
        // through the call, which reads them.
        let code = unsafe {
            (self.functions.matmul)(
                self.handle,
                operation.at,
                scale(0),
                at(a),
                plan.a.at,
                at(b),
                plan.b.at,
                scale(1),
                at(d),
                plan.d.at,
                at(d),
                plan.d.at,
                &raw const plan.algorithm,
                at(work),
                plan.workspace,
                stream,
            )
        };
        outcome("cublasLtMatmul", code)
    }

    /// The algorithm for a call, chosen if it is not known.
    fn plan(&self, key: Key) -> Result<Arc<Plan>, Refusal> {
        if let Some(known) = lock(&self.plans).get(&key) {
            return known.clone();
        }
        let plan = self.choose(&key).map(Arc::new);
        if let Err(Refusal::Unsupported(why)) = &plan {
            let Call { dtype, a, b, d, .. } = key.call;
            let shapes = [a, b, d].map(|x| format!("{}x{}", x.rows, x.cols)).join(", ");
            events::record(Event::Fallback, format_args!("cuBLASLt has no product of {dtype} for {shapes}: {why}"));
        }
        // What failed may succeed another time.
        if let Err(Refusal::Failed(_)) = &plan {
            return plan;
        }
        let mut plans = lock(&self.plans);
        if plans.len() >= KEPT {
            plans.clear();
            events::record(Event::Eviction, format_args!("algorithms of products: {KEPT} are kept"));
        }
        plans.insert(key, plan.clone());
        plan
    }

    fn choose(&self, key: &Key) -> Result<Plan, Refusal> {
        let (f, call) = (&self.functions, &key.call);
        let (ty, compute, scale) = match (call.dtype, call.tf32) {
            (DType::F64, _) => (R_64F, COMPUTE_64F, R_64F),
            (DType::F32, true) => (R_32F, COMPUTE_TF32, R_32F),
            (DType::F32, false) => (R_32F, COMPUTE_32F, R_32F),
            (DType::F16, _) => (R_16F, COMPUTE_32F, R_32F),
            _ => (R_16BF, COMPUTE_32F, R_32F),
        };
        let mut at = std::ptr::null_mut();
        // SAFETY: a pointer to what the function writes.
        outcome("cublasLtMatmulDescCreate", unsafe { (f.new_operation)(&raw mut at, compute, scale) })?;
        let operation = Owned { at, end: f.end_operation };
        let turned = |x: &Stored| if x.transposed { TRANSPOSED } else { AS_IT_IS };
        self.set(f.set_operation, operation.at, TRANSPOSE_A, &turned(&call.a))?;
        self.set(f.set_operation, operation.at, TRANSPOSE_B, &turned(&call.b))?;
        let epilogue = match call.activation {
            Activation::None => EPILOGUE_DEFAULT,
            Activation::GeluTanh => EPILOGUE_GELU,
        };
        let with_bias = if epilogue == EPILOGUE_DEFAULT { EPILOGUE_BIAS } else { epilogue | EPILOGUE_BIAS };
        self.set(f.set_operation, operation.at, EPILOGUE, if call.bias { &with_bias } else { &epilogue })?;
        if call.bias {
            // The address follows with each call; here it says that there is one.
            self.set(f.set_operation, operation.at, BIAS_POINTER, &256u64)?;
        }
        let layout = |x: &Stored| -> Result<Owned, Refusal> {
            let mut at = std::ptr::null_mut();
            // SAFETY: a pointer to what the function writes.
            let code = unsafe { (f.new_layout)(&raw mut at, ty, x.rows, x.cols, x.ld) };
            outcome("cublasLtMatrixLayoutCreate", code)?;
            let layout = Owned { at, end: f.end_layout };
            if call.batch > 1 {
                self.set(f.set_layout, layout.at, BATCH_COUNT, &call.batch)?;
                self.set(f.set_layout, layout.at, BATCH_STRIDE, &x.batch)?;
            }
            Ok(layout)
        };
        let (a, b, d) = (layout(&call.a)?, layout(&call.b)?, layout(&call.d)?);
        let mut at = std::ptr::null_mut();
        // SAFETY: a pointer to what the function writes.
        outcome("cublasLtMatmulPreferenceCreate", unsafe { (f.new_preference)(&raw mut at) })?;
        let preference = Owned { at, end: f.end_preference };
        self.set(f.set_preference, preference.at, MAX_WORKSPACE, &(key.workspace as u64))?;
        self.set(f.set_preference, preference.at, REDUCTION_SCHEMES, &IN_WORKSPACE)?;
        let [of_a, of_b, of_d] = key.alignments;
        for (attribute, alignment) in
            [(ALIGNMENT_A, of_a), (ALIGNMENT_B, of_b), (ALIGNMENT_C, of_d), (ALIGNMENT_D, of_d)]
        {
            self.set(f.set_preference, preference.at, attribute, &alignment)?;
        }
        let (mut choice, mut found) = (Choice::default(), 0);
        // SAFETY: all of these were created by the library; there is room for one recommendation.
        let code = unsafe {
            (f.choose)(
                self.handle,
                operation.at,
                a.at,
                b.at,
                d.at,
                d.at,
                preference.at,
                1,
                &raw mut choice,
                &raw mut found,
            )
        };
        outcome("cublasLtMatmulAlgoGetHeuristic", code)?;
        if found < 1 {
            return Err(Refusal::Unsupported("it knows no algorithm".into()));
        }
        outcome("cublasLtMatmulAlgoGetHeuristic", choice.state)?;
        if choice.workspace > key.workspace {
            return Err(Refusal::Unsupported(format!("it wants {} bytes of workspace", choice.workspace)));
        }
        let (algorithm, workspace) = (choice.algorithm, choice.workspace);
        Ok(Plan { operation: Mutex::new(operation), a, b, d, algorithm, workspace })
    }

    /// Sets an attribute of something of the library's.
    fn set<T>(
        &self,
        set: unsafe extern "C" fn(Pointer, c_int, *const c_void, usize) -> c_int,
        of: Pointer,
        attribute: c_int,
        value: &T,
    ) -> Result<(), Refusal> {
        // SAFETY: `of` is alive, and the value is as large as it says; the library looks whether that is the right size.
        let code = unsafe { set(of, attribute, std::ptr::from_ref(value).cast(), size_of::<T>()) };
        outcome("a cublasLt…SetAttribute", code)
    }
}

impl Drop for BlasLt {
    fn drop(&mut self) {
        lock(&self.plans).clear();
        // SAFETY: nothing uses the handle any more.
        unsafe { (self.functions.destroy)(self.handle) };
    }
}

const R_32F: c_int = sys::cudaDataType_t::CUDA_R_32F as c_int;
const R_64F: c_int = sys::cudaDataType_t::CUDA_R_64F as c_int;
const R_16F: c_int = sys::cudaDataType_t::CUDA_R_16F as c_int;
const R_16BF: c_int = sys::cudaDataType_t::CUDA_R_16BF as c_int;
const COMPUTE_32F: c_int = sys::cublasComputeType_t::CUBLAS_COMPUTE_32F as c_int;
const COMPUTE_TF32: c_int = sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32 as c_int;
const COMPUTE_64F: c_int = sys::cublasComputeType_t::CUBLAS_COMPUTE_64F as c_int;
const TRANSPOSE_A: c_int = sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSA as c_int;
const TRANSPOSE_B: c_int = sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSB as c_int;
const EPILOGUE: c_int = sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_EPILOGUE as c_int;
const BIAS_POINTER: c_int = sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_BIAS_POINTER as c_int;
/// `CUBLAS_OP_N`, which the bindings leave out.
const AS_IT_IS: c_int = 0;
/// `CUBLAS_OP_T`.
const TRANSPOSED: c_int = 1;
const EPILOGUE_DEFAULT: u32 = sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_DEFAULT as u32;
const EPILOGUE_GELU: u32 = sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_GELU as u32;
const EPILOGUE_BIAS: u32 = sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_BIAS as u32;
const BATCH_COUNT: c_int = sys::cublasLtMatrixLayoutAttribute_t::CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT as c_int;
const BATCH_STRIDE: c_int = sys::cublasLtMatrixLayoutAttribute_t::CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET as c_int;
const MAX_WORKSPACE: c_int =
    sys::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES as c_int;
const REDUCTION_SCHEMES: c_int =
    sys::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK as c_int;
const ALIGNMENT_A: c_int =
    sys::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES as c_int;
const ALIGNMENT_B: c_int =
    sys::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES as c_int;
const ALIGNMENT_C: c_int =
    sys::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES as c_int;
const ALIGNMENT_D: c_int =
    sys::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES as c_int;
/// Parts of sums are added in the workspace, in the type that they are computed in.
const IN_WORKSPACE: u32 = sys::cublasLtReductionScheme_t::CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE as u32;

#[cfg(all(test, target_os = "linux"))]
mod tests;
