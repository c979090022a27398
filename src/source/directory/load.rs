//! A directory or a file read once, without watching, for validating and translating offline.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tidegate_actors::env::Env;
use tidegate_actors::id::ResourceType;
use tidegate_actors::object::Object;
use tidegate_actors::problem::{Problem, Problems};

use super::options::Options;
use super::scan::Scan;
use super::shared::Shared;
use super::watch::Inbox;
use crate::source::schema::Catalogue;

/// What [`load`] found.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Objects by type, sorted by key. Types of the catalogue without any object are left out.
    pub objects: BTreeMap<ResourceType, Vec<Arc<Object>>>,
    /// Everything that is wrong, by place.
    pub problems: Vec<Problem>,
    /// How many files were read.
    pub files: usize,
    /// Documents of kinds that the catalogue does not have, by `apiVersion`'s group and kind, counted.
    pub unknown: BTreeMap<(String, String), usize>,
}

/// Why nothing could be read at all.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}: {source}")]
pub struct LoadError {
    /// What was to be read.
    pub path: String,
    /// Why not.
    pub source: std::io::Error,
}

/// Reads a directory, or a single file, once.
///
/// # Errors
/// When the path itself cannot be read. What is wrong below it is among the problems.
pub fn load(options: Options, env: &Env, catalogue: Catalogue) -> Result<Loaded, LoadError> {
    let shown = options.path.display().to_string();
    let failed = |source| LoadError { path: shown.clone(), source };
    let path = std::path::absolute(&options.path).map_err(failed)?;
    let entry = env.disk.stat(&path).map_err(failed)?;
    if entry.is_dir {
        env.disk.list(&path).map_err(failed)?;
    }
    let options = Options { path, ..options };
    let shared = Arc::new(Shared::new(options, env.clone(), Problems::default(), catalogue));
    Scan::new(shared.clone(), Inbox::new(Path::new("/").to_owned())).round(env.clock.now(), false);
    let (all, problems) = shared.snapshot();
    let mut objects: BTreeMap<ResourceType, Vec<Arc<Object>>> = BTreeMap::new();
    for (id, object) in all {
        objects.entry(id.resource_type).or_default().push(object);
    }
    let (files, unknown) = shared.census();
    Ok(Loaded { objects, problems, files, unknown })
}
