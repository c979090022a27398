//! The binary itself, killed as the system does it, and started again.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::rig::{copy_demo, http};
use super::support::ports::free_ports;
use super::support::service::Service;
use super::*;

/// See the module.
pub struct Killed {
    pub folder: TempDir,
    pub service: Service,
    pub admin: SocketAddr,
}

impl Killed {
    pub async fn start() -> Self {
        Self::start_after("").await
    }

    /// After a piece of shell script.
    pub async fn start_after(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), KEY).unwrap();
        copy_demo(folder.path());
        let [admin, xds] = free_ports();
        let text = format!(
            "admin: {{address: '127.0.0.1:{admin}'}}\nxds: {{address: '127.0.0.1:{xds}'}}\nproxy: {{managed: false}}\n\
             snapshot: {{key_file: key, interval: 10ms}}\n\
             sources: [{{name: demo, kind: directory, path: manifests}}]\n"
        );
        std::fs::write(folder.path().join("tidegate.yaml"), text).unwrap();
        let arguments = ["run", "--config", "tidegate.yaml"];
        let service = Service::start_after(script, &arguments, folder.path(), &folder.path().join("data"));
        let admin = SocketAddr::from(([127, 0, 0, 1], admin));
        let killed = Self { folder, service, admin };
        killed.service.until_ready(killed.admin).await;
        killed
    }

    pub async fn model(&self) -> Value {
        let mut model = http::get(self.admin, "/api/v1/config").await.json();
        model["version"] = Value::Null;
        model
    }

    /// Waits until so many batches are on disk.
    pub async fn until_kept(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        let files = || {
            let found = std::fs::read_dir(self.folder.path().join("data/snapshot"));
            let names = found.into_iter().flatten().map(|entry| entry.unwrap().path());
            names.filter(|path| path.extension().is_some_and(|extension| extension == "snap")).count()
        };
        let types = http::get(self.admin, "/api/v1/resources").await.json()["items"].as_array().unwrap().len();
        while files() < types {
            assert!(Instant::now() < deadline, "{} of {types} files", files());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_started_again_with_its_directory_away_it_serves_the_same() {
    let mut killed = Killed::start().await;
    killed.until_kept().await;
    let before = killed.model().await;
    killed.service.kill();
    std::fs::rename(killed.folder.path().join("manifests"), killed.folder.path().join("away")).unwrap();
    killed.service.start_again();
    killed.service.until_ready(killed.admin).await;
    assert_eq!(killed.model().await, before);
    let answer = http::get(killed.admin, "/readyz").await;
    assert_eq!(answer.json()["degraded"], Value::Bool(true), "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_under_load_it_has_lost_nothing_that_was_on_disk() {
    let mut killed = Killed::start().await;
    killed.until_kept().await;
    let manifests = killed.folder.path().join("manifests");
    for round in 0..6_u32 {
        // It is killed in the midst of changes, at another moment each time.
        for step in 0..=round * 3 {
            let text = format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{name: extra, namespace: default}}\n\
                 spec: {{ports: [{{port: {}}}]}}\n",
                1000 + round * 100 + step
            );
            super::rig::replace(&manifests.join("extra.yaml"), &text);
            tokio::time::sleep(Duration::from_millis(u64::from(round * 2 + step))).await;
        }
        killed.service.kill();
        killed.service.start_again();
        killed.service.until_ready(killed.admin).await;
        assert!(!killed.service.err().contains("is not used"), "{}", killed.service.err());
    }
    let files = std::fs::read_dir(killed.folder.path().join("data/snapshot")).unwrap();
    for entry in files {
        let (path, meta) = entry.map(|entry| (entry.path(), entry.metadata().unwrap())).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o777;
        assert_eq!(mode, 0o600, "{}", path.display());
    }
}
