//! Fusion as passes of the pipeline.

use super::fuse;
use crate::pass::{Pass, PassContext, PassError};
use ir::verify::{Stage, verify};
use ir::{Graph, Lowering};

/// Groups ops into kernels; see the [module](super).
pub struct Fuse;

impl Pass for Fuse {
    fn name(&self) -> &'static str {
        "fuse"
    }
    fn about(&self) -> &'static str {
        "needs legal dtypes and strided products; groups ops around shared iteration spaces into `fused` ops"
    }
    fn run(&self, graph: &mut Graph, cx: &mut PassContext) -> Result<bool, PassError> {
        let report = fuse(graph, true);
        for group in &report.groups {
            cx.note(format!("group of {}: {}", group.len(), summary(group)));
        }
        if report.exact > 0 {
            cx.note(format!("{} regions were grouped twice: groups depended on each other in a circle", report.exact));
        }
        for r in &report.refused {
            let place = r.origins.first().map(|o| format!(" ({o})")).unwrap_or_default();
            cx.refuse(format!("`{}`{place}: {}", r.op, r.reason));
        }
        Ok(report.changed)
    }
}

/// The first and last names of a long group.
fn summary(group: &[&str]) -> String {
    match group.len() {
        0..=12 => group.join(" "),
        n => format!("{} … {}", group[..6].join(" "), group[n - 6..].join(" ")),
    }
}

/// Gives every op that fusion left bare a group of its own, which lowering relies on.
pub struct Isolate;

impl Pass for Isolate {
    fn name(&self) -> &'static str {
        "isolate"
    }
    fn about(&self) -> &'static str {
        "guarantees that blocks hold only groups, products, scatters, scans, sorts, control flow, ops with code of their own, constants and reshapes"
    }
    fn required(&self) -> bool {
        true
    }
    fn run(&self, graph: &mut Graph, _cx: &mut PassContext) -> Result<bool, PassError> {
        let bare = graph.blocks().iter().flat_map(|&r| &graph.region(r).ops).any(|&op| {
            let primitive = &graph.op(op).primitive;
            match primitive.lowering() {
                Lowering::Fused
                | Lowering::Contract
                | Lowering::Scatter(_)
                | Lowering::Cumulative
                | Lowering::Sort
                | Lowering::Opaque
                | Lowering::Control
                | Lowering::Fence
                | Lowering::Constant => false,
                _ => !matches!(primitive, ir::Primitive::Reshape(_)),
            }
        });
        if bare {
            fuse(graph, false);
        }
        Ok(bare)
    }
    fn guarantee(&self, graph: &Graph) -> Result<(), String> {
        verify(graph, Stage::Fused).map_err(|broken| broken[0].to_string())
    }
}
