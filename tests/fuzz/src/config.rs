//! The config file's text.
//!
//! Oracle: an error has a place that lies in the text, and a reason; what is refused is not repeated where it is a
//! token; what is accepted, written out and read again is the same config, and `Debug` and what is written out show no
//! token.

use std::path::Path;

use serde_json::Value;
use tidegate::config::{Config, ConfigErrors, Loader, Registry};

const FILE: &str = "/etc/tidegate/tidegate.yaml";

/// Where a text begins with this, in `admin.token`, it is looked for in what is said.
const CANARY: &str = "canary-";

/// All of it is the text.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let tokens = tokens(&text);
    match parse(&text) {
        Err(errors) => {
            check_places(&errors, &text);
            shows_none(&tokens, &format!("{errors} {errors:?}"));
        }
        Ok(mut config) => {
            let written = serde_json::to_value(&config).expect("what was read can be written");
            shows_none(&tokens, &format!("{config:?} {written}"));
            // It is not written out, so that it cannot come back.
            config.admin.token = None;
            let written = serde_json::to_string(&config).expect("what was read can be written");
            let again = parse(&written).unwrap_or_else(|errors| panic!("{errors}\n{written}"));
            assert_eq!(again, config, "{written}");
        }
    }
}

fn parse(text: &str) -> Result<Config, ConfigErrors> {
    Loader::new(Registry::default()).parse(text, Path::new(FILE))
}

fn check_places(errors: &ConfigErrors, text: &str) {
    assert!(!errors.problems.is_empty(), "refused without a word");
    // A carriage return ends a line for YAML too.
    let lines = text.split(['\n', '\r']).count();
    for problem in &errors.problems {
        assert!(!problem.reason.is_empty(), "{problem}");
        let place = problem.place.strip_prefix(FILE).unwrap_or_else(|| panic!("no place: {problem}"));
        let Some((line, column)) = place.strip_prefix(':').and_then(|place| place.split_once(':')) else {
            assert_eq!(place, "", "{problem}");
            continue;
        };
        let (line, column): (usize, usize) = (line.parse().unwrap(), column.parse().unwrap());
        assert!((1..=lines).contains(&line) && column >= 1, "{problem}: {lines} lines");
    }
}

/// The canaries that stand under `admin.token` and nowhere else.
fn tokens(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if let Ok(value) = serde_saphyr::from_str::<Value>(text) {
        texts(&value["admin"]["token"], &mut found);
    }
    found.retain(|token| {
        token.starts_with(CANARY) && token.len() > CANARY.len() + 4 && text.matches(&**token).count() == 1
    });
    found
}

fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(fields) => fields.values().for_each(|value| texts(value, found)),
        _ => {}
    }
}

fn shows_none(tokens: &[String], said: &str) {
    for token in tokens {
        assert!(!said.contains(&**token), "a token is shown: {said}");
    }
}
