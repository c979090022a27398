//! Small questions to the API server: at which version it is, in which versions it serves a type, and which groups of
//! types it has.

use std::sync::Arc;

use futures::future::BoxFuture;
use http::header::ACCEPT;
use http::{HeaderValue, Request};
use kube::client::Body;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tidegate_actors::id::{Name, ResourceType, Scope};

use super::body;
use super::definition::{Definition, TypeName};
use super::discovered::GroupVersion as Found;
use super::exchange::{collect, exchange};
use super::landmark::{Landmark, Verdict};
use super::request::{Target, get};
use super::shared::Shared;

/// The largest answer that is read: a page with one object, or the resources of a group.
const MAX_ANSWER: usize = 16 << 20;

/// Where a server is.
pub(super) struct Position {
    /// The version of a consistent list.
    pub version: Name,
    /// What the list said of a landmark; nothing if there is none, or the server cannot be asked for it.
    pub verdict: Option<Verdict>,
}

/// Where the server is, by a consistent list of as little as possible; `None` if that cannot be had.
pub(super) fn position(
    shared: Arc<Shared>,
    target: Target,
    landmark: Option<Landmark>,
) -> BoxFuture<'static, Option<Position>> {
    let list = async move |request| {
        let (_, answer) = exchange(&shared, request, false).await;
        let deadline = shared.options.response_timeout;
        let all = collect(&mut answer.ok()?.body, &shared.env, deadline, MAX_ANSWER).await?;
        body::versions(&all)
    };
    Box::pin(async move {
        if let Some(landmark) = landmark
            && let Some((version, found)) = list(target.one(landmark.key())).await
        {
            let verdict = landmark.judge(found.as_deref());
            return Some(Position { version, verdict: Some(verdict) });
        }
        // Some servers do not select by name.
        let (version, _) = list(target.page(Some(1), None)).await?;
        Some(Position { version, verdict: None })
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
    #[serde(default)]
    namespaced: bool,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    verbs: Vec<String>,
}

impl Group {
    /// Its versions, the preferred one first.
    fn ordered(self) -> Vec<String> {
        let preferred = self.preferred_version.map(|preferred| preferred.version);
        let mut versions: Vec<String> = self.versions.into_iter().map(|version| version.version).collect();
        versions.sort_by_key(|version| Some(version) != preferred.as_ref());
        versions
    }
}

impl Resource {
    /// The type, if it is one that can be watched.
    fn found(self, group: &str, version: &str) -> Option<(TypeName, Definition)> {
        let can = |verb: &str| self.verbs.iter().any(|has| has == verb);
        if self.name.contains('/') || !can("list") || !can("watch") {
            return None;
        }
        let scope = if self.namespaced { Scope::Namespaced } else { Scope::Cluster };
        let definition = Definition { kind: self.kind, scope, versions: vec![version.to_owned()] };
        Some((TypeName::new(group, &self.name), definition))
    }
}

/// The versions of its group in which the server has a type, the preferred one first; none if it has not got it.
pub(super) async fn versions(shared: &Shared, resource_type: &ResourceType) -> Vec<String> {
    let group = resource_type.group();
    if group.is_empty() {
        // The core group has one version.
        return Vec::new();
    }
    let of: Option<Group> = ask(shared, &format!("/apis/{group}")).await;
    let mut serving = Vec::new();
    for version in of.map(Group::ordered).unwrap_or_default() {
        let resources: Option<Resources> = ask(shared, &format!("/apis/{group}/{version}")).await;
        let resources = resources.map_or(Vec::new(), |resources| resources.resources);
        if resources.iter().any(|resource| resource.name == resource_type.plural()) {
            serving.push(version);
        }
    }
    serving
}

/// All groups in one answer, if the server can; older ones call it a beta.
const ALL_GROUPS: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
    application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

/// All groups with their types, or, of a server that cannot do that, their names alone.
#[derive(Deserialize)]
struct AllGroups {
    kind: String,
    #[serde(default)]
    items: Vec<AllOfGroup>,
    #[serde(default)]
    groups: Vec<NamedGroup>,
}

#[derive(Deserialize)]
struct NamedGroup {
    name: String,
    #[serde(flatten)]
    group: Group,
}

#[derive(Deserialize)]
struct AllOfGroup {
    metadata: Named,
    #[serde(default)]
    versions: Vec<AllOfVersion>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct AllOfVersion {
    version: String,
    #[serde(default)]
    freshness: String,
    #[serde(default)]
    resources: Vec<Served>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Served {
    resource: String,
    response_kind: Option<ServedKind>,
    scope: Option<Scope>,
    #[serde(default)]
    verbs: Vec<String>,
}

#[derive(Deserialize)]
struct ServedKind {
    kind: String,
}

/// All API groups but the core's, with their types; `None` if the server does not say.
pub(super) async fn groups(shared: Arc<Shared>) -> Option<Vec<Found>> {
    let mut request = get("/apis");
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static(ALL_GROUPS));
    let all: AllGroups = asked(&shared, request).await?;
    match &*all.kind {
        "APIGroupDiscoveryList" => {}
        "APIGroupList" => return Some(one_by_one(&shared, all.groups).await),
        _ => return None,
    }
    let versions = all.items.into_iter().flat_map(|of| {
        let group = of.metadata.name;
        of.versions.into_iter().map(move |version| found(&group, version))
    });
    Some(versions.collect())
}

/// Each version of each group, in an answer of its own.
async fn one_by_one(shared: &Shared, groups: Vec<NamedGroup>) -> Vec<Found> {
    let mut all = Vec::new();
    for NamedGroup { name: group, group: of } in groups {
        for version in of.ordered() {
            let resources: Option<Resources> = ask(shared, &format!("/apis/{group}/{version}")).await;
            // Whatever does not answer has what it had.
            let stale = resources.is_none();
            let resources = resources.map_or(Vec::new(), |resources| resources.resources);
            let types = resources.into_iter().filter_map(|of| of.found(&group, &version)).collect();
            all.push(Found { group: group.clone(), version, stale, types });
        }
    }
    all
}

fn found(group: &str, of: AllOfVersion) -> Found {
    let AllOfVersion { version, freshness, resources } = of;
    let types = resources.into_iter().filter_map(|served| {
        let can = |verb: &str| served.verbs.iter().any(|has| has == verb);
        if !can("list") || !can("watch") {
            return None;
        }
        let (kind, scope) = (served.response_kind?.kind, served.scope?);
        Some((TypeName::new(group, &served.resource), Definition { kind, scope, versions: vec![version.clone()] }))
    });
    let types = types.collect();
    Found { group: group.to_owned(), stale: freshness == "Stale", version, types }
}

async fn ask<T: DeserializeOwned>(shared: &Shared, path: &str) -> Option<T> {
    asked(shared, get(path)).await
}

async fn asked<T: DeserializeOwned>(shared: &Shared, request: Request<Body>) -> Option<T> {
    let (_, answer) = exchange(shared, request, false).await;
    let deadline = shared.options.response_timeout;
    let all = collect(&mut answer.ok()?.body, &shared.env, deadline, MAX_ANSWER).await?;
    serde_json::from_slice(&all).ok()
}
