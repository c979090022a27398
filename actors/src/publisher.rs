//! Publishers: consumers of consistent versions of a correlation's outputs, each an actor of its own, so that
//! a slow one holds back nobody. What comes while one works is coalesced, the latest value of a key winning.
//!
//! Laws: the first batch of each life of a publisher is full; a batch that failed is tried again when its backoff
//! is over, and not before.

use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::correlation::{Correlation, OutputBatch, OutputBuffer, OutputPort, Taps};
use crate::env::{Env, Fault};
use crate::supervisor::{Backoff, ChildSpec, Delays, Reporter};

/// Publishing failed; the batch is kept and tried again after a backoff, whatever comes meanwhile.
#[derive(Debug, thiserror::Error)]
#[error("publishing failed: {reason}")]
pub struct PublishError {
    /// What failed, where, and what to do about it.
    pub reason: String,
}

impl PublishError {
    /// Of whatever says why: an error, or a text.
    pub fn new(reason: impl std::fmt::Display) -> Self {
        Self { reason: reason.to_string() }
    }
}

/// Takes consistent steps of the outputs somewhere.
pub trait Publisher: Send + 'static {
    /// Publishes one batch. It may be called again with the same one (after an error or a restart), so it must be
    /// idempotent. A [full](OutputBatch::is_full) batch names everything; the first one is.
    fn publish(&mut self, batch: &OutputBatch) -> impl Future<Output = Result<(), PublishError>> + Send;
}

/// What the supervisor starts: the publisher `name` with the collections that it taps. `make` is called at each
/// start.
pub fn spec<H, P>(
    name: &str,
    env: &Env,
    correlation: &Correlation<H>,
    taps: impl Fn(&H) -> Taps + Send + Sync + 'static,
    make: impl Fn() -> P + Send + Sync + 'static,
) -> ChildSpec
where
    H: Send + Sync + 'static,
    P: Publisher,
{
    let port = correlation.output(name, taps);
    let (name, env, correlation) = (Arc::<str>::from(name), env.clone(), correlation.clone());
    ChildSpec::actor_with(name.clone(), move |reporter| {
        let (resync, output) = (correlation.clone(), name.clone());
        let arguments = Arguments {
            publisher: make(),
            port: port.clone(),
            env: env.clone(),
            name: name.clone(),
            resync: Box::new(move || resync.resync(&output)),
            reporter,
        };
        (PublisherActor(PhantomData), arguments)
    })
}

struct PublisherActor<P>(PhantomData<fn() -> P>);

struct Arguments<P> {
    publisher: P,
    port: OutputPort,
    env: Env,
    name: Arc<str>,
    resync: Box<dyn Fn() + Send + Sync>,
    reporter: Reporter,
}

struct Running<P> {
    arguments: Arguments<P>,
    delays: Delays,
    failing: bool,
    /// A retry is due later; until then there is nothing to do.
    backing_off: bool,
    published: metrics::Counter,
    failed: metrics::Counter,
}

enum Message {
    /// There is something to publish.
    Nudge,
    /// The backoff is over.
    Retry,
}

#[ractor::async_trait]
impl<P: Publisher> Actor for PublisherActor<P> {
    type Msg = Message;
    type State = Running<P>;
    type Arguments = Arguments<P>;

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        arguments: Arguments<P>,
    ) -> Result<Running<P>, ActorProcessingErr> {
        // A new publisher knows nothing, whatever its predecessor had published or begun to.
        let ask = arguments.port.receive(OutputBuffer::hand_over);
        arguments.port.connect(Arc::new(move || {
            // It fails only when the actor is gone; its successor connects anew.
            let _ = myself.cast(Message::Nudge);
        }));
        if ask {
            (arguments.resync)();
        }
        let published =
            metrics::counter!("tidegate_publisher_batches_total", "publisher" => arguments.name.to_string());
        let failed = metrics::counter!("tidegate_publisher_errors_total", "publisher" => arguments.name.to_string());
        Ok(Running {
            arguments,
            delays: Backoff::default().delays(),
            failing: false,
            backing_off: false,
            published,
            failed,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        running: &mut Running<P>,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Nudge if running.backing_off => return Ok(()),
            Message::Nudge | Message::Retry => running.backing_off = false,
        }
        let Some(batch) = running.arguments.port.receive(OutputBuffer::begin) else { return Ok(()) };
        match running.publish(&batch).await {
            Ok(()) => {
                running.published.increment(1);
                if std::mem::take(&mut running.failing) {
                    running.delays.reset();
                    running.arguments.reporter.running();
                }
                running.arguments.port.receive(OutputBuffer::commit);
                running.arguments.port.again();
            }
            Err(error) => running.retry(&myself, &error),
        }
        Ok(())
    }
}

impl<P: Publisher> Running<P> {
    #[allow(clippy::panic)]
    async fn publish(&mut self, batch: &OutputBatch) -> Result<(), PublishError> {
        match self.arguments.env.fault(|| format!("publish/{}", self.arguments.name)) {
            Fault::Delay(wait) => self.arguments.env.clock.sleep(wait).await,
            Fault::Stall => std::future::pending().await,
            Fault::Drop => return Err(PublishError { reason: "lost".to_owned() }),
            Fault::Corrupt => return Err(PublishError { reason: "damaged".to_owned() }),
            Fault::Error(reason) => return Err(PublishError { reason }),
            Fault::Panic(reason) => panic!("{reason}"),
            Fault::Duplicate => self.arguments.publisher.publish(batch).await?,
            // There is one batch at a time, and nothing to overtake it.
            Fault::None | Fault::Reorder => {}
        }
        self.arguments.publisher.publish(batch).await
    }

    fn retry(&mut self, myself: &ActorRef<Message>, error: &PublishError) {
        self.failing = true;
        self.backing_off = true;
        self.failed.increment(1);
        let wait = self.delays.next(&*self.arguments.env.rng);
        tracing::warn!(publisher = %self.arguments.name, %error, ?wait, "publishing failed");
        self.arguments.reporter.waiting(error.to_string(), Some(wait));
        let (myself, sleep) = (myself.clone(), self.arguments.env.clock.sleep(wait));
        tokio::spawn(async move {
            sleep.await;
            let _ = myself.cast(Message::Retry);
        });
    }
}
