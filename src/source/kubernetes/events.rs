//! Where a cluster's people look for what happens to an object: Events of `events.k8s.io/v1`, written by the replica
//! that leads.
//!
//! Law: the name of an Event is made of what it says, so that whichever replica says it, and how often, there is one;
//! nothing is read but the answers to our own writes, so that `create` and `patch` are all that it takes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use tidegate_actors::id::Name;
use tidegate_actors::watch;
use xxhash_rust::xxh3::Xxh3;

use super::failure::Failure;
use super::shared::Shared;
use super::write::{Verb, ask, micro_time, path, refused};
use crate::source::lease::Leadership;
use crate::source::sink::{EventSink, Grade, Notice, SinkError};

const GROUP: &str = "events.k8s.io";

/// Where Events of objects that have no namespace are.
const CLUSTER_NAMESPACE: &str = "default";

/// The API's limit of `note`, in bytes.
const MAX_NOTE: usize = 1024;

/// The API's limit of `action`, `reason` and `reportingInstance`.
const MAX_WORD: usize = 128;

/// The API's limit of an object's name, without what we add to it.
const MAX_NAME: usize = 253 - 17;

/// See the module.
pub(super) struct KubernetesEvents {
    shared: Arc<Shared>,
    leadership: Leadership,
    /// Which of the replicas this is.
    instance: String,
}

impl KubernetesEvents {
    pub fn new(shared: Arc<Shared>, leadership: Leadership, instance: &str) -> Self {
        Self { shared, leadership, instance: shortened(instance, MAX_WORD).to_owned() }
    }

    /// Sends it, if we lead; asked last, since whoever was stopped in its tracks may be the leader no more.
    async fn ask(&self, verb: Verb, path: &str, body: &Value) -> Result<Answer, SinkError> {
        if !self.leadership.is_leading() {
            return Err(SinkError::NotLeading);
        }
        match ask(&self.shared, verb, path, Some(body)).await {
            Ok(body) => Ok(Answer::Event(serde_json::from_slice(&body).unwrap_or_default())),
            Err(failure) if failure.code == 409 && verb == Verb::Create => Ok(Answer::Exists),
            Err(failure) if failure.code == 404 || is_ending(&failure) => Ok(Answer::Gone),
            Err(failure) => Err(refused(&failure, verb, GROUP, "events")),
        }
    }
}

/// What the API server says to a write.
enum Answer {
    Event(Event),
    /// There is one of the name.
    Exists,
    /// There is no such Event, or there will soon be no such namespace.
    Gone,
}

/// As much of an Event as is of interest.
#[derive(Default, Deserialize)]
struct Event {
    #[serde(default)]
    series: Option<Series>,
}

#[derive(Deserialize)]
struct Series {
    count: u32,
}

impl Event {
    fn count(&self) -> u32 {
        self.series.as_ref().map_or(1, |series| series.count)
    }
}

#[async_trait]
impl EventSink for KubernetesEvents {
    fn leading(&self) -> watch::Receiver<bool> {
        self.leadership.watch()
    }

    async fn say(&self, notice: &Notice, before: u32) -> Result<u32, SinkError> {
        let notice = &self.identified(notice);
        let namespace = notice.object.key.namespace.as_deref().unwrap_or(CLUSTER_NAMESPACE);
        let (events, name) = (path(GROUP, "v1", Some(namespace), "events"), name(notice));
        let one = format!("{events}/{name}");
        let now = self.shared.env.clock.wall();
        if before > 0 {
            let count = before.saturating_add(1).max(2);
            let series = json!({ "series": { "count": count, "lastObservedTime": micro_time(now) } });
            match self.ask(Verb::Patch, &one, &series).await? {
                Answer::Event(event) => return Ok(event.count()),
                // The API server forgets Events after a while.
                Answer::Exists | Answer::Gone => {}
            }
        }
        let event = event(notice, namespace, &name, &self.instance, now);
        match self.ask(Verb::Create, &events, &event).await? {
            Answer::Event(_) | Answer::Gone => Ok(1),
            // Another replica said so, or we did before we were started. A patch of nothing tells how often.
            Answer::Exists => match self.ask(Verb::Patch, &one, &json!({})).await? {
                Answer::Event(event) => Ok(event.count()),
                Answer::Exists | Answer::Gone => Ok(1),
            },
        }
    }
}

impl KubernetesEvents {
    /// With the identity of an object that cannot be read and so is in no store, as far as that much can be read.
    fn identified(&self, notice: &Notice) -> Notice {
        let mut notice = notice.clone();
        if notice.uid.is_none() {
            let memory = self.shared.memory(&notice.object.resource_type);
            if let Some((uid, version)) = memory.quarantine.identity(&notice.object.key) {
                (notice.uid, notice.resource_version) = (uid, version);
            }
        }
        notice.note = shortened_with_dots(&notice.note);
        notice
    }
}

fn event(notice: &Notice, namespace: &str, name: &str, instance: &str, now: Duration) -> Value {
    let (of, key) = (&notice.object.resource_type, &notice.object.key);
    let mut regarding = json!({ "apiVersion": of.api_version(), "kind": of.kind(), "name": key.name });
    let more = [
        ("namespace", key.namespace.as_ref()),
        ("uid", notice.uid.as_ref()),
        ("resourceVersion", notice.resource_version.as_ref()),
    ];
    for (field, value) in more {
        if let Some(value) = value {
            regarding[field] = json!(value);
        }
    }
    json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": { "namespace": namespace, "name": name },
        "eventTime": micro_time(now),
        "reportingController": qualified(&notice.reporter),
        "reportingInstance": instance,
        "action": notice.action,
        "reason": shortened(&notice.reason, MAX_WORD),
        "regarding": regarding,
        "note": notice.note,
        "type": grade(notice.grade),
    })
}

fn grade(grade: Grade) -> &'static str {
    match grade {
        Grade::Normal => "Normal",
        Grade::Warning => "Warning",
    }
}

/// The object's name, as much of it as may stand in a name, and a sum of all that is said.
fn name(notice: &Notice) -> String {
    let mut sum = Xxh3::new();
    let parts = [
        notice.object.resource_type.plural(),
        notice.object.resource_type.group(),
        notice.object.key.name.as_ref(),
        notice.uid.as_deref().unwrap_or_default(),
        notice.reporter.as_ref(),
        grade(notice.grade),
        notice.action,
        notice.reason.as_ref(),
        notice.note.as_ref(),
    ];
    for part in parts {
        sum.update(part.as_bytes());
        sum.update(&[0]);
    }
    let plain = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' { c } else { '-' };
    let name: String = notice.object.key.name.to_lowercase().chars().map(plain).collect();
    // Each part between dots begins and ends with a letter or a digit.
    let parts = name.split('.').map(|part| part.trim_matches('-')).filter(|part| !part.is_empty());
    let name = parts.collect::<Vec<_>>().join(".");
    let name = shortened(&name, MAX_NAME).trim_end_matches(['.', '-']);
    let name = if name.is_empty() { "object" } else { name };
    format!("{name}.{:016x}", sum.digest())
}

/// A qualified name: at most one slash, and at most 63 characters behind it. Names of controllers may be longer paths.
fn qualified(reporter: &Name) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let clean = |text: &str| text.chars().map(plain).collect::<String>();
    let end = |text: &str| shortened(text, 63).trim_matches(['-', '_', '.']).to_owned();
    match reporter.split_once('/') {
        Some((domain, path)) => format!("{domain}/{}", end(&clean(path))),
        None => end(&clean(reporter)),
    }
}

fn shortened(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text[..end]
}

fn shortened_with_dots(note: &str) -> String {
    if note.len() <= MAX_NOTE { note.to_owned() } else { format!("{}...", shortened(note, MAX_NOTE - 3)) }
}

/// A namespace that is being deleted takes nothing new, which the API server says like a lack of permission.
fn is_ending(failure: &Failure) -> bool {
    failure.code == 403 && failure.message.contains("because it is being terminated")
}

#[cfg(test)]
mod tests {
    use tidegate_actors::id::{ObjectKey, ObjectRef, ResourceType, Scope};

    use super::*;

    fn mk_notice(name: &str, note: &str) -> Notice {
        let resource_type = ResourceType::new("example.com", "v1", "Thing", "things", Scope::Namespaced);
        Notice {
            object: ObjectRef { resource_type, key: ObjectKey::namespaced("c", "demo", name) },
            uid: Some("u-1".into()),
            resource_version: Some("7".into()),
            reporter: "tidegate.dev/gateway-controller".into(),
            grade: Grade::Warning,
            action: "ResolveRefs",
            reason: "BackendNotFound".into(),
            note: note.to_owned(),
        }
    }

    #[test]
    fn an_event_has_what_its_api_asks_for() {
        let event = event(&mk_notice("a", "no"), "demo", "a.1", "host_1", Duration::from_secs(1_767_225_600));
        let expected = json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"namespace": "demo", "name": "a.1"},
            "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "tidegate.dev/gateway-controller",
            "reportingInstance": "host_1", "action": "ResolveRefs", "reason": "BackendNotFound", "type": "Warning",
            "note": "no", "regarding": {"apiVersion": "example.com/v1", "kind": "Thing", "namespace": "demo",
                "name": "a", "uid": "u-1", "resourceVersion": "7"},
        });
        assert_eq!(event, expected);
    }

    #[test]
    fn what_says_the_same_has_one_name_whichever_version_it_was_seen_in() {
        let first = mk_notice("a", "no");
        let mut later = first.clone();
        later.resource_version = Some("8".into());
        assert_eq!(name(&first), name(&later));
        let mut healed = first.clone();
        healed.grade = Grade::Normal;
        let mut recreated = first.clone();
        recreated.uid = Some("u-2".into());
        for other in [mk_notice("a", "yes"), mk_notice("b", "no"), healed, recreated] {
            assert_ne!(name(&first), name(&other));
        }
    }

    #[test]
    fn names_are_such_as_the_api_takes_whatever_the_object_is_called() {
        for of in ["a", "system:Node-", "A_b..c", "-", &"x".repeat(253), &format!("{}.-", "y".repeat(235))] {
            let name = name(&mk_notice(of, ""));
            assert!(name.len() <= 253, "{name}");
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            let good = |part: &str| {
                !part.is_empty() && part.chars().all(plain) && !part.starts_with('-') && !part.ends_with('-')
            };
            assert!(name.split('.').all(good), "{of} became {name}");
        }
        assert_eq!(qualified(&"a.b/c/d e".into()), "a.b/c-d-e");
        assert_eq!(qualified(&format!("a.b/{}", "c".repeat(80)).into()), format!("a.b/{}", "c".repeat(63)));
    }

    #[test]
    fn a_long_note_is_cut_between_characters() {
        let note = shortened_with_dots(&"ä".repeat(600));
        assert!(note.len() <= MAX_NOTE && note.ends_with("ä..."), "{note}");
        assert_eq!(shortened_with_dots("short"), "short");
    }
}
