//! A publisher that remembers everything it was given, as text, and can be slow, stuck or failing.
//!
//! Law: what it notes is what a publisher outside would see; it looks at batches alone.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::correlation::{Collection, Correlation, Key, OutputBatch, Taps, Value};
use crate::env::Env;
use crate::publisher::{self, PublishError, Publisher};
use crate::supervisor::ChildSpec;
use crate::watch;

/// What a probe holds: `COLLECTION/KEY`, as `Debug` shows the key, with the value as `Debug` shows it.
pub type ProbeState = BTreeMap<Arc<str>, Arc<str>>;

/// How a [`Probe`] or a [`Recorder`](super::Recorder) treats what it is given.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Mood {
    /// It takes it at once.
    #[default]
    Prompt,
    /// It takes it after so long.
    Slow(Duration),
    /// It takes nothing until its mood changes.
    Stuck,
    /// It refuses, with this reason. A recorder panics with it.
    Failing(String),
}

/// Waits as long as a mood lasts that takes nothing; an error when it refuses.
pub(super) async fn endure(mood: &watch::Sender<Mood>, env: Option<&Env>) -> Result<(), String> {
    let mut moods = mood.subscribe();
    loop {
        let now = moods.borrow_and_update().clone();
        match now {
            Mood::Prompt => return Ok(()),
            Mood::Failing(reason) => return Err(reason),
            Mood::Slow(wait) => {
                match env {
                    Some(env) => env.clock.sleep(wait).await,
                    None => tokio::time::sleep(wait).await,
                }
                return Ok(());
            }
            // The sender is borrowed here, so it cannot be gone.
            Mood::Stuck => drop(moods.changed().await),
        }
    }
}

/// One batch that a probe took.
#[derive(Clone, Debug)]
pub struct ProbeStep {
    /// When.
    pub at: Instant,
    /// The batch's version.
    pub version: u64,
    /// Whether the batch named everything.
    pub full: bool,
    /// Which life of the publisher took it: 1 is the first.
    pub life: u64,
    /// All that is published from here on.
    pub state: Arc<ProbeState>,
}

type Connect = Box<dyn Fn(&mut Taps) + Send + Sync>;
type Entry = (Arc<str>, Option<Arc<str>>, Option<Arc<str>>);
type Read = Box<dyn Fn(&OutputBatch, &mut Vec<Entry>) + Send + Sync>;

/// Follows some collections of a correlation. Clones share what it notes; see [`Rig`](super::Rig) for an example.
#[derive(Clone)]
pub struct Probe {
    inner: Arc<Inner>,
}

struct Inner {
    taps: Vec<(Connect, Read)>,
    mood: watch::Sender<Mood>,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    lives: u64,
    steps: Vec<ProbeStep>,
    faults: Vec<String>,
}

/// The collections that a [`Probe`] is to follow.
#[derive(Default)]
pub struct ProbeTaps {
    taps: Vec<(Connect, Read)>,
}

impl ProbeTaps {
    /// Adds a collection, under a name that its keys are noted with.
    pub fn tap<K: Key, V: Value + Debug>(mut self, name: &str, collection: Collection<K, V>) -> Self {
        let name = name.to_owned();
        let show = |value: &Option<Arc<V>>| value.as_ref().map(|value| Arc::from(format!("{value:?}")));
        let read = move |batch: &OutputBatch, into: &mut Vec<Entry>| {
            let changes = batch.changes(collection).iter();
            into.extend(
                changes
                    .map(|(key, change)| (Arc::from(format!("{name}/{key:?}")), show(&change.old), show(&change.new))),
            );
        };
        let connect = move |taps: &mut Taps| {
            taps.add(collection);
        };
        self.taps.push((Box::new(connect), Box::new(read)));
        self
    }

    /// The probe.
    pub fn build(self) -> Probe {
        let inner = Inner { taps: self.taps, mood: watch::Sender::default(), log: Mutex::default() };
        Probe { inner: Arc::new(inner) }
    }
}

impl Probe {
    /// What the supervisor starts; [`Rig::publish`](super::Rig::publish) does it in one step.
    pub fn spec<H: Send + Sync + 'static>(&self, name: &str, env: &Env, correlation: &Correlation<H>) -> ChildSpec {
        let (tapped, made, of_env) = (self.clone(), self.clone(), env.clone());
        let taps = move |_: &H| {
            let mut taps = Taps::default();
            tapped.inner.taps.iter().for_each(|(connect, _)| connect(&mut taps));
            taps
        };
        publisher::spec(name, env, correlation, taps, move || {
            let mut log = made.inner.log.lock();
            log.lives += 1;
            Life { probe: made.clone(), number: log.lives, env: of_env.clone(), state: None, version: 0 }
        })
    }

    /// How it treats what it is given from now on.
    pub fn set_mood(&self, mood: Mood) {
        self.inner.mood.send_replace(mood);
    }

    /// What is published now; nothing before the first batch.
    pub fn state(&self) -> Arc<ProbeState> {
        self.inner.log.lock().steps.last().map(|step| step.state.clone()).unwrap_or_default()
    }

    /// What is published of one key, such as `greetings/demo:n/ann`.
    pub fn get(&self, entry: &str) -> Option<Arc<str>> {
        self.state().get(entry).cloned()
    }

    /// Every batch that it took, in order.
    pub fn steps(&self) -> Vec<ProbeStep> {
        self.inner.log.lock().steps.clone()
    }

    /// What publishers are promised and this one did not get: a full batch first in each life, versions that grow,
    /// and changes whose old value is what was published.
    pub fn broken_promises(&self) -> Vec<String> {
        self.inner.log.lock().faults.clone()
    }
}

/// One life of the publisher. What it holds ends with it, as a real one's would.
struct Life {
    probe: Probe,
    number: u64,
    env: Env,
    state: Option<ProbeState>,
    version: u64,
}

impl Publisher for Life {
    async fn publish(&mut self, batch: &OutputBatch) -> Result<(), PublishError> {
        endure(&self.probe.inner.mood, Some(&self.env)).await.map_err(|reason| PublishError { reason })?;
        let mut entries = Vec::new();
        self.probe.inner.taps.iter().for_each(|(_, read)| read(batch, &mut entries));
        let log = &mut *self.probe.inner.log.lock();
        let version = batch.version();
        let mut promise = |kept: bool, what: &dyn Fn() -> String| {
            if !kept {
                log.faults.push(format!("version {version}, life {}: {}", self.number, what()));
            }
        };
        let before = log.steps.last().map_or(0, |step| step.version);
        promise(version >= before, &|| format!("comes after version {before}"));
        promise(batch.is_full() || self.state.is_some(), &|| "the first batch of a life is not full".to_owned());
        // The same batch may come twice; its old values are then those of before the first time.
        let again = !batch.is_full() && version == self.version;
        let state = self.state.get_or_insert_default();
        if batch.is_full() {
            state.clear();
        }
        for (entry, old, new) in entries {
            let held = state.get(&entry);
            promise(again || held == old.as_ref(), &|| format!("{entry}: changes {old:?}, published was {held:?}"));
            match new {
                Some(new) => drop(state.insert(entry, new)),
                None => drop(state.remove(&entry)),
            }
        }
        self.version = version;
        let (at, full, life) = (self.env.clock.now(), batch.is_full(), self.number);
        log.steps.push(ProbeStep { at, version, full, life, state: Arc::new(state.clone()) });
        Ok(())
    }
}
