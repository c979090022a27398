//! The config file: its sections, how it is read and checked, its JSON Schema, and what a change of it means.
//!
//! Laws: a key that nobody knows is refused, with its place and a suggestion; everything wrong is said at
//! once; a config that is wrong is never half used.
//!
//! Invariant: knows nothing of what the sections configure.

mod values;

mod tree;

mod problem;

mod de;

mod registry;

mod admin;

mod source;

mod kubernetes;

mod gateway;

mod proxy;

mod clients;

mod xds;

mod publish;

mod watches;

mod log;

mod limits;

mod snapshot;

mod chaos;

mod overrides;

mod load;

mod schema;

mod changes;

/// The config file changes while we run.
pub mod reload;

pub use admin::Admin;
pub use changes::{Changes, Effect};
pub use chaos::Chaos;
pub use clients::{XdsClient, XdsTls};
pub use gateway::{BackendRange, Gateway};
pub use kubernetes::{Kubernetes, KubernetesType};
pub use limits::Limits;
pub use load::Loader;
pub use log::{Log, LogFormat, check_level};
pub use overrides::PREFIX;
pub use problem::{Check, ConfigErrors, ConfigProblem};
pub use proxy::{Proxy, ProxyLogLevel};
pub use publish::{JsonFile, Publish};
pub use registry::{Registry, Section, SectionType};
pub use snapshot::{Snapshot, SnapshotSecrets};
pub use source::{Directory, SourceConfig, WatchMode};
pub use values::{ByteSize, Period, Switch, Token};
pub(crate) use watches::matches;
pub use watches::{NotAllowed, WatchedScope, WatchedType, Watches};
pub use xds::Xds;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A whole config, checked. Its paths are as they can be opened: relative ones were resolved against the
/// config file's directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Health, metrics and the API.
    pub admin: Admin,
    /// Where objects come from, in the order in which references are resolved and conflicts decided.
    #[serde(deserialize_with = "load::read_before")]
    #[schemars(skip)]
    pub sources: Vec<SourceConfig>,
    /// Which Gateways are ours.
    pub gateway: Gateway,
    /// Sections of registered correlations, by name.
    #[serde(deserialize_with = "load::read_before")]
    #[schemars(skip)]
    pub correlate: BTreeMap<String, Section>,
    /// The local Envoy, and where listeners bind.
    pub proxy: Proxy,
    /// How proxies get their configuration.
    pub xds: Xds,
    /// Where else the model goes.
    pub publish: Publish,
    /// Which further resource types may be and are watched.
    pub watches: Watches,
    /// What is logged, and how.
    pub log: Log,
    /// How much is taken in before somebody is named and refused.
    pub limits: Limits,
    /// What is kept on disk for the next start.
    pub snapshot: Snapshot,
    /// Whether faults may be injected into the running service.
    pub chaos: Chaos,
    /// Where Tidegate keeps what must outlive it: the snapshot, the admin token, run-time watches.
    pub data_dir: PathBuf,
    /// How long an orderly stop may take before the rest is killed.
    pub shutdown_timeout: Period,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            admin: Admin::default(),
            sources: Vec::new(),
            gateway: Gateway::default(),
            correlate: BTreeMap::new(),
            proxy: Proxy::default(),
            xds: Xds::default(),
            publish: Publish::default(),
            watches: Watches::default(),
            log: Log::default(),
            limits: Limits::default(),
            snapshot: Snapshot::default(),
            chaos: Chaos::default(),
            data_dir: PathBuf::from("data"),
            shutdown_timeout: Period::from_secs(10),
        }
    }
}

impl Config {
    /// Reads, overrides and checks a config file with the kinds of sections that this binary brings along.
    /// `env` are environment variables; only those that begin with [`PREFIX`] matter.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(path: &Path, env: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigErrors> {
        Loader::new(Registry::default()).with_env(env).load(path)
    }

    /// The section of a registered publisher, if the config has it and `T` is its type.
    pub fn publisher<T: SectionType>(&self, name: &str) -> Option<&T> {
        self.publish.others.get(name).and_then(Section::get)
    }

    /// The section of a registered correlation, if the config has it and `T` is its type.
    pub fn correlation<T: SectionType>(&self, name: &str) -> Option<&T> {
        self.correlate.get(name).and_then(Section::get)
    }

    fn check(&self, check: &mut Check<'_>) {
        self.admin.check(&mut check.inside("admin"));
        self.gateway.check(&mut check.inside("gateway"));
        self.gateway.check_leases(&self.sources, &mut check.inside("gateway"));
        self.proxy.check(&mut check.inside("proxy"));
        self.xds.check(&mut check.inside("xds"));
        self.publish.check(&mut check.inside("publish"));
        self.watches.check(&mut check.inside("watches"));
        self.log.check(&mut check.inside("log"));
        self.limits.check(&mut check.inside("limits"));
        self.snapshot.check(&mut check.inside("snapshot"));
        self.check_addresses(check);
        check.ensure(!self.data_dir.as_os_str().is_empty(), "data_dir", "must not be empty");
        check.ensure(!self.shutdown_timeout.is_zero(), "shutdown_timeout", "must be longer than zero");
    }

    /// Two servers of ours cannot have one address.
    fn check_addresses(&self, check: &mut Check<'_>) {
        let taken = [
            ("admin.address", self.admin.address),
            ("xds.address", self.xds.address),
            ("proxy.admin_address", self.proxy.admin_address),
        ];
        for (index, (key, address)) in taken.iter().enumerate() {
            let clash = taken[..index].iter().find(|(_, other)| other == address && address.port() != 0);
            if let Some((other, _)) = clash {
                check.problem(key, format!("{address} is the address of `{other}` already; take another port"));
            }
        }
    }

    /// Makes relative paths start from the config file's directory.
    fn resolve(&mut self, base: &Path) {
        self.data_dir = base.join(&self.data_dir);
        let optional =
            [&mut self.admin.token_file, &mut self.xds.unix_socket, &mut self.publish.json.path, &mut self.proxy.path];
        for path in optional.into_iter().chain([&mut self.snapshot.key_file]).flatten() {
            *path = base.join(&*path);
        }
        if let Some(tls) = &mut self.xds.tls {
            for path in [&mut tls.cert_file, &mut tls.key_file, &mut tls.client_ca_file] {
                *path = base.join(&*path);
            }
        }
    }
}
