//! The status publisher: every object's conditions, for sources that cannot take them back. Adds what a pure
//! translation cannot know: when a condition last changed.
//!
//! Law: `lastTransitionTime` moves when, and only when, a condition's `status` does (KEP-1623).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use serde_json::Value;
use serde_json::value::RawValue;
use tidegate_actors::correlation::{OutputBatch, Taps};
use tidegate_actors::env::Env;
use tidegate_actors::id::ObjectRef;
use tidegate_actors::publisher::{PublishError, Publisher};

use crate::correlate::Outputs;
use crate::correlate::status::ObjectStatus;

/// Every object's status now, as JSON text. Clones share it.
#[derive(Clone, Default)]
pub struct PublishedStatuses {
    all: Arc<RwLock<BTreeMap<ObjectRef, Box<RawValue>>>>,
}

impl PublishedStatuses {
    /// All of them, sorted by resource type and key.
    pub fn list(&self) -> Vec<Box<RawValue>> {
        self.all.read().values().cloned().collect()
    }

    /// One of them.
    pub fn get(&self, object: &ObjectRef) -> Option<Box<RawValue>> {
        self.all.read().get(object).cloned()
    }
}

/// Keeps [`PublishedStatuses`] up to date.
pub struct StatusPublisher {
    env: Env,
    collections: Outputs,
    statuses: PublishedStatuses,
}

impl StatusPublisher {
    /// A publisher into `statuses`, which outlives it.
    pub fn new(env: &Env, collections: &Outputs, statuses: PublishedStatuses) -> Self {
        Self { env: env.clone(), collections: *collections, statuses }
    }

    /// The collections that it needs.
    pub fn taps(collections: &Outputs) -> Taps {
        let mut taps = Taps::default();
        taps.add(collections.statuses);
        taps
    }
}

impl Publisher for StatusPublisher {
    async fn publish(&mut self, batch: &OutputBatch) -> Result<(), PublishError> {
        let now = timestamp(self.env.clock.wall());
        let mut all = self.statuses.all.write();
        let changes = batch.changes(self.collections.statuses);
        if batch.is_full() {
            let named: std::collections::BTreeSet<&ObjectRef> = changes.iter().map(|(object, _)| object).collect();
            all.retain(|object, _| named.contains(object));
        }
        for (object, change) in changes {
            match &change.new {
                Some(status) => {
                    let stamped = stamped(status, all.get(object).map(|held| &**held), &now).map_err(|error| {
                        PublishError { reason: format!("{object}: its status does not serialise: {error}") }
                    })?;
                    all.insert(object.clone(), stamped);
                }
                None => drop(all.remove(object)),
            }
        }
        Ok(())
    }
}

/// RFC 3339, whole seconds, UTC.
fn timestamp(since_epoch: Duration) -> String {
    let seconds = i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default()
}

fn stamped(status: &ObjectStatus, before: Option<&RawValue>, now: &str) -> serde_json::Result<Box<RawValue>> {
    let mut new = serde_json::to_value(status)?;
    let old = before.map(|text| serde_json::from_str(text.get())).transpose()?;
    stamp(&mut new, old.as_ref(), now);
    serde_json::value::to_raw_value(&new)
}

/// Gives each condition its time: that of the old one with the same type and status, else now.
fn stamp(new: &mut Value, old: Option<&Value>, now: &str) {
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

/// What tells the elements of a status list apart: a condition's type, a listener's name, a route's parent.
fn identity(element: &Value) -> [Option<&Value>; 3] {
    ["type", "name", "parentRef"].map(|field| element.get(field))
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
