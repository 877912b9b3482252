//! Which kernels a matrix product launches.

use super::{Launch, Launches, Routine, blocks};
use ir::DType;
use ir::program::Activation;
use smallvec::SmallVec;

/// One matrix in each of a batch of places.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Matrix {
    /// The address of the first element of the first matrix.
    pub address: u64,
    /// Elements from one matrix, row and column to the next. May be zero or negative, except in the result.
    pub strides: [i64; 3],
}

/// What is done to the sums of a product of floats before they are rounded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Epilogue {
    /// The address of a vector, one element of the product's dtype for each column, that is added to each row.
    pub bias: Option<u64>,
    /// Then this.
    pub activation: Activation,
}

/// `out[b, i, j] = sum over l of lhs[b, i, l] * rhs[b, l, j]`, with `k` values of `l`. The result is overwritten.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Product {
    /// Element type of all three, not `bool`.
    pub dtype: DType,
    /// Number of products.
    pub batch: u64,
    /// Rows of the left operand and the result.
    pub m: u64,
    /// Columns of the right operand and the result.
    pub n: u64,
    /// Terms of a sum. With 0 the result is what the epilogue makes of zeros.
    pub k: u64,
    /// Left operand.
    pub lhs: Matrix,
    /// Right operand.
    pub rhs: Matrix,
    /// Result.
    pub out: Matrix,
    /// For floats only.
    pub epilogue: Epilogue,
}

/// How a product goes about its work.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Way {
    /// Tiles of 128 by 64 sums; 64 by 64 of 64-bit elements.
    Large,
    /// Tiles of 32 by 32.
    Small,
    /// A warp for each row, of up to so many columns.
    Rows(u8),
    /// A thread for each row, of up to so many columns.
    Columns(u8),
}

/// Columns that are few.
const FEW: u64 = 4;
/// Blocks that fill a device.
const ENOUGH: u64 = 256;
/// Parts of a sum, at most.
const PARTS: u64 = 64;

impl Way {
    /// Every way.
    pub const ALL: [Way; 6] = [Way::Large, Way::Small, Way::Rows(1), Way::Rows(4), Way::Columns(1), Way::Columns(4)];

    pub(super) fn name(self) -> String {
        match self {
            Way::Large => "large".into(),
            Way::Small => "small".into(),
            Way::Rows(n) => format!("rows{n}"),
            Way::Columns(n) => format!("columns{n}"),
        }
    }

    /// The function that does it.
    pub(super) fn body(self, dtype: DType) -> String {
        let ty = dtype.name();
        match self {
            Way::Large if dtype.size() == 8 => format!("tw_tiles<{ty}, 64, 64, 16, 8, 4>"),
            Way::Large => format!("tw_tiles<{ty}, 128, 64, 16, 8, 8>"),
            Way::Small => format!("tw_tiles<{ty}, 32, 32, 16, 4, 2>"),
            Way::Rows(n) => format!("tw_rows<{ty}, {n}>"),
            Way::Columns(n) => format!("tw_columns<{ty}, {n}>"),
        }
    }

    /// Blocks that a multiprocessor is to hold at least.
    pub(super) fn resident(self) -> u32 {
        match self {
            // With a third the sums do not fit into registers.
            Way::Large => 2,
            _ => 4,
        }
    }

    /// Rows and columns of the sums that a block makes at a time.
    fn tile(self, dtype: DType) -> [u64; 2] {
        match self {
            Way::Large if dtype.size() == 8 => [64, 64],
            Way::Large => [128, 64],
            Way::Small => [32, 32],
            Way::Rows(_) => [4, FEW],
            Way::Columns(_) => [32, FEW],
        }
    }

    /// Terms that are not worth to be cut.
    fn terms(self) -> u64 {
        match self {
            Way::Large | Way::Small => 256,
            Way::Rows(_) => 4096,
            Way::Columns(_) => 512,
        }
    }
}

/// What a product was decided to do.
struct Plan {
    /// With the operands exchanged, if the columns of the transposed product are few.
    product: Product,
    /// Elements of the bias from row to row and column to column.
    bias: [i64; 2],
    way: Way,
    tiles: u64,
    parts: u64,
    part: u64,
}

impl Product {
    /// What the kernels see: integers wrap, so those of one size are one.
    fn storage(&self) -> DType {
        match self.dtype {
            DType::F64 | DType::F32 | DType::F16 | DType::BF16 => self.dtype,
            int => match int.size() {
                8 => DType::U64,
                4 => DType::U32,
                2 => DType::U16,
                _ => DType::U8,
            },
        }
    }

    fn is_empty(&self) -> bool {
        self.batch == 0 || self.m == 0 || self.n == 0
    }

    fn plan(&self) -> Plan {
        let dtype = self.storage();
        let (product, bias) = match self.m < self.n && self.m <= FEW {
            true => (self.transposed(), [1, 0]),
            false => (*self, [0, 1]),
        };
        let (m, n, k) = (product.m, product.n, product.k);
        let tiles = |way: Way| {
            let [rows, cols] = way.tile(dtype);
            m.div_ceil(rows).saturating_mul(n.div_ceil(cols)).saturating_mul(product.batch)
        };
        let [_, row, term] = product.lhs.strides.map(i64::unsigned_abs);
        let columns = if n == 1 { 1 } else { FEW as u8 };
        let way = match n <= FEW {
            true if term <= row || m == 1 => Way::Rows(columns),
            true => Way::Columns(columns),
            false if m <= 32 || n <= 32 || tiles(Way::Large) < ENOUGH / 2 => Way::Small,
            false => Way::Large,
        };
        let tiles = tiles(way);
        let parts = ENOUGH.div_ceil(tiles.max(1)).min(k / way.terms()).clamp(1, PARTS);
        // Whole steps of every way.
        let part = k.div_ceil(parts).next_multiple_of(32).max(32);
        Plan { product, bias, way, tiles, parts: k.div_ceil(part).max(1), part }
    }

    /// The product of the transposed operands, whose result is transposed.
    fn transposed(&self) -> Product {
        let turn = |m: Matrix| Matrix { strides: [m.strides[0], m.strides[2], m.strides[1]], ..m };
        let (lhs, rhs, out) = (turn(self.rhs), turn(self.lhs), turn(self.out));
        Product { m: self.n, n: self.m, lhs, rhs, out, ..*self }
    }

    /// Bytes of memory that the launches need besides; addresses do not matter. `None` if the number overflows.
    pub fn scratch_bytes(&self) -> Option<u64> {
        let plan = self.plan();
        if plan.parts == 1 || self.is_empty() {
            return Some(0);
        }
        let size = if self.dtype.size() == 8 { 8 } else { 4 };
        [plan.parts, self.batch, self.m, self.n].into_iter().try_fold(size, |bytes: u64, n| bytes.checked_mul(n))
    }

    /// What to launch, with scratch memory at that address. `None` where the library cannot: for `bool`, and for
    /// epilogues of integers.
    ///
    /// ```
    /// use codegen::cuda::library::{Epilogue, Matrix, Product};
    /// let matrix = |address: u64| Matrix { address, strides: [64 * 64, 64, 1] };
    /// let (lhs, rhs, out) = (matrix(0x1000), matrix(0x5000), matrix(0x9000));
    /// let dtype = ir::DType::F32;
    /// let product = Product { dtype, batch: 1, m: 64, n: 64, k: 64, lhs, rhs, out, epilogue: Epilogue::default() };
    /// assert_eq!(product.scratch_bytes(), Some(0));
    /// let launches = product.launches(0).unwrap();
    /// assert_eq!(launches[0].blocks, 4);
    /// ```
    pub fn launches(&self, scratch: u64) -> Option<Launches> {
        if self.dtype == DType::Bool || (self.dtype.is_int() && self.epilogue != Epilogue::default()) {
            return None;
        }
        if self.is_empty() {
            return Some(Launches::new());
        }
        let (plan, dtype) = (self.plan(), self.storage());
        let p = &plan.product;
        let mut words: SmallVec<[u64; 28]> = SmallVec::new();
        let bias = p.epilogue.bias.unwrap_or(0);
        words.extend([p.lhs.address, p.rhs.address, p.out.address, bias, scratch, p.batch, p.m, p.n, p.k]);
        let strides = [p.lhs, p.rhs, p.out].into_iter().flat_map(|x| x.strides).chain(plan.bias);
        words.extend(strides.map(|stride| stride as u64));
        words.extend([plan.parts, plan.part, p.epilogue.activation as u64]);
        let mut launches = Launches::new();
        let work = plan.tiles.saturating_mul(plan.parts);
        launches.push(Launch { routine: Routine::Product(dtype, plan.way), blocks: blocks(work), words });
        if plan.parts > 1 {
            let elements = p.batch.saturating_mul(p.m).saturating_mul(p.n);
            let words = launches[0].words.clone();
            launches.push(Launch { routine: Routine::Join(dtype), blocks: blocks(elements.div_ceil(128)), words });
        }
        Some(launches)
    }
}
