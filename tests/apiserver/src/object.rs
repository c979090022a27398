//! One object as it is kept: its JSON in one piece, encoded once, with the metadata that the server itself looks at.
//! It knows no store.
//!
//! Law: the JSON has no line break, so that a watch can send it as a line.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::kind::Kind;

/// The metadata of an object. Fields that are not here are dropped, as the real server drops unknown ones.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    /// Its name.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// The beginning of a name that the server completes.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub generate_name: String,
    /// Its namespace; empty for cluster-scoped types.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub namespace: String,
    /// Its identity.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub uid: String,
    /// A number, or empty.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub resource_version: String,
    /// Counts changes beside metadata and status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<String>,
    /// Set while finalizers hold it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<String>,
    /// Comes with the deletion timestamp.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_grace_period_seconds: Option<i64>,
    /// Labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// Owner references, as they came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner_references: Option<Value>,
    /// Who has to let go before it is gone.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub finalizers: Vec<String>,
    /// Managed fields, as they came or as apply keeps them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub managed_fields: Option<Value>,
}

/// `null` is nothing.
fn or_default<'de, T: Default + Deserialize<'de>, D: serde::Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

/// An object on its way into the store.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Its metadata.
    pub meta: Meta,
    /// Everything beside `apiVersion`, `kind` and `metadata`, as JSON without line breaks.
    pub fields: BTreeMap<String, Box<RawValue>>,
    /// What it says of itself.
    pub api_version: String,
    /// What it says of itself.
    pub kind: String,
}

/// Text that is no object.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// No JSON object, or metadata of another shape.
    #[error("could not read the object: {0}")]
    Json(#[from] serde_json::Error),
}

impl Draft {
    /// Reads JSON. A `null` field is one that is not there.
    pub fn parse(json: &[u8]) -> Result<Self, DraftError> {
        let mut fields: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(json)?;
        let meta = fields.remove("metadata").map(|raw| serde_json::from_str::<Option<Meta>>(raw.get()));
        let mut text = |key: &str| -> Result<String, serde_json::Error> {
            fields.remove(key).map_or(Ok(String::new()), |raw| serde_json::from_str(raw.get()))
        };
        let (api_version, kind) = (text("apiVersion")?, text("kind")?);
        fields.retain(|_, raw| raw.get() != "null");
        for raw in fields.values_mut().filter(|raw| raw.get().contains(['\n', '\r'])) {
            *raw = serde_json::value::to_raw_value(&serde_json::from_str::<Value>(raw.get())?)?;
        }
        let mut meta = meta.transpose()?.flatten().unwrap_or_default();
        meta.labels = meta.labels.filter(|labels| !labels.is_empty());
        meta.annotations = meta.annotations.filter(|annotations| !annotations.is_empty());
        Ok(Self { meta, fields, api_version, kind })
    }

    /// Reads a value.
    pub fn from_value(value: &Value) -> Result<Self, DraftError> {
        Self::parse(&serde_json::to_vec(value)?)
    }

    /// Whether two say the same beside metadata and the given field.
    pub fn same_but(&self, other: &Self, but: &str) -> bool {
        let of = |draft: &Self| draft.fields.keys().filter(|key| *key != but).cloned().collect::<Vec<_>>();
        of(self) == of(other) && of(self).iter().all(|key| same(&self.fields[key], &other.fields[key]))
    }

    /// Takes a field over from another, also its absence.
    pub fn take(&mut self, field: &str, from: &Self) {
        match from.fields.get(field) {
            Some(raw) => self.fields.insert(field.to_owned(), raw.clone()),
            None => self.fields.remove(field),
        };
    }
}

fn same(a: &RawValue, b: &RawValue) -> bool {
    let value = |raw: &RawValue| serde_json::from_str::<Value>(raw.get()).ok();
    a.get() == b.get() || value(a) == value(b)
}

/// A stored object.
#[derive(Debug)]
pub struct Object {
    /// Its metadata.
    pub meta: Meta,
    /// The version at which it was written.
    pub revision: u64,
    /// Values of its own that a field selector may ask for.
    pub selectable: Vec<(&'static str, String)>,
    raw: Bytes,
    /// Where the text `"metadata"` begins, its value begins, and its value ends.
    places: [u32; 3],
}

impl Object {
    /// Encodes a draft at a revision, in the type's storage version.
    pub fn encode(kind: &Kind, mut draft: Draft, revision: u64) -> Self {
        draft.meta.resource_version = revision.to_string();
        let fields = &draft.fields;
        let size: usize = 400 + fields.iter().map(|(key, raw)| key.len() + raw.get().len() + 4).sum::<usize>();
        let mut out = Out { bytes: Vec::with_capacity(size), places: [0; 3] };
        let (api_version, name) = (quoted(&kind.api_version(&kind.storage)), quoted(&kind.kind));
        if kind.behaviour.typed {
            out.field("kind", &name);
            out.field("apiVersion", &api_version);
            out.metadata(&draft.meta, true);
            fields.iter().for_each(|(key, raw)| out.field(key, raw.get()));
        } else {
            let (kind_at, meta_at) = ("kind".to_owned(), "metadata".to_owned());
            out.field("apiVersion", &api_version);
            fields.range(..kind_at.clone()).for_each(|(key, raw)| out.field(key, raw.get()));
            out.field("kind", &name);
            fields.range(kind_at..meta_at.clone()).for_each(|(key, raw)| out.field(key, raw.get()));
            out.metadata(&draft.meta, false);
            fields.range(meta_at..).for_each(|(key, raw)| out.field(key, raw.get()));
        }
        out.bytes.push(b'}');
        let kind_of_secret = fields.get("type").filter(|_| kind.plural == "secrets" && kind.group.is_empty());
        let selectable = kind_of_secret.and_then(|raw| serde_json::from_str(raw.get()).ok()).map(|text| ("type", text));
        Self {
            meta: draft.meta,
            revision,
            selectable: selectable.into_iter().collect(),
            raw: out.bytes.into_boxed_slice().into(),
            places: out.places,
        }
    }

    /// The same with other metadata, at another revision: a copy of bytes.
    pub fn with_meta(&self, kind: &Kind, mut meta: Meta, revision: u64) -> Self {
        meta.resource_version = revision.to_string();
        let [label, start, end] = self.places.map(|place| place as usize);
        let mut encoded = Vec::with_capacity(end - start + 128);
        encode_meta(&mut encoded, &meta, kind.behaviour.typed);
        let places = [label as u32, start as u32, (start + encoded.len()) as u32];
        // Of its own size: a hundred thousand of these are kept.
        let bytes = [&self.raw[..start], &encoded, &self.raw[end..]].concat();
        Self { meta, revision, selectable: self.selectable.clone(), raw: bytes.into(), places }
    }

    /// The same at another revision.
    pub fn at(&self, kind: &Kind, revision: u64) -> Self {
        self.with_meta(kind, self.meta.clone(), revision)
    }

    /// Its key in the store, ordered as etcd orders it.
    pub fn key(&self) -> String {
        key_of(&self.meta.namespace, &self.meta.name)
    }

    /// A label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.meta.labels.as_ref()?.get(key).map(String::as_str)
    }

    /// Its JSON in the storage version.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// Its JSON in a served version; without conversion only `apiVersion` differs, which custom objects begin with.
    pub fn in_version(&self, kind: &Kind, version: &str) -> Bytes {
        if kind.behaviour.typed {
            return self.raw.clone();
        }
        let start = format!(r#"{{"apiVersion":{},"#, quoted(&kind.api_version(version)));
        if self.raw.starts_with(start.as_bytes()) {
            return self.raw.clone();
        }
        // No version has a comma in it.
        let end = self.raw.iter().position(|&byte| byte == b',').map_or(0, |comma| comma + 1);
        [start.as_bytes(), &self.raw[end..]].concat().into()
    }

    /// As an item of a list in a served version: items of built-in types do not say what they are.
    pub fn list_item(&self, kind: &Kind, version: &str) -> (&'static [u8], Bytes) {
        if kind.behaviour.typed {
            return (b"{", self.raw.slice(self.places[0] as usize..));
        }
        (b"", self.in_version(kind, version))
    }

    /// A draft of what it says.
    pub fn draft(&self) -> Draft {
        // It was encoded from one.
        Draft::parse(&self.raw).unwrap_or_else(|_| Draft {
            meta: self.meta.clone(),
            fields: BTreeMap::new(),
            api_version: String::new(),
            kind: String::new(),
        })
    }
}

/// `namespace/name`, or the name alone.
pub fn key_of(namespace: &str, name: &str) -> String {
    if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") }
}

/// A JSON string.
pub fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

struct Out {
    bytes: Vec<u8>,
    places: [u32; 3],
}

impl Out {
    fn label(&mut self, key: &str) {
        self.bytes.push(if self.bytes.is_empty() { b'{' } else { b',' });
        // Where `"metadata"` begins, once it is its turn.
        self.places[0] = self.bytes.len() as u32;
        self.bytes.extend_from_slice(quoted(key).as_bytes());
        self.bytes.push(b':');
    }

    fn field(&mut self, key: &str, value: &str) {
        let label = self.places[0];
        self.label(key);
        self.bytes.extend_from_slice(value.as_bytes());
        if self.places[2] > 0 {
            self.places[0] = label;
        }
    }

    fn metadata(&mut self, meta: &Meta, typed: bool) {
        self.label("metadata");
        self.places[1] = self.bytes.len() as u32;
        encode_meta(&mut self.bytes, meta, typed);
        self.places[2] = self.bytes.len() as u32;
    }
}

/// A Go struct's order of fields for built-in types, the order of keys for others.
fn encode_meta(bytes: &mut Vec<u8>, meta: &Meta, typed: bool) {
    // Strings, numbers and maps with string keys always serialize.
    let written = if typed {
        serde_json::to_writer(bytes, meta)
    } else {
        // `serde_json`'s maps are sorted.
        serde_json::to_value(meta).and_then(|sorted| serde_json::to_writer(bytes, &sorted))
    };
    debug_assert!(written.is_ok());
}
