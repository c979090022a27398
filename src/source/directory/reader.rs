//! From files to parsed documents, on all cores, without parsing what did not change.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{io, thread};

use parking_lot::Mutex;
use tidegate_actors::Map;
use tidegate_actors::env::Disk;

use super::document::{self, Document};
use super::kit::Kit;
use super::ledger::Placed;
use super::split::{self, Piece};

/// Below this many bytes, another thread costs more than it brings.
const WORTH_A_THREAD: usize = 64 << 10;

/// A file's content, or why there is none, with the hash that tells it from another. Files below `root` are read from
/// there and from nowhere else; one that is the root itself was named by who configured it, whatever it leads to.
pub(super) fn read(
    disk: &dyn Disk,
    root: &Path,
    paths: &[PathBuf],
    bytes: u64,
    limit: u64,
) -> Vec<io::Result<(Vec<u8>, u128)>> {
    on_all_cores(paths, bytes as usize, |path| {
        let content = if path == root { disk.read(path)? } else { disk.read_below(root, path, limit)? };
        let hash = document::hash(&content);
        Ok((content, hash))
    })
}

/// One file to parse: its path, its content, and what it held before.
pub(super) struct Job<'a> {
    pub path: &'a Path,
    pub content: &'a [u8],
    pub before: Vec<Placed>,
}

/// The documents of some files, file by file.
pub(super) fn parse(jobs: Vec<Job<'_>>, kit: &Kit) -> Vec<Vec<Placed>> {
    let mut files: Vec<Vec<(usize, Option<Arc<Document>>)>> = Vec::with_capacity(jobs.len());
    let mut new: Vec<Piece<'_>> = Vec::new();
    for job in &jobs {
        let is_json = job.path.extension().is_some_and(|extension| extension == "json");
        let pieces = if is_json { split::json(job.content) } else { split::yaml(job.content) };
        // Each old document is used once, in order, so that no two places share one.
        let mut old: Map<u128, Vec<Arc<Document>>> = Map::default();
        for placed in job.before.iter().rev() {
            old.entry(placed.document.hash).or_default().push(placed.document.clone());
        }
        let mut file = Vec::with_capacity(pieces.len());
        for piece in pieces {
            let found = old.get_mut(&document::hash_of(&piece)).and_then(Vec::pop);
            if found.is_none() {
                new.push(piece);
            }
            file.push((piece.line, found));
        }
        files.push(file);
    }
    let bytes = new.iter().map(|piece| piece.text.bytes().len()).sum();
    let mut parsed = on_all_cores(&new, bytes, |piece| document::parse(piece, kit)).into_iter();
    let mut whole = |(line, found): (usize, Option<Arc<Document>>)| {
        let document = found.or_else(|| parsed.next())?;
        Some(Placed { line, document })
    };
    files.into_iter().map(|file| file.into_iter().filter_map(&mut whole).collect()).collect()
}

/// Maps items in order, in parallel if there is enough to do.
fn on_all_cores<T: Sync, R: Send>(items: &[T], bytes: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    if cores == 1 || items.len() < 2 || bytes < WORTH_A_THREAD {
        return items.iter().map(work).collect();
    }
    // Small shares, since documents differ in size and cores in speed.
    let share = items.len().div_ceil(cores * 16).max(1);
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let start = next.fetch_add(share, Ordering::Relaxed);
                    let Some(part) = items.get(start..items.len().min(start + share)).filter(|part| !part.is_empty())
                    else {
                        break;
                    };
                    let results: Vec<R> = part.iter().map(&work).collect();
                    done.lock().push((start, results));
                }
            });
        }
    });
    let mut done = done.into_inner();
    done.sort_by_key(|(start, _)| *start);
    done.into_iter().flat_map(|(_, results)| results).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_on_all_cores_keeps_its_order() {
        for count in [0, 1, 2, 33, 1000] {
            let items: Vec<usize> = (0..count).collect();
            assert_eq!(on_all_cores(&items, usize::MAX, |n| n * 2), items.iter().map(|n| n * 2).collect::<Vec<_>>());
        }
    }
}
