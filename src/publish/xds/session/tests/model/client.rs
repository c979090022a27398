//! A simulated client: what it holds, what it wants, what it has yet to read and to say. A natural one asks as Envoy
//! does and holds the answer to new clusters back until they have endpoints; a wild one asks for anything.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::wants::Wants;
use super::wire::Told;
use super::world::{Content, Key};
use crate::publish::xds::cache::table_of;
use crate::publish::xds::kind::Kind;

/// The order in which a client that comes back asks for its types.
const ORDER: [Kind; Kind::COUNT] =
    [Kind::Cluster, Kind::Endpoints, Kind::Listener, Kind::Secret, Kind::RouteConfig, Kind::VirtualHost];

/// A request that is on its way to the server.
#[derive(Clone, Debug)]
pub struct Request {
    pub kind: Kind,
    /// How many the client had written before.
    pub number: u64,
    /// Delta.
    pub subscribe: Vec<String>,
    pub unsubscribe: Vec<String>,
    /// State of the world.
    pub names: Vec<String>,
    pub nonce: String,
    pub error: bool,
    /// Of the last response that was accepted, or over an earlier stream.
    pub version: String,
    /// Delta: what it has from an earlier stream, with what that says.
    pub has: BTreeMap<String, (Content, String)>,
}

/// See the module.
pub struct Client {
    pub inline: bool,
    pub natural: bool,
    pub picky: bool,
    /// What it runs with.
    pub has: BTreeMap<Key, (Content, String)>,
    pub wants: [Wants; Kind::COUNT],
    pub unread: VecDeque<Told>,
    pub unsent: VecDeque<Request>,
    /// How many requests it has written.
    written: u64,
    /// How many it had written when it took in what it has.
    taken: BTreeMap<Key, u64>,
    /// Nonce of the latest response that was read, by type.
    nonces: [String; Kind::COUNT],
    versions: [String; Kind::COUNT],
    /// The answer to clusters that wait for their endpoints, and which these are.
    withheld: Option<(Request, BTreeSet<String>)>,
}

impl Client {
    pub fn new(inline: bool, natural: bool, picky: bool) -> Self {
        Self {
            inline,
            natural,
            picky,
            has: BTreeMap::new(),
            wants: Default::default(),
            unread: VecDeque::new(),
            unsent: VecDeque::new(),
            written: 0,
            taken: BTreeMap::new(),
            nonces: Default::default(),
            versions: Default::default(),
            withheld: None,
        }
    }

    pub fn wants(&self, kind: Kind) -> &Wants {
        &self.wants[kind as usize]
    }

    /// Whether it waits for the endpoints of new clusters.
    pub fn waits_for(&self) -> Option<&BTreeSet<String>> {
        self.withheld.as_ref().map(|(_, clusters)| clusters)
    }

    /// The stream broke.
    pub fn disconnect(&mut self) {
        self.unread.clear();
        self.unsent.clear();
        self.withheld = None;
    }

    /// A new stream, with what it has and wants from the last one; or, if it started anew, without.
    pub fn connect(&mut self, resume: bool) {
        self.disconnect();
        let old = std::mem::take(&mut self.wants);
        let nonces = std::mem::take(&mut self.nonces);
        if !resume {
            self.has.clear();
            self.versions = Default::default();
            if self.natural {
                self.subscribe(Kind::Cluster, vec![]);
                self.subscribe(Kind::Listener, vec![]);
            }
            return;
        }
        for kind in ORDER.into_iter().filter(|kind| old[*kind as usize].requested) {
            let wants = &old[kind as usize];
            let mut request = self.request(kind);
            if self.inline {
                // A nonce means nothing to another stream, and some clients do not know.
                request.nonce.clone_from(&nonces[kind as usize]);
                request.names = wants.list();
                self.wants[kind as usize].sotw(kind, &request.names);
                // Names that it no longer asks for, because it never could say so, are not its any more.
            } else {
                let own = self.has.iter().filter(|((of, _), _)| *of == kind);
                request.has = own.map(|((_, name), held)| (name.clone(), held.clone())).collect();
                request.subscribe = wants.names.iter().cloned().collect();
                if wants.star && !(self.natural && request.subscribe.is_empty()) {
                    request.subscribe.push("*".to_owned());
                }
                request.nonce.clear();
                self.wants[kind as usize].delta(kind, &request.subscribe, &[]);
            }
            self.drop_unwanted(kind);
            self.unsent.push_back(request);
        }
    }

    fn request(&mut self, kind: Kind) -> Request {
        self.written += 1;
        Request {
            kind,
            number: self.written,
            subscribe: vec![],
            unsubscribe: vec![],
            names: vec![],
            nonce: if self.inline { self.nonces[kind as usize].clone() } else { String::new() },
            error: false,
            version: self.versions[kind as usize].clone(),
            has: BTreeMap::new(),
        }
    }

    /// Asks for more; for everything without names.
    pub fn subscribe(&mut self, kind: Kind, mut names: Vec<String>) {
        let mut request = self.request(kind);
        let wants = &mut self.wants[kind as usize];
        if self.inline {
            let mut list = wants.list();
            list.append(&mut names);
            wants.sotw(kind, &list);
            request.names = list;
        } else {
            wants.delta(kind, &names, &[]);
            request.subscribe = names;
        }
        self.unsent.push_back(request);
        self.drop_unwanted(kind);
    }

    /// Asks for less.
    pub fn unsubscribe(&mut self, kind: Kind, names: Vec<String>) {
        let mut request = self.request(kind);
        let wants = &mut self.wants[kind as usize];
        if !wants.requested {
            return;
        }
        if self.inline {
            request.names = wants.list().into_iter().filter(|name| !names.contains(name)).collect();
            wants.sotw(kind, &request.names);
        } else {
            wants.delta(kind, &[], &names);
            for name in &names {
                // It does not know whether a wildcard still covers it, and is told.
                self.has.remove(&(kind, name.clone()));
            }
            request.unsubscribe = names;
        }
        self.unsent.push_back(request);
        self.drop_unwanted(kind);
    }

    /// A request with the nonce of a response that was answered long ago.
    pub fn repeat_itself(&mut self, kind: Kind, nonce: &str, names: Vec<String>) {
        self.subscribe(kind, names);
        if let Some(request) = self.unsent.back_mut() {
            nonce.clone_into(&mut request.nonce);
        }
    }

    /// What it no longer wants, it forgets: at once over delta; over state of the world when the server has heard it,
    /// since one that has not will not send it again either.
    fn drop_unwanted(&mut self, kind: Kind) {
        if !self.inline {
            let wants = self.wants[kind as usize].clone();
            self.forget(kind, |name| !wants.wants(name));
        }
    }

    /// Forgets what it let go of with a request; not what it took in since, having asked for it again.
    pub fn let_go(&mut self, kind: Kind, number: u64, unwanted: impl Fn(&str) -> bool) {
        let taken = std::mem::take(&mut self.taken);
        let before = |name: &str| taken.get(&(kind, name.to_owned())).is_none_or(|taken| *taken < number);
        self.forget(kind, |name| unwanted(name) && before(name));
        self.taken = taken;
    }

    /// Forgets resources, and with a table its virtual hosts.
    pub fn forget(&mut self, kind: Kind, unwanted: impl Fn(&str) -> bool) {
        self.has.retain(|(of, name), _| *of != kind || !unwanted(name));
        if kind == Kind::RouteConfig {
            let (has, hosts) = (&self.has, self.wants(Kind::VirtualHost));
            let tables: BTreeSet<String> = has.keys().filter(|(of, _)| *of == kind).map(|(_, n)| n.clone()).collect();
            let keep = |name: &str| hosts.names.contains(name) || tables.contains(table_of(name));
            let gone: Vec<Key> =
                has.keys().filter(|(of, name)| *of == Kind::VirtualHost && !keep(name)).cloned().collect();
            for key in gone {
                self.has.remove(&key);
            }
        }
    }

    /// Reads one response and answers it; rejects it if something in it is bad, or at a whim. Returns what it accepted.
    pub fn read(&mut self, whim: bool) -> Option<Told> {
        let told = self.unread.pop_front()?;
        let kind = told.kind;
        self.nonces[kind as usize].clone_from(&told.nonce);
        let rejects = whim || told.resources.values().any(|(content, _)| content.is_bad(self.picky));
        let mut answer = self.request(kind);
        answer.nonce.clone_from(&told.nonce);
        answer.error = rejects;
        let mut waits = BTreeSet::new();
        if !rejects {
            self.versions[kind as usize].clone_from(&told.version);
            answer.version.clone_from(&told.version);
            waits = self.accept(&told);
        }
        if self.inline {
            answer.names = self.wants(kind).list();
        }
        if waits.is_empty() {
            self.unsent.push_back(answer);
        } else {
            self.withheld = Some((answer, waits));
        }
        if kind == Kind::Endpoints
            && let Some((_, waits)) = &mut self.withheld
        {
            waits.retain(|name| !told.resources.contains_key(name) && !told.removed.contains(name));
            self.release();
        }
        (!rejects).then_some(told)
    }

    /// Nothing more comes for clusters that wait: after its own timeout a client goes on without.
    pub fn release(&mut self) {
        if let Some((mut answer, _)) = self.withheld.take_if(|(_, waits)| waits.is_empty()) {
            self.written += 1;
            answer.number = self.written;
            if self.inline {
                answer.names = self.wants(answer.kind).list();
            }
            self.unsent.push_back(answer);
        }
    }

    /// Takes a response in; returns the clusters that need endpoints before it can be answered.
    fn accept(&mut self, told: &Told) -> BTreeSet<String> {
        let kind = told.kind;
        let mut waits = BTreeSet::new();
        let before: BTreeMap<Key, Content> = if kind == Kind::Cluster && self.natural {
            self.has
                .iter()
                .filter(|((of, _), _)| *of == kind)
                .map(|(key, (held, _))| (key.clone(), held.clone()))
                .collect()
        } else {
            BTreeMap::new()
        };
        if self.inline && matches!(kind, Kind::Cluster | Kind::Listener) {
            self.has.retain(|(of, name), _| *of != kind || told.resources.contains_key(name));
        }
        for (name, (content, version)) in &told.resources {
            let wanted = self.wants(kind);
            let has_table = kind != Kind::VirtualHost
                || wanted.names.contains(name)
                || self.has.contains_key(&(Kind::RouteConfig, table_of(name).to_owned()));
            if wanted.wants(name) && has_table {
                if kind == Kind::Cluster && self.natural && before.get(&(kind, name.clone())) != Some(content) {
                    waits.insert(name.clone());
                }
                self.taken.insert((kind, name.clone()), self.written);
                self.has.insert((kind, name.clone()), (content.clone(), version.clone()));
            }
        }
        if !told.removed.is_empty() {
            self.forget(kind, |name| told.removed.iter().any(|removed| removed == name));
        }
        if self.natural {
            self.follow(kind);
        }
        waits
    }

    /// What Envoy asks for because of what it got.
    fn follow(&mut self, kind: Kind) {
        match kind {
            Kind::Cluster => {
                let clusters = self.has.keys().filter(|(of, _)| *of == Kind::Cluster).map(|(_, name)| name.clone());
                self.want_exactly(Kind::Endpoints, clusters.collect());
            }
            Kind::Listener => {
                let (mut tables, mut secrets) = (BTreeSet::new(), BTreeSet::new());
                for (content, _) in self.has.values() {
                    if let Content::Listener(chains) = content {
                        tables.extend(chains.iter().map(|(table, _)| table.clone()));
                        secrets.extend(chains.iter().flat_map(|(_, secrets)| secrets.iter().cloned()));
                    }
                }
                self.want_exactly(Kind::Secret, secrets);
                self.want_exactly(Kind::RouteConfig, tables);
            }
            Kind::RouteConfig if !self.inline && !self.wants(Kind::VirtualHost).requested => {
                self.subscribe(Kind::VirtualHost, vec![]);
            }
            _ => {}
        }
    }

    fn want_exactly(&mut self, kind: Kind, names: BTreeSet<String>) {
        let now = &self.wants(kind).names;
        let gone: Vec<String> = now.difference(&names).cloned().collect();
        let new: Vec<String> = names.difference(now).cloned().collect();
        if self.inline {
            if !gone.is_empty() || !new.is_empty() {
                let list: Vec<String> = names.into_iter().collect();
                self.wants[kind as usize].sotw(kind, &list);
                let request = Request { names: list, ..self.request(kind) };
                self.unsent.push_back(request);
            }
            return;
        }
        if !new.is_empty() {
            self.subscribe(kind, new);
        }
        if !gone.is_empty() {
            self.unsubscribe(kind, gone);
        }
    }
}
