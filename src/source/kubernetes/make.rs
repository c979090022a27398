//! From a section of the config to a source, with the child that follows its credentials.

use tidegate_actors::id::Name;
use tidegate_actors::supervisor::{BoxError, ChildSpec, TaskContext};

use super::{Access, Clusters, KubernetesSource, Options, TypeOptions};
use crate::builder::{SourceContext, SourceParts};
use crate::config::Kubernetes;

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
    Ok(SourceParts { children: vec![follow], ..SourceParts::new(source) })
}

fn names(names: &[String]) -> Vec<Name> {
    names.iter().map(|name| Name::from(name.as_str())).collect()
}
