//! Reading graphs. Never panics, whatever the text; nesting and sizes are bounded.

use crate::graph::{Graph, Region, SymbolDecl, Value};
use crate::ops::{Attr, AttrReader, Primitive, custom};
use crate::{Axes, DType, Data, Dim, Literal, Location, Origin, Scalar, Shape, Symbol, Type};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::fmt;

/// Deepest nesting of regions.
const MAX_DEPTH: u32 = 32;

/// Where and why a text is not a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// What is wrong.
    pub message: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// The text of the line.
    pub source: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} at line {}, column {}", self.message, self.line, self.column)?;
        writeln!(f, "  | {}", self.source)?;
        write!(f, "  | {:>width$}", "^", width = self.column)
    }
}
impl std::error::Error for ParseError {}

/// Reads a graph from its text. Every op gets an origin that names its line.
pub fn parse(text: &str) -> Result<Graph, ParseError> {
    let (graph, values) = (Graph::new(""), HashMap::new());
    let mut p = Parser { text, at: 0, graph, values, counted: (0, 1), missing: Vec::new(), first_missing: 0 };
    match p.graph() {
        Ok(()) => Ok(p.graph),
        Err(message) => {
            let at = p.at.min(text.len());
            let before = &text[..at];
            let start = before.rfind('\n').map_or(0, |i| i + 1);
            let source: String = text[start..].lines().next().unwrap_or("").chars().take(200).collect();
            let line = before.matches('\n').count() + 1;
            Err(ParseError { message, line, column: text[start..at].chars().count() + 1, source })
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    graph: Graph,
    values: HashMap<u64, Value>,
    /// A position and its line.
    counted: (usize, u32),
    /// Custom ops that nobody has registered, and where the first of them stands.
    missing: Vec<String>,
    first_missing: usize,
}

type Parsed<T> = Result<T, String>;

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with("//") {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn eat(&mut self, token: &str) -> bool {
        self.skip();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn expect(&mut self, token: &str) -> Parsed<()> {
        if self.eat(token) { Ok(()) } else { Err(format!("expected `{token}`, found {}", self.found())) }
    }

    fn found(&self) -> String {
        match self.rest().split_whitespace().next() {
            Some(word) => format!("`{}`", word.chars().take(24).collect::<String>()),
            None => "the end".into(),
        }
    }

    fn word(&mut self) -> Parsed<&'a str> {
        self.skip();
        let rest = self.rest();
        let len = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        if len == 0 {
            return Err(format!("expected a word, found {}", self.found()));
        }
        self.at += len;
        Ok(&rest[..len])
    }

    /// A word, or with custom ops several with dots between them.
    fn op_name(&mut self) -> Parsed<&'a str> {
        let (_, start) = (self.skip(), self.at);
        self.word()?;
        while self.rest().starts_with('.') {
            self.at += 1;
            self.word()?;
        }
        Ok(&self.text[start..self.at])
    }

    fn number<T: std::str::FromStr>(&mut self) -> Parsed<T> {
        self.skip();
        let rest = self.rest();
        let sign = usize::from(rest.starts_with('-'));
        let len = sign + rest[sign..].find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len() - sign);
        let number = rest[..len].parse().map_err(|_| format!("expected a number, found {}", self.found()))?;
        self.at += len;
        Ok(number)
    }

    fn name(&mut self) -> Parsed<String> {
        if self.rest().starts_with('"') {
            let mut end = None;
            let mut escaped = false;
            for (i, c) in self.rest().char_indices().skip(1) {
                match c {
                    '"' if !escaped => {
                        end = Some(i);
                        break;
                    }
                    '\\' => escaped = !escaped,
                    _ => escaped = false,
                }
            }
            let end = end.ok_or("a name without an end")?;
            let name = unescape(&self.rest()[1..end])?;
            self.at += end + 1;
            return Ok(name);
        }
        let rest = self.rest();
        let len = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "_.-".contains(c))).unwrap_or(rest.len());
        self.at += len;
        Ok(rest[..len].into())
    }

    fn graph(&mut self) -> Parsed<()> {
        self.expect("graph")?;
        self.expect("@")?;
        self.graph.name = self.name()?;
        self.expect("(")?;
        let root = self.graph.root();
        self.params(root)?;
        self.expect("->")?;
        self.expect("(")?;
        let mut outputs = Vec::new();
        while !self.eat(")") {
            if !outputs.is_empty() {
                self.expect(",")?;
            }
            outputs.push(self.ty()?);
        }
        if self.eat("where") {
            loop {
                let symbol = Symbol::new(self.word()?);
                self.expect("in")?;
                let min = self.number()?;
                self.expect("..=")?;
                let max = self.number()?;
                self.graph.symbols.push(SymbolDecl { symbol, min, max });
                if !self.eat(",") {
                    break;
                }
            }
        }
        self.expect("{")?;
        self.body(root, "return", 0)?;
        if self.graph.output_types() != outputs {
            return Err("the returned values do not have the declared types".into());
        }
        self.skip();
        if !self.rest().is_empty() {
            return Err(format!("expected the end, found {}", self.found()));
        }
        if !self.missing.is_empty() {
            self.at = self.first_missing;
            let list = self.missing.join(", ");
            return Err(format!("custom ops are missing: {list}; register them before the graph is read"));
        }
        Ok(())
    }

    /// `%n: type, …)`.
    fn params(&mut self, region: Region) -> Parsed<()> {
        let mut first = true;
        while !self.eat(")") {
            if !std::mem::take(&mut first) {
                self.expect(",")?;
            }
            let name = self.value_name()?;
            self.expect(":")?;
            let ty = self.ty()?;
            let v = self.graph.add_param(region, ty);
            self.define(name, v)?;
        }
        Ok(())
    }

    fn value_name(&mut self) -> Parsed<u64> {
        self.expect("%")?;
        self.number()
    }

    fn define(&mut self, name: u64, v: Value) -> Parsed<()> {
        match self.values.insert(name, v) {
            None => Ok(()),
            Some(_) => Err(format!("%{name} is defined twice")),
        }
    }

    fn use_(&mut self) -> Parsed<Value> {
        let name = self.value_name()?;
        self.values.get(&name).copied().ok_or_else(|| format!("%{name} is not defined here"))
    }

    /// Values separated by commas, perhaps none.
    fn uses(&mut self) -> Parsed<Vec<Value>> {
        let mut values = Vec::new();
        self.skip();
        while (values.is_empty() && self.rest().starts_with('%')) || (!values.is_empty() && self.eat(",")) {
            values.push(self.use_()?);
        }
        Ok(values)
    }

    fn ty(&mut self) -> Parsed<Type> {
        let dtype: DType = self.word()?.parse()?;
        self.expect("[")?;
        let end = self.rest().find(']').ok_or("a shape without an end")?;
        let dims = dims(&self.rest()[..end])?;
        self.at += end + 1;
        if dims.iter().any(|d| d.known().is_some_and(|n| n < 0)) {
            return Err("an extent is negative".into());
        }
        let shape = Shape::from(dims.as_slice());
        match shape.too_complex() {
            Some(why) => Err(why),
            None => Ok(Type::new(dtype, shape)),
        }
    }

    fn body(&mut self, region: Region, last: &str, depth: u32) -> Parsed<()> {
        if depth > MAX_DEPTH {
            return Err("regions nest too deep".into());
        }
        loop {
            self.skip();
            if self.rest().starts_with(last) {
                self.at += last.len();
                break;
            }
            self.op(region, depth)?;
        }
        let yields = self.uses()?;
        self.graph.region_mut(region).yields = yields;
        self.expect("}")
    }

    fn op(&mut self, region: Region, depth: u32) -> Parsed<()> {
        self.skip();
        let line = self.line();
        let mut results: Vec<(u64, Type)> = Vec::new();
        if self.rest().starts_with('%') {
            loop {
                let name = self.value_name()?;
                self.expect(":")?;
                results.push((name, self.ty()?));
                if !self.eat(",") {
                    break;
                }
            }
            self.expect("=")?;
        }
        self.skip();
        let start = self.at;
        let name = self.op_name()?;
        let operands = self.uses()?;
        // A brace opens attributes, or a region, which begins with its parameters.
        let mut reader = AttrReader::default();
        let mut regions = Vec::new();
        while self.eat("{") {
            if self.eat("^") {
                self.expect("(")?;
                let inner = self.graph.add_region();
                let outer = std::mem::take(&mut self.values);
                self.params(inner)?;
                self.expect(":")?;
                self.body(inner, "yield", depth + 1)?;
                let names: Vec<u64> = self.values.keys().copied().collect();
                self.values = outer;
                if let Some(n) = names.iter().find(|n| self.values.contains_key(n)) {
                    return Err(format!("%{n} is defined twice"));
                }
                regions.push(inner);
            } else {
                self.attributes(&mut reader)?;
            }
        }
        let end = std::mem::replace(&mut self.at, start);
        // What is wrong with the op as a whole is reported at its name.
        if name.contains('.')
            && let Some((_, Attr::Int(version))) = reader.0.iter().find(|(n, _)| n == "version")
            && let Some(missing) = u32::try_from(*version).ok().and_then(|v| custom::missing(name, v))
        {
            if self.missing.is_empty() {
                self.first_missing = start;
            }
            if !self.missing.contains(&missing) {
                self.missing.push(missing);
            }
            // The types as written stand in, to find what else is missing; there will be no graph.
            for (name, ty) in results {
                let v = self.graph.add_param(region, ty);
                self.define(name, v)?;
            }
            self.at = end;
            return Ok(());
        }
        let primitive = Primitive::from_text(name, &mut reader)?;
        if let Some((unknown, _)) = reader.0.first() {
            return Err(format!("`{name}` has no attribute `{unknown}`"));
        }
        let location = Location { file: "<text>".into(), line, column: 1 };
        let origin = self.graph.origins.intern(Origin { location, scope: "".into(), gradient: false });
        let op = self.graph.append(region, primitive, &operands, &regions, &[origin]).map_err(|e| e.to_string())?;
        let made = self.graph.op(op).results.clone();
        if made.len() != results.len() {
            return Err(format!("`{name}` has {} results, {} are named", made.len(), results.len()));
        }
        for (v, (name, ty)) in made.into_iter().zip(results) {
            if *self.graph.ty(v) != ty {
                return Err(format!("%{name} has type {}, not {ty}", self.graph.ty(v)));
            }
            self.define(name, v)?;
        }
        self.at = end;
        Ok(())
    }

    /// The line of the position.
    fn line(&mut self) -> u32 {
        let (from, line) = self.counted;
        self.counted = (self.at, line + self.text[from..self.at].matches('\n').count() as u32);
        self.counted.1
    }

    fn attributes(&mut self, reader: &mut AttrReader) -> Parsed<()> {
        while !self.eat("}") {
            if !reader.0.is_empty() {
                self.expect(",")?;
            }
            let name = self.word()?.to_string();
            self.expect("=")?;
            self.skip();
            let raw = self.raw_attribute()?;
            let value = attribute(raw)?;
            self.at += raw.len();
            reader.0.push((name, value));
        }
        Ok(())
    }

    /// The text up to the comma or brace that ends an attribute.
    fn raw_attribute(&self) -> Parsed<&'a str> {
        let (mut depth, mut quoted, mut escaped) = (0, false, false);
        for (i, c) in self.rest().char_indices() {
            if quoted {
                quoted = escaped || c != '"';
                escaped = !escaped && c == '\\';
                continue;
            }
            match c {
                '"' => quoted = true,
                '[' | '(' | '{' => depth += 1,
                '}' | ',' if depth == 0 => return Ok(&self.rest()[..i]),
                ']' | ')' | '}' => depth -= 1,
                _ => {}
            }
        }
        Err("an attribute without an end".into())
    }
}

fn unescape(raw: &str) -> Parsed<String> {
    let mut out = String::new();
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('0') => out.push('\0'),
            Some('u') => {
                let code: String = chars.by_ref().skip(1).take_while(|&c| c != '}').collect();
                let c = u32::from_str_radix(&code, 16).ok().and_then(char::from_u32);
                out.push(c.ok_or_else(|| format!("\\u{{{code}}} is no character"))?);
            }
            Some(c @ ('\\' | '"' | '\'')) => out.push(c),
            _ => return Err("an unknown escape in a name".into()),
        }
    }
    Ok(out)
}

/// Dimensions separated by commas that are not inside parentheses.
fn dims(text: &str) -> Parsed<Vec<Dim>> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let mut out = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (i, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                out.push(text[start..i].trim().parse()?);
                start = i + 1;
            }
            _ => {}
        }
    }
    out.push(text[start..].trim().parse()?);
    Ok(out)
}

fn attribute(raw: &str) -> Parsed<Attr> {
    let raw = raw.trim();
    if let Some(text) = raw.strip_prefix('"') {
        return Ok(Attr::Text(unescape(text.strip_suffix('"').ok_or("a text without an end")?)?));
    }
    if let Some(list) = raw.strip_prefix('[').and_then(|r| r.strip_suffix(']')) {
        let dims = dims(list)?;
        let axes: Option<Axes> = dims.iter().map(Dim::as_usize).collect();
        return Ok(axes.map_or(Attr::Dims(dims), Attr::Axes));
    }
    if let Some(open) = raw.find('{') {
        return literal(&raw[..open], raw[open + 1..].strip_suffix('}').ok_or("a constant without an end")?);
    }
    if let Some((value, dtype)) = raw.rsplit_once(':') {
        return Ok(Attr::Scalar(Scalar::parse(value, dtype.parse()?)?));
    }
    if let Ok(n) = raw.parse::<i64>() {
        return Ok(Attr::Int(n));
    }
    if let Ok(dtype) = raw.parse::<DType>() {
        return Ok(Attr::DType(dtype));
    }
    if raw.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !raw.is_empty() {
        return Ok(Attr::Word(raw.into()));
    }
    Ok(Attr::Dim(raw.parse()?))
}

fn literal(ty: &str, elements: &str) -> Parsed<Attr> {
    let bad = || format!("`{ty}` is not the type of a constant");
    let (dtype, shape) = ty.trim().split_once('[').ok_or_else(bad)?;
    let dtype: DType = dtype.parse()?;
    let dims = dims(shape.strip_suffix(']').ok_or_else(bad)?)?;
    let dims: Option<SmallVec<[usize; 4]>> = dims.iter().map(Dim::as_usize).collect();
    let dims = dims.ok_or_else(bad)?;
    let wanted = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).ok_or_else(bad)?;
    let elements = elements.trim();
    let items: Vec<Scalar> = match elements {
        "" => Vec::new(),
        _ => elements.split(',').map(|e| Scalar::parse(e.trim(), dtype)).collect::<Result<_, _>>()?,
    };
    if items.len() != wanted {
        return Err(format!("{} elements for {dtype}{dims:?}", items.len()));
    }
    Ok(Attr::Literal(Literal::new(&dims, Data::collect(dtype, items.into_iter()))))
}
