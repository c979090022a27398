//! Secrets show nowhere: in no answer of the admin server, in no metric, in no file that we write, in no log line.
//! A suite of its own, since what a process logs and counts is the whole process's.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/xds_client.rs"]
#[allow(dead_code)]
mod client;
#[path = "support/app_rig.rs"]
mod rig;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tidegate::app::{App, Hooks};
use tidegate::builder::Tidegate;
use tidegate::config::Period;
use tidegate::publish::xds::Kind;
use tidegate_actors::env::Env;

use rig::*;

/// Everything that is logged, at the most talkative level.
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

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock()).into_owned()
    }
}

/// A part of a secret, in each spelling that a careless line could show it in.
struct Needles(Vec<String>);

impl Needles {
    /// Of base64 as manifests have it: itself, what it stands for, and that as a list of bytes.
    fn of(encoded: &str) -> Self {
        let decoded = STANDARD.decode(encoded).unwrap();
        let mut needles: Vec<String> = pieces(encoded);
        for line in String::from_utf8(decoded.clone()).unwrap().lines().filter(|line| !line.starts_with("-----")) {
            needles.extend(pieces(line));
        }
        let bytes: Vec<String> = decoded.iter().map(ToString::to_string).collect();
        needles.extend(bytes.chunks_exact(16).map(|chunk| chunk.join(", ")));
        Self(needles)
    }

    fn check(&self, place: &str, text: &str) {
        for needle in &self.0 {
            assert!(!text.contains(needle), "{place} shows {needle}: {}", around(text, needle));
        }
    }
}

fn pieces(text: &str) -> Vec<String> {
    text.as_bytes().chunks_exact(24).map(|piece| String::from_utf8(piece.to_vec()).unwrap()).collect()
}

fn around<'a>(text: &'a str, needle: &str) -> &'a str {
    text.lines().find(|line| line.contains(needle)).unwrap_or_default()
}

/// The value of a key of the demo's certificate.
fn value_of(key: &str) -> String {
    let (_, text) = tidegate::demo::MANIFESTS.iter().find(|(name, _)| *name == "certificate.yaml").unwrap();
    let line = text.lines().find_map(|line| line.trim().strip_prefix(&format!("{key}: "))).unwrap();
    line.to_owned()
}

/// Every answer that the admin server gives to a GET, by path.
async fn answers(app: &App) -> Vec<(String, String)> {
    let mut paths: Vec<String> = ["/livez", "/readyz", "/metrics"].map(str::to_owned).to_vec();
    let api = [
        "actors",
        "resources",
        "config",
        "problems",
        "status",
        "proxies",
        "snapshot",
        "watches",
        "log",
        "chaos",
        "nowhere",
    ];
    paths.extend(api.map(|name| format!("/api/v1/{name}")));
    let types = http::get(app.admin, "/api/v1/resources").await.json();
    let names = types["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned());
    paths.extend(names.map(|name| format!("/api/v1/resources/{name}")));
    let tree = http::get(app.admin, "/api/v1/actors").await.json();
    let children = tree["children"].as_array().unwrap().iter();
    paths.extend(children.map(|child| format!("/api/v1/actors/{}", child["path"].as_str().unwrap())));
    assert!(paths.contains(&"/api/v1/resources/secrets".to_owned()), "{paths:?}");
    let mut answers = Vec::new();
    for path in paths {
        let answer = http::get(app.admin, &path).await;
        let status = match &*path {
            "/api/v1/nowhere" => 404,
            // It is not switched on.
            "/api/v1/chaos" => 403,
            _ => 200,
        };
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        answers.push((path, format!("{}\n{}", answer.head, answer.body)));
    }
    answers
}

async fn nothing_shows(app: &App, folder: &Path, logged: &Logged, needles: &[Needles]) {
    let mut places = answers(app).await;
    places.push(("the JSON file".to_owned(), std::fs::read_to_string(folder.join("model.json")).unwrap()));
    places.push(("the problems".to_owned(), format!("{:?}", app.problems.list())));
    places.push(("the model".to_owned(), format!("{:?}", app.model.get())));
    places.push(("the log".to_owned(), logged.text()));
    for (place, text) in &places {
        needles.iter().for_each(|needles| needles.check(place, text));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_show_in_no_answer_no_metric_no_file_and_no_log_line() {
    let logged = Logged::start();
    let metrics = tidegate::admin::metrics::install().unwrap();
    let folder = tempfile::tempdir().unwrap();
    copy_demo(folder.path());
    let mut config = mk_config(folder.path());
    config.publish.json.path = Some(folder.path().join("model.json"));
    config.publish.json.interval = Period::from_millis(1);
    let hooks = Hooks { metrics: Some(metrics), ..Hooks::default() };
    let app = App::start(&Tidegate::builder(), &config, &hooks, Env::system()).await.unwrap();
    app.xds.ready().await;
    wait_until("the certificate is in the model", || !app.model.get().secrets.is_empty()).await;
    wait_until("the file is there", || folder.path().join("model.json").exists()).await;

    // A proxy gets it, and so it passes through every stage.
    let mut proxy = client::DeltaClient::start(app.xds_address.unwrap(), client::mk_node("n", None)).await;
    let name = app.model.get().secrets.keys().next().unwrap().to_string();
    proxy.subscribe(Kind::Secret, &[&name]).await;
    let sent = proxy.next().await;
    let key = STANDARD.decode(value_of("tls.key")).unwrap();
    let resource = sent.resources[0].resource.as_ref().unwrap();
    assert!(resource.value.windows(key.len()).any(|window| window == key), "the proxy did not get the key");

    let mut needles = vec![Needles::of(&value_of("tls.crt")), Needles::of(&value_of("tls.key"))];
    assert!(needles.iter().all(|needles| needles.0.len() > 20));
    nothing_shows(&app, folder.path(), &logged, &needles).await;
    assert!(logged.text().contains("TRACE"), "traces were captured");

    // A key that is none, and then a file that is not even YAML: what is said of them quotes nothing either.
    let manifest = folder.path().join("manifests/certificate.yaml");
    let good = std::fs::read_to_string(&manifest).unwrap();
    let broken = STANDARD.encode("-----BEGIN PRIVATE KEY-----\nbm90IGEga2V5LCBidXQgc2VjcmV0IGVub3VnaCB0byBiZSBoaWRkZW4=\n-----END PRIVATE KEY-----\n");
    needles.push(Needles::of(&broken));
    replace(&manifest, &good.replace(&value_of("tls.key"), &broken));
    let told = |word: &str| app.problems.list().iter().any(|(_, problem)| problem.to_string().contains(word));
    wait_until("the broken key is reported", || told("tls.key")).await;
    wait_until("the last good certificate stays", || app.model.get().secrets.len() == 1).await;
    nothing_shows(&app, folder.path(), &logged, &needles).await;
    replace(&manifest, &good);
    wait_until("the key is mended", || app.problems.list().is_empty()).await;

    let key = value_of("tls.key");
    let (field, kind) = (format!("tls.key: {key}"), "type: kubernetes.io/tls".to_owned());
    let mistakes = [
        (&field, format!("tls.key: [unclosed, {key}")),
        (&field, format!("tls.key: {{a: b, {key}")),
        (&field, format!("tls.key: \"{key}")),
        (&field, format!("tls.key: &anchor *{key}")),
        (&field, format!("tls.key: [{key}]")),
        (&field, format!("{field}\n  {field}")),
        (&kind, format!("type: [{key}]")),
        (&kind, format!("type: kubernetes.io/tls\nstringData: {key}")),
    ];
    for (right, wrong) in mistakes {
        replace(&manifest, &good.replace(right, &wrong));
        wait_until(&wrong, || told("certificate.yaml")).await;
        nothing_shows(&app, folder.path(), &logged, &needles).await;
        replace(&manifest, &good);
        wait_until("it is mended", || app.problems.list().is_empty()).await;
    }

    // Nor does a watch of our own choice lead there.
    let body: Value = json!({ "resource": "secrets/v1", "kind": "Secret" });
    let refused = http::send(app.admin, "POST", "/api/v1/watches", Some(app.token.reveal()), Some(body)).await;
    assert!((400..500).contains(&refused.status), "{}", refused.body);
    let logged = logged.text();
    assert!(!logged.contains(app.token.reveal()), "the log shows the admin token");
    app.supervisor.shutdown(Duration::from_secs(5)).await;
}
