//! What is wrong in the directory, as problems by place. Keeps what it said, so that only differences go out.

use std::collections::BTreeMap;

use tidegate_actors::id::{Name, ObjectRef};
use tidegate_actors::problem::{Problem, Problems, Serving};

use super::document::Body;
use super::kit::Kit;
use super::ledger::FileState;

/// What a problem is about, for as long as it stands.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    /// The directory itself, by topic.
    Source(String),
    /// What stands in one file.
    File(Name),
    /// An object that is defined more than once.
    Conflict(ObjectRef),
}

/// See the module.
#[derive(Default)]
pub(super) struct Report {
    said: BTreeMap<About, BTreeMap<String, Problem>>,
    changes: Vec<(String, Option<Problem>)>,
}

impl Report {
    /// Hands what changed since the last time to the registry.
    pub fn publish(&mut self, problems: &Problems, scope: &str) {
        // Taken back first: what moved may carry the id of what was there before.
        self.changes.sort_by_key(|(_, problem)| problem.is_some());
        for (id, problem) in self.changes.drain(..) {
            match problem {
                Some(problem) => drop(problems.set(scope, &id, problem)),
                None => drop(problems.clear(scope, &id)),
            }
        }
    }

    /// All that stands, by place.
    pub fn all(&self) -> Vec<Problem> {
        let mut all: Vec<_> = self.said.values().flatten().collect();
        all.sort_by_key(|(id, _)| *id);
        all.into_iter().map(|(_, problem)| problem.clone()).collect()
    }

    /// Says, or takes back, something about the directory as a whole.
    pub fn source(&mut self, topic: &str, place: &str, problem: Option<(String, Serving)>) {
        let problem = problem.map(|(reason, serving)| {
            let problem = Problem { place: place.to_owned(), object: None, field: String::new(), reason, serving };
            // Before all files, whose ids start with their paths.
            (format!("!{topic}"), problem)
        });
        self.say(About::Source(topic.to_owned()), problem.into_iter().collect());
    }

    /// Says what is wrong in a file; nothing if it is gone.
    /// `restored`: what it does not mention may be served as an earlier run had it.
    pub fn file(
        &mut self,
        path: &Name,
        file: Option<&FileState>,
        kit: &Kit,
        is_served: impl Fn(&ObjectRef) -> bool,
        restored: bool,
    ) {
        let mut problems = BTreeMap::new();
        if let Some(file) = file {
            describe(path, file, kit, is_served, restored, &mut problems);
        }
        self.say(About::File(path.clone()), problems);
    }

    /// Says that an object is defined in several places, the first of which counts.
    pub fn conflict(&mut self, id: &ObjectRef, places: &[(Name, usize)]) {
        let Some((first, others)) = places.split_first() else { return };
        let problems = others.iter().enumerate().map(|(at, place)| {
            let reason = format!(
                "also defined at {}, which was there first and is the one that counts; remove one of them",
                spell(first)
            );
            let problem = Problem {
                place: spell(place),
                object: Some(id.clone()),
                field: String::new(),
                reason,
                serving: Serving::Current,
            };
            (format!("{}#conflict#{id}#{at}", key(place)), problem)
        });
        self.say(About::Conflict(id.clone()), problems.collect());
    }

    /// Takes back what was said about an object's definitions.
    pub fn no_conflict(&mut self, id: &ObjectRef) {
        self.say(About::Conflict(id.clone()), BTreeMap::new());
    }

    fn say(&mut self, about: About, problems: BTreeMap<String, Problem>) {
        let empty = BTreeMap::new();
        let old = self.said.get(&about).unwrap_or(&empty);
        let gone = old.keys().filter(|id| !problems.contains_key(*id)).map(|id| (id.clone(), None));
        let new = problems.iter().filter(|(id, problem)| old.get(*id) != Some(*problem));
        let changes: Vec<_> = gone.chain(new.map(|(id, problem)| (id.clone(), Some(problem.clone())))).collect();
        self.changes.extend(changes);
        if problems.is_empty() {
            self.said.remove(&about);
        } else {
            self.said.insert(about, problems);
        }
    }
}

/// `routes.yaml:17`, or the path alone when the line is not known.
fn spell((path, line): &(Name, usize)) -> String {
    if *line == 0 { path.to_string() } else { format!("{path}:{line}") }
}

/// An id that sorts by path, then by line.
fn key((path, line): &(Name, usize)) -> String {
    format!("{path}#{line:08}")
}

fn describe(
    path: &Name,
    file: &FileState,
    kit: &Kit,
    is_served: impl Fn(&ObjectRef) -> bool,
    restored: bool,
    problems: &mut BTreeMap<String, Problem>,
) {
    if let Some(reason) = &file.unreadable {
        let serving = if file.documents.is_empty() && !restored { Serving::Nothing } else { Serving::LastGood };
        let problem =
            Problem { place: path.to_string(), object: None, field: String::new(), reason: reason.clone(), serving };
        problems.insert(key(&(path.clone(), 0)), problem);
    }
    let parts =
        || file.documents.iter().flat_map(|placed| placed.document.parts.iter().map(move |part| (placed, part)));
    let is_named = |id: &ObjectRef| {
        parts().any(|(_, part)| matches!(&part.body, Body::Broken { object: Some(object), .. } if object == id))
    };
    let mut missing = file.kept.iter().filter(|id| !is_named(id));
    // With one document that nobody can identify and one object missing, it is clear what it was.
    let (first, second) = (missing.next(), missing.next());
    let alone = parts().filter(|(_, part)| part.body.is_unidentified()).nth(1).is_none();
    let likely = first.filter(|_| second.is_none() && alone);
    let fails_closed = |id: &ObjectRef| {
        let known = kit.known(id.resource_type.group(), id.resource_type.kind());
        known.is_some_and(|known| known.entry.fails_closed)
    };
    for (placed, part) in parts() {
        let mut add = |line: usize, object: Option<&ObjectRef>, field: &str, reason: &str, serving: Serving| {
            let place = (path.clone(), line);
            let problem = Problem {
                place: spell(&place),
                object: object.cloned(),
                field: field.to_owned(),
                reason: reason.to_owned(),
                serving,
            };
            let count = problems.len();
            problems.insert(format!("{}#{count:04}", key(&place)), problem);
        };
        let unidentified = if first.is_some() || restored { Serving::LastGood } else { Serving::Nothing };
        match &part.body {
            Body::Good(_) | Body::Foreign { hint: None, .. } => {}
            Body::Foreign { hint: Some(hint), .. } => {
                add(placed.line + part.line, likely, "kind", hint, unidentified);
            }
            Body::Broken { object, faults } => {
                let serving = match object {
                    Some(id) if is_served(id) && !fails_closed(id) => Serving::LastGood,
                    Some(_) => Serving::Nothing,
                    None => unidentified,
                };
                for fault in faults {
                    let object = object.as_ref().or(likely);
                    add(placed.line + fault.line, object, &fault.field, &fault.reason, serving);
                }
            }
        }
    }
}
