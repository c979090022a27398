//! An API server in this process, with the objects that the informers' benchmarks watch. Whoever watches it is in a
//! process of its own.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_apiserver::{ApiServer, Options};

use crate::corpus::Kind;
use crate::peers::{STAMP, wall};

/// See the module.
pub struct Served {
    /// The server.
    pub server: ApiServer,
    folder: TempDir,
}

impl Served {
    /// A server with TLS and HTTP/2, as clusters have, and nothing in it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn start() -> Self {
        let options = Options { tls: true, ..Options::default() };
        let server = ApiServer::start(options).await.unwrap_or_else(|error| panic!("{error}"));
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("a folder: {error}"));
        let served = Self { server, folder };
        let path = served.kubeconfig();
        std::fs::write(&path, served.server.kubeconfig()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        served
    }

    /// Where its kubeconfig is.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Defines a type of namespaced objects.
    ///
    /// # Panics
    /// When the server refuses it.
    pub fn define(&self, group: &str, version: &str, kind: &str, plural: &str) {
        self.put(&json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.{group}")},
            "spec": {
                "group": group,
                "scope": "Namespaced",
                "names": {"kind": kind, "plural": plural},
                "versions": [{"name": version, "served": true, "storage": true}],
            },
        }));
    }

    /// Makes so many objects of the corpus, of some kinds in turn.
    ///
    /// # Panics
    /// When the server refuses one.
    pub fn fill(&self, kinds: &[Kind], objects: usize) {
        for n in 0..objects {
            let put = self.server.put_raw(kinds[n % kinds.len()].json(n).as_bytes());
            put.unwrap_or_else(|error| panic!("{error}"));
        }
    }

    /// Creates or replaces an object.
    ///
    /// # Panics
    /// When the server refuses it.
    pub fn put(&self, object: &Value) {
        self.server.put(object).unwrap_or_else(|error| panic!("{error}: {object}"));
    }

    /// Writes so many of those objects once more, each with the time, in bursts of `burst` at a steady pace of one burst
    /// each `pace`.
    ///
    /// # Panics
    /// When one is not there.
    pub fn update(&self, kinds: &[Kind], updates: usize, burst: usize, pace: Duration) {
        let begun = Instant::now();
        for n in 0..updates {
            if n.is_multiple_of(burst) {
                let at = begun + pace * u32::try_from(n / burst).unwrap_or(u32::MAX);
                std::thread::sleep(at.saturating_duration_since(Instant::now()));
            }
            let (_, _, plural) = kinds[n % kinds.len()].api();
            let (namespace, name) = (format!("team-{}", n % 50), format!("object-{n}"));
            let written = self.server.annotate(plural, &namespace, &name, STAMP, &wall().as_nanos().to_string());
            written.unwrap_or_else(|error| panic!("{error}"));
        }
    }
}
