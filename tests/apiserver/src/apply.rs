//! Server-side apply, as far as controllers use it: who applies a field owns it, a field that a manager no longer
//! applies goes, and a field that another manager applied with another value is a conflict unless it is forced.
//!
//! Less than the real one: lists are atomic whatever their schema says, since there are no schemas; and only what is
//! applied is tracked, so that an update or a patch takes no field over from an applier.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::status::Status;

/// The path of a field: the keys down to it.
type Path = Vec<String>;

/// One applier, as `managedFields` keeps it.
#[derive(Clone)]
struct Manager {
    name: String,
    subresource: String,
    api_version: String,
    time: String,
    fields: BTreeSet<Path>,
}

/// Who applies, and how.
pub struct Applier<'a> {
    /// `fieldManager`.
    pub manager: &'a str,
    /// `status`, or empty.
    pub subresource: &'a str,
    /// Whether conflicts are overridden.
    pub force: bool,
    /// Now.
    pub now: &'a str,
}

/// The object after an apply; `object` is what is there, or nothing.
pub fn applied(object: Option<Value>, config: &Value, applier: &Applier) -> Result<Value, Status> {
    if applier.manager.is_empty() {
        let problem = ("FieldValueRequired", "Required value: is required for apply patch".to_owned(), "fieldManager");
        return Err(Status::invalid("meta.k8s.io", "PatchOptions", "", &[problem]));
    }
    let mut object = object.unwrap_or_else(|| json!({}));
    let mut managers = read_managers(&object);
    let mut fields = BTreeSet::new();
    leaves(config, &mut Vec::new(), &mut fields);
    fields.retain(|path| !is_identity(path));

    let is_me = |manager: &Manager| manager.name == applier.manager && manager.subresource == applier.subresource;
    let mut conflicts = Vec::new();
    for manager in managers.iter_mut().filter(|manager| !is_me(manager)) {
        let taken: Vec<Path> = manager.fields.intersection(&fields).cloned().collect();
        for path in taken.into_iter().filter(|path| at(&object, path) != at(config, path)) {
            if applier.force {
                manager.fields.remove(&path);
            } else {
                conflicts.push((format!(".{}", path.join(".")), manager.name.clone()));
            }
        }
    }
    if !conflicts.is_empty() {
        return Err(Status::apply_conflict(&conflicts));
    }

    let before = managers.iter().find(|manager| is_me(manager)).map(|manager| manager.fields.clone());
    let others: BTreeSet<Path> = managers.iter().filter(|m| !is_me(m)).flat_map(|m| m.fields.clone()).collect();
    for path in before.iter().flatten().filter(|path| !fields.contains(*path) && !others.contains(*path)) {
        remove(&mut object, path);
    }
    json_patch::merge(&mut object, config);

    let api_version = config["apiVersion"].as_str().unwrap_or_default().to_owned();
    let changed = before.as_ref() != Some(&fields);
    match managers.iter_mut().find(|manager| is_me(manager)) {
        Some(me) if changed => *me = Manager { fields, time: applier.now.to_owned(), api_version, ..me.clone() },
        Some(_) => {}
        None => managers.push(Manager {
            name: applier.manager.to_owned(),
            subresource: applier.subresource.to_owned(),
            api_version,
            time: applier.now.to_owned(),
            fields,
        }),
    }
    managers.retain(|manager| !manager.fields.is_empty());
    write_managers(&mut object, &managers);
    Ok(object)
}

/// What every applied configuration names, and nobody owns.
fn is_identity(path: &Path) -> bool {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    matches!(
        path.as_slice(),
        ["apiVersion" | "kind"]
            | ["metadata", "name" | "namespace" | "uid" | "resourceVersion" | "managedFields" | "creationTimestamp"]
    )
}

fn leaves(value: &Value, path: &mut Path, found: &mut BTreeSet<Path>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                path.push(key.clone());
                leaves(value, path, found);
                path.pop();
            }
        }
        _ => {
            found.insert(path.clone());
        }
    }
}

fn at<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

/// Removes a field, and what is empty without it.
fn remove(value: &mut Value, path: &[String]) {
    let (Some(fields), Some((key, rest))) = (value.as_object_mut(), path.split_first()) else { return };
    if rest.is_empty() {
        fields.remove(key);
        return;
    }
    if let Some(inner) = fields.get_mut(key) {
        remove(inner, rest);
        if inner.as_object().is_some_and(Map::is_empty) {
            fields.remove(key);
        }
    }
}

fn read_managers(object: &Value) -> Vec<Manager> {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let applied = entries.into_iter().flatten().filter(|entry| entry["operation"] == "Apply");
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    applied
        .map(|entry| {
            let mut fields = BTreeSet::new();
            leaves(&entry["fieldsV1"], &mut Vec::new(), &mut fields);
            let unmarked = |key: String| key.strip_prefix("f:").unwrap_or(&key).to_owned();
            Manager {
                name: text(entry, "manager"),
                subresource: text(entry, "subresource"),
                api_version: text(entry, "apiVersion"),
                time: text(entry, "time"),
                fields: fields.into_iter().map(|path| path.into_iter().map(unmarked).collect()).collect(),
            }
        })
        .collect()
}

fn write_managers(object: &mut Value, managers: &[Manager]) {
    let entries = managers.iter().map(|manager| {
        let mut tree = json!({});
        for path in &manager.fields {
            let mut place = &mut tree;
            for key in path {
                place = &mut place[format!("f:{key}")];
            }
            if place.is_null() {
                *place = json!({});
            }
        }
        let mut entry = json!({
            "manager": manager.name, "operation": "Apply", "apiVersion": manager.api_version, "time": manager.time,
            "fieldsType": "FieldsV1", "fieldsV1": tree,
        });
        if !manager.subresource.is_empty() {
            entry["subresource"] = manager.subresource.clone().into();
        }
        entry
    });
    let kept = object.pointer("/metadata/managedFields").and_then(Value::as_array).cloned().unwrap_or_default();
    let updates = kept.into_iter().filter(|entry| entry["operation"] != "Apply");
    let all: Vec<Value> = entries.chain(updates).collect();
    object["metadata"]["managedFields"] = all.into();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(object: Option<Value>, manager: &str, force: bool, config: &Value) -> Result<Value, Status> {
        applied(object, config, &Applier { manager, subresource: "status", force, now: "2026-01-01T00:00:00Z" })
    }

    #[test]
    fn a_field_that_is_applied_no_more_goes_and_others_fields_stay() {
        let first = apply(None, "a", false, &json!({"status": {"x": 1, "y": {"z": 2}}})).unwrap();
        let second = apply(Some(first), "b", false, &json!({"status": {"w": 3}})).unwrap();
        let third = apply(Some(second), "a", false, &json!({"status": {"x": 1}})).unwrap();
        assert_eq!(third["status"], json!({"x": 1, "w": 3}));
    }

    #[test]
    fn a_field_of_another_is_a_conflict_unless_it_is_forced() {
        let first = apply(None, "a", false, &json!({"status": {"x": 1}})).unwrap();
        let status = apply(Some(first.clone()), "b", false, &json!({"status": {"x": 2}})).unwrap_err();
        assert_eq!(status.message, "Apply failed with 1 conflict: conflict with \"a\": .status.x");
        assert_eq!(status.code, Some(409));
        let forced = apply(Some(first.clone()), "b", true, &json!({"status": {"x": 2}})).unwrap();
        assert_eq!(forced["status"], json!({"x": 2}));
        let shared = apply(Some(first), "b", false, &json!({"status": {"x": 1}}));
        assert!(shared.is_ok(), "the same value is shared");
    }

    #[test]
    fn applying_the_same_twice_changes_nothing() {
        let first = apply(None, "a", false, &json!({"status": {"x": []}})).unwrap();
        assert_eq!(apply(Some(first.clone()), "a", false, &json!({"status": {"x": []}})).unwrap(), first);
    }
}
