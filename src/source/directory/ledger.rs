//! Which file defines which object, and what is served of it: files in, changes and problems out. Pure state,
//! no files, no clock.
//!
//! Laws: who defined an object first keeps it; a broken document costs at most its own object's next version
//! (nothing at all when the last one was good, unless the kind fails closed); a document that nobody can
//! identify keeps alive what its file no longer mentions; an unreadable file changes nothing.

mod before;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_actors::id::{Name, ObjectRef};
use tidegate_actors::object::Object;
use tidegate_actors::{Map, Set};

use self::before::Before;
use super::document::{Body, Document, adopt};
use super::kit::Kit;
use super::report::Report;
use super::restored::Restored;

/// A document where it stands in its file.
#[derive(Clone)]
pub(super) struct Placed {
    /// Its first line in the file, from 1.
    pub line: usize,
    /// What it is.
    pub document: Arc<Document>,
}

/// What happened to a file.
pub(super) enum Update {
    /// It was read.
    Content(Vec<Placed>),
    /// It is there, or should be, and cannot be read.
    Unreadable(String),
    /// It is gone.
    Gone,
}

/// An object that is served from now on in this version, or no more.
pub(super) type Change = (ObjectRef, Option<Arc<Object>>);

/// Who is first: the earlier batch, then the path, then the place in the file.
type Since = (u64, Name, usize);

/// One file's claim to an object.
struct Holder {
    since: Since,
    claim: Claim,
    object: Option<Arc<Object>>,
}

enum Claim {
    /// A good document.
    Good(Arc<Document>),
    /// The last good version of what is broken now.
    LastGood,
    /// Broken, and of a kind that fails closed.
    Closed,
}

impl Holder {
    fn path(&self) -> &Name {
        &self.since.1
    }
}

/// All that is known of one object.
#[derive(Default)]
struct Standing {
    /// First come, first served.
    holders: Vec<Holder>,
    served: Option<Arc<Object>>,
}

/// What is known of one file.
#[derive(Default)]
pub(super) struct FileState {
    /// What is in it.
    pub documents: Vec<Placed>,
    /// Objects whose last good version, or whose absence, is kept for it.
    pub kept: Vec<ObjectRef>,
    /// Why it could not be read the last time.
    pub unreadable: Option<String>,
}

/// See the module.
#[derive(Default)]
pub(super) struct Ledger {
    /// What an earlier run held.
    pub restored: Restored,
    files: BTreeMap<Name, FileState>,
    objects: Map<ObjectRef, Standing>,
    conflicts: Set<ObjectRef>,
    batch: u64,
}

/// What one batch touches, in order.
#[derive(Default)]
struct Touched {
    order: Vec<ObjectRef>,
    seen: Set<ObjectRef>,
}

impl Touched {
    fn add(&mut self, object: &ObjectRef) {
        if self.seen.insert(object.clone()) {
            self.order.push(object.clone());
        }
    }
}

impl Ledger {
    /// Takes in what happened to some files, as one step: what is served and reported after it is what the
    /// files say together.
    pub fn apply(&mut self, updates: BTreeMap<Name, Update>, kit: &Kit, report: &mut Report) -> Vec<Change> {
        self.batch += 1;
        let mut touched = Touched::default();
        let mut paths = Vec::new();
        for (path, update) in updates {
            match update {
                Update::Content(documents) => self.content(&path, documents, kit, &mut touched),
                Update::Gone => {
                    self.content(&path, Vec::new(), kit, &mut touched);
                    self.files.remove(&path);
                }
                Update::Unreadable(reason) => {
                    self.files.entry(path.clone()).or_default().unreadable = Some(reason);
                }
            }
            paths.push(path);
        }
        self.settle(&touched, &paths, kit, report)
    }

    /// Looks again at documents of kinds that have become known since they were parsed.
    pub fn adopt(&mut self, kit: &Kit, report: &mut Report) -> Vec<Change> {
        let mut updates = BTreeMap::new();
        for (path, file) in &self.files {
            let mut documents = file.documents.clone();
            let mut adopted = false;
            for placed in &mut documents {
                let parts = || placed.document.parts.iter().map(|part| adopt(part, kit));
                if parts().any(|part| part.is_some()) {
                    let parts =
                        placed.document.parts.iter().map(|part| adopt(part, kit).unwrap_or_else(|| part.clone()));
                    placed.document = Arc::new(Document { hash: placed.document.hash, parts: parts.collect() });
                    adopted = true;
                }
            }
            if adopted {
                updates.insert(path.clone(), (documents, file.unreadable.clone()));
            }
        }
        self.batch += 1;
        let mut touched = Touched::default();
        let paths: Vec<_> = updates.keys().cloned().collect();
        for (path, (documents, unreadable)) in updates {
            self.content(&path, documents, kit, &mut touched);
            self.files.entry(path).or_default().unreadable = unreadable;
        }
        self.settle(&touched, &paths, kit, report)
    }

    /// The documents of a file as it was read last.
    pub fn documents(&self, path: &str) -> &[Placed] {
        self.files.get(path).map_or(&[], |file| &file.documents)
    }

    /// The files that are known, in order.
    pub fn paths(&self) -> impl Iterator<Item = &Name> {
        self.files.keys()
    }

    /// What is known of each.
    pub fn files(&self) -> impl Iterator<Item = &FileState> {
        self.files.values()
    }

    /// Everything that is served.
    pub fn served(&self) -> impl Iterator<Item = (&ObjectRef, &Arc<Object>)> {
        self.objects.iter().filter_map(|(id, standing)| Some((id, standing.served.as_ref()?)))
    }

    /// The version of one object that is served.
    pub fn serves(&self, object: &ObjectRef) -> Option<&Arc<Object>> {
        self.objects.get(object)?.served.as_ref()
    }

    fn content(&mut self, path: &Name, mut documents: Vec<Placed>, kit: &Kit, touched: &mut Touched) {
        let old = self.files.remove(path).unwrap_or_default();
        // Most edits change one document of many: what is the same at both ends costs nothing below.
        let same = |pair: &(&Placed, &Placed)| Arc::ptr_eq(&pair.0.document, &pair.1.document);
        let head = old.documents.iter().zip(&documents).take_while(same).count();
        let (old_rest, new_rest) = (&old.documents[head..], &documents[head..]);
        let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(same).count();
        let middle = head..documents.len() - tail;

        let mut before = Before::default();
        for placed in &old_rest[..old_rest.len() - tail] {
            for (_, object) in goods(&placed.document) {
                let id = object.object_ref();
                let is_it = |claim: &Claim| matches!(claim, Claim::Good(of) if Arc::ptr_eq(of, &placed.document));
                before.add(&id, self.release(&id, path, is_it));
            }
        }
        for id in &old.kept {
            before.add(id, self.release(id, path, |claim| !matches!(claim, Claim::Good(_))));
        }
        for (at, placed) in documents.iter_mut().enumerate().take(middle.end).skip(middle.start) {
            before.share(&mut placed.document);
            for (_, object) in goods(&placed.document) {
                let id = object.object_ref();
                let since = before.since(&id).unwrap_or((self.batch, path.clone(), at));
                let claim = Claim::Good(placed.document.clone());
                self.claim(&id, Holder { since, claim, object: Some(object.clone()) });
                touched.add(&id);
            }
        }
        let kept = self.keep(path, &documents, before, kit, touched);
        old.kept.iter().for_each(|id| touched.add(id));
        self.files.insert(path.clone(), FileState { documents, kept, unreadable: None });
    }

    /// Claims what broken documents keep: the last good version, or the absence of what fails closed.
    fn keep(
        &mut self,
        path: &Name,
        documents: &[Placed],
        mut before: Before,
        kit: &Kit,
        touched: &mut Touched,
    ) -> Vec<ObjectRef> {
        let bodies = || documents.iter().flat_map(|placed| placed.document.parts.iter().map(|part| &part.body));
        let unidentified = bodies().any(Body::is_unidentified);
        let named: BTreeSet<&ObjectRef> = bodies()
            .filter_map(|body| match body {
                Body::Broken { object, .. } => object.as_ref(),
                _ => None,
            })
            .collect();
        let mut candidates = before.order.clone();
        candidates.extend(named.iter().filter(|id| !before.seen.contains_key(**id)).map(|id| (*id).clone()));
        let mut kept = Vec::new();
        for id in candidates {
            touched.add(&id);
            let is_good = |holder: &Holder| holder.path() == path && matches!(holder.claim, Claim::Good(_));
            if self.objects.get(&id).is_some_and(|standing| standing.holders.iter().any(is_good)) {
                continue;
            }
            let object = before.object(&id);
            let closes = kit
                .known(id.resource_type.group(), id.resource_type.kind())
                .is_some_and(|known| known.entry.fails_closed);
            let claim = match (named.contains(&id), closes) {
                (true, true) => Claim::Closed,
                (true, false) if object.is_some() => Claim::LastGood,
                (false, false) if unidentified && object.is_some() => Claim::LastGood,
                _ => continue,
            };
            let since = before.since(&id).unwrap_or((self.batch, path.clone(), usize::MAX));
            let object = object.filter(|_| !closes);
            self.claim(&id, Holder { since, claim, object });
            kept.push(id);
        }
        kept
    }

    fn claim(&mut self, id: &ObjectRef, holder: Holder) {
        let holders = &mut self.objects.entry(id.clone()).or_default().holders;
        let at = holders.partition_point(|other| other.since <= holder.since);
        holders.insert(at, holder);
    }

    /// Takes one claim of a file back.
    fn release(&mut self, id: &ObjectRef, path: &Name, is_it: impl Fn(&Claim) -> bool) -> Option<Holder> {
        let holders = &mut self.objects.get_mut(id)?.holders;
        let at = holders.iter().position(|holder| holder.path() == path && is_it(&holder.claim))?;
        Some(holders.remove(at))
    }

    /// Decides anew about what was touched, and reports.
    fn settle(&mut self, touched: &Touched, paths: &[Name], kit: &Kit, report: &mut Report) -> Vec<Change> {
        let mut changes = Vec::new();
        for id in &touched.order {
            let Some(standing) = self.objects.get_mut(id) else { continue };
            let winner = standing.holders.first().and_then(|first| first.object.clone());
            if winner.as_ref().map(|object| object.raw()) != standing.served.as_ref().map(|object| object.raw()) {
                changes.push((id.clone(), winner.clone()));
            }
            standing.served = winner;
            let holders = standing.holders.len();
            if holders == 0 {
                self.objects.remove(id);
            }
            if holders > 1 {
                self.conflicts.insert(id.clone());
            } else if self.conflicts.remove(id) {
                report.no_conflict(id);
            }
        }
        for path in paths {
            let is_served = |id: &ObjectRef| self.serves(id).is_some() || self.restored.contains(id);
            report.file(path, self.files.get(path), kit, is_served, !self.restored.is_empty());
        }
        // Lines may have moved under conflicts that were not touched themselves.
        for id in &self.conflicts {
            let Some(standing) = self.objects.get(id) else { continue };
            // The paths are sorted.
            let moved = |holder: &Holder| paths.binary_search(holder.path()).is_ok();
            if touched.seen.contains(id) || standing.holders.iter().any(moved) {
                report.conflict(id, &standing.holders.iter().map(|h| self.place(id, h)).collect::<Vec<_>>());
            }
        }
        changes
    }

    fn place(&self, id: &ObjectRef, holder: &Holder) -> (Name, usize) {
        let path = holder.path().clone();
        let line = match &holder.claim {
            Claim::Good(document) => self
                .documents(&path)
                .iter()
                .find(|placed| Arc::ptr_eq(&placed.document, document))
                .and_then(|placed| Some(placed.line + goods(document).find(|good| good.1.object_ref() == *id)?.0)),
            _ => None,
        };
        (path, line.unwrap_or(0))
    }
}

/// The good objects of a document, with their lines in it.
fn goods(document: &Document) -> impl Iterator<Item = (usize, &Arc<Object>)> {
    document.parts.iter().filter_map(|part| match &part.body {
        Body::Good(object) => Some((part.line, object)),
        _ => None,
    })
}
