//! HTTPRoute as a program that wants all of it would type it: with every field that the corpus has.

use std::borrow::Cow;

use k8s_openapi::NamespaceResourceScope;
use kube::Resource;
use kube::core::ObjectMeta;
use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
#[allow(dead_code, reason = "held, as a user's would be")]
pub(super) struct HttpRoute {
    metadata: ObjectMeta,
    spec: Spec,
    #[serde(default)]
    status: Option<Status>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "held, as a user's would be")]
struct Spec {
    #[serde(default)]
    parent_refs: Vec<Reference>,
    #[serde(default)]
    hostnames: Vec<String>,
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "held, as a user's would be")]
struct Reference {
    group: Option<String>,
    kind: Option<String>,
    name: String,
    namespace: Option<String>,
    section_name: Option<String>,
    port: Option<i32>,
    weight: Option<i32>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "held, as a user's would be")]
struct Rule {
    #[serde(default)]
    matches: Vec<Match>,
    #[serde(default)]
    filters: Vec<Filter>,
    #[serde(default)]
    backend_refs: Vec<Reference>,
}

#[derive(Clone, Debug, Deserialize)]
#[allow(dead_code, reason = "held, as a user's would be")]
struct Match {
    path: Option<Test>,
    #[serde(default)]
    headers: Vec<Test>,
    method: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[allow(dead_code, reason = "held, as a user's would be")]
struct Test {
    r#type: Option<String>,
    name: Option<String>,
    value: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "held, as a user's would be")]
struct Filter {
    r#type: String,
    request_header_modifier: Option<Modifier>,
}

#[derive(Clone, Debug, Deserialize)]
#[allow(dead_code, reason = "held, as a user's would be")]
struct Modifier {
    #[serde(default)]
    set: Vec<Header>,
}

#[derive(Clone, Debug, Deserialize)]
#[allow(dead_code, reason = "held, as a user's would be")]
struct Header {
    name: String,
    value: String,
}

#[derive(Clone, Debug, Deserialize)]
#[allow(dead_code, reason = "held, as a user's would be")]
struct Status {
    #[serde(default)]
    parents: Vec<serde_json::Value>,
}

impl Resource for HttpRoute {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind(_: &()) -> Cow<'_, str> {
        "HTTPRoute".into()
    }

    fn group(_: &()) -> Cow<'_, str> {
        "gateway.networking.k8s.io".into()
    }

    fn version(_: &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural(_: &()) -> Cow<'_, str> {
        "httproutes".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
