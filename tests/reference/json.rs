//! As much JSON as the reference files use: no white space, and no escapes in strings.

use std::collections::BTreeMap;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

impl Json {
    /// Reads one value that fills the whole text.
    pub fn parse(text: &str) -> Result<Json, String> {
        let mut reader = Reader { text: text.as_bytes(), at: 0 };
        let value = reader.value()?;
        if reader.at != text.len() {
            return Err(format!("text after the value, at {}", reader.at));
        }
        Ok(value)
    }

    /// The member of an object; panics with the key if there is none.
    #[track_caller]
    pub fn get(&self, key: &str) -> &Json {
        self.find(key).unwrap_or_else(|| panic!("no `{key}` in {self:?}"))
    }

    pub fn find(&self, key: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.get(key),
            _ => None,
        }
    }

    #[track_caller]
    pub fn text(&self) -> &str {
        match self {
            Json::Text(s) => s,
            other => panic!("{other:?} is no text"),
        }
    }

    #[track_caller]
    pub fn list(&self) -> &[Json] {
        match self {
            Json::List(items) => items,
            other => panic!("{other:?} is no list"),
        }
    }

    #[track_caller]
    pub fn int(&self) -> i64 {
        match self {
            Json::Int(n) => *n,
            other => panic!("{other:?} is no integer"),
        }
    }

    #[track_caller]
    pub fn ints(&self) -> Vec<i64> {
        self.list().iter().map(Json::int).collect()
    }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    fn expect(&mut self, word: &str) -> Result<(), String> {
        if !self.text[self.at..].starts_with(word.as_bytes()) {
            return Err(format!("expected `{word}` at {}", self.at));
        }
        self.at += word.len();
        Ok(())
    }

    fn until(&mut self, stop: impl Fn(u8) -> bool) -> String {
        let start = self.at;
        while self.at < self.text.len() && !stop(self.text[self.at]) {
            self.at += 1;
        }
        String::from_utf8_lossy(&self.text[start..self.at]).into_owned()
    }

    fn string(&mut self) -> Result<String, String> {
        self.expect("\"")?;
        let text = self.until(|c| c == b'"' || c == b'\\');
        self.expect("\"")?;
        Ok(text)
    }

    fn value(&mut self) -> Result<Json, String> {
        match self.peek() {
            b'{' => {
                let members = self.items("{", "}", |r| {
                    let key = r.string()?;
                    r.expect(":")?;
                    Ok((key, r.value()?))
                })?;
                Ok(Json::Object(members.into_iter().collect()))
            }
            b'[' => Ok(Json::List(self.items("[", "]", Reader::value)?)),
            b'"' => Ok(Json::Text(self.string()?)),
            b'n' => self.expect("null").map(|()| Json::Null),
            b't' => self.expect("true").map(|()| Json::Bool(true)),
            b'f' => self.expect("false").map(|()| Json::Bool(false)),
            _ => {
                let number = self.until(|c| matches!(c, b',' | b']' | b'}'));
                let int = number.parse().map(Json::Int);
                int.or_else(|_| number.parse().map(Json::Float)).map_err(|e| format!("`{number}`: {e}"))
            }
        }
    }

    fn items<T>(
        &mut self,
        open: &str,
        close: &str,
        item: impl Fn(&mut Self) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        self.expect(open)?;
        let mut items = Vec::new();
        while self.expect(close).is_err() {
            if !items.is_empty() {
                self.expect(",")?;
            }
            items.push(item(self)?);
        }
        Ok(items)
    }
}

#[test]
fn values_are_read() {
    let value = Json::parse(r#"{"a":[1,-2.5,[]],"b":{"c":null},"d":"x y","e":true,"f":1e-05}"#).unwrap();
    assert_eq!(value.get("a"), &Json::List(vec![Json::Int(1), Json::Float(-2.5), Json::List(vec![])]));
    assert_eq!(value.get("b").get("c"), &Json::Null);
    assert_eq!((value.get("d").text(), value.get("f")), ("x y", &Json::Float(1e-5)));
    for bad in ["", "[1", "[1 2]", "{\"a\"1}", "\"a", "[] ", "1x"] {
        assert!(Json::parse(bad).is_err(), "{bad}");
    }
}
