//! What of the configuration decides translations.

use std::net::{IpAddr, Ipv4Addr};

use tidegate_actors::id::{Name, ObjectKey};

use super::shard::Shard;
use crate::resource::address::{Special, special};

/// Settings of the translation. Other settings mean another graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// GatewayClasses with this `controllerName` are ours.
    pub controller: Name,
    /// Which of their Gateways are.
    pub shard: Shard,
    /// Where listeners bind whose Gateway asks for no address.
    pub bind: IpAddr,
    /// The sources, in the order of the configuration: a reference resolves in its own source first, then in
    /// the others in this order; of two that define one object the first counts.
    pub sources: Vec<Name>,
    /// How many routes one Gateway may have.
    pub max_routes: usize,
    /// Which special addresses endpoints may have.
    pub allowed: AllowedBackends,
}

/// Addresses that endpoints may have although they lead to the proxy's own machine or network segment. Without a word,
/// none: whoever names endpoints would reach there with the proxy's eyes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AllowedBackends {
    /// Of the proxy's own machine.
    pub loopback: bool,
    /// Of its own network segment, metadata services of clouds included.
    pub link_local: bool,
}

impl AllowedBackends {
    /// What is wrong with an endpoint's address, and what to do about it.
    pub fn refuse(self, address: IpAddr) -> Option<String> {
        let special = special(address)?;
        let key = match special {
            Special::Loopback if self.loopback => return None,
            Special::LinkLocal if self.link_local => return None,
            Special::Loopback => "loopback",
            Special::LinkLocal => "link_local",
            Special::Unspecified | Special::Multicast => {
                return Some(format!("{address} is {}, at which nobody is an endpoint", special.noun()));
            }
        };
        let noun = special.noun();
        Some(format!(
            "{address} is {noun}: it would lead to whatever listens beside the proxy; if that is meant, add {key} to \
             gateway.allow_backends"
        ))
    }
}

/// How many routes one Gateway may have, unless the configuration says otherwise.
pub const MAX_ROUTES: usize = 100_000;

/// The `controllerName` of our GatewayClasses, unless the configuration names another.
pub const CONTROLLER: &str = "tidegate.dev/gateway-controller";

impl Default for Settings {
    fn default() -> Self {
        Self {
            controller: CONTROLLER.into(),
            shard: Shard::default(),
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            sources: Vec::new(),
            max_routes: MAX_ROUTES,
            allowed: AllowedBackends::default(),
        }
    }
}

impl Settings {
    /// Where a source stands in the configuration; one that is not in it comes after all others, by name.
    pub fn place(&self, source: &Name) -> (usize, Name) {
        let at = self.sources.iter().position(|listed| listed == source);
        (at.unwrap_or(usize::MAX), source.clone())
    }

    /// The sources in which something that `own` refers to is looked up, in order.
    pub fn search<'a>(&'a self, own: &'a Name) -> impl Iterator<Item = &'a Name> {
        std::iter::once(own).chain(self.sources.iter().filter(move |source| *source != own))
    }

    /// The keys under which an object that `own` refers to is looked up, in order.
    pub fn keys<'a>(
        &'a self,
        own: &'a Name,
        namespace: Option<&'a Name>,
        name: &'a Name,
    ) -> impl Iterator<Item = ObjectKey> + 'a {
        let key = move |source: &Name| ObjectKey {
            source: source.clone(),
            namespace: namespace.cloned(),
            name: name.clone(),
        };
        self.search(own).map(key)
    }
}
