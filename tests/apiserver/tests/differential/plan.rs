//! Operations at random, from a seed: on a handful of names, so that they meet.

use serde_json::{Value, json};
use tidegate_actors::env::{Rng, SeededRng};

/// Which of the two types: a built-in one, and a custom one with a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// ConfigMaps.
    Map,
    /// Widgets.
    Widget,
}

/// With which version an update is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// The one that the object has.
    Current,
    /// One that it had, or never.
    Outdated,
    /// None at all.
    Absent,
}

/// One operation.
#[derive(Clone, Debug)]
pub enum Operation {
    /// POST.
    Create { of: Type, name: String, labels: Value, value: u64, finalizer: bool },
    /// PUT.
    Update { of: Type, name: String, labels: Value, value: u64, version: Version },
    /// PATCH, of the object or its status.
    Patch { of: Type, name: String, json_patch: bool, status: bool, body: Value },
    /// Apply on the status.
    Apply { name: String, manager: &'static str, force: bool, status: Value },
    /// DELETE.
    Delete { of: Type, name: String },
    /// DELETE of a collection.
    DeleteCollection { of: Type, selector: String },
    /// GET of all, page by page.
    List { of: Type, query: String, limit: usize },
    /// GET of one.
    Get { of: Type, name: String },
    /// GET of something that is not right, path behind the namespace.
    Odd { path: &'static str },
}

const LABELS: [&str; 3] = ["x", "y", "z"];
const SELECTORS: [&str; 7] = [
    "",
    "labelSelector=app%3Dx",
    "labelSelector=app!%3Dx",
    "labelSelector=app%20in%20(x,y)",
    "labelSelector=app%20notin%20(x),app",
    "fieldSelector=metadata.name%3Do1",
    "labelSelector=!app",
];
const ODD: [&str; 9] = [
    "configmaps?resourceVersionMatch=Exact",
    "configmaps?resourceVersionMatch=Exact&resourceVersion=0",
    "configmaps?sendInitialEvents=true",
    "configmaps?watch=true&sendInitialEvents=true",
    "configmaps?fieldSelector=data.value%3D1",
    "widgets?fieldSelector=spec.size%3D1",
    "widgets/none/status",
    "gadgets",
    "configmaps?resourceVersionMatch=Nearly&resourceVersion=1",
];

fn pick<T: Clone>(rng: &SeededRng, all: &[T]) -> T {
    all[rng.below(all.len() as u64) as usize].clone()
}

fn labels(rng: &SeededRng) -> Value {
    match rng.below(4) {
        0 => json!({}),
        _ => json!({"app": pick(rng, &LABELS)}),
    }
}

/// The next operation.
pub fn operation(rng: &SeededRng) -> Operation {
    let of = pick(rng, &[Type::Map, Type::Widget]);
    let name = format!("o{}", rng.below(6));
    let value = rng.below(4);
    match rng.below(20) {
        0..6 => Operation::Create { of, name, labels: labels(rng), value, finalizer: rng.below(6) == 0 },
        6..9 => {
            let version = pick(rng, &[Version::Current, Version::Current, Version::Outdated, Version::Absent]);
            Operation::Update { of, name, labels: labels(rng), value, version }
        }
        9..13 => patch(rng, of, name, value),
        13 => Operation::Apply {
            name,
            manager: pick(rng, &["first", "second"]),
            force: rng.below(2) == 0,
            status: pick(rng, &[json!({"a": value}), json!({"a": value, "b": {"c": value}}), json!({"d": [value]})]),
        },
        14..16 => Operation::Delete { of, name },
        16 if rng.below(3) == 0 => Operation::DeleteCollection { of, selector: pick(rng, &SELECTORS[1..]).to_owned() },
        16..18 => Operation::List { of, query: pick(rng, &SELECTORS).to_owned(), limit: rng.below(4) as usize },
        18 => Operation::Get { of, name },
        _ => Operation::Odd { path: pick(rng, &ODD) },
    }
}

fn patch(rng: &SeededRng, of: Type, name: String, value: u64) -> Operation {
    let text = value.to_string();
    let content = match of {
        Type::Map => json!({"data": {"value": text}}),
        Type::Widget => json!({"spec": {"size": value}}),
    };
    let status = of == Type::Widget && rng.below(3) == 0;
    let path = if of == Type::Map { "/data/value" } else { "/spec/size" };
    let inner = if of == Type::Map { json!(text) } else { json!(value) };
    let (json_patch, body) = match rng.below(6) {
        _ if status => (false, json!({"status": {"ready": value}})),
        0 => (true, json!([{"op": "replace", "path": path, "value": inner}])),
        1 => (false, json!({"metadata": {"finalizers": null}})),
        2 => (false, json!({"metadata": {"labels": {"app": pick(rng, &LABELS)}}})),
        3 => (false, json!({"metadata": {"labels": null, "annotations": {"note": text}}})),
        _ => (false, content),
    };
    Operation::Patch { of, name, json_patch, status, body }
}
