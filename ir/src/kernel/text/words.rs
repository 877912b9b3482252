//! The reader's characters and words.

use super::parse::{Failure, Parse, Parser};

impl<'a> Parser<'a> {
    pub fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }
    /// Skips space and comments, and says where the next word starts.
    pub fn start(&mut self) -> usize {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with("//") {
                return self.at;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }
    pub fn fail<T>(&self, message: String) -> Parse<T> {
        Err(Failure { at: self.at, message })
    }
    pub fn expected<T>(&mut self, what: &str) -> Parse<T> {
        let found = self.found();
        self.fail(format!("expected {what}, found {found}"))
    }
    pub fn found(&mut self) -> String {
        self.start();
        let rest = self.rest();
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '%';
        let len = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        match (len, rest.chars().next()) {
            (_, None) => "the end".into(),
            (0, Some(c)) => format!("`{c}`"),
            _ => format!("`{}`", &rest[..len]),
        }
    }
    pub fn peek_is(&mut self, s: &str) -> bool {
        self.start();
        self.rest().starts_with(s)
    }
    pub fn eat(&mut self, s: &str) -> bool {
        let found = self.peek_is(s);
        if found {
            self.at += s.len();
        }
        found
    }
    pub fn expect(&mut self, s: &str) -> Parse<()> {
        if self.eat(s) {
            return Ok(());
        }
        self.expected(&format!("`{s}`"))
    }
    pub fn peek_word(&mut self) -> &'a str {
        self.start();
        let rest = self.rest();
        &rest[..rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len())]
    }
    pub fn word(&mut self, what: &str) -> Parse<&'a str> {
        let word = self.peek_word();
        if word.is_empty() {
            return self.expected(what);
        }
        self.at += word.len();
        Ok(word)
    }
    pub fn eat_word(&mut self, word: &str) -> bool {
        let found = self.peek_word() == word;
        if found {
            self.at += word.len();
        }
        found
    }
    pub fn keyword(&mut self, word: &str) -> Parse<()> {
        if self.eat_word(word) {
            return Ok(());
        }
        self.expected(&format!("`{word}`"))
    }
    pub fn percent_name(&mut self) -> Parse<&'a str> {
        self.expect("%")?;
        let rest = self.rest();
        let len = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        if len == 0 {
            return self.fail("expected a name after `%`".into());
        }
        self.at += len;
        Ok(&rest[..len])
    }
    pub fn digits(&mut self) -> &'a str {
        let rest = self.rest();
        let len = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }
    pub fn u32(&mut self) -> Parse<u32> {
        let at = self.start();
        let digits = self.digits();
        let found = if digits.is_empty() { self.found() } else { format!("`{digits}`") };
        digits.parse().map_err(|_| Failure { at, message: format!("expected a number, found {found}") })
    }
    pub fn kernel_name(&mut self) -> Parse<String> {
        if !self.eat("\"") {
            let rest = self.rest();
            let len = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.')).unwrap_or(rest.len());
            self.at += len;
            return if len == 0 { self.fail("expected a name after `@`".into()) } else { Ok(rest[..len].into()) };
        }
        let mut name = String::new();
        loop {
            let at = self.at;
            let bad = |message: &str| Failure { at, message: message.into() };
            let mut chars = self.rest().chars();
            match chars.next() {
                None | Some('\n') => return Err(bad("the name does not end")),
                Some('"') => {
                    self.at += 1;
                    return Ok(name);
                }
                Some('\\') => match chars.next() {
                    Some(c @ ('"' | '\\')) => {
                        name.push(c);
                        self.at += 2;
                    }
                    Some('u') => {
                        let digits = self.rest()[2..].strip_prefix('{').and_then(|r| r.split_once('}')).map(|(d, _)| d);
                        let code = digits.and_then(|d| u32::from_str_radix(d, 16).ok()).and_then(char::from_u32);
                        let (Some(digits), Some(c)) = (digits, code) else {
                            return Err(bad("expected a character code after `\\u`"));
                        };
                        name.push(c);
                        self.at += digits.len() + 4;
                    }
                    _ => return Err(bad("expected `\\\"`, `\\\\` or `\\u{…}`")),
                },
                Some(c) => {
                    name.push(c);
                    self.at += c.len_utf8();
                }
            }
        }
    }
}
