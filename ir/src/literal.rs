//! Dense host data: constants in a graph and values in the interpreter.

use crate::{DType, Element, Scalar, Type, for_each_dtype};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

macro_rules! data {
    ($(($v:ident, $t:ty)),*) => {
        /// Elements in row-major order.
        #[derive(Clone, Serialize, Deserialize)]
        pub enum Data { $(
            #[doc = concat!("Elements of type `", stringify!($t), "`.")]
            $v(Vec<$t>)
        ),* }

        impl Data {
            /// The element type.
            pub fn dtype(&self) -> DType { match self { $(Data::$v(_) => DType::$v),* } }
            /// Number of elements.
            pub fn len(&self) -> usize { match self { $(Data::$v(x) => x.len()),* } }
            /// True if there are none.
            pub fn is_empty(&self) -> bool { self.len() == 0 }
            /// The element at `i`.
            pub fn get(&self, i: usize) -> Scalar { match self { $(Data::$v(x) => Scalar::$v(x[i])),* } }
            /// `n` elements from a place on.
            pub fn part(&self, from: usize, n: usize) -> Data {
                match self { $(Data::$v(x) => Data::$v(x[from..from + n].to_vec())),* }
            }
            /// `n` copies of a scalar.
            pub fn filled(value: Scalar, n: usize) -> Data { match value { $(Scalar::$v(x) => Data::$v(vec![x; n])),* } }
            /// The scalars, which must all have that dtype.
            pub fn collect(dtype: DType, items: impl Iterator<Item = Scalar>) -> Data {
                match dtype { $(DType::$v => Data::$v(items.map(|s| match s {
                    Scalar::$v(x) => x,
                    other => panic!("a {other:?} among {} elements", DType::$v),
                }).collect())),* }
            }
        }

        $(impl TypedData for $t {
            fn slice(data: &Data) -> Option<&[$t]> { match data { Data::$v(x) => Some(x), _ => None } }
            fn wrap(data: Vec<$t>) -> Data { Data::$v(data) }
        })*
    };
}
for_each_dtype!(data);

/// Access to the typed elements of [`Data`].
pub trait TypedData: Element {
    /// The elements, if they are of this type.
    fn slice(data: &Data) -> Option<&[Self]>;
    /// Wraps elements.
    fn wrap(data: Vec<Self>) -> Data;
}

/// A dense tensor in host memory. Cloning shares the elements.
#[derive(Clone, Serialize, Deserialize)]
pub struct Literal {
    dims: SmallVec<[usize; 4]>,
    data: Arc<Data>,
}

impl Literal {
    /// A tensor of those extents; panics if the number of elements does not fit them.
    pub fn new(dims: &[usize], data: Data) -> Literal {
        assert_eq!(dims.iter().product::<usize>(), data.len(), "elements of a literal {dims:?}");
        let (dims, data) = (SmallVec::from_slice(dims), Arc::new(data));
        Literal { dims, data }
    }

    /// A tensor from typed elements; panics as [`Literal::new`] does.
    pub fn from_vec<T: TypedData>(dims: &[usize], data: Vec<T>) -> Literal {
        Literal::new(dims, T::wrap(data))
    }

    /// A rank-0 tensor.
    pub fn scalar(value: Scalar) -> Literal {
        Literal::new(&[], Data::filled(value, 1))
    }

    /// A tensor of one repeated value.
    pub fn filled(dims: &[usize], value: Scalar) -> Literal {
        Literal::new(dims, Data::filled(value, dims.iter().product()))
    }

    /// A tensor whose element at each row-major position comes from `f`; all must have that dtype.
    pub fn from_fn(dims: &[usize], dtype: DType, mut f: impl FnMut(usize) -> Scalar) -> Literal {
        let n = dims.iter().product();
        Literal::new(dims, Data::collect(dtype, (0..n).map(&mut f)))
    }

    /// Extents.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }
    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.dims.len()
    }
    /// Element type.
    pub fn dtype(&self) -> DType {
        self.data.dtype()
    }
    /// The tensor type.
    pub fn ty(&self) -> Type {
        Type::new(self.dtype(), self.dims())
    }
    /// The elements.
    pub fn data(&self) -> &Data {
        &self.data
    }
    /// Number of elements.
    pub fn numel(&self) -> usize {
        self.data.len()
    }
    /// The element at a row-major position.
    pub fn get(&self, i: usize) -> Scalar {
        self.data.get(i)
    }
    /// Typed elements; panics if the dtype is another.
    pub fn as_slice<T: TypedData>(&self) -> &[T] {
        T::slice(&self.data).unwrap_or_else(|| panic!("a {} literal read as {}", self.dtype(), T::DTYPE))
    }
    /// All elements as scalars.
    pub fn iter(&self) -> impl Iterator<Item = Scalar> + '_ {
        (0..self.numel()).map(|i| self.get(i))
    }
    /// The same elements with other extents of the same product.
    pub fn reshaped(&self, dims: &[usize]) -> Literal {
        assert_eq!(dims.iter().product::<usize>(), self.numel(), "reshape of a literal {:?} to {dims:?}", self.dims);
        let (dims, data) = (SmallVec::from_slice(dims), self.data.clone());
        Literal { dims, data }
    }
    /// The part at a place along the first axis.
    pub fn element(&self, at: usize) -> Literal {
        let dims = &self.dims[1..];
        let n: usize = dims.iter().product();
        Literal::new(dims, self.data.part(at * n, n))
    }
    /// A tensor of those extents, of elements along its first axis, one after the other.
    pub fn stacked(dims: &[usize], dtype: DType, elements: &[Literal]) -> Literal {
        Literal::new(dims, Data::collect(dtype, elements.iter().flat_map(Literal::iter)))
    }
    /// The value if every element has the same bits.
    pub fn splat(&self) -> Option<Scalar> {
        let first = (self.numel() > 0).then(|| self.get(0))?;
        self.iter().all(|s| s == first).then_some(first)
    }
}

/// Row-major strides of extents, in elements.
pub fn strides_of(dims: &[usize]) -> SmallVec<[usize; 4]> {
    let mut strides: SmallVec<[usize; 4]> = SmallVec::from_elem(1, dims.len());
    for i in (1..dims.len()).rev() {
        strides[i - 1] = strides[i] * dims[i];
    }
    strides
}

/// Equality by bits.
impl PartialEq for Literal {
    fn eq(&self, other: &Self) -> bool {
        self.dims == other.dims
            && self.dtype() == other.dtype()
            && (Arc::ptr_eq(&self.data, &other.data) || self.iter().eq(other.iter()))
    }
}
impl Eq for Literal {}
impl Hash for Literal {
    fn hash<H: Hasher>(&self, h: &mut H) {
        self.dims.hash(h);
        self.dtype().hash(h);
        self.iter().for_each(|s| s.bits().hash(h));
    }
}
impl fmt::Debug for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.ty())?;
        f.debug_list().entries(self.iter().take(16).map(|s| s.to_string())).finish()
    }
}
