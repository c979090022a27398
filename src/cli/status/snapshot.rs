//! The snapshot on disk in a line: how large and how old it is, what of it was of use, what is wrong with it.

use std::time::Duration;

use serde_json::Value;

/// Spells what `/api/v1/snapshot` says.
pub(super) fn line(snapshot: &Value) -> String {
    if snapshot["enabled"] != true {
        let reason = snapshot["reason"].as_str().unwrap_or("nothing is kept");
        return format!("snapshot: none: {reason}");
    }
    let types: Vec<&Value> = snapshot["types"].as_array().into_iter().flatten().collect();
    let kept = types.iter().filter(|of| of["bytes"].as_u64().unwrap_or_default() > 0).count();
    let bytes = size(snapshot["bytes"].as_u64().unwrap_or_default());
    let written = seconds(&snapshot["written_seconds"]);
    let written = written.map_or("not written in this run".to_owned(), |age| format!("written {} ago", age_of(age)));
    let mut parts = vec![format!("{kept} of {} types, {bytes}, {written}", types.len())];
    let restored: Vec<&Value> = types.iter().map(|of| &of["restored"]).filter(|restored| !restored.is_null()).collect();
    if !restored.is_empty() {
        let objects: u64 = restored.iter().filter_map(|restored| restored["objects"].as_u64()).sum();
        let oldest = restored.iter().filter_map(|restored| seconds(&restored["age_seconds"])).max();
        let age = oldest.map_or(String::new(), |age| format!(", up to {} old", age_of(age)));
        parts.push(format!("this run began with {} types and {objects} objects of it{age}", restored.len()));
    }
    let named = |which: &dyn Fn(&Value) -> bool| {
        let names = types.iter().filter(|of| which(of)).filter_map(|of| of["name"].as_str());
        names.collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
    };
    let left_out = named(&|of| of["left_out"] == true);
    if !left_out.is_empty() {
        parts.push(format!("left out for being secret: {left_out}"));
    }
    if let Some(behind) = seconds(&snapshot["behind_seconds"]) {
        parts.push(format!("NOT UP TO DATE for {}", age_of(behind)));
    }
    let list = |key: &str| {
        let texts = snapshot[key].as_array().into_iter().flatten().filter_map(Value::as_str);
        texts.collect::<Vec<_>>().join(", ")
    };
    let (problems, aside) = (list("problems"), list("set_aside"));
    if !problems.is_empty() {
        parts.push(problems);
    }
    if !aside.is_empty() {
        parts.push(format!("corrupt files were set aside: {aside}"));
    }
    format!("snapshot: {}", parts.join("; "))
}

fn seconds(value: &Value) -> Option<Duration> {
    value.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

/// In its largest unit.
fn age_of(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min", seconds / 60),
        seconds @ 3600..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes.div_ceil(1024)),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}
