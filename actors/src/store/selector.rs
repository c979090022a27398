//! Label selectors in Kubernetes' syntax: `a=b, c!=d, e in (f, g), h notin (i), j, !k`.
//!
//! Law: `!=` and `notin` hold for an object without the label; the empty selector holds for every object.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// One condition on the labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// The label is there and has one of the values; `=` and `==` are this with one value.
    In(String, BTreeSet<String>),
    /// The label is not there, or has none of the values; `!=` is this with one value.
    NotIn(String, BTreeSet<String>),
    /// The label is there.
    Exists(String),
    /// The label is not there.
    NotExists(String),
}

impl Requirement {
    /// Whether labels, read through `label`, meet it.
    fn holds<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        match self {
            Self::In(key, values) => label(key).is_some_and(|value| values.contains(value)),
            Self::NotIn(key, values) => label(key).is_none_or(|value| !values.contains(value)),
            Self::Exists(key) => label(key).is_some(),
            Self::NotExists(key) => label(key).is_none(),
        }
    }
}

/// Conditions that must all hold.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

impl Selector {
    /// All of these must hold.
    pub fn new(requirements: impl IntoIterator<Item = Requirement>) -> Self {
        Self { requirements: requirements.into_iter().collect() }
    }

    /// Whether labels, read through `label`, meet it: `selector.matches(|key| object.label(key))`.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|requirement| requirement.holds(&label))
    }

    /// Its conditions.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }
}

/// In the syntax that it is parsed from.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |values: &BTreeSet<String>| values.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        for (at, requirement) in self.requirements.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            match requirement {
                Requirement::In(key, values) if values.len() == 1 => write!(f, "{key}={}", join(values)),
                Requirement::NotIn(key, values) if values.len() == 1 => write!(f, "{key}!={}", join(values)),
                Requirement::In(key, values) => write!(f, "{key} in ({})", join(values)),
                Requirement::NotIn(key, values) => write!(f, "{key} notin ({})", join(values)),
                Requirement::Exists(key) => f.write_str(key),
                Requirement::NotExists(key) => write!(f, "!{key}"),
            }?;
        }
        Ok(())
    }
}

/// A text that is no label selector.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("label selector `{text}`, column {column}: {reason}")]
pub struct SelectorError {
    /// The whole text.
    pub text: String,
    /// Where it goes wrong, in characters from 1.
    pub column: usize,
    /// What is wrong there, and what could stand there instead.
    pub reason: String,
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let mut parser = Parser { text, at: 0 };
        let parsed = parser.selector();
        parsed.map_err(|reason| {
            let column = text[..parser.at].chars().count() + 1;
            SelectorError { text: text.to_owned(), column, reason }
        })
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn selector(&mut self) -> Result<Selector, String> {
        let mut requirements = Vec::new();
        self.space();
        if self.rest().is_empty() {
            return Ok(Selector::default());
        }
        loop {
            requirements.push(self.requirement()?);
            self.space();
            if self.rest().is_empty() {
                return Ok(Selector { requirements });
            }
            if !self.eat(",") {
                return Err("expected `,`, or one of `=`, `==`, `!=`, `in (..)`, `notin (..)` after the key".to_owned());
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        self.space();
        if self.eat("!") {
            return Ok(Requirement::NotExists(self.key()?));
        }
        let key = self.key()?;
        self.space();
        if self.eat("!=") {
            return Ok(Requirement::NotIn(key, BTreeSet::from([self.value()?])));
        }
        if self.eat("==") || self.eat("=") {
            return Ok(Requirement::In(key, BTreeSet::from([self.value()?])));
        }
        let before = self.at;
        match self.word() {
            "in" => Ok(Requirement::In(key, self.values()?)),
            "notin" => Ok(Requirement::NotIn(key, self.values()?)),
            _ => {
                self.at = before;
                Ok(Requirement::Exists(key))
            }
        }
    }

    fn values(&mut self) -> Result<BTreeSet<String>, String> {
        self.space();
        if !self.eat("(") {
            return Err("expected `(` before the list of values".to_owned());
        }
        let mut values = BTreeSet::new();
        loop {
            values.insert(self.value()?);
            self.space();
            if self.eat(")") {
                return Ok(values);
            }
            if !self.eat(",") {
                return Err("expected `,` or `)` in the list of values".to_owned());
            }
        }
    }

    fn key(&mut self) -> Result<String, String> {
        self.space();
        let start = self.at;
        let key = self.word();
        let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
        let good_prefix = prefix.is_none_or(|prefix| {
            prefix.len() <= 253
                && prefix.split('.').all(|part| is_name(part, |b| b.is_ascii_lowercase() || b.is_ascii_digit(), b"-"))
        });
        if key.is_empty() {
            return Err("expected a label key".to_owned());
        }
        if good_prefix && name.len() <= 63 && is_name(name, u8::is_ascii_alphanumeric, b"-_.") {
            return Ok(key.to_owned());
        }
        self.at = start;
        Err(format!(
            "`{key}` is no label key: it must be at most 63 letters, digits, `-`, `_`, `.`, begin and end with a \
             letter or digit, and may have a DNS name and `/` in front"
        ))
    }

    /// A value; nothing at all is the empty value.
    fn value(&mut self) -> Result<String, String> {
        self.space();
        let start = self.at;
        let value = self.word();
        if value.is_empty() || (value.len() <= 63 && is_name(value, u8::is_ascii_alphanumeric, b"-_.")) {
            return Ok(value.to_owned());
        }
        self.at = start;
        Err(format!(
            "`{value}` is no label value: it must be at most 63 letters, digits, `-`, `_`, `.`, and begin and end \
             with a letter or digit"
        ))
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    /// All up to the next separator.
    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c: char| c.is_whitespace() || "=!,()<>".contains(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }
}

fn is_name(text: &str, outer: impl Fn(&u8) -> bool, inner: &[u8]) -> bool {
    let bytes = text.as_bytes();
    let ends = bytes.first().is_some_and(&outer) && bytes.last().is_some_and(&outer);
    ends && bytes.iter().all(|byte| outer(byte) || inner.contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str, labels: &[(&str, &'static str)]) -> bool {
        let selector: Selector = selector.parse().unwrap();
        selector.matches(|key| labels.iter().find(|(k, _)| *k == key).map(|(_, v)| *v))
    }

    #[test]
    fn selectors_hold_as_they_do_in_kubernetes() {
        let labels = [("app", "cart"), ("tier", ""), ("example.test/x", "1")];
        for selector in [
            "",
            "  ",
            "app",
            "app=cart",
            "app==cart",
            "app = cart , tier=",
            "app in (cart,shop)",
            "app notin (shop)",
            "app!=shop",
            "none!=x",
            "none notin (x)",
            "!none",
            "example.test/x=1,app",
            "tier in ()",
            "tier in (a,)",
            "tier",
            "tier!=x",
        ] {
            assert!(matches(selector, &labels), "{selector}");
        }
        for selector in [
            "app=shop",
            "!app",
            "none",
            "none=",
            "none in (x)",
            "app notin (cart , x)",
            "app!=cart",
            "app,none",
            "tier!=",
        ] {
            assert!(!matches(selector, &labels), "{selector}");
        }
    }

    #[test]
    fn a_key_may_be_called_in() {
        assert!(matches("in in (notin),notin", &[("in", "notin"), ("notin", "x")]));
    }

    #[test]
    fn a_selector_is_shown_as_it_is_parsed() {
        for text in ["a=b,c!=d,e in (f,g),h notin (i,j),k,!l", ""] {
            let selector: Selector = text.parse().unwrap();
            assert_eq!(selector.to_string(), text);
        }
    }

    #[test]
    fn errors_name_the_column_and_what_could_stand_there() {
        for (text, column, part) in [
            ("a,", 3, "expected a label key"),
            ("a in b", 6, "expected `(`"),
            ("a in (b", 8, "expected `,` or `)`"),
            ("a b", 3, "expected `,`, or one of `=`"),
            ("a>1", 2, "expected `,`, or one of `=`"),
            ("a=-x", 3, "`-x` is no label value"),
            ("ä=x", 1, "`ä` is no label key"),
            ("Up.test/a", 1, "is no label key"),
            ("a/b/c", 1, "is no label key"),
            ("=x", 1, "expected a label key"),
        ] {
            let error = text.parse::<Selector>().unwrap_err();
            assert_eq!(error.column, column, "{error}");
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
