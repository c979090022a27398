//! An event handler that is registered late, at run time, and removed again.
//!
//! Shows that what is held already is replayed to it as initial, and that its removal waits for the call that is under
//! way and lets no further one happen. Run it with `cargo run --example event_handler`. It prints:
//!
//! ```text
//! added anna (was there already)
//! added bert (was there already)
//! synced
//! added clio
//! updated anna: her zone was eu and is us
//! deleting bert takes a second
//! deleted bert
//! removed
//! nobody was told of dora, who is one of 3
//! ```

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tidegate_actors::handler::{EventHandler, HandlerOptions};
use tidegate_actors::id::{ResourceType, Scope};
use tidegate_actors::informer::{InformerFactory, RegisterOptions};
use tidegate_actors::object::Object;
use tidegate_actors::problem::Problems;
use tidegate_actors::supervisor::{Strategy, Supervisor};
use tidegate_actors::testing::{self, MemorySource};

/// Prints what it is told. Calls come one after the other; a slow one delays this handler and nobody else.
struct Printer;

#[async_trait]
impl EventHandler for Printer {
    async fn on_add(&self, object: Arc<Object>, initial: bool) {
        println!("added {}{}", object.key().name, if initial { " (was there already)" } else { "" });
    }

    async fn on_update(&self, old: Arc<Object>, new: Arc<Object>) {
        let [was, is] = [&old, &new].map(|object| object.label("zone").unwrap_or("unknown"));
        println!("updated {}: her zone was {was} and is {is}", new.key().name);
    }

    async fn on_delete(&self, object: Arc<Object>, _tombstone: bool) {
        println!("deleting {} takes a second", object.key().name);
        tokio::time::sleep(Duration::from_secs(1)).await;
        println!("deleted {}", object.key().name);
    }
}

async fn example() -> anyhow::Result<()> {
    let (env, _) = testing::env(1);
    let host = ResourceType::new("example.com", "v1", "Host", "hosts", Scope::Cluster);
    let source = MemorySource::new("demo");
    source.apply_labelled(&host, None, "anna", &[("zone", "eu")], "");
    source.apply(&host, None, "bert", "");

    let supervisor = Supervisor::start("example", Strategy::OneForOne, env.clone()).await?;
    let factory = InformerFactory::new(env.clone(), supervisor, Problems::default());
    factory.add_source(Arc::new(source.clone()))?;
    let hosts = factory.register("demo", host.clone(), RegisterOptions::default()).await?;
    factory.start().await?;
    factory.wait_for_sync(Duration::from_secs(10)).await?;

    // Late: the informer has run for a while. The handler gets a supervised actor of its own.
    let printer = hosts.add_handler("printer", Arc::new(Printer), HandlerOptions::default()).await?;
    printer.synced().await;
    println!("synced");

    let a_while = Duration::from_millis(100);
    source.apply(&host, None, "clio", "");
    env.clock.sleep(a_while).await;
    source.apply_labelled(&host, None, "anna", &[("zone", "us")], "");
    env.clock.sleep(a_while).await;
    source.delete(&host, None, "bert");
    env.clock.sleep(a_while).await;

    // The handler is in the middle of its last call.
    printer.remove().await;
    println!("removed");
    source.apply(&host, None, "dora", "");
    env.clock.sleep(a_while).await;
    println!("nobody was told of dora, who is one of {}", hosts.lister().len());
    factory.shutdown().await;
    Ok(())
}

fn main() -> anyhow::Result<()> {
    // Virtual time on one thread: the second above costs none, and each run prints the same.
    testing::run(example())
}
