//! `docs/ops.md` is what the op table and the frontend's sources say. `UPDATE_DOCS=1 cargo test --test ops_page` writes it.

mod compositions;
mod opinfo;

mod primitives;

use std::fs;
use std::path::Path;

const PAGE: &str = "docs/ops.md";
const COMMAND: &str = "UPDATE_DOCS=1 cargo test --test ops_page";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The name of a heading in links, as GitHub forms it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn page() -> String {
    let (primitives, mut compositions) = (primitives::sections(), compositions::sections());
    for (title, _) in &mut compositions {
        if primitives.iter().any(|(other, _)| anchor(other) == anchor(title)) {
            title.push_str(", as functions");
        }
    }
    let mut page = format!(
        "# Ops\n\n\
        This page is generated from the op table (`ir/src/ops`) and the frontend's sources: `{COMMAND}` writes it, and \
        the same test without the variable fails when it is stale.\n\n\
        - [Primitives](#primitives), which graphs are made of:\n{}\
        - [Functions](#functions), which users call, composed of primitives:\n{}\n",
        contents(&primitives),
        contents(&compositions)
    );
    page.push_str("## Primitives\n\n");
    page.push_str(primitives::INTRODUCTION);
    page.extend(primitives.iter().map(|(title, text)| format!("\n### {title}\n\n{text}")));
    page.push_str("\n## Functions\n\n");
    page.push_str(compositions::INTRODUCTION);
    page.extend(compositions.iter().map(|(title, text)| format!("\n### {title}\n\n{text}")));
    page
}

fn contents(sections: &[(String, String)]) -> String {
    sections.iter().map(|(title, _)| format!("  - [{title}](#{})\n", anchor(title))).collect()
}

#[test]
fn the_page_is_up_to_date() {
    let (path, page) = (root().join(PAGE), page());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::create_dir_all(path.parent().expect("a folder")).unwrap();
        return fs::write(path, page).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    let lines = found.lines().zip(page.lines()).enumerate().find(|(_, (a, b))| a != b);
    let difference =
        lines.map_or("one is longer".into(), |(i, (a, b))| format!("line {}: `{a}` should be `{b}`", i + 1));
    assert!(found == page, "{PAGE} is stale ({difference}); `{COMMAND}` writes it");
}

/// Each heading is one only, so that links lead where they should.
#[test]
fn headings_differ() {
    let page = page();
    let headings: Vec<String> = page.lines().filter(|l| l.starts_with('#')).map(anchor).collect();
    for (i, heading) in headings.iter().enumerate() {
        assert!(!headings[..i].contains(heading), "two headings become `{heading}`");
    }
}
