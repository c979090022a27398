//! An actor that does as it is told, and the record of what became of it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use ractor::{Actor, ActorProcessingErr, ActorRef, async_trait};
use tidegate_actors::env::{Env, SeededRng};
use tidegate_actors::supervisor::{Backoff, ChildSpec, Reporter, Strategy, Supervisor};

/// What a worker can be told.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    Count,
    Fail,
    Panic,
    Die,
    Finish,
    Hang,
}

/// Who did what, in order.
pub type Log = Arc<Mutex<Vec<String>>>;

/// What became of all lives of one worker.
#[derive(Clone, Default)]
pub struct Record(Arc<Inner>);

#[derive(Default)]
struct Inner {
    starts: AtomicU64,
    handled: AtomicU64,
    post_stops: AtomicU64,
    alive: AtomicI64,
    most_alive: AtomicI64,
    fail_starts: AtomicU64,
    hang_in_start: AtomicBool,
    hang_in_stop: AtomicBool,
    reporter: Mutex<Option<Reporter>>,
    log: Log,
}

impl Record {
    /// A worker that keeps this record.
    pub fn spec(&self, name: &str) -> ChildSpec {
        self.spec_in(name, &self.log())
    }

    /// One that shares a log with others.
    pub fn spec_in(&self, name: &str, log: &Log) -> ChildSpec {
        let (record, log, of) = (self.clone(), log.clone(), name.to_owned());
        let make = move |reporter| {
            *record.0.reporter.lock() = Some(reporter);
            (Worker { name: of.clone(), log: log.clone() }, record.clone())
        };
        ChildSpec::actor_with(name, make).backoff(mk_backoff())
    }

    pub fn log(&self) -> Log {
        self.0.log.clone()
    }

    pub fn starts(&self) -> u64 {
        self.0.starts.load(Ordering::SeqCst)
    }

    pub fn handled(&self) -> u64 {
        self.0.handled.load(Ordering::SeqCst)
    }

    pub fn post_stops(&self) -> u64 {
        self.0.post_stops.load(Ordering::SeqCst)
    }

    pub fn alive(&self) -> i64 {
        self.0.alive.load(Ordering::SeqCst)
    }

    /// How many lives there ever were at one time.
    pub fn most_alive(&self) -> i64 {
        self.0.most_alive.load(Ordering::SeqCst)
    }

    pub fn fail_starts(&self, times: u64) {
        self.0.fail_starts.store(times, Ordering::SeqCst);
    }

    pub fn hang_in_start(&self, hang: bool) {
        self.0.hang_in_start.store(hang, Ordering::SeqCst);
    }

    pub fn hang_in_stop(&self, hang: bool) {
        self.0.hang_in_stop.store(hang, Ordering::SeqCst);
    }

    /// The reporter of the latest life.
    pub fn reporter(&self) -> Reporter {
        self.0.reporter.lock().clone().unwrap()
    }
}

pub struct Worker {
    name: String,
    log: Log,
}

/// One life; it is over when this is dropped.
pub struct Life {
    name: String,
    log: Log,
    record: Record,
}

impl Life {
    fn begin(worker: &Worker, record: Record) -> Self {
        let alive = record.0.alive.fetch_add(1, Ordering::SeqCst) + 1;
        record.0.most_alive.fetch_max(alive, Ordering::SeqCst);
        worker.log.lock().push(format!("start {}", worker.name));
        Self { name: worker.name.clone(), log: worker.log.clone(), record }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.record.0.alive.fetch_sub(1, Ordering::SeqCst);
        self.log.lock().push(format!("drop {}", self.name));
    }
}

#[async_trait]
impl Actor for Worker {
    type Msg = Order;
    type State = Life;
    type Arguments = Record;

    async fn pre_start(&self, _: ActorRef<Order>, record: Record) -> Result<Life, ActorProcessingErr> {
        let inner = &record.0;
        inner.starts.fetch_add(1, Ordering::SeqCst);
        let one_less = |left: u64| left.checked_sub(1);
        if inner.fail_starts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok() {
            return Err("cannot start".into());
        }
        if inner.hang_in_start.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        Ok(Life::begin(self, record))
    }

    async fn handle(&self, myself: ActorRef<Order>, order: Order, life: &mut Life) -> Result<(), ActorProcessingErr> {
        match order {
            Order::Count => {
                life.record.0.handled.fetch_add(1, Ordering::SeqCst);
            }
            Order::Fail => return Err(Box::new(Told)),
            Order::Panic => panic!("told to panic"),
            Order::Die => myself.kill(),
            Order::Finish => myself.stop(None),
            Order::Hang => std::future::pending::<()>().await,
        }
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<Order>, life: &mut Life) -> Result<(), ActorProcessingErr> {
        if life.record.0.hang_in_stop.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        life.record.0.post_stops.fetch_add(1, Ordering::SeqCst);
        self.log.lock().push(format!("stop {}", self.name));
        Ok(())
    }
}

/// An error with a source.
#[derive(Debug)]
struct Told;

#[derive(Debug)]
struct Because;

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("told to fail")
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("because of this")
    }
}

impl std::error::Error for Because {}

impl std::error::Error for Told {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&Because)
    }
}

/// 100 ms, doubling up to 10 s, without chance.
pub fn mk_backoff() -> Backoff {
    Backoff { jitter: 0.0, max: Duration::from_secs(10), ..Backoff::default() }
}

pub fn mk_env(seed: u64) -> Env {
    Env { rng: Arc::new(SeededRng::new(seed)), ..Env::system() }
}

pub async fn mk_root() -> Supervisor {
    Supervisor::start("root", Strategy::OneForOne, mk_env(1)).await.unwrap()
}

/// Waits, in virtual time, until something holds; fails after an hour of it.
pub async fn until(holds: impl Fn() -> bool) {
    for _ in 0..360_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("what was waited for did not happen");
}

/// Keeps counters and gauges by name and actor.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Mutex<BTreeMap<String, Arc<Mutex<f64>>>>>);

struct Cell(Arc<Mutex<f64>>);

pub fn record_metrics() -> (Metrics, metrics::LocalRecorderGuard<'static>) {
    let recorder: &'static Metrics = Box::leak(Box::default());
    (recorder.clone(), metrics::set_default_local_recorder(recorder))
}

impl Metrics {
    pub fn get(&self, name: &str, actor: &str) -> f64 {
        self.0.lock().get(&format!("{name} {actor}")).map_or(0.0, |cell| *cell.lock())
    }

    fn cell(&self, key: &metrics::Key) -> Arc<Cell> {
        let actor = key.labels().find(|label| label.key() == "actor").map_or("", |label| label.value());
        let mut all = self.0.lock();
        Arc::new(Cell(all.entry(format!("{} {actor}", key.name())).or_default().clone()))
    }
}

impl metrics::Recorder for Metrics {
    fn describe_counter(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
    fn describe_gauge(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
    fn describe_histogram(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}

    fn register_counter(&self, key: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Counter {
        metrics::Counter::from_arc(self.cell(key))
    }

    fn register_gauge(&self, key: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Gauge {
        metrics::Gauge::from_arc(self.cell(key))
    }

    fn register_histogram(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Histogram {
        metrics::Histogram::noop()
    }
}

impl metrics::CounterFn for Cell {
    fn increment(&self, value: u64) {
        *self.0.lock() += value as f64;
    }

    fn absolute(&self, value: u64) {
        *self.0.lock() = value as f64;
    }
}

impl metrics::GaugeFn for Cell {
    fn increment(&self, value: f64) {
        *self.0.lock() += value;
    }

    fn decrement(&self, value: f64) {
        *self.0.lock() -= value;
    }

    fn set(&self, value: f64) {
        *self.0.lock() = value;
    }
}
