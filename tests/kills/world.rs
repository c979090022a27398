//! Routes in a directory and in a cluster, changed by chance; and what a client has to see once nothing changes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_actors::env::{Rng as _, SeededRng};
use tokio::sync::Mutex;

use crate::support::api::Api;
use crate::support::envoy::{get, loopback};
use crate::support::manifests::{
    mk_class, mk_gateway, mk_http_listener, mk_https_listener, mk_route_for, mk_secret, mk_service,
};
use crate::support::tls::{Authority, Certificate};

/// So many routes in each source; the first of each is never deleted, and has the traffic.
const ROUTES: u64 = 6;

/// Where the directory is while it is away.
const AWAY: &str = "away";

/// What should be live: the version of each route, by its path; `None`: it was deleted.
type Wanted = BTreeMap<String, Option<u64>>;

/// See the module.
pub struct World {
    pub namespace: String,
    folder: PathBuf,
    pub http: SocketAddr,
    pub https: SocketAddr,
    backends: [SocketAddr; 2],
    pub authority: Arc<Authority>,
    api: Api,
    state: Mutex<State>,
}

struct State {
    dice: SeededRng,
    version: u64,
    wanted: Wanted,
    certificate: Certificate,
    changes: u64,
    is_away: bool,
}

impl World {
    /// With all of its routes, below a folder and in a namespace of the cluster.
    pub async fn new(
        namespace: &str,
        folder: &Path,
        ports: [u16; 2],
        backends: [SocketAddr; 2],
        pod: SocketAddr,
        api: Api,
        dice: SeededRng,
    ) -> Self {
        let authority = Arc::new(Authority::new());
        let certificate = authority.issue(&["a.test"]);
        let [http, https] = ports.map(loopback);
        let (version, wanted, changes) = (0, Wanted::new(), 0);
        let state = Mutex::new(State { dice, version, wanted, certificate, changes, is_away: false });
        let (namespace, folder) = (namespace.to_owned(), folder.to_owned());
        let world = Self { namespace, folder, http, https, backends, authority, api, state };
        std::fs::create_dir(world.folder.join("manifests")).unwrap();
        let mut state = world.state.lock().await;
        let listeners = [
            mk_http_listener("http", http.port(), ""),
            mk_https_listener("https", https.port(), "a.test", &["certificate"]),
        ];
        world.write(&state, "gateway.yaml", &[mk_class(), mk_gateway("public", &listeners.concat())].join("\n---\n"));
        world.write(&state, "service.yaml", &mk_service("files-pool", &backends[..1]));
        world.write_certificate(&state);
        world.api.create_namespace(&world.namespace).await;
        world.create_pool(pod).await;
        for n in 0..ROUTES {
            world.put_file(&mut state, n);
            world.put_object(&mut state, n).await;
        }
        drop(state);
        world
    }

    /// Changes something.
    pub async fn change(&self) {
        let mut state = self.state.lock().await;
        let (what, n) = (state.dice.below(12), state.dice.below(ROUTES));
        match what {
            0..4 => self.put_file(&mut state, n),
            4..8 => self.put_object(&mut state, n).await,
            8 if n > 0 => {
                if state.wanted.insert(format!("/files-{n}"), None).flatten().is_some() {
                    std::fs::remove_file(self.manifests(&state).join(format!("route-{n}.yaml"))).unwrap();
                }
            }
            9 if n > 0 => {
                state.wanted.insert(format!("/cluster-{n}"), None);
                self.api.must("DELETE", &self.path_of(n), &Value::Null).await;
            }
            10 => {
                state.certificate = self.authority.issue(&["a.test"]);
                self.write_certificate(&state);
            }
            _ => {
                let which = state.dice.below(2) as usize;
                self.write(&state, "service.yaml", &mk_service("files-pool", &self.backends[which..=which]));
            }
        }
        state.changes += 1;
    }

    /// So many changes, with pauses of up to so many milliseconds.
    pub async fn changes(&self, count: u64, pause: u64) {
        for _ in 0..count {
            self.change().await;
            let pause = self.below(pause + 1).await;
            tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
        }
    }

    /// A number below another, by chance.
    pub async fn below(&self, limit: u64) -> u64 {
        self.state.lock().await.dice.below(limit)
    }

    /// How many changes there were.
    pub async fn changed(&self) -> u64 {
        self.state.lock().await.changes
    }

    /// Takes the directory away, or brings it back. What changes meanwhile changes where it is.
    pub async fn take_away(&self, away: bool) {
        let mut state = self.state.lock().await;
        if state.is_away != away {
            let from = self.manifests(&state);
            state.is_away = away;
            std::fs::rename(from, self.manifests(&state)).unwrap();
        }
    }

    /// Whether all that was changed is live; what is not, if it is not.
    pub async fn look(&self) -> Result<(), String> {
        let state = self.state.lock().await;
        for (path, version) in &state.wanted {
            let answer = get(self.http, "a.test", path).await?;
            let seen = (answer.status.as_u16(), answer.header("x-version").to_owned());
            let wanted = version.map_or((404, String::new()), |version| (200, format!("v{version}")));
            if seen != wanted {
                return Err(format!("{path} answers {seen:?} instead of {wanted:?}"));
            }
        }
        if self.authority.get(self.https, "a.test", "/files-0").await?.certificate != state.certificate.der {
            return Err("the certificate is an earlier one".to_owned());
        }
        Ok(())
    }

    fn manifests(&self, state: &State) -> PathBuf {
        self.folder.join(if state.is_away { AWAY } else { "manifests" })
    }

    /// Writes a file, of which a reader sees the old text or the new one.
    fn write(&self, state: &State, file: &str, text: &str) {
        let (path, fresh) = (self.manifests(state).join(file), self.folder.join("fresh"));
        std::fs::write(&fresh, self.here(text)).unwrap();
        std::fs::rename(&fresh, &path).unwrap();
    }

    /// A manifest moved to our namespace.
    fn here(&self, text: &str) -> String {
        text.replace("namespace: apps", &format!("namespace: {}", self.namespace))
    }

    fn write_certificate(&self, state: &State) {
        let Certificate { pem, key, .. } = &state.certificate;
        self.write(state, "secret.yaml", &mk_secret("certificate", pem, key));
    }

    fn put_file(&self, state: &mut State, n: u64) {
        let version = state.next(&format!("/files-{n}"));
        let rules = format!(
            "
            - matches: [{{ path: {{ type: PathPrefix, value: /files-{n} }} }}]
              filters:
                - type: ResponseHeaderModifier
                  responseHeaderModifier: {{ set: [{{ name: x-version, value: v{version} }}] }}
              backendRefs: [{{ name: files-pool, port: 80 }}]"
        );
        self.write(state, &format!("route-{n}.yaml"), &mk_route_for(&format!("files-{n}"), &[], &rules));
    }

    fn path_of(&self, n: u64) -> String {
        format!("{}/cluster-{n}", self.routes())
    }

    fn routes(&self) -> String {
        format!("/apis/gateway.networking.k8s.io/v1/namespaces/{}/httproutes", self.namespace)
    }

    async fn put_object(&self, state: &mut State, n: u64) {
        let path = format!("/cluster-{n}");
        let is_there = state.wanted.get(&path).copied().flatten().is_some();
        let version = state.next(&path);
        let set = json!([{ "name": "x-version", "value": format!("v{version}") }]);
        let rule = json!({
            "matches": [{ "path": { "type": "PathPrefix", "value": path } }],
            "filters": [{ "type": "ResponseHeaderModifier", "responseHeaderModifier": { "set": set } }],
            "backendRefs": [{ "name": "pool", "port": 80 }],
        });
        let spec = json!({ "parentRefs": [{ "name": "public" }], "rules": [rule] });
        if is_there {
            self.api.must("PATCH", &self.path_of(n), &json!({ "spec": spec })).await;
        } else {
            let object = json!({
                "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
                "metadata": { "name": format!("cluster-{n}") }, "spec": spec,
            });
            self.api.must("POST", &self.routes(), &object).await;
        }
    }

    /// The Service of the cluster's routes, with one endpoint.
    async fn create_pool(&self, pod: SocketAddr) {
        let namespace = &self.namespace;
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "pool" },
            "spec": { "ports": [{ "name": "http", "port": 80 }] },
        });
        self.api.must("POST", &format!("/api/v1/namespaces/{namespace}/services"), &service).await;
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": { "name": "pool-1", "labels": { "kubernetes.io/service-name": "pool" } },
            "addressType": "IPv4", "ports": [{ "name": "http", "port": pod.port(), "protocol": "TCP" }],
            "endpoints": [{ "addresses": [pod.ip().to_string()], "conditions": { "ready": true } }],
        });
        let slices = format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices");
        self.api.must("POST", &slices, &slice).await;
    }
}

impl State {
    /// The next version of what is at a path.
    fn next(&mut self, path: &str) -> u64 {
        self.version += 1;
        self.wanted.insert(path.to_owned(), Some(self.version));
        self.version
    }
}
