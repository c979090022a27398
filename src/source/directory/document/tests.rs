//! What documents become: objects, or faults by line.

use super::*;
use crate::source::schema::Catalogue;

const LIMIT: usize = 600;

/// Whatever is called `wrong` under `spec.list[1]` is reported.
fn mk_kit() -> Kit {
    let check = |raw: &[u8]| {
        let wrong = raw.windows(7).any(|window| window == b"\"wrong\"");
        if wrong { vec![FieldError::new("spec.list[1].wrong", "is wrong")] } else { Vec::new() }
    };
    let thing = ResourceType::new("test.io", "v1", "Thing", "things", Scope::Namespaced);
    Kit::new("dir".into(), LIMIT, Catalogue::new().with(thing, check))
}

/// Each part as one line, with lines of the file.
fn parse_all(pieces: Vec<Piece<'_>>) -> Vec<String> {
    let kit = mk_kit();
    let mut told = Vec::new();
    for piece in pieces {
        for part in &parse(&piece, &kit).parts {
            match &part.body {
                Body::Good(object) => told.push(format!("{}: {}", piece.line + part.line, object.key())),
                Body::Foreign { group, kind, .. } => {
                    told.push(format!("{}: foreign {group} {kind}", piece.line + part.line));
                }
                Body::Broken { object, faults } => told.extend(faults.iter().map(|fault| {
                    let who = object.as_ref().map_or("?".to_owned(), |id| id.key.to_string());
                    format!("{}: {who}: {}: {}", piece.line + fault.line, fault.field, fault.reason)
                })),
            }
        }
    }
    told
}

fn yaml(text: &str) -> Vec<String> {
    parse_all(split::yaml(text.as_bytes()))
}

fn json(text: &str) -> Vec<String> {
    parse_all(split::json(text.as_bytes()))
}

const HEAD: &str = "apiVersion: test.io/v1\nkind: Thing\n";

#[test]
fn a_list_is_its_items_each_by_its_own_line() {
    let text = "apiVersion: v1\nkind: List\nitems:\n\
                - apiVersion: test.io/v1\n  kind: Thing\n  metadata: {name: a}\n\
                - {apiVersion: test.io/v1, kind: Thing, metadata: {name: b, namespace: ns}}\n\
                - apiVersion: test.io/v1\n  kind: Thing\n  metadata: {name: c}\n  spec:\n    list:\n    - {}\n    - wrong: 1\n\
                - apiVersion: x.io/v1\n  kind: Other\n";
    let expected = [
        "4: dir:default/a",
        "7: dir:ns/b",
        "14: dir:default/c: spec.list[1].wrong: is wrong",
        "15: foreign x.io Other",
    ];
    assert_eq!(yaml(text), expected);
    let typed = "apiVersion: test.io/v1\nkind: ThingList\nitems:\n- metadata: {name: a}\n- metadata: {}\n";
    assert_eq!(yaml(typed), ["4: dir:default/a", "5: ?: metadata.name: is required"]);
}

#[test]
fn json_is_kept_without_its_whitespace_and_reported_with_its_lines() {
    let text = "[\n  {\"apiVersion\": \"test.io/v1\", \"kind\": \"Thing\",\n   \"metadata\": {\"name\": \"a\"},\n   \
                \"spec\": {\"text\": \" \\\" : \"}},\n  {\"apiVersion\": \"test.io/v1\", \"kind\": \"Thing\",\n   \
                \"metadata\": {\"name\": \"b\"},\n   \"spec\": {\"list\": [1,\n     {\"wrong\": 2}]}}\n]\n";
    assert_eq!(json(text), ["2: dir:default/a", "8: dir:default/b: spec.list[1].wrong: is wrong"]);
    let piece = split::json(text.as_bytes())[0];
    let Body::Good(object) = &parse(&piece, &mk_kit()).parts[0].body else { panic!() };
    let compact = r#"{"apiVersion":"test.io/v1","kind":"Thing","metadata":{"name":"a"},"spec":{"text":" \" : "}}"#;
    assert_eq!(object.raw().as_ref(), compact.as_bytes());
}

#[test]
fn a_key_that_is_there_twice_is_refused_in_json_as_in_yaml() {
    let text = "[\n  {\"apiVersion\": \"test.io/v1\", \"kind\": \"Thing\",\n   \"metadata\": {\"name\": \"a\",\n     \
                \"name\": \"b\"}},\n  {\"apiVersion\": \"test.io/v1\", \"kind\": \"Thing\", \"metadata\": {\"name\": \"c\"}}\n]";
    assert_eq!(json(text), ["4: ?: : key \"name\" is there twice", "5: dir:default/c"]);
    let text = format!("{HEAD}metadata:\n  name: a\n  name: b\n---\n{HEAD}metadata: {{name: c}}\n");
    assert_eq!(yaml(&text), ["5: ?: : key \"name\" is there twice", "7: dir:default/c"]);
}

#[test]
fn what_is_no_manifest_says_what_it_lacks() {
    let cases = [
        ("- a\n", "1: ?: : not a manifest: a mapping with apiVersion, kind and metadata is expected"),
        ("kind: Thing\n", "1: ?: apiVersion: is missing; every manifest says its API version"),
        ("apiVersion: test.io/v1\nkind: 3\n", "2: ?: kind: must be a string; every manifest says its kind"),
        ("apiVersion: test.io/v1\nkind: ''\n", "2: ?: kind: must not be empty; every manifest says its kind"),
        ("apiVersion: test.io/v1\nkind: Thing\n", "1: ?: metadata.name: is required"),
    ];
    for (text, expected) in cases {
        assert_eq!(yaml(text), [expected], "{text}");
    }
}

#[test]
fn wrong_metadata_is_reported_with_the_object_it_belongs_to() {
    let text = format!("# a thing\n---\n{HEAD}metadata:\n  name: a\n  labels:\n    app: [x]\n");
    let told = yaml(&text);
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("8: dir:default/a: metadata.labels.app: must be"), "{told:?}");
    let text = format!("{HEAD}metadata:\n  name: 7\n");
    assert!(yaml(&text)[0].starts_with("4: ?: metadata.name: must be"), "{:?}", yaml(&text));
}

#[test]
fn an_object_that_is_too_large_is_named() {
    let text = format!("{HEAD}metadata: {{name: a}}\nspec: {{text: {}}}\n", "x".repeat(LIMIT));
    let reason = "the object has 685 bytes, more than the limit of 600; make it smaller, or raise limits.object_size";
    assert_eq!(yaml(&text), [format!("1: dir:default/a: : {reason}")]);
}

#[test]
fn text_that_is_not_utf_8_harms_its_own_document_only() {
    let good = format!("---\n{HEAD}metadata: {{name: a}}\n");
    let text = [good.as_bytes(), b"---\nx: 1\ny: \xff\n", good.as_bytes()].concat();
    let told = parse_all(split::yaml(&text));
    assert_eq!(told, ["2: dir:default/a", "7: ?: : not UTF-8 text; save the file as UTF-8", "9: dir:default/a"]);
}

#[test]
fn json_that_breaks_off_is_reported_where_it_does() {
    let text =
        "{\"apiVersion\": \"test.io/v1\", \"kind\": \"Thing\", \"metadata\": {\"name\": \"a\"}}\n{\"x\":\n  y}\n";
    assert_eq!(json(text), ["1: dir:default/a", "3: ?: : not valid JSON (column 3)"]);
}

#[test]
fn no_message_holds_a_value() {
    let secret = "1234567e98765";
    let text = format!("{HEAD}metadata: {{name: a}}\ndata: {{password: {secret}}}\n");
    let told = yaml(&text);
    assert!(told[0].starts_with("4: ?: : the number is too large"), "{told:?}");
    assert!(!told[0].contains(secret));
}
