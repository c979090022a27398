//! What a client's requests add up to, by the protocol's own words and nothing else ("xDS protocol: How the client
//! specifies what resources to return", "Wildcard subscriptions").

use std::collections::BTreeSet;

use crate::publish::xds::kind::Kind;

/// The subscriptions to one type.
#[derive(Clone, Debug, Default)]
pub struct Wants {
    pub requested: bool,
    pub star: bool,
    /// Over state of the world: something was named, be it the wildcard.
    by_name: bool,
    pub names: BTreeSet<String>,
}

impl Wants {
    pub fn wants(&self, name: &str) -> bool {
        self.star || self.names.contains(name)
    }

    /// An incremental request.
    pub fn delta(&mut self, kind: Kind, subscribe: &[String], unsubscribe: &[String]) {
        let first = !std::mem::replace(&mut self.requested, true);
        if first && subscribe.is_empty() && unsubscribe.is_empty() {
            self.star = matches!(kind, Kind::Cluster | Kind::Listener | Kind::VirtualHost);
            return;
        }
        for name in subscribe.iter().filter(|name| *name != "*") {
            self.names.insert(name.clone());
        }
        if subscribe.iter().any(|name| name == "*") {
            self.star = true;
        }
        for name in unsubscribe {
            if name == "*" {
                self.star = false;
            }
            self.names.remove(name);
        }
    }

    /// A state-of-the-world request: it lists everything that is wanted.
    pub fn sotw(&mut self, kind: Kind, names: &[String]) {
        self.requested = true;
        self.names = names.iter().filter(|name| *name != "*").cloned().collect();
        self.name(names);
        let all = matches!(kind, Kind::Cluster | Kind::Listener) && names.is_empty() && !self.by_name;
        self.star = all || names.iter().any(|name| name == "*");
    }

    /// A state-of-the-world request named these, even if it came too late.
    pub fn name(&mut self, names: &[String]) {
        self.by_name |= !names.is_empty();
    }

    /// The list of a state-of-the-world request that says this.
    pub fn list(&self) -> Vec<String> {
        let star = (self.star && self.by_name).then(|| "*".to_owned());
        star.into_iter().chain(self.names.iter().cloned()).collect()
    }
}
