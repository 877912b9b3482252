//! Operators: `+`, `-`, `*`, `/`, `%`, bits, and with assignment.
//!
//! `x += y` is `x = &x + y`: another tensor takes the place of `x`, of the type and shape that the sum has; clones of the one
//! before keep it.
//!
//! Numbers may stand on either side; on the left they are f64 and i64, so that the type of `(1.0 - &x).sqrt()` can be
//! inferred.
//!
//! `/` of integers gives f32, as PyTorch and JAX have it; `%` has the sign of the divisor, as in Python.

use super::arg::Arg;
use super::broadcast::{Operands, pointwise};
use super::pointwise::remainder;
use crate::tensor::Tensor;
use crate::trace::record;
use ir::ops::{binary, unary};
use std::ops::{
    Add, AddAssign, BitAnd, BitAndAssign, BitOr, BitOrAssign, BitXor, BitXorAssign, Div, DivAssign, Mul, MulAssign,
    Neg, Not, Rem, RemAssign, Shl, ShlAssign, Shr, ShrAssign, Sub, SubAssign,
};

macro_rules! operator {
    ($($trait:ident $method:ident $text:literal $operands:ident $body:expr;)*) => { $(
        impl<R: Into<Arg>> $trait<R> for Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, rhs: R) -> Tensor {
                pointwise($text, false, Operands::$operands, &[self.into(), rhs.into()], &$body)
            }
        }
        impl<R: Into<Arg>> $trait<R> for &Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, rhs: R) -> Tensor {
                pointwise($text, false, Operands::$operands, &[self.into(), rhs.into()], &$body)
            }
        }
        operator!(@left $trait $method $text $operands $body; f64, i64);
    )* };
    (@left $trait:ident $method:ident $text:literal $operands:ident $body:expr; $($number:ty),*) => { $(
        impl $trait<Tensor> for $number {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, rhs: Tensor) -> Tensor {
                pointwise($text, false, Operands::$operands, &[self.into(), rhs.into()], &$body)
            }
        }
        impl $trait<&Tensor> for $number {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, rhs: &Tensor) -> Tensor {
                pointwise($text, false, Operands::$operands, &[self.into(), rhs.into()], &$body)
            }
        }
    )* };
}

operator! {
    Add add "add" Numeric |t: &[Tensor]| record(binary::Add {}, &[&t[0], &t[1]]);
    Sub sub "sub" Numeric |t: &[Tensor]| record(binary::Sub {}, &[&t[0], &t[1]]);
    Mul mul "mul" Numeric |t: &[Tensor]| record(binary::Mul {}, &[&t[0], &t[1]]);
    Div div "div" Float |t: &[Tensor]| record(binary::Div {}, &[&t[0], &t[1]]);
    Rem rem "rem" Numeric |t: &[Tensor]| remainder(&t[0], &t[1]);
    BitAnd bitand "and" Integral |t: &[Tensor]| record(binary::And {}, &[&t[0], &t[1]]);
    BitOr bitor "or" Integral |t: &[Tensor]| record(binary::Or {}, &[&t[0], &t[1]]);
    Shl shl "shift_left" Integral |t: &[Tensor]| record(binary::Shl {}, &[&t[0], &t[1]]);
    Shr shr "shift_right" Integral |t: &[Tensor]| record(binary::Shr {}, &[&t[0], &t[1]]);
    BitXor bitxor "xor" Integral |t: &[Tensor]| record(binary::Xor {}, &[&t[0], &t[1]]);
}

macro_rules! assignment {
    ($($trait:ident $method:ident $operator:tt;)*) => { $(
        impl<R: Into<Arg>> $trait<R> for Tensor {
            #[track_caller]
            fn $method(&mut self, rhs: R) {
                *self = &*self $operator rhs;
            }
        }
    )* };
}
assignment! {
    AddAssign add_assign +;
    SubAssign sub_assign -;
    MulAssign mul_assign *;
    DivAssign div_assign /;
    RemAssign rem_assign %;
    BitAndAssign bitand_assign &;
    BitOrAssign bitor_assign |;
    BitXorAssign bitxor_assign ^;
    ShlAssign shl_assign <<;
    ShrAssign shr_assign >>;
}

macro_rules! prefix {
    ($($trait:ident $method:ident $text:literal $operands:ident $prim:expr;)*) => { $(
        impl $trait for Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self) -> Tensor {
                pointwise($text, false, Operands::$operands, &[self.into()], &|t| record($prim, &[&t[0]]))
            }
        }
        impl $trait for &Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self) -> Tensor {
                pointwise($text, false, Operands::$operands, &[self.into()], &|t| record($prim, &[&t[0]]))
            }
        }
    )* };
}
prefix! {
    Neg neg "neg" Numeric unary::Neg {};
    Not not "not" Integral unary::Not {};
}
