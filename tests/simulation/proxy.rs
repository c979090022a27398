//! A simulated proxy: it asks for what Envoy asks for, in Envoy's order, over delta or state of the world, keeps what it
//! was sent over reconnects, and can be slow, stalled, away, or reject what it dislikes.
//!
//! Invariant: it knows the protocol's messages and nothing of who sends them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::google::protobuf::value::Kind as ValueKind;
use envoy_types::pb::google::protobuf::{ListValue, Struct, Value};
use envoy_types::pb::google::rpc;
use parking_lot::Mutex;
use prost::Message as _;
use tidegate::publish::xds::{Kind, METADATA_KEY, Variant, Wire};
use tidegate_actors::env::{Env, Fault};
use tidegate_actors::testing::Trace;
use tokio::sync::Notify;

use super::facts::{Facts, facts, name_of};
use super::front::{Front, Life};
use super::objects::{ANCHOR_GATEWAY, DISLIKED};
use super::watcher::Watcher;

/// How a proxy treats what it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mood {
    /// It answers at once.
    #[default]
    Prompt,
    /// It takes so long over each response.
    Slow(Duration),
    /// It reads nothing.
    Stalled,
    /// It is not connected.
    Away,
}

/// After so long a silent, half-open connection is given up, as keepalives do it.
const KEEPALIVE: Duration = Duration::from_secs(40);

/// One resource that it has.
#[derive(Clone, Debug)]
pub struct Has {
    pub version: String,
    pub body: Vec<u8>,
    pub facts: Facts,
}

/// What it has, by type and name.
pub type Config = [BTreeMap<String, Has>; Kind::COUNT];

/// Orders from outside.
#[derive(Default)]
struct Orders {
    mood: Mood,
    rejects: bool,
    cuts: u64,
}

/// See the module. Clones are one proxy.
#[derive(Clone)]
pub struct Proxy {
    pub name: Arc<str>,
    pub variant: Variant,
    /// The Gateways that it serves; none: all.
    pub gateways: &'static [&'static str],
    env: Env,
    trace: Trace,
    orders: Arc<Mutex<Orders>>,
    ordered: Arc<Notify>,
    pub config: Arc<Mutex<Config>>,
    pub watcher: Arc<Mutex<Watcher>>,
}

/// Why a stream ended, for the trace.
type End = String;

impl Proxy {
    pub fn new(number: usize, variant: Variant, gateways: &'static [&'static str], env: &Env, trace: &Trace) -> Self {
        let anchored = gateways.is_empty() || gateways.contains(&ANCHOR_GATEWAY);
        Self {
            name: number.to_string().into(),
            variant,
            gateways,
            env: env.clone(),
            trace: trace.clone(),
            orders: Arc::default(),
            ordered: Arc::default(),
            config: Arc::default(),
            watcher: Arc::new(Mutex::new(Watcher::new(anchored))),
        }
    }

    pub fn set_mood(&self, mood: Mood) {
        self.order(|orders| orders.mood = mood);
    }

    pub fn set_rejects(&self, rejects: bool) {
        self.order(|orders| orders.rejects = rejects);
    }

    pub fn rejects(&self) -> bool {
        self.orders.lock().rejects
    }

    /// Its stream breaks.
    pub fn cut(&self) {
        self.order(|orders| orders.cuts += 1);
    }

    fn order(&self, change: impl FnOnce(&mut Orders)) {
        change(&mut self.orders.lock());
        self.ordered.notify_waiters();
    }

    /// Runs until it is dropped.
    pub async fn run(self, front: Front) {
        loop {
            self.until(|orders| orders.mood != Mood::Away).await;
            if let Some((wire, life)) = front.dial(self.variant, &self.name) {
                let cuts = self.orders.lock().cuts;
                let end = tokio::select! {
                    biased;
                    () = self.until(|orders| orders.cuts != cuts || orders.mood == Mood::Away) => "cut".to_owned(),
                    end = self.stream(wire, &life) => end,
                };
                self.trace.note(&format!("proxy {}: {end}", self.name));
            }
            self.env.clock.sleep(Duration::from_millis(500)).await;
        }
    }

    async fn until(&self, holds: impl Fn(&Orders) -> bool) {
        loop {
            let ordered = self.ordered.notified();
            tokio::pin!(ordered);
            ordered.as_mut().enable();
            if holds(&self.orders.lock()) {
                return;
            }
            ordered.await;
        }
    }

    async fn stream(&self, wire: Wire, life: &Life) -> End {
        self.watcher.lock().connected();
        let mut first = true;
        let mut stream =
            Stream { proxy: self, wire, node: true, nonces: Default::default(), names: Default::default() };
        if let Err(end) = stream.begin().await {
            return end;
        }
        loop {
            self.until(|orders| orders.mood != Mood::Stalled).await;
            let said = match stream.wire.down.recv().await {
                None => return "the server ended the stream".to_owned(),
                Some(Err(status)) => return format!("the server ended the stream: {}", status.message()),
                Some(Ok(said)) => said.flat(),
            };
            if std::mem::take(&mut first) {
                self.watcher.lock().answered(life);
            }
            let mood = self.orders.lock().mood;
            if let Mood::Slow(wait) = mood {
                self.env.clock.sleep(wait).await;
            }
            let mut times = 1;
            match self.env.fault(|| format!("wire/{}/down", self.name)) {
                Fault::None | Fault::Reorder => {}
                Fault::Delay(wait) => self.env.clock.sleep(wait).await,
                Fault::Duplicate => times = 2,
                Fault::Stall => {
                    self.env.clock.sleep(KEEPALIVE).await;
                    return "half open".to_owned();
                }
                Fault::Drop | Fault::Error(_) | Fault::Panic(_) => return "dropped".to_owned(),
                Fault::Corrupt => return "a response does not decode".to_owned(),
            }
            for _ in 0..times {
                if let Err(end) = stream.take(&said).await {
                    return end;
                }
            }
        }
    }
}

/// A response of either protocol.
struct Said {
    kind: Kind,
    nonce: String,
    version: String,
    added: Vec<(String, Has)>,
    removed: Vec<String>,
}

struct Stream<'a> {
    proxy: &'a Proxy,
    wire: Wire,
    /// Whether the node is still to be said.
    node: bool,
    /// State of the world: the nonce and the version that a request names.
    nonces: [(String, String); Kind::COUNT],
    /// What is subscribed to by name.
    names: [BTreeSet<String>; Kind::COUNT],
}

impl Stream<'_> {
    fn delta(&self) -> bool {
        self.proxy.variant == Variant::Delta
    }

    /// Asks for everything that it knows to ask for.
    async fn begin(&mut self) -> Result<(), End> {
        let (wanted, has) = {
            let config = self.proxy.config.lock();
            let has = |kind: Kind| {
                let versions = config[kind as usize].iter().map(|(name, has)| (name.clone(), has.version.clone()));
                versions.collect::<Vec<_>>()
            };
            (wanted(&config), Kind::ALL.map(has))
        };
        self.names = wanted;
        for kind in Kind::ALL {
            let names: Vec<String> = self.names[kind as usize].iter().cloned().collect();
            if kind == Kind::VirtualHost && !self.delta() {
                continue;
            }
            if names.is_empty() && !kind.allows_wildcard() {
                continue;
            }
            if self.delta() {
                let request = DeltaDiscoveryRequest {
                    resource_names_subscribe: names,
                    initial_resource_versions: has[kind as usize].iter().cloned().collect(),
                    ..DeltaDiscoveryRequest::default()
                };
                self.ask_delta(kind, request).await?;
            } else {
                self.ask_sotw(kind, None).await?;
            }
        }
        Ok(())
    }

    async fn ask_delta(&mut self, kind: Kind, request: DeltaDiscoveryRequest) -> Result<(), End> {
        let node = self.take_node();
        let request = DeltaDiscoveryRequest { type_url: kind.type_url().to_owned(), node, ..request };
        self.send(request.encode_to_vec()).await
    }

    async fn ask_sotw(&mut self, kind: Kind, error_detail: Option<rpc::Status>) -> Result<(), End> {
        let node = self.take_node();
        let (response_nonce, version_info) = self.nonces[kind as usize].clone();
        let request = DiscoveryRequest {
            type_url: kind.type_url().to_owned(),
            resource_names: self.names[kind as usize].iter().cloned().collect(),
            node,
            response_nonce,
            version_info,
            error_detail,
            ..DiscoveryRequest::default()
        };
        self.send(request.encode_to_vec()).await
    }

    fn take_node(&mut self) -> Option<Node> {
        let id = format!("proxy-{}", self.proxy.name);
        let metadata = (!self.proxy.gateways.is_empty()).then(|| metadata(self.proxy.gateways));
        std::mem::take(&mut self.node).then(|| Node { id, metadata, ..Node::default() })
    }

    async fn send(&mut self, request: Vec<u8>) -> Result<(), End> {
        let env = &self.proxy.env;
        let mut times = 1;
        let mut request = request;
        match env.fault(|| format!("wire/{}/up", self.proxy.name)) {
            Fault::None | Fault::Reorder => {}
            Fault::Delay(wait) => env.clock.sleep(wait).await,
            Fault::Duplicate => times = 2,
            Fault::Corrupt => request = vec![0xff; 7],
            Fault::Stall => {
                env.clock.sleep(KEEPALIVE).await;
                return Err("half open".to_owned());
            }
            Fault::Drop | Fault::Error(_) | Fault::Panic(_) => return Err("dropped".to_owned()),
        }
        for _ in 0..times {
            self.wire.up.send(request.clone()).await.map_err(|_| "the server is gone".to_owned())?;
        }
        Ok(())
    }

    fn read(&self, bytes: &[u8]) -> Said {
        let has = |kind: Kind, version: String, body: Vec<u8>| {
            let facts = facts(kind, &body);
            Has { version, body, facts }
        };
        if self.delta() {
            let said = DeltaDiscoveryResponse::decode(bytes).unwrap();
            let kind = Kind::from_type_url(&said.type_url).unwrap();
            let added = said.resources.into_iter();
            let added = added.map(|of| (of.name, has(kind, of.version, of.resource.unwrap().value))).collect();
            let (nonce, version, removed) = (said.nonce, said.system_version_info, said.removed_resources);
            return Said { kind, nonce, version, added, removed };
        }
        let said = DiscoveryResponse::decode(bytes).unwrap();
        let kind = Kind::from_type_url(&said.type_url).unwrap();
        let added = said.resources.into_iter();
        let added: Vec<_> =
            added.map(|any| (name_of(&any.value), has(kind, said.version_info.clone(), any.value))).collect();
        let config = self.proxy.config.lock();
        let held = config[kind as usize].keys().filter(|_| kind.absence_deletes());
        let removed = held.filter(|name| !added.iter().any(|(added, _)| added == *name)).cloned().collect();
        Said { kind, nonce: said.nonce, version: said.version_info, added, removed }
    }

    async fn take(&mut self, bytes: &[u8]) -> Result<(), End> {
        let said = self.read(bytes);
        let kind = said.kind;
        let bad = |(_, has): &(String, Has)| has.body.windows(DISLIKED.len()).any(|window| window == DISLIKED);
        let rejects = self.proxy.rejects() && said.added.iter().any(bad);
        self.proxy.trace.note(&format!(
            "proxy {}: {kind} {} {}: {:?} without {:?}{}",
            self.proxy.name,
            said.nonce,
            said.version,
            said.added.iter().map(|(name, has)| (name, &has.version)).collect::<Vec<_>>(),
            said.removed,
            if rejects { ", rejected" } else { "" },
        ));
        self.nonces[kind as usize].0 = said.nonce.clone();
        let error = rejects.then(|| rpc::Status { code: 13, message: "disliked".to_owned(), details: Vec::new() });
        let version = (self.delta()).then(|| said.version.clone());
        if error.is_none() {
            self.nonces[kind as usize].1 = said.version;
            let added = said.added.iter().map(|(name, _)| name.clone()).collect();
            self.apply(kind, said.added, &said.removed);
            self.proxy.watcher.lock().took(&self.proxy.config.lock(), kind, added, version.as_deref());
            self.follow().await?;
        }
        if self.delta() {
            let answer = DeltaDiscoveryRequest {
                response_nonce: said.nonce,
                error_detail: error,
                ..DeltaDiscoveryRequest::default()
            };
            return self.ask_delta(kind, answer).await;
        }
        self.ask_sotw(kind, error).await
    }

    fn apply(&self, kind: Kind, added: Vec<(String, Has)>, removed: &[String]) {
        let config = &mut *self.proxy.config.lock();
        for (name, has) in added {
            // A virtual host without its table is dropped.
            let orphan = kind == Kind::VirtualHost && !config[Kind::RouteConfig as usize].contains_key(table_of(&name));
            if !orphan {
                config[kind as usize].insert(name, has);
            }
        }
        for name in removed {
            config[kind as usize].remove(name);
        }
        // What nobody refers to any more is given up, and virtual hosts go with their table.
        let wanted = wanted(config);
        for of in [Kind::Endpoints, Kind::Secret, Kind::RouteConfig] {
            config[of as usize].retain(|name, _| wanted[of as usize].contains(name));
        }
        let tables: BTreeSet<String> = config[Kind::RouteConfig as usize].keys().cloned().collect();
        config[Kind::VirtualHost as usize].retain(|name, _| tables.contains(table_of(name)));
    }

    /// Subscribes to what is newly referred to, and ends what is not.
    async fn follow(&mut self) -> Result<(), End> {
        let wanted = wanted(&self.proxy.config.lock());
        for kind in [Kind::Endpoints, Kind::Secret, Kind::RouteConfig] {
            let before = std::mem::replace(&mut self.names[kind as usize], wanted[kind as usize].clone());
            let now = &wanted[kind as usize];
            if before == *now {
                continue;
            }
            if self.delta() {
                let request = DeltaDiscoveryRequest {
                    resource_names_subscribe: now.difference(&before).cloned().collect(),
                    resource_names_unsubscribe: before.difference(now).cloned().collect(),
                    ..DeltaDiscoveryRequest::default()
                };
                self.ask_delta(kind, request).await?;
            } else {
                self.ask_sotw(kind, None).await?;
            }
        }
        Ok(())
    }
}

/// Says which Gateways a proxy serves.
fn metadata(gateways: &[&str]) -> Struct {
    let text = |name: &&str| Value { kind: Some(ValueKind::StringValue((*name).to_owned())) };
    let list = ListValue { values: gateways.iter().map(text).collect() };
    Struct { fields: [(METADATA_KEY.to_owned(), Value { kind: Some(ValueKind::ListValue(list)) })].into() }
}

/// What a configuration makes a proxy ask for by name.
fn wanted(config: &Config) -> [BTreeSet<String>; Kind::COUNT] {
    let mut wanted: [BTreeSet<String>; Kind::COUNT] = Default::default();
    wanted[Kind::Endpoints as usize] = config[Kind::Cluster as usize].keys().cloned().collect();
    for has in config[Kind::Listener as usize].values() {
        if let Facts::Listener { tables, secrets } = &has.facts {
            wanted[Kind::RouteConfig as usize].extend(tables.iter().cloned());
            wanted[Kind::Secret as usize].extend(secrets.iter().cloned());
        }
    }
    wanted
}

/// The table that a virtual host belongs to.
pub fn table_of(host: &str) -> &str {
    host.rsplit_once('/').map_or(host, |(table, _)| table)
}
