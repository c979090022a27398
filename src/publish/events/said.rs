//! What is said, and in which words: of conditions, of rejections, of problems. Pure.
//!
//! Law: nothing is said of a secret but that it is wrong, and where.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_actors::id::Name;
use tidegate_actors::problem::{Problem, Serving};

use super::Key;
use crate::correlate::status::{Condition, ObjectStatus, Status, Truth, condition, reason};
use crate::publish::rejections::{Rejection, spell};

/// What was being done when something went wrong, as an Event's `action` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// An object's references were followed.
    ResolveRefs,
    /// Proxies were told.
    Program,
    /// It was read.
    Read,
    /// It was translated.
    Translate,
}

/// What is wrong, in a word and in sentences.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Said {
    /// As an Event's `reason` has it.
    pub reason: Name,
    /// As an Event's `note` has it.
    pub note: String,
}

impl Action {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::ResolveRefs => "ResolveRefs",
            Self::Program => "Program",
            Self::Read => "Read",
            Self::Translate => "Translate",
        }
    }

    /// That it succeeds again.
    pub fn healed(self) -> Said {
        let (reason, note) = match self {
            Self::ResolveRefs => (reason::RESOLVED_REFS, "its references resolve again"),
            Self::Program => (reason::PROGRAMMED, "no proxy rejects it any more"),
            Self::Read => ("Readable", "it can be read again"),
            Self::Translate => ("Translated", "it is translated again"),
        };
        Said { reason: reason.into(), note: note.to_owned() }
    }
}

/// Which of its references do not resolve.
pub(super) fn of_status(told: &ObjectStatus) -> Option<Said> {
    let mut wrong: Vec<(&Condition, String)> = Vec::new();
    match &told.status {
        Status::GatewayClass(_) => {}
        Status::Gateway(gateway) => {
            for listener in &gateway.listeners {
                let condition = unresolved(&listener.conditions);
                wrong.extend(condition.map(|of| (of, format!("listener {}: {}", listener.name, of.message))));
            }
        }
        Status::Route(route) => {
            let conditions = route.parents.iter().filter_map(|parent| unresolved(&parent.conditions));
            wrong.extend(conditions.map(|condition| (condition, condition.message.clone())));
        }
    }
    let reason = wrong.first()?.0.reason.into();
    // Parents often say the same.
    let mut notes: Vec<String> = Vec::new();
    for (_, note) in wrong {
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    Some(Said { reason, note: notes.join("; ") })
}

fn unresolved(conditions: &[Condition]) -> Option<&Condition> {
    conditions.iter().find(|of| of.r#type == condition::RESOLVED_REFS && of.status == Truth::False)
}

/// That proxies reject it. Which they are is in its conditions: a fleet that rejects it is one event, and not one for
/// each proxy.
pub(super) fn of_rejections(rejections: &[Rejection]) -> Said {
    Said { reason: reason::REJECTED_BY_PROXY.into(), note: spell(rejections, false) }
}

/// What cannot be read or translated.
pub(super) fn of_problems(problems: Vec<(String, Problem)>) -> BTreeMap<Key, Said> {
    let mut all: BTreeMap<Key, (&'static str, BTreeSet<String>)> = BTreeMap::new();
    for (scope, problem) in problems {
        let (action, reason) = match scope.split('/').next() {
            Some("source" | "view") => (Action::Read, "Unreadable"),
            Some("correlation") => (Action::Translate, "TranslationFailed"),
            _ => continue,
        };
        let Some(object) = problem.object.clone() else { continue };
        let note = note(action, &problem);
        all.entry((object, action)).or_insert_with(|| (reason, BTreeSet::new())).1.insert(note);
    }
    let said = |(key, (reason, notes)): (Key, (&str, BTreeSet<String>))| {
        let note = notes.into_iter().collect::<Vec<_>>().join("; ");
        (key, Said { reason: reason.into(), note })
    };
    all.into_iter().map(said).collect()
}

fn note(action: Action, problem: &Problem) -> String {
    let meanwhile = match problem.serving {
        Serving::LastGood => "; its last good version stays in force",
        Serving::Nothing => "; nothing of it is served",
        Serving::Current => "",
    };
    let is_secret = problem.object.as_ref().is_some_and(|object| object.resource_type.plural_and_group() == "secrets");
    let place = if problem.field.is_empty() { String::new() } else { format!("{}: ", problem.field) };
    match action {
        // A panic's words are those of code, which quotes what it likes.
        Action::Translate if is_secret => format!("it cannot be translated{meanwhile}"),
        Action::Translate => format!("it cannot be translated: {}{meanwhile}", problem.reason),
        _ => format!("it cannot be read: {place}{}{meanwhile}", problem.reason),
    }
}
