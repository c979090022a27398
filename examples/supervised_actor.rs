//! An actor of one's own under the supervisor, with a fault plan, in virtual time.
//!
//! Shows a ractor actor that is fed through a port: it panics twice, is started again after a growing backoff, and loses
//! nothing, since a batch stays in the port until it is committed. Run it with `cargo run --example supervised_actor`. It prints:
//!
//! ```text
//! the cook starts
//! tree: cook is backing-off, restarts 0, panicked: fire, next Some(90)
//! the cook starts
//! tree: cook is backing-off, restarts 1, panicked: fire, next Some(190)
//! the cook starts
//! served: soup for anna
//! tree: cook is running, restarts 2, panicked: fire, next None
//! ```

use std::sync::Arc;
use std::time::Duration;

use tidegate_actors::changes::{Change, Changes};
use tidegate_actors::env::Fault;
use tidegate_actors::port::Port;
use tidegate_actors::ractor::{Actor, ActorProcessingErr, ActorRef, async_trait};
use tidegate_actors::supervisor::{Backoff, ChildSpec, Strategy, Supervisor};
use tidegate_actors::testing::{self, FaultRule};

/// Orders by guest, coalesced: of several by one guest the last one counts.
type Orders = Port<Changes<&'static str, &'static str>>;

struct Cook;

/// "There is something": the mailbox never carries more than that.
struct Nudge;

#[async_trait]
impl Actor for Cook {
    type Msg = Nudge;
    type State = Orders;
    type Arguments = Orders;

    async fn pre_start(&self, myself: ActorRef<Nudge>, orders: Orders) -> Result<Orders, ActorProcessingErr> {
        println!("the cook starts");
        orders.connect(Arc::new(move || {
            // It fails only when this cook is gone; the next one connects anew.
            let _ = myself.cast(Nudge);
        }));
        Ok(orders)
    }

    async fn handle(&self, _: ActorRef<Nudge>, _: Nudge, orders: &mut Orders) -> Result<(), ActorProcessingErr> {
        // The fault plan strikes here: each port is a place where the receiver can be made to panic.
        let Some(batch) = orders.receive(Changes::begin) else { return Ok(()) };
        for (guest, order) in batch.iter() {
            println!("served: {} for {guest}", order.new.unwrap_or("nothing"));
        }
        orders.receive(Changes::commit);
        orders.again();
        Ok(())
    }
}

async fn example() -> anyhow::Result<()> {
    let (env, plan) = testing::env(7);
    plan.add(FaultRule { times: Some(2), ..FaultRule::always("port/orders/receive", Fault::Panic("fire".to_owned())) });

    // The port outlives its actor, as everything does that is captured here.
    let orders: Orders = Port::new("orders", &env, Changes::default());
    let supervisor = Supervisor::start("kitchen", Strategy::OneForOne, env.clone()).await?;
    let to_cook = orders.clone();
    let cook = ChildSpec::actor("cook", move || (Cook, to_cook.clone()));
    // Without jitter, so that the times below are round: 100 ms, then 200 ms.
    supervisor.add(cook.backoff(Backoff { jitter: 0.0, ..Backoff::default() })).await?;

    orders.send(|waiting| waiting.record("anna", Change::live(None, Some("soup"))));
    for wait in [10, 100, 1_000] {
        env.clock.sleep(Duration::from_millis(wait)).await;
        let tree = supervisor.tree();
        let Some(cook) = tree.find("cook") else { anyhow::bail!("there is no cook") };
        let (error, next) = (cook.last_error.as_deref().unwrap_or("-"), cook.next_attempt);
        println!("tree: {} is {}, restarts {}, {error}, next {next:?}", cook.name, cook.state.name(), cook.restarts);
    }
    supervisor.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

fn main() -> anyhow::Result<()> {
    testing::run(example())
}
