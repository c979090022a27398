//! The JSON publisher: the model as a file, replaced atomically, and in memory for the API.
//!
//! Law: whoever reads the file sees one whole version, never a part of one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tidegate_actors::env::Env;
use tidegate_actors::publisher::PublishError;

use super::state::ModelState;
use crate::model::ModelUpdate;

/// The model that is published now, for readers. Clones share it.
#[derive(Clone, Default)]
pub struct PublishedModel {
    state: Arc<RwLock<Arc<ModelState>>>,
}

impl PublishedModel {
    /// The newest version.
    pub fn get(&self) -> Arc<ModelState> {
        self.state.read().clone()
    }

    /// Takes one consistent step.
    pub fn apply(&self, update: &ModelUpdate) {
        let mut held = self.state.write();
        // Copied only while a reader holds the old version; the maps' values are shared either way.
        Arc::make_mut(&mut held).apply(update);
    }
}

/// Writes the model to a file.
pub struct JsonFile {
    env: Env,
    path: PathBuf,
    /// The least time between two writes, so that a busy hour does not become a busy disk.
    interval: Duration,
    pretty: bool,
    model: PublishedModel,
}

impl JsonFile {
    /// Writes to `path`, at most once each `interval`; `pretty` indents it for people.
    pub fn new(env: &Env, path: PathBuf, interval: Duration, pretty: bool, model: PublishedModel) -> Self {
        Self { env: env.clone(), path, interval, pretty, model }
    }

    /// Writes the newest version; returns when the next write may come.
    pub async fn write(&self) -> Result<(), PublishError> {
        let (disk, path, model, pretty) = (self.env.disk.clone(), self.path.clone(), self.model.get(), self.pretty);
        let written = tokio::task::spawn_blocking(move || {
            let text = if pretty { serde_json::to_vec_pretty(&*model) } else { serde_json::to_vec(&*model) };
            let mut text = text.map_err(|error| error.to_string())?;
            text.push(b'\n');
            disk.write_atomically(&path, &text, 0o644).map_err(|error| error.to_string())
        });
        let written = written.await.unwrap_or_else(|panic| Err(panic.to_string()));
        written.map_err(|reason| PublishError {
            reason: format!("{}: {reason}; check that the directory exists and can be written", self.path.display()),
        })?;
        self.env.clock.sleep(self.interval).await;
        Ok(())
    }
}
