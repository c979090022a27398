//! What is not current any more and still of use: the last version of a resource that some client accepted, for those
//! that reject the current one and have nothing else; and clusters that went lately, for clients that come back and
//! cannot say that they have them.
//!
//! Laws: nobody who accepts the current version is given another; what is kept is bounded by the number of names.

use std::collections::VecDeque;
use std::sync::Arc;

use tidegate_actors::Map;
use tidegate_actors::id::Name;

use super::{Cache, View};
use crate::publish::xds::kind::Kind;
use crate::publish::xds::resource::Resource;

/// So many clusters are remembered that went.
const DEPARTED: usize = 1_024;
/// So many versions may be kept before a look at which of them are still of use.
const FEW: usize = 256;

/// See the module. For types that all clients see alike.
#[derive(Default)]
pub struct Goods {
    last: Map<(Kind, Name), Arc<Resource>>,
    /// At how many to look again.
    look_at: usize,
}

/// See the module.
#[derive(Default)]
pub struct Departed {
    clusters: Map<Name, Gone>,
    order: VecDeque<Name>,
}

struct Gone {
    cluster: Arc<Resource>,
    endpoints: Option<Arc<Resource>>,
}

impl Goods {
    /// The last good one before the current one.
    pub fn of(&self, kind: Kind, name: &Name) -> Option<&Arc<Resource>> {
        self.last.get(&(kind, name.clone()))
    }

    /// A version was replaced, or taken away: then its name begins anew.
    pub fn replaced(&mut self, old: &Arc<Resource>, gone: bool) {
        if gone {
            self.last.remove(&(old.kind, old.name.clone()));
        } else if old.is_accepted() {
            self.last.insert((old.kind, old.name.clone()), old.clone());
        }
    }
}

impl Departed {
    /// A cluster went, or somebody cannot see it any more. One that was back for so short a time that nobody accepted it
    /// does not take the place of one that somebody did.
    pub fn note(&mut self, cluster: Arc<Resource>, endpoints: Option<Arc<Resource>>) {
        let name = cluster.name.clone();
        let before = self.clusters.remove(&name);
        if before.is_some() {
            self.order.retain(|other| *other != name);
        }
        let better = before.filter(|before| before.cluster.is_accepted() && !cluster.is_accepted());
        self.clusters.insert(name.clone(), better.unwrap_or(Gone { cluster, endpoints }));
        self.order.push_back(name);
        if self.order.len() > DEPARTED
            && let Some(oldest) = self.order.pop_front()
        {
            self.clusters.remove(&oldest);
        }
    }
}

impl Cache {
    /// The last version that a client accepted before the current one, for a client that rejects the current one and
    /// has none.
    pub fn last_good(&self, kind: Kind, name: &str, view: &View) -> Option<Arc<Resource>> {
        match kind {
            Kind::Listener => self.listeners.get(name)?.good.get(&view.scope).cloned(),
            Kind::RouteConfig if view.inline => self.tables.get(name)?.good.get(&view.scope).cloned(),
            _ => {
                let good = self.goods.of(kind, &Name::from(name))?;
                let seen = kind == Kind::Endpoints || view.scope.sees(&good.gateways);
                seen.then(|| good.clone())
            }
        }
    }

    /// Clusters that went lately and that a client with this view may still have, since somebody has accepted them, or
    /// nobody rejected them: the answer may have been lost with the stream.
    pub fn departed(&self, view: &View) -> Vec<Arc<Resource>> {
        let all = self.departed.order.iter().filter_map(|name| self.departed.clusters.get(name));
        let all = all.filter(|gone| gone.cluster.is_accepted() || !gone.cluster.is_rejected());
        let seen = all.filter(|gone| view.scope.sees(&gone.cluster.gateways));
        let gone = seen.filter(|gone| self.get(Kind::Cluster, &gone.cluster.name, view).is_none());
        gone.map(|gone| gone.cluster.clone()).collect()
    }

    /// The endpoints that a cluster had when it went. Nobody in this life may have been sent them: a client that comes
    /// back to a new process keeps the cluster all the same.
    pub fn departed_endpoints(&self, cluster: &str) -> Option<Arc<Resource>> {
        self.departed.clusters.get(cluster)?.endpoints.clone()
    }

    /// Drops versions that nobody needs, since clients accept the current ones. A few are not worth the look.
    pub(super) fn forget_goods(&mut self) {
        if self.goods.last.len() < self.goods.look_at.max(FEW) {
            return;
        }
        let mut last = std::mem::take(&mut self.goods.last);
        last.retain(|(kind, name), _| {
            let current = match kind {
                Kind::Cluster => self.clusters.get(name),
                Kind::Endpoints => self.endpoints.get(name),
                Kind::Secret => self.secrets.get(name),
                _ => self.hosts.get(name),
            };
            current.is_some_and(|current| !current.is_undisputed())
        });
        self.goods.look_at = last.len() * 2;
        self.goods.last = last;
    }
}
