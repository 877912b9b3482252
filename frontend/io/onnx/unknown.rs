//! Ops that are not known, all of a file at once: before anything else is said of its nodes.

use super::graph::{Reader, opsets};
use super::ops;
use super::proto;
use super::value::refuse;
use crate::error::{Code, Result};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Functions of a model.
type Functions = HashMap<(String, String), proto::Function>;

struct Walk<'a> {
    functions: &'a Functions,
    /// Functions that are or were to be looked at.
    seen: HashSet<(&'a str, &'a str)>,
    /// Those that still are.
    waiting: Vec<&'a proto::Function>,
    /// How many nodes, and the first.
    found: BTreeMap<String, (usize, String)>,
}

/// An error that lists the ops that are not known, of the nodes of a graph, their bodies, and the functions that they call.
pub(super) fn refuse_unknown(graph: &proto::Graph, reader: &Reader) -> Result<()> {
    let found = BTreeMap::new();
    let mut walk = Walk { functions: &reader.functions, seen: HashSet::new(), waiting: Vec::new(), found };
    walk.nodes(&graph.node, &reader.opsets);
    while let Some(f) = walk.waiting.pop() {
        // Versions that are not known are refused where the function is read.
        if let Ok(own) = opsets(&f.opset_import) {
            walk.nodes(&f.node, &own);
        }
    }
    if walk.found.is_empty() {
        return Ok(());
    }
    let all = walk.found.iter().map(|(op, (count, first))| match count {
        1 => format!("{op} (node `{first}`)"),
        _ => format!("{op} ({count} nodes, the first is `{first}`)"),
    });
    let rule = format!("the model has ops that are not supported: {}", all.collect::<Vec<_>>().join(", "));
    Err(refuse(Code::Argument, rule, "the ops of docs/onnx.md"))
}

impl<'a> Walk<'a> {
    fn nodes(&mut self, nodes: &'a [proto::Node], opsets: &HashMap<String, i64>) {
        for (number, node) in nodes.iter().enumerate() {
            let domain = proto::domain(&node.domain);
            let bodies = node.attribute.iter().filter_map(|a| a.g.as_ref());
            bodies.for_each(|g| self.nodes(&g.node, opsets));
            let key = (domain.to_string(), node.op_type.clone());
            if let Some(f) = self.functions.get(&key) {
                // One that calls itself is refused where it is read.
                if self.seen.insert((&f.domain, &f.name)) {
                    self.waiting.push(f);
                }
                continue;
            }
            let opset = opsets.get(domain).copied();
            if opset.is_some_and(|opset| ops::find(domain, &node.op_type, opset).is_some()) {
                continue;
            }
            let of = if domain.is_empty() { String::new() } else { format!("{domain}.") };
            let at = opset.map_or(" of a domain without a version".into(), |n| format!("-{n}"));
            let name = super::graph::node_name(node, number);
            self.found.entry(format!("{of}{}{at}", node.op_type)).or_insert((0, name)).0 += 1;
        }
    }
}
