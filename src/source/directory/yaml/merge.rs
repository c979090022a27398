//! What a merge key (`<<`) brings, read back from the JSON that was written for its value.

use serde_json::value::RawValue;

/// The mappings behind a merge key: one, or a list of them.
pub(super) fn merge_sources(json: &[u8]) -> Result<Vec<Entries<'_>>, String> {
    let parsed = match json.first() {
        Some(b'{') => serde_json::from_slice::<Entries<'_>>(json).map(|one| vec![one]),
        _ => serde_json::from_slice::<Vec<Entries<'_>>>(json),
    };
    parsed.map_err(|_| "a merge key (`<<`) needs a mapping or a list of mappings".to_owned())
}

/// The entries of a JSON object, in order.
pub(super) struct Entries<'a>(Vec<(String, &'a RawValue)>);

impl<'a> IntoIterator for Entries<'a> {
    type Item = (String, &'a RawValue);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'de> serde::Deserialize<'de> for Entries<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a mapping")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}
