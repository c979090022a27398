//! The fault kit: a publisher of one's own under seeded plans, which find what is wrong with it and say it in few steps.
//!
//! Shows `Scenario`, `Campaign` and an oracle. The publisher forgets that the first batch of a new life names all that
//! there is. Run it with `cargo run --example fault_kit`. It prints:
//!
//! ```text
//! seed 0 breaks a law:
//!   the files are what the source has: {"bert"}, should be {}
//! 3 of its 20 steps are enough:
//!    0  "put bert"
//!    1  "kill"
//!    2  "delete bert"
//! replay it with: fault_kit 0
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tidegate_actors::correlation::{Collection, Json, OutputBatch, Taps};
use tidegate_actors::env::{Rng as _, SeededRng};
use tidegate_actors::id::{ObjectKey, ResourceType, Scope};
use tidegate_actors::publisher::{self, PublishError, Publisher};
use tidegate_actors::testing::{Campaign, Plan, Rig, Scenario, Trace, Violation};

type Hosts = Collection<ObjectKey, Json<Value>>;
type Files = Arc<Mutex<BTreeSet<String>>>;

/// Keeps a file a host; the files outlive it.
struct Mirror(Hosts, Files);

impl Publisher for Mirror {
    async fn publish(&mut self, batch: &OutputBatch) -> Result<(), PublishError> {
        // What is missing here: `if batch.is_full() { self.1.lock().clear(); }`
        for (key, host) in batch.changes(self.0).iter() {
            match &host.new {
                Some(_) => self.1.lock().insert(key.name.to_string()),
                None => self.1.lock().remove(&*key.name),
            };
        }
        Ok(())
    }
}

const STEPS: [&str; 6] = ["put anna", "put bert", "delete anna", "delete bert", "kill", "kill"];

struct Mirrored;

impl Scenario for Mirrored {
    type Step = &'static str;

    fn plan(&self, seed: u64) -> Plan<&'static str> {
        let dice = SeededRng::new(seed);
        Plan::new(seed, (0..20).map(|_| STEPS[dice.below(6) as usize]))
    }

    fn run(&self, plan: &Plan<&'static str>, _: &Trace) -> Vec<Violation> {
        let run = Rig::run(plan.seed, async |rig| mirrored(&rig, plan).await);
        run.unwrap_or_else(|error| vec![Violation::new("the world can be made", error.to_string())])
    }
}

async fn mirrored(rig: &Rig, plan: &Plan<&'static str>) -> anyhow::Result<Vec<Violation>> {
    let of = ResourceType::new("example.com", "v1", "Host", "hosts", Scope::Cluster);
    let (source, files) = (rig.memory_source("demo")?, Files::default());
    rig.register(&source, &of).await?;
    rig.factory.start().await?;
    let (read, kept) = (of.clone(), files.clone());
    let correlation = rig.correlate("hosts", move |graph| -> Hosts { graph.source(&read) }).await?;
    let (hosts, taps) = (*correlation.handles(), |hosts: &Hosts| Taps::default().with(*hosts));
    let make = move || Mirror(hosts, kept.clone());
    rig.supervisor.add(publisher::spec("mirror", &rig.env, &correlation, taps, make)).await?;
    for step in &plan.steps {
        match step.split_once(' ') {
            Some(("put", name)) => source.apply(&of, None, name, ""),
            Some((_, name)) => source.delete(&of, None, name),
            None => drop(rig.kill("mirror")),
        }
        rig.advance(Duration::from_millis(20)).await;
    }
    rig.settle().await;
    let there: BTreeSet<String> = source.objects(&of).into_keys().map(|key| key.name.to_string()).collect();
    let kept = files.lock().clone();
    let how = (kept != there).then(|| format!("{kept:?}, should be {there:?}"));
    Ok(how.map(|how| Violation::new("the files are what the source has", how)).into_iter().collect())
}

fn main() {
    let campaign = Campaign { threads: 1, failures: 1, ..Campaign::new("fault_kit {seed}", 60) };
    print!("{}", campaign.run(&Mirrored).map_or_else(|failed| failed.to_string(), |summary| summary.to_string()));
}
