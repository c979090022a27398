//! What YAML means in JSON, and what it may not say.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

fn parse(text: &str) -> Result<Value, YamlError> {
    let json = to_json(text, 1 << 20)?;
    Ok(json.map_or(Value::Null, |json| serde_json::from_slice(&json).unwrap()))
}

fn fails(text: &str, line: usize, reason: &str) {
    let error = parse(text).expect_err(text);
    assert!(error.reason.contains(reason), "{text}: {}", error.reason);
    assert_eq!(error.line, line, "{text}: {}", error.reason);
}

#[test]
fn a_manifest_becomes_the_json_that_kubernetes_would_see() {
    let text = "\
# a comment
apiVersion: v1
kind: ConfigMap
metadata: {name: a, labels: {'app': \"web\\n\", 1: one, true: t}}
data:
  literal: |
    one
      two
  folded: >-
    one
    two
  plain: several
    lines
  empty:
  quoted: '1'
list:
- a
- - b
  - 2
- x: 1
  y:
";
    assert_eq!(
        parse(text).unwrap(),
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "a", "labels": {"app": "web\n", "1": "one", "true": "t"}},
            "data": {"literal": "one\n  two\n", "folded": "one two", "plain": "several lines", "empty": null, "quoted": "1"},
            "list": ["a", ["b", 2], {"x": 1, "y": null}],
        })
    );
}

#[test]
fn a_document_without_content_is_none() {
    for text in ["", "---\n", "# only a comment\n", "--- ~\n", "---\n# x\n...\n"] {
        assert_eq!(to_json(text, 100), Ok(None), "{text:?}");
    }
}

#[test]
fn anchors_and_aliases_copy_values() {
    let text = "a: &a {x: [1, &s two]}\nb: *a\nc: [*s, *a]\n*s : key\nd: &a 5\ne: *a\n";
    let a = json!({"x": [1, "two"]});
    assert_eq!(parse(text).unwrap(), json!({"a": a, "b": a, "c": ["two", a], "two": "key", "d": 5, "e": 5}));
    fails("a: 1\nb: *nobody\n", 2, "unknown anchor");
    fails("a: &a\n  b: *a\n", 2, "stands in");
}

#[test]
fn merge_keys_add_what_is_not_there_yet() {
    let text = "base: &base {a: 1, b: 2}\nmore: &more {b: 3, c: 4}\n\
                one:\n  <<: *base\n  b: own\n\
                two:\n  x: 0\n  <<: [*base, *more]\n\
                three:\n  <<: *more\n  <<: {d: 5}\n\
                four: {'<<': 1}\n";
    let value = parse(text).unwrap();
    assert_eq!(value["one"], json!({"a": 1, "b": "own"}));
    assert_eq!(value["two"], json!({"x": 0, "a": 1, "b": 2, "c": 4}));
    assert_eq!(value["three"], json!({"b": 3, "c": 4, "d": 5}));
    assert_eq!(value["four"], json!({"<<": 1}), "a quoted one is a key like any other");
    assert!(parse("a:\n  <<: 1\n").unwrap_err().reason.contains("merge key"));
}

#[test]
fn a_repeated_key_is_refused_with_the_line_of_the_second() {
    fails("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", 5, "key \"c\" is there twice");
    fails("{a: 1, \"a\": 2}", 1, "key \"a\" is there twice");
    assert!(parse("a: {x: 1}\nb: {x: 1}\n").is_ok(), "the same key in two mappings is fine");
}

#[test]
fn a_billion_laughs_end_at_the_limit() {
    let mut text = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for level in 1..12 {
        let alias = format!("*a{}", level - 1);
        text += &format!("a{level}: &a{level} [{}]\n", vec![alias; 9].join(", "));
    }
    let error = parse(&text).unwrap_err();
    assert!(error.reason.contains("its aliases expanded, is larger than 1048576 bytes"), "{}", error.reason);
}

#[test]
fn tags_are_honoured_when_json_can_say_them_and_refused_else() {
    let text =
        "a: !!str 1\nb: !!int '2'\nc: !!float 3\nd: ! yes\ne: !!map {}\nf: !!seq []\ng: !!bool 'true'\nh: !!null ''";
    assert_eq!(
        parse(text).unwrap(),
        json!({"a": "1", "b": 2, "c": 3, "d": "yes", "e": {}, "f": [], "g": true, "h": null})
    );
    fails("a: 1\nb: !Ref x\n", 2, "tag `!Ref`");
    fails("a: !!int x\n", 1, "tagged as an integer");
    fails("a: !!binary aGk=\n", 1, "!!binary");
    fails("a: !!map x\n", 1, "tagged as a collection");
    fails("a: !!seq {}\n", 1, "does not fit");
}

#[test]
fn errors_name_their_line() {
    fails("a:\n\tb: 1\n", 2, "tab");
    fails("a: 1\nb: .inf\n", 2, "no form in JSON");
    fails("a: 1\n? [x]\n: 2\n", 2, "mapping key");
    assert_eq!(parse("a: 1\nb: [1, 2\nc: 3\n").unwrap_err().line, 3);
    assert_eq!(parse("x: 0\na: 'open\nb: 1\n").unwrap_err().line, 2, "where the quote was opened");
}

#[test]
fn nesting_has_a_limit() {
    for text in [format!("{}{}", "[".repeat(101), "]".repeat(101)), "- ".repeat(101) + "x"] {
        assert!(parse(&text).is_err());
    }
    assert!(parse(&format!("{}{}", "[".repeat(90), "]".repeat(90))).is_ok());
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ -~é\\n]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 30, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-z~:# ]{0,6}", inner, 0..5)
                .prop_map(|map| Value::from(map.into_iter().collect::<serde_json::Map<_, _>>())),
        ]
    })
}

proptest! {
    #[test]
    fn json_is_yaml_and_comes_back_as_it_was(value in value()) {
        prop_assert_eq!(parse(&serde_json::to_string_pretty(&value).unwrap()), Ok(value.clone()));
        prop_assert_eq!(parse(&serde_json::to_string(&value).unwrap()), Ok(value));
    }

    #[test]
    fn no_text_makes_it_panic(text in "[-a-c:,&*<|>?!%@#'\"\\[\\]{} \\n\\t0-9~.]{0,60}") {
        let _ = parse(&text);
    }
}
