//! The part of the graph that tells objects about themselves: from what became of them, or of what kept them from
//! becoming anything.

use std::sync::Arc;

use tidegate_actors::correlation::{Collection, Ctx, Graph, ViewError};
use tidegate_actors::id::{ObjectKey, ObjectRef, ResourceType};
use tidegate_actors::problem::Serving;

use super::claims::Contest;
use super::crowd::Crowds;
use super::gateway::KnownGateway;
use super::graph::{Gateways, Routes, Sources, whose};
use super::settings::Settings;
use super::shard::{Answers, Standing};
use super::socket::ListenerKey;
use super::status::{Condition, ObjectStatus, Status, Truth, condition, reason};
use super::{gateway, gateway_status, route, unreadable};
use crate::resource::gateway::Gateway;
use crate::resource::http_route::HttpRoute;
use crate::resource::types;

type Statuses = Collection<ObjectRef, ObjectStatus>;

/// Adds what objects are told to a graph.
pub(super) fn statuses(
    graph: &mut Graph,
    settings: &Arc<Settings>,
    sources: Sources,
    gateways: Gateways,
    routes: Routes,
    crowds: Crowds,
) -> Statuses {
    let all = [
        // In the place of what these routes would be told otherwise.
        crowds.statuses,
        of_classes(graph, settings, sources),
        of_gateways(graph, sources, gateways, routes),
        of_unreadable_gateways(graph, settings, sources),
        of_routes(graph, sources, routes),
        of_unreadable_routes(graph, settings, sources, gateways),
    ];
    graph.union("statuses", &all)
}

fn told(resource_type: ResourceType, key: &ObjectKey, status: Status) -> Vec<(ObjectRef, ObjectStatus)> {
    let object = ObjectRef { resource_type, key: key.clone() };
    vec![(object.clone(), ObjectStatus { object, status })]
}

/// A class that cannot be read and never could names no controller, so it is not ours to tell.
fn of_classes(graph: &mut Graph, settings: &Arc<Settings>, sources: Sources) -> Statuses {
    let with = settings.clone();
    graph.correlate("gateway class statuses", sources.classes, move |ctx, key, class| {
        let Some(acceptance) = gateway::class_acceptance(&with, class) else { return Vec::new() };
        let mut status = gateway_status::class_status(class, &acceptance);
        if let Some(error) = ctx.fetch(sources.errors.classes, key) {
            unreadable::tell(&mut status.conditions, &error, reason::UNSUPPORTED);
        }
        told(types::gateway_class(), key, Status::GatewayClass(status))
    })
}

fn of_gateways(graph: &mut Graph, sources: Sources, gateways: Gateways, routes: Routes) -> Statuses {
    graph.correlate("gateway statuses", sources.gateways, move |ctx, key, gateway| {
        let known = ctx.fetch(gateways.known, key);
        let mut status = match known.as_deref() {
            Some(KnownGateway::Ours(plan)) => {
                let facts = plan.listeners.iter().map(|listener| {
                    let listener_key = ListenerKey { gateway: key.clone(), name: listener.name.clone() };
                    super::world::listener_facts(ctx, gateways, routes, &listener_key, listener)
                });
                let facts: Vec<_> = facts.collect();
                gateway_status::gateway_status(gateway, plan, &facts)
            }
            Some(KnownGateway::SetAside(lost)) => gateway_status::refused(set_aside(lost, gateway.generation)),
            Some(KnownGateway::AnotherShards | KnownGateway::Foreign) | None => return Vec::new(),
        };
        if let Some(error) = ctx.fetch(sources.errors.gateways, key) {
            unreadable::tell(&mut status.conditions, &error, reason::INVALID);
        }
        told(types::gateway(), key, Status::Gateway(status))
    })
}

fn of_unreadable_gateways(graph: &mut Graph, settings: &Arc<Settings>, sources: Sources) -> Statuses {
    let with = settings.clone();
    graph.correlate("unreadable gateways", sources.errors.gateways, move |ctx, key, error| {
        let Standing::Ours(_) = whose_unreadable(ctx, &with, sources, key, error) else { return Vec::new() };
        let status = gateway_status::refused(unreadable::accepted(error, reason::INVALID, None));
        told(types::gateway(), key, Status::Gateway(status))
    })
}

/// Whose a Gateway is that cannot be read and never could, as far as it says; of one that could, its good version says.
fn whose_unreadable(
    ctx: &mut Ctx<'_>,
    settings: &Settings,
    sources: Sources,
    key: &ObjectKey,
    error: &ViewError,
) -> Standing {
    match Gateway::class_of(error.object.raw()).filter(|_| error.serving == Serving::Nothing) {
        Some(class) => whose(ctx, settings, sources, key, &class, |key| error.object.label(key)),
        None => Standing::Foreign,
    }
}

fn of_routes(graph: &mut Graph, sources: Sources, routes: Routes) -> Statuses {
    graph.correlate("route statuses", routes.plans, move |ctx, key, plan| {
        let error = ctx.fetch(sources.errors.routes, key);
        let Some(mut status) = plan.status.clone() else { return Vec::new() };
        if let Some(error) = error {
            for parent in &mut status.parents {
                unreadable::tell(&mut parent.conditions, &error, reason::UNSUPPORTED_VALUE);
            }
        }
        told(types::http_route(), key, Status::Route(status))
    })
}

fn of_unreadable_routes(graph: &mut Graph, settings: &Arc<Settings>, sources: Sources, gateways: Gateways) -> Statuses {
    let with = settings.clone();
    graph.correlate("unreadable routes", sources.errors.routes, move |ctx, key, error: &Arc<ViewError>| {
        if error.serving != Serving::Nothing {
            return Vec::new();
        }
        let accepted = unreadable::accepted(error, reason::UNSUPPORTED_VALUE, None);
        let parents = HttpRoute::parents_of(error.object.raw());
        let status = route::refused(&with, key, &parents, &accepted, |key| gateways.find(ctx, key));
        status.map(|status| told(types::http_route(), key, Status::Route(status))).unwrap_or_default()
    })
}

/// Who answers for the Gateways of our controller.
pub(super) fn answers(
    graph: &mut Graph,
    settings: &Arc<Settings>,
    sources: Sources,
    gateways: Gateways,
) -> Collection<ObjectKey, Answers> {
    let known = graph.correlate("who answers for gateways", gateways.known, |_, key, known| match &**known {
        KnownGateway::Ours(_) | KnownGateway::SetAside(_) => vec![(key.clone(), Answers::Here)],
        KnownGateway::AnotherShards => vec![(key.clone(), Answers::Elsewhere)],
        KnownGateway::Foreign => Vec::new(),
    });
    let with = settings.clone();
    let unreadable = graph.correlate("who answers for unreadable gateways", sources.errors.gateways, {
        move |ctx, key, error| match whose_unreadable(ctx, &with, sources, key, error) {
            Standing::Ours(_) => vec![(key.clone(), Answers::Here)],
            Standing::AnotherShards => vec![(key.clone(), Answers::Elsewhere)],
            Standing::Foreign => Vec::new(),
        }
    });
    graph.union("answers for gateways", &[known, unreadable])
}

/// What an object is told that comes after another source's of the name.
pub(super) fn set_aside(lost: &Contest, generation: i64) -> Condition {
    Condition::new(condition::ACCEPTED, Truth::False, reason::CONFLICTED, lost.message(), generation)
}
