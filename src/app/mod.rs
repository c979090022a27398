//! The actor tree, assembled in one readable place.
//!
//! ```text
//! tidegate
//! ├─ admin                    health, metrics, API                     started first, stopped last
//! ├─ xds-server               ADS over TCP and a Unix socket
//! ├─ xds, json, status        publishers
//! ├─ rejections, events       what proxies reject and what people should see
//! ├─ gateway                  the correlation
//! ├─ snapshot                 what is kept for the next start
//! ├─ stores/SOURCE/TYPE       one store a resource type
//! ├─ scanner-SOURCE           what a source needs to run
//! ├─ sources/SOURCE/TYPE      one reflector a resource type
//! ├─ config                   the config file, followed
//! └─ envoy                    the local proxy                          started last, drained first
//! ```
//!
//! Law: who takes is started before who gives, and stopped after it.

mod catalogue;

mod configured;

mod gate;

mod offline;

mod options;

mod publishers;

mod reconfigure;

mod refusals;

mod run;

mod snapshot;

mod sources;

pub(crate) use configured::wants_proxy;
pub use offline::{check, translate};
pub use options::{Hooks, RunOptions, Target, Translation};
pub use run::run;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use parking_lot::{Mutex, RwLock};
use tidegate_actors::correlation::{Correlation, Gate};
use tidegate_actors::env::{Env, FaultPlan};
use tidegate_actors::id::Name;
use tidegate_actors::informer::InformerFactory;
use tidegate_actors::persistence::Persistence;
use tidegate_actors::problem::Problems;
use tidegate_actors::supervisor::{ChildSpec, Strategy, Supervisor};

use crate::admin::chaos::Chaos;
use crate::admin::ready::Published;
use crate::admin::state::AdminState;
use crate::admin::token::{self, Key};
use crate::admin::watches::WatchRegistry;
use crate::admin::{AdminServer, ModelDocument};
use crate::builder::{Tidegate, Wire};
use crate::config::{Config, Token};
use crate::correlate::{self, Outputs, Settings};
use crate::proxy::bootstrap::{AdminAddress, Bootstrap, BootstrapOptions, XdsAddress};
use crate::proxy::child::{self, ChildOptions};
use crate::proxy::{ProxyError, supervised};
use crate::publish::events::Teller;
use crate::publish::json::PublishedModel;
use crate::publish::status::{PublishedStatuses, StatusWriter};
use crate::publish::step::Steps;
use crate::publish::xds::{XdsPublisher, XdsServer};
use catalogue::Types;
use configured::{settings, speaker, xds_options};
use gate::Opening;

/// Shared with whoever says what is missing.
type Correlations = Arc<RwLock<Vec<Arc<dyn Wire>>>>;

/// A running Tidegate: handles to look at it and to end it.
pub struct App {
    /// The outside world.
    pub env: Env,
    /// What is wrong with somebody's input.
    pub problems: Problems,
    /// The root of the tree.
    pub supervisor: Supervisor,
    /// Resource types, their stores and listers.
    pub factory: InformerFactory,
    /// Keeps what they hold for the next start, if anything does.
    pub persistence: Option<Persistence>,
    /// The gateway's correlation.
    pub correlation: Correlation<Outputs>,
    /// The xDS publisher with its clients.
    pub xds: XdsPublisher,
    /// The model that is published now.
    pub model: PublishedModel,
    /// Every object's conditions.
    pub statuses: PublishedStatuses,
    /// Writes them back to the sources that take them.
    pub writer: StatusWriter,
    /// Says what is wrong with objects where their sources have a place for it.
    pub teller: Teller,
    /// Where the admin server listens.
    pub admin: SocketAddr,
    /// Where the xDS server listens over TCP.
    pub xds_address: Option<SocketAddr>,
    /// Its Unix socket.
    pub xds_socket: PathBuf,
    /// What changes need.
    pub token: Token,
    /// Run-time watches.
    pub watches: WatchRegistry,
    /// What [`model`](Self::model) has, over every replacement of the publisher that fills it.
    steps: Arc<Mutex<Steps>>,
    /// What decides translations; a changed one counts from the next start of the correlation's actor on.
    settings: Arc<RwLock<Settings>>,
    /// The correlations that read stores: the gateway's, and those that another binary brought along.
    correlations: Correlations,
    /// What runs for each source beside its reflectors, by the source's name.
    source_children: Mutex<BTreeMap<Name, sources::SourceChildren>>,
    /// Attacks on purpose, where the config allows them.
    chaos: Chaos,
    /// The runtime directory of the local Envoy, once there is one.
    envoy_dir: OnceLock<PathBuf>,
}

impl App {
    /// Starts everything but the proxy, which needs to be found first: see [`App::add_proxy`].
    ///
    /// # Errors
    /// When an address cannot be had, a source cannot be made, or the data directory cannot be written.
    pub async fn start(tidegate: &Tidegate, config: &Config, hooks: &Hooks, env: Env) -> anyhow::Result<Self> {
        let attacks = config.chaos.enabled.then(|| FaultPlan::new(env.rng.next_u64()));
        let env = match &attacks {
            Some(attacks) => Env { faults: Some(Arc::new(attacks.clone())), ..env },
            None => env,
        };
        let problems = Problems::default();
        let supervisor = Supervisor::start("tidegate", Strategy::OneForOne, env.clone()).await?;
        // First of all, since it is read ahead while the rest is put together.
        let persistence = snapshot::open(tidegate, config, &env, &problems).await?;
        let (of_env, of_problems) = (env.clone(), problems.clone());
        let factory = InformerFactory::with_persistence(of_env, supervisor.clone(), of_problems, persistence.clone());
        let token = token::establish(&config.admin, &config.data_dir, &env)?;
        let admin = AdminServer::bind(&config.admin, &config.limits, &env).await?;
        let xds_socket = config.xds.unix_socket.clone().unwrap_or_else(|| config.data_dir.join("xds.sock"));
        let xds = XdsPublisher::new(xds_options(config, &xds_socket, &env)?, problems.clone(), env.clone());
        let xds_server = XdsServer::bind(&xds).await?;

        let catalogue = Types::new(&factory, &tidegate.catalogue, persistence.as_ref());
        let settings = Arc::new(RwLock::new(settings(config)));
        let opening = Opening::default();
        let gate = gate::gate(&factory, &config.gateway.required_types, persistence.as_ref(), &opening);
        let correlation = correlation(&settings, &env, &problems, gate);
        let told = settings.clone();
        let writer = StatusWriter::new(&env, &problems, &factory, move || speaker(&told.read()));
        let told = settings.clone();
        let teller = Teller::new(&env, &problems, &factory, move || told.read().controller.clone());
        let watches = WatchRegistry::new(
            &config.watches,
            config.limits.watches,
            &config.data_dir,
            &env,
            Arc::new(catalogue.clone()),
        );
        let chaos = attacks.map(|attacks| Chaos::new(&attacks, &env, &supervisor)).unwrap_or_default();
        let app = Self {
            chaos,
            admin: admin.address(),
            xds_address: xds_server.tcp_address(),
            xds_socket,
            model: PublishedModel::default(),
            statuses: PublishedStatuses::default(),
            writer,
            teller,
            env,
            problems,
            supervisor,
            factory,
            persistence,
            correlation,
            xds,
            token,
            watches,
            steps: Arc::default(),
            settings,
            correlations: Arc::default(),
            source_children: Mutex::default(),
            envoy_dir: OnceLock::new(),
        };
        app.add(publishers::admin(admin, &app.env, app.admin_state(tidegate, config, hooks, catalogue, &opening)))
            .await?;
        app.add(publishers::xds_server(xds_server, &app.xds)).await?;
        for publisher in publishers::all(tidegate, config, &app) {
            app.add(publisher).await?;
        }
        app.add(app.correlation.spec("gateway").escalate(true)).await?;
        app.add_correlations(tidegate, config).await?;
        if let Some(persistence) = &app.persistence {
            app.add(persistence.spec("snapshot")).await?;
        }
        for source in &config.sources {
            app.add_source(tidegate, config, source).await?;
        }
        opening.assembled.store(true, Ordering::SeqCst);
        app.correlation.check_gate();
        app.factory.start().await?;
        app.watches.restore(&app.problems).await;
        app.add(gate::watcher(&app.factory, &app.correlation)).await?;
        for actor in &tidegate.actors {
            app.add(actor(&app.env)).await?;
        }
        Ok(app)
    }

    /// Adds a child to the root.
    ///
    /// # Errors
    /// When the tree is stopping, or there is a child of that name.
    pub async fn add(&self, spec: ChildSpec) -> anyhow::Result<()> {
        let name = spec.name().to_string();
        self.supervisor.add(spec).await.with_context(|| format!("start `{name}`"))
    }

    /// Runs a local Envoy.
    ///
    /// # Errors
    /// When its bootstrap cannot be made, or the tree is stopping.
    pub async fn add_proxy(&self, config: &Config, envoy: PathBuf) -> anyhow::Result<()> {
        let admin = AdminAddress::Tcp(config.proxy.admin_address);
        let socket = std::path::absolute(&self.xds_socket).context("where is the xDS socket?")?;
        let bootstrap = BootstrapOptions::new("tidegate-local", XdsAddress::Socket(socket), admin.clone());
        let bootstrap = Bootstrap::new(&bootstrap)?.to_json()?;
        let dir = config.data_dir.join("envoy");
        self.envoy_dir.get_or_init(|| dir.clone());
        let mut child = ChildOptions::new(envoy, dir, bootstrap, admin);
        child.concurrency = config.proxy.concurrency;
        child.drain_timeout = *config.proxy.drain_timeout;
        config.proxy.log_level.as_str().clone_into(&mut child.log_level);
        self.add(supervised::child_spec("envoy", child)).await
    }

    /// Kills the local Envoy of this run, for whoever cannot wait until it is drained. Returns its process, if there
    /// was one. An Envoy that an earlier run left, and that this one does not manage, is none of it.
    ///
    /// # Errors
    /// When it lives and cannot be signalled.
    pub fn kill_proxy(&self) -> Result<Option<u32>, ProxyError> {
        self.envoy_dir.get().map_or(Ok(None), |dir| child::kill_noted(dir))
    }

    fn admin_state(
        &self,
        tidegate: &Tidegate,
        config: &Config,
        hooks: &Hooks,
        catalogue: Types,
        opening: &Opening,
    ) -> AdminState {
        let spared = opening.spared.clone();
        let (xds, model, clients, statuses) =
            (self.xds.clone(), self.model.clone(), self.xds.clone(), self.statuses.clone());
        let published = model.clone();
        let (metrics, factory, kept) = (hooks.metrics.clone(), self.factory.clone(), self.persistence.clone());
        AdminState {
            chaos: self.chaos.clone(),
            actors: Arc::new(self.supervisor.clone()),
            catalogue: Arc::new(catalogue),
            problems: self.problems.clone(),
            required_types: config.gateway.required_types.clone(),
            unserved: sources::unserved(&self.factory, &self.correlations, &tidegate.catalogue),
            published: Arc::new(move || {
                // Who waits for us to be ready may ask for the model next.
                let fresh = xds.version() > 0 && published.get().version > 0;
                Published { fresh, snapshot: fresh && spared.load(Ordering::SeqCst) }
            }),
            snapshot: snapshot::shown(self.persistence.as_ref(), config, &self.env),
            model: Arc::new(move || {
                let model = model.get();
                let body = serde_json::to_vec(&*model).unwrap_or_default();
                (model.version > 0).then(|| ModelDocument { version: model.version.to_string(), body: body.into() })
            }),
            statuses: Arc::new(move || statuses.list()),
            proxies: Arc::new(move || serde_json::to_value(clients.clients()).unwrap_or_default()),
            metrics: Arc::new(move || {
                factory.record_metrics();
                kept.iter().for_each(Persistence::record_metrics);
                metrics.as_ref().map(crate::admin::metrics::render).unwrap_or_default()
            }),
            watches: self.watches.clone(),
            log: hooks.log.clone(),
            key: Key::new(&self.token),
        }
    }
}

fn correlation(settings: &Arc<RwLock<Settings>>, env: &Env, problems: &Problems, gate: Gate) -> Correlation<Outputs> {
    let settings = settings.clone();
    Correlation::new("gateway", env, problems, gate, move |graph| correlate::build(graph, &settings.read()))
}
