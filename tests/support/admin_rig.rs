//! A running admin server with everything that it was given, for the suites that ask it over real HTTP.
//!
//! Law: only what is a provider's is a fake; the server, the supervisor and the registry of watches are real.

#![allow(dead_code)]

#[path = "http.rs"]
mod http;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate::admin::ready::Published;
use tidegate::admin::snapshot::SnapshotStatus;
use tidegate::admin::state::{LogLevel, Provider};
use tidegate::admin::token::Key;
use tidegate::admin::watches::WatchRegistry;
use tidegate::admin::{AdminServer, AdminState, Catalogue, ModelDocument, Slot, SyncPhase, metrics};
use tidegate::config::{Admin, Limits, Token, WatchedScope, WatchedType, Watches};
use tidegate_actors::env::Env;
use tidegate_actors::id::{ResourceType, Scope};
use tidegate_actors::object::{Decoder, Object};
use tidegate_actors::problem::Problems;
use tidegate_actors::supervisor::{ChildSpec, Stop, Stopper, Strategy, Supervisor};

pub use http::Answer;

pub const TOKEN: &str = "correct-horse-battery-staple";

/// Types and objects as a test sets them.
#[derive(Default)]
pub struct Shelf {
    pub slots: Mutex<Vec<Slot>>,
    pub objects: Mutex<BTreeMap<String, Vec<Arc<Object>>>>,
    pub refuse: Mutex<Option<String>>,
}

#[async_trait]
impl Catalogue for Shelf {
    fn slots(&self) -> Vec<Slot> {
        self.slots.lock().clone()
    }

    fn objects(&self, source: &str, resource_type: &ResourceType) -> Vec<Arc<Object>> {
        self.objects.lock().get(&format!("{source}:{resource_type}")).cloned().unwrap_or_default()
    }

    async fn register(&self, resource_type: &ResourceType) -> Result<(), String> {
        if let Some(reason) = self.refuse.lock().clone() {
            return Err(reason);
        }
        self.slots.lock().push(mk_slot("demo", resource_type, SyncPhase::Pending(None)));
        Ok(())
    }

    async fn unregister(&self, resource_type: &ResourceType) -> Result<(), String> {
        self.slots.lock().retain(|slot| slot.resource_type != *resource_type);
        Ok(())
    }
}

#[derive(Default)]
pub struct Level(Mutex<String>);

impl LogLevel for Level {
    fn get(&self) -> String {
        self.0.lock().clone()
    }

    fn set(&self, level: &str) -> Result<(), String> {
        tidegate::config::check_level(level)?;
        *self.0.lock() = level.to_owned();
        Ok(())
    }
}

pub fn mk_slot(source: &str, resource_type: &ResourceType, phase: SyncPhase) -> Slot {
    Slot {
        source: source.into(),
        resource_type: resource_type.clone(),
        discovered: false,
        objects: 0,
        phase,
        age: None,
    }
}

pub fn mk_route_type() -> ResourceType {
    ResourceType::new("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes", Scope::Namespaced)
}

pub fn mk_secret_type() -> ResourceType {
    ResourceType::new("", "v1", "Secret", "secrets", Scope::Namespaced)
}

pub fn mk_widget() -> WatchedType {
    WatchedType { resource: "widgets.example.com/v1".into(), kind: "Widget".into(), scope: WatchedScope::Namespaced }
}

/// A running admin server with everything that it was given.
pub struct Rig {
    pub address: SocketAddr,
    pub shelf: Arc<Shelf>,
    pub published: Arc<Mutex<Published>>,
    pub model: Arc<Mutex<Option<ModelDocument>>>,
    pub statuses: Arc<Mutex<Vec<Box<RawValue>>>>,
    pub problems: Problems,
    pub supervisor: Supervisor,
    pub starts: Arc<Mutex<u32>>,
    pub watches: WatchRegistry,
    pub data_dir: TempDir,
    pub stopper: Stopper,
    pub served: tokio::task::JoinHandle<()>,
}

pub fn provider<T: Clone + Send + 'static>(cell: &Arc<Mutex<T>>) -> Provider<T> {
    let cell = cell.clone();
    Arc::new(move || cell.lock().clone())
}

pub fn mk_watches() -> Watches {
    Watches { allow: vec!["*.example.com".to_owned()], initial: Vec::new() }
}

pub async fn mk_rig() -> Rig {
    mk_rig_with(mk_watches()).await
}

pub async fn mk_rig_with(watches: Watches) -> Rig {
    let env = Env::system();
    let data_dir = tempfile::tempdir().unwrap();
    let shelf = Arc::new(Shelf::default());
    let problems = Problems::default();
    let supervisor = Supervisor::start("tidegate", Strategy::OneForOne, env.clone()).await.unwrap();
    let starts = Arc::new(Mutex::new(0));
    let counted = starts.clone();
    let child = ChildSpec::task("worker", move |context| {
        *counted.lock() += 1;
        async move {
            context.stop.stopped().await;
            Ok(())
        }
    });
    supervisor.add(ChildSpec::supervisor("sources", Strategy::OneForOne, vec![child])).await.unwrap();
    let registry = WatchRegistry::new(&watches, 2, data_dir.path(), &env, shelf.clone());
    let recorder = metrics::recorder().unwrap();
    let handle = recorder.handle();
    ::metrics::with_local_recorder(&recorder, || {
        metrics::describe();
        ::metrics::gauge!("tidegate_queue_depth", "queue" => "store/demo/httproutes").set(3.0);
        ::metrics::histogram!("tidegate_xds_event_to_ack_seconds").record(0.004);
    });
    let published = Arc::new(Mutex::new(Published::default()));
    let model = Arc::new(Mutex::new(None));
    let statuses = Arc::new(Mutex::new(Vec::new()));
    let state = AdminState {
        chaos: Default::default(),
        actors: Arc::new(supervisor.clone()),
        catalogue: shelf.clone(),
        problems: problems.clone(),
        required_types: Vec::new(),
        unserved: Arc::new(Vec::new),
        published: provider(&published),
        model: provider(&model),
        statuses: provider(&statuses),
        proxies: Arc::new(|| json!({ "items": [{ "node": "envoy-1" }] })),
        snapshot: Arc::new(SnapshotStatus::default),
        metrics: Arc::new(move || metrics::render(&handle)),
        watches: registry.clone(),
        log: Arc::new(Level(Mutex::new("info".to_owned()))),
        key: Key::new(&Token::new(TOKEN)),
    };
    let admin = Admin { address: SocketAddr::from(([127, 0, 0, 1], 0)), ..Admin::default() };
    let server = AdminServer::bind(&admin, &Limits::default(), &env).await.unwrap();
    let address = server.address();
    let (stopper, stop) = Stop::channel();
    let served = tokio::spawn(server.serve(state, stop));
    Rig {
        address,
        shelf,
        published,
        model,
        statuses,
        problems,
        supervisor,
        starts,
        watches: registry,
        data_dir,
        stopper,
        served,
    }
}

impl Rig {
    /// Sends a raw request, so that wrong ones can be sent as well.
    pub async fn raw(&self, request: &str) -> Answer {
        http::raw(self.address, request).await
    }

    pub async fn send(&self, method: &str, path: &str, token: Option<&str>, body: Option<Value>) -> Answer {
        http::send(self.address, method, path, token, body).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None, None).await
    }

    pub async fn change(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.send(method, path, Some(TOKEN), body).await
    }

    pub fn put(&self, source: &str, resource_type: &ResourceType, objects: &[Value]) {
        let decoder = Decoder::new(source.into(), resource_type.clone());
        let decoded = objects.iter().map(|o| Arc::new(decoder.decode(o.to_string()).unwrap())).collect();
        let mut slot = mk_slot(source, resource_type, SyncPhase::Synced);
        slot.objects = objects.len();
        self.shelf.slots.lock().push(slot);
        self.shelf.objects.lock().insert(format!("{source}:{resource_type}"), decoded);
    }
}
