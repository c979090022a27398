//! `sources` of the kind `kubernetes`: one cluster.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_actors::store::Selector;

use super::problem::Check;
use super::registry::SectionType;
use super::values::{ByteSize, Period};
use super::watches::is_pattern;

/// A cluster, watched through its API server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Kubernetes {
    /// The kubeconfig. Without it: the pod's service account when Tidegate runs in a cluster, else `$KUBECONFIG` or
    /// `~/.kube/config`. A relative path starts from the config file's own directory.
    pub kubeconfig: Option<PathBuf>,
    /// The context in the kubeconfig. Without it, its current context.
    pub context: Option<String>,
    /// The namespaces that are watched. Empty: all of them.
    pub namespaces: Vec<String>,
    /// What is watched of single resource types, where that is less than everything.
    pub types: Vec<KubernetesType>,
    /// Patterns of resource types that are watched as they come, without being asked for by name: `*.example.com`
    /// (any version), `widgets.example.com/v1`. A star stands for any text without a slash. `limits.watches` says how
    /// many types may be watched so.
    pub discover: Vec<String>,
    /// How many objects a page of a list has.
    pub page_size: u32,
    /// Whether lists may come as streams, which costs the API server less memory. One that cannot is asked for pages.
    pub streaming_lists: bool,
    /// How long a watch lasts at the least before it is opened anew; chance makes it up to twice as long.
    pub watch_timeout: Period,
    /// How long a connection may take.
    pub connect_timeout: Period,
    /// How long a response may take to begin, and a list to go on.
    pub response_timeout: Period,
    /// How long a streaming list may take as a whole before a paged one is asked for instead.
    pub bookmark_deadline: Period,
    /// The largest object, as JSON. A larger one is quarantined and named.
    pub max_object_size: ByteSize,
    /// How conditions are written back.
    pub status: StatusWriting,
    /// How Events are written, which say what is wrong with an object where people look for it.
    pub events: EventWriting,
}

/// How Events about a cluster's objects are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EventWriting {
    /// Whether they are written at all. The replica that holds the Lease below `status` writes them.
    pub write: bool,
    /// How many there are a second at most.
    pub rate: u32,
    /// How many of them may come at once.
    pub burst: u32,
}

/// How conditions are written back to a cluster's objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StatusWriting {
    /// Whether they are written at all; they are in the API either way.
    pub write: bool,
    /// How many writes a second there are at most.
    pub rate: u32,
    /// How many of them may come at once.
    pub burst: u32,
    /// The Lease by which replicas agree on the one that writes, Events as well.
    pub lease: LeaseConfig,
}

/// A Lease of `coordination.k8s.io`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LeaseConfig {
    /// Its namespace. Without it: the pod's own when Tidegate runs in a cluster, else `default`.
    pub namespace: Option<String>,
    /// Its name. Shards, each with objects of their own, need Leases of their own.
    pub name: String,
    /// Another replica takes over when the Lease was not renewed for so long.
    pub duration: Period,
    /// One that could not renew it for so long stops writing; shorter than `duration`, for writes under way.
    pub renew_deadline: Period,
    /// How often it is renewed, and looked at by the others.
    pub retry: Period,
}

impl Default for StatusWriting {
    fn default() -> Self {
        Self { write: true, rate: 100, burst: 500, lease: LeaseConfig::default() }
    }
}

impl Default for EventWriting {
    fn default() -> Self {
        Self { write: true, rate: 10, burst: 100 }
    }
}

impl Default for LeaseConfig {
    fn default() -> Self {
        let seconds = Period::from_secs;
        let (duration, renew_deadline, retry) = (seconds(15), seconds(10), seconds(2));
        Self { namespace: None, name: "tidegate".to_owned(), duration, renew_deadline, retry }
    }
}

/// What is watched of one resource type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KubernetesType {
    /// The type as `plural.group`, such as `httproutes.gateway.networking.k8s.io`; `secrets` for the core group.
    pub resource: String,
    /// Its namespaces, if others than the source's; empty: all of them.
    #[serde(default)]
    pub namespaces: Option<Vec<String>>,
    /// A label selector, such as `app=demo,tier!=test`.
    #[serde(default)]
    pub labels: Option<String>,
    /// A field selector, such as `type=kubernetes.io/tls`.
    #[serde(default)]
    pub fields: Option<String>,
}

impl Default for Kubernetes {
    fn default() -> Self {
        Self {
            kubeconfig: None,
            context: None,
            namespaces: Vec::new(),
            types: Vec::new(),
            discover: Vec::new(),
            page_size: 500,
            streaming_lists: true,
            watch_timeout: Period::from_secs(300),
            connect_timeout: Period::from_secs(10),
            response_timeout: Period::from_secs(60),
            bookmark_deadline: Period::from_secs(60),
            max_object_size: ByteSize::new(8 << 20),
            status: StatusWriting::default(),
            events: EventWriting::default(),
        }
    }
}

impl Kubernetes {
    /// The kind's name in the config file.
    pub const KIND: &'static str = "kubernetes";
}

impl SectionType for Kubernetes {
    fn check(&self, check: &mut Check<'_>) {
        let named = self.kubeconfig.as_ref().is_none_or(|path| !path.as_os_str().is_empty());
        check.ensure(named, "kubeconfig", "must not be empty; leave it out to use the pod's service account");
        let named = self.context.as_ref().is_none_or(|context| !context.is_empty());
        check.ensure(named, "context", "must not be empty; leave it out to use the current context");
        check_namespaces(&self.namespaces, "namespaces", check);
        let mut seen = Vec::new();
        for (index, of) in self.types.iter().enumerate() {
            let key = format!("types[{index}]");
            of.check(&key, check);
            check.ensure(!seen.contains(&&of.resource), &key, "is the second entry for this resource type");
            seen.push(&of.resource);
        }
        for (index, pattern) in self.discover.iter().enumerate() {
            let key = format!("discover[{index}]");
            check.ensure(is_pattern(pattern), &key, "must be like *.example.com or widgets.example.com/v1");
            let grouped = pattern.split('/').next().is_some_and(|name| name.contains('.'));
            let remedy = "must name a group, as *.example.com does; types of the core group never come or go, and are \
                          asked for in `watches`";
            check.ensure(grouped || !is_pattern(pattern), &key, remedy);
        }
        let sensible = (1..=10_000).contains(&self.page_size);
        check.ensure(sensible, "page_size", "must be between 1 and 10000");
        for (key, period) in [
            ("watch_timeout", self.watch_timeout),
            ("connect_timeout", self.connect_timeout),
            ("response_timeout", self.response_timeout),
            ("bookmark_deadline", self.bookmark_deadline),
        ] {
            let sensible = (1..=3600).contains(&period.as_secs());
            check.ensure(sensible, key, "must be between 1s and 1h");
        }
        check.ensure(self.max_object_size.bytes() >= 1024, "max_object_size", "must be at least 1KiB");
        self.status.check(check);
        check.ensure(self.events.rate > 0, "events.rate", "must be at least 1; `write: false` writes nothing");
        check.ensure(self.events.burst > 0, "events.burst", "must be at least 1");
    }

    fn resolve(&mut self, base: &std::path::Path) {
        if let Some(path) = &mut self.kubeconfig {
            *path = base.join(&*path);
        }
    }
}

impl StatusWriting {
    fn check(&self, check: &mut Check<'_>) {
        check.ensure(self.rate > 0, "status.rate", "must be at least 1; `write: false` writes nothing");
        check.ensure(self.burst > 0, "status.burst", "must be at least 1");
        let lease = &self.lease;
        let namespaces: Vec<String> = lease.namespace.iter().cloned().collect();
        check_namespaces(&namespaces, "status.lease.namespace", check);
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
        let named = (1..=253).contains(&lease.name.len()) && lease.name.chars().all(plain);
        check.ensure(named, "status.lease.name", "is no object's name: at most 253 of a-z, 0-9, - and .");
        // Leases count in whole seconds.
        let sensible = (1..=3600).contains(&lease.duration.as_secs()) && lease.duration.subsec_nanos() == 0;
        check.ensure(sensible, "status.lease.duration", "must be between 1s and 1h, in whole seconds");
        let later = *lease.renew_deadline < *lease.duration;
        check.ensure(later, "status.lease.renew_deadline", "must be shorter than `duration`");
        let often = !lease.retry.is_zero() && *lease.retry < *lease.renew_deadline;
        check.ensure(often, "status.lease.retry", "must be above zero and shorter than `renew_deadline`");
    }
}

impl KubernetesType {
    fn check(&self, key: &str, check: &mut Check<'_>) {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
        let good = !self.resource.is_empty() && self.resource.chars().all(plain);
        let shape = "must be like secrets or httproutes.gateway.networking.k8s.io, without a version";
        check.ensure(good, &format!("{key}.resource"), shape);
        check_namespaces(self.namespaces.as_deref().unwrap_or_default(), &format!("{key}.namespaces"), check);
        if let Some(labels) = &self.labels
            && let Err(error) = labels.parse::<Selector>()
        {
            check.problem(&format!("{key}.labels"), error.to_string());
        }
        if let Some(fields) = &self.fields {
            let good = fields.split(',').all(|part| {
                let value = part.split_once("!=").or_else(|| part.split_once("==")).or_else(|| part.split_once('='));
                value.is_some_and(|(field, _)| !field.trim().is_empty())
            });
            check.ensure(good, &format!("{key}.fields"), "must be like metadata.name=demo,type!=Opaque");
        }
    }
}

fn check_namespaces(namespaces: &[String], key: &str, check: &mut Check<'_>) {
    for (index, namespace) in namespaces.iter().enumerate() {
        let label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let ends = !namespace.starts_with('-') && !namespace.ends_with('-');
        let good = (1..=63).contains(&namespace.len()) && namespace.chars().all(label) && ends;
        check.ensure(good, &format!("{key}[{index}]"), "is no namespace's name: at most 63 of a-z, 0-9 and -");
        check.ensure(!namespaces[..index].contains(namespace), &format!("{key}[{index}]"), "is listed twice");
    }
}
