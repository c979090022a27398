//! Objects as the API may show them: what is secret is replaced, whatever else the object says about itself.

use serde_json::{Map, Value};
use tidegate_actors::id::ResourceType;
use tidegate_actors::object::Object;

/// What stands in the place of a secret.
const REDACTED: &str = "<redacted>";

/// Holds the object as it was last applied, data included.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// An object's JSON without what is secret. One whose JSON cannot be parsed is shown by its name alone.
pub fn redacted(object: &Object) -> Value {
    let Ok(mut value) = serde_json::from_slice::<Value>(object.raw()) else {
        return serde_json::json!({ "metadata": { "name": &*object.key().name } });
    };
    if let Some(annotations) = value.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        hide_key(annotations, LAST_APPLIED);
    }
    if is_secret(object.resource_type(), &value) {
        hide_secret(&mut value);
    }
    value
}

/// By its type or by its own word, either suffices: a Secret in a file of another type is still one.
fn is_secret(resource_type: &ResourceType, value: &Value) -> bool {
    let core_secrets = resource_type.group().is_empty() && resource_type.plural() == "secrets";
    core_secrets || resource_type.kind() == "Secret" || value["kind"] == "Secret"
}

/// Keeps the names of keys, and what is known to be harmless; hides every other value.
fn hide_secret(value: &mut Value) {
    let Some(object) = value.as_object_mut() else { return };
    for (key, inside) in object.iter_mut() {
        match key.as_str() {
            "apiVersion" | "kind" | "type" | "immutable" => {}
            "metadata" => {
                // Tools keep hashes, and sometimes whole contents, in annotations.
                if let Some(annotations) = inside.get_mut("annotations") {
                    hide_values(annotations);
                }
            }
            _ => hide_values(inside),
        }
    }
}

/// Replaces the values of a mapping; anything else as a whole.
fn hide_values(value: &mut Value) {
    match value {
        Value::Object(entries) => entries.values_mut().for_each(|value| *value = Value::from(REDACTED)),
        Value::Null => {}
        other => *other = Value::from(REDACTED),
    }
}

fn hide_key(entries: &mut Map<String, Value>, key: &str) {
    if let Some(value) = entries.get_mut(key) {
        *value = Value::from(REDACTED);
    }
}
