//! Which files an earlier life left: found, read ahead, handed out, or set aside.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::error::{PersistenceError, Unusable};
use super::read::{Content, read};
use super::record::Header;
use super::seal::{Sealer, Treatment};
use super::{EXTENSION, PersistenceOptions};
use crate::env::{Disk, Env};

/// How many corrupt files are kept for whoever wants to look at them.
const KEPT: usize = 5;

/// Files that are there and nobody has asked for yet.
#[derive(Default)]
pub(super) struct Opened {
    found: BTreeMap<PathBuf, Found>,
}

/// A file on its way into memory.
pub(super) struct Found(BoxFuture<'static, Result<Content, Unusable>>);

impl Found {
    pub async fn content(self) -> Result<Content, Unusable> {
        self.0.await
    }
}

impl Opened {
    /// And the files that were set aside before.
    pub async fn new(env: &Env, options: &PersistenceOptions) -> Result<(Self, Vec<PathBuf>), PersistenceError> {
        let directory = options.directory.clone();
        let (files, aside) = env.on_disk(move |disk| look(disk, &directory)).await?;
        let read_ahead = |path: PathBuf| {
            let (of, disk, sealer) = (path.clone(), env.clone(), options.sealer.clone());
            let reading = async move { disk.on_disk(move |disk| load(disk, &of, sealer.as_ref())).await };
            if !env.disk.blocks() {
                return (path, Found(reading.boxed()));
            }
            // Begun now, on as many threads as there are files.
            let begun = tokio::spawn(reading);
            let reading = async move {
                begun.await.unwrap_or_else(|_| Err(Unusable::Corrupt { at: 0, what: "reading it panicked" }))
            };
            (path, Found(reading.boxed()))
        };
        Ok((Self { found: files.into_iter().map(read_ahead).collect() }, aside))
    }

    pub fn take(&mut self, path: &Path) -> Option<Found> {
        self.found.remove(path)
    }

    /// What nobody asked for.
    pub fn rest(&mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.found).into_keys().collect()
    }
}

/// Makes the directory, clears away what was never finished, and names the files: those to be read, and those that were
/// set aside.
fn look(disk: &dyn Disk, directory: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), PersistenceError> {
    let path = || directory.to_owned();
    disk.create_dir(directory).map_err(|source| PersistenceError::Make { path: path(), source })?;
    let entries = disk.list(directory).map_err(|source| PersistenceError::List { path: path(), source })?;
    let (mut files, mut aside) = (Vec::new(), Vec::new());
    for entry in entries.into_iter().filter(|entry| !entry.is_dir && entry.special.is_none()) {
        match entry.path.extension().and_then(|extension| extension.to_str()) {
            Some(EXTENSION) => files.push(entry.path),
            // One that cannot be removed is replaced when its time comes.
            Some("fresh") => drop(disk.remove(&entry.path)),
            _ if number(&entry.path).is_some() => aside.push(entry.path),
            _ => {}
        }
    }
    Ok((files, aside))
}

fn load(disk: &dyn Disk, path: &Path, sealer: Option<&Arc<dyn Sealer>>) -> Result<Content, Unusable> {
    let bytes = disk.read(path).map_err(Unusable::Read)?;
    read(&bytes, sealer.map(|sealer| &**sealer))
}

/// The content, if it is what is asked for.
pub(super) fn fitting(content: Content, wanted: &Header, treatment: Treatment) -> Result<Content, Unusable> {
    let Header { source, resource_type, fingerprint, key } = &content.header;
    if (source, resource_type, fingerprint) != (&wanted.source, &wanted.resource_type, &wanted.fingerprint) {
        return Err(Unusable::OfOther);
    }
    if treatment != Treatment::Plain && key.is_none() && !content.objects.is_empty() {
        return Err(Unusable::NotSealed);
    }
    Ok(content)
}

/// Renames a file so that nobody reads it again, and forgets the oldest of those that were.
pub(super) fn set_aside(disk: &dyn Disk, path: &Path) -> io::Result<PathBuf> {
    let directory = path.parent().unwrap_or(Path::new(""));
    let mut aside: Vec<(u64, PathBuf)> =
        disk.list(directory)?.into_iter().filter_map(|entry| Some((number(&entry.path)?, entry.path))).collect();
    aside.sort();
    let next = aside.last().map_or(1, |(number, _)| number + 1);
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".corrupt-{next}"));
    let name = PathBuf::from(name);
    disk.rename(path, &name)?;
    disk.sync_dir(directory)?;
    let surplus = (aside.len() + 1).saturating_sub(KEPT);
    for (_, old) in aside.into_iter().take(surplus) {
        // It is tried again when the next one comes.
        let _ = disk.remove(&old);
    }
    Ok(name)
}

/// The number of a file that was set aside.
fn number(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.rsplit_once(".corrupt-")?.1.parse().ok()
}
