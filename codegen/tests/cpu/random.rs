//! Random kernels, compiled in every way, against the interpreter.

use crate::harness::{Within, check};
use crate::random_kernel::{TASKS, buffers, kernel};
use ir::kernel::*;
use ir::{DType, Scalar};
use proptest::prelude::*;

/// Replaces what is only right within some ulp, and checks that are met in another order than the interpreter's:
/// where a serial loop in a lanes loop looks at indices, vectors do so for all iterations at once.
fn make_exact(block: &mut Block, vars: &[DType], lanes: bool, serial: bool) {
    block.0.retain(|s| !(lanes && serial && matches!(s, Stmt::Check { .. })));
    for stmt in &mut block.0 {
        match stmt {
            Stmt::Let { expr: Expr::Unary(op, _), .. } if op.ulps() > 0 => *op = UnaryOp::Neg,
            Stmt::Let { expr: Expr::Binary(op, a, _), .. } if op.ulps() > 0 && vars[a.at()].is_float() => {
                *op = BinaryOp::Max
            }
            Stmt::Loop(l) => match l.kind {
                LoopKind::Lanes => make_exact(&mut l.body, vars, true, false),
                LoopKind::Serial => make_exact(&mut l.body, vars, lanes, true),
            },
            _ => {}
        }
    }
}

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

fn exact(bytes: Vec<u8>) -> Kernel {
    let mut kernel = kernel(bytes);
    let vars = kernel.vars.clone();
    kernel.nests.iter_mut().for_each(|n| make_exact(&mut n.body, &vars, false, false));
    kernel
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
