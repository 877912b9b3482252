//! The tables of `docs/onnx.md` are what the table of ops says. `UPDATE_DOCS=1 cargo test --test onnx page` writes them.

use std::fs;
use std::path::Path;
use tracewright::io::onnx::{Status, supported};

/// The last line that is not generated ends so.
const END: &str = "fails when it is stale. -->\n";

fn tables() -> String {
    let mut page = String::new();
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
    let page = fs::read_to_string(&path).unwrap();
    let at = page.find(END).expect("the page says where the tables begin") + END.len();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        return fs::write(&path, page[..at].to_string() + &tables()).unwrap();
    }
    assert!(page[at..] == tables(), "docs/onnx.md is stale");
}
