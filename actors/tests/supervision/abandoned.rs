//! Children that never give the thread back, so that not even a kill ends them. They block a thread for real;
//! the supervisor's clock is one on which every wait is over at once, so that no test waits.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use parking_lot::Mutex;
use ractor::{Actor, ActorProcessingErr, ActorRef, async_trait};
use tidegate_actors::env::{Clock, Env};
use tidegate_actors::supervisor::{ChildSpec, State, Strategy, Supervisor};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::state;
use crate::worker::mk_env;

const DEADLINE: Duration = Duration::from_secs(20);

struct NoWait;

impl Clock for NoWait {
    fn wall(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::task::yield_now())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Start,
    Handle,
}

/// Blocks its thread at one place in its first life, until it is released.
#[derive(Clone)]
struct Blocker {
    place: Place,
    release: Arc<Mutex<Option<Receiver<()>>>>,
    told: UnboundedSender<&'static str>,
}

impl Blocker {
    fn mk(place: Place) -> (Self, SyncSender<()>, UnboundedReceiver<&'static str>) {
        let (release, released) = sync_channel(1);
        let (told, events) = unbounded_channel();
        (Self { place, release: Arc::new(Mutex::new(Some(released))), told }, release, events)
    }

    fn spec(&self) -> ChildSpec {
        let blocker = self.clone();
        ChildSpec::actor("a", move || (blocker.clone(), ()))
    }

    fn block(&self, place: Place) {
        let release = if place == self.place { self.release.lock().take() } else { None };
        if let Some(release) = release {
            let _ = self.told.send("blocked");
            // Told to tokio, since a thread that blocks unannounced takes the task it would run next with it, and
            // that may be the supervisor itself.
            let released = tokio::task::block_in_place(|| release.recv_timeout(DEADLINE));
            assert_ne!(released, Err(RecvTimeoutError::Timeout), "nobody released it");
        }
    }
}

struct Life(UnboundedSender<&'static str>);

impl Drop for Life {
    fn drop(&mut self) {
        let _ = self.0.send("gone");
    }
}

#[async_trait]
impl Actor for Blocker {
    type Msg = ();
    type State = Life;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<Life, ActorProcessingErr> {
        self.block(Place::Start);
        let _ = self.told.send("started");
        Ok(Life(self.told.clone()))
    }

    async fn handle(&self, _: ActorRef<()>, (): (), _: &mut Life) -> Result<(), ActorProcessingErr> {
        self.block(Place::Handle);
        Ok(())
    }
}

async fn next(events: &mut UnboundedReceiver<&'static str>) -> &'static str {
    tokio::time::timeout(DEADLINE, events.recv()).await.expect("an event in time").expect("an event")
}

async fn mk_impatient() -> Supervisor {
    let env = Env { clock: Arc::new(NoWait), ..mk_env(1) };
    Supervisor::start("root", Strategy::OneForOne, env).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_child_that_not_even_a_kill_ends_is_abandoned_and_replaced() {
    let supervisor = mk_impatient().await;
    let (blocker, release, mut events) = Blocker::mk(Place::Handle);
    supervisor.add(blocker.spec()).await.unwrap();
    assert_eq!(next(&mut events).await, "started");
    supervisor.get("a").unwrap().send_message(()).unwrap();
    assert_eq!(next(&mut events).await, "blocked");
    supervisor.pause("a").await.unwrap();
    assert_eq!(state(&supervisor, "a"), State::Paused);
    supervisor.resume("a").await.unwrap();
    assert_eq!(next(&mut events).await, "started", "beside the one that still blocks");
    release.send(()).unwrap();
    assert_eq!(next(&mut events).await, "gone");
    // The late end of the old life concerns nobody.
    supervisor.restart("a").await.unwrap();
    // Nobody waits by this clock, so on a busy machine the new life may begin before the one before it is gone.
    let mut both = [next(&mut events).await, next(&mut events).await];
    both.sort_unstable();
    assert_eq!(both, ["gone", "started"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_start_that_blocks_is_abandoned_and_ended_when_it_comes_back() {
    let supervisor = mk_impatient().await;
    let (blocker, release, mut events) = Blocker::mk(Place::Start);
    let (adding, spec) = (supervisor.clone(), blocker.spec());
    let added = tokio::spawn(async move { adding.add(spec).await });
    assert_eq!(next(&mut events).await, "blocked");
    supervisor.pause("a").await.unwrap();
    added.await.unwrap().unwrap();
    assert_eq!(state(&supervisor, "a"), State::Paused);
    release.send(()).unwrap();
    assert_eq!(next(&mut events).await, "started");
    assert_eq!(next(&mut events).await, "gone", "it is too late");
    assert_eq!((state(&supervisor, "a"), supervisor.get("a").is_some()), (State::Paused, false));
}
