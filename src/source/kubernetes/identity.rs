//! Who an object is that cannot be decoded: read leniently, from as much of its JSON as there is.
//!
//! Law: only names and versions are read; nothing else of the content is kept.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use tidegate_actors::id::{Name, ObjectKey, ResourceType, Scope};

/// What could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    pub namespace: Option<Name>,
    pub name: Option<Name>,
    pub version: Option<Name>,
    pub uid: Option<Name>,
}

impl Identity {
    /// Reads an object, or its beginning.
    pub fn of_object(json: &[u8]) -> Self {
        Self::at(&["metadata"], json)
    }

    /// Reads a watch frame, or its beginning.
    pub fn of_frame(json: &[u8]) -> Self {
        Self::at(&["object", "metadata"], json)
    }

    fn at(path: &[&str], json: &[u8]) -> Self {
        let mut found = Self::default();
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        // Where it breaks off does not matter: what was read until then stands in `found`.
        let _ = Walk { path, found: &mut found }.deserialize(&mut deserializer);
        found
    }

    /// The key, if enough could be read.
    pub fn key(&self, source: &Name, resource_type: &ResourceType) -> Option<ObjectKey> {
        let name = self.name.clone().filter(|name| !name.is_empty())?;
        let namespace = match resource_type.scope() {
            Scope::Cluster => None,
            Scope::Namespaced => Some(self.namespace.clone().filter(|namespace| !namespace.is_empty())?),
        };
        Some(ObjectKey { source: source.clone(), namespace, name })
    }
}

/// Goes down a path of keys, then reads the members that make an identity.
struct Walk<'a> {
    path: &'a [&'a str],
    found: &'a mut Identity,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match self.path.split_first() {
                Some((first, rest)) if *first == key => {
                    map.next_value_seed(Walk { path: rest, found: self.found })?;
                    // Nothing behind it is of interest.
                    return Ok(());
                }
                None if key == "name" => self.found.name = Some(map.next_value::<String>()?.into()),
                None if key == "namespace" => self.found.namespace = Some(map.next_value::<String>()?.into()),
                None if key == "uid" => self.found.uid = Some(map.next_value::<String>()?.into()),
                None if key == "resourceVersion" => self.found.version = Some(map.next_value::<String>()?.into()),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_truncated_frame_still_says_whose_it_is() {
        let head = br#"{"type":"ADDED","object":{"kind":"Secret","metadata":{"name":"a","namespace":"n","uid":"u","resourceVersion":"7","x":{"y"#;
        let found = Identity::of_frame(head);
        assert_eq!(
            [found.name.as_deref(), found.namespace.as_deref(), found.uid.as_deref(), found.version.as_deref()],
            [Some("a"), Some("n"), Some("u"), Some("7")]
        );
    }

    #[test]
    fn metadata_of_a_wrong_type_hides_only_what_comes_after_it() {
        let found = Identity::of_object(br#"{"metadata":{"labels":{"a":1},"name":"a","namespace":7}}"#);
        assert_eq!(found.name.as_deref(), Some("a"));
        assert_eq!(found.namespace, None);
        assert_eq!(Identity::of_object(b"nonsense"), Identity::default());
    }

    #[test]
    fn a_key_needs_a_namespace_where_the_type_has_one() {
        let found = Identity { name: Some("a".into()), ..Identity::default() };
        let of = |scope| ResourceType::new("", "v1", "Thing", "things", scope);
        assert_eq!(found.key(&"c".into(), &of(Scope::Cluster)), Some(ObjectKey::cluster("c", "a")));
        assert_eq!(found.key(&"c".into(), &of(Scope::Namespaced)), None);
    }
}
