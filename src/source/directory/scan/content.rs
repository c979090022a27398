//! The second half of a round: what was found to have changed is read, parsed, and believed or looked at again.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use tidegate_actors::id::Name;
use tokio::time::Instant;

use super::{Known, Read, Scan, Todo, Wait};
use crate::limit::Limit;
use crate::source::directory::document::{self, Body};
use crate::source::directory::ledger::{Placed, Update};
use crate::source::directory::reader::{self, Job};
use crate::source::directory::walk::{Stamp, name_of};

/// Text of this many bytes is held at once while files are read and parsed.
const WINDOW: u64 = 8 << 20;

impl Scan {
    /// Reads and parses what has to be.
    pub(super) fn updates(&mut self, mut todo: Todo, root: &Path, now: Instant) -> BTreeMap<Name, Update> {
        let mut updates = BTreeMap::new();
        // The directory may have gone away since the round began.
        if !todo.gone.is_empty() && self.disk.stat(root).is_err() {
            todo.gone.clear();
        }
        for path in todo.gone {
            self.known.remove(&path);
            updates.insert(name_of(root, &path), Update::Gone);
        }
        for (path, reason) in todo.unreadable {
            self.forget_content(&path);
            updates.insert(name_of(root, &path), Update::Unreadable(reason));
        }
        let mut window = Vec::new();
        let mut bytes = 0;
        let mut reads = todo.read.into_iter().peekable();
        while let Some((path, read)) = reads.next() {
            let limit = self.shared.options.max_file_bytes;
            // One that was named by itself, to be read once, may well be a pipe.
            let special = read.stamp.special().filter(|_| self.patient || path != root);
            if let Some(what) = special {
                // Whoever opened it might wait for ever, or read for ever.
                let reason = format!("is {what}, not a file, and is not read; remove it or give it another name");
                updates.insert(name_of(root, &path), Update::Unreadable(reason));
                self.known.insert(path, Known { stamp: read.stamp, hash: Some(0) });
            } else if read.stamp.len() > limit {
                Limit::FileSize.exceeded(1);
                let reason = format!(
                    "has {} bytes, more than the limit of {limit}; split it, or raise limits.file_size",
                    read.stamp.len()
                );
                let whole = vec![Placed { line: 1, document: document::refused(reason) }];
                updates.insert(name_of(root, &path), Update::Content(whole));
                self.known.insert(path, Known { stamp: read.stamp, hash: Some(0) });
            } else {
                bytes += read.stamp.len();
                window.push((path, read));
            }
            if bytes >= WINDOW || reads.peek().is_none() {
                self.window(std::mem::take(&mut window), bytes, root, now, &mut updates);
                bytes = 0;
            }
        }
        updates
    }

    fn window(
        &mut self,
        window: Vec<(PathBuf, Read)>,
        bytes: u64,
        root: &Path,
        now: Instant,
        updates: &mut BTreeMap<Name, Update>,
    ) {
        let (paths, reads): (Vec<_>, Vec<_>) = window.into_iter().unzip();
        let contents = reader::read(&*self.disk, root, &paths, bytes, self.shared.options.max_file_bytes);
        let mut changed = Vec::new();
        for ((path, read), content) in paths.into_iter().zip(reads).zip(contents) {
            match content {
                Ok((_, hash)) if self.known.get(&path).is_some_and(|known| known.hash == Some(hash)) => {
                    self.known.insert(path, Known { stamp: read.stamp, hash: Some(hash) });
                }
                Ok((content, hash)) => changed.push((path, read, content, hash)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.wait_first(path, now),
                Err(error) => {
                    self.forget_content(&path);
                    updates.insert(name_of(root, &path), Update::Unreadable(format!("cannot be read: {error}")));
                }
            }
        }
        let jobs = changed.iter().map(|(path, _, content, _)| Job {
            path,
            content,
            before: self.shared.documents(&name_of(root, path)),
        });
        let parsed = reader::parse(jobs.collect(), &self.shared.kit);
        for ((path, read, _, hash), documents) in changed.into_iter().zip(parsed) {
            let name = name_of(root, &path);
            // At first it is not known what was in it.
            let had_any = self.shared.has_documents(&name) || !*self.shared.ready().borrow();
            let doubtful = looks_unfinished(&documents, had_any);
            let doubted = read.waited.as_ref().and_then(|wait| wait.doubted);
            // It may stay unfinished for long on a busy machine, as long as who writes it has it open.
            let stayed = read.closed && doubted == Some(hash);
            if doubtful && !read.believed && !stayed {
                let until = read.waited.map_or_else(|| self.patience(now), |wait| wait.until);
                let due = until.min(now + self.shared.options.settle);
                self.waiting.insert(path, Wait { due, until, doubted: Some(hash), closed: read.closed });
                continue;
            }
            self.known.insert(path, Known { stamp: read.stamp, hash: Some(hash) });
            updates.insert(name, Update::Content(documents));
        }
    }

    /// It is looked at again the next time; that it goes away is noticed even if it never was readable.
    fn forget_content(&mut self, path: &Path) {
        let unread = || Known { stamp: Stamp::default(), hash: None };
        self.known.entry(path.to_owned()).or_insert_with(unread).hash = None;
    }
}

/// Whether this may be half of a file: something in it does not parse, or nothing is left of it.
fn looks_unfinished(documents: &[Placed], had_any: bool) -> bool {
    let mut bodies = documents.iter().flat_map(|placed| placed.document.parts.iter().map(|part| &part.body));
    bodies.any(|body| matches!(body, Body::Broken { object: None, .. })) || (documents.is_empty() && had_any)
}
