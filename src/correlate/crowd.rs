//! Routes that come when a Gateway has as many as it may: the oldest keep their places, what comes later serves nothing
//! there and is told why.
//!
//! Laws: who had a place keeps it, whatever comes; as long as there is room, all of this costs one number a Gateway.

use std::sync::Arc;

use tidegate_actors::correlation::{Collection, Graph};
use tidegate_actors::id::{ObjectKey, ObjectRef};
use tidegate_actors::problem::{Problem, Serving};

use super::gateway::KnownGateway;
use super::graph::{Gateways, Routes, Sources};
use super::route::HostKey;
use super::settings::Settings;
use super::socket::{ListenerKey, gateway_id};
use super::status::{Condition, ObjectStatus, RouteStatus, Status, Truth, condition, reason};
use super::{unreadable, virtual_host};
use crate::limit::Limit;
use crate::model::{Precedence, Route, Seq, VirtualHost, VirtualHostId};
use crate::resource::types;

/// Where a route stands among those of a Gateway: the oldest first, as the specification resolves conflicts.
pub type Seniority = (i64, ObjectKey);

/// Those for whom there is no room.
pub fn beyond(limit: usize, routes: impl IntoIterator<Item = Seniority>) -> Vec<ObjectKey> {
    let mut all: Vec<Seniority> = routes.into_iter().collect();
    let place = |(created, key): &Seniority| (*created, key.namespace.clone(), key.name.clone(), key.source.clone());
    all.sort_by_key(place);
    all.dedup();
    all.into_iter().skip(limit).map(|(_, key)| key).collect()
}

/// What a route is told for which a Gateway has no room.
fn message(limit: usize, gateway: &ObjectKey) -> String {
    format!(
        "the Gateway {}/{} has its {limit} routes already, which are older than this one; raise \
         limits.routes_per_gateway, or attach it to another Gateway",
        gateway.namespace_or_empty(),
        gateway.name,
    )
}

/// Puts that in the place of what a route was told of a Gateway.
fn refuse(status: &mut RouteStatus, own: &ObjectKey, gateway: &ObjectKey, limit: usize) {
    for parent in &mut status.parents {
        let namespace = parent.parent_ref.namespace.as_ref().or(own.namespace.as_ref());
        if parent.parent_ref.name != gateway.name || namespace != gateway.namespace.as_ref() {
            continue;
        }
        for told in parent.conditions.iter_mut().filter(|told| told.r#type == condition::ACCEPTED) {
            let (reason, message) = (reason::TOO_MANY_ROUTES, message(limit, gateway));
            *told = Condition::new(condition::ACCEPTED, Truth::False, reason, message, told.observed_generation);
        }
    }
}

/// What takes the place of what there would be if there were room.
#[derive(Clone, Copy)]
pub(super) struct Crowds {
    /// Virtual hosts without the routes for which there is none.
    pub virtual_hosts: Collection<VirtualHostId, VirtualHost>,
    /// What these routes are told.
    pub statuses: Collection<ObjectRef, ObjectStatus>,
}

/// Adds this to a graph. `hosts` are the routes of each virtual host; `bare` are those that are there without any.
pub(super) fn crowds(
    graph: &mut Graph,
    settings: &Arc<Settings>,
    sources: Sources,
    gateways: Gateways,
    routes: Routes,
    hosts: Collection<HostKey, Seq<Precedence, Route>>,
    bare: Collection<VirtualHostId, VirtualHost>,
) -> Crowds {
    let limit = settings.max_routes;
    let refused = graph.correlate("routes without room", gateways.known, move |ctx, key, known| {
        let KnownGateway::Ours(plan) = &**known else { return Vec::new() };
        let listeners = plan.listeners.iter();
        let listeners = listeners.map(|listener| ListenerKey { gateway: key.clone(), name: listener.name.clone() });
        let listeners: Vec<ListenerKey> = listeners.collect();
        // A route at two of them counts twice here, and once below.
        if listeners.iter().map(|listener| ctx.count(routes.attached, listener)).sum::<usize>() <= limit {
            return Vec::new();
        }
        let attached = listeners.iter().flat_map(|listener| ctx.fetch_by(routes.attached, listener));
        let attached: Vec<Seniority> = attached.map(|((_, route), created)| (*created, route)).collect();
        beyond(limit, attached).into_iter().map(|route| ((route, key.clone()), ())).collect()
    });
    let by_route = graph
        .group("gateways without room", refused, |(route, gateway), ()| (route.clone(), gateway.clone(), Arc::new(())));
    graph.report("routes without room reported", by_route, move |route, gateways| {
        let problem = |(gateway, _): &(ObjectKey, Arc<()>)| Problem {
            place: String::new(),
            object: Some(ObjectRef { resource_type: types::http_route(), key: route.clone() }),
            field: String::new(),
            reason: message(limit, gateway),
            serving: Serving::Nothing,
        };
        // Where it is told: that a Gateway is looked at again for another of its routes is no further refusal.
        Limit::RoutesPerGateway.exceeded(gateways.len());
        gateways.iter().map(problem).collect()
    });
    let statuses = graph.correlate("statuses without room", by_route, move |ctx, key, gateways| {
        let error = ctx.fetch(sources.errors.routes, key);
        let Some(mut status) = ctx.fetch(routes.plans, key).and_then(|plan| plan.status.clone()) else {
            return Vec::new();
        };
        for (gateway, _) in gateways.iter() {
            refuse(&mut status, key, gateway, limit);
        }
        if let Some(error) = error {
            for parent in &mut status.parents {
                unreadable::tell(&mut parent.conditions, &error, reason::UNSUPPORTED_VALUE);
            }
        }
        let object = ObjectRef { resource_type: types::http_route(), key: key.clone() };
        vec![(object.clone(), ObjectStatus { object, status: Status::Route(status) })]
    });
    let without = graph.correlate("hosts of routes without room", refused, move |ctx, (route, gateway), _| {
        let Some(plan) = ctx.fetch(routes.plans, route) else { return Vec::new() };
        let of = gateway_id(gateway);
        let hosts = plan.entries.iter().map(|(host, ..)| host).filter(|host| host.gateway == of);
        let mut hosts: Vec<HostKey> = hosts.cloned().collect();
        hosts.sort();
        hosts.dedup();
        hosts.into_iter().map(|host| ((host, route.clone()), ())).collect()
    });
    let without = graph
        .group("virtual hosts without room", without, |(host, route), ()| (host.clone(), route.clone(), Arc::new(())));
    let virtual_hosts = graph.correlate("virtual hosts with less", without, move |ctx, host, refused| {
        let Some(all) = ctx.fetch(hosts, host) else { return Vec::new() };
        let refused: std::collections::BTreeSet<&ObjectKey> = refused.iter().map(|(route, _)| route).collect();
        let rest = all.iter().filter(|(_, route)| !refused.contains(&route.origin.key)).cloned();
        let rest: Seq<Precedence, Route> = rest.collect();
        let bare = if rest.is_empty() { ctx.fetch(bare, &host.id) } else { None };
        let less = bare.map_or_else(|| virtual_host::with_routes(host, &rest), |bare| (*bare).clone());
        vec![(host.id.clone(), less)]
    });
    Crowds { virtual_hosts, statuses }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_route(created: i64, name: &str) -> Seniority {
        (created, ObjectKey::namespaced("src", "app", name))
    }

    #[test]
    fn the_oldest_have_room_and_each_counts_once() {
        let routes = [mk_route(3, "a"), mk_route(1, "c"), mk_route(2, "b"), mk_route(1, "c"), mk_route(2, "a")];
        let names: Vec<String> = beyond(2, routes).iter().map(|key| key.name.to_string()).collect();
        assert_eq!(names, ["b", "a"]);
    }
}
