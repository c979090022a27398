//! Label selectors in both their forms: the text of the API's query string, and the object in a Gateway.
//!
//! Oracle: what a selector is shown as is parsed to the same selector; a column in an error lies in the text; it matches
//! what an interpreter that goes through its conditions one by one says, and the same conditions written as an object
//! match the same labels.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tidegate::resource::field::Checks;
use tidegate::resource::gateway::{Gateway, RoutesFrom};
use tidegate::resource::meta::Kind as _;
use tidegate::resource::selector::Selector as ObjectSelector;
use tidegate_actors::store::{Requirement, Selector};

use crate::input::Input;

/// The first bytes choose labels; the rest is a selector's text.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut labels: BTreeMap<&str, &str> = BTreeMap::new();
    for key in ["a", "b", "example.com/c"] {
        if let Some(value) = input.one_of(&[None, Some(""), Some("x"), Some("y"), Some("in")]) {
            labels.insert(key, value);
        }
    }
    let label = |key: &str| labels.get(key).copied();
    let text = String::from_utf8_lossy(input.rest());
    let selector: Selector = match text.parse() {
        Ok(selector) => selector,
        Err(error) => {
            assert!((1..=text.chars().count() + 1).contains(&error.column), "{error}");
            assert!(!error.reason.is_empty() && error.text == text);
            return;
        }
    };
    let shown = selector.to_string();
    assert_eq!(shown.parse::<Selector>().as_ref(), Ok(&selector), "{shown:?} of {text:?}");
    let expected = selector.requirements().iter().all(|requirement| match requirement {
        Requirement::In(key, values) => labels.get(&**key).is_some_and(|value| values.iter().any(|v| v == value)),
        Requirement::NotIn(key, values) => !labels.get(&**key).is_some_and(|value| values.iter().any(|v| v == value)),
        Requirement::Exists(key) => labels.contains_key(&**key),
        Requirement::NotExists(key) => !labels.contains_key(&**key),
    });
    assert_eq!(selector.matches(label), expected, "{shown:?} of {labels:?}");
    let object = as_object(&selector);
    assert_eq!(read(&object).matches(label), expected, "{object} of {labels:?}");
}

fn as_object(selector: &Selector) -> Value {
    let expressions = selector.requirements().iter().map(|requirement| match requirement {
        Requirement::In(key, values) => json!({"key": key, "operator": "In", "values": values}),
        Requirement::NotIn(key, values) => json!({"key": key, "operator": "NotIn", "values": values}),
        Requirement::Exists(key) => json!({"key": key, "operator": "Exists"}),
        Requirement::NotExists(key) => json!({"key": key, "operator": "DoesNotExist"}),
    });
    json!({"matchExpressions": expressions.collect::<Vec<_>>()})
}

fn read(object: &Value) -> ObjectSelector {
    let namespaces = json!({"from": "Selector", "selector": object});
    let listener = json!({"name": "l", "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": namespaces}});
    let gateway = json!({"metadata": {"name": "g"}, "spec": {"gatewayClassName": "c", "listeners": [listener]}});
    let mut checks = Checks::default();
    let gateway = Gateway::read(gateway.to_string().as_bytes(), &mut checks);
    assert!(checks.errors.is_empty(), "{object}: {:?}", checks.errors);
    match gateway.and_then(|gateway| gateway.listeners.into_iter().next()).map(|listener| listener.from) {
        Some(RoutesFrom::Selector(selector)) => selector,
        other => panic!("{object}: {other:?}"),
    }
}
