//! When Tidegate is ready, and which actor or type is missing: a pure function of what is known.

use std::time::Duration;

use serde::Serialize;
use tidegate_actors::supervisor::{State, TreeStatus};

use super::state::{Slot, SyncPhase};

/// What has been published so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// A configuration that was computed from the sources.
    pub fresh: bool,
    /// A validated snapshot of an earlier run.
    pub snapshot: bool,
}

/// The answer of `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether proxies may be pointed at us.
    pub ready: bool,
    /// Whether what is served is older than it should be, or some actor does not work as it should.
    pub degraded: bool,
    /// The answer in a sentence.
    pub message: String,
    /// What must happen before we are ready.
    pub missing: Vec<Lack>,
    /// What is not as it should be, though we are ready or not for other reasons.
    pub concerns: Vec<Lack>,
}

/// Something that is missing or wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lack {
    /// `actor`, `type` or `publication`.
    pub what: &'static str,
    /// Path of the actor, or `SOURCE:plural.group/version` without the source if none has the type.
    pub name: String,
    /// Why, in words.
    pub reason: String,
}

impl Readiness {
    /// Puts together what is known. `required` are types as `plural.group`; empty: every slot that was not merely discovered, and whatever is
    /// `unserved`: read by somebody, and served by no source.
    pub fn assess(
        slots: &[Slot],
        required: &[String],
        unserved: Vec<Lack>,
        tree: &TreeStatus,
        published: Published,
    ) -> Self {
        let mut missing = Vec::new();
        let mut concerns = Vec::new();
        for slot in slots {
            let needed = if required.is_empty() { !slot.discovered } else { required.contains(&type_name(slot)) };
            let lack =
                |reason: String| Lack { what: "type", name: format!("{}:{}", slot.source, slot.resource_type), reason };
            match &slot.phase {
                SyncPhase::Synced | SyncPhase::Absent(_) => {}
                SyncPhase::Pending(reason) if needed => {
                    let why = reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
                    missing.push(lack(format!("its first list is not complete{why}")));
                }
                SyncPhase::Pending(reason) => {
                    concerns.push(lack(reason.clone().unwrap_or_else(|| "its first list is not complete".to_owned())));
                }
                SyncPhase::Stale(reason) => {
                    let age = slot.age.map_or(String::new(), |age| format!(", heard of {} ago,", spell(age)));
                    concerns.push(lack(format!("an older state{age} is served: {reason}")));
                }
            }
        }
        for name in required {
            if !slots.iter().any(|slot| type_name(slot) == *name) {
                let reason = "is required but nothing watches it yet".to_owned();
                missing.push(Lack { what: "type", name: name.clone(), reason });
            }
        }
        if required.is_empty() { &mut missing } else { &mut concerns }.extend(unserved);
        if !published.fresh {
            let reason = "no configuration computed from the sources was published yet".to_owned();
            missing.push(Lack { what: "publication", name: "model".to_owned(), reason });
        }
        troubled(tree, &mut concerns);
        if published.snapshot && !missing.is_empty() {
            // A snapshot was validated before it was loaded, so it may be served until there is better.
            concerns.append(&mut missing);
        }
        if tree.state == State::Stopping {
            // Whatever is served while it drains, nobody new should come.
            missing.insert(0, Lack { what: "actor", name: tree.name.clone(), reason: "is stopping".to_owned() });
        }
        let ready = missing.is_empty();
        let degraded = !concerns.is_empty();
        Self { ready, degraded, message: message(&missing, &concerns), missing, concerns }
    }
}

/// A time in its largest unit: people want to know whether it is seconds or days.
fn spell(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn type_name(slot: &Slot) -> String {
    let (plural, group) = (slot.resource_type.plural(), slot.resource_type.group());
    if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") }
}

/// Actors that are down, or say that they do not do well.
fn troubled(tree: &TreeStatus, concerns: &mut Vec<Lack>) {
    let word = match tree.state {
        State::Degraded => Some("is degraded"),
        State::BackingOff => Some("ended and is waiting to be started again"),
        State::Open => Some("ended too often; its circuit breaker is open"),
        State::Paused => Some("is paused"),
        State::Failed => Some("failed and is not restarted"),
        State::Starting | State::Running | State::Waiting | State::Stopping | State::Stopped => None,
    };
    if let Some(word) = word {
        let why = tree.last_error.as_ref().map_or(String::new(), |error| format!(": {error}"));
        let name = if tree.path.is_empty() { tree.name.clone() } else { tree.path.clone() };
        concerns.push(Lack { what: "actor", name, reason: format!("{word}{why}") });
    }
    for child in &tree.children {
        troubled(child, concerns);
    }
}

fn message(missing: &[Lack], concerns: &[Lack]) -> String {
    let list = |lacks: &[Lack]| {
        let lines: Vec<String> = lacks.iter().map(|l| format!("{} {}: {}", l.what, l.name, l.reason)).collect();
        lines.join("; ")
    };
    match (missing.is_empty(), concerns.is_empty()) {
        (true, true) => "ready".to_owned(),
        (true, false) => format!("ready, degraded: {}", list(concerns)),
        (false, _) => format!("not ready: {}", list(missing)),
    }
}
