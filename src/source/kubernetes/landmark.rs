//! By what a server is known again. One that was restored from a backup may have come past the cursor by the time that
//! somebody looks, since it writes on its own; then no position tells that its history is another. What it has of the
//! newest object that was told of does: if anything of the type was done since the backup, this was.
//!
//! Law: what is missing counts as lost only if there was time to tell that it was deleted.

use std::cmp::Ordering;
use std::sync::Arc;

use tidegate_actors::id::{Name, ObjectKey};
use tidegate_actors::object::Object;
use tidegate_actors::source::{Cursor, SourceEvent};

use super::shared::Memory;
use super::version::compare;

/// The newest that was told of a type.
#[derive(Clone, Debug)]
pub(super) enum Landmark {
    /// An object was added or changed.
    Held(Arc<Object>),
    /// An object was deleted, at that version.
    Gone(ObjectKey, Name),
}

/// What the server has of a landmark, and what that says of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing against it.
    Same,
    /// Its history is another; how that is seen.
    Other(String),
    /// The object is missing, which a deletion that is about to be told would explain.
    Missing,
}

impl Landmark {
    /// The newest of some objects; `None` if none has a version that can be ordered.
    pub fn newest<'a>(objects: impl IntoIterator<Item = &'a Arc<Object>>) -> Option<Self> {
        let later = |newest, object| if is_newer(object, newest) { Some(object) } else { newest };
        objects.into_iter().fold(None, later).cloned().map(Self::Held)
    }

    /// Whose it is.
    pub fn key(&self) -> &ObjectKey {
        match self {
            Self::Held(object) => object.key(),
            Self::Gone(key, _) => key,
        }
    }

    /// `found` is the version in which the server has it now, if it has it.
    pub fn judge(&self, found: Option<&str>) -> Verdict {
        let (told, was) = match self {
            Self::Held(object) => (version(object), "had been"),
            Self::Gone(_, version) => (&**version, "was deleted"),
        };
        match (found, self) {
            (Some(found), _) if compare(found, told) == Some(Ordering::Less) => {
                Verdict::Other(format!("it has {} at {found}, which {was} at {told}", self.key()))
            }
            (None, Self::Held(_)) => Verdict::Missing,
            _ => Verdict::Same,
        }
    }
}

/// Objects without a version that can be ordered are never newer.
fn is_newer(object: &Arc<Object>, than: Option<&Arc<Object>>) -> bool {
    compare(version(object), than.map_or("0", |than| version(than))) == Some(Ordering::Greater)
}

fn version(object: &Object) -> &str {
    object.resource_version().unwrap_or_default()
}

/// What one stream leaves to the next.
#[derive(Clone, Debug)]
pub(super) struct Remembered {
    landmark: Landmark,
    /// It was looked for in vain.
    missed: bool,
}

/// Follows what a stream of a namespace, or of all, tells, and remembers it for the next one.
pub(super) struct Tracker {
    memory: Arc<Memory>,
    namespace: Option<Name>,
    /// What an earlier stream told last, until the server is known to be the same. What this one tells may be of
    /// another history already.
    before: Option<Remembered>,
    newest: Option<Landmark>,
    /// A list is complete; before that `newest` is the newest of a part.
    complete: bool,
    /// Deleted at the version that is told next.
    deleted: Option<ObjectKey>,
}

impl Tracker {
    /// Begins with what the last stream of the namespace left.
    pub fn new(memory: Arc<Memory>, namespace: Option<Name>) -> Self {
        let before = memory.landmark(&namespace);
        let newest = before.as_ref().map(|before| before.landmark.clone());
        Self { memory, namespace, before, newest, complete: true, deleted: None }
    }

    /// By what the server is to be known again.
    pub fn before(&self) -> Option<&Landmark> {
        self.before.as_ref().map(|before| &before.landmark)
    }

    /// This is told.
    pub fn tell(&mut self, event: &SourceEvent) {
        match event {
            SourceEvent::Init => (self.before, self.newest, self.complete) = (None, None, false),
            SourceEvent::InitApply(object) => {
                let held = match &self.newest {
                    Some(Landmark::Held(held)) => Some(held),
                    _ => None,
                };
                if is_newer(object, held) {
                    self.newest = Some(Landmark::Held(object.clone()));
                }
            }
            SourceEvent::InitKeep(_) => {}
            SourceEvent::InitDone(_) => (self.complete, self.deleted) = (true, None),
            SourceEvent::Apply(object) => {
                // It was deleted and made anew.
                let again = self.before.as_mut().filter(|before| before.landmark.key() == object.key());
                again.into_iter().for_each(|before| before.missed = false);
                if is_newer(object, None) {
                    self.newest = Some(Landmark::Held(object.clone()));
                }
            }
            SourceEvent::Delete(key) => {
                self.before.take_if(|before| before.landmark.key() == key);
                self.deleted = Some(key.clone());
            }
            SourceEvent::Bookmark(Cursor(version)) => {
                if let Some(key) = self.deleted.take() {
                    self.newest = Some(Landmark::Gone(key, version.clone()));
                }
            }
        }
    }

    /// The server was looked at. If it is another, says how that is seen.
    pub fn judged(&mut self, verdict: Verdict) -> Result<(), String> {
        match verdict {
            Verdict::Same => self.before = None,
            Verdict::Other(reason) => return Err(reason),
            Verdict::Missing if self.is_missed() => return self.explained(),
            Verdict::Missing => self.before.iter_mut().for_each(|before| before.missed = true),
        }
        Ok(())
    }

    /// Whether something was looked for in vain, and nobody has told why.
    pub fn is_missed(&self) -> bool {
        self.before.as_ref().is_some_and(|before| before.missed)
    }

    /// There was time to tell why something is missing. If nobody has, says what is lost.
    pub fn explained(&self) -> Result<(), String> {
        match &self.before {
            Some(before) if before.missed => Err(format!("{}, which was there, is missing", before.landmark.key())),
            _ => Ok(()),
        }
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        if self.complete {
            let newest = self.newest.take().map(Remembered::from);
            self.memory.remember(&self.namespace, self.before.take().or(newest));
        }
    }
}

impl From<Landmark> for Remembered {
    fn from(landmark: Landmark) -> Self {
        Self { landmark, missed: false }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_actors::id::{ResourceType, Scope};
    use tidegate_actors::object::Decoder;

    use super::*;

    fn mk_object(name: &str, version: &str) -> Arc<Object> {
        let things = ResourceType::new("", "v1", "Thing", "things", Scope::Cluster);
        let json = format!(r#"{{"metadata":{{"name":"{name}","resourceVersion":"{version}"}}}}"#);
        Arc::new(Decoder::new("c".into(), things).decode(json).unwrap())
    }

    #[test]
    fn the_newest_is_the_one_with_the_highest_number() {
        let newest = |all: &[(&str, &str)]| {
            let all: Vec<_> = all.iter().map(|(name, version)| mk_object(name, version)).collect();
            Landmark::newest(&all).map(|newest| newest.key().name.to_string())
        };
        assert_eq!(newest(&[("a", "9"), ("b", "10"), ("c", "2")]).as_deref(), Some("b"));
        assert_eq!(newest(&[("a", "x"), ("b", "7")]).as_deref(), Some("b"));
        assert_eq!(newest(&[("a", "x"), ("b", "")]), None, "nobody can tell");
        assert_eq!(newest(&[]), None);
    }

    #[test]
    fn what_is_older_than_it_was_is_of_another_history_and_what_is_missing_may_have_been_deleted() {
        let held = Landmark::Held(mk_object("a", "12"));
        let reason = "it has c:a at 9, which had been at 12".to_owned();
        assert_eq!(held.judge(Some("9")), Verdict::Other(reason));
        assert_eq!(held.judge(None), Verdict::Missing);
        let gone = Landmark::Gone(ObjectKey::cluster("c", "a"), "12".into());
        let reason = "it has c:a at 9, which was deleted at 12".to_owned();
        assert_eq!(gone.judge(Some("9")), Verdict::Other(reason));
        assert_eq!(gone.judge(None), Verdict::Same);
        for landmark in [held, gone] {
            assert_eq!(landmark.judge(Some("12")), Verdict::Same);
            assert_eq!(landmark.judge(Some("13")), Verdict::Same, "changed since, or made anew");
            assert_eq!(landmark.judge(Some("x")), Verdict::Same, "nobody can tell");
        }
    }
}
