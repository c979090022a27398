//! A cache and one session on it, driven by hand.

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use envoy_types::pb::google::rpc;
use tokio::time::Instant;

use crate::publish::xds::cache::{Cache, View};
use crate::publish::xds::kind::Kind;
use crate::publish::xds::resource::Resource;
use crate::publish::xds::scope::Scope;
use crate::publish::xds::session::{Event, Response, Session, Violation};
use crate::publish::xds::testing::Update;

pub struct Rig {
    pub cache: Cache,
    pub session: Session,
    pub now: Instant,
    pub events: Vec<Event>,
    inline: bool,
    streams: u64,
}

impl Rig {
    pub fn delta() -> Self {
        Self::new(false, Scope::All)
    }

    pub fn sotw() -> Self {
        Self::new(true, Scope::All)
    }

    pub fn new(inline: bool, scope: Scope) -> Self {
        let session = Session::new(View { scope, inline }, 100);
        Self { cache: Cache::default(), session, now: Instant::now(), events: Vec::new(), inline, streams: 0 }
    }

    /// The same cache, a new stream.
    pub fn reconnect(&mut self) {
        self.streams += 1;
        let session = Session::new(View { scope: Scope::All, inline: self.inline }, 100);
        self.session = session.salted(self.streams << 32);
    }

    /// What a client that comes back says first of a type, with all that it has.
    pub fn resume(&self, kind: Kind) -> DeltaDiscoveryRequest {
        let known = self.session.state(kind).known.iter();
        let had = known.map(|(name, known)| (name.to_string(), known.version.unwrap().to_string()));
        let initial_resource_versions: std::collections::HashMap<_, _> = had.collect();
        let names = initial_resource_versions.keys().cloned();
        let resource_names_subscribe = if kind.allows_wildcard() { vec![] } else { names.collect() };
        DeltaDiscoveryRequest { resource_names_subscribe, initial_resource_versions, ..mk_delta() }
    }

    pub fn apply(&mut self, update: Update) -> Vec<Response> {
        self.apply_unseen(update);
        self.session.on_change(&self.cache, self.now);
        self.take()
    }

    /// The cache moves on before the client's task runs.
    pub fn apply_unseen(&mut self, update: Update) {
        let step = self.cache.prepare(&update.0);
        self.cache.commit(step);
    }

    pub fn pass(&mut self, time: Duration) -> Vec<Response> {
        self.now += time;
        self.session.on_tick(&self.cache, self.now);
        self.take()
    }

    pub fn send(&mut self, kind: Kind, request: DeltaDiscoveryRequest) -> Result<Vec<Response>, Violation> {
        self.session.on_delta(&self.cache, self.now, kind, &request)?;
        Ok(self.take())
    }

    /// Subscribes to names; to everything if there are none.
    pub fn subscribe(&mut self, kind: Kind, names: &[&str]) -> Vec<Response> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        if self.inline {
            return self.request(kind, DiscoveryRequest { resource_names: names, ..Default::default() });
        }
        self.send(kind, DeltaDiscoveryRequest { resource_names_subscribe: names, ..Default::default() }).unwrap()
    }

    pub fn unsubscribe(&mut self, kind: Kind, names: &[&str]) -> Vec<Response> {
        let names = names.iter().map(ToString::to_string).collect();
        self.send(kind, DeltaDiscoveryRequest { resource_names_unsubscribe: names, ..Default::default() }).unwrap()
    }

    pub fn request(&mut self, kind: Kind, request: DiscoveryRequest) -> Vec<Response> {
        self.session.on_sotw(&self.cache, self.now, kind, &request).unwrap();
        self.take()
    }

    pub fn ack(&mut self, response: &Response) -> Vec<Response> {
        self.answer(response, None)
    }

    pub fn nack(&mut self, response: &Response, reason: &str) -> Vec<Response> {
        self.answer(response, Some(reason))
    }

    fn answer(&mut self, response: &Response, error: Option<&str>) -> Vec<Response> {
        let response_nonce = response.nonce.to_string();
        let error_detail = error.map(|reason| rpc::Status { code: 13, message: reason.to_owned(), details: vec![] });
        if self.inline {
            // A state-of-the-world client repeats all its names with every answer.
            let names = &self.session.state(response.kind).names;
            let resource_names = names.iter().map(ToString::to_string).collect();
            let request = DiscoveryRequest { response_nonce, error_detail, resource_names, ..Default::default() };
            return self.request(response.kind, request);
        }
        self.send(response.kind, DeltaDiscoveryRequest { response_nonce, error_detail, ..Default::default() }).unwrap()
    }

    /// Acknowledges everything until nothing more comes; tells what came, in order.
    pub fn settle(&mut self, responses: Vec<Response>) -> Vec<Response> {
        self.settle_unless(responses, |_| false)
    }

    /// The same for a client that rejects every response with a bad resource in it.
    pub fn settle_unless(&mut self, responses: Vec<Response>, bad: impl Fn(&Resource) -> bool) -> Vec<Response> {
        let mut queue: std::collections::VecDeque<_> = responses.into();
        let mut all = Vec::new();
        while let Some(response) = queue.pop_front() {
            let rejects = response.resources.iter().any(|resource| bad(resource));
            queue.extend(if rejects { self.nack(&response, "bad") } else { self.ack(&response) });
            all.push(response);
            assert!(all.len() < 1_000, "it never settles");
        }
        all
    }

    fn take(&mut self) -> Vec<Response> {
        self.events.extend(self.session.take_events());
        self.session.take_responses()
    }
}

pub fn mk_delta() -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest::default()
}

/// What a response adds, by name, in order.
pub fn added(response: &Response) -> Vec<&str> {
    let mut names: Vec<&str> = response.resources.iter().map(|resource| &*resource.name).collect();
    names.sort_unstable();
    names
}

/// What a response removes.
pub fn removed(response: &Response) -> Vec<&str> {
    response.removed.iter().map(|name| &**name).collect()
}

/// The only response.
#[track_caller]
pub fn only(mut responses: Vec<Response>) -> Response {
    assert_eq!(responses.len(), 1, "{responses:?}");
    responses.remove(0)
}

pub fn kinds(responses: &[Response]) -> Vec<Kind> {
    responses.iter().map(|response| response.kind).collect()
}

pub fn versions(resources: &[Arc<Resource>]) -> Vec<(String, String)> {
    resources.iter().map(|resource| (resource.name.to_string(), resource.version.to_string())).collect()
}
