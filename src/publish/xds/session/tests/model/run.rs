//! A schedule of steps, made from a seed, and what happens when it is run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use envoy_types::pb::google::rpc;
use tokio::time::Instant;

use super::client::{Client, Request};
use super::oracle::{Now, Oracle, Wrong, rule};
use super::wire;
use super::world::{self, Change, Content, GATEWAYS, Key, Sight, World, bits};
use crate::publish::xds::cache::{Cache, View};
use crate::publish::xds::kind::Kind;
use crate::publish::xds::scope::Scope;
use crate::publish::xds::session::{Event, Session};

/// How many clients there are.
pub const CLIENTS: u8 = 2;

/// One thing that happens. Each can be left out without changing what the others mean.
#[derive(Clone, Debug)]
pub enum Step {
    /// The model changes; clients' tasks have not run yet.
    Apply(Vec<Change>),
    /// A client's task runs because of a change.
    Notify(u8),
    Connect {
        client: u8,
        scope: Option<u8>,
        resume: bool,
    },
    Disconnect(u8),
    /// Names as bits; everything without any.
    Subscribe {
        client: u8,
        kind: Kind,
        names: u16,
    },
    Unsubscribe {
        client: u8,
        kind: Kind,
        names: u16,
    },
    /// A request with a nonce from long ago.
    Late {
        client: u8,
        kind: Kind,
        names: u16,
    },
    /// A request reaches the server.
    Deliver(u8),
    /// A response reaches the client.
    Read(u8),
    /// And is rejected for no reason.
    Reject(u8),
    /// Both, until there is nothing more to read or to say.
    Settle(u8),
    Pass(Duration),
}

/// What a seed makes: the kinds of clients, and the steps.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Per client: state of the world, natural, picky.
    pub clients: [(bool, bool, bool); CLIENTS as usize],
    pub steps: Vec<Step>,
}

/// A client with its stream.
struct Peer {
    client: Client,
    stream: Option<Stream>,
    streams: u64,
    scope: Option<u8>,
    /// It may have things from another scope.
    moved: bool,
    /// Clusters that went while what it sees still led there.
    dangled: BTreeSet<String>,
}

struct Stream {
    session: Session,
    oracle: Oracle,
    sight: Sight,
    seen: BTreeMap<Key, Content>,
    /// The version of the model that its task was last woken for.
    heard: u64,
}

/// See the module.
struct Run {
    cache: Cache,
    world: World,
    version: u64,
    time: Instant,
    peers: Vec<Peer>,
    /// What somebody has accepted at some time.
    accepted: BTreeSet<(Key, Content)>,
    /// How much happened.
    count: Count,
    /// Every message, if anybody is to read them.
    said: Option<Vec<String>>,
}

/// How much happened, to see that a run is not idle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub responses: u64,
    pub resources: u64,
    pub removals: u64,
    pub rejections: u64,
    pub ignored: u64,
    pub held: u64,
}

impl Count {
    pub fn add(&mut self, other: Self) {
        self.responses += other.responses;
        self.resources += other.resources;
        self.removals += other.removals;
        self.rejections += other.rejections;
        self.ignored += other.ignored;
        self.held += other.held;
    }
}

/// Runs a schedule to its end and then until everything is quiet.
pub fn run(schedule: &Schedule, start: Instant) -> Result<Count, Wrong> {
    let mut run = Run::new(schedule, start);
    run.all(schedule)?;
    Ok(run.count)
}

/// What is said by whom when a schedule is run.
pub fn conversation(schedule: &Schedule, start: Instant) -> Vec<String> {
    let mut run = Run { said: Some(Vec::new()), ..Run::new(schedule, start) };
    // How it ends is known.
    let _ = run.all(schedule);
    run.said.unwrap_or_default()
}

impl Run {
    fn new(schedule: &Schedule, start: Instant) -> Self {
        let peer = |(inline, natural, picky): &(bool, bool, bool)| Peer {
            client: Client::new(*inline, *natural, *picky),
            stream: None,
            streams: 0,
            scope: None,
            moved: false,
            dangled: BTreeSet::new(),
        };
        Self {
            cache: Cache::default(),
            world: World::default(),
            version: 0,
            time: start,
            peers: schedule.clients.iter().map(peer).collect(),
            accepted: BTreeSet::new(),
            count: Count::default(),
            said: None,
        }
    }

    fn all(&mut self, schedule: &Schedule) -> Result<(), Wrong> {
        for step in &schedule.steps {
            self.say(|| format!("{step:?}"));
            self.step(step).map_err(|wrong| format!("{step:?}: {wrong}"))?;
        }
        self.say(|| "the end".to_owned());
        self.quiet().map_err(|wrong| format!("in the end: {wrong}"))
    }

    fn say(&mut self, what: impl FnOnce() -> String) {
        if let Some(said) = &mut self.said {
            said.push(what());
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), Wrong> {
        match step {
            Step::Apply(changes) => self.apply(changes),
            Step::Notify(client) => self.notify(*client)?,
            Step::Connect { client, scope, resume } => self.connect(*client, *scope, *resume),
            Step::Disconnect(client) => {
                let peer = &mut self.peers[usize::from(*client)];
                peer.stream = None;
                peer.client.disconnect();
            }
            Step::Subscribe { client, kind, names } => {
                if let Some(peer) = self.connected(*client, *kind) {
                    peer.client.subscribe(*kind, listed(*kind, *names));
                }
            }
            Step::Unsubscribe { client, kind, names } => {
                if let Some(peer) = self.connected(*client, *kind) {
                    peer.client.unsubscribe(*kind, listed(*kind, *names));
                }
            }
            Step::Late { client, kind, names } => {
                let names = listed(*kind, *names);
                let all = names.contains(&"*".to_owned());
                let peer = self.connected(*client, *kind).filter(|peer| peer.client.wants(*kind).requested);
                if let Some(peer) = peer.filter(|_| !all) {
                    peer.client.repeat_itself(*kind, "999999", names);
                }
            }
            Step::Deliver(client) => drop(self.deliver(*client)?),
            Step::Read(client) => self.read(*client, false),
            Step::Reject(client) => {
                self.count.rejections += 1;
                self.read(*client, true);
            }
            Step::Settle(client) => self.settle(*client)?,
            Step::Pass(time) => self.pass(*time)?,
        }
        Ok(())
    }

    /// A wild client that is connected; natural ones ask for themselves.
    fn connected(&mut self, client: u8, kind: Kind) -> Option<&mut Peer> {
        let peer = &mut self.peers[usize::from(client)];
        let asks = peer.stream.is_some() && !peer.client.natural && !(peer.client.inline && kind == Kind::VirtualHost);
        asks.then_some(peer)
    }

    fn apply(&mut self, changes: &[Change]) {
        let before = self.world.clone();
        for change in changes {
            self.world.change(change);
        }
        self.version += 1;
        let update = before.step_to(&self.world, self.version);
        let step = self.cache.prepare(&update.0);
        self.cache.commit(step);
        for peer in &mut self.peers {
            let seen = self.world.seen(Sight { scope: peer.scope, inline: peer.client.inline });
            let is_there = |name: &String| seen.contains_key(&(Kind::Cluster, name.clone()));
            peer.dangled.retain(|name| !is_there(name));
            peer.dangled.extend(seen.values().flat_map(Content::leads_to).filter(|name| !is_there(name)));
            if let Some(stream) = &mut peer.stream {
                stream.seen = seen;
            }
        }
    }

    fn connect(&mut self, client: u8, scope: Option<u8>, resume: bool) {
        let peer = &mut self.peers[usize::from(client)];
        let resumes = if resume { peer.client.wants.iter().zip(Kind::ALL).collect() } else { vec![] };
        // The order of `Kind` is that of the array.
        let resumes = resumes.into_iter().filter(|(wants, _)| wants.requested).map(|(_, kind)| kind).collect();
        peer.client.connect(resume);
        peer.streams += 1;
        peer.moved = resume && (peer.moved || peer.scope != scope);
        peer.scope = scope;
        let moved = peer.moved;
        let inline = peer.client.inline;
        let names = scope.map(|scope| {
            bits(scope).map(|bit| ("infra".into(), GATEWAYS[usize::from(bit)].into())).collect::<Vec<_>>()
        });
        let scope_of = names.map_or(Scope::All, |mut names| {
            names.sort();
            Scope::Gateways(names)
        });
        let session = Session::new(View { scope: scope_of, inline }, 1_000).salted(peer.streams << 32);
        let sight = Sight { scope, inline };
        let seen = self.world.seen(sight);
        let oracle = Oracle::new(inline, resumes, moved);
        peer.stream = Some(Stream { session, oracle, sight, seen, heard: self.version });
    }

    /// Wakes a client's task for a change, if there is one that it was not woken for: nothing else makes it look again.
    fn notify(&mut self, client: u8) -> Result<(), Wrong> {
        let Some(stream) = &mut self.peers[usize::from(client)].stream else { return Ok(()) };
        if std::mem::replace(&mut stream.heard, self.version) == self.version {
            return Ok(());
        }
        self.call(client, |session, cache, time| session.on_change(cache, time))
    }

    /// A request reaches the server; false if there is none.
    fn deliver(&mut self, client: u8) -> Result<bool, Wrong> {
        let Peer { client: peer, stream, dangled, .. } = &mut self.peers[usize::from(client)];
        let Some(stream) = stream else { return Ok(false) };
        let Some(request) = peer.unsent.pop_front() else { return Ok(false) };
        let Stream { oracle, seen, .. } = stream;
        if let Some(said) = &mut self.said {
            said.push(format!("    client {client}: {request:?}"));
        }
        if self.version > 0 {
            oracle.look(&Now { seen, client: peer, time: self.time, dangled, accepted: &self.accepted });
        }
        if !oracle.hear(&request, peer, seen, self.time) {
            self.count.ignored += 1;
        }
        self.call(client, |session, cache, time| {
            let kind = request.kind;
            let wrong = if session.view.inline {
                session.on_sotw(cache, time, kind, &sotw(&request))
            } else {
                session.on_delta(cache, time, kind, &delta(&request))
            };
            assert_eq!(wrong, Ok(()));
        })?;
        Ok(true)
    }

    /// The server does something for a client, and what it says is judged.
    fn call(&mut self, client: u8, act: impl FnOnce(&mut Session, &Cache, Instant)) -> Result<(), Wrong> {
        let Peer { client: peer, stream, dangled, .. } = &mut self.peers[usize::from(client)];
        let Some(Stream { session, oracle, seen, sight, .. }) = stream else { return Ok(()) };
        if self.version > 0 {
            oracle.look(&Now { seen, client: peer, time: self.time, dangled, accepted: &self.accepted });
        }
        act(session, &self.cache, self.time);
        let mut last = None;
        for event in session.take_events() {
            self.count.held += u64::from(matches!(event, Event::Held { .. }));
        }
        for response in session.take_responses() {
            let told = wire::read(&response, sight.inline);
            if let Some(said) = &mut self.said {
                said.push(format!("    to client {client}: {told:?}"));
            }
            rule!(self.version > 0, "{told:?} is said before anything is known");
            rule!(last.is_none_or(|last| last < told.kind), "{} is sent after {last:?}", told.kind);
            last = Some(told.kind);
            let now = Now { seen, client: peer, time: self.time, dangled, accepted: &self.accepted };
            oracle.check(&told, &now).map_err(|wrong| format!("client {client} is sent {told:?}: {wrong}"))?;
            self.count.responses += 1;
            self.count.resources += told.resources.len() as u64;
            self.count.removals += told.removed.len() as u64;
            peer.unread.push_back(told);
        }
        Ok(())
    }

    fn settle(&mut self, client: u8) -> Result<(), Wrong> {
        for _ in 0..1_000 {
            let delivered = self.deliver(client)?;
            let peer = &self.peers[usize::from(client)].client;
            if peer.unread.is_empty() && !delivered {
                return Ok(());
            }
            self.read(client, false);
        }
        Err("it never settles".to_owned())
    }

    fn read(&mut self, client: u8, whim: bool) {
        if let Some(told) = self.peers[usize::from(client)].client.read(whim) {
            let said = told.resources.into_iter().map(|(name, (content, _))| ((told.kind, name), content));
            self.accepted.extend(said);
        }
    }

    fn pass(&mut self, time: Duration) -> Result<(), Wrong> {
        self.time += time;
        for client in 0..CLIENTS {
            let due = |stream: &Stream| stream.session.deadline().is_some_and(|deadline| deadline <= self.time);
            if self.peers[usize::from(client)].stream.as_ref().is_some_and(due) {
                self.call(client, |session, cache, time| session.on_tick(cache, time))?;
            }
        }
        Ok(())
    }

    fn quiet(&mut self) -> Result<(), Wrong> {
        if self.version == 0 {
            return Ok(());
        }
        // A first look at everything, then all that waits for time, then a last look.
        for _ in 0..3 {
            for client in 0..CLIENTS {
                self.notify(client)?;
                self.settle(client)?;
            }
            self.pass(Duration::from_secs(6))?;
        }
        for client in 0..CLIENTS {
            self.settle(client)?;
            let Peer { client: peer, stream, dangled, .. } = &self.peers[usize::from(client)];
            let Some(Stream { session, oracle, seen, .. }) = stream else { continue };
            let waits = peer.waits_for();
            rule!(waits.is_none(), "client {client} waits for the endpoints of {waits:?}");
            let now = Now { seen, client: peer, time: self.time, dangled, accepted: &self.accepted };
            oracle.check_quiet(&now).map_err(|wrong| format!("client {client}: {wrong}"))?;
            let live = session.live();
            let asked = Kind::ALL.iter().any(|kind| session.state(*kind).requested);
            rule!(!asked || live == self.version, "client {client} is live at {live} of {}", self.version);
            for kind in Kind::ALL {
                let held = session.state(kind).held.keys().map(ToString::to_string);
                let held: Vec<_> = held.filter(|name| seen.contains_key(&(kind, name.clone()))).collect();
                let alone = oracle.alone.iter().filter(|(key, bad)| key.0 == kind && seen.get(*key) == Some(bad));
                let alone: Vec<_> = alone.map(|((_, name), _)| name.clone()).collect();
                rule!(held == alone, "client {client} rejects {alone:?} of {kind}, and {held:?} count as held back");
            }
        }
        Ok(())
    }
}

fn listed(kind: Kind, names: u16) -> Vec<String> {
    let all = world::names(kind);
    let listed: Vec<String> =
        all.into_iter().enumerate().filter(|(at, _)| names & (1 << at) != 0).map(|(_, name)| name).collect();
    let wildcard = matches!(kind, Kind::Cluster | Kind::Listener | Kind::VirtualHost);
    if listed.is_empty() && wildcard { vec!["*".to_owned()] } else { listed }
}

fn error(of: &Request) -> Option<rpc::Status> {
    of.error.then(|| rpc::Status { code: 13, message: "no".to_owned(), details: vec![] })
}

fn delta(of: &Request) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: of.kind.type_url().to_owned(),
        resource_names_subscribe: of.subscribe.clone(),
        resource_names_unsubscribe: of.unsubscribe.clone(),
        initial_resource_versions: of.has.iter().map(|(name, (_, version))| (name.clone(), version.clone())).collect(),
        response_nonce: of.nonce.clone(),
        error_detail: error(of),
        ..DeltaDiscoveryRequest::default()
    }
}

fn sotw(of: &Request) -> DiscoveryRequest {
    DiscoveryRequest {
        version_info: of.version.clone(),
        type_url: of.kind.type_url().to_owned(),
        resource_names: of.names.clone(),
        response_nonce: of.nonce.clone(),
        error_detail: error(of),
        ..DiscoveryRequest::default()
    }
}
