//! Two replicas: one writes, whichever is killed or paused. Several pairs do so side by side.

use std::time::{Duration, Instant};

use futures::future::join_all;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::audit::{Audit, Write, transitions, writes_without_lease};
use crate::rig::{Corner, Replica, ReplicaOptions, is_accepted};
use crate::support::api::Api;
use crate::support::cluster::{Cluster, ClusterOptions};
use crate::support::envoy::{PATIENCE, eventually};
use crate::support::manifests::{mk_class, mk_gateway, mk_http_listener, mk_https_listener, mk_route_to, mk_service};

const ROUTES: usize = 5;

/// How many pairs there are. Most of a round is waiting for a lease to end, so they hardly disturb each other.
const PAIRS: usize = 5;

/// How often leaders are killed or paused, of all pairs together. A round takes some four seconds.
fn rounds() -> usize {
    std::env::var("TIDEGATE_REPLICA_ROUNDS").map_or(50, |rounds| rounds.parse().expect("a number of rounds"))
}

/// Two replicas and what they write about.
struct Pair<'a> {
    audit: &'a Audit,
    api: Api,
    corner: Corner,
    replicas: Vec<(String, Replica)>,
}

/// What a pair came to.
struct Story {
    takeovers: Vec<Duration>,
    handover: Duration,
    transitions: usize,
    statuses: usize,
    conflicts: usize,
}

impl<'a> Pair<'a> {
    async fn new(cluster: &Cluster, audit: &'a Audit, name: String) -> Self {
        let corner = Corner::new(cluster, &name).await;
        // Without its certificate, which is worth an Event.
        let listeners = [mk_http_listener("http", 8080, ""), mk_https_listener("https", 8443, "", &["missing"])];
        let gateway = mk_gateway("public", &listeners.concat());
        let web = mk_service("web", &["192.0.2.7:80".parse().unwrap()]);
        let routes = (0..ROUTES).map(|at| mk_route_to(&format!("route-{at}"), &[&format!("r{at}.example.com")], "web"));
        corner.apply(cluster, &[vec![mk_class(), gateway, web], routes.collect()].concat()).await;
        let mut replicas = Vec::new();
        for user in [format!("{name}-a"), format!("{name}-b")] {
            let kubeconfig = cluster.user_kubeconfig(&user, &["system:masters"], Duration::from_secs(3600)).await;
            let options = ReplicaOptions { kubeconfig: Some(kubeconfig), ..Default::default() };
            replicas.push((user, Replica::ready(cluster, &corner, &options).await));
        }
        Self { audit, api: Api::new(cluster.kubeconfig()).await, corner, replicas }
    }

    fn routes(&self) -> String {
        format!("/apis/gateway.networking.k8s.io/v1/namespaces/{}/httproutes", self.corner.name)
    }

    fn leader(&self) -> String {
        self.audit.leader(&self.corner.name).expect("somebody leads")
    }

    fn replica(&mut self, user: &str) -> &mut Replica {
        &mut self.replicas.iter_mut().find(|(of, _)| of == user).unwrap().1
    }

    /// Gives all routes a new generation.
    async fn change_routes(&self, round: usize) {
        for at in 0..ROUTES {
            let patch = json!({ "spec": { "hostnames": [format!("r{at}-{round}.example.com")] } });
            self.api.must("PATCH", &format!("{}/route-{at}", self.routes()), &patch).await;
        }
    }

    /// Waits until all routes say what is true of their present generation; their generations.
    async fn until_truthful(&self) -> usize {
        let generation = |route: &Value| usize::try_from(route["metadata"]["generation"].as_u64().unwrap()).unwrap();
        let attempt = || async {
            let routes = self.api.list(&self.routes()).await;
            if routes.len() == ROUTES && routes.iter().all(|route| is_accepted(route, &self.corner.controller)) {
                return Ok(routes.iter().map(generation).sum());
            }
            // Not as often as can be asked: others have to do, too.
            tokio::time::sleep(Duration::from_millis(50)).await;
            Err(format!("{routes:#?}"))
        };
        eventually("all routes say what is true", PATIENCE, attempt).await
    }

    /// The leader is killed or paused; how long it took until all was true again.
    async fn round(&mut self, round: usize) -> Duration {
        let leader = self.leader();
        let stopped = Instant::now();
        let kills = round.is_multiple_of(2);
        if kills {
            self.replica(&leader).service.kill();
        } else {
            self.replica(&leader).service.signal(Signal::STOP);
        }
        self.change_routes(round).await;
        self.until_truthful().await;
        let takeover = stopped.elapsed();
        assert_ne!(self.leader(), leader, "round {round}: who is stopped leads no more");
        if kills {
            self.replica(&leader).service.start_again();
        } else {
            self.replica(&leader).service.signal(Signal::CONT);
            // It wakes up believing that it leads, with work to do.
            self.change_routes(1_000 + round).await;
            self.until_truthful().await;
        }
        let replica = self.replica(&leader);
        replica.service.until_ready(replica.admin).await;
        takeover
    }

    /// Whoever ends in order leaves the lead at once; how soon somebody else has it.
    async fn orderly_end(&mut self) -> Duration {
        let leader = self.leader();
        let replica = self.replica(&leader);
        replica.service.signal(Signal::TERM);
        assert_eq!(replica.service.ended(PATIENCE).await.code(), Some(0));
        let ended = Instant::now();
        let now = || self.audit.leader(&self.corner.name).filter(|now| *now != leader).ok_or("nobody leads");
        eventually("the other one leads", PATIENCE, || std::future::ready(now())).await;
        ended.elapsed()
    }

    /// Whatever was written, once there are so many statuses of routes: a write can be read before it is logged.
    async fn all_writes(&self, count: usize) -> Vec<Write> {
        let attempt = || {
            let writes = self.audit.writes(&self.corner.name);
            let found = statuses(&writes);
            std::future::ready(if found < count { Err(found) } else { Ok(writes) })
        };
        eventually(&format!("{count} statuses are in the audit log"), PATIENCE, attempt).await
    }

    async fn live(mut self, rounds: usize) -> Story {
        self.until_truthful().await;
        let mut takeovers = Vec::new();
        for round in 0..rounds {
            takeovers.push(self.round(round).await);
        }
        let handover = self.orderly_end().await;
        self.change_routes(9_999).await;
        let generations = self.until_truthful().await;

        let writes = self.all_writes(generations).await;
        let trespassers = writes_without_lease(&writes);
        assert!(trespassers.is_empty(), "{trespassers:#?}");
        let statuses = statuses(&writes);
        assert_eq!(statuses, generations, "each generation is spoken of once");
        let transitions = transitions(&writes);
        assert_eq!(transitions, rounds + 1, "nobody takes over from one who is alive");
        // Whoever began to lead found that it had been said.
        let events = self.api.list(&format!("/apis/events.k8s.io/v1/namespaces/{}/events", self.corner.name)).await;
        let said: Vec<_> = events.iter().map(|event| (&event["reason"], &event["series"])).collect();
        assert_eq!(said, [(&json!("InvalidCertificateRef"), &Value::Null)], "{events:#?}");
        let of_events = writes.iter().filter(|write| write.resource == "events").count();
        assert!(of_events > rounds, "each leader looks at what is to be said: {of_events}");
        let conflicts = writes.iter().filter(|write| write.code == 409).count();
        Story { takeovers, handover, transitions, statuses, conflicts }
    }
}

/// How often the status of a route was written.
fn statuses(writes: &[Write]) -> usize {
    writes.iter().filter(|write| write.resource == "httproutes" && write.is_done()).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the cluster program: run by cargo xtask test"]
async fn of_two_replicas_one_writes_whichever_is_killed_or_paused() {
    let begun = Instant::now();
    let audit = Audit::new();
    let cluster = &Cluster::start_with(ClusterOptions { apiserver_flags: audit.flags(), ..Default::default() }).await;
    let mut pairs = Vec::new();
    for pair in 0..PAIRS {
        pairs.push(Pair::new(cluster, &audit, format!("pair-{pair}")).await);
    }
    let rounds = rounds().div_ceil(PAIRS);

    let stories = join_all(pairs.into_iter().map(|pair| pair.live(rounds))).await;

    let mut takeovers: Vec<Duration> = stories.iter().flat_map(|story| story.takeovers.clone()).collect();
    takeovers.sort();
    let sum = |of: fn(&Story) -> usize| stories.iter().map(of).sum::<usize>();
    println!(
        "{} rounds of {PAIRS} pairs in {:.0?}, {} changes of the lead; truthful after {:.1?} to {:.1?}; after an orderly \
         end led anew in at most {:.1?}; {} statuses of routes, one a generation, {} conflicts",
        takeovers.len(),
        begun.elapsed(),
        sum(|story| story.transitions),
        takeovers.first().unwrap_or(&Duration::ZERO),
        takeovers.last().unwrap_or(&Duration::ZERO),
        stories.iter().map(|story| story.handover).max().unwrap_or_default(),
        sum(|story| story.statuses),
        sum(|story| story.conflicts),
    );
    // Generous: the lease takes three seconds.
    assert!(takeovers.iter().all(|takeover| *takeover < Duration::from_secs(15)), "{takeovers:?}");
}
