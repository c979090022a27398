//! Requests of a client, and changes of what is published, against a session of either protocol.
//!
//! Oracle: no nonce comes twice; of a type one response is in flight; nothing is sent again that the client has accepted
//! and has not asked for, lost or rejected since; what the session remembers is bounded by the names that were ever
//! spoken of; and a client that asked for everything, and accepts everything, ends up with what is published.
//!
//! It cannot say that virtual hosts are sent again for nothing to a client that asks for names, rejects or sends raw bytes:
//! which of its tables it has lost at which moment is not followed here. The session's model follows it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use envoy_types::pb::google::rpc::Status;
use prost::Message as _;
use tidegate::model::{AppProtocol, Cluster, Listener, PathMatch};
use tidegate::publish::xds::fuzzing::{Cache, Response, Scope, Session, View};
use tidegate::publish::xds::{Kind, WARMING};
use tokio::time::Instant;

use crate::input::Input;
use crate::models::{
    Update, mk_cluster, mk_endpoints, mk_forward, mk_host, mk_http_listener, mk_https_chain, mk_listener_id, mk_route,
    mk_secret, mk_table,
};

const MAX_SUBSCRIPTIONS: usize = 64;

/// A resource as the client has it: its version, as a number.
type Has = BTreeMap<(Kind, String), u64>;

struct Rig {
    cache: Cache,
    session: Session,
    now: Instant,
    sotw: bool,
    version: u64,
    /// Responses that wait for their answer.
    waiting: BTreeMap<Kind, Response>,
    latest: BTreeMap<Kind, u64>,
    last_nonce: u64,
    has: Has,
    /// What may be sent again although the client has it.
    again: BTreeSet<(Kind, String)>,
    /// Types of which anything may be sent again: the client rejected something.
    rejected: BTreeSet<Kind>,
    /// Every name in a request.
    spoken: BTreeSet<String>,
    /// The client did nothing but ask for everything and accept it.
    tame: bool,
    everything: BTreeSet<Kind>,
    over: bool,
}

/// The first byte chooses the protocol; each of the others, with what it takes along, is a request, a change, or time.
pub fn run(data: &[u8]) {
    let mut input = Input::new(&data[..data.len().min(512)]);
    let sotw = input.flag();
    let capacity = input.one_of(&[65_536, 4]);
    let mut rig = Rig {
        cache: Cache::with_log(capacity),
        session: Session::new(View { scope: Scope::All, inline: sotw }, MAX_SUBSCRIPTIONS),
        now: Instant::now(),
        sotw,
        version: 0,
        waiting: BTreeMap::new(),
        latest: BTreeMap::new(),
        last_nonce: 0,
        has: Has::new(),
        again: BTreeSet::new(),
        rejected: BTreeSet::new(),
        spoken: BTreeSet::new(),
        tame: true,
        everything: BTreeSet::new(),
        over: false,
    };
    while !input.is_empty() && !rig.over {
        rig.step(&mut input);
        rig.receive();
        rig.is_bounded();
    }
    if !rig.over {
        rig.settle();
    }
}

impl Rig {
    fn step(&mut self, input: &mut Input<'_>) {
        match input.below(16) {
            0..=4 => self.change(input),
            5..=8 => self.answer(input, true),
            9 => self.answer(input, false),
            10 | 11 => self.ask_for_all(input),
            12 | 13 => self.ask_by_name(input),
            14 => self.raw(input),
            _ => {
                self.now += Duration::from_millis(u64::from(input.byte()) * 50);
                self.session.on_tick(&self.cache, self.now);
            }
        }
    }

    fn change(&mut self, input: &mut Input<'_>) {
        self.version += 1;
        let update = (0..=input.below(3)).fold(Update::to(self.version), |update, _| edit(update, input));
        let step = self.cache.prepare(&update.0);
        self.cache.commit(step);
        // What is gone may come back as it was.
        let view = View { scope: Scope::All, inline: self.sotw };
        let waiting = self.waiting.values().flat_map(|response| &response.resources);
        let waiting = waiting.map(|resource| (resource.kind, resource.name.to_string()));
        let gone = self.has.keys().cloned().chain(waiting);
        let gone: Vec<_> = gone.filter(|(kind, name)| self.cache.get(*kind, name, &view).is_none()).collect();
        self.again.extend(gone);
        self.session.on_change(&self.cache, self.now);
    }

    fn answer(&mut self, input: &mut Input<'_>, accept: bool) {
        let kind = input.one_of(&Kind::ALL);
        let Some(response) = self.waiting.get(&kind) else { return };
        let error = (!accept).then(|| Status { code: 13, message: "no".to_owned(), ..Status::default() });
        self.request(kind, Asking { nonce: response.nonce.to_string(), error, ..Asking::default() });
    }

    fn accepted(&mut self, response: &Response) {
        let kind = response.kind;
        if self.sotw && kind.absence_deletes() {
            self.has.retain(|(of, _), _| *of != kind);
        }
        for resource in &response.resources {
            self.has.insert((kind, resource.name.to_string()), resource.version.0);
            // With each table that it takes, a client needs its virtual hosts.
            if kind == Kind::RouteConfig {
                self.lose_hosts(&resource.name);
            }
        }
        for name in &response.removed {
            self.has.remove(&(kind, name.to_string()));
        }
    }

    fn ask_for_all(&mut self, input: &mut Input<'_>) {
        let kind = input.one_of(&Kind::ALL);
        self.everything.insert(kind);
        self.lose(kind, &|_| true);
        let names =
            if self.sotw { self.session.state(kind).names.iter().map(ToString::to_string).collect() } else { vec![] };
        self.request(kind, Asking { subscribe: [vec!["*".to_owned()], names].concat(), ..Asking::default() });
    }

    fn ask_by_name(&mut self, input: &mut Input<'_>) {
        self.tame = false;
        let kind = input.one_of(&Kind::ALL);
        let names = |input: &mut Input<'_>| (0..input.below(4)).map(|_| any_name(kind, input)).collect::<Vec<_>>();
        let (subscribe, unsubscribe) = (names(input), if self.sotw { Vec::new() } else { names(input) });
        let nonce = match input.below(4) {
            0 => String::new(),
            1 => self.session.state(kind).last_nonce.to_string(),
            2 => input.byte().to_string(),
            _ => "nonsense".to_owned(),
        };
        let versions = (0..input.below(3)).map(|_| (any_name(kind, input), "0123456789abcdef".to_owned())).collect();
        self.request(kind, Asking { subscribe, unsubscribe, nonce, versions, error: None });
    }

    /// Whatever these bytes are.
    fn raw(&mut self, input: &mut Input<'_>) {
        self.tame = false;
        let kind = input.one_of(&Kind::ALL);
        let length = input.below(128);
        let bytes = input.take(length);
        // What it answers and asks for is not looked into, so nothing is known of the type any more.
        self.rejected.extend(Kind::ALL);
        self.waiting.remove(&kind);
        let done = if self.sotw {
            let Ok(request) = DiscoveryRequest::decode(bytes) else { return };
            self.spoken.extend(request.resource_names.iter().cloned());
            self.session.on_sotw(&self.cache, self.now, kind, &request)
        } else {
            let Ok(request) = DeltaDiscoveryRequest::decode(bytes) else { return };
            self.spoken.extend(request.resource_names_subscribe.iter().cloned());
            self.spoken.extend(request.resource_names_unsubscribe.iter().cloned());
            self.spoken.extend(request.initial_resource_versions.keys().cloned());
            self.session.on_delta(&self.cache, self.now, kind, &request)
        };
        self.over = done.is_err();
    }

    fn request(&mut self, kind: Kind, asking: Asking) {
        let named = asking.subscribe.iter().chain(&asking.unsubscribe);
        self.spoken.extend(named.clone().cloned().chain(asking.versions.iter().map(|(name, _)| name.clone())));
        for name in named {
            self.lose(kind, &|held| name == "*" || name == held);
        }
        if !asking.subscribe.is_empty() {
            // In either protocol the names of a request may end the wildcard of an empty one.
            self.lose(kind, &|_| true);
        }
        let nonce = if self.sotw && asking.nonce.is_empty() { self.latest(kind) } else { asking.nonce.clone() };
        self.answered_with(kind, &nonce, asking.error.is_some());
        let done = if self.sotw {
            let resource_names = if asking.subscribe.is_empty() && !asking.nonce.is_empty() {
                let state = self.session.state(kind);
                let wildcard = state.wildcard.then(|| "*".to_owned());
                wildcard.into_iter().chain(state.names.iter().map(ToString::to_string)).collect()
            } else {
                asking.subscribe
            };
            let request = DiscoveryRequest {
                type_url: kind.type_url().to_owned(),
                resource_names,
                response_nonce: nonce,
                error_detail: asking.error,
                ..DiscoveryRequest::default()
            };
            self.session.on_sotw(&self.cache, self.now, kind, &request)
        } else {
            let request = DeltaDiscoveryRequest {
                type_url: kind.type_url().to_owned(),
                resource_names_subscribe: asking.subscribe,
                resource_names_unsubscribe: asking.unsubscribe,
                initial_resource_versions: asking.versions.into_iter().collect(),
                response_nonce: nonce,
                error_detail: asking.error,
                ..DeltaDiscoveryRequest::default()
            };
            self.session.on_delta(&self.cache, self.now, kind, &request)
        };
        if done.is_err() {
            let names: usize = Kind::ALL.into_iter().map(|kind| self.session.state(kind).names.len()).sum();
            assert!(names > MAX_SUBSCRIPTIONS, "ended without a reason");
            self.over = true;
        }
    }

    /// What a request answers besides what it asks for.
    fn answered_with(&mut self, kind: Kind, nonce: &str, rejects: bool) {
        let Some(response) = self.waiting.remove(&kind) else { return };
        match () {
            () if nonce != response.nonce.to_string() => drop(self.waiting.insert(kind, response)),
            () if rejects => {
                self.tame = false;
                self.rejected.insert(kind);
            }
            () => self.accepted(&response),
        }
    }

    /// The nonce of the last response of a type, as state of the world repeats it.
    fn latest(&self, kind: Kind) -> String {
        self.latest.get(&kind).map(ToString::to_string).unwrap_or_default()
    }

    /// The client asked anew for what it has, or gave it up.
    fn lose(&mut self, kind: Kind, is: &dyn Fn(&str) -> bool) {
        let waiting = self.waiting.get(&kind).into_iter().flat_map(|response| &response.resources);
        let waiting = waiting.map(|resource| (kind, resource.name.to_string()));
        let held = self.has.keys().filter(|(of, _)| *of == kind).cloned().chain(waiting);
        let lost: Vec<_> = held.filter(|(_, name)| is(name)).collect();
        self.again.extend(lost);
        if kind == Kind::RouteConfig {
            self.lose(Kind::VirtualHost, &|_| true);
        }
    }

    fn lose_hosts(&mut self, table: &str) {
        self.lose(Kind::VirtualHost, &|host| host.rsplit_once('/').is_some_and(|(of, _)| of == table));
    }

    fn receive(&mut self) {
        for response in self.session.take_responses() {
            let kind = response.kind;
            assert!(response.nonce > self.last_nonce, "a nonce comes once");
            self.last_nonce = response.nonce;
            assert!(!self.waiting.contains_key(&kind), "one response in flight a type: {kind}");
            assert!(self.session.state(kind).requested, "nobody asked for {kind}");
            for resource in &response.resources {
                let id = (kind, resource.name.to_string());
                assert_eq!(resource.kind, kind);
                // A changed cluster needs its endpoints anew, a new table its virtual hosts.
                if kind == Kind::Cluster {
                    self.again.insert((Kind::Endpoints, id.1.clone()));
                }
                if kind == Kind::RouteConfig {
                    self.lose_hosts(&id.1);
                }
                let same = self.has.get(&id) == Some(&resource.version.0);
                let full = self.sotw && kind.absence_deletes();
                // Who asks for tables by name, and gives them up, is told their hosts again with each that it may have lost.
                let by_hand = kind == Kind::VirtualHost && !self.tame;
                let allowed = full || self.again.remove(&id) || self.rejected.contains(&kind) || by_hand;
                assert!(!same || allowed, "sent again, unchanged: {kind} {}", id.1);
            }
            self.latest.insert(kind, response.nonce);
            self.waiting.insert(kind, response);
        }
        drop(self.session.take_events());
    }

    fn is_bounded(&self) {
        for kind in Kind::ALL {
            let state = self.session.state(kind);
            let names = self.spoken.len() + self.has.len() + NAMES;
            assert!(state.pending.len() <= names && state.known.len() <= names, "{kind}");
            let suspects: usize = state.suspects.iter().map(Vec::len).sum();
            assert!(suspects <= names && state.held.len() <= names && state.restores.len() <= names, "{kind}");
        }
    }

    /// Everything is accepted until there is nothing more.
    fn settle(&mut self) {
        for _ in 0..200 {
            self.now += WARMING;
            self.session.on_tick(&self.cache, self.now);
            self.receive();
            let Some((kind, response)) = self.waiting.pop_first() else {
                self.has_everything();
                return;
            };
            let nonce = response.nonce.to_string();
            self.waiting.insert(kind, response);
            self.request(kind, Asking { nonce, ..Asking::default() });
            self.receive();
            if self.over {
                return;
            }
        }
        panic!("it does not come to an end");
    }

    fn has_everything(&self) {
        if !self.tame || self.cache.version() == 0 {
            return;
        }
        let view = View { scope: Scope::All, inline: self.sotw };
        for kind in &self.everything {
            // Virtual hosts go with their tables; state of the world has no word for what is gone of other types.
            if *kind == Kind::VirtualHost && (self.sotw || !self.everything.contains(&Kind::RouteConfig)) {
                continue;
            }
            for name in self.cache.names(*kind, &view) {
                let table = name.rsplit_once('/').map_or("", |(table, _)| table).to_owned();
                if *kind == Kind::VirtualHost && !self.has.contains_key(&(Kind::RouteConfig, table)) {
                    continue;
                }
                let published = self.cache.get(*kind, &name, &view).map(|resource| resource.version.0);
                assert_eq!(self.has.get(&(*kind, name.to_string())).copied(), published, "{kind} {name}");
            }
            if !self.sotw && *kind != Kind::VirtualHost {
                let held = self.has.keys().filter(|(of, _)| of == kind).count();
                assert_eq!(held, self.cache.names(*kind, &view).len(), "what is gone of {kind}");
            }
        }
    }
}

/// A request, in either protocol.
#[derive(Default)]
struct Asking {
    subscribe: Vec<String>,
    unsubscribe: Vec<String>,
    nonce: String,
    versions: Vec<(String, String)>,
    error: Option<Status>,
}

const SERVICES: [&str; 3] = ["a", "b", "c"];
const DOMAINS: [&str; 3] = ["*", "a.example.com", "*.example.com"];
const PORTS: [u16; 2] = [80, 443];
const SECRETS: [&str; 2] = ["x", "y"];

/// More names than all of these make, of any type.
const NAMES: usize = 32;

fn edit(update: Update, input: &mut Input<'_>) -> Update {
    let (there, choice) = (!input.byte().is_multiple_of(4), input.byte());
    let service = input.one_of(&SERVICES);
    match choice % 5 {
        0 if there => {
            let protocol = input.one_of(&[AppProtocol::Http1, AppProtocol::H2c]);
            let address = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), 8080));
            let endpoints = mk_endpoints(service, &[address]);
            update.cluster(Cluster { protocol, ..mk_cluster(service) }).endpoints(endpoints)
        }
        0 => update.no_service(service),
        1 => {
            let addresses: Vec<SocketAddr> = (0..input.below(3))
                .map(|_| SocketAddr::from((Ipv4Addr::new(10, 0, 0, input.byte() % 4), 80)))
                .collect();
            // Of a Service that is not there nobody has endpoints.
            update.cluster(mk_cluster(service)).endpoints(mk_endpoints(service, &addresses))
        }
        2 => {
            let (table, domain) = (mk_table(input.one_of(&PORTS)), input.one_of(&DOMAINS));
            let path = PathMatch::Prefix(input.one_of(&["/", "/a"]).into());
            let routes = there.then(|| mk_route("r", path, mk_forward(service)));
            if choice & 64 == 0 { update.host(mk_host(&table, domain, routes)) } else { update.no_host(&table, domain) }
        }
        3 => {
            let port = input.one_of(&PORTS);
            if !there {
                return update.no_listener(port);
            }
            if port == 80 {
                return update.listener(mk_http_listener(port, &["public"]));
            }
            let chain = mk_https_chain("public", "tls", &["a.example.com"], &[input.one_of(&SECRETS)]);
            update.listener(Listener { id: mk_listener_id(port), chains: vec![chain] })
        }
        _ => update.secret(mk_secret(input.one_of(&SECRETS), input.one_of(&["chain", "other"]), "key")),
    }
}

fn any_name(kind: Kind, input: &mut Input<'_>) -> String {
    let (service, port) = (input.one_of(&SERVICES), input.one_of(&PORTS));
    match input.below(8) {
        0 => return "*".to_owned(),
        1 => return "unknown".to_owned(),
        2 => return input.text(),
        _ => {}
    }
    match kind {
        Kind::Cluster | Kind::Endpoints => format!("test/apps/{service}/80"),
        Kind::Secret => format!("test/apps/{}", input.one_of(&SECRETS)),
        Kind::Listener => format!("127.0.0.1:{port}"),
        Kind::RouteConfig => mk_table(port).to_string(),
        Kind::VirtualHost => format!("{}/{}", mk_table(port), input.one_of(&DOMAINS)),
    }
}
