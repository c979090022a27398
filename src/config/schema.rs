//! The JSON Schema of the config file, with the sections of everything registered.

use std::collections::BTreeMap;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::Config;
use super::load::Loader;
use super::registry::Kind;

impl Loader {
    /// The JSON Schema (2020-12) of the config files that this loader accepts.
    pub fn schema(&self) -> Value {
        let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
        let mut generator = SchemaGenerator::new(settings);
        let mut root: Value = generator.root_schema_for::<Config>().into();
        let sources = self.registry.sources.iter().map(|(kind, of)| source_schema(kind, of, &mut generator));
        let sources = json!({
            "description": "Where objects come from, in the order in which references are resolved and conflicts decided.",
            "type": "array",
            "default": [],
            "items": { "oneOf": sources.collect::<Vec<_>>() },
        });
        let correlate = named_schema(&self.registry.correlations, &mut generator);
        let others = named_schema(&self.registry.publishers, &mut generator);
        root["title"] = json!("Tidegate config");
        root["properties"]["sources"] = sources;
        root["properties"]["correlate"] = json!({
            "description": "Sections of registered correlations, by name.",
            "type": "object",
            "default": {},
            "properties": correlate,
            "additionalProperties": false,
        });
        if let Some(publish) = root["properties"]["publish"]["properties"].as_object_mut() {
            publish.extend(others);
        }
        root["properties"]["publish"]["additionalProperties"] = json!(false);
        root
    }
}

/// The keys of one kind of source, with the two that all have.
fn source_schema(kind: &str, of: &Kind, generator: &mut SchemaGenerator) -> Value {
    let mut schema: Value = (of.schema)(generator).into();
    schema["properties"]["name"] = json!({
        "description": "Its name, which stands in the identity of every object from it.",
        "type": "string",
        "pattern": "^[A-Za-z0-9._-]+$",
    });
    schema["properties"]["kind"] = json!({ "description": "What kind of source it is.", "const": kind });
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    schema["required"] = [json!("name"), json!("kind")].into_iter().chain(required).collect();
    schema
}

fn named_schema(kinds: &BTreeMap<String, Kind>, generator: &mut SchemaGenerator) -> Map<String, Value> {
    kinds.iter().map(|(name, of)| (name.clone(), (of.schema)(generator).into())).collect()
}
