//! Switching passes off, for bisection: `-fuse,-cse#2,stop=17`.

use crate::pass::Pass;
use std::fmt;

/// Which passes of a pipeline run.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct PassSpec {
    off: Vec<(String, Option<usize>)>,
    stop: Option<usize>,
}

/// Why a text is no [`PassSpec`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct SpecError(String);

impl PassSpec {
    /// Reads a comma-separated list for a pipeline. Items: `-NAME` switches a pass off, `-NAME#K` only its K-th
    /// occurrence (from 1), `stop=N` everything after the N-th pass. Passes that lowering relies on always run.
    pub fn parse(text: &str, pipeline: &[Box<dyn Pass>]) -> Result<PassSpec, SpecError> {
        let mut spec = PassSpec::default();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            if let Some(name) = item.strip_prefix('-') {
                spec.off.push(switched_off(name, pipeline)?);
            } else if let Some(count) = item.strip_prefix("stop=") {
                let count = count.parse().map_err(|_| {
                    SpecError(format!("`{item}`: `{count}` is not a number of passes, as in `stop=17`"))
                })?;
                if spec.stop.replace(count).is_some() {
                    return Err(SpecError("`stop` is given twice".into()));
                }
            } else {
                let hint = if pipeline.iter().any(|p| p.name() == item) {
                    format!("; did you mean `-{item}`?")
                } else {
                    String::new()
                };
                return Err(SpecError(format!("`{item}` is neither `-PASS`, `-PASS#K` nor `stop=N`{hint}")));
            }
        }
        Ok(spec)
    }

    /// Why a pass does not run, if it does not. `number` is its position in the pipeline and `occurrence` counts the
    /// passes of its name, both from 1.
    pub fn refusal(&self, pass: &dyn Pass, number: usize, occurrence: usize) -> Option<Skip> {
        if pass.required() {
            return None;
        }
        if self.stop.is_some_and(|n| number > n) {
            return Some(Skip::Stopped);
        }
        let off = self.off.iter().any(|(name, k)| name == pass.name() && k.is_none_or(|k| k == occurrence));
        off.then_some(Skip::SwitchedOff)
    }
}

/// Why a pass did not run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Skip {
    /// By its name.
    SwitchedOff,
    /// By `stop`.
    Stopped,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Skip::SwitchedOff => "switched off by name",
            Skip::Stopped => "after `stop`",
        })
    }
}

impl fmt::Display for PassSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut items: Vec<String> = Vec::new();
        for (name, k) in &self.off {
            items.push(k.map_or_else(|| format!("-{name}"), |k| format!("-{name}#{k}")));
        }
        items.extend(self.stop.map(|n| format!("stop={n}")));
        f.write_str(&items.join(","))
    }
}

fn switched_off(item: &str, pipeline: &[Box<dyn Pass>]) -> Result<(String, Option<usize>), SpecError> {
    let (name, occurrence) = match item.split_once('#') {
        None => (item, None),
        Some((name, k)) => {
            let k = k.parse().ok().filter(|&k| k > 0);
            (name, Some(k.ok_or_else(|| SpecError(format!("`-{item}`: after `#` comes a number from 1")))?))
        }
    };
    let named: Vec<&dyn Pass> = pipeline.iter().map(|p| &**p).filter(|p| p.name() == name).collect();
    let Some(pass) = named.first() else {
        let names = pipeline.iter().map(|p| p.name());
        let hint = nearest(name, names.clone()).map_or_else(
            || {
                let mut all: Vec<&str> = names.collect();
                all.sort_unstable();
                all.dedup();
                format!("there are {}", all.join(", "))
            },
            |near| format!("did you mean `{near}`?"),
        );
        return Err(SpecError(format!("there is no pass `{name}`; {hint}")));
    };
    if pass.required() {
        return Err(SpecError(format!("pass `{name}` cannot be switched off: lowering relies on it")));
    }
    if occurrence.is_some_and(|k| k > named.len()) {
        return Err(SpecError(format!("`-{item}`: `{name}` occurs {} times in the pipeline", named.len())));
    }
    Ok((name.to_string(), occurrence))
}

/// The candidate nearest to a misspelt name, if one is near: edit distance as defined by Levenshtein, 1966.
fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |a: &str, b: &str| {
        let b: Vec<char> = b.chars().collect();
        let mut row: Vec<usize> = (0..=b.len()).collect();
        for (i, x) in a.chars().enumerate() {
            let mut diagonal = std::mem::replace(&mut row[0], i + 1);
            for (j, &y) in b.iter().enumerate() {
                let changed = diagonal + usize::from(x != y);
                diagonal = row[j + 1];
                row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
            }
        }
        row[b.len()]
    };
    let limit = 1 + name.chars().count() / 3;
    candidates.map(|c| (distance(name, c), c)).filter(|(d, _)| *d <= limit).min().map(|(_, c)| c)
}
