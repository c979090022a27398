//! Entries under our controller's name that are not ours to take back: shards have one name, and each speaks at its own
//! Gateways.
//!
//! Laws: an entry at another shard's Gateway stays; one at a Gateway that nobody here knows (it may be gone, or another
//! shard's that we have not heard of) is taken back only where that is ours for certain, or once when we begin to lead:
//! two shards that know different things never write over each other in turns.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tidegate_actors::id::{Name, ObjectKey, ObjectRef};

use crate::correlate::status::{ObjectStatus, Status};
use crate::correlate::{Answers, settings};
use crate::resource::types::GATEWAY_GROUP;

/// Who we are to those who read statuses.
#[derive(Clone, Debug, PartialEq)]
pub struct Speaker {
    /// The controller's name, in entries that have one.
    pub controller: Name,
    /// Whether other shards speak under this name, too.
    pub is_shard: bool,
}

impl Default for Speaker {
    fn default() -> Self {
        Self { controller: settings::CONTROLLER.into(), is_shard: false }
    }
}

type FullName = (Option<Name>, Name);

/// Who answers for which Gateway, and where entries of nobody are ours.
#[derive(Default)]
pub(super) struct Territory {
    gateways: BTreeMap<FullName, BTreeMap<Name, Answers>>,
    /// Objects of which, once, entries are taken back that are at Gateways which nobody knows.
    sweeping: BTreeSet<ObjectRef>,
}

impl Territory {
    /// What changed; `full`: what is not named is not known any more.
    pub fn apply<'a>(&mut self, full: bool, changes: impl Iterator<Item = (&'a ObjectKey, Option<Answers>)>) {
        if full {
            self.gateways.clear();
        }
        for (key, answers) in changes {
            let name = (key.namespace.clone(), key.name.clone());
            let sources = self.gateways.entry(name.clone()).or_default();
            match answers {
                Some(answers) => drop(sources.insert(key.source.clone(), answers)),
                None => drop(sources.remove(&key.source)),
            }
            if sources.is_empty() {
                self.gateways.remove(&name);
            }
        }
    }

    /// At the next look at the object, entries that nobody answers for are ours.
    pub fn sweep(&mut self, object: &ObjectRef) {
        self.sweeping.insert(object.clone());
    }

    /// Whether this look at the object is such a one. The next one is not, unless it is asked for again.
    pub fn sweeps(&mut self, object: &ObjectRef) -> bool {
        self.sweeping.remove(object)
    }

    /// Whether an entry under our name, in the status of an object, is left to another shard.
    pub fn leaves(&self, object: &ObjectRef, entry: &Value, sweeps: bool) -> bool {
        let field = |name: &str| entry.get("parentRef").and_then(|parent| parent.get(name)).and_then(Value::as_str);
        let is_gateway = field("group").is_none_or(|group| group == GATEWAY_GROUP)
            && field("kind").is_none_or(|kind| kind == "Gateway");
        let Some(name) = field("name").filter(|_| is_gateway) else { return false };
        let namespace = field("namespace").map(Name::from).or_else(|| object.key.namespace.clone());
        let sources = self.gateways.get(&(namespace, name.into()));
        // A reference resolves in its own source first.
        let own = |sources: &BTreeMap<Name, Answers>| sources.get(&object.key.source).copied();
        match sources.and_then(|sources| own(sources).or_else(|| sources.values().next().copied())) {
            Some(Answers::Here) => false,
            Some(Answers::Elsewhere) => true,
            None => !sweeps,
        }
    }
}

/// Whether an object was told something at a parent at which it no longer is.
pub(super) fn loses_a_parent(before: Option<&ObjectStatus>, now: Option<&ObjectStatus>) -> bool {
    let parents = |status: Option<&ObjectStatus>| match status.map(|status| &status.status) {
        Some(Status::Route(route)) => route.parents.iter().map(|parent| parent.parent_ref.clone()).collect(),
        _ => Vec::new(),
    };
    let now = parents(now);
    parents(before).iter().any(|parent| !now.contains(parent))
}
