//! The config file as a tree in which every key and value remembers its place, before anything is typed.
//!
//! Invariant: no `Debug` here, since a value may be the admin token.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// In the file, counted from one.
    File { line: u64, column: u64 },
    /// In an environment variable.
    Environment(String),
}

impl Origin {
    fn of<T>(spanned: &Spanned<T>) -> Self {
        Self::File { line: spanned.referenced.line(), column: spanned.referenced.column() }
    }
}

/// A value with its place.
#[derive(Clone)]
pub(crate) struct Node {
    pub origin: Origin,
    pub value: Value,
}

/// What a node holds.
#[derive(Clone)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    /// The text of an environment variable, whose type only its reader knows.
    Untyped(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// Was wrong, was reported, and is now as if it had never been written.
    Dropped,
}

/// A key with its place, and its value.
#[derive(Clone)]
pub(crate) struct Entry {
    pub key: String,
    pub origin: Origin,
    pub node: Node,
}

/// A step from a node to one inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

/// `sources[0].path`.
pub(crate) fn show_path(path: &[Step]) -> String {
    let mut shown = String::new();
    for step in path {
        match step {
            Step::Key(key) if shown.is_empty() => shown.push_str(key),
            Step::Key(key) => shown.push_str(&format!(".{key}")),
            Step::Index(index) => shown.push_str(&format!("[{index}]")),
        }
    }
    shown
}

/// A syntax error: what, and where if the parser knows.
pub(crate) struct SyntaxError {
    pub origin: Option<Origin>,
    pub reason: String,
}

impl Node {
    /// Parses one YAML document. An empty one is an empty mapping: all defaults.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let first = Origin::File { line: 1, column: 1 };
        let blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#') || line == "---";
        if text.lines().all(blank) {
            return Ok(Self { origin: first, value: Value::Map(Vec::new()) });
        }
        // Without this, `y` and `on` would be booleans.
        let options = serde_saphyr::options! { strict_booleans: true };
        serde_saphyr::from_str_with_options::<Self>(text, options).map_err(|error| {
            let origin = error.location().map(|at| Origin::File { line: at.line(), column: at.column() });
            SyntaxError { origin, reason: plain(&error) }
        })
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|e| e.key == key && !matches!(e.node.value, Value::Dropped)),
            _ => None,
        }
    }

    /// Takes a key out of a mapping.
    pub fn take(&mut self, key: &str) -> Option<Entry> {
        let Value::Map(entries) = &mut self.value else { return None };
        let at = entries.iter().position(|entry| entry.key == key)?;
        Some(entries.remove(at))
    }

    /// The node at a path, or the innermost one on the way there that exists, with its place.
    pub fn place_of(&self, path: &[Step]) -> &Origin {
        let mut place = &self.origin;
        let mut node = self;
        for step in path {
            match (step, &node.value) {
                (Step::Key(key), Value::Map(_)) => {
                    let Some(entry) = node.entry(key) else { return place };
                    // A mapping or a list is named by its key; a value by itself.
                    let inside = matches!(entry.node.value, Value::Map(_) | Value::List(_) | Value::Null);
                    place = if inside { &entry.origin } else { &entry.node.origin };
                    node = &entry.node;
                }
                (Step::Index(index), Value::List(items)) => {
                    let Some(item) = items.get(*index) else { return place };
                    place = &item.origin;
                    node = item;
                }
                _ => return place,
            }
        }
        place
    }

    /// Makes the node at a path as if it had never been written; false if there is none.
    pub fn drop_at(&mut self, path: &[Step]) -> bool {
        let mut node = self;
        for step in path {
            let inside = match (step, &mut node.value) {
                (Step::Key(key), Value::Map(entries)) => {
                    entries.iter_mut().find(|e| &e.key == key).map(|e| &mut e.node)
                }
                (Step::Index(index), Value::List(items)) => items.get_mut(*index),
                _ => None,
            };
            let Some(inside) = inside else { return false };
            node = inside;
        }
        let stood = !matches!(node.value, Value::Dropped);
        node.value = Value::Dropped;
        stood
    }

    /// Sets the value at a path from the environment, making mappings and list items on the way. A step
    /// through something else than a mapping or list is refused with a reason.
    pub fn set(&mut self, path: &[&str], text: &str, origin: &Origin) -> Result<(), String> {
        let Some((step, rest)) = path.split_first() else {
            self.origin = origin.clone();
            self.value = Value::Untyped(text.to_owned());
            return Ok(());
        };
        if matches!(self.value, Value::Null | Value::Untyped(_)) {
            self.value = if step.parse::<usize>().is_ok() { Value::List(Vec::new()) } else { Value::Map(Vec::new()) };
        }
        let fresh = || Self { origin: origin.clone(), value: Value::Null };
        match &mut self.value {
            Value::Map(entries) => {
                let at = entries.iter().position(|entry| entry.key == **step);
                let at = at.unwrap_or_else(|| {
                    entries.push(Entry { key: (*step).to_owned(), origin: origin.clone(), node: fresh() });
                    entries.len() - 1
                });
                entries[at].node.set(rest, text, origin)
            }
            Value::List(items) => {
                let index: usize = step.parse().map_err(|_| format!("`{step}` is not the number of a list item"))?;
                if index > items.len() {
                    return Err(format!("item {index} cannot be set: the list has {} items", items.len()));
                }
                if index == items.len() {
                    items.push(fresh());
                }
                items[index].set(rest, text, origin)
            }
            _ => Err(format!("`{step}` is below a value that has no keys")),
        }
    }
}

/// The parser's message without the excerpt of the file, which may hold a token.
fn plain(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let first = text.lines().next().unwrap_or("not valid YAML").trim();
    format!("not valid YAML: {first}")
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { origin: Origin::of(&spanned), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        // Beyond i64 no key of ours has a use for the exact number; it will be out of range either way.
        Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let node = map.next_value()?;
            entries.push(Entry { origin: Origin::of(&key), key: key.value, node });
        }
        Ok(Value::Map(entries))
    }
}
