//! Label selectors, as Kubernetes defines them.

use std::collections::BTreeMap;

use serde::Deserialize;
use tidegate_actors::id::Name;

use super::field::Checks;

/// Conditions on labels, all of which must hold; without any it matches everything.
#[derive(Clone, Debug, PartialEq)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq)]
struct Requirement {
    key: Name,
    test: Test,
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    In(Vec<Name>),
    NotIn(Vec<Name>),
    Exists,
    DoesNotExist,
}

impl Selector {
    /// Whether labels match; `label` gives the value of one.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|requirement| {
            let value = label(&requirement.key);
            let is_among = |values: &[Name]| value.is_some_and(|value| values.iter().any(|v| **v == *value));
            match &requirement.test {
                Test::In(values) => is_among(values),
                Test::NotIn(values) => !is_among(values),
                Test::Exists => value.is_some(),
                Test::DoesNotExist => value.is_none(),
            }
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawSelector {
    #[serde(default)]
    match_labels: BTreeMap<String, String>,
    #[serde(default)]
    match_expressions: Vec<RawExpression>,
}

#[derive(Deserialize)]
struct RawExpression {
    key: String,
    operator: String,
    #[serde(default)]
    values: Vec<String>,
}

impl RawSelector {
    pub fn read(self, c: &mut Checks) -> Selector {
        let labels = self.match_labels.into_iter().map(|(key, value)| {
            let test = Test::In(vec![value.into()]);
            Requirement { key: key.into(), test }
        });
        let mut requirements: Vec<_> = labels.collect();
        requirements.extend(c.each("matchExpressions", usize::MAX, self.match_expressions, |c, raw| {
            let has_values = !raw.values.is_empty();
            let values = raw.values.into_iter().map(Into::into).collect();
            let test = match &*raw.operator {
                "In" => Test::In(values),
                "NotIn" => Test::NotIn(values),
                "Exists" => Test::Exists,
                "DoesNotExist" => Test::DoesNotExist,
                _ => {
                    c.field("operator", |c| c.error("must be In, NotIn, Exists or DoesNotExist"));
                    Test::Exists
                }
            };
            let wants_values = matches!(test, Test::In(_) | Test::NotIn(_));
            c.field("values", |c| {
                c.ensure(wants_values == has_values, "must be given for In and NotIn, and only for them")
            });
            Requirement { key: raw.key.into(), test }
        }));
        Selector { requirements }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_selector(json: &str) -> Selector {
        let mut checks = Checks::default();
        let raw: RawSelector = serde_json::from_str(json).unwrap();
        let selector = raw.read(&mut checks);
        assert!(checks.errors.is_empty());
        selector
    }

    #[test]
    fn every_operator_selects_as_kubernetes_does() {
        let label = |key: &str| (key == "env").then_some("prod");
        let cases = [
            (r#"{}"#, true),
            (r#"{"matchLabels":{"env":"prod"}}"#, true),
            (r#"{"matchLabels":{"env":"test"}}"#, false),
            (r#"{"matchExpressions":[{"key":"env","operator":"In","values":["test","prod"]}]}"#, true),
            (r#"{"matchExpressions":[{"key":"env","operator":"NotIn","values":["prod"]}]}"#, false),
            (r#"{"matchExpressions":[{"key":"tier","operator":"NotIn","values":["web"]}]}"#, true),
            (r#"{"matchExpressions":[{"key":"env","operator":"Exists"}]}"#, true),
            (r#"{"matchExpressions":[{"key":"env","operator":"DoesNotExist"}]}"#, false),
            (r#"{"matchLabels":{"env":"prod"},"matchExpressions":[{"key":"tier","operator":"Exists"}]}"#, false),
        ];
        for (json, expected) in cases {
            assert_eq!(mk_selector(json).matches(label), expected, "{json}");
        }
    }
}
