//! Small questions to the API server: at which version it is, and in which versions it serves a type.

use std::sync::Arc;

use futures::future::BoxFuture;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tidegate_actors::id::{Name, ResourceType};

use super::body;
use super::exchange::{collect, exchange};
use super::request::{Target, get};
use super::shared::Shared;

/// The largest answer that is read: a page with one object, or the resources of a group.
const MAX_ANSWER: usize = 16 << 20;

/// The version of a consistent list of as little as possible; `None` if that cannot be had.
pub(super) fn position(shared: Arc<Shared>, target: Target) -> BoxFuture<'static, Option<Name>> {
    Box::pin(async move {
        let (_, answer) = exchange(&shared, target.page(Some(1), None), false).await;
        let deadline = shared.options.response_timeout;
        let all = collect(&mut answer.ok()?.body, &shared.env, deadline, MAX_ANSWER).await?;
        body::position(&all)
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    versions: Vec<GroupVersion>,
    preferred_version: Option<GroupVersion>,
}

#[derive(Deserialize)]
struct GroupVersion {
    version: String,
}

#[derive(Deserialize)]
struct Resources {
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    name: String,
}

/// The versions of its group in which the server has a type, the preferred one first; none if it has not got it.
pub(super) async fn versions(shared: &Shared, resource_type: &ResourceType) -> Vec<String> {
    let group = resource_type.group();
    if group.is_empty() {
        // The core group has one version.
        return Vec::new();
    }
    let Some(Group { versions, preferred_version }) = ask(shared, &format!("/apis/{group}")).await else {
        return Vec::new();
    };
    let preferred = preferred_version.map(|preferred| preferred.version);
    let mut versions: Vec<String> = versions.into_iter().map(|version| version.version).collect();
    versions.sort_by_key(|version| Some(version) != preferred.as_ref());
    let mut serving = Vec::new();
    for version in versions {
        let resources: Option<Resources> = ask(shared, &format!("/apis/{group}/{version}")).await;
        let resources = resources.map_or(Vec::new(), |resources| resources.resources);
        if resources.iter().any(|resource| resource.name == resource_type.plural()) {
            serving.push(version);
        }
    }
    serving
}

async fn ask<T: DeserializeOwned>(shared: &Shared, path: &str) -> Option<T> {
    let (_, answer) = exchange(shared, get(path), false).await;
    let deadline = shared.options.response_timeout;
    let all = collect(&mut answer.ok()?.body, &shared.env, deadline, MAX_ANSWER).await?;
    serde_json::from_slice(&all).ok()
}
