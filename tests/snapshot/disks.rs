//! Real disks in trouble, and files that were harmed while nobody looked.

use std::path::{Path, PathBuf};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::killed::Killed;
use super::rig::{http, replace, wait_until};
use super::*;

/// A write beyond the limit is an error to whoever ignores the signal that comes with it. As on a full disk, what still
/// fits in is written: the end of the file is torn.
const IGNORE: &str = "trap '' XFSZ";

/// Less than the file of the routes has, and more than anything else.
const LIMIT: u64 = 8 << 10;

/// Limits, or no longer limits, how long a file of a process may be.
fn limit(killed: &Killed, bytes: Option<u64>) {
    let pid = Pid::from_raw(killed.service.pid().cast_signed());
    prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
}

/// Says something else of the first route, which is a large one.
fn change(killed: &Killed, manifests: &str, host: &str) {
    let path = killed.folder.path().join(manifests).join("large.yaml");
    let filler = "x".repeat(3 * usize::try_from(LIMIT).unwrap());
    let text = format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
         metadata: {{name: large, namespace: demo, annotations: {{filler: {filler}}}}}\n\
         spec: {{parentRefs: [{{name: demo}}], hostnames: [{host}]}}\n"
    );
    replace(&path, &text);
}

async fn until(killed: &Killed, what: &str, holds: impl Fn(&Value) -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        let said = http::get(killed.admin, "/api/v1/snapshot").await.json();
        if holds(&said) {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "not within 30 s: {what}: {said:#}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn until_served(killed: &Killed, host: &str) {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while !killed.model().await.to_string().contains(host) {
        assert!(std::time::Instant::now() < deadline, "{host} is not served");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn problems(said: &Value) -> String {
    said["problems"].to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_takes_no_more_is_named_caught_up_with_and_leaves_the_next_start_what_was_safe() {
    let mut killed = Killed::start_after(IGNORE).await;
    change(&killed, "manifests", "first.test");
    until_served(&killed, "first.test").await;
    let is_kept = |said: &Value| said["problems"] == serde_json::json!([]) && said["behind_seconds"].is_null();
    let is_large = |said: &Value| said["bytes"].as_u64() > Some(2 * LIMIT);
    until(&killed, "the first state is on disk", |said| is_kept(said) && is_large(said)).await;

    // It goes on serving what is new, and says what is wrong.
    limit(&killed, Some(LIMIT));
    change(&killed, "manifests", "second.test");
    until_served(&killed, "second.test").await;
    let is_named = |said: &Value| problems(said).contains("httproutes") && problems(said).contains("File too large");
    until(&killed, "the trouble is named", |said| is_named(said) && !said["behind_seconds"].is_null()).await;
    let ready = http::get(killed.admin, "/readyz").await;
    assert_eq!((ready.status, &ready.json()["degraded"]), (200, &Value::Bool(true)), "{}", ready.body);

    // Killed now, it begins with what was safe, however its end was torn.
    killed.service.kill();
    let (manifests, away) = (killed.folder.path().join("manifests"), killed.folder.path().join("away"));
    std::fs::rename(&manifests, &away).unwrap();
    killed.service.start_again();
    killed.service.until_ready(killed.admin).await;
    let served = killed.model().await.to_string();
    assert!(served.contains("first.test") && !served.contains("second.test"), "{served}");
    std::fs::rename(&away, &manifests).unwrap();
    until_served(&killed, "second.test").await;
    until(&killed, "it is up to date", is_kept).await;

    // Without another start it catches up as soon as it can.
    limit(&killed, Some(LIMIT));
    change(&killed, "manifests", "third.test");
    until(&killed, "the trouble is named", is_named).await;
    limit(&killed, None);
    until(&killed, "it has caught up", is_kept).await;
    killed.service.kill();
    std::fs::rename(&manifests, &away).unwrap();
    killed.service.start_again();
    killed.service.until_ready(killed.admin).await;
    let served = killed.model().await.to_string();
    assert!(served.contains("third.test"), "{served}");
}

/// The file of a kind.
fn file(folder: &Path, kind: &str) -> PathBuf {
    let files = std::fs::read_dir(folder.join("data/snapshot")).unwrap().map(|entry| entry.unwrap().path());
    let is_it = |path: &PathBuf| path.display().to_string().contains(kind) && path.extension().unwrap() == "snap";
    files.filter(is_it).collect::<Vec<_>>().pop().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_file_is_named_set_aside_and_nothing_partial_is_served() {
    let mut killed = Killed::start().await;
    killed.until_kept().await;
    let before = killed.model().await;
    killed.service.kill();
    let path = file(killed.folder.path(), "httproutes");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let (manifests, away) = (killed.folder.path().join("manifests"), killed.folder.path().join("away"));
    std::fs::rename(&manifests, &away).unwrap();

    killed.service.start_again();
    let aside = format!("{}.corrupt-1", path.file_name().unwrap().to_str().unwrap());
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    let answer = loop {
        // It says that it is not ready, once it says anything.
        if let Ok(stream) = std::net::TcpStream::connect(killed.admin) {
            drop(stream);
            let answer = http::get(killed.admin, "/readyz").await;
            if answer.json()["missing"].to_string().contains("httproutes") {
                break answer;
            }
        }
        assert!(std::time::Instant::now() < deadline, "{}", killed.service.err());
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert_eq!(http::get(killed.admin, "/api/v1/config").await.status, 503, "nothing is served");
    let named = |said: &Value| problems(said).contains("corrupt at byte") && problems(said).contains(&aside);
    until(&killed, "the file is named", named).await;
    assert_eq!(std::fs::read(path.with_file_name(&aside)).unwrap(), bytes, "for whoever wants to look at it");

    std::fs::rename(&away, &manifests).unwrap();
    killed.service.until_ready(killed.admin).await;
    assert_eq!(killed.model().await, before);
    let is_told =
        |said: &Value| said["problems"] == serde_json::json!([]) && said["set_aside"].to_string().contains(&aside);
    until(&killed, "there is a good one again, and the other is not forgotten", is_told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_can_be_kept_it_runs_without_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let config = mk_config(folder.path());
    super::rig::copy_demo(folder.path());
    std::fs::create_dir_all(&config.data_dir).unwrap();
    std::fs::write(config.data_dir.join("snapshot"), "in the way").unwrap();
    let app = start(&config).await;
    published(&app).await;
    let is_named = |(scope, problem): &(String, tidegate_actors::problem::Problem)| {
        scope == "snapshot" && problem.reason.contains("nothing is kept for the next start")
    };
    wait_until("it is named", || app.problems.list().iter().any(is_named)).await;
    let said = http::get(app.admin, "/api/v1/snapshot").await.json();
    assert_eq!(said["enabled"], false, "{said}");
    assert!(said["reason"].to_string().contains("cannot be used"), "{said}");
    app.supervisor.shutdown(Duration::from_secs(5)).await;
}
