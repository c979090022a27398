//! What the functions may read, read from the graph: each look-up through a recording context.

use std::sync::Arc;

use tidegate_actors::correlation::{Collection, Ctx, Index};
use tidegate_actors::id::{Name, ObjectKey};

use super::attach::Ground;
use super::backend::{self, PortState, ServiceState};
use super::certificate::Holds;
use super::gateway::{KnownGateway, ListenerPlan};
use super::gateway_status::ListenerFacts;
use super::graph::{Gateways, Routes, Services, Sources};
use super::reference::{Find, GrantKey, Referrer, Unresolved, resolve};
use super::route::RouteWorld;
use super::rule::{self, Backends, RefProblem};
use super::settings::Settings;
use super::socket::{ListenerKey, Seats};
use super::status::reason;
use crate::model::{ClusterId, ListenerId};
use crate::resource::View;
use crate::resource::gateway::ObjectReference;
use crate::resource::http_route::HttpRoute;
use crate::resource::reference_grant::ReferenceGrant;
use crate::resource::selector::Selector;
use crate::resource::types::GATEWAY_GROUP;

type Grants = Index<ObjectKey, View<ReferenceGrant>, GrantKey>;

/// For certificates.
pub(super) struct CertificateWorld<'a, 'w> {
    pub ctx: &'a mut Ctx<'w>,
    pub grants: Grants,
    pub held: Collection<ObjectKey, Holds>,
}

impl Find<Holds> for CertificateWorld<'_, '_> {
    fn granted(&mut self, key: &GrantKey) -> bool {
        self.ctx.count(self.grants, key) > 0
    }

    fn find(&mut self, key: &ObjectKey) -> Option<Holds> {
        self.ctx.fetch(self.held, key).map(|holds| *holds)
    }
}

/// For a route.
pub(super) struct RouteReader<'a, 'w> {
    pub ctx: &'a mut Ctx<'w>,
    pub settings: &'a Settings,
    pub route: &'a View<HttpRoute>,
    pub sources: Sources,
    pub gateways: Gateways,
    pub services: Services,
}

impl Find<ServiceState> for RouteReader<'_, '_> {
    fn granted(&mut self, key: &GrantKey) -> bool {
        self.ctx.count(self.sources.grants, key) > 0
    }

    fn find(&mut self, key: &ObjectKey) -> Option<ServiceState> {
        self.ctx.fetch(self.services.known, key).map(|state| *state)
    }
}

impl Backends for RouteReader<'_, '_> {
    fn cluster(&mut self, to: &ObjectReference, port: Option<u16>) -> Result<ClusterId, RefProblem> {
        let (settings, own) = (self.settings, self.route.key());
        let no_namespace: Name = "".into();
        let namespace = own.namespace.as_ref().unwrap_or(&no_namespace);
        let from = Referrer { source: &own.source, group: GATEWAY_GROUP, kind: "HTTPRoute", namespace };
        let of = to.namespace.as_ref().unwrap_or(namespace);
        let problem = |reason, message: String| Err(RefProblem { reason, message });
        if !to.group.is_empty() || &*to.kind != "Service" {
            let kind = format!("{} {}", to.group, to.kind);
            return problem(reason::INVALID_KIND, format!("a backend must be a Service, not {}", kind.trim()));
        }
        let found = resolve(settings, &from, to, self);
        let (key, state) = match found {
            Ok(found) => found,
            Err(Unresolved::NotFound) => return Err(rule::not_found(to, of, None)),
            Err(Unresolved::NotPermitted) => {
                let message = format!("no ReferenceGrant allows the reference to the Service {of}/{}", to.name);
                return problem(reason::REF_NOT_PERMITTED, message);
            }
        };
        if state == ServiceState::ExternalName {
            let message = format!("the Service {of}/{} is of the type ExternalName, which is not supported", to.name);
            return problem(reason::INVALID_KIND, message);
        }
        let Some(number) = port else { return Err(rule::not_found(to, of, port)) };
        let id = backend::cluster_id(&key, number);
        match self.ctx.fetch(self.services.ports, &id).as_deref() {
            Some(PortState::Usable) => Ok(id),
            Some(PortState::UnknownProtocol) => {
                let message =
                    format!("port {number} of the Service {of}/{} speaks a protocol that is not supported", to.name);
                problem(reason::UNSUPPORTED_PROTOCOL, message)
            }
            None => Err(rule::not_found(to, of, port)),
        }
    }
}

impl Ground for RouteReader<'_, '_> {
    fn selects(&mut self, selector: &Selector) -> bool {
        let own = self.route.key();
        let Some(namespace) = &own.namespace else { return false };
        let mut keys = self.settings.keys(&own.source, None, namespace);
        match keys.find_map(|key| self.ctx.fetch(self.sources.namespaces, &key)) {
            Some(view) => selector.matches(|key| view.spec.labels.get(key)),
            // A source without Namespace objects still knows the name.
            None => selector.matches(|key| (key == "kubernetes.io/metadata.name").then_some(&**namespace)),
        }
    }

    fn seats(&mut self, socket: &ListenerId) -> Option<Arc<Seats>> {
        self.ctx.fetch(self.gateways.seats, socket)
    }
}

impl RouteWorld for RouteReader<'_, '_> {
    fn gateway(&mut self, key: &ObjectKey) -> Option<Arc<KnownGateway>> {
        self.gateways.find(self.ctx, key)
    }
}

/// What a listener's status is made of.
pub(super) fn listener_facts(
    ctx: &mut Ctx<'_>,
    gateways: Gateways,
    routes: Routes,
    key: &ListenerKey,
    listener: &ListenerPlan,
) -> ListenerFacts {
    let mut facts = ListenerFacts {
        certificates: ctx.fetch(gateways.certificates, key).map(|certificates| (*certificates).clone()),
        attached_routes: ctx.count(routes.attached, key),
        ..ListenerFacts::default()
    };
    for socket in &listener.sockets {
        let lost = ctx.fetch(gateways.lost, &(key.clone(), *socket)).map(|lost| (*lost).clone());
        facts.lost = facts.lost.or(lost);
        let Some(seats) = ctx.fetch(gateways.seats, socket) else { continue };
        if seats.by_domain.get(&listener.domain) != Some(key) {
            continue;
        }
        facts.seats += 1;
        if seats.secure {
            for other in seats.overlapping(&listener.domain) {
                let name = if other.gateway == key.gateway {
                    other.name.to_string()
                } else {
                    let gateway = &other.gateway;
                    format!("{} of the Gateway {}/{}", other.name, gateway.namespace_or_empty(), gateway.name)
                };
                if !facts.overlapping.contains(&name) {
                    facts.overlapping.push(name);
                }
            }
        }
    }
    facts
}
