//! The single pass over an object's JSON against serde_json's reading of the same.
//!
//! Oracle: what is decoded is JSON; where serde_json can read it too, name, namespace, uid, versions, labels and owners
//! are what it finds, and the raw bytes that are kept are the original without what the transform removes, and nothing
//! else. What serde_json reads as an object with good metadata is decoded. A place in an error lies in the input.

use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use tidegate_actors::id::{ResourceType, Scope};
use tidegate_actors::object::{DecodeError, Decoder, Object, Transform};

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The first byte says what the decoder is to do; the rest is the object.
pub fn run(data: &[u8]) {
    let Some((settings, json)) = data.split_first() else { return };
    let transform = Transform { managed_fields: settings & 1 != 0, last_applied: settings & 2 != 0 };
    let scope = if settings & 4 != 0 { Scope::Cluster } else { Scope::Namespaced };
    let resource_type = ResourceType::new("example.com", "v1", "Thing", "things", scope);
    let mut decoder = Decoder::new("demo".into(), resource_type).with_transform(transform);
    let default = (settings & 8 != 0).then_some("default");
    if let Some(namespace) = default {
        decoder = decoder.with_default_namespace(namespace.into());
    }
    let decoded = decoder.decode(json);
    let value = serde_json::from_slice::<Value>(json).ok();
    match decoded {
        Ok(object) => {
            assert!(serde_json::from_slice::<IgnoredAny>(json).is_ok(), "what was decoded is JSON");
            assert!(serde_json::from_slice::<IgnoredAny>(object.raw()).is_ok(), "what is kept of it is JSON");
            if let Some(value) = value {
                agree(&object, value, transform, scope, default);
            }
        }
        Err(error) => {
            place_is_inside(&error, json);
            let good = value.is_some_and(|value| is_good(&value, scope, default));
            assert!(!good, "refused, and serde_json finds nothing wrong: {error}");
        }
    }
}

fn place_is_inside(error: &DecodeError, json: &[u8]) {
    assert!(error.offset() <= json.len(), "{error}: behind the end");
    let before = &json[..error.offset()];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    assert_eq!(error.line(), line, "{error}");
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    assert_eq!(error.column(), column, "{error}");
}

fn text<'a>(metadata: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    metadata.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn agree(object: &Object, mut value: Value, transform: Transform, scope: Scope, default: Option<&str>) {
    let metadata = value["metadata"].as_object().expect("an object was decoded, so it has metadata");
    assert_eq!(Some(&*object.key().name), text(metadata, "name"));
    let namespace = match scope {
        Scope::Cluster => None,
        Scope::Namespaced => text(metadata, "namespace").or(default),
    };
    assert_eq!(object.key().namespace.as_deref(), namespace);
    assert_eq!(object.uid(), text(metadata, "uid"));
    assert_eq!(object.resource_version(), text(metadata, "resourceVersion"));
    assert_eq!(object.generation(), metadata.get("generation").and_then(Value::as_i64).unwrap_or(0));
    assert_eq!(object.is_deleting(), metadata.get("deletionTimestamp").is_some_and(|value| !value.is_null()));
    let nothing = Map::new();
    let labels = metadata.get("labels").and_then(Value::as_object).unwrap_or(&nothing);
    assert!(object.labels().eq(labels.iter().map(|(key, value)| (&**key, value.as_str().unwrap_or("")))));
    for (key, value) in labels {
        assert_eq!(object.label(key), Some(value.as_str().unwrap_or("")));
    }
    let owners = metadata.get("ownerReferences").and_then(Value::as_array);
    let owners: Vec<&Value> = owners.into_iter().flatten().collect();
    assert_eq!(object.owners().len(), owners.len());
    for (owner, value) in object.owners().iter().zip(owners) {
        let field = |key: &str| value[key].as_str().unwrap_or("");
        assert_eq!((&*owner.api_version, &*owner.kind), (field("apiVersion"), field("kind")));
        assert_eq!((&*owner.name, &*owner.uid), (field("name"), field("uid")));
    }
    if let Some(metadata) = value["metadata"].as_object_mut() {
        if transform.managed_fields {
            metadata.remove("managedFields");
        }
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut)
            && transform.last_applied
        {
            annotations.remove(LAST_APPLIED);
        }
    }
    let raw: Value = serde_json::from_slice(object.raw()).expect("less of what can be read can be read");
    assert_eq!(raw, value, "what is kept is all but what is cut");
}

/// Whether the metadata is beyond doubt what it must be. A repeated key hides what stands before it from serde_json, so
/// there it is not beyond doubt.
fn is_good(value: &Value, scope: Scope, default: Option<&str>) -> bool {
    let Some(metadata) = value.get("metadata").and_then(Value::as_object) else { return false };
    let known = ["name", "namespace", "uid", "resourceVersion", "annotations"];
    let is_name = |text: &str| !text.contains(|c: char| c == '/' || c.is_control());
    let namespaced = scope == Scope::Cluster || default.is_some() || text(metadata, "namespace").is_some();
    value.as_object().is_some_and(|fields| fields.len() == 1)
        && namespaced
        && text(metadata, "name").is_some_and(is_name)
        && text(metadata, "namespace").is_none_or(is_name)
        && metadata.iter().all(|(key, value)| {
            known.contains(&&**key) && (if key == "annotations" { value.is_null() } else { value.is_string() })
        })
}
