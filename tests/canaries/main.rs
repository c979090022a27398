//! A hundred secrets go through a whole Tidegate that is logged at its most talkative and given every reason to complain;
//! then each is looked for wherever Tidegate says anything. A suite of its own, since what a process logs is the whole
//! process's.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/xds_caller.rs"]
mod caller;
mod needles;
#[path = "../support/pki.rs"]
mod pki;
#[path = "../support/app_rig.rs"]
mod rig;
mod world;

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use envoy_types::pb::google::rpc;
use parking_lot::Mutex;
use tidegate::admin::routes;
use tidegate::app::{App, Hooks, Target, check, translate};
use tidegate::builder::Tidegate;
use tidegate::config::Config;
use tidegate::publish::xds::{Kind, METHODS};
use tidegate_actors::env::Env;
use tidegate_apiserver::{ApiServer, Options};

use caller::{Call, connect, mk_node};
use needles::Canaries;
use pki::{Authority, expired, mk_client, self_signed};
use rig::{http, mk_loader, replace, wait_until};
use world::*;

/// Everything that is logged.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Logged {
    fn start() -> Self {
        let logged = Self::default();
        let writer = logged.clone();
        let lines = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false);
        lines.with_writer(move || writer.clone()).init();
        logged
    }
}

/// The text of a config, with whatever further sources.
fn mk_config(token: &str, more: &str) -> String {
    format!(
        "admin: {{address: '127.0.0.1:0', token: {token}}}
xds:
  address: 127.0.0.1:0
  tls: {{cert_file: tls.crt, key_file: tls.key, client_ca_file: ca.crt}}
  clients: [{{identity: proxy.example, gateways: ['*']}}]
gateway: {{allow_backends: [loopback]}}
publish: {{json: {{path: model.json, interval: 1ms}}}}
data_dir: data
snapshot: {{secrets: encrypt, key_file: snapshot.key}}
sources:
- {{name: files, kind: directory, path: manifests}}
- {{name: cluster, kind: kubernetes, kubeconfig: cluster.kubeconfig, events: {{rate: 1000, burst: 1000}}}}
{more}"
    )
}

/// Every answer of every route that the admin server has.
async fn answers(app: &App) -> Vec<(String, String)> {
    let types = http::get(app.admin, "/api/v1/resources").await.json();
    let types: Vec<String> =
        types["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect();
    let tree = http::get(app.admin, "/api/v1/actors").await.json();
    let actors: Vec<String> =
        tree["children"].as_array().unwrap().iter().map(|child| child["path"].as_str().unwrap().to_owned()).collect();
    assert!(types.contains(&"secrets".to_owned()) && !actors.is_empty());
    let mut all = Vec::new();
    for (method, route) in routes() {
        let filled: Vec<String> = match route {
            _ if route.contains("{type}") => types.iter().map(|name| route.replace("{type}", name)).collect(),
            _ if route.contains("{*path}") => actors.iter().map(|path| route.replace("{*path}", path)).collect(),
            _ => vec![route.replace("{name}", "secrets").replace("{version}", "v1")],
        };
        for path in filled {
            // What changes something is asked without the token, and with a bad body by whoever has it.
            let tokens: &[Option<&str>] =
                if method == "GET" { &[None] } else { &[None, Some("wrong"), Some(app.token.reveal())] };
            for token in tokens {
                let answer = http::send(app.admin, method.as_str(), &path, *token, None).await;
                all.push((format!("{method} {path}"), format!("{}\n{}", answer.head, answer.body)));
            }
        }
    }
    all
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else if let Ok(content) = std::fs::read(&path) {
            all.push((path.display().to_string(), content));
        }
    }
    all
}

/// Looks for every secret in every place that Tidegate says anything in.
async fn nothing_shows(
    app: &App,
    config: &Config,
    folder: &Path,
    api: &ApiServer,
    logged: &Logged,
    canaries: &Canaries,
) {
    let mut places: Vec<(String, Vec<u8>)> = Vec::new();
    let mut place = |name: &str, text: String| places.push((name.to_owned(), text.into_bytes()));
    let model = app.model.get();
    place("the model", format!("{model:?}"));
    place("the model as JSON", serde_json::to_string(&*model).unwrap());
    let problems = app.problems.list();
    place("the problems", format!("{problems:?}"));
    place("the problems as told", problems.iter().map(|(_, problem)| format!("{problem}\n")).collect());
    place("the statuses", format!("{:?}", app.statuses.list()));
    place("the proxies", format!("{:?} {}", app.xds.clients(), serde_json::to_string(&app.xds.clients()).unwrap()));
    place("what proxies are sent, as text", format!("{:?}", app.xds.text().unwrap()));
    place("what proxies are sent but certificates", format!("{:?}", app.xds.resources()));
    place("the rejections", format!("{:?}", app.xds.rejections().all()));
    place("the actors", format!("{:?}", app.supervisor.tree()));
    place("the config", format!("{config:?} {}", serde_json::to_string(config).unwrap()));
    place("the token", format!("{:?}", app.token));
    for resource in ["events.events.k8s.io", "gateways.gateway.networking.k8s.io"] {
        for (name, object) in api.list_raw(resource).unwrap() {
            places.push((format!("{resource} {name}"), object.to_vec()));
        }
    }
    places.extend(answers(app).await.into_iter().map(|(path, text)| (path, text.into_bytes())));
    places.push(("the JSON file".to_owned(), std::fs::read(folder.join("model.json")).unwrap()));
    places.extend(files(&folder.join("data")));
    places.push(("the log".to_owned(), logged.0.lock().clone()));
    for (place, text) in &places {
        let shown = canaries.shown_by(text);
        assert!(shown.is_empty(), "{place} shows {}: {:#?}", shown.len(), &shown[..shown.len().min(3)]);
    }
}

/// A proxy that has been sent everything says what it got, in whatever way.
async fn reject_with_an_echo(call: &mut Call, kind: Kind, quotes: &[fn(&[u8]) -> String], rounds: usize) {
    for round in 0..rounds {
        let Ok(Ok((_, nonce, resources))) = tokio::time::timeout(Duration::from_secs(2), call.next()).await else {
            return;
        };
        let Call::Delta(requests, _) = &*call else { panic!("a delta stream") };
        let content: Vec<u8> = resources.iter().flat_map(|any| any.value.clone()).collect();
        let message = format!("rejected: {}", quotes[round % quotes.len()](&content));
        let error = rpc::Status { code: 13, message, details: Vec::new() };
        let request = DeltaDiscoveryRequest {
            type_url: kind.type_url().to_owned(),
            response_nonce: nonce,
            error_detail: Some(error),
            ..DeltaDiscoveryRequest::default()
        };
        requests.send(request).await.unwrap();
    }
}

const QUOTES: [fn(&[u8]) -> String; 5] = [
    |content| String::from_utf8_lossy(content).into_owned(),
    |content| format!("{:?}", String::from_utf8_lossy(content)),
    |content| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, content),
    |content| content.iter().map(|byte| format!("{byte:02x}")).collect(),
    |content| String::from_utf8_lossy(content).lines().filter(|line| !line.contains("-----")).collect(),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_secrets_show_nowhere_but_where_they_belong() {
    let logged = Logged::start();
    let metrics = tidegate::admin::metrics::install().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (folder, mut canaries) = (folder.path(), Canaries::default());
    std::fs::create_dir(folder.join("manifests")).unwrap();
    let api = ApiServer::start(Options::default()).await.unwrap();
    let (own, clients) = (Authority::new(), Authority::new());
    write_tls(folder, &own, &clients, &mut canaries);
    write_kubeconfigs(folder, &api, &mut canaries);
    write_snapshot_key(folder, &mut canaries);
    let (in_files, mut used) = mk_source("files", 8443, &mut canaries);
    let (in_cluster, others) = mk_source("cluster", 9443, &mut canaries);
    used.extend(others);
    write(&folder.join("manifests"), &in_files);
    put(&api, &in_cluster);
    let token = mk_text("admin-token");
    canaries.add("the admin token", &token);
    for n in canaries.len()..100 {
        let (name, text) = (format!("late-{n}"), mk_text("late"));
        canaries.add(&name, &text);
        let manifest = format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{a: {text}}}\n");
        std::fs::write(folder.join(format!("manifests/{name}.yaml")), manifest).unwrap();
    }
    assert!(canaries.len() >= 100, "{}", canaries.len());

    let file = folder.join("tidegate.yaml");
    replace(&file, &mk_config(&token, ""));
    let loader = mk_loader();
    let config = Arc::new(loader.load(&file).unwrap());
    let hooks = Hooks { metrics: Some(metrics), ..Hooks::default() };
    let tidegate = Tidegate::builder();
    let app = App::start(&tidegate, &config, &hooks, Env::system()).await.unwrap();
    let script = async {
        wait_until("the certificates are in the model", || app.model.get().secrets.len() == 2 * CERTIFICATES).await;
        wait_until("the file is there", || folder.join("model.json").exists()).await;

        // A proxy is sent every key: what looks for secrets finds them there, and so would anywhere else.
        let tls = own.client(Some(&clients.issue(&mk_client("proxy.example"))));
        let mut call =
            Call::open(connect(app.xds_address.unwrap(), Some(tls.clone())).await.unwrap(), METHODS[0]).await.unwrap();
        let names: Vec<String> = app.model.get().secrets.keys().map(ToString::to_string).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        call.ask(Some(mk_node(None)), Kind::Secret, &names).await;
        let (version, nonce, resources) = call.next().await.unwrap();
        let sent: Vec<u8> = resources.iter().flat_map(|any| any.value.clone()).collect();
        let good: HashSet<String> = used.iter().filter(|name| name.contains("-tls-")).cloned().collect();
        assert_eq!(good.len(), 2 * CERTIFICATES);
        assert_eq!(canaries.names_in(&sent), good, "the proxy has every key, and nothing else");
        call.accept(Kind::Secret, &version, &nonce).await;
        nothing_shows(&app, &config, folder, &api, &logged, &canaries).await;

        // It rejects what it gets, and says why at length.
        let mut angry =
            Call::open(connect(app.xds_address.unwrap(), Some(tls)).await.unwrap(), METHODS[0]).await.unwrap();
        angry.ask(Some(mk_node(None)), Kind::Secret, &names).await;
        reject_with_an_echo(&mut angry, Kind::Secret, &QUOTES, 30).await;
        wait_until("it is told", || !app.xds.rejections().all().is_empty()).await;
        // Others come as nobody who is known.
        for bad in [self_signed(&mk_client("proxy.example")), clients.issue(&expired(mk_client("proxy.example")))] {
            let refused = connect(app.xds_address.unwrap(), Some(own.client(Some(&bad)))).await;
            if let Ok(channel) = refused {
                assert!(Call::open(channel, METHODS[0]).await.is_err());
            }
        }
        nothing_shows(&app, &config, folder, &api, &logged, &canaries).await;

        // Manifests and objects that are wrong in every way, right beside a secret.
        let text = mk_text("mistaken");
        let mut mistakes = Canaries::default();
        mistakes.add("a mistake", &text);
        let meta = "apiVersion: v1\nkind: Secret\nmetadata: {name: wrong, namespace: apps}\n";
        let manifest = folder.join("manifests/wrong.yaml");
        for wrong in [
            format!("{meta}type: kubernetes.io/tls\ndata: {{tls.crt: {text}, tls.key: {text}}}\n"),
            format!("{meta}data: [{text}]\n"),
            format!("{meta}data: {{a: [{text}\n"),
            format!("{meta}data: {{a: \"{text}\n"),
            format!("{meta}type: [{text}]\n"),
            format!("{meta}type: kubernetes.io/tls\nstringData: {text}\n"),
            format!("{meta}stringData: {{a: &x {text}, b: *y}}\n"),
            format!("{meta}stringData:\n  a: {text}\n  a: {text}\n"),
            format!("{meta}metadata: {{name: again}}\nstringData: {{{text}: {text}: {text}}}\n"),
        ] {
            replace(&manifest, &wrong);
            wait_until(&wrong, || app.problems.list().iter().any(|(_, of)| of.to_string().contains("wrong.yaml")))
                .await;
            for (_, problem) in app.problems.list() {
                let shown = mistakes.shown_by(format!("{problem} {problem:?}").as_bytes());
                assert!(shown.is_empty(), "{wrong}: {shown:?}");
            }
            std::fs::remove_file(&manifest).unwrap();
            wait_until("it is gone", || {
                !app.problems.list().iter().any(|(_, of)| of.to_string().contains("wrong.yaml"))
            })
            .await;
        }
        nothing_shows(&app, &config, folder, &api, &logged, &mistakes).await;

        // Clusters whose credentials do not work, one after the other, and a config that does not parse.
        for name in ["west", "keyed", "odd", "broken"] {
            let more = format!("- {{name: {name}, kind: kubernetes, kubeconfig: {name}.kubeconfig}}\n");
            replace(&file, &mk_config(&token, &more));
            let complains = format!("{name} complains");
            let of_it = |text: &str| text.contains(&format!("{name}:")) || text.contains(&format!("/{name}"));
            wait_until(&complains, || {
                let said = app.problems.list().iter().any(|(scope, problem)| of_it(&format!("{scope} {problem}")));
                said || memchr_in(&logged, &format!("{name}.kubeconfig"))
            })
            .await;
        }
        replace(&file, &mk_config(&format!("[{token}, *{token}"), ""));
        wait_until("the config is refused", || memchr_in(&logged, "config refused")).await;
        replace(&file, &mk_config(&format!("{{a: {token}}}"), ""));
        tokio::time::sleep(Duration::from_millis(100)).await;
        nothing_shows(&app, &config, folder, &api, &logged, &canaries).await;

        // Offline it is the same.
        let manifests = folder.join("manifests");
        for target in [Target::Model, Target::Xds] {
            let translated = translate(&tidegate, &manifests, target, &[]).unwrap();
            let said = format!("{} {:?}", translated.output, translated.problems);
            assert!(canaries.shown_by(said.as_bytes()).is_empty(), "{:?}", canaries.shown_by(said.as_bytes()));
        }
        let said = format!("{:?}", check(&tidegate, &manifests, &[]).unwrap());
        assert!(canaries.shown_by(said.as_bytes()).is_empty(), "{:?}", canaries.shown_by(said.as_bytes()));
    };
    tokio::select! {
        followed = app.follow(&tidegate, &config, &file, &loader, &hooks) => panic!("following ended: {followed:?}"),
        () = script => {}
    }
    assert!(memchr_in(&logged, "TRACE"), "traces were captured");
    app.supervisor.shutdown(Duration::from_secs(5)).await;
    let shown = canaries.shown_by(&logged.0.lock());
    assert!(shown.is_empty(), "{shown:#?}");
    let kept = files(&folder.join("data"));
    assert!(kept.iter().any(|(path, content)| path.contains("snapshot") && !content.is_empty()), "nothing is kept");
    for (path, content) in kept {
        let shown = canaries.shown_by(&content);
        assert!(shown.is_empty(), "{path}: {shown:#?}");
    }

    // Nor do errors of a start that fails.
    let Err(error) = start_with(folder, &token, "cert_file: tls.key").await else { panic!("it starts") };
    assert!(canaries.shown_by(format!("{error:#} {error:?}").as_bytes()).is_empty(), "{error:?}");
}

/// A start with another certificate than it should have.
async fn start_with(folder: &Path, token: &str, wrong: &str) -> anyhow::Result<App> {
    let file = folder.join("other.yaml");
    replace(&file, &mk_config(token, "").replace("cert_file: tls.crt", wrong));
    let config = mk_loader().load(&file)?;
    App::start(&Tidegate::builder(), &config, &Hooks::default(), Env::system()).await
}

fn memchr_in(logged: &Logged, text: &str) -> bool {
    memchr::memmem::find(&logged.0.lock(), text.as_bytes()).is_some()
}
