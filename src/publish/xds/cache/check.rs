//! What Envoy would accept and then break on, found before it is sent: routes to clusters that are not there,
//! filter chains whose certificate is not there. A warning each, on the object that refers to it.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate_actors::id::{Name, ObjectRef};
use tidegate_actors::problem::{Problem, Problems, Serving};

use super::Cache;
use super::apply::Touched;
use crate::model::Protocol;
use crate::publish::xds::resource::Source;

/// The scope of these problems.
const SCOPE: &str = "xds/check";
/// So many objects are told about one missing thing.
const MAX: usize = 16;

/// The problems that stand.
pub struct Checks {
    problems: Problems,
    standing: BTreeSet<String>,
}

impl Checks {
    /// None stand yet.
    pub fn new(problems: Problems) -> Self {
        Self { problems, standing: BTreeSet::new() }
    }

    /// Looks again at what a step touched.
    pub fn run(&mut self, cache: &Cache, touched: &Touched) {
        for cluster in &touched.clusters {
            let missing = !cache.clusters.contains_key(cluster);
            let objects = if missing { cache.objects_leading_to(cluster) } else { Vec::new() };
            let reason = format!("a route leads to {cluster}, which is not there: its requests are answered 503");
            self.tell(&format!("cluster/{cluster}/"), objects, &reason);
        }
        if touched.certificates {
            let mut missing: BTreeSet<(String, Option<ObjectRef>)> = BTreeSet::new();
            for chain in cache.listeners.values().flat_map(|entry| &entry.model.chains) {
                let Protocol::Https(tls) = &chain.protocol else { continue };
                for id in tls.certificates.iter().map(ToString::to_string) {
                    if !cache.secrets.contains_key(&*id) {
                        missing.insert((id, chain.origins.first().cloned()));
                    }
                }
            }
            self.forget("secret/");
            for (id, object) in missing {
                let reason = format!("the certificate {id} is not there: the proxy waits for it and serves without");
                self.tell(&format!("secret/{id}/"), object.into_iter().collect(), &reason);
            }
        }
    }

    fn tell(&mut self, prefix: &str, objects: Vec<ObjectRef>, reason: &str) {
        if objects.is_empty() {
            return self.forget(prefix);
        }
        let wanted: BTreeSet<String> = (0..objects.len()).map(|at| format!("{prefix}{at}")).collect();
        self.forget_but(prefix, &wanted);
        for (id, object) in wanted.into_iter().zip(objects) {
            let problem = Problem {
                place: String::new(),
                object: Some(object),
                field: String::new(),
                reason: reason.to_owned(),
                serving: Serving::Current,
            };
            self.problems.set(SCOPE, &id, problem);
            self.standing.insert(id);
        }
    }

    fn forget(&mut self, prefix: &str) {
        self.forget_but(prefix, &BTreeSet::new());
    }

    fn forget_but(&mut self, prefix: &str, wanted: &BTreeSet<String>) {
        let old: Vec<String> = self
            .standing
            .range(prefix.to_owned()..)
            .take_while(|id| id.starts_with(prefix))
            .filter(|id| !wanted.contains(*id))
            .cloned()
            .collect();
        for id in old {
            self.problems.clear(SCOPE, &id);
            self.standing.remove(&id);
        }
    }
}

impl Cache {
    /// The listeners of Gateways that a certificate is for.
    pub fn listeners_with(&self, certificate: &str) -> Vec<(ObjectRef, Name)> {
        let chains = self.listeners.values().flat_map(|entry| &entry.model.chains);
        let using = chains.filter(|chain| match &chain.protocol {
            Protocol::Https(tls) => tls.certificates.iter().any(|id| id.to_string() == certificate),
            Protocol::Http => false,
        });
        using.flat_map(|chain| chain.listeners.iter().cloned()).collect()
    }

    /// The route objects that lead to a cluster: sorted, each once, the first few.
    pub fn objects_leading_to(&self, cluster: &Name) -> Vec<ObjectRef> {
        let hosts = self.hosts_leading_to(cluster).filter_map(|host| self.hosts.get(host));
        let encodings = hosts.filter_map(|host| match &host.source {
            Source::Host(encoding) => Some(Arc::clone(encoding)),
            _ => None,
        });
        let mut objects = BTreeSet::new();
        for encoding in encodings {
            for route in encoding.routes_leading_to(cluster) {
                objects.insert(route.origin.clone());
                if objects.len() == MAX {
                    return objects.into_iter().collect();
                }
            }
        }
        objects.into_iter().collect()
    }
}
