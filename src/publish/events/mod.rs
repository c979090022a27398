//! What a person should see of an object beyond its conditions, where a source takes it: a reference that does not
//! resolve, a proxy that rejects it, an object that cannot be read or translated; and that it is over.
//!
//! ```text
//! statuses, rejections, problems ─▶ said ─▶ Teller (what is true now) ─▶ outlet (one a source) ─▶ EventSink
//! ```
//!
//! Laws: nothing here holds up a status; a state of an object is said once, and one that comes again is counted, not
//! said anew; only a leading replica says anything; a source's rate holds whatever happens; what cannot be said is
//! tried a few times and let go.

mod said;

mod memory;

mod outlet;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tidegate_actors::env::Env;
use tidegate_actors::id::{Name, ObjectKey, ObjectRef};
use tidegate_actors::informer::InformerFactory;
use tidegate_actors::object::Object;
use tidegate_actors::problem::Problems;
use tidegate_actors::supervisor::{ChildSpec, TaskContext};
use tidegate_actors::workqueue::WorkQueue;

use self::outlet::Outlet;
use self::said::{Action, Said};
use super::rejections::Rejection;
use crate::correlate::Answers;
use crate::correlate::status::ObjectStatus;
use crate::resource::types;
use crate::source::sink::{EventSink, WriteRate};

/// How long a state must stand before it is worth a word: what is applied with other things is often wrong until they
/// are there.
const SETTLE: Duration = Duration::from_millis(500);

/// How long problems may go on changing before they are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What may be said of: one thing of one object.
type Key = (ObjectRef, Action);

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Teller {
    shared: Arc<Shared>,
}

struct Shared {
    env: Env,
    problems: Problems,
    factory: InformerFactory,
    /// Who says it; a reload may change it.
    reporter: Arc<dyn Fn() -> Name + Send + Sync>,
    /// What is wrong now.
    wrong: Mutex<BTreeMap<Key, Said>>,
    /// The Gateways that another shard speaks of; `None` before any was told.
    elsewhere: Mutex<Option<BTreeSet<ObjectKey>>>,
    /// Who waits to hear of it, by source.
    queues: RwLock<BTreeMap<Name, WorkQueue<Key>>>,
}

impl Teller {
    /// A teller without sinks: it takes in what is wrong, and has nobody to tell.
    pub fn new(
        env: &Env,
        problems: &Problems,
        factory: &InformerFactory,
        reporter: impl Fn() -> Name + Send + Sync + 'static,
    ) -> Self {
        let shared = Shared {
            env: env.clone(),
            problems: problems.clone(),
            factory: factory.clone(),
            reporter: Arc::new(reporter),
            wrong: Mutex::default(),
            elsewhere: Mutex::default(),
            queues: RwLock::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// What is wrong with a source's objects is said through this sink from now on. The task ends with the source.
    pub fn spec(&self, source: &Name, sink: Arc<dyn EventSink>, rate: WriteRate) -> ChildSpec {
        let (shared, source) = (self.shared.clone(), source.clone());
        ChildSpec::task(format!("events-{source}"), move |context: TaskContext| {
            let outlet = Outlet::new(shared.clone(), &source, sink.clone(), rate);
            async move {
                tokio::select! {
                    biased;
                    () = context.stop.stopped() => {}
                    () = outlet.run() => {}
                }
                Ok(())
            }
        })
    }

    /// The child that follows which objects cannot be read or translated.
    pub fn follow(&self) -> ChildSpec {
        let shared = self.shared.clone();
        ChildSpec::task("events", move |context: TaskContext| {
            let shared = shared.clone();
            async move {
                tokio::select! {
                    biased;
                    () = context.stop.stopped() => {}
                    () = shared.follow_problems() => {}
                }
                Ok(())
            }
        })
    }

    /// What objects are told from now on. `full`: those that are not named are told nothing.
    pub fn told<'a>(&self, full: bool, changes: impl Iterator<Item = (&'a ObjectRef, Option<&'a ObjectStatus>)>) {
        let said = changes.map(|(object, status)| (object.clone(), status.and_then(said::of_status)));
        self.shared.set(Action::ResolveRefs, full, said);
    }

    /// Who answers for which Gateway from now on. `full`: nobody for those that are not named.
    pub fn answers<'a>(&self, full: bool, changes: impl Iterator<Item = (&'a ObjectKey, Option<Answers>)>) {
        let mut elsewhere = self.shared.elsewhere.lock();
        let before = elsewhere.clone();
        let now = elsewhere.get_or_insert_default();
        if full {
            now.clear();
        }
        for (key, answers) in changes {
            match answers {
                Some(Answers::Elsewhere) => drop(now.insert(key.clone())),
                Some(Answers::Here) | None => drop(now.remove(key)),
            }
        }
        let changed: BTreeSet<ObjectKey> =
            before.iter().flat_map(|before| before.symmetric_difference(now)).cloned().collect();
        drop(elsewhere);
        self.shared.look_again(|gateway| before.is_none() || changed.contains(gateway));
    }

    /// What proxies reject from now on, all of it.
    pub fn rejected(&self, all: &BTreeMap<ObjectRef, Vec<Rejection>>) {
        let said = all.iter().map(|(object, rejections)| (object.clone(), Some(said::of_rejections(rejections))));
        self.shared.set(Action::Program, true, said);
    }
}

impl Shared {
    async fn follow_problems(&self) {
        let mut changes = self.problems.on_change();
        changes.mark_changed();
        loop {
            // They live as long as we do.
            let _ = changes.changed().await;
            self.env.clock.sleep(LOOK).await;
            changes.mark_unchanged();
            let found = said::of_problems(self.problems.list());
            for action in [Action::Read, Action::Translate] {
                let of = found.iter().filter(|((_, of), _)| *of == action);
                self.set(action, true, of.map(|((object, _), said)| (object.clone(), Some(said.clone()))));
            }
        }
    }

    /// What is wrong in one respect from now on. `full`: with what is not named nothing is.
    fn set(&self, action: Action, full: bool, changes: impl Iterator<Item = (ObjectRef, Option<Said>)>) {
        let mut changed: Vec<Key> = Vec::new();
        {
            let mut wrong = self.wrong.lock();
            let mut named = BTreeSet::new();
            for (object, said) in changes {
                let key = (object, action);
                let before = wrong.get(&key);
                if before != said.as_ref() {
                    changed.push(key.clone());
                    match said {
                        Some(said) => drop(wrong.insert(key.clone(), said)),
                        None => drop(wrong.remove(&key)),
                    }
                }
                if full {
                    named.insert(key);
                }
            }
            if full {
                wrong.retain(|key, _| {
                    let stays = key.1 != action || named.contains(key);
                    if !stays {
                        changed.push(key.clone());
                    }
                    stays
                });
            }
        }
        self.look_at(changed);
    }

    /// What is wrong with Gateways that may have changed hands.
    fn look_again(&self, which: impl Fn(&ObjectKey) -> bool) {
        let is_one = |key: &&Key| key.0.resource_type == types::gateway() && which(&key.0.key);
        let keys = self.wrong.lock().keys().filter(is_one).cloned().collect();
        self.look_at(keys);
    }

    fn look_at(&self, keys: Vec<Key>) {
        let queues = self.queues.read();
        for key in keys {
            if let Some(queue) = queues.get(&key.0.key.source) {
                queue.add_after(key, SETTLE);
            }
        }
    }

    /// Whether an object is for somebody else to speak of, or it is not known yet for whom.
    fn is_elsewhere(&self, object: &ObjectRef) -> bool {
        object.resource_type == types::gateway()
            && self.elsewhere.lock().as_ref().is_none_or(|elsewhere| elsewhere.contains(&object.key))
    }

    /// What is wrong in one respect with an object.
    fn wrong(&self, key: &Key) -> Option<Said> {
        self.wrong.lock().get(key).cloned()
    }

    /// An object as its store has it.
    fn held(&self, object: &ObjectRef) -> Option<Arc<Object>> {
        self.factory.lister(&object.key.source, &object.resource_type)?.get(&object.key)
    }

    /// All that is wrong with a source's objects.
    fn wrong_with(&self, source: &str) -> Vec<Key> {
        self.wrong.lock().keys().filter(|(object, _)| *object.key.source == *source).cloned().collect()
    }
}

#[cfg(test)]
mod tests;
