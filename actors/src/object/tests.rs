//! What a decoded object is, compared with what `serde_json` makes of the same text.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::id::Scope;

fn mk_type(scope: Scope) -> ResourceType {
    ResourceType::new("example.test", "v1", "Thing", "things", scope)
}

fn mk_decoder() -> Decoder {
    Decoder::new("demo".into(), mk_type(Scope::Namespaced)).with_default_namespace("default".into())
}

fn decode(text: &str) -> Result<Object, DecodeError> {
    mk_decoder().decode(text)
}

fn lean(text: &str) -> String {
    let object = mk_decoder().with_transform(Transform::LEAN).decode(text).unwrap();
    String::from_utf8(object.raw().to_vec()).unwrap()
}

#[test]
fn the_metadata_is_read_in_the_pass_over_the_bytes() {
    let text = r#" {"kind":"Thing","spec":{"metadata":{"name":"decoy"}},"metadata":{
        "name":"a","namespace":"shop","uid":"u-1","resourceVersion":"17","generation":3,
        "creationTimestamp":"1970-01-01T00:01:00Z","deletionTimestamp":"2026-01-01T00:00:00Z",
        "labels":{"z":"1","app":"cart \u0041","n":null},
        "ownerReferences":[{"apiVersion":"v1","kind":"Service","name":"s","uid":"u-2","controller":true}]},"x":[1,-0.5e+3]} "#;
    let object = decode(text).unwrap();
    assert_eq!(object.key(), &ObjectKey::namespaced("demo", "shop", "a"));
    assert_eq!((object.uid(), object.resource_version()), (Some("u-1"), Some("17")));
    assert_eq!((object.generation(), object.created(), object.is_deleting()), (3, 60, true));
    let labels: Vec<_> = object.labels().collect();
    assert_eq!(labels, [("app", "cart A"), ("n", ""), ("z", "1")]);
    assert_eq!(object.label("app"), Some("cart A"));
    assert_eq!(object.label("ap"), None);
    let owner = &object.owners()[0];
    assert_eq!((&*owner.api_version, &*owner.kind, &*owner.name, &*owner.uid), ("v1", "Service", "s", "u-2"));
    assert_eq!(object.raw(), text);
}

#[test]
fn the_raw_bytes_are_a_copy_that_pins_nothing() {
    let page = Bytes::from(vec![b' '; 1 << 20]);
    let item = [&page[..10], br#"{"metadata":{"name":"a"}}"#].concat();
    let item = Bytes::from(item);
    let object = mk_decoder().decode(item.clone()).unwrap();
    assert!(item.is_unique(), "the object must not share the input");
    assert_eq!(object.raw().len(), item.len());
}

#[test]
fn a_namespaced_object_without_a_namespace_gets_the_default_or_is_refused() {
    let text = r#"{"metadata":{"name":"a"}}"#;
    assert_eq!(decode(text).unwrap().key(), &ObjectKey::namespaced("demo", "default", "a"));
    let strict = Decoder::new("demo".into(), mk_type(Scope::Namespaced));
    let error = strict.decode(text).unwrap_err();
    assert_eq!(error.to_string(), "metadata.namespace: is required (line 1, column 25)");
    let cluster = Decoder::new("demo".into(), mk_type(Scope::Cluster));
    assert_eq!(cluster.decode(text).unwrap().key(), &ObjectKey::cluster("demo", "a"));
}

#[test]
fn managed_fields_and_the_last_applied_copy_are_cut_wherever_they_stand() {
    let key = "kubectl.kubernetes.io/last-applied-configuration";
    for (before, after) in [
        (r#"{"metadata":{"managedFields":[{"a":{}}],"name":"a"}}"#.to_owned(), r#"{"metadata":{"name":"a"}}"#),
        (r#"{"metadata":{"name":"a", "managedFields":[1] }}"#.to_owned(), r#"{"metadata":{"name":"a" }}"#),
        (
            format!(r#"{{"metadata":{{"annotations":{{"{key}":"{{}}"}},"name":"a","managedFields":[]}},"spec":1}}"#),
            r#"{"metadata":{"annotations":{},"name":"a"},"spec":1}"#,
        ),
        (
            format!(r#"{{"metadata":{{"name":"a","annotations":{{"b":"1","{key}":"x","c":"2"}}}}}}"#),
            r#"{"metadata":{"name":"a","annotations":{"b":"1","c":"2"}}}"#,
        ),
        (
            format!(r#"{{"metadata":{{"name":"a","annotations":{{"b":"1","{key}":"x"}}}}}}"#),
            r#"{"metadata":{"name":"a","annotations":{"b":"1"}}}"#,
        ),
        (r#"{"metadata":{"name":"a","managedFields":1,"managedFields":2}}"#.to_owned(), r#"{"metadata":{"name":"a"}}"#),
        (r#"{"managedFields":1,"metadata":{"name":"a"}}"#.to_owned(), r#"{"managedFields":1,"metadata":{"name":"a"}}"#),
    ] {
        assert_eq!(lean(&before), after);
        assert_eq!(decode(&before).unwrap().raw(), before.as_str(), "without a transform nothing is cut");
    }
}

#[test]
fn errors_name_the_path_and_the_line_and_no_content() {
    for (text, message) in [
        ("{}", "metadata.name: is required (line 1, column 1)"),
        (r#"{"metadata":null}"#, "metadata.name: is required (line 1, column 17)"),
        (r#"{"metadata":{"name":7}}"#, "metadata.name: must be a string (line 1, column 21)"),
        (
            r#"{"metadata":{"name":""}}"#,
            "metadata.name: must not be empty and must hold neither '/' nor control characters (line 1, column 24)",
        ),
        (
            r#"{"metadata":{"name":"a","namespace":"b/c"}}"#,
            "metadata.namespace: must not be empty and must hold neither '/' nor control characters (line 1, column 43)",
        ),
        (
            "{\"metadata\":{\n \"name\":\"a\",\n \"labels\":{\"app.kubernetes.io/x\": 8080}}}",
            "metadata.labels[\"app.kubernetes.io/x\"]: must be a string (line 3, column 35)",
        ),
        (
            r#"{"metadata":{"name":"a","creationTimestamp":"s3cr3t"}}"#,
            "metadata.creationTimestamp: must be an RFC 3339 timestamp (line 1, column 45)",
        ),
        (
            r#"{"metadata":{"name":"a","generation":1.5}}"#,
            "metadata.generation: must be an integer (line 1, column 38)",
        ),
        (
            "{\"metadata\":{\"name\":\"a\"},\"data\":{\"s\":[{},{\"k\": s3cr3t}]}}",
            "data.s[1].k: invalid JSON: expected a value (line 1, column 48)",
        ),
        (
            r#"{"metadata":{"name":"a","ownerReferences":[{"uid":"1"},{"uid":2}]}}"#,
            "metadata.ownerReferences[1].uid: must be a string (line 1, column 63)",
        ),
        (r#"{"metadata":{"name":"a"}"#, "metadata: invalid JSON: the input ends too early (line 1, column 25)"),
        ("[]", "must be an object (line 1, column 1)"),
        ("", "invalid JSON: the input ends too early (line 1, column 1)"),
        (r#"{"metadata":{"name":"a"}} x"#, "invalid JSON: expected the end of the input (line 1, column 27)"),
    ] {
        assert_eq!(decode(text).unwrap_err().to_string(), message, "{text}");
    }
    let error = mk_decoder().decode(b"{\"metadata\":{\"name\":\"\xff\"}}").unwrap_err();
    assert_eq!(error.to_string(), "metadata.name: invalid UTF-8 (line 1, column 22)");
}

#[test]
fn nesting_is_accepted_as_deep_as_serde_json_accepts_it_and_no_deeper() {
    for (depth, good) in [(126, true), (127, false), (100_000, false)] {
        let text = format!(r#"{{"metadata":{{"name":"a"}},"x":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        assert_eq!(decode(&text).is_ok(), good, "{depth}");
        assert_eq!(serde_json::from_str::<Value>(&text).is_ok(), good, "{depth}");
    }
}

#[test]
fn of_repeated_keys_the_last_one_counts() {
    let object =
        decode(r#"{"metadata":{"name":"a","uid":"u"},"metadata":{"name":"b","labels":{"k":"1","k":"2"}}}"#).unwrap();
    assert_eq!((&*object.key().name, object.uid(), object.label("k")), ("b", None, Some("2")));
    assert_eq!(object.labels().len(), 1);
}

#[test]
fn repeated_strings_are_held_once() {
    let decoder = mk_decoder();
    let mk = |name| decoder.decode(format!(r#"{{"metadata":{{"name":"{name}","namespace":"n"}}}}"#));
    let (a, b) = (mk("a").unwrap(), mk("b").unwrap());
    assert_eq!(a.key().namespace.as_ref().unwrap().as_ptr(), b.key().namespace.as_ref().unwrap().as_ptr());
}

#[test]
fn what_stands_in_the_raw_bytes_is_not_held_again() {
    let text = r#"{"metadata":{"managedFields":[{"a":1}],"uid":"u-1","resourceVersion":"1\u0037","labels":{"k":"v","e":"\n"},"name":"a"}}"#;
    let object = mk_decoder().with_transform(Transform::LEAN).decode(text).unwrap();
    let raw = object.raw().as_ptr_range();
    let is_in_raw = |text: &str| raw.contains(&text.as_ptr());
    assert_eq!((object.uid(), object.uid().map(is_in_raw)), (Some("u-1"), Some(true)));
    assert_eq!((object.resource_version(), object.resource_version().map(is_in_raw)), (Some("17"), Some(false)));
    let labels: Vec<_> = object.labels().map(|(key, value)| (key, value, is_in_raw(key), is_in_raw(value))).collect();
    assert_eq!(labels, [("e", "\n", true, false), ("k", "v", true, true)]);
}

/// Any JSON; strings with everything that JSON can hold.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..6).prop_map(|entries| entries.into_iter().collect()),
        ]
    })
}

/// Metadata whose fields are mostly, but not always, of the right type.
fn any_metadata() -> impl Strategy<Value = Value> {
    let text = prop_oneof![9 => "[a-z\\\\\"é]{1,8}".prop_map(Value::from), 1 => any_json()];
    let labels = prop::collection::vec(("[a-c\"]{1,2}", "\\PC{0,4}"), 0..5)
        .prop_map(|entries| entries.into_iter().map(|(k, v)| (k, Value::from(v))).collect::<Value>());
    let fields = (text.clone(), text.clone(), text.clone(), labels, any::<i64>(), prop::option::of(any_json()));
    let owners =
        prop::collection::vec(text.prop_map(|name| json!({"apiVersion": "v1", "kind": "K", "name": name})), 0..3);
    (fields, owners, prop::sample::subsequence(vec![0, 1, 2, 3, 4, 5, 6], 0..7)).prop_map(
        |((name, namespace, uid, labels, generation, other), owners, leave_out)| {
            let all = [
                ("name", name),
                ("namespace", namespace),
                ("uid", uid),
                ("labels", labels),
                ("generation", generation.into()),
                ("managedFields", other.unwrap_or_default()),
                ("ownerReferences", owners.into()),
            ];
            let kept = all.into_iter().enumerate().filter(|(at, _)| *at == 0 || !leave_out.contains(at));
            kept.map(|(_, (key, value))| (key.to_owned(), value)).collect()
        },
    )
}

proptest! {
    #[test]
    fn metadata_is_what_serde_json_says_and_the_raw_round_trips(metadata in any_metadata(), other in any_json(), pretty: bool) {
        let value = json!({"metadata": metadata, "other": other});
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let strings_are_strings = ["name", "namespace", "uid"].iter().all(|key| {
            metadata.get(key).is_none_or(|v| v.is_string() || v.is_null())
        });
        let owners_are_strings = metadata.get("ownerReferences").and_then(Value::as_array)
            .is_none_or(|owners| owners.iter().all(|owner| owner["name"].is_string() || owner["name"].is_null()));
        let name = metadata["name"].as_str().unwrap_or_default();
        let proper = |name: &str| !name.contains(|c: char| c == '/' || c.is_control());
        let good = strings_are_strings && owners_are_strings && !name.is_empty() && proper(name)
            && proper(metadata.get("namespace").and_then(Value::as_str).unwrap_or_default());
        let decoded = decode(&text);
        prop_assert_eq!(decoded.is_ok(), good, "{:?}", decoded);
        let Ok(object) = decoded else { return Ok(()) };
        prop_assert_eq!(object.raw(), text.as_str());
        prop_assert_eq!(&*object.key().name, name);
        let namespace = metadata.get("namespace").and_then(Value::as_str).filter(|ns| !ns.is_empty());
        prop_assert_eq!(object.key().namespace_or_empty(), namespace.unwrap_or("default"));
        prop_assert_eq!(object.uid(), metadata.get("uid").and_then(Value::as_str).filter(|uid| !uid.is_empty()));
        prop_assert_eq!(object.generation(), metadata.get("generation").and_then(Value::as_i64).unwrap_or(0));
        let labels: Vec<_> = object.labels().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        let mut expected: Vec<_> = metadata.get("labels").and_then(Value::as_object).into_iter().flatten()
            .map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned())).collect();
        expected.sort();
        prop_assert_eq!(labels, expected);
        let mut cut: Value = serde_json::from_str(&text).unwrap();
        cut["metadata"].as_object_mut().unwrap().remove("managedFields");
        prop_assert_eq!(serde_json::from_str::<Value>(&lean(&text)).unwrap(), cut);
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = mk_decoder().decode(&bytes);
    }

    #[test]
    fn text_that_is_almost_json_is_accepted_exactly_when_serde_json_accepts_it(
        value in any_json(), at in any::<prop::sample::Index>(),
        with in prop::sample::select(vec!["", "\"", "\\", "{", "}", "[", "]", ",", ":", "0", "-", "e", "\\u12", "\\ud800", "\n", "\u{1}", "é", "tru"]),
    ) {
        let mut text = format!(r#"{{"metadata":{{"name":"a"}},"x":{value}}}"#);
        let mut at = at.index(text.len());
        while !text.is_char_boundary(at) { at -= 1; }
        let end = text[at..].chars().next().map_or(at, |c| at + c.len_utf8());
        text.replace_range(at..end, with);
        let good = match serde_json::from_str::<Value>(&text) {
            Ok(value) => value.is_object(),
            // It gives up there and never sees the rest.
            Err(error) if error.to_string().starts_with("number out of range") => return Ok(()),
            Err(_) => false,
        };
        match decode(&text) {
            Ok(_) => prop_assert!(good, "{}", text),
            Err(error) if matches!(error.cause(), DecodeCause::Syntax { .. } | DecodeCause::Truncated) => {
                prop_assert!(!good, "{}: {}", text, error)
            }
            // Good JSON, but the edit hit the metadata.
            Err(_) => {}
        }
    }
}

#[test]
fn what_may_not_stand_in_a_string_is_found_wherever_it_stands() {
    let decoder = mk_decoder();
    for length in 0..150 {
        for special in ["", "\\\"", "\\n", "\\x", "\u{1}", "\n", "\u{7f}", "\u{e9}", "\""] {
            for after in [0, 5, 70] {
                let text = format!("{}{special}{}", "p".repeat(length), "q".repeat(after));
                let raw = format!(r#"{{"metadata":{{"name":"n","namespace":"m"}},"spec":{{"text":"{text}"}}}}"#);
                let expected = serde_json::from_str::<serde_json::Value>(&raw).is_ok();
                assert_eq!(decoder.decode(&raw).is_ok(), expected, "{raw}");
            }
        }
    }
}

#[test]
fn one_version_of_an_object_is_another_where_it_is_said_in_another_api_version() {
    let mk = |head: &str, version: u32| {
        let metadata = format!(r#""metadata":{{"name":"a","uid":"u","resourceVersion":"{version}"}}"#);
        decode(&format!("{{{head}{metadata}}}")).unwrap()
    };
    let (v1, v2) = (r#""apiVersion":"example.test/v1","#, r#""apiVersion":"example.test/v2","#);
    assert!(mk(v1, 3).is_same_version(&mk(v1, 3)));
    assert!(!mk(v1, 3).is_same_version(&mk(v2, 3)));
    assert!(!mk(v1, 3).is_same_version(&mk(v1, 4)));
    assert!(mk(v1, 3).is_same_version(&mk("", 3)), "lists of some types do not say it");
}
