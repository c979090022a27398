//! The model as a JSON file, read by somebody else while it changes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tidegate::app::{App, Hooks};
use tidegate::builder::Tidegate;
use tidegate::config::Period;
use tidegate_actors::env::Env;

use crate::rig::*;

/// A route whose two hosts always change together.
fn mk_route(version: usize) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: pair, namespace: demo}}\n\
         spec: {{parentRefs: [{{name: demo}}], hostnames: [a.v{version}.local, b.v{version}.local], \
         rules: [{{backendRefs: [{{name: echo-a, port: 80}}]}}]}}\n"
    )
}

/// The version of the pair's hosts, which must all be of one; their number, in a whole file, never changes.
fn version_of(model: &Value) -> Option<usize> {
    let domains = model["virtual_hosts"].as_array().unwrap().iter().map(|host| host["id"]["domain"].as_str().unwrap());
    let pair: Vec<&str> = domains.filter(|domain| domain.contains(".v")).collect();
    let versions: BTreeSet<&str> = pair.iter().filter_map(|domain| domain.split('.').nth(1)).collect();
    assert!(versions.len() <= 1, "a mixture of versions: {pair:?}");
    // Two listeners, each with both hosts.
    assert!(pair.is_empty() || pair.len() == 4, "{pair:?}");
    versions.first().map(|version| version[1..].parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_the_file_sees_one_whole_version_while_it_changes_fifty_times() {
    let folder = tempfile::tempdir().unwrap();
    copy_demo(folder.path());
    let route = folder.path().join("manifests/pair.yaml");
    std::fs::write(&route, mk_route(0)).unwrap();
    let file = folder.path().join("model.json");
    let mut config = mk_config(folder.path());
    config.publish.json.path = Some(file.clone());
    config.publish.json.interval = Period::from_millis(1);
    let app = App::start(&Tidegate::builder(), &config, &Hooks::default(), Env::system()).await.unwrap();
    wait_until("the file is there", || file.exists()).await;

    let done = Arc::new(AtomicBool::new(false));
    let (stop, read) = (done.clone(), file.clone());
    let reader = std::thread::spawn(move || {
        let mut seen: Vec<(u64, Option<usize>)> = Vec::new();
        while !stop.load(Ordering::SeqCst) {
            let text = std::fs::read_to_string(&read).unwrap();
            let model: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("half a file: {e}"));
            seen.push((model["version"].as_u64().unwrap(), version_of(&model)));
        }
        seen
    });
    for version in 1..=50 {
        replace(&route, &mk_route(version));
        let host = format!("a.v{version}.local");
        wait_until(&host, || app.model.get().virtual_hosts.keys().any(|id| *id.domain == *host)).await;
    }
    let newest = app.model.get().version;
    wait_until("the last version is in the file", || {
        let model: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        model["version"] == newest && version_of(&model) == Some(50)
    })
    .await;
    done.store(true, Ordering::SeqCst);
    let seen = reader.join().unwrap();
    assert!(seen.is_sorted(), "the file went back in time");
    let versions: BTreeSet<u64> = seen.iter().map(|(version, _)| *version).collect();
    assert!(versions.len() > 10, "the reader saw only {} versions", versions.len());
    app.supervisor.shutdown(Duration::from_secs(5)).await;
}
