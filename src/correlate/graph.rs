//! The whole translation as one graph: read it from top to bottom as a table of contents. Each step is one
//! function of the other files, given what it may read.

use std::sync::Arc;

use tidegate_actors::correlation::{Collection, Ctx, Graph, Index, ViewError};
use tidegate_actors::id::{Name, ObjectKey, ObjectRef};

use super::certificate::{Certificates, Holds};
use super::claims::{Claims, Contest};
use super::crowd::{self, Crowds};
use super::gateway::{KnownGateway, Plan};
use super::reference::GrantKey;
use super::route::{HostKey, RoutePlan};
use super::settings::Settings;
use super::shard::{Answers, Standing, standing};
use super::socket::{ListenerKey, Lost, Seats};
use super::status::ObjectStatus;
use super::world::{CertificateWorld, RouteReader};
use super::{backend, certificate, gateway, reference, route, socket, statuses, virtual_host};
use crate::model::{
    Cluster, ClusterId, Endpoints, GatewayId, Listener, ListenerId, Precedence, Route, Secret, SecretId, Seq,
    VirtualHost, VirtualHostId,
};
use crate::resource::endpoint_slice::EndpointSlice;
use crate::resource::gateway::Gateway;
use crate::resource::gateway_class::GatewayClass;
use crate::resource::http_route::HttpRoute;
use crate::resource::namespace::Namespace;
use crate::resource::reference_grant::ReferenceGrant;
use crate::resource::secret::Secret as SecretView;
use crate::resource::service::Service;
use crate::resource::{View, types};

/// Views by object.
pub type Views<S> = Collection<ObjectKey, View<S>>;

/// The collections that publishers read.
#[derive(Clone, Copy)]
pub struct Outputs {
    /// Bound sockets with their filter chains.
    pub listeners: Collection<ListenerId, Listener>,
    /// Virtual hosts with their routes.
    pub virtual_hosts: Collection<VirtualHostId, VirtualHost>,
    /// Services' ports that routes use.
    pub clusters: Collection<ClusterId, Cluster>,
    /// Their endpoints.
    pub endpoints: Collection<ClusterId, Endpoints>,
    /// Certificates that listeners use.
    pub secrets: Collection<SecretId, Secret>,
    /// What objects are told.
    pub statuses: Collection<ObjectRef, ObjectStatus>,
    /// Who answers for Gateways of our controller.
    pub answers: Collection<ObjectKey, Answers>,
}

/// The views of what is read.
#[derive(Clone, Copy)]
pub(super) struct Sources {
    pub classes: Views<GatewayClass>,
    pub gateways: Views<Gateway>,
    pub routes: Views<HttpRoute>,
    pub grants: Index<ObjectKey, View<ReferenceGrant>, GrantKey>,
    pub services: Views<Service>,
    pub slices: Index<ObjectKey, View<EndpointSlice>, ObjectKey>,
    pub secrets: Views<SecretView>,
    pub namespaces: Views<Namespace>,
    pub claims: ClaimedKinds,
    pub errors: Errors,
}

/// Who defines what of the kinds that are claimed.
#[derive(Clone, Copy)]
pub(super) struct ClaimedKinds {
    pub gateways: Claims,
    pub routes: Claims,
}

/// What cannot be read, of the kinds that have a condition for it.
#[derive(Clone, Copy)]
pub(super) struct Errors {
    pub classes: Collection<ObjectKey, ViewError>,
    pub gateways: Collection<ObjectKey, ViewError>,
    pub routes: Collection<ObjectKey, ViewError>,
}

/// Adds the translation to a graph.
pub fn build(graph: &mut Graph, settings: &Settings) -> Outputs {
    let settings = Arc::new(settings.clone());
    let sources = sources(graph, &settings);
    let gateways = gateways(graph, &settings, sources);
    let services = services(graph, sources);
    let routes = routes(graph, &settings, sources, gateways, services);
    let (clusters, endpoints) = clusters(graph, &settings, sources, routes);
    let listeners = listeners(graph, gateways);
    let hosts = graph.group("routes of virtual hosts", routes.entries, |(host, place), route| {
        (host.clone(), place.clone(), route.clone())
    });
    let bare = graph.correlate("bare virtual hosts", gateways.seats, |_, socket, seats| {
        let hosts = socket::bare_hosts(socket, seats).into_iter();
        hosts.map(|(id, host)| (id.clone(), virtual_host::bare(id, &host))).collect()
    });
    let crowds = crowd::crowds(graph, &settings, sources, gateways, routes, hosts, bare);
    Outputs {
        listeners,
        virtual_hosts: virtual_hosts(graph, hosts, bare, crowds),
        clusters,
        endpoints,
        secrets: secrets(graph, sources, listeners),
        statuses: statuses::statuses(graph, &settings, sources, gateways, routes, crowds),
        answers: statuses::answers(graph, &settings, sources, gateways),
    }
}

fn sources(graph: &mut Graph, settings: &Arc<Settings>) -> Sources {
    let (class, gateway, route) = (types::gateway_class(), types::gateway(), types::http_route());
    let (classes, gateways, routes) = (graph.source(&class), graph.source(&gateway), graph.source(&route));
    let v1 = graph.source::<View<ReferenceGrant>>(&types::reference_grant());
    let v1beta1 = graph.source::<View<ReferenceGrant>>(&types::reference_grant_v1beta1());
    let grants = graph.union("reference grants", &[v1, v1beta1]);
    let slices = graph.source::<View<EndpointSlice>>(&types::endpoint_slice());
    let allowed = settings.allowed;
    graph.report("refused endpoints", slices, move |_, slice| backend::refused(slice, allowed));
    Sources {
        classes,
        gateways,
        routes,
        grants: graph.index(grants, |_, grant| reference::allowances(grant)),
        services: graph.source(&types::service()),
        slices: graph.index(slices, |key, slice| {
            let of = |service: &Name| ObjectKey { name: service.clone(), ..key.clone() };
            slice.spec.service.iter().map(of).collect()
        }),
        secrets: graph.source(&types::secret()),
        namespaces: graph.source(&types::namespace()),
        claims: ClaimedKinds {
            gateways: Claims::gather(graph, settings, &gateway, gateways),
            routes: Claims::gather(graph, settings, &route, routes),
        },
        errors: Errors {
            classes: graph.source_errors(&class),
            gateways: graph.source_errors(&gateway),
            routes: graph.source_errors(&route),
        },
    }
}

/// Whose the Gateway of a key is, by the class that it names and its labels.
pub(super) fn whose<'a>(
    ctx: &mut Ctx<'_>,
    settings: &Settings,
    sources: Sources,
    gateway: &ObjectKey,
    class: &Name,
    label: impl Fn(&str) -> Option<&'a str>,
) -> Standing {
    let mut classes = settings.keys(&gateway.source, None, class);
    let class = classes.find_map(|key| ctx.fetch(sources.classes, &key));
    standing(settings, class.as_deref(), label)
}

/// What Gateways and the sockets that they share come to, without any route.
#[derive(Clone, Copy)]
pub(super) struct Gateways {
    pub known: Collection<ObjectKey, KnownGateway>,
    pub seats: Collection<ListenerId, Seats>,
    pub lost: Collection<(ListenerKey, ListenerId), Lost>,
    pub certificates: Collection<ListenerKey, Certificates>,
}

fn gateways(graph: &mut Graph, settings: &Arc<Settings>, sources: Sources) -> Gateways {
    let with = settings.clone();
    let known = graph.correlate("gateways", sources.gateways, move |ctx, key, gateway| {
        let label = |key: &str| gateway.spec.labels.get(key);
        let standing = whose(ctx, &with, sources, key, &gateway.spec.class, label);
        let known = match (standing, sources.claims.gateways.contest(ctx, key)) {
            (Standing::Ours(_), Some(lost @ Contest::Lost(_))) => KnownGateway::SetAside(lost),
            (_, Some(Contest::Lost(_))) => return Vec::new(),
            (Standing::Ours(class), _) => KnownGateway::Ours(gateway::plan(&with, &class, &gateway.spec)),
            (Standing::AnotherShards, _) => KnownGateway::AnotherShards,
            (Standing::Foreign, _) => KnownGateway::Foreign,
        };
        vec![(key.clone(), known)]
    });
    let claims = graph.correlate("socket claims", sources.gateways, move |ctx, key, gateway| {
        let known = ctx.fetch(known, key);
        let claims = ours(known.as_deref()).map(|plan| gateway::claims(gateway, plan)).unwrap_or_default();
        claims.into_iter().map(|(socket, seniority, claim)| ((socket, seniority), Arc::new(claim))).collect()
    });
    let sockets =
        graph.group("sockets", claims, |(socket, seniority), claim| (*socket, seniority.clone(), claim.clone()));
    let seats = graph.correlate("socket seats", sockets, |_, socket, claims| vec![(*socket, socket::allot(claims).0)]);
    let lost = graph.correlate("socket conflicts", sockets, |_, socket, claims| {
        let lost = socket::allot(claims).1.into_iter();
        lost.map(|(listener, lost)| ((listener, *socket), lost)).collect()
    });
    let held = graph.correlate("certificates", sources.secrets, |_, key, secret| {
        let holds = if secret.spec.tls.is_some() { Holds::Certificate } else { Holds::SomethingElse };
        vec![(key.clone(), holds)]
    });
    let with = settings.clone();
    let certificates = graph.correlate("listener certificates", sources.gateways, move |ctx, key, gateway| {
        let known = ctx.fetch(known, key);
        let plan = ours(known.as_deref());
        let listeners = gateway.spec.listeners.iter().zip(plan.iter().flat_map(|plan| &plan.listeners));
        let mut world = CertificateWorld { ctx, grants: sources.grants, held };
        let secure = listeners.filter(|(_, plan)| plan.secure);
        let certificates = secure.map(|(listener, _)| {
            let listener_key = ListenerKey { gateway: key.clone(), name: listener.name.clone() };
            (listener_key, certificate::certificates(&with, gateway, listener, &mut world))
        });
        certificates.collect()
    });
    Gateways { known, seats, lost, certificates }
}

impl Gateways {
    /// A Gateway, for those who refer to it.
    pub fn find(self, ctx: &mut Ctx<'_>, key: &ObjectKey) -> Option<Arc<KnownGateway>> {
        ctx.fetch(self.known, key).filter(|gateway| gateway.counts())
    }
}

fn ours(known: Option<&KnownGateway>) -> Option<&Plan> {
    match known {
        Some(KnownGateway::Ours(plan)) => Some(plan),
        _ => None,
    }
}

/// What routes see of Services: little, so that few changes concern them.
#[derive(Clone, Copy)]
pub(super) struct Services {
    pub known: Collection<ObjectKey, backend::ServiceState>,
    pub ports: Collection<ClusterId, backend::PortState>,
}

fn services(graph: &mut Graph, sources: Sources) -> Services {
    Services {
        known: graph.correlate("services", sources.services, |_, key, service| {
            vec![(key.clone(), backend::service_state(&service.spec))]
        }),
        ports: graph.correlate("service ports", sources.services, |_, _, service| backend::ports(service)),
    }
}

/// What becomes of routes.
#[derive(Clone, Copy)]
pub(super) struct Routes {
    pub plans: Collection<ObjectKey, RoutePlan>,
    pub entries: Collection<(HostKey, Precedence), Arc<Route>>,
    pub attached: Index<(ListenerKey, ObjectKey), i64, ListenerKey>,
    pub cluster_users: Collection<(ClusterId, GatewayId), ()>,
}

fn routes(
    graph: &mut Graph,
    settings: &Arc<Settings>,
    sources: Sources,
    gateways: Gateways,
    services: Services,
) -> Routes {
    let with = settings.clone();
    let plans = graph.correlate("routes", sources.routes, move |ctx, key, view| {
        if let Some(lost @ Contest::Lost(_)) = sources.claims.routes.contest(ctx, key) {
            let accepted = statuses::set_aside(&lost, view.generation);
            let gateway = |key: &ObjectKey| gateways.find(ctx, key);
            let status = route::refused(&with, key, &view.spec.parents, &accepted, gateway);
            return vec![(key.clone(), RoutePlan { status, ..RoutePlan::default() })];
        }
        let mut reader = RouteReader { ctx, settings: &with, route: view, sources, gateways, services };
        vec![(key.clone(), route::translate(&with, view, &mut reader))]
    });
    let entries = graph.correlate("route entries", plans, |_, _, plan| {
        let entry =
            |(host, place, route): &(HostKey, Precedence, Arc<Route>)| ((host.clone(), place.clone()), route.clone());
        plan.entries.iter().map(entry).collect()
    });
    let attached = graph.correlate("attached routes", plans, |_, key, plan| {
        plan.attached.iter().map(|listener| ((listener.clone(), key.clone()), plan.created)).collect()
    });
    let cluster_users = graph
        .correlate("cluster users", plans, |_, _, plan| plan.clusters.iter().map(|user| (user.clone(), ())).collect());
    let attached = graph.index(attached, |(listener, _), _| vec![listener.clone()]);
    Routes { plans, entries, attached, cluster_users }
}

fn clusters(
    graph: &mut Graph,
    settings: &Settings,
    sources: Sources,
    routes: Routes,
) -> (Collection<ClusterId, Cluster>, Collection<ClusterId, Endpoints>) {
    let users = graph.group("clusters' gateways", routes.cluster_users, |(cluster, gateway), ()| {
        (cluster.clone(), gateway.clone(), Arc::new(()))
    });
    let clusters = graph.correlate("clusters", users, move |ctx, id, gateways| {
        let service = ctx.fetch(sources.services, &backend::service_key(id));
        let gateways: Arc<[GatewayId]> = gateways.iter().map(|(gateway, _)| gateway.clone()).collect();
        let cluster = service.and_then(|service| backend::cluster(id, &service, gateways));
        cluster.map(|cluster| (id.clone(), cluster)).into_iter().collect()
    });
    let allowed = settings.allowed;
    let endpoints = graph.correlate("endpoints", users, move |ctx, id, _| {
        let key = backend::service_key(id);
        let service = ctx.fetch(sources.services, &key);
        let slices = ctx.fetch_by(sources.slices, &key);
        let endpoints = service.and_then(|service| backend::endpoints(id, &service.spec, &slices, allowed));
        endpoints.map(|endpoints| (id.clone(), endpoints)).into_iter().collect()
    });
    (clusters, endpoints)
}

fn listeners(graph: &mut Graph, gateways: Gateways) -> Collection<ListenerId, Listener> {
    graph.correlate("listeners", gateways.seats, move |ctx, socket, seats| {
        let listener = virtual_host::listener(socket, seats, |key| ctx.fetch(gateways.certificates, key));
        listener.map(|listener| (*socket, listener)).into_iter().collect()
    })
}

fn virtual_hosts(
    graph: &mut Graph,
    routes: Collection<HostKey, Seq<Precedence, Route>>,
    bare: Collection<VirtualHostId, VirtualHost>,
    crowds: Crowds,
) -> Collection<VirtualHostId, VirtualHost> {
    let with_routes = graph.correlate("virtual hosts with routes", routes, |_, host, routes| {
        vec![(host.id.clone(), virtual_host::with_routes(host, routes))]
    });
    graph.union("virtual hosts", &[crowds.virtual_hosts, with_routes, bare])
}

fn secrets(
    graph: &mut Graph,
    sources: Sources,
    listeners: Collection<ListenerId, Listener>,
) -> Collection<SecretId, Secret> {
    let uses = graph.correlate("certificate users", listeners, |_, _, listener| {
        virtual_host::certificates(listener).map(|user| (user, ())).collect()
    });
    let users =
        graph.group("secrets' gateways", uses, |(secret, gateway), ()| (secret.clone(), gateway.clone(), Arc::new(())));
    graph.correlate("secrets", users, move |ctx, id, gateways| {
        let view = ctx.fetch(sources.secrets, &certificate::secret_key(id));
        let gateways: Arc<[GatewayId]> = gateways.iter().map(|(gateway, _)| gateway.clone()).collect();
        let secret = view.and_then(|view| certificate::secret(id, &view, gateways));
        secret.map(|secret| (id.clone(), secret)).into_iter().collect()
    })
}
