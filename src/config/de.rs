//! From the tree to typed sections. An error keeps its path, so that all of them can be collected: what is
//! wrong is reported and dropped, and the rest is read again, until nothing is wrong any more.

use std::fmt;

use serde::de::value::StringDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, EnumAccess, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::problem::{Report, suggestion};
use super::tree::{Entry, Node, Origin, Step, Value};

/// One thing that is wrong with the tree, and where.
#[derive(Debug)]
pub(crate) struct Fault {
    path: Vec<Step>,
    origin: Option<Origin>,
    reason: String,
    missing: Option<&'static str>,
}

impl Fault {
    fn new(reason: String) -> Self {
        Self { path: Vec::new(), origin: None, reason, missing: None }
    }

    fn within(mut self, step: Step, origin: &Origin) -> Self {
        self.path.insert(0, step);
        self.origin.get_or_insert_with(|| origin.clone());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        // What was found is named by its kind alone: the text itself may be the token.
        let found = match found {
            Unexpected::Str(_) => "text".to_owned(),
            Unexpected::Unit => "nothing".to_owned(),
            Unexpected::Map => "a mapping".to_owned(),
            Unexpected::Seq => "a list".to_owned(),
            other => other.to_string(),
        };
        Self::new(format!("expected {expected}, found {found}"))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        match found {
            Unexpected::Str(text) => Self::new(format!("expected {expected}, found `{text}`")),
            other => Self::new(format!("expected {expected}, found {other}")),
        }
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        Self::new(format!("unknown key `{field}`{}", suggestion(field, known.iter().copied())))
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        Self::new(format!(
            "`{variant}` is not one of the words allowed here{}",
            suggestion(variant, known.iter().copied())
        ))
    }

    fn missing_field(field: &'static str) -> Self {
        Self { missing: Some(field), ..Self::new(format!("the key `{field}` is required")) }
    }
}

/// Reads `T` from a node. Everything wrong goes to the report; `None` if nothing is left to read.
/// `prefix` is the path of the node itself.
pub(crate) fn collect<T: DeserializeOwned>(node: &mut Node, prefix: &[Step], report: &mut Report) -> Option<T> {
    let mut dropped: Vec<Vec<Step>> = Vec::new();
    loop {
        let fault = match T::deserialize(&*node) {
            Ok(value) => return Some(value),
            Err(fault) => fault,
        };
        // A key that was written, was wrong and was dropped is not "missing" as well.
        let was_dropped = fault.missing.is_some_and(|key| {
            let mut path = fault.path.clone();
            path.push(Step::Key(key.to_owned()));
            dropped.contains(&path)
        });
        if !was_dropped {
            let path: Vec<Step> = prefix.iter().chain(&fault.path).cloned().collect();
            report.add(fault.origin.as_ref().or(Some(&node.origin)), &path, fault.reason);
        }
        if fault.path.is_empty() || !node.drop_at(&fault.path) {
            return None;
        }
        dropped.push(fault.path);
    }
}

impl Node {
    fn loose<T: std::str::FromStr>(&self, text: &str) -> Result<T, Fault> {
        let kind = std::any::type_name::<T>();
        text.trim().parse().map_err(|_| Fault::new(format!("expected {kind}, found other text")))
    }

    /// What an environment variable holds when a list or a mapping is asked for.
    fn parsed(&self, text: &str) -> Result<Self, Fault> {
        let mut node = Self::parse(text).map_err(|error| Fault::new(error.reason))?;
        node.mark_all(&self.origin);
        Ok(node)
    }

    pub(crate) fn mark_all(&mut self, origin: &Origin) {
        self.origin = origin.clone();
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.mark_all(origin)),
            Value::Map(entries) => entries.iter_mut().for_each(|entry| {
                entry.origin = origin.clone();
                entry.node.mark_all(origin);
            }),
            _ => {}
        }
    }
}

/// Numbers and switches: from the environment the text is parsed, from the file it already was.
macro_rules! loose_scalar {
    ($($method:ident => $type:ty, $visit:ident;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            match &self.value {
                Value::Untyped(text) => visitor.$visit(self.loose::<$type>(text)?),
                _ => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> de::Deserializer<'de> for &Node {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.value {
            Value::Null | Value::Dropped => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Integer(value) => visitor.visit_i64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text(text) => visitor.visit_str(text),
            Value::Untyped(text) => self.parsed(text)?.deserialize_any(visitor),
            Value::List(items) => visitor.visit_seq(Items { items: items.iter(), index: 0 }),
            Value::Map(entries) => visitor.visit_map(Entries { entries: entries.iter(), current: None }),
        }
    }

    loose_scalar! {
        deserialize_bool => bool, visit_bool;
        deserialize_i8 => i8, visit_i8;
        deserialize_i16 => i16, visit_i16;
        deserialize_i32 => i32, visit_i32;
        deserialize_i64 => i64, visit_i64;
        deserialize_u8 => u8, visit_u8;
        deserialize_u16 => u16, visit_u16;
        deserialize_u32 => u32, visit_u32;
        deserialize_u64 => u64, visit_u64;
        deserialize_f32 => f32, visit_f32;
        deserialize_f64 => f64, visit_f64;
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.value {
            Value::Untyped(text) => visitor.visit_str(text),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.value {
            Value::Null | Value::Dropped => visitor.visit_none(),
            Value::Untyped(text) if matches!(text.trim(), "" | "null" | "~") => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.value {
            // `proxy:` with nothing below it means all defaults, as if the key were not there.
            Value::Null => visitor.visit_map(Entries { entries: [].iter(), current: None }),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.value {
            Value::Text(word) | Value::Untyped(word) => visitor.visit_enum(Word(word)),
            Value::Bool(value) => visitor.visit_enum(Word(if *value { "true" } else { "false" })),
            _ => Err(Fault::new("expected a word".to_owned())),
        }
    }

    forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

struct Items<'a> {
    items: std::slice::Iter<'a, Node>,
    index: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        for item in self.items.by_ref() {
            let index = self.index;
            self.index += 1;
            if !matches!(item.value, Value::Dropped) {
                let value = seed.deserialize(item).map_err(|e| e.within(Step::Index(index), &item.origin))?;
                return Ok(Some(value));
            }
        }
        Ok(None)
    }
}

struct Entries<'a> {
    entries: std::slice::Iter<'a, Entry>,
    current: Option<&'a Entry>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        self.current = self.entries.by_ref().find(|entry| !matches!(entry.node.value, Value::Dropped));
        let Some(entry) = self.current else { return Ok(None) };
        let key: StringDeserializer<Fault> = entry.key.clone().into_deserializer();
        let key = seed.deserialize(key).map_err(|e| e.within(Step::Key(entry.key.clone()), &entry.origin))?;
        Ok(Some(key))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Fault> {
        let Some(entry) = self.current.take() else {
            return Err(Fault::new("a value was asked for before its key".to_owned()));
        };
        let inside = matches!(entry.node.value, Value::Map(_) | Value::List(_) | Value::Null);
        let place = if inside { &entry.origin } else { &entry.node.origin };
        seed.deserialize(&entry.node).map_err(|e| e.within(Step::Key(entry.key.clone()), place))
    }
}

struct Word<'a>(&'a str);

impl<'de> EnumAccess<'de> for Word<'_> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Fault> {
        let name: StringDeserializer<Fault> = self.0.to_owned().into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Word<'_> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Fault> {
        Err(Fault::new("expected a mapping".to_owned()))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Fault> {
        Err(Fault::new("expected a list".to_owned()))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Fault> {
        Err(Fault::new("expected a mapping".to_owned()))
    }
}
