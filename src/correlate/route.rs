//! A whole route, translated: its matches in the virtual hosts of all listeners that take it, the clusters that
//! it uses, and what it is told.

use std::sync::Arc;

use tidegate_actors::id::{Name, ObjectKey};

use super::attach::{Attached, Ground, Refused, attach};
use super::gateway::KnownGateway;
use super::precedence::precedence;
use super::rule::{self, Backends, Translated};
use super::settings::Settings;
use super::socket::{ListenerKey, gateway_id};
use super::status::{Condition, ParentStatus, RouteStatus, Truth, condition, reason};
use crate::model::{ClusterId, GatewayId, Policies, Precedence, Route, VirtualHostId};
use crate::resource::View;
use crate::resource::http_route::{HttpRoute, ParentRef};
use crate::resource::types::GATEWAY_GROUP;

/// What translating a route reads.
pub trait RouteWorld: Ground + Backends {
    /// A Gateway, ours or not.
    fn gateway(&mut self, key: &ObjectKey) -> Option<Arc<KnownGateway>>;
}

/// A virtual host and the Gateway that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostKey {
    /// The virtual host.
    pub id: VirtualHostId,
    /// Its Gateway.
    pub gateway: GatewayId,
}

/// All that becomes of a route.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoutePlan {
    /// Its matches, each in its virtual host and place.
    pub entries: Vec<(HostKey, Precedence, Arc<Route>)>,
    /// The listeners that it is attached to.
    pub attached: Vec<ListenerKey>,
    /// The clusters that it uses, and for which Gateway.
    pub clusters: Vec<(ClusterId, GatewayId)>,
    /// When its object was created; the latest there is, if nobody knows.
    pub created: i64,
    /// What it is told; no entry if no parent of it is ours.
    pub status: Option<RouteStatus>,
}

/// Translates a route.
pub fn translate(settings: &Settings, route: &View<HttpRoute>, world: &mut impl RouteWorld) -> RoutePlan {
    let parents = parents(settings, route, world);
    if parents.is_empty() {
        return RoutePlan::default();
    }
    let rules: Vec<Translated> = route.spec.rules.iter().map(|rule| rule::translate(rule, world)).collect();
    let served = rules.iter().any(|rule| rule.invalid.is_none());
    let created = if route.created == 0 { i64::MAX } else { route.created };
    let mut plan = RoutePlan { created, ..RoutePlan::default() };
    let mut listeners: Vec<&Attached> = Vec::new();
    for attached in parents.iter().filter_map(|(_, _, attached)| attached.as_ref().ok()).flatten() {
        // Two references may lead to one listener.
        if listeners.iter().all(|known| known.listener != attached.listener) {
            listeners.push(attached);
        }
    }
    entries(route, &rules, &listeners, &mut plan);
    if served {
        plan.attached = listeners.iter().map(|attached| attached.listener.clone()).collect();
    }
    let shared = shared_conditions(route, &rules);
    let status = parents.iter().map(|(parent, _, attached)| ParentStatus {
        parent_ref: (*parent).clone(),
        controller_name: settings.controller.clone(),
        conditions: conditions(route, attached, served, &rules, &shared),
    });
    plan.status = Some(RouteStatus { parents: status.collect() });
    plan
}

/// What a route is told that is not translated at all; nothing if no parent of it is ours.
pub fn refused(
    settings: &Settings,
    own: &ObjectKey,
    parents: &[ParentRef],
    accepted: &Condition,
    gateway: impl FnMut(&ObjectKey) -> Option<Arc<KnownGateway>>,
) -> Option<RouteStatus> {
    let status = |(parent, ..): (&ParentRef, ObjectKey, Arc<KnownGateway>)| ParentStatus {
        parent_ref: parent.clone(),
        controller_name: settings.controller.clone(),
        conditions: vec![accepted.clone()],
    };
    let parents: Vec<ParentStatus> = of_ours(settings, own, parents, gateway).map(status).collect();
    (!parents.is_empty()).then_some(RouteStatus { parents })
}

type Parent<'a> = (&'a ParentRef, ObjectKey, Result<Vec<Attached>, Refused>);

/// The references to Gateways of ours, with where they lead.
fn parents<'a>(settings: &Settings, route: &'a View<HttpRoute>, world: &mut impl RouteWorld) -> Vec<Parent<'a>> {
    let ours: Vec<_> = of_ours(settings, route.key(), &route.spec.parents, |key| world.gateway(key)).collect();
    let attached = |(parent, key, gateway): (&'a ParentRef, ObjectKey, Arc<KnownGateway>)| {
        let KnownGateway::Ours(plan) = &*gateway else { return None };
        let attached = attach(route, parent, &key, plan, world);
        Some((parent, key, attached))
    };
    ours.into_iter().filter_map(attached).collect()
}

/// The references to Gateways of ours, with these.
fn of_ours<'a>(
    settings: &Settings,
    own: &ObjectKey,
    parents: &'a [ParentRef],
    mut gateway: impl FnMut(&ObjectKey) -> Option<Arc<KnownGateway>>,
) -> impl Iterator<Item = (&'a ParentRef, ObjectKey, Arc<KnownGateway>)> {
    let gateways = parents.iter().filter(|parent| &*parent.group == GATEWAY_GROUP && &*parent.kind == "Gateway");
    gateways.filter_map(move |parent| {
        let namespace = parent.namespace.as_ref().or(own.namespace.as_ref());
        let mut keys = settings.keys(&own.source, namespace, &parent.name);
        let (key, gateway) = keys.find_map(|key| gateway(&key).map(|gateway| (key, gateway)))?;
        matches!(*gateway, KnownGateway::Ours(_)).then_some((parent, key, gateway))
    })
}

fn entries(route: &View<HttpRoute>, rules: &[Translated], listeners: &[&Attached], plan: &mut RoutePlan) {
    let key = route.key();
    let full_name: Name = format!("{}/{}", key.namespace_or_empty(), key.name).into();
    for (at, (rule, translated)) in route.spec.rules.iter().zip(rules).enumerate() {
        for (match_at, matching) in rule.matches.iter().enumerate() {
            let Some(matching) = matching else { continue };
            let place = precedence(route, &full_name, at, match_at, matching);
            let name: Name = format!("{full_name}/{at}/{match_at}").into();
            let make = |listener: &Attached| {
                Arc::new(Route {
                    name: name.clone(),
                    matching: rule::matching(matching),
                    action: translated.action_on(listener.port, listener.secure),
                    filters: translated.filters.clone(),
                    policies: Policies::default(),
                    origin: route.object.clone(),
                })
            };
            let mut same: Option<Arc<Route>> = None;
            for listener in listeners {
                let made = match &same {
                    Some(same) => same.clone(),
                    None => make(listener),
                };
                if translated.is_the_same_everywhere() {
                    same = Some(made.clone());
                }
                let gateway = gateway_id(&listener.listener.gateway);
                for id in &listener.hosts {
                    let host = HostKey { id: id.clone(), gateway: gateway.clone() };
                    plan.entries.push((host, place.clone(), made.clone()));
                }
            }
        }
    }
    for listener in listeners.iter().filter(|listener| !listener.hosts.is_empty()) {
        let gateway = gateway_id(&listener.listener.gateway);
        for cluster in rules.iter().flat_map(Translated::clusters) {
            plan.clusters.push((cluster.clone(), gateway.clone()));
        }
    }
    plan.clusters.sort();
    plan.clusters.dedup();
    // Held for as long as the route: most have one entry, and a list grows to room for four.
    plan.entries.shrink_to_fit();
    plan.clusters.shrink_to_fit();
}

/// The conditions that are the same at all parents.
fn shared_conditions(route: &View<HttpRoute>, rules: &[Translated]) -> Condition {
    let mut problems = rules.iter().flat_map(|rule| &rule.problems);
    let Some(first) = problems.next() else {
        let message = "all references are resolved";
        return Condition::new(condition::RESOLVED_REFS, Truth::True, reason::RESOLVED_REFS, message, route.generation);
    };
    let mut messages = vec![&*first.message];
    for problem in problems {
        if !messages.contains(&&*problem.message) {
            messages.push(&problem.message);
        }
    }
    Condition::new(condition::RESOLVED_REFS, Truth::False, first.reason, messages.join("; "), route.generation)
}

fn attachment(listeners: &[Attached]) -> String {
    let names = |of: &[&Attached]| of.iter().map(|attached| &*attached.listener.name).collect::<Vec<_>>().join(", ");
    let all = names(&listeners.iter().collect::<Vec<_>>());
    let shadowed: Vec<&Attached> = listeners.iter().filter(|attached| attached.hosts.is_empty()).collect();
    if shadowed.is_empty() {
        return format!("attached to {all}");
    }
    format!("attached to {all}; serves nothing on {}, where others are more specific for its hosts", names(&shadowed))
}

fn conditions(
    route: &View<HttpRoute>,
    attached: &Result<Vec<Attached>, Refused>,
    served: bool,
    rules: &[Translated],
    resolved: &Condition,
) -> Vec<Condition> {
    let invalid = rules.iter().enumerate().filter_map(|(at, rule)| rule.invalid.as_ref().map(|why| (at, why)));
    let invalid: Vec<String> = invalid.map(|(at, why)| format!("{at} ({why})")).collect();
    let accepted = |status, reason, message: String| {
        Condition::new(condition::ACCEPTED, status, reason, message, route.generation)
    };
    let verdict = match attached {
        Err(Refused { reason, message }) if *reason == reason::PENDING => {
            accepted(Truth::Unknown, reason, message.clone())
        }
        Err(Refused { reason, message }) => accepted(Truth::False, reason, message.clone()),
        Ok(_) if !served => {
            let message = format!("no rule can be used; what they match is answered 500: {}", invalid.join("; "));
            accepted(Truth::False, reason::UNSUPPORTED_VALUE, message)
        }
        Ok(listeners) => accepted(Truth::True, reason::ACCEPTED, attachment(listeners)),
    };
    let is_accepted = verdict.status == Truth::True;
    let mut conditions = vec![verdict, resolved.clone()];
    if is_accepted && !invalid.is_empty() {
        // The specification asks for this beginning.
        let message = format!("Dropped Rule {}; what it matches is answered 500", invalid.join(", "));
        let partially = condition::PARTIALLY_INVALID;
        conditions.push(Condition::new(partially, Truth::True, reason::UNSUPPORTED_VALUE, message, route.generation));
    }
    conditions
}
