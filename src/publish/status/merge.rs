//! Our part of a status among what others wrote there. Pure.
//!
//! Laws: entries and conditions of others survive as they are and where they are (`status.parents` is one atomic
//! list, so whoever writes it writes everybody's); what says already what we would say is not written again.

use serde_json::{Map, Value};

use super::stamp::stamp;
use crate::correlate::status::Status;

/// The specification's limit of `status.parents`.
const MAX_PARENTS: usize = 32;

/// What `status` should become, or `None` if it may stay. Without `wanted`, nothing of ours remains in a list of
/// parents; a status without such a list is left to whoever comes after us. `leaves` says which entries under our name
/// are others' all the same.
pub(super) fn merged(
    held: &Value,
    wanted: Option<&Status>,
    controller: &str,
    leaves: impl Fn(&Value) -> bool,
    now: &str,
) -> serde_json::Result<Option<Value>> {
    let mut new = match wanted {
        Some(Status::Route(route)) => {
            let parents = serde_json::to_value(&route.parents)?;
            with_parents(held, as_array(&parents), controller, leaves)
        }
        Some(other) => with_fields(held, serde_json::to_value(other)?),
        None if held.get("parents").is_some() => with_parents(held, &[], controller, leaves),
        None => return Ok(None),
    };
    stamp(&mut new, Some(held), now);
    Ok((new != *held).then_some(new))
}

/// Whether a status has an entry of this controller in its list of parents.
pub(super) fn speaks(status: &Value, controller: &str) -> bool {
    status.get("parents").map(as_array).unwrap_or_default().iter().any(|entry| is_of(entry, controller))
}

fn with_parents(held: &Value, ours: &[Value], controller: &str, leaves: impl Fn(&Value) -> bool) -> Value {
    let before = held.get("parents").map(as_array).unwrap_or_default();
    let of = |entry: &Value| ours.iter().find(|our| our.get("parentRef") == entry.get("parentRef"));
    let mut parents: Vec<Value> = Vec::new();
    for entry in before {
        if !is_of(entry, controller) {
            parents.push(entry.clone());
        } else if let Some(our) = of(entry) {
            if !parents.contains(our) {
                parents.push(our.clone());
            }
        } else if leaves(entry) {
            parents.push(entry.clone());
        }
    }
    let new: Vec<&Value> = ours.iter().filter(|our| !parents.contains(our)).collect();
    // Over the limit nothing at all could be written; what is left out is in the API.
    let room = MAX_PARENTS.saturating_sub(parents.len());
    parents.extend(new.into_iter().take(room).cloned());
    let mut fields = fields_of(held);
    fields.insert("parents".to_owned(), Value::Array(parents));
    Value::Object(fields)
}

fn with_fields(held: &Value, wanted: Value) -> Value {
    let mut fields = fields_of(held);
    let Value::Object(wanted) = wanted else { return held.clone() };
    for (name, value) in wanted {
        let value = match fields.get(&name) {
            Some(before) if name == "conditions" => with_conditions(as_array(before), as_array(&value)),
            _ => value,
        };
        fields.insert(name, value);
    }
    Value::Object(fields)
}

fn with_conditions(held: &[Value], ours: &[Value]) -> Value {
    let of_type = |all: &[Value], like: &Value| all.iter().find(|other| other.get("type") == like.get("type")).cloned();
    let kept = held.iter().map(|condition| of_type(ours, condition).unwrap_or_else(|| condition.clone()));
    let new = ours.iter().filter(|condition| of_type(held, condition).is_none()).cloned();
    Value::Array(kept.chain(new).collect())
}

fn is_of(entry: &Value, controller: &str) -> bool {
    entry.get("controllerName").and_then(Value::as_str) == Some(controller)
}

fn fields_of(status: &Value) -> Map<String, Value> {
    status.as_object().cloned().unwrap_or_default()
}

fn as_array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::correlate::status::{ClassStatus, Condition, ParentStatus, RouteStatus, Truth};
    use crate::resource::http_route::ParentRef;

    const OURS: &str = "tidegate.dev/gateway-controller";

    fn condition(status: Truth) -> Condition {
        Condition::new("Accepted", status, "Reason", "in words", 3)
    }

    fn condition_json(status: &str, time: &str) -> Value {
        json!({"type": "Accepted", "status": status, "reason": "Reason", "message": "in words",
            "observedGeneration": 3, "lastTransitionTime": time})
    }

    fn parent_ref(name: &str) -> Value {
        json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name})
    }

    fn entry(name: &str, controller: &str, status: &str, time: &str) -> Value {
        json!({"parentRef": parent_ref(name), "controllerName": controller,
            "conditions": [condition_json(status, time)]})
    }

    fn route(parents: &[&str]) -> Status {
        let parent = |name: &&str| ParentStatus {
            parent_ref: ParentRef {
                group: "gateway.networking.k8s.io".into(),
                kind: "Gateway".into(),
                namespace: None,
                name: (*name).into(),
                section_name: None,
                port: None,
            },
            controller_name: OURS.into(),
            conditions: vec![condition(Truth::True)],
        };
        Status::Route(RouteStatus { parents: parents.iter().map(parent).collect() })
    }

    fn merge(held: &Value, wanted: Option<&Status>) -> Option<Value> {
        merged(held, wanted, OURS, |_| false, "t2").unwrap()
    }

    #[test]
    fn a_status_is_written_where_there_was_none() {
        let new = merge(&Value::Null, Some(&route(&["a"]))).unwrap();
        assert_eq!(new, json!({"parents": [entry("a", OURS, "True", "t2")]}));
        assert_eq!(merge(&new, Some(&route(&["a"]))), None, "it says so already");
    }

    #[test]
    fn entries_of_other_controllers_survive_where_they_are() {
        let (theirs, also) = (entry("a", "theirs", "False", "t0"), entry("z", "theirs", "True", "t0"));
        let held =
            json!({"parents": [theirs, entry("a", OURS, "False", "t1"), entry("gone", OURS, "True", "t1"), also]});
        let new = merge(&held, Some(&route(&["b", "a"]))).unwrap();
        let parents = [theirs, entry("a", OURS, "True", "t2"), also, entry("b", OURS, "True", "t2")];
        assert_eq!(new, json!({ "parents": parents }));
    }

    #[test]
    fn a_time_stays_while_the_condition_does() {
        let held = json!({"parents": [entry("a", OURS, "True", "t1")]});
        let new = merge(&held, Some(&route(&["a", "b"]))).unwrap();
        assert_eq!(new["parents"][0], entry("a", OURS, "True", "t1"));
    }

    #[test]
    fn what_is_ours_no_more_is_taken_back_and_the_rest_left() {
        let theirs = entry("a", "theirs", "True", "t0");
        let held = json!({"parents": [entry("a", OURS, "True", "t1"), theirs]});
        assert!(speaks(&held, OURS));
        let new = merge(&held, None).unwrap();
        assert_eq!(new, json!({"parents": [theirs]}));
        assert!(!speaks(&new, OURS));
        assert_eq!(merge(&new, None), None);
        let gateway = json!({"conditions": [condition_json("True", "t1")]});
        assert_eq!(merge(&gateway, None), None, "whoever takes a Gateway over writes its conditions");
    }

    #[test]
    fn an_entry_under_our_name_stays_where_another_shard_answers() {
        let (theirs, old) = (entry("b", OURS, "True", "t0"), entry("old", OURS, "True", "t0"));
        let held = json!({"parents": [old, theirs, entry("a", OURS, "False", "t1")]});
        let leaves = |entry: &Value| entry["parentRef"]["name"] == "b" || entry["parentRef"]["name"] == "a";
        let new = merged(&held, Some(&route(&["a"])), OURS, leaves, "t2").unwrap().unwrap();
        assert_eq!(new, json!({"parents": [theirs, entry("a", OURS, "True", "t2")]}), "what we want is ours");
        let new = merged(&new, None, OURS, |entry| entry["parentRef"]["name"] == "b", "t3").unwrap().unwrap();
        assert_eq!(new, json!({"parents": [theirs]}));
    }

    #[test]
    fn of_conditions_only_those_of_our_types_are_replaced() {
        let theirs = json!({"type": "SupportedVersion", "status": "True", "reason": "R"});
        let held = json!({"conditions": [theirs, condition_json("Unknown", "t0")], "supportedFeatures": []});
        let wanted = Status::GatewayClass(ClassStatus { conditions: vec![condition(Truth::True)] });
        let new = merge(&held, Some(&wanted)).unwrap();
        assert_eq!(new, json!({"conditions": [theirs, condition_json("True", "t2")], "supportedFeatures": []}));
    }

    #[test]
    fn a_full_list_of_parents_takes_no_more() {
        let held: Vec<_> = (0..32).map(|at| entry(&format!("a{at}"), "theirs", "True", "t0")).collect();
        assert_eq!(merge(&json!({ "parents": held }), Some(&route(&["a"]))), None);
    }
}
