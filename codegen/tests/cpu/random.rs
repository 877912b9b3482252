//! Random kernels, compiled in every way, against the interpreter.

use crate::data::Within;
use crate::exact::exact;
use crate::random_kernel::{TASKS, buffers};
use crate::target::check;
use ir::kernel::*;
use ir::{DType, Scalar};
use proptest::prelude::*;

/// Puts dead logarithms in front of the bodies of lanes loops: long bodies are compiled in another way.
fn lengthen(block: &mut Block, vars: &mut Vec<DType>) {
    for stmt in &mut block.0 {
        if let Stmt::Loop(l) = stmt {
            lengthen(&mut l.body, vars);
            if l.kind == LoopKind::Lanes {
                let mut new = |expr| {
                    vars.push(DType::F32);
                    Stmt::Let { var: Var(vars.len() as u32 - 1), expr }
                };
                let mut longer = vec![new(Expr::Const(Scalar::F32(2.0)))];
                let Stmt::Let { var: two, .. } = longer[0] else { unreachable!("it was just made") };
                longer.extend((0..2 + l.body.0.len() / 3).map(|_| new(Expr::Unary(UnaryOp::Log, two))));
                longer.append(&mut l.body.0);
                l.body.0 = longer;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_shrink_iters: 3000, ..Default::default() })]

    #[test]
    fn random_kernels_compute_what_the_interpreter_does(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let mut kernel = exact(bytes);
        check(&kernel, &buffers(&kernel), &[TASKS], Within::Bits);
        let mut vars = std::mem::take(&mut kernel.vars);
        kernel.nests.iter_mut().for_each(|n| lengthen(&mut n.body, &mut vars));
        kernel.vars = vars;
        check(&kernel, &buffers(&kernel), &[TASKS], Within::Bits);
    }
}
