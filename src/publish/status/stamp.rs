//! When a condition last changed, which a pure translation cannot know.
//!
//! Law: `lastTransitionTime` moves when, and only when, a condition's `status` does (KEP-1623).

use std::time::Duration;

use serde_json::Value;

/// RFC 3339, whole seconds, UTC.
pub(super) fn timestamp(since_epoch: Duration) -> String {
    let seconds = i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default()
}

/// Gives each condition its time: that of the old one with the same type and status, else now.
pub(super) fn stamp(new: &mut Value, old: Option<&Value>, now: &str) {
    // What others wrote is theirs, with a time or without.
    if old.is_some_and(|old| old == new) {
        return;
    }
    match new {
        Value::Object(fields) => {
            if fields.contains_key("type") && fields.contains_key("status") && fields.contains_key("reason") {
                let same = old.filter(|old| old.get("status") == fields.get("status"));
                let time = same.and_then(|old| old.get("lastTransitionTime")).cloned();
                fields.insert("lastTransitionTime".to_owned(), time.unwrap_or_else(|| now.into()));
                return;
            }
            for (name, value) in fields.iter_mut() {
                stamp(value, old.and_then(|old| old.get(name)), now);
            }
        }
        Value::Array(elements) => {
            let old = old.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            for element in elements {
                let same = old.iter().find(|old| identity(old) == identity(element));
                stamp(element, same, now);
            }
        }
        _ => {}
    }
}

/// What tells the elements of a status list apart: a condition's type, a listener's name, a route's parent and who
/// speaks of it.
fn identity(element: &Value) -> [Option<&Value>; 4] {
    ["type", "name", "parentRef", "controllerName"].map(|field| element.get(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(accepted: &str, programmed: &str) -> Value {
        let condition = |kind: &str, status: &str| serde_json::json!({"type": kind, "status": status, "reason": "R"});
        serde_json::json!({"parents": [{"parentRef": {"name": "a"},
            "conditions": [condition("Accepted", accepted), condition("Programmed", programmed)]}]})
    }

    #[test]
    fn a_transition_time_moves_only_when_the_status_does() {
        let mut first = conditions("True", "False");
        stamp(&mut first, None, "t1");
        let mut second = conditions("True", "True");
        stamp(&mut second, Some(&first), "t2");
        let times = |value: &Value| {
            let conditions = value["parents"][0]["conditions"].as_array().unwrap().iter();
            conditions.map(|condition| condition["lastTransitionTime"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(times(&first), ["t1", "t1"]);
        assert_eq!(times(&second), ["t1", "t2"]);
    }

    #[test]
    fn times_are_whole_seconds_in_utc() {
        assert_eq!(timestamp(Duration::from_millis(1_767_225_600_999)), "2026-01-01T00:00:00Z");
    }
}
