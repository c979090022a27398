//! How the API server is reached and who we are to it: a kubeconfig, or what a pod is given. Read by kube's loaders.
//!
//! Law: neither a credential nor a line of a file that may hold one gets into an error.

use std::path::{Path, PathBuf};

use kube::Config;
use kube::client::AuthError;
use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use tidegate_actors::env::Disk;
use xxhash_rust::xxh3::Xxh3;

/// The variable that is set in every pod.
const SERVICE_HOST: &str = "KUBERNETES_SERVICE_HOST";

/// Where access is described.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// A kubeconfig. Without one: the pod's service account in a cluster, else `$KUBECONFIG` or `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// The context in it; without one, its current context.
    pub context: Option<String>,
}

/// Why there is no access.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The kubeconfig cannot be used.
    #[error("cannot use {place}: {reason}")]
    Kubeconfig {
        /// Which.
        place: String,
        /// Why not.
        reason: String,
    },
    /// There is no service account to use.
    #[error("cannot use the pod's service account: {0}")]
    InCluster(#[source] InClusterError),
    /// The credentials or certificates make no client.
    #[error("cannot set up a client for the API server: {0}")]
    Client(String),
}

/// What was read, and a sum of it that changes when any of it does.
pub(super) struct Read {
    pub config: Config,
    /// Server, certificates, and whoever we are.
    pub identity: u64,
    /// The token in a file of its own, which is read again without us now and then.
    pub token: u64,
}

impl Access {
    /// Reads everything anew.
    pub(super) async fn read(&self, disk: &dyn Disk) -> Result<Read, AccessError> {
        let in_pod = std::env::var_os(SERVICE_HOST).is_some();
        if in_pod && self.kubeconfig.is_none() && self.context.is_none() {
            return Ok(sum(Config::incluster().map_err(AccessError::InCluster)?, &[], disk));
        }
        let place = self.kubeconfig.as_ref().map_or("the kubeconfig".to_owned(), |path| path.display().to_string());
        let wrong = |error: &KubeconfigError| AccessError::Kubeconfig { place: place.clone(), reason: describe(error) };
        let kubeconfig = match &self.kubeconfig {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        };
        let kubeconfig = kubeconfig.map_err(|error| wrong(&error))?;
        if needs_proxy(&kubeconfig, self.context.as_deref()) {
            let reason = "its `proxy-url` is not supported; reach the API server directly".to_owned();
            return Err(AccessError::Kubeconfig { place, reason });
        }
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| wrong(&error))?;
        let files: Vec<PathBuf> = match &self.kubeconfig {
            Some(path) => vec![path.clone()],
            None => default_files(),
        };
        Ok(sum(config, &files, disk))
    }
}

fn default_files() -> Vec<PathBuf> {
    match std::env::var_os("KUBECONFIG") {
        Some(paths) => std::env::split_paths(&paths).collect(),
        None => std::env::home_dir().map(|home| home.join(".kube/config")).into_iter().collect(),
    }
}

fn needs_proxy(kubeconfig: &Kubeconfig, context: Option<&str>) -> bool {
    let context = context.or(kubeconfig.current_context.as_deref()).unwrap_or_default();
    let context = kubeconfig.contexts.iter().find(|named| named.name == context);
    let Some(cluster) = context.and_then(|named| named.context.as_ref()).map(|context| &context.cluster) else {
        return false;
    };
    let cluster = kubeconfig.clusters.iter().find(|named| named.name == *cluster);
    let proxy = cluster.and_then(|named| named.cluster.as_ref()).and_then(|cluster| cluster.proxy_url.as_deref());
    proxy.is_some_and(|proxy| !proxy.is_empty())
}

fn sum(config: Config, files: &[PathBuf], disk: &dyn Disk) -> Read {
    let mut identity = Xxh3::new();
    identity.update(config.cluster_url.to_string().as_bytes());
    config.root_cert.iter().flatten().for_each(|certificate| identity.update(certificate));
    let named = [&config.auth_info.client_certificate, &config.auth_info.client_key];
    let named = named.into_iter().flatten().map(PathBuf::from);
    for path in files.iter().cloned().chain(named) {
        add(&mut identity, &path, disk);
    }
    let mut token = Xxh3::new();
    if let Some(path) = &config.auth_info.token_file {
        add(&mut token, Path::new(path), disk);
    }
    Read { config, identity: identity.digest(), token: token.digest() }
}

fn add(sum: &mut Xxh3, path: &Path, disk: &dyn Disk) {
    // A file that cannot be read now is as different from its content as another content is.
    if let Ok(content) = disk.read(path) {
        sum.update(&content);
    }
}

/// What is wrong with a kubeconfig, without its lines.
fn describe(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::Parse(_) => "it is not a kubeconfig in valid YAML".to_owned(),
        KubeconfigError::ParseProxyUrl(_) => "its `proxy-url` is no URL".to_owned(),
        KubeconfigError::LoadClientKey(_) => "the client key cannot be loaded".to_owned(),
        other => other.to_string(),
    }
}

/// What is wrong with a client, its credentials not shown; all causes in one line.
pub(super) fn words(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = || std::iter::successors(Some(error), |error| error.source());
    // Those around it repeat what it says, which may be more than should be seen.
    if let Some(error) = chain().find_map(|error| error.downcast_ref::<AuthError>()) {
        return of_auth(error);
    }
    let mut all: Vec<String> = Vec::new();
    for text in chain().map(ToString::to_string) {
        all.retain(|before| !before.ends_with(&text));
        all.push(text);
    }
    all.join(": ")
}

fn of_auth(error: &AuthError) -> String {
    match error {
        // Neither its output nor its arguments and variables.
        AuthError::AuthExecRun { out, .. } => format!("the auth exec command failed with {}", out.status),
        AuthError::AuthExecParse(_) => "the output of the auth exec command cannot be parsed".to_owned(),
        AuthError::InvalidBearerToken(_) => "the token cannot stand in a header".to_owned(),
        AuthError::ReadTokenFile(error, path) => format!("cannot read the token file {}: {error}", path.display()),
        other => other.to_string(),
    }
}
