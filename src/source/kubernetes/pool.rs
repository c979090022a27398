//! Clients for one cluster: watches share HTTP/2 connections, so many to each; lists and writes have their own.
//! Whoever asks gets a client with the current credentials; what was begun with older ones goes on to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use kube::Client;
use kube::client::ConfigExt as _;
use kube::client::middleware::AuthLayer;
use parking_lot::Mutex;
use tidegate_actors::env::Env;
use tidegate_actors::id::Name;
use tokio::time::Instant;
use tower::{BoxError, ServiceBuilder};

use super::access::{Access, AccessError, Read, words};
use super::lane::{Connector, Lane, Road};
use super::options::Options;

/// How many watches share a connection at the most. API servers take 100 requests at a time on one by default, and what
/// is above waits without an answer; one that takes fewer than these gets no more than it takes.
pub(super) const WATCHES_PER_CONNECTION: usize = 80;

/// The shortest time between two looks at the credentials that failures ask for.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Pool {
    name: Name,
    access: Access,
    connect_timeout: Duration,
    ping: (Duration, Duration),
    env: Env,
    current: tokio::sync::Mutex<Current>,
}

#[derive(Default)]
struct Current {
    generation: Option<Arc<Generation>>,
    count: u64,
    looked: Option<Instant>,
}

/// The clients that were made of one state of the credentials.
pub(super) struct Generation {
    /// Differs between any two.
    pub number: u64,
    pub lists: Client,
    pub writes: Client,
    /// Only with a [`Place`] in the request.
    pub watches: Client,
    identity: u64,
    token: u64,
    /// The credentials come from a program, whose next answer may be another.
    dynamic: bool,
    name: Name,
    road: Arc<Road>,
    shared: Mutex<Vec<Shared>>,
}

/// A lane and how many watches are on it.
struct Shared {
    lane: Lane,
    watches: Arc<AtomicUsize>,
    gauge: metrics::Gauge,
}

/// A watch's place on a connection.
pub(super) struct Place {
    pub lane: Lane,
    watches: Arc<AtomicUsize>,
    gauge: metrics::Gauge,
    left: bool,
}

impl Place {
    /// Gives it up if there are more on the connection than that takes, so that whoever stays fits.
    fn leaves(&mut self) -> bool {
        let capacity = capacity(&self.lane);
        let fewer = |watches: usize| (watches > capacity).then(|| watches - 1);
        self.left = self.watches.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer).is_ok();
        self.left
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.left {
            self.watches.fetch_sub(1, Ordering::SeqCst);
        }
        self.gauge.decrement(1.0);
    }
}

/// How many watches a lane takes.
fn capacity(lane: &Lane) -> usize {
    lane.streams().min(WATCHES_PER_CONNECTION)
}

impl Pool {
    pub fn new(options: &Options, env: Env) -> Self {
        let (name, access) = (options.name.clone(), options.access.clone());
        let (connect_timeout, ping) = (options.connect_timeout, (options.ping_interval, options.ping_timeout));
        Self { name, access, connect_timeout, ping, env, current: tokio::sync::Mutex::default() }
    }

    /// The clients with the credentials that were read last.
    pub async fn current(&self) -> Result<Arc<Generation>, AccessError> {
        let mut current = self.current.lock().await;
        if let Some(generation) = &current.generation {
            return Ok(generation.clone());
        }
        let read = self.access.read(&*self.env.disk).await?;
        self.replace(&mut current, read).await
    }

    /// Reads the credentials again; if they changed, requests from now on use the new ones. An error leaves the old
    /// ones in use.
    pub async fn look(&self) -> Result<(), AccessError> {
        let mut current = self.current.lock().await;
        self.look_with(&mut current, |old, read| old.identity != read.identity).await
    }

    /// The same because a request failed for want of a connection: not more often than makes sense.
    pub async fn look_after_failure(&self) {
        let mut current = self.current.lock().await;
        if self.looked_lately(&current) {
            return;
        }
        let looked = self.look_with(&mut current, |old, read| old.identity != read.identity).await;
        self.report(looked);
    }

    /// The same because the server refused those of a generation: whatever could be different is made anew.
    pub async fn refused(&self, number: u64) {
        let mut current = self.current.lock().await;
        let newer = current.generation.as_ref().is_some_and(|generation| generation.number != number);
        if newer || self.looked_lately(&current) {
            return;
        }
        let changed =
            |old: &Generation, read: &Read| old.dynamic || old.identity != read.identity || old.token != read.token;
        let looked = self.look_with(&mut current, changed).await;
        self.report(looked);
    }

    fn report(&self, looked: Result<(), AccessError>) {
        if let Err(error) = looked {
            tracing::warn!(source = %self.name, %error, "the credentials cannot be read again");
        }
    }

    fn looked_lately(&self, current: &Current) -> bool {
        let now = self.env.clock.now();
        current.looked.is_some_and(|looked| now.saturating_duration_since(looked) < LOOK_INTERVAL)
    }

    async fn look_with(
        &self,
        current: &mut Current,
        changed: impl Fn(&Generation, &Read) -> bool,
    ) -> Result<(), AccessError> {
        current.looked = Some(self.env.clock.now());
        let read = self.access.read(&*self.env.disk).await?;
        if current.generation.as_ref().is_some_and(|old| !changed(old, &read)) {
            return Ok(());
        }
        if current.generation.is_some() {
            tracing::info!(source = %self.name, "the credentials changed; new requests use the new ones");
        }
        self.replace(current, read).await.map(drop)
    }

    async fn replace(&self, current: &mut Current, read: Read) -> Result<Arc<Generation>, AccessError> {
        current.count += 1;
        let (number, name) = (current.count, self.name.clone());
        let (env, connect_timeout, ping) = (self.env.clone(), self.connect_timeout, self.ping);
        // A program that makes credentials is waited for while the client is made.
        let runtime = tokio::runtime::Handle::current();
        let make = move || {
            let _runtime = runtime.enter();
            let road = |connector, server| Road {
                connector,
                server,
                connect_timeout,
                ping,
                env,
                streams: AtomicUsize::new(usize::MAX),
            };
            Generation::new(number, &name, read, connect_timeout, road)
        };
        let made = tokio::task::spawn_blocking(make).await;
        let generation = Arc::new(made.map_err(|error| AccessError::Client(error.to_string()))??);
        current.generation = Some(generation.clone());
        Ok(generation)
    }
}

impl Generation {
    fn new(
        number: u64,
        name: &Name,
        read: Read,
        connect_timeout: Duration,
        road: impl FnOnce(Connector, http::Uri) -> Road,
    ) -> Result<Self, AccessError> {
        let Read { mut config, identity, token } = read;
        let wrong = |error: kube::Error| AccessError::Client(words(&error));
        let agent = http::HeaderValue::from_static(concat!("tidegate/", env!("CARGO_PKG_VERSION")));
        config.headers.push((http::header::USER_AGENT, agent));
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_keepalive(Some(Duration::from_secs(15)));
        http.set_connect_timeout(Some(connect_timeout));
        let builder = HttpsConnectorBuilder::new().with_tls_config(config.rustls_client_config().map_err(wrong)?);
        let mut builder = builder.https_or_http();
        if let Some(server_name) = &config.tls_server_name {
            let server_name = server_name.clone().try_into();
            let server_name =
                server_name.map_err(|_| AccessError::Client("`tls-server-name` is no host name".to_owned()))?;
            builder = builder.with_server_name_resolver(FixedServerNameResolver::new(server_name));
        }
        let connector = builder.enable_http1().enable_http2().wrap_connector(http);
        let road = Arc::new(road(connector, config.cluster_url.clone()));
        let auth = config.auth_layer().map_err(wrong)?;
        let client = |kind: &'static str| client(&config, auth.as_ref(), Lane::new(road.clone(), gauge(name, kind)));
        let (lists, writes, watches) =
            (client("list").map_err(wrong)?, client("write").map_err(wrong)?, client("watch").map_err(wrong)?);
        let dynamic = config.auth_info.exec.is_some() || config.auth_info.auth_provider.is_some();
        let (name, shared) = (name.clone(), Mutex::default());
        Ok(Self { number, lists, writes, watches, identity, token, dynamic, name, road, shared })
    }

    /// A place for one more watch, on a connection that takes it.
    pub async fn place(&self) -> Result<Place, BoxError> {
        loop {
            let mut place = self.seat();
            place.lane.ready().await?;
            if !place.leaves() {
                return Ok(place);
            }
        }
    }

    /// A place on the first lane that has one, as far as is known of lanes without a connection yet.
    fn seat(&self) -> Place {
        let mut lanes = self.shared.lock();
        let free = lanes.iter().position(|shared| shared.watches.load(Ordering::SeqCst) < capacity(&shared.lane));
        let at = free.unwrap_or_else(|| {
            let labels = [("source", self.name.to_string()), ("connection", lanes.len().to_string())];
            lanes.push(Shared {
                lane: Lane::new(self.road.clone(), gauge(&self.name, "watch")),
                watches: Arc::default(),
                gauge: metrics::gauge!("tidegate_kubernetes_watches", &labels),
            });
            lanes.len() - 1
        });
        let Shared { lane, watches, gauge } = &lanes[at];
        watches.fetch_add(1, Ordering::SeqCst);
        gauge.increment(1.0);
        Place { lane: lane.clone(), watches: watches.clone(), gauge: gauge.clone(), left: false }
    }
}

fn gauge(name: &Name, kind: &'static str) -> metrics::Gauge {
    metrics::gauge!("tidegate_kubernetes_connections", "source" => name.to_string(), "use" => kind)
}

/// kube's layers around a lane; without its retries, which would hide for minutes that a server is overloaded.
fn client(config: &kube::Config, auth: Option<&AuthLayer>, lane: Lane) -> Result<Client, kube::Error> {
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(auth)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(lane);
    Ok(Client::new(service, config.default_namespace.clone()))
}
