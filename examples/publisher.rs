//! A publisher of one's own that fails twice and is retried, while another one goes on.
//!
//! Shows that a publisher that fails keeps its batch and is called again after a backoff, that what comes meanwhile is
//! coalesced, and that nobody else waits for it. Run it with `cargo run --example publisher`. It prints:
//!
//! ```text
//! flaky fails
//! steady prints everything: anna in eu
//! flaky waits: publishing failed: the printer is out of paper; refill it
//! steady prints changes: bert in us
//! flaky fails
//! flaky prints everything: anna in eu
//! flaky prints changes: bert in us
//! ```

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tidegate_actors::correlation::{Collection, Correlation, Json, OutputBatch, Taps};
use tidegate_actors::id::{ObjectKey, ResourceType, Scope};
use tidegate_actors::informer::InformerFactory;
use tidegate_actors::problem::Problems;
use tidegate_actors::publisher::{self, PublishError, Publisher};
use tidegate_actors::supervisor::{Strategy, Supervisor};
use tidegate_actors::testing::{self, MemorySource};

#[derive(PartialEq, Deserialize)]
struct Host {
    zone: String,
}

type Hosts = Collection<ObjectKey, Json<Host>>;

/// Prints what it is given, once it works.
struct Printer {
    name: &'static str,
    hosts: Hosts,
    /// How often it still fails.
    failures: u32,
}

impl Publisher for Printer {
    async fn publish(&mut self, batch: &OutputBatch) -> Result<(), PublishError> {
        if self.failures > 0 {
            self.failures -= 1;
            println!("{} fails", self.name);
            return Err(PublishError::new("the printer is out of paper; refill it"));
        }
        let kind = if batch.is_full() { "everything" } else { "changes" };
        let hosts = batch.changes(self.hosts).iter();
        let hosts = hosts.map(|(key, host)| match &host.new {
            Some(host) => format!(" {} in {}", key.name, host.zone),
            None => format!(" no {}", key.name),
        });
        println!("{} prints {kind}:{}", self.name, hosts.collect::<Vec<_>>().join(","));
        Ok(())
    }
}

async fn example() -> anyhow::Result<()> {
    let ((env, _), problems, source) = (testing::env(1), Problems::default(), MemorySource::new("demo"));
    let host = ResourceType::new("example.com", "v1", "Host", "hosts", Scope::Cluster);
    source.apply(&host, None, "anna", r#""zone":"eu""#);
    let supervisor = Supervisor::start("example", Strategy::OneForOne, env.clone()).await?;
    let factory = InformerFactory::new(env.clone(), supervisor.clone(), problems.clone());
    factory.add_source(Arc::new(source.clone()))?;

    // The least that a correlation can be: a view.
    let of = host.clone();
    let correlation =
        Correlation::over_informers("hosts", &env, &problems, move |graph| graph.source::<Json<Host>>(&of));
    correlation.follow(&factory, "demo").await?;
    for (name, failures) in [("steady", 0), ("flaky", 2)] {
        // Called at each start; a publisher that panics is started anew and given everything.
        let hosts = *correlation.handles();
        let make = move || Printer { name, hosts, failures };
        let taps = |hosts: &Hosts| Taps::default().with(*hosts);
        supervisor.add(publisher::spec(name, &env, &correlation, taps, make)).await?;
    }
    supervisor.add(correlation.spec("hosts")).await?;
    factory.start().await?;
    env.clock.sleep(Duration::from_millis(50)).await;
    let tree = supervisor.tree();
    let flaky = tree.find("flaky").and_then(|flaky| flaky.reason.as_deref());
    println!("flaky waits: {}", flaky.unwrap_or("no"));

    source.apply(&host, None, "bert", r#""zone":"eu""#);
    source.apply(&host, None, "bert", r#""zone":"us""#);
    env.clock.sleep(Duration::from_secs(10)).await;
    Ok(())
}

fn main() -> anyhow::Result<()> {
    testing::run(example())
}
