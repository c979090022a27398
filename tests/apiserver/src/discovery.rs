//! What the server says of itself: version, health, and the types that it serves, one by one or aggregated.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::answer::{self, Answer};
use crate::kind::Kind;
use crate::state::State;

/// The version that it says it is.
pub const VERSION: &str = "v1.37.2";
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Answers a path that is no resource.
pub fn answer(state: &State, path: &str, accept: &str) -> Answer {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match parts.as_slice() {
        ["readyz" | "livez" | "healthz"] => answer::whole(200, "text/plain; charset=utf-8", "ok"),
        ["version"] => answer::json(200, &version()),
        ["api"] if is_aggregated(accept) => aggregated(state, |group| group.is_empty()),
        ["apis"] if is_aggregated(accept) => aggregated(state, |group| !group.is_empty()),
        ["api"] => answer::json(200, &json!({"kind": "APIVersions", "versions": ["v1"]})),
        ["apis"] => {
            let groups = groups(state);
            let groups: Vec<Value> =
                groups.iter().filter(|(group, _)| !group.is_empty()).map(|(group, kinds)| one(group, kinds)).collect();
            answer::json(200, &json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
        }
        ["apis", group] => match groups(state).get(*group).filter(|_| !group.is_empty()) {
            Some(kinds) => {
                let mut found = one(group, kinds);
                found["kind"] = "APIGroup".into();
                found["apiVersion"] = "v1".into();
                answer::json(200, &found)
            }
            None => answer::nowhere(),
        },
        ["api", version] => resources(state, "", version),
        ["apis", group, version] => resources(state, group, version),
        _ => answer::nowhere(),
    }
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "37", "gitVersion": VERSION, "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc", "platform": "linux/amd64",
    })
}

/// Whether a client would rather have everything at once.
fn is_aggregated(accept: &str) -> bool {
    accept.split(',').any(|one| {
        let mut parts = one.split(';').map(str::trim);
        parts.next() == Some("application/json")
            && one.contains("as=APIGroupDiscoveryList")
            && one.contains("v=v2")
            && !one.contains("v=v2beta1")
    })
}

/// The types by group.
fn groups(state: &State) -> BTreeMap<String, Vec<Arc<Kind>>> {
    let mut groups: BTreeMap<String, Vec<Arc<Kind>>> = BTreeMap::new();
    for resource in state.world.lock().resources.values() {
        if resource.kind.versions.iter().any(|version| version.served) {
            groups.entry(resource.kind.group.clone()).or_default().push(resource.kind.clone());
        }
    }
    groups
}

/// The versions that any type of a group is served in, preferred ones first.
fn versions(kinds: &[Arc<Kind>]) -> Vec<String> {
    let mut versions: Vec<String> = Vec::new();
    for version in kinds.iter().flat_map(|kind| &kind.versions).filter(|version| version.served) {
        if !versions.contains(&version.name) {
            versions.push(version.name.clone());
        }
    }
    versions.sort_by_key(|version| std::cmp::Reverse(crate::kind::priority(version)));
    versions
}

fn one(group: &str, kinds: &[Arc<Kind>]) -> Value {
    let versions: Vec<Value> = versions(kinds)
        .into_iter()
        .map(|version| json!({"groupVersion": format!("{group}/{version}"), "version": version}))
        .collect();
    json!({"name": group, "versions": versions, "preferredVersion": versions.first()})
}

fn resources(state: &State, group: &str, version: &str) -> Answer {
    let groups = groups(state);
    let kinds = groups.get(group).into_iter().flatten();
    let served: Vec<_> = kinds.filter_map(|kind| Some((kind, kind.served(version)?))).collect();
    if served.is_empty() {
        return answer::nowhere();
    }
    let mut resources = Vec::new();
    for (kind, found) in served {
        resources.push(json!({
            "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind,
            "verbs": Kind::VERBS, "shortNames": kind.short_names, "categories": kind.categories,
        }));
        if found.status {
            resources.push(json!({
                "name": format!("{}/status", kind.plural), "singularName": "", "namespaced": kind.namespaced,
                "kind": kind.kind, "verbs": ["get", "patch", "update"],
            }));
        }
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    answer::json(
        200,
        &json!({
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources,
        }),
    )
}

fn aggregated(state: &State, wanted: impl Fn(&str) -> bool) -> Answer {
    let stale = state.stale.lock().clone();
    let groups = groups(state);
    let items: Vec<Value> = groups
        .iter()
        .filter(|(group, _)| wanted(group))
        .map(|(group, kinds)| {
            let versions: Vec<Value> = versions(kinds)
                .into_iter()
                .map(|version| {
                    let is_stale = stale.contains(&format!("{group}/{version}"));
                    let resources: Vec<Value> = kinds.iter().filter_map(|kind| entry(kind, &version)).collect();
                    let freshness = if is_stale { "Stale" } else { "Current" };
                    // The real one has nothing to say of a group that it could not ask.
                    let resources = if is_stale { Vec::new() } else { resources };
                    json!({"version": version, "resources": resources, "freshness": freshness})
                })
                .collect();
            let meta = if group.is_empty() { json!({}) } else { json!({"name": group}) };
            json!({"metadata": meta, "versions": versions})
        })
        .collect();
    let list = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items,
    });
    answer::whole(200, AGGREGATED, list.to_string())
}

fn entry(kind: &Kind, version: &str) -> Option<Value> {
    let found = kind.served(version)?;
    let is = json!({"group": kind.group, "version": version, "kind": kind.kind});
    let mut entry = json!({
        "resource": kind.plural, "responseKind": is, "singularResource": kind.singular, "verbs": Kind::VERBS,
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "shortNames": kind.short_names, "categories": kind.categories,
    });
    if found.status {
        entry["subresources"] =
            json!([{"subresource": "status", "responseKind": is, "verbs": ["get", "patch", "update"]}]);
    }
    Some(entry)
}
