//! Resource types watched because somebody asked for it: within the allowlist, kept over restarts.
//!
//! Laws: what is not allowed is never watched, also when it is in the file of an earlier run; what was
//! answered with success is on disk.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use tidegate_actors::env::Env;
use tidegate_actors::id::ResourceType;
use tidegate_actors::problem::{Problem, Problems, Serving};

use super::state::Catalogue;
use crate::config::{NotAllowed, WatchedType, Watches};
use crate::limit::Limit;

/// The file under `data_dir` that run-time watches are kept in.
pub const FILE_NAME: &str = "watches.json";

/// The scope of its problems.
pub const SCOPE: &str = "watches";

/// Why a type is not watched, or goes on being watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// It is not well formed.
    #[error("{0}")]
    Malformed(String),
    /// The config does not allow it.
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
    /// There are as many as the config allows.
    #[error("{limit} resource types are watched at run time already; raise `limits.watches` or remove one")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// The gateway reads that type anyway.
    #[error("{0} is watched already, for the gateway itself")]
    BuiltIn(String),
    /// The config lists it under another kind or scope.
    #[error("{0} is watched already with another kind or scope; remove that watch first")]
    Differs(String),
    /// Nobody asked for that one.
    #[error("{0} is not watched because of anybody's request; GET /api/v1/watches lists what is")]
    NotFound(String),
    /// The config asks for it.
    #[error("{0} is in `watches.initial` of the config; take it out there")]
    Configured(String),
    /// The engine refused.
    #[error("watch {resource}: {reason}")]
    Engine {
        /// What was asked for.
        resource: String,
        /// Why not.
        reason: String,
    },
    /// The file cannot be written.
    #[error("write {}; set `data_dir` to a directory that can be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// One watch, as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Watch {
    /// What is watched.
    #[serde(flatten)]
    pub watched: WatchedType,
    /// Who asked for it: the config or a request.
    pub origin: Origin,
}

/// Who asked for a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// `watches.initial`.
    Config,
    /// The API.
    Request,
}

/// The run-time watches. Cheap to clone.
#[derive(Clone)]
pub struct WatchRegistry {
    inner: Arc<Inner>,
}

struct Inner {
    file: PathBuf,
    env: Env,
    limit: usize,
    catalogue: Arc<dyn Catalogue>,
    allowed: RwLock<Watches>,
    /// By `plural.group/version`.
    held: RwLock<BTreeMap<String, Watch>>,
    /// What an earlier run was asked for and cannot be watched now; kept for when it can.
    parked: RwLock<BTreeMap<String, WatchedType>>,
    /// One change at a time: each is a step of the engine and a file.
    changing: tokio::sync::Mutex<()>,
}

/// The file's content.
#[derive(Serialize, Deserialize)]
struct Kept {
    watches: Vec<WatchedType>,
}

impl WatchRegistry {
    /// Nothing is watched yet; see [`Self::restore`].
    pub fn new(watches: &Watches, limit: u32, data_dir: &Path, env: &Env, catalogue: Arc<dyn Catalogue>) -> Self {
        let inner = Inner {
            file: data_dir.join(FILE_NAME),
            env: env.clone(),
            limit: limit as usize,
            catalogue,
            allowed: RwLock::new(watches.clone()),
            held: RwLock::default(),
            parked: RwLock::default(),
            changing: tokio::sync::Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Watches what the config lists and what earlier runs were asked for. What cannot be watched (again) is
    /// reported as a problem and does not hinder the rest.
    pub async fn restore(&self, problems: &Problems) {
        let _changing = self.inner.changing.lock().await;
        let mut found: Vec<(String, Problem)> = Vec::new();
        let initial = self.inner.allowed.read().initial.clone();
        let configured = initial.into_iter().map(|watched| (watched, Origin::Config));
        let kept = match self.read() {
            Ok(kept) => kept,
            Err(reason) => {
                found.push(self.problem("file", reason));
                Vec::new()
            }
        };
        let requested = kept.into_iter().map(|watched| (watched, Origin::Request));
        for (watched, origin) in configured.chain(requested) {
            if self.inner.held.read().contains_key(&watched.resource) {
                continue;
            }
            if let Err(error) = self.watch(watched.clone(), origin).await {
                if origin == Origin::Request {
                    self.inner.parked.write().insert(watched.resource.clone(), watched.clone());
                }
                found.push(self.problem(&watched.resource, format!("{} is not watched: {error}", watched.resource)));
            }
        }
        problems.replace(SCOPE, found);
    }

    /// Follows a changed config: what it lists no more, or allows no more, is unwatched.
    pub async fn reconfigure(&self, watches: &Watches, problems: &Problems) {
        let changing = self.inner.changing.lock().await;
        *self.inner.allowed.write() = watches.clone();
        let held = self.list();
        for watch in held {
            let listed = watches.initial.contains(&watch.watched);
            let allowed = watch.watched.resource_type().is_ok_and(|t| watches.allows(&t));
            let stays = allowed && (listed || watch.origin == Origin::Request);
            if !stays && let Ok(resource_type) = watch.watched.resource_type() {
                if let Err(reason) = self.inner.catalogue.unregister(&resource_type).await {
                    tracing::warn!(resource = watch.watched.resource, reason, "watch not ended");
                }
                self.inner.held.write().remove(&watch.watched.resource);
            }
        }
        drop(changing);
        self.restore(problems).await;
    }

    /// What is watched beside what the gateway reads.
    pub fn list(&self) -> Vec<Watch> {
        self.inner.held.read().values().cloned().collect()
    }

    /// The allowlist.
    pub fn allowlist(&self) -> Vec<String> {
        self.inner.allowed.read().allow.clone()
    }

    /// Watches a type and keeps that over restarts; false if it was watched already.
    ///
    /// # Errors
    /// Why it is not watched; nothing has changed then.
    pub async fn add(&self, watched: WatchedType) -> Result<bool, WatchError> {
        let _changing = self.inner.changing.lock().await;
        if let Some(known) = self.inner.held.read().get(&watched.resource) {
            let same = known.watched == watched;
            return if same { Ok(false) } else { Err(WatchError::Differs(watched.resource)) };
        }
        let requested = self.list().iter().filter(|watch| watch.origin == Origin::Request).count();
        if requested >= self.inner.limit {
            Limit::Watches.exceeded(1);
            return Err(WatchError::TooMany { limit: self.inner.limit });
        }
        let resource = watched.resource.clone();
        let resource_type = self.watch(watched, Origin::Request).await?;
        if let Err(error) = self.write() {
            // What is not kept must not seem to be.
            self.inner.held.write().remove(&resource);
            if let Err(reason) = self.inner.catalogue.unregister(&resource_type).await {
                tracing::warn!(resource, reason, "watch not ended");
            }
            return Err(error);
        }
        Ok(true)
    }

    /// Ends a watch that a request began; `resource` is `plural.group/version`.
    ///
    /// # Errors
    /// Why it goes on.
    pub async fn remove(&self, resource: &str) -> Result<(), WatchError> {
        let _changing = self.inner.changing.lock().await;
        if let Some(parked) = self.inner.parked.write().remove(resource) {
            return self.write().inspect_err(|_| {
                self.inner.parked.write().insert(resource.to_owned(), parked);
            });
        }
        let watch = self.inner.held.read().get(resource).cloned();
        let Some(watch) = watch else { return Err(WatchError::NotFound(resource.to_owned())) };
        if watch.origin == Origin::Config {
            return Err(WatchError::Configured(resource.to_owned()));
        }
        let resource_type = watch.watched.resource_type().map_err(WatchError::Malformed)?;
        self.inner.held.write().remove(resource);
        if let Err(error) = self.write() {
            self.inner.held.write().insert(resource.to_owned(), watch);
            return Err(error);
        }
        let ended = self.inner.catalogue.unregister(&resource_type).await;
        ended.map_err(|reason| WatchError::Engine { resource: resource.to_owned(), reason })
    }

    async fn watch(&self, watched: WatchedType, origin: Origin) -> Result<ResourceType, WatchError> {
        let resource_type = watched.resource_type().map_err(WatchError::Malformed)?;
        let allowed = self.inner.allowed.read().allows(&resource_type);
        if !allowed {
            return Err(Watches::refusal(&resource_type).into());
        }
        let known = |slot: &super::state::Slot| {
            let other = &slot.resource_type;
            // What was merely discovered is there for the asking.
            !slot.discovered && (other.group(), other.plural()) == (resource_type.group(), resource_type.plural())
        };
        if self.inner.catalogue.slots().iter().any(known) {
            return Err(WatchError::BuiltIn(watched.resource));
        }
        let begun = self.inner.catalogue.register(&resource_type).await;
        begun.map_err(|reason| WatchError::Engine { resource: watched.resource.clone(), reason })?;
        self.inner.parked.write().remove(&watched.resource);
        self.inner.held.write().insert(watched.resource.clone(), Watch { watched, origin });
        Ok(resource_type)
    }

    fn read(&self) -> Result<Vec<WatchedType>, String> {
        let bytes = match self.inner.env.disk.read(&self.inner.file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(format!("cannot be read: {error}; watches of earlier runs are not restored")),
        };
        let kept: Result<Kept, _> = serde_json::from_slice(&bytes);
        kept.map(|kept| kept.watches)
            .map_err(|error| format!("is not what Tidegate wrote: {error}; mend or remove it to have watches restored"))
    }

    fn write(&self) -> Result<(), WatchError> {
        let requested = self.list().into_iter().filter(|watch| watch.origin == Origin::Request);
        let parked: Vec<WatchedType> = self.inner.parked.read().values().cloned().collect();
        let kept = Kept { watches: requested.map(|watch| watch.watched).chain(parked).collect() };
        let write = || {
            let bytes = serde_json::to_vec_pretty(&kept).map_err(io::Error::other)?;
            if let Some(directory) = self.inner.file.parent() {
                self.inner.env.disk.create_dir(directory)?;
            }
            self.inner.env.disk.write_atomically(&self.inner.file, &bytes, 0o644)
        };
        write().map_err(|source| WatchError::Write { path: self.inner.file.clone(), source })
    }

    fn problem(&self, id: &str, reason: String) -> (String, Problem) {
        let place = self.inner.file.display().to_string();
        (id.to_owned(), Problem { place, object: None, field: String::new(), reason, serving: Serving::Nothing })
    }
}
