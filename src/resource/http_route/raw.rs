//! HTTPRoute as manifests spell it: what we read, unchecked.

use serde::Deserialize;

use crate::resource::gateway::RawReference;

#[derive(Deserialize)]
pub(super) struct Route {
    pub spec: Spec,
}

/// Of a route that cannot be read: its parents, as far as they can.
#[derive(Deserialize)]
pub(super) struct Loose {
    pub spec: LooseSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LooseSpec {
    pub parent_refs: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec {
    pub parent_refs: Option<Vec<ParentRef>>,
    pub hostnames: Option<Vec<String>>,
    pub rules: Option<Vec<Rule>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ParentRef {
    pub group: Option<String>,
    pub kind: Option<String>,
    pub namespace: Option<String>,
    pub name: String,
    pub section_name: Option<String>,
    pub port: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rule {
    pub matches: Option<Vec<Match>>,
    pub filters: Option<Vec<Filter>>,
    pub backend_refs: Option<Vec<Backend>>,
    pub timeouts: Option<Timeouts>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Match {
    pub path: Option<Path>,
    pub headers: Option<Vec<Test>>,
    pub query_params: Option<Vec<Test>>,
    pub method: Option<String>,
}

#[derive(Default, Deserialize)]
pub(super) struct Path {
    pub r#type: Option<String>,
    pub value: Option<String>,
}

/// On a header or a query parameter.
#[derive(Deserialize)]
pub(super) struct Test {
    pub r#type: Option<String>,
    pub name: String,
    pub value: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Timeouts {
    pub request: Option<String>,
    pub backend_request: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Backend {
    // Spelled out: `flatten` buffers what it reads.
    pub group: Option<String>,
    pub kind: Option<String>,
    pub namespace: Option<String>,
    pub name: String,
    pub port: Option<i64>,
    pub weight: Option<i64>,
    pub filters: Option<Vec<Filter>>,
}

impl Backend {
    /// What it refers to, with the rest.
    pub fn split(self) -> (RawReference, Option<i64>, Option<i64>, Vec<Filter>) {
        let Self { group, kind, namespace, name, port, weight, filters } = self;
        (RawReference { group, kind, namespace, name }, port, weight, filters.unwrap_or_default())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Filter {
    pub r#type: String,
    pub request_header_modifier: Option<HeaderEdits>,
    pub response_header_modifier: Option<HeaderEdits>,
    pub request_mirror: Option<Mirror>,
    pub request_redirect: Option<Redirect>,
    pub url_rewrite: Option<UrlRewrite>,
}

#[derive(Default, Deserialize)]
pub(super) struct HeaderEdits {
    pub set: Option<Vec<Header>>,
    pub add: Option<Vec<Header>>,
    pub remove: Option<Vec<String>>,
}

#[derive(Deserialize)]
pub(super) struct Header {
    pub name: String,
    pub value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Mirror {
    pub backend_ref: Backend,
    pub percent: Option<i64>,
    pub fraction: Option<Fraction>,
}

#[derive(Deserialize)]
pub(super) struct Fraction {
    pub numerator: i64,
    pub denominator: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Redirect {
    pub scheme: Option<String>,
    pub hostname: Option<String>,
    pub path: Option<PathChange>,
    pub port: Option<i64>,
    pub status_code: Option<i64>,
}

#[derive(Deserialize)]
pub(super) struct UrlRewrite {
    pub hostname: Option<String>,
    pub path: Option<PathChange>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PathChange {
    pub r#type: String,
    pub replace_full_path: Option<String>,
    pub replace_prefix_match: Option<String>,
}
