//! Where a cluster's objects take their conditions back: the status subresource, patched over the version that was
//! read, by the replica that leads.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use tidegate_actors::id::ObjectRef;
use tidegate_actors::watch;

use super::shared::Shared;
use super::write::{Verb, ask, path_of, refused};
use crate::source::lease::Leadership;
use crate::source::sink::{Held, SinkError, StatusSink};

/// See the module.
pub(super) struct KubernetesStatus {
    shared: Arc<Shared>,
    leadership: Leadership,
}

impl KubernetesStatus {
    pub fn new(shared: Arc<Shared>, leadership: Leadership) -> Self {
        Self { shared, leadership }
    }
}

#[async_trait]
impl StatusSink for KubernetesStatus {
    fn leading(&self) -> watch::Receiver<bool> {
        self.leadership.watch()
    }

    async fn read(&self, object: &ObjectRef) -> Result<Option<Held>, SinkError> {
        let of = &object.resource_type;
        match ask(&self.shared, Verb::Get, &path_of(&self.shared, object), None).await {
            Ok(body) => {
                let read: Read = serde_json::from_slice(&body).map_err(|error| SinkError::Failed {
                    reason: format!("the API server's answer is no object: {error}"),
                })?;
                Ok(Some(Held { resource_version: read.metadata.resource_version, status: read.status }))
            }
            Err(failure) if failure.code == 404 => Ok(None),
            Err(failure) => Err(refused(&failure, Verb::Get, of.group(), of.plural())),
        }
    }

    async fn write(&self, object: &ObjectRef, over: &str, status: &Value) -> Result<(), SinkError> {
        let of = &object.resource_type;
        let patch = json!({ "metadata": { "resourceVersion": over }, "status": status });
        let path = format!("{}/status", path_of(&self.shared, object));
        // Asked last: whoever was stopped in its tracks may be the leader no more.
        if !self.leadership.is_leading() {
            return Err(SinkError::NotLeading);
        }
        match ask(&self.shared, Verb::Patch, &path, Some(&patch)).await {
            Ok(_) => Ok(()),
            // It was deleted meanwhile.
            Err(failure) if failure.code == 404 => Ok(()),
            Err(failure) => Err(refused(&failure, Verb::Patch, of.group(), &format!("{}/status", of.plural()))),
        }
    }
}

#[derive(Deserialize)]
struct Read {
    metadata: Metadata,
    #[serde(default)]
    status: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    resource_version: String,
}
