//! kube-runtime's reflector, on `DynamicObject` and on a type a kind; set up as its documentation shows it.

use std::fmt::Debug;
use std::hash::Hash;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use futures::future::join_all;
use futures::{StreamExt as _, future};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::reflector::{Lookup, store};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, reflector};
use kube::{Api, Client, Config, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use super::typed::HttpRoute;
use super::{KINDS, Observed, STAMP};

pub(super) async fn dynamic(begun: Instant, kubeconfig: &Path) {
    let (client, observed) = (client(kubeconfig).await, Arc::new(Observed::default()));
    let stores = KINDS.map(|kind| {
        let (group, version, plural) = kind.api();
        let resource = ApiResource {
            group: group.into(),
            version: version.into(),
            api_version: if group.is_empty() { version.into() } else { format!("{group}/{version}") },
            kind: kind.name().into(),
            plural: plural.into(),
        };
        reflect::<DynamicObject>(&client, resource, &observed)
    });
    let objects = join_all(stores.iter().map(ready)).await.into_iter().sum();
    observed.report(begun, objects).await;
}

pub(super) async fn typed(begun: Instant, kubeconfig: &Path) {
    let (client, observed) = (client(kubeconfig).await, Arc::new(Observed::default()));
    let slices = reflect::<EndpointSlice>(&client, (), &observed);
    let routes = reflect::<HttpRoute>(&client, (), &observed);
    let pods = reflect::<Pod>(&client, (), &observed);
    let (slices, routes, pods) = future::join3(ready(&slices), ready(&routes), ready(&pods)).await;
    observed.report(begun, slices + routes + pods).await;
}

async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap_or_else(|error| panic!("{error}"));
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    let config = config.unwrap_or_else(|error| panic!("{error}"));
    Client::try_from(config).unwrap_or_else(|error| panic!("{error}"))
}

fn reflect<K>(client: &Client, of: <K as Resource>::DynamicType, observed: &Arc<Observed>) -> store::Store<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K: Lookup<DynamicType = <K as Resource>::DynamicType>,
    <K as Resource>::DynamicType: Clone + Eq + Hash + Send + Sync,
{
    let api = Api::<K>::all_with(client.clone(), &of);
    let writer = store::Writer::new(of);
    let (reader, observed) = (writer.as_reader(), observed.clone());
    let events = reflector(writer, watcher::watcher(api, watcher::Config::default()).default_backoff());
    tokio::spawn(events.for_each(move |event| {
        match event {
            Ok(Event::Apply(object)) => observed.update(object.annotations().get(STAMP).map(String::as_str)),
            Ok(_) => {}
            Err(error) => panic!("kube's watcher says {error}"),
        }
        future::ready(())
    }));
    reader
}

/// How many objects there are, once all are there.
async fn ready<K>(store: &store::Store<K>) -> usize
where
    K: Lookup + Clone + 'static,
    K::DynamicType: Clone + Eq + Hash,
{
    store.wait_until_ready().await.unwrap_or_else(|error| panic!("{error}"));
    store.len()
}
