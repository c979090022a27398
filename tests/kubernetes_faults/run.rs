//! A plan carried out in a namespace of its own, by a source with a network, a service account and a token of its own.
//! At the end nothing is wrong any more, and what is held has to be what the server has.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tidegate::source::kubernetes::TypeOptions;

use crate::api::{Api, PATIENCE};
use crate::history::{Time, Told, lives};
use crate::plan::{Action, FIELDS, KINDS, Kind, LABELS, Plan, Step, labels};
use crate::proxy::Proxy;
use crate::watched::{Watched, mk_options, mk_patience};

/// What may do what a plan's source does.
pub const ROLE: &str = "plan-watcher";

/// The cluster that plans share.
pub struct World {
    pub api: Api,
    pub server: SocketAddr,
    pub authority: PathBuf,
    /// Steps that were done, of all plans together.
    pub done: Arc<AtomicUsize>,
}

/// What a plan came to.
#[derive(Debug, Default)]
pub struct Outcome {
    pub operations: usize,
    pub faults: usize,
    pub objects: usize,
    pub events: usize,
    pub tombstones: usize,
    pub lists: u64,
    pub retries: u64,
    pub relists: u64,
    pub denials: u64,
}

struct Run<'a> {
    api: Api,
    world: &'a World,
    namespace: String,
    proxy: Proxy,
    folder: tempfile::TempDir,
    tokens: u32,
    /// The uids that each object's name has had.
    lives: BTreeMap<(String, String), Vec<String>>,
}

/// Carries out a plan; the error is why it failed.
pub async fn run(world: &World, plan: &Plan) -> Result<Outcome, String> {
    let mut run = Run {
        api: world.api.fresh(),
        world,
        namespace: format!("plan-{}", plan.seed),
        proxy: Proxy::start(world.server).await,
        folder: tempfile::tempdir().unwrap(),
        tokens: 0,
        lives: BTreeMap::new(),
    };
    run.set_up().await;
    let watched = run.watch(plan).await;
    let mut outcome = Ok(0);
    for (at, step) in plan.steps.iter().enumerate() {
        if *step == Step::Check {
            outcome = run.check(&watched, at).await;
        } else {
            run.perform(step).await;
        }
        if outcome.is_err() {
            // What waits for the others to get on does not wait for this one.
            world.done.fetch_add(plan.steps.len() - at, Ordering::SeqCst);
            break;
        }
        world.done.fetch_add(1, Ordering::SeqCst);
    }
    if outcome.is_ok() {
        outcome = run.check(&watched, plan.steps.len()).await;
    }
    let outcome = outcome.and_then(|objects| run.judge(&watched, plan, objects));
    watched.stop().await;
    outcome
}

impl Run<'_> {
    fn path(&self, rest: &str) -> String {
        format!("/api/v1/namespaces/{}/{rest}", self.namespace)
    }

    async fn set_up(&mut self) {
        self.api.create_namespace(&self.namespace).await;
        self.api.must("POST", &self.path("serviceaccounts"), &json!({"metadata": {"name": "watcher"}})).await;
        self.perform(&Step::Permit(true)).await;
        self.renew_token().await;
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: it\n\
             contexts: [{{ name: it, context: {{ cluster: it, user: it }} }}]\n\
             clusters: [{{ name: it, cluster: {{ server: 'https://{}', certificate-authority: '{}' }} }}]\n\
             users: [{{ name: it, user: {{ tokenFile: '{}' }} }}]\n",
            self.proxy.address,
            self.world.authority.display(),
            self.file("token").display(),
        );
        std::fs::write(self.file("kubeconfig"), text).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn watch(&self, plan: &Plan) -> Watched {
        let mut options = mk_options(&self.namespace, &self.file("kubeconfig"));
        options.namespaces = vec![self.namespace.as_str().into()];
        options.streaming_lists = plan.streaming;
        options.page_size = plan.page_size;
        options.watch_timeout = plan.watch_timeout;
        let labels = TypeOptions { labels: Some(LABELS.to_owned()), ..TypeOptions::default() };
        let fields = TypeOptions { fields: Some(FIELDS.to_owned()), ..TypeOptions::default() };
        options.types = [("configmaps".to_owned(), labels), ("secrets".to_owned(), fields)].into();
        Watched::start(options, &mk_patience(), &KINDS.map(Kind::resource_type)).await
    }

    /// A token is valid for as long as the object is there to which it is bound.
    async fn renew_token(&mut self) {
        self.tokens += 1;
        let holder = json!({"metadata": {"name": format!("token-{}", self.tokens)}, "type": "example.com/token"});
        let holder = self.api.must("POST", &self.path("secrets"), &holder).await;
        let bound = json!({
            "kind": "Secret", "apiVersion": "v1", "name": format!("token-{}", self.tokens),
            "uid": holder["metadata"]["uid"],
        });
        let request = json!({"spec": {"boundObjectRef": bound, "expirationSeconds": 3600}});
        let token = self.api.must("POST", &self.path("serviceaccounts/watcher/token"), &request).await;
        replace_file(&self.file("token"), token["status"]["token"].as_str().unwrap_or_default());
        if self.tokens > 1 {
            let old = self.path(&format!("secrets/token-{}", self.tokens - 1));
            self.api.must("DELETE", &old, &Value::Null).await;
        }
    }

    async fn perform(&mut self, step: &Step) {
        match *step {
            Step::Do { kind, name, action, value } => self.operate(kind, &format!("o{name}"), action, value).await,
            Step::Network(network) => self.proxy.set(network),
            Step::Cut => self.proxy.cut(),
            Step::CutAfter(bytes) => self.proxy.cut_after(bytes),
            Step::Lose => self.proxy.lose(),
            Step::Token => self.renew_token().await,
            Step::Pause(pause) => tokio::time::sleep(pause).await,
            // Whoever has the source does it.
            Step::Check => {}
            Step::Permit(permitted) => {
                let bindings = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings", self.namespace);
                if permitted {
                    let group = "rbac.authorization.k8s.io";
                    let subject = json!({"kind": "ServiceAccount", "name": "watcher", "namespace": self.namespace});
                    let role = json!({"apiGroup": group, "kind": "ClusterRole", "name": ROLE});
                    let binding = json!({"metadata": {"name": "watcher"}, "roleRef": role, "subjects": [subject]});
                    self.api.must("POST", &bindings, &binding).await;
                } else {
                    self.api.must("DELETE", &format!("{bindings}/watcher"), &Value::Null).await;
                }
            }
        }
    }

    async fn operate(&mut self, kind: Kind, name: &str, action: Action, value: u64) {
        let all = kind.path(&self.namespace);
        let one = format!("{all}/{name}");
        let release = json!({"metadata": {"finalizers": null}});
        match action {
            Action::Create { watched, finalizer } => {
                self.create(kind, name, kind.object(name, value, watched, finalizer)).await;
            }
            Action::Update => _ = self.api.send("PATCH", &one, &kind.content(value)).await,
            Action::Select(watched) => {
                _ = self.api.send("PATCH", &one, &json!({"metadata": {"labels": labels(watched)}})).await;
            }
            Action::Status => _ = self.api.send("PATCH", &format!("{one}/status"), &kind.status(value)).await,
            Action::Delete => _ = self.api.must("DELETE", &one, &Value::Null).await,
            Action::Release => _ = self.api.send("PATCH", &one, &release).await,
            Action::Recreate { watched } => {
                self.api.send("PATCH", &one, &release).await;
                self.api.must("DELETE", &one, &Value::Null).await;
                self.create(kind, name, kind.object(name, value, watched, false)).await;
            }
        }
    }

    async fn create(&mut self, kind: Kind, name: &str, object: Value) {
        let all = kind.path(&self.namespace);
        let (status, mut made) = self.api.send("POST", &all, &object).await;
        if status == 409 {
            // Perhaps it is ours, and its answer was lost.
            (_, made) = self.api.send("GET", &format!("{all}/{name}"), &Value::Null).await;
        }
        let Some(uid) = made["metadata"]["uid"].as_str() else { return };
        let lives = self.lives.entry((kind.resource_type().plural().to_owned(), name.to_owned())).or_default();
        if lives.last().is_none_or(|last| last != uid) {
            lives.push(uid.to_owned());
        }
    }

    /// Mends everything, and waits until what is held is what the server has; how much that is.
    async fn check(&mut self, watched: &Watched, at: usize) -> Result<usize, String> {
        self.proxy.heal();
        self.perform(&Step::Permit(true)).await;
        let mut objects = 0;
        for (kind, of) in KINDS.into_iter().zip(&watched.types) {
            // The streams have to live, and not only what they told once to be true.
            let sign = format!("step-{at}");
            self.create(kind, &sign, kind.object(&sign, at as u64, true, false)).await;
            let items = self.api.list(&kind.watched_path(&self.namespace)).await;
            let equal = of.until_equal(items, PATIENCE, Time::Forward).await;
            objects += equal.map_err(|reason| format!("at step {at}: {reason}"))?;
        }
        Ok(objects)
    }

    /// Whether what was told on the way can have happened.
    fn judge(&self, watched: &Watched, plan: &Plan, objects: usize) -> Result<Outcome, String> {
        let (operations, faults) = (plan.operations(), plan.faults());
        let mut outcome = Outcome { operations, faults, objects, ..Outcome::default() };
        for (kind, of) in KINDS.into_iter().zip(&watched.types) {
            let told = of.observer.told();
            outcome.events += told.len();
            outcome.tombstones += told.iter().filter(|(_, told)| matches!(told, Told::Delete(_, true))).count();
            self.judge_lives(kind, &lives(&told))?;
        }
        outcome.lists = watched.count(|counts| &counts.lists);
        outcome.retries = watched.count(|counts| &counts.retries);
        outcome.relists = watched.count(|counts| &counts.relists);
        outcome.denials = watched.count(|counts| &counts.denials);
        let absences = watched.count(|counts| &counts.absences);
        if absences > 0 {
            Err(format!("{absences} times a type was not there, and it always was"))
        } else {
            Ok(outcome)
        }
    }

    /// Objects that had a name one after the other were seen in that order, and no other ones.
    fn judge_lives(&self, kind: Kind, seen: &BTreeMap<String, Vec<String>>) -> Result<(), String> {
        if self.api.is_unsure() {
            // What was sent twice may have been done twice.
            return Ok(());
        }
        for ((_, name), lives) in self.lives.iter().filter(|((of, _), _)| *of == kind.resource_type().plural()) {
            let seen = seen.get(&format!("{}/{name}", self.namespace)).map(Vec::as_slice).unwrap_or_default();
            let places: Vec<_> = seen.iter().map(|uid| lives.iter().position(|life| life == uid)).collect();
            if places.contains(&None) || !places.is_sorted() {
                return Err(format!("{kind:?} {name} was {lives:?}, and seen as {seen:?}"));
            }
        }
        Ok(())
    }
}

/// Nobody ever reads half of it.
pub fn replace_file(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(&beside, path).unwrap();
}

/// What every plan needs: its role, and a kind of ours.
pub async fn furnish(api: &Api) {
    let rules = json!([
        {"apiGroups": [""], "resources": ["configmaps", "secrets"], "verbs": ["list", "watch"]},
        {"apiGroups": ["gateway.networking.k8s.io"], "resources": ["httproutes"], "verbs": ["list", "watch"]},
        {"apiGroups": ["example.com"], "resources": ["widgets"], "verbs": ["list", "watch"]},
    ]);
    let role = json!({"metadata": {"name": ROLE}, "rules": rules});
    api.must("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", &role).await;
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let version = json!({
        "name": "v1", "served": true, "storage": true, "schema": schema, "subresources": {"status": {}},
    });
    let names = json!({"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"});
    let definition = json!({
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]},
    });
    api.must("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition).await;
    let path = Kind::Widgets.path("default");
    let served = async {
        while api.send("GET", &path, &Value::Null).await.0 != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, served).await.expect("the definition is not established");
}
