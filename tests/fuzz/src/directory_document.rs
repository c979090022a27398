//! Manifest files through the directory's reader: YAML or JSON, one document or many.
//!
//! Oracle: whatever is in a file, what is wrong has a line of it and a reason, and a good document before or behind it,
//! and one in the next file, is read all the same; one object written as JSON, as indented JSON, as YAML whose
//! style is that of JSON and as YAML in blocks is the same object.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use tidegate::resource;
use tidegate::source::directory::{Loaded, Options, load};
use tidegate::source::schema::{Catalogue, Entry};
use tidegate_actors::env::{Env, SeededRng, SystemNet};
use tidegate_actors::id::{ResourceType, Scope};
use tidegate_actors::testing::{MemoryDisk, VirtualClock};

const FOLDER: &str = "/manifests";

/// The first byte says how the rest, a file, is named.
pub fn run(data: &[u8]) {
    let Some((form, file)) = data.split_first() else { return };
    survives(file, form & 1 == 1);
    if let Ok(value) = serde_json::from_slice::<Value>(file) {
        same_in_all_styles(value);
    }
}

fn survives(file: &[u8], json: bool) {
    let path = if json { "/manifests/a.json" } else { "/manifests/a.yaml" };
    let beside = read(&[(path, file), ("/manifests/b.yaml", bystander("beside").as_bytes())]);
    check_places(&beside, file);
    if String::from_utf8_lossy(file).contains("bystander") {
        // Another definition of the object, or one that is written so that we cannot tell.
        return;
    }
    assert!(has_bystander(&beside, "beside"), "lost with the file before it");
    let (before, behind) = (bystander("before"), bystander("behind"));
    if json {
        // What is behind a place that is not JSON is lost, and said to be.
        let within = read(&[(path, &[before.as_bytes(), file].concat())]);
        assert!(has_bystander(&within, "before"), "lost with what is behind it");
        return;
    }
    let separator = b"\n...\n---\n";
    let within = read(&[(path, &[before.as_bytes(), separator, file, separator, behind.as_bytes()].concat())]);
    assert!(has_bystander(&within, "before"), "lost with what is behind it");
    assert!(has_bystander(&within, "behind"), "lost with what is before it");
}

fn bystander(place: &str) -> String {
    let metadata = format!(r#""metadata":{{"name":"bystander-{place}","namespace":"demo"}}"#);
    format!(r#"{{"apiVersion":"example.com/v1","kind":"Thing",{metadata}}}"#)
}

fn has_bystander(loaded: &Loaded, place: &str) -> bool {
    loaded.objects.values().flatten().any(|object| object.key().name.strip_prefix("bystander-") == Some(place))
}

fn check_places(loaded: &Loaded, file: &[u8]) {
    let lines = file.split(|byte| *byte == b'\n' || *byte == b'\r').count();
    for problem in &loaded.problems {
        assert!(!problem.reason.is_empty());
        let line = problem.place.rsplit_once(':').and_then(|(_, line)| line.parse::<usize>().ok());
        assert!(line.is_some_and(|line| (1..=lines).contains(&line)), "{problem}: {lines} lines");
    }
}

/// What a file is read as: its objects, their content, and how much is wrong.
fn same_in_all_styles(mut value: Value) {
    if !value.is_object() || depth(&value) > 24 || !is_plain(&value) {
        return;
    }
    // Any kind will do, and of this one everything is taken.
    if value["kind"].is_null() {
        value["kind"] = "Thing".into();
        value["apiVersion"] = "example.com/v1".into();
    }
    let text = value.to_string();
    let expected = read(&[("/manifests/a.json", text.as_bytes())]);
    let pretty = serde_json::to_string_pretty(&value).expect("a value is written");
    let mut blocks = String::new();
    block(&value, 0, &mut blocks);
    for (path, text) in [("a.json", &pretty), ("a.yaml", &text), ("a.yaml", &pretty), ("a.yaml", &blocks)] {
        let found = read(&[(&format!("{FOLDER}/{path}"), text.as_bytes())]);
        assert_eq!(
            content(&found),
            content(&expected),
            "{path}:\n{text}\n{:?} {:?}",
            found.problems,
            expected.problems
        );
        assert_eq!(found.unknown, expected.unknown);
    }
}

fn content(loaded: &Loaded) -> Vec<(String, Value)> {
    let object = |object: &Arc<tidegate_actors::object::Object>| {
        (object.object_ref().to_string(), serde_json::from_slice(object.raw()).expect("raw is JSON"))
    };
    loaded.objects.values().flatten().map(object).collect()
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// YAML has its own mind about some characters, about long keys, and about a key that merges.
fn is_plain(value: &Value) -> bool {
    let plain = |text: &str| text.chars().all(|c| !c.is_control() && !('\u{fff0}'..='\u{ffff}').contains(&c));
    match value {
        Value::String(text) => plain(text),
        Value::Array(items) => items.iter().all(is_plain),
        Value::Object(fields) => {
            fields.iter().all(|(key, value)| key.len() <= 256 && key != "<<" && plain(key) && is_plain(value))
        }
        Value::Number(number) => number.is_i64() || number.is_u64(),
        _ => true,
    }
}

/// YAML in blocks, each text in double quotes.
fn block(value: &Value, indent: usize, out: &mut String) {
    let pad = " ".repeat(indent);
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                let _ = write!(out, "\n{pad}{}:", Value::from(&**key));
                block(value, indent + 2, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                let _ = write!(out, "\n{pad}-");
                block(item, indent + 2, out);
            }
        }
        scalar => {
            let _ = write!(out, " {scalar}");
        }
    }
}

fn read(files: &[(&str, &[u8])]) -> Loaded {
    let disk = MemoryDisk::default();
    for (path, content) in files {
        disk.put(*path, *content);
    }
    let env = Env {
        clock: Arc::new(VirtualClock::new()),
        rng: Arc::new(SeededRng::new(1)),
        disk: Arc::new(disk),
        net: Arc::new(SystemNet),
        faults: None,
    };
    load(Options::new("files", Path::new(FOLDER)), &env, catalogue()).expect("the folder is there")
}

fn catalogue() -> Catalogue {
    thread_local! {
        static KNOWN: Catalogue = known();
    }
    KNOWN.with(Catalogue::clone)
}

fn known() -> Catalogue {
    let mut catalogue = Catalogue::new();
    for kind in resource::kinds() {
        let (resource_type, fails_closed) = (kind.resource_type, kind.fails_closed);
        if catalogue.get(resource_type.group(), resource_type.kind()).is_none() {
            catalogue.insert(Entry { resource_type, schema: Some(Arc::new(kind.check)), fails_closed });
        }
    }
    catalogue.with_unchecked(ResourceType::new("example.com", "v1", "Thing", "things", Scope::Namespaced))
}
