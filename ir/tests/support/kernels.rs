//! The scalar code of pointwise and generating ops, and the pieces of views, run on their own.

use ir::dim::Dim;
use ir::kernel::{Access, KernelBuilder, interp};
use ir::literal::strides_of;
use ir::ops::{Sample, View};
use ir::{Data, Literal, Ranges, Scalar, Symbol, Type};

/// The result of a pointwise op through the kernel interpreter.
pub fn pointwise(sample: &Sample, result: &Type) -> Literal {
    let dims = result.shape.known().expect("a static shape");
    let n: usize = dims.iter().product();
    let mut k = KernelBuilder::new("pointwise");
    let params: Vec<_> = sample.operands.iter().map(|x| k.param(x.dtype(), Access::In)).collect();
    let out = k.param(result.dtype, Access::Out);
    let (grid, work) = (k.index(n as i64), k.index(1));
    let task = k.begin_nest(grid, work);
    let loaded: Vec<_> = params.iter().map(|&p| k.load(p, task)).collect();
    let value = sample.primitive.scalar(&mut k, &loaded);
    k.store(out, task, value);
    k.end_nest();
    let buffers = sample.operands.iter().map(|x| x.data().clone());
    finish(k, buffers.collect(), result, &dims)
}

/// The result of an op that generates its elements from their index, through the kernel interpreter.
pub fn generated(sample: &Sample, result: &Type) -> Literal {
    let dims = result.shape.known().expect("a static shape");
    let n: usize = dims.iter().product();
    let mut k = KernelBuilder::new("generated");
    let out = k.param(result.dtype, Access::Out);
    let (grid, work) = (k.index(n as i64), k.index(1));
    let task = k.begin_nest(grid, work);
    let symbols: Vec<Dim> = (0..dims.len()).map(|i| Dim::symbol(&format!("i{i}"))).collect();
    let strides = strides_of(&dims);
    let value = sample.primitive.generate(&mut k, &symbols, &mut |k, d| {
        let index = match symbols.iter().position(|s| s == d) {
            None => k.index(d.known().expect("an index or a number")),
            Some(axis) => {
                let (stride, extent) = (k.index(strides[axis] as i64), k.index(dims[axis] as i64));
                let outer = k.indices.floor_div(task, stride);
                k.indices.modulo(outer, extent)
            }
        };
        k.index_value(index)
    });
    k.store(out, task, value);
    k.end_nest();
    finish(k, Vec::new(), result, &dims)
}

fn finish(k: KernelBuilder, mut buffers: Vec<Data>, result: &Type, dims: &[usize]) -> Literal {
    buffers.push(Data::filled(Scalar::zero(result.dtype), dims.iter().product()));
    let kernel = k.finish();
    interp::run(&kernel, &mut buffers, &[]).unwrap_or_else(|e| panic!("{e}"));
    Literal::new(dims, buffers.pop().expect("the result"))
}

/// The result of a view, element by element through its index maps.
pub fn viewed(sample: &Sample, result: &Type) -> Result<Literal, String> {
    let dims = result.shape.known().expect("a static shape");
    let operands: Vec<Type> = sample.operands.iter().map(Literal::ty).collect();
    let names: Vec<Symbol> = (0..dims.len()).map(|i| Symbol::new(&format!("i{i}"))).collect();
    let index: Vec<Dim> = names.iter().map(|s| Dim::symbol(s.name())).collect();
    let mut ranges = Ranges::new();
    for (s, &extent) in names.iter().zip(&dims) {
        ranges.declare(s.clone(), Dim::from(extent));
    }
    let view = sample.primitive.view(&operands.iter().collect::<Vec<_>>(), result, &index, &ranges);
    let strides = strides_of(&dims);
    let mut scalars = Vec::new();
    for at in 0..dims.iter().product::<usize>() {
        let value_of = |s: &Symbol| {
            let axis = names.iter().position(|n| n == s)?;
            Some((at / strides[axis] % dims[axis]) as i64)
        };
        scalars.push(element(&view, &sample.operands, &|d| d.eval(&value_of).expect("an index expression"))?);
    }
    Ok(Literal::from_fn(&dims, result.dtype, |i| scalars[i]))
}

fn element(view: &View, operands: &[Literal], value: &dyn Fn(&Dim) -> i64) -> Result<Scalar, String> {
    for piece in &view.pieces {
        let inside = piece.non_negative.iter().all(|d| value(d) >= 0);
        if !inside || piece.divisible.iter().any(|(d, by)| value(d).rem_euclid(value(by)) != 0) {
            continue;
        }
        let x = &operands[piece.operand];
        let mut at = 0;
        for ((d, &extent), stride) in piece.index.iter().zip(x.dims()).zip(strides_of(x.dims())) {
            let i = value(d);
            if i < 0 || i >= extent as i64 {
                return Err(format!("index {d} = {i} outside 0..{extent}"));
            }
            at += i as usize * stride;
        }
        return Ok(x.get(at));
    }
    view.fill.ok_or_else(|| "no piece applies and there is no fill value".into())
}
