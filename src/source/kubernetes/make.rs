//! From a section of the config to a source, with the children that follow its credentials and its types.

use std::path::Path;
use std::sync::Arc;

use tidegate_actors::env::Env;
use tidegate_actors::id::Name;
use tidegate_actors::supervisor::{BoxError, ChildSpec, TaskContext};

use super::{Access, Clusters, KubernetesSource, Options, Registrar, TypeOptions};
use crate::builder::{SourceContext, SourceParts};
use crate::config::{Kubernetes, matches};
use crate::source::lease::{Leadership, LeaseOptions};
use crate::source::sink::WriteRate;

/// Makes a cluster's source of its section, and tells `clusters`. Whether the cluster can be reached turns out later.
///
/// # Errors
/// None.
pub fn make(section: &Kubernetes, context: &SourceContext<'_>, clusters: &Clusters) -> Result<SourceParts, BoxError> {
    let access = Access { kubeconfig: section.kubeconfig.clone(), context: section.context.clone() };
    let mut options = Options::new(context.name.clone(), access);
    options.namespaces = names(&section.namespaces);
    options.types = section
        .types
        .iter()
        .map(|of| {
            let namespaces = of.namespaces.as_deref().map(names);
            (of.resource.clone(), TypeOptions { namespaces, labels: of.labels.clone(), fields: of.fields.clone() })
        })
        .collect();
    options.page_size = section.page_size;
    options.streaming_lists = section.streaming_lists;
    options.watch_timeout = *section.watch_timeout;
    options.connect_timeout = *section.connect_timeout;
    options.response_timeout = *section.response_timeout;
    options.bookmark_deadline = *section.bookmark_deadline;
    options.max_object = usize::try_from(section.max_object_size.bytes()).unwrap_or(usize::MAX);
    let catalogue = context.catalogue.as_ref().clone();
    let source = KubernetesSource::new(options, context.env.clone(), context.problems.clone(), catalogue);
    clusters.add(&source.cluster());
    let follower = source.clone();
    let follow = ChildSpec::task(format!("credentials-{}", context.name), move |task: TaskContext| {
        let follower = follower.clone();
        async move {
            follower.follow_credentials(async move { task.stop.stopped().await }).await;
            Ok(())
        }
    });
    let limit = usize::try_from(context.limits.watches).unwrap_or(usize::MAX);
    let patterns = section.discover.clone();
    let registrar = (!patterns.is_empty())
        .then(|| Registrar::new(context.factory, limit, move |resource_type| matches(&patterns, resource_type)));
    let registrars = vec![source.discovery(registrar)];
    let mut parts = SourceParts { children: vec![follow], registrars, ..SourceParts::new(source.clone()) };
    if section.status.write || section.events.write {
        let lease = &section.status.lease;
        let namespace = lease.namespace.clone().unwrap_or_else(|| own_namespace(context.env));
        let record = Arc::new(source.lease(&namespace, &lease.name));
        let options =
            LeaseOptions { duration: *lease.duration, renew_deadline: *lease.renew_deadline, retry: *lease.retry };
        let leadership = Leadership::new(context.env);
        let (child, identity) = (format!("lease-{}", context.name), identity(context.env));
        parts.children.push(leadership.spec(&child, &identity, record, options));
        let (status, events) = (&section.status, &section.events);
        if status.write {
            let rate = WriteRate { per_second: f64::from(status.rate), burst: status.burst };
            parts.status = Some((Arc::new(source.status(leadership.clone())), rate));
        }
        if events.write {
            let rate = WriteRate { per_second: f64::from(events.rate), burst: events.burst };
            parts.events = Some((Arc::new(source.events(leadership, &identity)), rate));
        }
    }
    Ok(parts)
}

/// Where a pod is told its namespace.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

fn own_namespace(env: &Env) -> String {
    let told = env.disk.read(Path::new(NAMESPACE_FILE)).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    told.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).unwrap_or_else(|| "default".to_owned())
}

/// Who this process is, to people by its host and to its other replicas by chance: no two are ever the same.
fn identity(env: &Env) -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}_{:016x}", env.rng.next_u64())
}

fn names(names: &[String]) -> Vec<Name> {
    names.iter().map(|name| Name::from(name.as_str())).collect()
}
