//! What is in a file, whether it can be imported or not.

use super::proto::{self, TypeValue};
use super::tensors;
use crate::error::Result;
use std::collections::BTreeMap;

/// What is in a file.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// How many nodes there are of each op, those of bodies included; ops of other domains than ONNX's own have that before
    /// their names.
    pub ops: BTreeMap<String, usize>,
    /// The version of each domain's ops, `""` for ONNX's own.
    pub opsets: BTreeMap<String, i64>,
    /// True if all inputs, outputs and initialisers are dense tensors of dtypes that this crate has.
    pub plain: bool,
}

/// Reads what is in a file, without looking at whether it makes sense.
pub fn survey(bytes: &[u8]) -> Result<Survey> {
    let model: proto::Model = tensors::decode(bytes)?;
    let mut survey = Survey {
        opsets: model.opset_import.iter().map(|o| (proto::domain(&o.domain).to_string(), o.version)).collect(),
        plain: true,
        ..Default::default()
    };
    if let Some(graph) = &model.graph {
        walk(graph, &mut survey);
    }
    Ok(survey)
}

fn walk(graph: &proto::Graph, survey: &mut Survey) {
    let plain = |t: Option<&proto::Type>| match t.and_then(|t| t.value.as_ref()) {
        Some(TypeValue::Tensor(t)) => t.elem_type == 0 || tensors::dtype(t.elem_type).is_ok(),
        None => true,
        Some(_) => false,
    };
    let dense = |t: &proto::Tensor| tensors::dtype(t.data_type).is_ok();
    survey.plain &= graph.input.iter().chain(&graph.output).all(|v| plain(v.r#type.as_ref()));
    survey.plain &= graph.initializer.iter().all(dense) && graph.sparse_initializer.is_empty();
    for node in &graph.node {
        let of = proto::domain(&node.domain);
        let name = if of.is_empty() { node.op_type.clone() } else { format!("{of}.{}", node.op_type) };
        *survey.ops.entry(name).or_default() += 1;
        for a in &node.attribute {
            survey.plain &= a.t.as_ref().is_none_or(dense) && a.sparse_tensor.is_none();
            // A cast goes to a dtype that is a number.
            let to = a.i.filter(|&n| n != 0 && matches!(a.name.as_str(), "to" | "dtype" | "output_dtype"));
            survey.plain &= to.is_none_or(|n| i32::try_from(n).is_ok_and(|n| tensors::dtype(n).is_ok()));
            a.g.iter().chain(&a.graphs).for_each(|g| walk(g, survey));
        }
    }
}
