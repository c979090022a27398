//! Under steady traffic every actor of the tree panics, is killed, is restarted: no request fails, each comes back, and
//! changes still go live.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "each suite uses its part")]
mod support;

use std::time::{Duration, Instant};

use tidegate_actors::env::Fault;
use tidegate_actors::supervisor::{State, TreeStatus};
use tidegate_actors::testing::{FaultPlan, FaultRule};

use support::envoy::{PATIENCE, eventually};
use support::gateway::{Gateway, Setup};
use support::load::Load;
use support::versioned::Versioned;

struct Rig {
    gateway: Gateway,
    versioned: Versioned,
    load: Load,
}

async fn mk_rig(plan: &FaultPlan) -> Rig {
    let mut setup = Setup::new().faults(plan.clone());
    let versioned = Versioned::of(&mut setup).await;
    let gateway = setup.start().await;
    versioned.until_live("at the start").await;
    let load = versioned.load();
    Rig { gateway, versioned, load }
}

impl Rig {
    /// Everything changes, and is live in the end.
    async fn changes_go_live(&mut self, after: &str) {
        self.versioned.next(&self.gateway.setup.manifests());
        self.versioned.until_live(after).await;
        let failed = self.load.failures();
        assert!(failed.is_empty(), "requests failed {after}: {failed:#?}");
    }

    fn tree(&self) -> TreeStatus {
        self.gateway.app.supervisor.tree()
    }

    /// The paths of all actors, but that of the proxy.
    fn paths(&self) -> Vec<String> {
        fn collect(of: &TreeStatus, into: &mut Vec<String>) {
            for child in &of.children {
                into.push(child.path.clone());
                collect(child, into);
            }
        }
        let mut paths = Vec::new();
        collect(&self.tree(), &mut paths);
        // One that has done its work is over, and stays so.
        paths.retain(|path| path != "envoy" && self.state(path) != Some(State::Stopped));
        paths
    }

    fn state(&self, path: &str) -> Option<State> {
        self.tree().find(path).map(|status| status.state)
    }

    fn restarts(&self, path: &str) -> u64 {
        self.tree().find(path).map(|status| status.restarts).unwrap_or_default()
    }

    async fn until_all_run(&self, after: &str) {
        let attempt = || {
            let down: Vec<String> =
                self.paths().into_iter().filter(|path| self.state(path) != Some(State::Running)).collect();
            std::future::ready(if down.is_empty() { Ok(()) } else { Err(down) })
        };
        eventually(&format!("every actor runs {after}"), PATIENCE, attempt).await;
    }

    async fn end(self, what: &str, begun: Instant, harms: usize) {
        let envoy = self.gateway.envoy_pid();
        let outcome = self.load.stop().await;
        eprintln!(
            "{what}: {harms} in {:?}, {} requests, slowest {:?}",
            begun.elapsed(),
            outcome.requests,
            outcome.slowest
        );
        outcome.assert_no_failure(100);
        assert_eq!(self.gateway.envoy_pid(), envoy);
        assert!(outcome.slowest < Duration::from_secs(5), "{:?}", outcome.slowest);
        let problems = self.gateway.app.problems.list();
        assert!(problems.is_empty(), "{problems:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn every_actor_that_panics_is_restarted_and_loses_nothing() {
    let plan = FaultPlan::new(1);
    let mut rig = mk_rig(&plan).await;
    let begun = Instant::now();
    let types: Vec<String> =
        rig.gateway.app.factory.informers().iter().map(|i| i.resource_type().plural_and_group()).collect();
    assert!(types.len() >= 8, "{types:?}");
    let mut places: Vec<String> = ["publish/xds", "publish/json", "publish/status"].map(str::to_owned).into();
    // Several ports lead to the correlation, from its inputs, and from it to the publishers.
    places.push("port/gateway/*/receive".to_owned());
    places.extend(types.iter().map(|name| format!("port/store/files/{name}/receive")));
    places.extend(types.iter().map(|name| format!("source/files/{name}/event")));
    for place in &places {
        let before = plan.struck().len();
        plan.add(FaultRule::once(place, Fault::Panic("injected".to_owned())));
        rig.changes_go_live(&format!("after a panic at {place}")).await;
        let struck = || std::future::ready(if plan.struck().len() > before { Ok(()) } else { Err("not yet") });
        eventually(&format!("a panic strikes at {place}"), PATIENCE, struck).await;
        rig.until_all_run(&format!("after a panic at {place}")).await;
    }
    rig.end("panics", begun, places.len()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn every_actor_that_is_killed_comes_back_and_loses_nothing() {
    let mut rig = mk_rig(&FaultPlan::new(2)).await;
    let begun = Instant::now();
    let paths = rig.paths();
    assert!(paths.len() > 20, "{paths:?}");
    for path in &paths {
        let before = rig.restarts(path);
        let Some(actor) = rig.gateway.app.supervisor.get(path) else { panic!("no actor runs at {path}") };
        actor.kill();
        rig.changes_go_live(&format!("after {path} was killed")).await;
        rig.until_all_run(&format!("after {path} was killed")).await;
        assert!(rig.restarts(path) > before, "{path} was not restarted: {:#?}", rig.tree());
    }
    rig.end("kills", begun, paths.len()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn every_actor_may_be_restarted_by_hand_while_everything_changes() {
    let mut rig = mk_rig(&FaultPlan::new(3)).await;
    let begun = Instant::now();
    let paths = rig.paths();
    for round in 0..3 {
        for (at, path) in paths.iter().enumerate() {
            // Who restarts it may be on its own way down and up.
            let restart = || rig.gateway.app.supervisor.restart(path);
            eventually(&format!("{path} is restarted"), PATIENCE, restart).await;
            // Several are on their way at once.
            if at % 3 == round {
                rig.changes_go_live(&format!("after {path} was restarted")).await;
            }
        }
    }
    rig.until_all_run("after all were restarted").await;
    rig.changes_go_live("after all were restarted").await;
    rig.end("restarts", begun, 3 * paths.len()).await;
}
