//! What is secret, on disk.

use std::path::PathBuf;

use tidegate::config::SnapshotSecrets;

use super::rig::{copy_demo, http, replace, wait_until};
use super::*;

/// All that the files of a snapshot hold.
fn bytes(config: &Config) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = std::fs::read_dir(config.data_dir.join("snapshot")).unwrap();
    entries.map(|entry| entry.unwrap().path()).map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// The private key of the demo, as its Secret spells it, and a piece of what that says.
fn canaries() -> Vec<String> {
    let text = tidegate::demo::MANIFESTS.iter().find(|(name, _)| *name == "certificate.yaml").unwrap().1;
    let key = text.lines().find_map(|line| line.trim().strip_prefix("tls.key:")).map(str::trim).unwrap_or_default();
    let piece = if key.len() > 80 { key[20..60].to_owned() } else { pem_piece(text) };
    vec![piece]
}

fn pem_piece(text: &str) -> String {
    let mut lines = text.lines().map(str::trim).skip_while(|line| !line.contains("PRIVATE KEY"));
    lines.nth(1).unwrap().to_owned()
}

fn finds(config: &Config, canary: &str) -> Vec<PathBuf> {
    let holds = |(path, bytes): (PathBuf, Vec<u8>)| {
        bytes.windows(canary.len()).any(|window| window == canary.as_bytes()).then_some(path)
    };
    bytes(config).into_iter().filter_map(holds).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_on_disk_encrypted_or_not_at_all() {
    for secrets in [None, Some(SnapshotSecrets::Omit)] {
        let folder = tempfile::tempdir().unwrap();
        let mut config = mk_config(folder.path());
        config.snapshot.secrets = secrets;
        config.snapshot.key_file = config.snapshot.key_file.filter(|_| secrets.is_none());
        copy_demo(folder.path());
        let app = start(&config).await;
        published(&app).await;
        kept(&app).await;
        let names: Vec<String> = bytes(&config).iter().map(|(path, _)| path.display().to_string()).collect();
        assert_eq!(names.iter().any(|name| name.contains("_secrets_")), secrets.is_none(), "{names:?}");
        assert!(names.iter().any(|name| name.contains("httproutes")), "{names:?}");
        for canary in canaries() {
            assert_eq!(finds(&config, &canary), Vec::<PathBuf>::new(), "{secrets:?}");
        }
        kill(app).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_a_start_waits_for_the_secrets_and_publishes_nothing_that_lacks_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = mk_config(folder.path());
    config.snapshot.key_file = None;
    copy_demo(folder.path());
    let app = start(&config).await;
    published(&app).await;
    kept(&app).await;
    let before = model(&app);
    kill(app).await;
    let (manifests, away) = (folder.path().join("manifests"), folder.path().join("away"));
    std::fs::rename(&manifests, &away).unwrap();
    let app = start(&config).await;
    let settled = || app.factory.slots().into_iter().filter(|slot| !slot.sync.is_settled());
    wait_until("all but the Secrets are there", || settled().count() == 1).await;
    let answer = http::get(app.admin, "/readyz").await;
    assert_eq!((answer.status, app.model.get().version), (503, 0), "{}", answer.body);
    assert_eq!(answer.json()["missing"][0]["name"], "demo:secrets/v1", "{}", answer.body);
    assert!(answer.json()["missing"][0]["reason"].to_string().contains("snapshot.key_file"), "{}", answer.body);
    std::fs::rename(&away, &manifests).unwrap();
    published(&app).await;
    assert_eq!(model(&app), before);
    app.supervisor.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_a_configuration_that_shows_no_certificate_waits_for_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = mk_config(folder.path());
    config.snapshot.key_file = None;
    copy_demo(folder.path());
    let (manifests, away) = (folder.path().join("manifests"), folder.path().join("away"));
    let gateway = std::fs::read_to_string(manifests.join("gateway.yaml")).unwrap();
    let (plain, secure) = gateway.split_once("    # It has no `hostname`, so").unwrap();
    assert!(secure.contains("certificateRefs"));
    replace(&manifests.join("gateway.yaml"), plain);
    let app = start(&config).await;
    published(&app).await;
    let listed = app.factory.slots().into_iter().find(|slot| slot.resource_type.kind() == "Secret").unwrap();
    assert!(listed.objects > 0, "there are Secrets, for somebody else");
    kept(&app).await;
    let before = model(&app);
    kill(app).await;

    std::fs::rename(&manifests, &away).unwrap();
    let app = start(&config).await;
    published(&app).await;
    assert_eq!(model(&app), before);
    let answer = http::get(app.admin, "/readyz").await;
    assert_eq!((answer.status, &answer.json()["degraded"]), (200, &Value::Bool(true)), "{}", answer.body);
    assert!(answer.json()["concerns"].to_string().contains("demo:secrets/v1"), "{}", answer.body);
    let shown = http::get(app.admin, "/api/v1/snapshot").await.json();
    let types: Vec<Value> = shown["types"].as_array().unwrap().clone();
    let secrets = types.iter().find(|of| of["name"] == "secrets").unwrap();
    assert_eq!((&secrets["restored"], &secrets["bytes"]), (&Value::Null, &Value::from(0)), "{shown}");
    let routes = types.iter().find(|of| of["name"] == "httproutes.gateway.networking.k8s.io").unwrap();
    assert!(routes["restored"]["objects"].as_u64().unwrap() > 0, "{shown}");

    // A certificate is wanted again, and is there as soon as its Secret is.
    replace(&away.join("gateway.yaml"), &gateway);
    std::fs::rename(&away, &manifests).unwrap();
    wait_until("a certificate is shown", || !model(&app)["secrets"].as_array().unwrap().is_empty()).await;
    wait_until("nothing is degraded", || app.factory.slots().iter().all(|slot| slot.sync.reason().is_none())).await;
    app.supervisor.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_costs_the_secrets_a_list_and_a_bad_one_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let config = mk_config(folder.path());
    copy_demo(folder.path());
    let app = start(&config).await;
    published(&app).await;
    kept(&app).await;
    kill(app).await;
    std::fs::write(folder.path().join("key"), KEY.replace("AAEC", "BBBB")).unwrap();
    let app = start(&config).await;
    let status = app.persistence.as_ref().unwrap().status();
    assert_eq!(status.restored + 1, status.slots, "{status:?}");
    assert!(status.failing.iter().all(|why| why.contains("another key")), "{status:?}");
    published(&app).await;
    kept_again(&app).await;
    kill(app).await;
    std::fs::write(folder.path().join("key"), "hunter2").unwrap();
    let refused = App::start(&Tidegate::builder(), &config, &Hooks::default(), Env::system()).await.err().unwrap();
    let text = format!("{refused:#}");
    assert!(text.contains("snapshot.key_file") && text.contains("openssl") && !text.contains("hunter2"), "{text}");
}

/// As [`kept`], where something was of no use at first.
async fn kept_again(app: &App) {
    let persistence = app.persistence.clone().unwrap();
    wait_until("it is written anew", || persistence.status().failing.is_empty() && persistence.is_current()).await;
}
