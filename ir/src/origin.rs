//! Where an op came from: the user's source line and the scope path. Origins travel through every pass and never
//! enter equality, hashing or cache keys.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

/// A line of source code.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Location {
    /// File as the compiler names it.
    pub file: Cow<'static, str>,
    /// Line, from 1; 0 in a file that has no lines, such as a model.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

impl Location {
    /// The place of the caller, in functions marked `#[track_caller]`.
    #[track_caller]
    pub fn caller() -> Location {
        std::panic::Location::caller().into()
    }
}

impl From<&'static std::panic::Location<'static>> for Location {
    fn from(l: &'static std::panic::Location<'static>) -> Location {
        Location { file: Cow::Borrowed(l.file()), line: l.line(), column: l.column() }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printed(&self.file))?;
        if self.line > 0 { write!(f, ":{}:{}", self.line, self.column) } else { Ok(()) }
    }
}

/// Origins stand in comments, which a line break would end.
fn printed(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What an op derives from.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Origin {
    /// The line that recorded the op.
    pub location: Location,
    /// Scope path such as `encoder.layer3.attn`; empty at top level.
    pub scope: Cow<'static, str>,
    /// True if the op is part of the gradient of what that line recorded.
    pub gradient: bool,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.gradient {
            f.write_str("gradient of ")?;
        }
        write!(f, "{}", self.location)?;
        if !self.scope.is_empty() {
            write!(f, " in {}", printed(&self.scope))?;
        }
        Ok(())
    }
}

/// An entry of an [`OriginTable`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct OriginId(u32);

/// The distinct origins of a graph.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
#[serde(from = "Vec<Origin>", into = "Vec<Origin>")]
pub struct OriginTable {
    list: Vec<Origin>,
    ids: HashMap<Origin, OriginId>,
}

impl OriginTable {
    /// The id of an origin, added if new.
    pub fn intern(&mut self, origin: Origin) -> OriginId {
        let next = OriginId(self.list.len() as u32);
        *self.ids.entry(origin).or_insert_with_key(|o| {
            self.list.push(o.clone());
            next
        })
    }
    /// The origin of an id.
    pub fn get(&self, id: OriginId) -> &Origin {
        &self.list[id.0 as usize]
    }
    /// The id of "the gradient of" an origin.
    pub fn gradient_of(&mut self, id: OriginId) -> OriginId {
        let origin = Origin { gradient: true, ..self.get(id).clone() };
        self.intern(origin)
    }
    /// All origins.
    pub fn iter(&self) -> impl Iterator<Item = &Origin> {
        self.list.iter()
    }
}

impl From<Vec<Origin>> for OriginTable {
    fn from(list: Vec<Origin>) -> Self {
        let ids = list.iter().enumerate().map(|(i, o)| (o.clone(), OriginId(i as u32))).collect();
        OriginTable { list, ids }
    }
}
impl From<OriginTable> for Vec<Origin> {
    fn from(t: OriginTable) -> Self {
        t.list
    }
}
