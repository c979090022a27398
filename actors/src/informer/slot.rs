//! One resource type of one source: what outlives its actors, and the handle that its users have.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::env::Env;
use crate::handler::{EventHandler, HandlerHandle, HandlerOptions, Handling};
use crate::id::{Name, ResourceType};
use crate::object::Object;
use crate::persistence::Position;
use crate::port::Port;
use crate::problem::Problems;
use crate::queue::{DeltaQueue, Phase};
use crate::reflector::{Reflector, ReflectorOptions};
use crate::source::{Cursor, Source, SourceEvent};
use crate::store::{IndexFn, Lister, ObjectChanges, Store, Subscription, SyncState};
use crate::supervisor::{ChildSpec, Supervisor, SupervisorError};

use super::error::InformerError;

/// How a resource type is to be watched.
#[derive(Clone, Default)]
pub struct RegisterOptions {
    /// How patient its reflector is.
    pub reflector: ReflectorOptions,
    /// Indexes of its store, by name.
    pub indexes: Vec<(String, IndexFn)>,
    /// What it held in an earlier life: served at once, and resumed from its cursor without a list.
    pub restore: Option<Snapshot>,
    /// It was found, and nobody asked for it by name: nobody waits for it, and it gives way to whoever does ask.
    pub optional: bool,
}

/// What a store holds, and from where a watch can follow it.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The objects, in the order of their keys.
    pub objects: Vec<Arc<Object>>,
    /// Where the watch is to be resumed; without one it begins with a list.
    pub cursor: Option<Cursor>,
    /// Whether the objects were once all that there were.
    pub complete: bool,
    /// Why the source is known not to have the type, if it is.
    pub absent: Option<String>,
    /// When the source had last told anything, since the Unix epoch.
    pub at: Option<Duration>,
}

/// A line of the table of slots.
#[derive(Clone, Debug, PartialEq)]
pub struct SlotStatus {
    /// The source.
    pub source: Name,
    /// The type.
    pub resource_type: ResourceType,
    /// How current it is.
    pub sync: SyncState,
    /// How many objects it holds.
    pub objects: usize,
}

/// A registered resource type of one source. Cheap to clone.
#[derive(Clone)]
pub struct Informer {
    slot: Arc<Slot>,
}

struct Slot {
    lister: Lister,
    port: Port<DeltaQueue>,
    source: Arc<dyn Source>,
    options: ReflectorOptions,
    env: Env,
    problems: Problems,
    supervisor: Supervisor,
    handlers: Mutex<Vec<HandlerHandle>>,
    optional: AtomicBool,
}

impl Informer {
    pub(super) fn new(
        source: Arc<dyn Source>,
        resource_type: &ResourceType,
        options: RegisterOptions,
        env: &Env,
        problems: &Problems,
        supervisor: &Supervisor,
    ) -> Self {
        let lister = Lister::new(source.name(), resource_type, env, problems);
        for (name, function) in options.indexes {
            lister.add_index(&name, function);
        }
        let mut queue = DeltaQueue::default();
        if let Some(snapshot) = options.restore {
            lister.restored_at(snapshot.at);
            restore(&mut queue, snapshot);
        }
        let name = format!("store/{}/{}", source.name(), resource_type.plural_and_group());
        let slot = Slot {
            port: Port::new(name, env, queue),
            lister,
            source,
            options: options.reflector,
            env: env.clone(),
            problems: problems.clone(),
            supervisor: supervisor.clone(),
            handlers: Mutex::default(),
            optional: AtomicBool::new(options.optional),
        };
        Self { slot: Arc::new(slot) }
    }

    /// Reads what is held.
    pub fn lister(&self) -> &Lister {
        &self.slot.lister
    }

    /// The source.
    pub fn source(&self) -> &Name {
        self.slot.lister.source()
    }

    /// The type.
    pub fn resource_type(&self) -> &ResourceType {
        self.slot.lister.resource_type()
    }

    /// Whether nobody asked for it by name: see [`RegisterOptions::optional`].
    pub fn is_optional(&self) -> bool {
        self.slot.optional.load(Ordering::SeqCst)
    }

    /// Somebody asked for it by name.
    pub(super) fn want(&self) {
        self.slot.optional.store(false, Ordering::SeqCst);
    }

    /// How current it is, and how much it holds.
    pub fn status(&self) -> SlotStatus {
        SlotStatus {
            source: self.source().clone(),
            resource_type: self.resource_type().clone(),
            sync: self.lister().sync_state(),
            objects: self.lister().len(),
        }
    }

    /// Connects a port to the store: [`Lister::subscribe`].
    pub fn subscribe(&self, port: Port<ObjectChanges>) -> Subscription {
        self.slot.lister.subscribe(port)
    }

    /// What is held and from where to follow it, for a warm start. Objects may be a little newer than the cursor.
    pub fn snapshot(&self) -> Snapshot {
        let Position { cursor, complete, absent, at } = self.position();
        Snapshot { objects: self.slot.lister.list(), cursor, complete, absent, at }
    }

    /// How far what is held goes, and all that was sent to its subscribers.
    pub(crate) fn position(&self) -> Position {
        let absent = |phase: &Phase| match phase {
            Phase::Absent(reason) => Some(reason.clone()),
            _ => None,
        };
        // With an idle queue the store holds everything up to the queue's cursor, which bookmarks move on.
        let idle = self.slot.port.peek(|queue| {
            let known = || (queue.cursor().cloned(), queue.is_complete(), absent(queue.phase()));
            queue.is_empty().then(known)
        });
        let (cursor, complete, absent) = idle.unwrap_or_else(|| {
            // The cursor is written last of all, so what it covers has been sent.
            let (cursor, state) = (self.slot.lister.cursor(), self.slot.lister.sync_state());
            (cursor, state.complete, absent(&state.phase))
        });
        Position { cursor, complete, absent, at: self.slot.lister.last_event() }
    }

    /// Adds a handler, with an actor of its own; what is held is replayed to it as initial.
    ///
    /// # Errors
    /// When there is one of this name, or the supervisor is stopping.
    pub async fn add_handler(
        &self,
        name: &str,
        handler: Arc<dyn EventHandler>,
        options: HandlerOptions,
    ) -> Result<HandlerHandle, InformerError> {
        let child = format!("{}:{}:{name}", self.source(), self.resource_type().plural_and_group());
        let handling = Handling::new(&child, handler, options, &self.slot.lister, &self.slot.env, &self.slot.problems);
        ensure_supervisor(&self.slot.supervisor, "", "handlers", false).await?;
        match self.slot.supervisor.add_to("handlers", handling.spec(&child)).await {
            Ok(()) => {}
            Err(SupervisorError::Exists { .. }) => {
                let resource_type = self.resource_type().clone();
                return Err(InformerError::HandlerExists { name: name.to_owned(), resource_type });
            }
            Err(source) => {
                return Err(InformerError::Supervise { operation: format!("add the handler `{child}`"), source });
            }
        }
        let handle = HandlerHandle::new(handling, self.slot.supervisor.clone(), format!("handlers/{child}"));
        self.slot.handlers.lock().push(handle.clone());
        Ok(handle)
    }

    /// The table's key.
    pub(crate) fn id(&self) -> (Name, ResourceType) {
        (self.source().clone(), self.resource_type().clone())
    }

    pub(super) fn store_path(&self) -> String {
        format!("stores/{}/{}", self.source(), self.resource_type().plural_and_group())
    }

    pub(super) fn reflector_path(&self) -> String {
        format!("sources/{}/{}", self.source(), self.resource_type().plural_and_group())
    }

    /// The store is core: what cannot apply changes any more must not look as if it were current.
    pub(super) fn store_spec(&self) -> ChildSpec {
        let (port, lister) = (self.slot.port.clone(), self.slot.lister.clone());
        let name = self.resource_type().plural_and_group();
        ChildSpec::actor(name, move || (Store, (port.clone(), lister.clone()))).escalate(true)
    }

    pub(super) fn reflector_spec(&self) -> ChildSpec {
        let reflector = Reflector {
            source: self.slot.source.clone(),
            port: self.slot.port.clone(),
            lister: self.slot.lister.clone(),
            options: self.slot.options.clone(),
            env: self.slot.env.clone(),
        };
        reflector.spec()
    }

    /// Ends the handlers, each after the call that it is in.
    pub(super) async fn remove_handlers(&self) {
        let handlers = std::mem::take(&mut *self.slot.handlers.lock());
        for handler in handlers {
            handler.remove().await;
        }
    }
}

fn restore(queue: &mut DeltaQueue, snapshot: Snapshot) {
    if snapshot.complete {
        queue.feed(SourceEvent::Init);
        for object in snapshot.objects {
            queue.feed(SourceEvent::InitApply(object));
        }
        match snapshot.cursor {
            Some(cursor) => queue.feed(SourceEvent::InitDone(cursor)),
            None => {
                queue.feed(SourceEvent::InitDone(Cursor(Name::from(""))));
                queue.forget_cursor();
            }
        }
    }
    queue.doubt();
    match snapshot.absent {
        Some(reason) => queue.set_phase(Phase::Absent(reason)),
        None if snapshot.complete => {
            queue.set_phase(Phase::Degraded("restored from a snapshot, not yet confirmed by the source".to_owned()));
        }
        None => {}
    }
}

/// Adds a supervisor unless it is there.
pub(super) async fn ensure_supervisor(
    supervisor: &Supervisor,
    parent: &str,
    name: &str,
    escalate: bool,
) -> Result<(), InformerError> {
    let spec = ChildSpec::supervisor(name, crate::supervisor::Strategy::OneForOne, Vec::new()).escalate(escalate);
    // The tree below may take as long to stop as its slowest child and no longer counts as hanging.
    match supervisor.add_to(parent, spec.stop_timeout(Duration::from_secs(30))).await {
        Ok(()) | Err(SupervisorError::Exists { .. }) => Ok(()),
        Err(source) => Err(InformerError::Supervise { operation: format!("add the supervisor `{name}`"), source }),
    }
}
