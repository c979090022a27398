//! The demo as its users have it: a process in a copy of the repository's config, and the commands that it prints.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "each suite uses its part")]
mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use rustix::process::Signal;
use serde_json::{Value, json};

use support::envoy::{Answer, PATIENCE, envoy_binary, eventually, get, loopback, send};
use support::ports::free_ports;
use support::service::{Service, is_alive};
use support::tls::get_insecurely;

/// A copy of `config/` with ports of its own, below a folder of its own.
struct Rig {
    folder: tempfile::TempDir,
    admin: SocketAddr,
    xds: SocketAddr,
    envoy: SocketAddr,
    http: SocketAddr,
    backends: [SocketAddr; 2],
    variables: Vec<(&'static str, String)>,
}

fn mk_rig() -> Rig {
    let folder = tempfile::Builder::new().prefix("demo").tempdir().unwrap();
    let [admin, xds, envoy, http, https, a, b] = free_ports();
    let moved = [(8080, http), (8443, https), (9101, a), (9102, b)];
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("config"), &folder.path().join("config"), &moved);
    let variables = vec![
        ("TIDEGATE__ADMIN__ADDRESS", loopback(admin).to_string()),
        ("TIDEGATE__XDS__ADDRESS", loopback(xds).to_string()),
        ("TIDEGATE__PROXY__ADMIN_ADDRESS", loopback(envoy).to_string()),
        ("TIDEGATE__PROXY__CONCURRENCY", "1".to_owned()),
    ];
    let [admin, xds, envoy, http, a, b] = [admin, xds, envoy, http, a, b].map(loopback);
    Rig { folder, admin, xds, envoy, http, backends: [a, b], variables }
}

/// Copies a folder; in what is copied, ports are others.
fn copy(from: &Path, to: &Path, moved: &[(u16, u16)]) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, place) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &place, moved);
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let moved = moved
            .iter()
            .fold(text, |text, (old, new)| text.replace(&format!("port: {old}\n"), &format!("port: {new}\n")));
        std::fs::write(&place, moved).unwrap();
    }
}

impl Rig {
    fn start(&self, more: Vec<(&'static str, String)>) -> Service {
        let variables = [self.variables.clone(), more].concat();
        let folder = self.folder.path();
        Service::start_with(&["demo"], variables, folder, &folder.join("target/demo"))
    }

    fn routes(&self) -> PathBuf {
        self.folder.path().join("config/demo/routes.yaml")
    }

    /// A command of the same binary, asked of the running one.
    async fn tidegate(&self, arguments: &[&str], token: Option<&str>) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.args(arguments).current_dir(self.folder.path()).env("TIDEGATE_ADMIN", self.admin.to_string());
        command.env_remove("TIDEGATE_TOKEN").envs(token.map(|token| ("TIDEGATE_TOKEN", token)));
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    /// Whether Envoy has a request that it has not answered.
    async fn is_asked(&self) -> Result<(), String> {
        let stats = get(self.envoy, "envoy", "/stats?filter=downstream_rq_active").await?.body;
        let mut lines = stats.lines().filter(|line| !line.contains("admin"));
        if lines.any(|line| !line.ends_with(": 0")) { Ok(()) } else { Err(stats) }
    }

    async fn watch_widgets(&self, token: Option<&str>) -> Answer {
        let body = json!({ "resource": "widgets.example.com/v1", "kind": "Widget" }).to_string();
        let request = Request::post("/api/v1/watches").header("host", self.admin.to_string());
        let request = request.header("content-type", "application/json");
        let request = match token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        };
        send(self.admin, request.body(Full::new(Bytes::from(body))).unwrap()).await.unwrap()
    }
}

/// What the demo has printed, as soon as it has printed all of it.
async fn printed(service: &Service) -> String {
    let attempt = || {
        let (out, err) = (service.out(), service.err());
        std::future::ready(if out.contains("Ctrl-C stops everything.\n") {
            Ok(out)
        } else {
            Err(format!("{out}\n{err}"))
        })
    };
    eventually("the demo says what to try", PATIENCE, attempt).await
}

/// The token in what the demo has printed.
fn token(printed: &str) -> &str {
    let line = printed.lines().find(|line| line.starts_with("Admin token")).unwrap();
    line.rsplit_once(": ").unwrap().1
}

/// Does what a printed curl line does; panics at an option that it does not know. Scheme, status, body.
async fn curl(line: &str) -> (String, u16, String) {
    let mut words = line.split_whitespace().skip_while(|word| *word != "curl").skip(1);
    let (mut insecure, mut resolved, mut url) = (false, None, None);
    while let Some(word) = words.next() {
        match word {
            "-k" => insecure = true,
            "--resolve" => resolved = words.next().map(str::to_owned),
            word if word.starts_with("http") => url = Some(word.parse::<http::Uri>().unwrap()),
            other => panic!("an unknown word {other} in {line}"),
        }
    }
    let url = url.unwrap();
    let authority = url.authority().unwrap();
    let address = match resolved {
        Some(resolved) => {
            let (host, rest) = resolved.split_once(':').unwrap();
            let (port, ip) = rest.split_once(':').unwrap();
            assert_eq!((host, port), (authority.host(), authority.port().unwrap().as_str()), "{line}");
            format!("{ip}:{port}").parse().unwrap()
        }
        None => authority.as_str().parse::<SocketAddr>().unwrap(),
    };
    if url.scheme_str() == Some("https") {
        assert!(insecure, "nobody has signed the demo's certificate: {line}");
        let answer = get_insecurely(address, authority.host(), url.path()).await.unwrap();
        return ("https".to_owned(), answer.status, answer.text);
    }
    let answer = get(address, authority.as_str(), url.path()).await.unwrap();
    ("http".to_owned(), answer.status.as_u16(), answer.body)
}

/// Every sample belongs to a metric whose meaning and kind are told, and to one of ours.
fn check_metrics(text: &str) {
    let told = |what: &str| -> BTreeSet<&str> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(what));
        lines.filter_map(|line| line.split(' ').next()).collect()
    };
    let (helped, typed) = (told("# HELP "), told("# TYPE "));
    assert_eq!(helped, typed);
    assert!(typed.len() > 15 && typed.iter().all(|name| name.starts_with("tidegate_")), "{typed:?}");
    for sample in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let name = sample.split(['{', ' ']).next().unwrap();
        let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
        assert!(typed.contains(name) || of_histogram.is_some_and(|name| typed.contains(name)), "{sample}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn what_the_demo_prints_works_an_edit_is_live_and_ctrl_c_ends_all_in_order() {
    let rig = mk_rig();
    let mut service = rig.start(vec![("TIDEGATE_ENVOY", envoy_binary().display().to_string())]);
    let printed = printed(&service).await;

    let mut seen = Vec::new();
    for line in printed.lines().filter(|line| line.trim_start().starts_with("curl ")) {
        let (scheme, status, body) = curl(line).await;
        assert_eq!(status, 200, "{line}: {body}");
        let backend = if line.ends_with("/b") { "echo-b" } else { "echo-a" };
        assert!(body.contains(&format!("\"backend\":\"{backend}\"")), "{line}: {body}");
        seen.push(scheme);
    }
    assert_eq!(seen, ["http", "http", "https"], "{printed}");
    let ready = get(rig.admin, &rig.admin.to_string(), "/readyz").await.unwrap();
    assert_eq!(ready.status, StatusCode::OK, "{}", ready.body);

    assert!(printed.contains("edit config/demo/routes.yaml"), "{printed}");
    let text = std::fs::read_to_string(rig.routes()).unwrap();
    std::fs::write(rig.routes(), text.replace("value: /b }", "value: /edited }")).unwrap();
    eventually("the edit is live", PATIENCE, || async {
        let answer = get(rig.http, "demo.local", "/edited").await?;
        if answer.backend() == "echo-b" { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
    assert_eq!(get(rig.http, "demo.local", "/b").await.unwrap().backend(), "echo-a");

    let metrics = get(rig.admin, &rig.admin.to_string(), "/metrics").await.unwrap().body;
    check_metrics(&metrics);
    for name in ["tidegate_xds_pushes_total", "tidegate_xds_acks_total", "tidegate_xds_event_to_ack_seconds_count"] {
        let line = metrics.lines().find(|line| line.starts_with(&format!("{name}{{type=\"vhds\"}} ")));
        assert!(line.is_some_and(|line| !line.ends_with(" 0")), "the edit in {name}:\n{metrics}");
    }

    let status = rig.tidegate(&["status", "-o", "json"], None).await;
    let text = String::from_utf8(status.stdout).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!((status.status.code(), &json["readiness"]["degraded"]), (Some(0), &json!(false)), "{text}");
    assert_eq!(json["problems"], json!([]));
    let actors = rig.tidegate(&["actors", "list"], None).await;
    let text = String::from_utf8(actors.stdout).unwrap();
    for actor in ["envoy", "echo-a", "echo-b", "gateway", "xds-server", "scanner-demo"] {
        assert!(text.lines().any(|line| line.contains(actor) && line.contains("running")), "{actor} in\n{text}");
    }
    let restarted = rig.tidegate(&["actors", "restart", "gateway"], Some(token(&printed))).await;
    assert_eq!(restarted.status.code(), Some(0), "{}", String::from_utf8_lossy(&restarted.stderr));

    assert_eq!(rig.watch_widgets(None).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(rig.watch_widgets(Some("not the token at all")).await.status, StatusCode::UNAUTHORIZED);
    let watched = rig.watch_widgets(Some(token(&printed))).await;
    assert_eq!(watched.status, StatusCode::CREATED, "{}", watched.body);

    // What is under way when it is told to stop is answered, and so is whatever comes while Envoy still listens: it
    // goes before what it leads to.
    let envoy = service.envoy_pid().unwrap();
    let slow = tokio::spawn(get(rig.http, "demo.local", "/?sleep=700"));
    eventually("the slow request is under way", PATIENCE, || rig.is_asked()).await;
    service.signal(Signal::INT);
    eventually("it says that it is stopping", PATIENCE, || async {
        let ready = get(rig.admin, &rig.admin.to_string(), "/readyz").await?;
        if ready.status == 503 && ready.body.contains("is stopping") { Ok(()) } else { Err(format!("{ready:?}")) }
    })
    .await;
    while let Ok(answer) = get(rig.http, "demo.local", "/").await {
        assert_eq!((answer.status, answer.backend()), (StatusCode::OK, "echo-a"), "while it stops");
    }
    let slow = slow.await.unwrap().unwrap();
    assert_eq!((slow.status, slow.backend()), (StatusCode::OK, "echo-a"));
    let ended = service.ended(PATIENCE).await;
    assert_eq!(ended.code(), Some(0), "{ended}: {}", service.err());
    assert!(!is_alive(envoy), "Envoy is left behind");
    for address in [rig.http, rig.admin, rig.xds, rig.backends[0], rig.backends[1]] {
        assert!(tokio::net::TcpStream::connect(address).await.is_err(), "somebody still listens on {address}");
    }
    let log = service.err();
    assert!(!log.contains("ERROR") && !log.contains("panicked"), "{log}");
    assert!(!log.contains(token(&printed)) && !service.out().contains("PRIVATE KEY"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn while_another_holds_envoys_admin_address_the_demo_says_so_and_a_second_signal_leaves_nothing_behind() {
    let rig = mk_rig();
    // With `SO_REUSEPORT`, as Envoy listens: a second one would share it and be asked in turn.
    let other = tokio::net::TcpSocket::new_v4().unwrap();
    other.set_reuseport(true).unwrap();
    other.bind(rig.envoy).unwrap();
    let other = other.listen(16).unwrap();
    let mut service = rig.start(vec![("TIDEGATE_ENVOY", envoy_binary().display().to_string())]);

    eventually("the demo says why it takes long", PATIENCE, || {
        let out = service.out();
        let named = out.contains(&rig.envoy.to_string()) && out.contains("set proxy.admin_address");
        std::future::ready(if named { Ok(()) } else { Err(out) })
    })
    .await;
    assert_eq!(service.envoy_pid(), None, "none is started beside it");
    drop(other);
    printed(&service).await;

    // A request that does not end keeps Envoy draining.
    let envoy = service.envoy_pid().unwrap();
    let slow = tokio::spawn(get(rig.http, "demo.local", "/?sleep=20000"));
    eventually("the slow request is under way", PATIENCE, || rig.is_asked()).await;
    service.signal(Signal::INT);
    eventually("it is stopping", PATIENCE, || async {
        let ready = get(rig.admin, &rig.admin.to_string(), "/readyz").await?;
        if ready.body.contains("is stopping") { Ok(()) } else { Err(format!("{ready:?}")) }
    })
    .await;
    // Signals that come closer together than a quarter of a second are one.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    service.signal(Signal::INT);
    let ended = service.ended(PATIENCE).await;

    assert_eq!(ended.code(), Some(3), "{ended}: {}", service.err());
    eventually("Envoy is gone", PATIENCE, || std::future::ready(if is_alive(envoy) { Err(envoy) } else { Ok(()) }))
        .await;
    assert!(slow.await.unwrap().is_err());
    for address in [rig.http, rig.admin, rig.xds, rig.envoy] {
        assert!(tokio::net::TcpStream::connect(address).await.is_err(), "somebody still listens on {address}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_no_envoy_to_be_had_the_demo_says_so_in_one_line_and_serves_xds() {
    let rig = mk_rig();
    let cache = rig.folder.path().join("cache").display().to_string();
    let nothing = [("TIDEGATE_ENVOY", String::new()), ("PATH", String::new()), ("TIDEGATE_CACHE", cache)];
    let mut service = rig.start(nothing.to_vec());
    let printed = printed(&service).await;

    let said: Vec<String> = service.err().lines().filter(|line| line.contains("no Envoy")).map(str::to_owned).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("python3") && said[0].contains("--envoy PATH"), "{}", said[0]);
    assert!(printed.contains(&format!("xDS is served on {}", rig.xds)) && !printed.contains("curl"), "{printed}");
    tokio::net::TcpStream::connect(rig.xds).await.unwrap();
    let ready = get(rig.admin, &rig.admin.to_string(), "/readyz").await.unwrap();
    assert_eq!(ready.status, StatusCode::OK, "{}", ready.body);
    let status = rig.tidegate(&["status"], None).await;
    assert_eq!(status.status.code(), Some(0), "{}", String::from_utf8_lossy(&status.stdout));

    service.signal(Signal::INT);
    assert_eq!(service.ended(PATIENCE).await.code(), Some(0), "{}", service.err());
}
