//! The actor that follows which types a cluster has: it watches definitions and registrations of API groups, asks for
//! the groups when those change and now and then, and brings what changes to streams, to those who wait, and to the
//! registrar.
//!
//! Laws: nothing that is waited for here holds up anything else; without the permission for definitions the groups are
//! asked more often, and everything else works.

mod follow;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tidegate_actors::source::{SourceError, SourceEvent};
use tidegate_actors::supervisor::{ChildSpec, Reporter, TaskContext};
use tidegate_actors::watch;
use tokio::time::Instant;

use self::follow::Follow;
use super::definition::{self, TypeName};
use super::discovered::{Change, Discovered, GroupVersion, Observation};
use super::registrar::Registrar;
use super::shared::Shared;
use super::{KubernetesSource, discover};

/// How long groups are left alone after a change, which seldom comes alone.
const SETTLE: Duration = Duration::from_secs(1);

/// When those who wait for a type are woken once more: the API server may tell of it before it serves it.
const ECHOES: [u64; 4] = [100, 400, 1500, 4000];

/// How often in a row definitions cannot be followed before that is worth a word.
const ROUTINE: u32 = 3;

/// The child of a source that does this.
pub(super) fn spec(source: &KubernetesSource, registrar: Option<Registrar>) -> ChildSpec {
    let name = format!("types-{}", source.shared.options.name);
    let source = source.clone();
    ChildSpec::task(name, move |context: TaskContext| {
        let mut types = Types::new(&source, registrar.clone(), context.reporter);
        async move {
            tokio::select! {
                biased;
                () = context.stop.stopped() => {}
                () = types.run() => {}
            }
            Ok(())
        }
    })
}

struct Types {
    shared: Arc<Shared>,
    registrar: Option<Registrar>,
    table: Option<watch::Receiver<u64>>,
    reporter: Reporter,
    discovered: Discovered,
    definitions: Follow,
    services: Follow,
    /// The groups, being asked for.
    asking: Option<BoxFuture<'static, Option<Vec<GroupVersion>>>>,
    ask_at: Instant,
    echoes: Vec<(Instant, TypeName)>,
    /// Definitions are followed, with a list that was complete.
    heard: bool,
    groups_asked: bool,
    groups_read: bool,
}

/// What happens next.
enum Next {
    Definition(Result<SourceEvent, SourceError>),
    Service(Result<SourceEvent, SourceError>),
    Groups(Option<Vec<GroupVersion>>),
    Table,
    Time,
}

impl Types {
    fn new(source: &KubernetesSource, registrar: Option<Registrar>, reporter: Reporter) -> Self {
        let shared = source.shared.clone();
        Self {
            table: registrar.as_ref().map(Registrar::on_change),
            registrar,
            reporter,
            discovered: Discovered::default(),
            definitions: Follow::new(source, definition::definitions()),
            services: Follow::new(source, definition::services()),
            asking: None,
            ask_at: shared.env.clock.now(),
            echoes: Vec::new(),
            heard: false,
            groups_asked: false,
            groups_read: false,
            shared,
        }
    }

    async fn run(&mut self) {
        loop {
            match self.next().await {
                Next::Definition(Ok(event)) => self.definition(event).await,
                Next::Definition(Err(error)) => self.definitions_ended(&error),
                Next::Service(Ok(event)) => {
                    if !matches!(event, SourceEvent::Init | SourceEvent::InitApply(_) | SourceEvent::Bookmark(_)) {
                        self.ask_within(SETTLE);
                    }
                }
                // Groups are asked for now and then, too.
                Next::Service(Err(error)) => tracing::debug!(%error, "APIServices cannot be followed"),
                Next::Groups(groups) => self.groups(groups).await,
                Next::Table => self.reconcile().await,
                Next::Time => self.time(),
            }
        }
    }

    async fn next(&mut self) -> Next {
        let clock = self.shared.env.clock.clone();
        let now = clock.now();
        if self.asking.is_none() && self.ask_at <= now {
            self.asking = Some(Box::pin(discover::groups(self.shared.clone())));
        }
        let ask_at = self.asking.is_none().then_some(self.ask_at);
        let alarm = self.echoes.iter().map(|(at, _)| *at).chain(ask_at).min();
        let asking = async {
            match &mut self.asking {
                Some(asking) => asking.await,
                None => std::future::pending().await,
            }
        };
        let table = async {
            let changed = match &mut self.table {
                Some(table) => table.changed().await.is_ok(),
                None => false,
            };
            if !changed {
                std::future::pending::<()>().await;
            }
        };
        let time = async {
            match alarm {
                Some(at) => clock.sleep(at.saturating_duration_since(now)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = time => Next::Time,
            told = self.definitions.next() => Next::Definition(told),
            groups = asking => Next::Groups(groups),
            told = self.services.next() => Next::Service(told),
            () = table => Next::Table,
        }
    }

    async fn definition(&mut self, event: SourceEvent) {
        let observation = match event {
            SourceEvent::Init => Observation::ListBegan,
            SourceEvent::InitApply(object) => {
                let read = definition::read(object.raw());
                let name = definition::defined_by(&object.key().name);
                let Some((name, definition)) = read.map(|(name, of)| (name, Some(of))).or(name.map(|of| (of, None)))
                else {
                    return;
                };
                Observation::Listed(name, definition)
            }
            SourceEvent::InitKeep(key) => match definition::defined_by(&key.name) {
                Some(name) => Observation::Listed(name, None),
                None => return,
            },
            SourceEvent::InitDone(_) => {
                self.heard = true;
                self.reporter.running();
                Observation::ListEnded
            }
            SourceEvent::Apply(object) => match definition::read(object.raw()) {
                Some((name, definition)) => Observation::Applied(name, definition),
                None => return,
            },
            SourceEvent::Delete(key) => match definition::defined_by(&key.name) {
                Some(name) => Observation::Deleted(name),
                None => return,
            },
            SourceEvent::Bookmark(_) => {
                if self.heard {
                    self.reporter.running();
                }
                return;
            }
        };
        let ended = matches!(observation, Observation::ListEnded);
        let changes = self.discovered.observe(observation);
        if !changes.is_empty() {
            self.ask_within(SETTLE);
        }
        self.apply(&changes);
        if ended || !changes.is_empty() {
            self.reconcile().await;
        }
    }

    fn definitions_ended(&mut self, error: &SourceError) {
        match error {
            SourceError::Retry { .. } | SourceError::Relist { .. } => {
                if self.definitions.failures() >= ROUTINE {
                    self.reporter.waiting(format!("definitions cannot be followed: {error}"), None);
                }
                return;
            }
            SourceError::NotPermitted { reason } => {
                self.reporter.degraded(format!(
                    "types that come and go are noticed late, since their definitions cannot be watched: {reason}"
                ));
            }
            SourceError::Absent { .. } => self.reporter.running(),
        }
        self.heard = false;
        let changes = self.discovered.observe(Observation::DefinitionsLost);
        self.apply(&changes);
        self.ask_within(self.shared.options.groups_interval_unheard);
    }

    async fn groups(&mut self, groups: Option<Vec<GroupVersion>>) {
        self.asking = None;
        self.groups_asked = true;
        let options = &self.shared.options;
        let interval = if self.heard { options.groups_interval } else { options.groups_interval_unheard };
        self.ask_at = self.shared.env.clock.now() + interval.mul_f64(1.0 - 0.25 * self.shared.env.rng.unit());
        if let Some(groups) = groups {
            self.groups_read = true;
            let changes = self.discovered.observe(Observation::Groups(groups));
            self.apply(&changes);
        }
        self.reconcile().await;
    }

    fn time(&mut self) {
        let now = self.shared.env.clock.now();
        let (due, later) = std::mem::take(&mut self.echoes).into_iter().partition(|(at, _)| *at <= now);
        self.echoes = later;
        let due: Vec<(Instant, TypeName)> = due;
        for (_, name) in due {
            for (_, memory) in self.shared.memories(&name.group, &name.plural) {
                memory.arrive_again();
            }
        }
    }

    /// Brings changes to the streams of the types, and to those who wait for them.
    fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            let (name, word) = match change {
                Change::Came(name) => (name, "came"),
                Change::Changed(name) => (name, "changed"),
                Change::Gone(name) => (name, "gone"),
            };
            let source = &self.shared.options.name;
            metrics::counter!("tidegate_type_changes_total", "source" => source.to_string(), "change" => word)
                .increment(1);
            let memories = self.shared.memories(&name.group, &name.plural);
            if memories.is_empty() {
                continue;
            }
            tracing::debug!(%source, resource = %name, change = word, "a type of the cluster");
            let versions = self.discovered.get(name).map_or(&[][..], |definition| &definition.versions);
            for (of, memory) in &memories {
                let own = versions.iter().any(|version| version == of.version());
                let other = versions.first().filter(|_| self.shared.reads_any_version(of, memory));
                match (own, other, versions) {
                    (true, ..) => memory.arrive(None),
                    (false, Some(other), _) => memory.arrive(Some(other.as_str().into())),
                    (false, None, []) => memory.depart(format!("{of} is not served by the API server any more")),
                    (false, None, versions) => {
                        memory.depart(format!("{of} is not served; the API server has it as {}", versions.join(", ")));
                    }
                }
            }
            let now = self.shared.env.clock.now();
            self.echoes.retain(|(_, waiting)| waiting != name);
            if !versions.is_empty() {
                let at = ECHOES.map(|millis| (now + Duration::from_millis(millis), name.clone()));
                self.echoes.extend(at);
            }
        }
    }

    async fn reconcile(&mut self) {
        let settled = self.groups_asked && (self.heard || self.groups_read);
        if let Some(registrar) = &self.registrar {
            registrar.reconcile(&self.shared, &self.discovered, settled).await;
        }
    }

    fn ask_within(&mut self, wait: Duration) {
        self.ask_at = self.ask_at.min(self.shared.env.clock.now() + wait);
    }
}
