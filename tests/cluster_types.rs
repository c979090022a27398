//! Types that come and go in a real Kubernetes: its API server says of a type's coming and going what the source
//! believes of it, and in time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "each suite uses its part")]
#[path = "support/cluster.rs"]
mod cluster;
#[allow(dead_code, reason = "each suite uses its part")]
#[path = "support/ports.rs"]
mod ports;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cluster::{Cluster, ClusterOptions};
use tidegate::source::kubernetes::{Access, KubernetesSource, Options, Registrar};
use tidegate::source::schema::Catalogue;
use tidegate_actors::env::Env;
use tidegate_actors::id::{ResourceType, Scope};
use tidegate_actors::informer::{Informer, InformerFactory, RegisterOptions};
use tidegate_actors::problem::Problems;
use tidegate_actors::queue::Phase;
use tidegate_actors::supervisor::{State, Strategy, Supervisor};
use tokio::time::Instant;

/// What a type's coming or going may take.
const PROMPT: Duration = Duration::from_secs(2);

/// What anything else may take.
const PATIENCE: Duration = Duration::from_secs(30);

fn mk_definition(plural: &str, kind: &str, versions: &[(&str, bool)]) -> String {
    let version = |(name, served): &(&str, bool)| {
        let schema = "{openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}";
        format!("  - {{name: {name}, served: {served}, storage: {}, schema: {schema}}}\n", *name == "v1")
    };
    let versions: String = versions.iter().map(version).collect();
    format!(
        "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: {plural}.example.com}}
spec:
  group: example.com
  scope: Namespaced
  names: {{plural: {plural}, singular: {}, kind: {kind}, listKind: {kind}List}}
  versions:
{versions}",
        kind.to_lowercase()
    )
}

fn mk_object(kind: &str, version: &str, name: &str) -> String {
    format!("{{apiVersion: example.com/{version}, kind: {kind}, metadata: {{name: {name}, namespace: default}}}}\n")
}

fn mk_type(plural: &str, kind: &str) -> ResourceType {
    ResourceType::new("example.com", "v1", kind, plural, Scope::Namespaced)
}

struct Engine {
    factory: InformerFactory,
    supervisor: Supervisor,
}

async fn mk_engine(kubeconfig: &Path) -> Engine {
    let access = Access { kubeconfig: Some(PathBuf::from(kubeconfig)), context: None };
    let (env, problems) = (Env::system(), Problems::default());
    // A kind that is known is read in whatever version there is.
    let catalogue = Catalogue::new().with_unchecked(mk_type("gadgets", "Gadget"));
    let source = KubernetesSource::new(Options::new("c", access), env.clone(), problems.clone(), catalogue);
    let supervisor = Supervisor::start("cluster-types", Strategy::OneForOne, env.clone()).await.unwrap();
    let factory = InformerFactory::new(env, supervisor.clone(), problems);
    factory.add_source(Arc::new(source.clone())).unwrap();
    factory.start().await.unwrap();
    let registrar = Registrar::new(&factory, 16, |of| of.group() == "example.com");
    supervisor.add(source.discovery(Some(registrar))).await.unwrap();
    Engine { factory, supervisor }
}

async fn until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("{what}: {:.0?}", begun.elapsed());
}

fn names(informer: &Informer) -> Vec<String> {
    informer.lister().list().iter().map(|object| object.key().name.to_string()).collect()
}

async fn established(cluster: &Cluster, plural: &str) {
    let name = format!("crd/{plural}.example.com");
    cluster.kubectl(&["wait", "--for=condition=Established", "--timeout=30s", &name]).await;
}

#[tokio::test]
#[ignore = "needs the cluster program: run by cargo xtask test"]
async fn types_come_change_their_version_and_go_within_two_seconds() {
    let cluster = Cluster::start_with(ClusterOptions { without_crds: true, ..Default::default() }).await;
    let engine = mk_engine(cluster.kubeconfig()).await;
    let gadgets = engine.factory.register("c", mk_type("gadgets", "Gadget"), RegisterOptions::default()).await.unwrap();
    let absent = || matches!(gadgets.status().sync.phase, Phase::Absent(_));
    until("what nobody defined is absent", PATIENCE, absent).await;

    cluster.apply(&mk_definition("gadgets", "Gadget", &[("v1", true), ("v2", true)])).await;
    established(&cluster, "gadgets").await;
    until("a type that came is followed", PROMPT, || gadgets.status().sync.phase == Phase::Synced).await;
    cluster.apply(&mk_object("Gadget", "v1", "one")).await;
    until("its object", PROMPT, || names(&gadgets) == ["one"]).await;

    cluster.apply(&mk_definition("gadgets", "Gadget", &[("v1", false), ("v2", true)])).await;
    let is_v2 = || {
        let objects = gadgets.lister().list();
        assert_eq!(objects.len(), 1, "the store was emptied");
        String::from_utf8_lossy(objects[0].raw()).contains("example.com/v2")
    };
    until("a type whose version went is read in the other", PROMPT, is_v2).await;
    cluster.apply(&mk_object("Gadget", "v2", "two")).await;
    until("its next object", PROMPT, || names(&gadgets) == ["one", "two"]).await;

    cluster.apply(&mk_definition("widgets", "Widget", &[("v1", true)])).await;
    established(&cluster, "widgets").await;
    let widgets = || engine.factory.get("c", &mk_type("widgets", "Widget"));
    until("a type that matches is watched", PROMPT, || widgets().is_some()).await;
    cluster.apply(&mk_object("Widget", "v1", "three")).await;
    until("its object", PROMPT, || names(&widgets().unwrap()) == ["three"]).await;

    cluster.kubectl(&["delete", "crd", "widgets.example.com", "gadgets.example.com"]).await;
    until("a type that matched is watched no more", PROMPT, || widgets().is_none()).await;
    until("one that was asked for is absent", PROMPT, absent).await;
    assert_eq!(names(&gadgets), Vec::<String>::new(), "its objects went before it");
    engine.supervisor.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
#[ignore = "needs the cluster program: run by cargo xtask test"]
async fn who_may_not_see_definitions_is_told_the_rule_and_discovers_types_all_the_same() {
    let cluster = Cluster::start_with(ClusterOptions { without_crds: true, ..Default::default() }).await;
    let kubeconfig = cluster.user_kubeconfig("reader", &["readers"], Duration::from_secs(600)).await;
    cluster.kubectl(&["create", "clusterrole", "w", "--verb=list,watch", "--resource=*.example.com"]).await;
    cluster.kubectl(&["create", "clusterrolebinding", "w", "--clusterrole=w", "--group=readers"]).await;
    cluster.apply(&mk_definition("widgets", "Widget", &[("v1", true)])).await;
    established(&cluster, "widgets").await;
    cluster.apply(&mk_object("Widget", "v1", "one")).await;
    let engine = mk_engine(&kubeconfig).await;
    let child = || engine.supervisor.tree().children.into_iter().find(|child| child.name == "types-c").unwrap();
    until("degraded", PATIENCE, || child().state == State::Degraded).await;
    let reason = format!("{:?} {:?}", child().reason, child().last_error);
    assert!(reason.contains("customresourcedefinitions") && reason.contains("apiGroups"), "{reason}");
    let widgets = || engine.factory.get("c", &mk_type("widgets", "Widget"));
    until("the groups name it", PATIENCE, || widgets().is_some_and(|widgets| names(&widgets) == ["one"])).await;
    engine.supervisor.shutdown(Duration::from_secs(5)).await;
}
