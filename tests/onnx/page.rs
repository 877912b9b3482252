//! `docs/onnx.md` is what the table of ops says. `UPDATE_DOCS=1 cargo test --test onnx page` writes it.

use std::fs;
use std::path::Path;
use tracewright::io::onnx::{Status, supported};

fn page() -> String {
    let mut page = String::from(
        "# ONNX\n\nThis page is generated from the table of ops (`frontend/io/onnx/ops`): `UPDATE_DOCS=1 cargo test --test onnx \
         page` writes it, and the same test without the variable fails when it is stale.\n\nModels of opsets 1 to 23 are read. \
         Which cases of ONNX's backend suite are known to fail, and why, says \
         [`tests/conformance/known.txt`](../tests/conformance/known.txt).\n",
    );
    let mut family = "";
    for op in supported() {
        if op.family != family {
            family = op.family;
            page.push_str(&format!("\n## {family}\n\n| op | opsets in which it changed | status |\n|---|---|---|\n"));
        }
        let since: Vec<String> = op.since.iter().map(i64::to_string).collect();
        let status = if op.status == Status::Supported { "yes" } else { "not yet" };
        page.push_str(&format!("| {} | {} | {status} |\n", op.name, since.join(", ")));
    }
    page
}

#[test]
fn the_page_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/onnx.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        return fs::write(path, page()).unwrap();
    }
    assert!(fs::read_to_string(&path).unwrap_or_default() == page(), "docs/onnx.md is stale");
}
