//! One HTML page over all stages of a compilation.

use super::inspect::Stage;
use std::fmt::Write;

/// The page, which needs nothing else. Values and source lines are marked where they occur when pointed at.
pub(super) fn page(title: &str, stages: &[Stage]) -> String {
    let (mut contents, mut sections) = (String::new(), String::new());
    for stage in stages {
        let name = escape(&stage.name);
        let lines = stage.text.lines().count();
        let open = if stage.name == "timing.txt" || stage.name == "program.txt" { " open" } else { "" };
        let _ = writeln!(contents, "<a href=\"#{name}\">{name}</a>");
        let _ = writeln!(
            sections,
            "<details id=\"{name}\"{open}><summary>{name} ({lines} lines)</summary><pre>{}</pre></details>",
            marked(&stage.text)
        );
    }
    include_str!("page.html")
        .replace("{title}", &escape(title))
        .replace("{contents}", &contents)
        .replace("{sections}", &sections)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Escaped text with values (`%12`) in `<i>`, source lines (`model.rs:12:5`) in `<u>`, and kernels as links.
fn marked(text: &str) -> String {
    let part = |c: char| c.is_alphanumeric() || "_%./:-".contains(c);
    let mut out = String::with_capacity(2 * text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let len = rest.find(|c| part(c) != part(first)).unwrap_or(rest.len());
        let (run, after) = rest.split_at(len);
        rest = after;
        // Punctuation after a word is not of the word.
        let word = run.trim_end_matches([':', '.']);
        let tail = escape(&run[word.len()..]);
        let clean = escape(word);
        let _ = match word {
            _ if word.starts_with('%') && word.len() > 1 => write!(out, "<i>{clean}</i>{tail}"),
            _ if is_source_line(word) => write!(out, "<u>{clean}</u>{tail}"),
            _ if is_kernel(word) => write!(out, "<a href=\"#{clean}.kir\">{clean}</a>{tail}"),
            _ => write!(out, "{clean}{tail}"),
        };
    }
    out
}

fn is_source_line(word: &str) -> bool {
    let number = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let mut parts = word.rsplitn(3, ':');
    let (column, line, file) = (parts.next(), parts.next(), parts.next());
    column.is_some_and(number) && line.is_some_and(number) && file.is_some_and(|f| f.ends_with(".rs"))
}

fn is_kernel(word: &str) -> bool {
    word.strip_prefix("kernel").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_look_for_is_marked_and_the_rest_escaped() {
        assert_eq!(
            marked("  %1: f32[2] = add %0, %0  // a-b/model.rs:3:14 in <encoder>\n0: add kernel0(b1; [])\n%"),
            "  <i>%1</i>: f32[2] = add <i>%0</i>, <i>%0</i>  // <u>a-b/model.rs:3:14</u> in &lt;encoder&gt;\n\
             0: add <a href=\"#kernel0.kir\">kernel0</a>(b1; [])\n%"
        );
    }

    #[test]
    fn the_page_has_every_stage() {
        let stage = |name: &str, text: &str| Stage { name: name.into(), text: text.into() };
        let page = page("f<T>", &[stage("00-trace.ir", "a & b"), stage("timing.txt", "1 ms")]);
        assert!(page.contains("<title>f&lt;T&gt;</title>"));
        assert!(
            page.contains("<details id=\"00-trace.ir\"><summary>00-trace.ir (1 lines)</summary><pre>a &amp; b</pre>")
        );
        assert!(page.contains("<details id=\"timing.txt\" open>"));
        assert!(!page.contains("{sections}") && !page.contains("{contents}") && !page.contains("{title}"));
    }
}
