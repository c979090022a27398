//! Attacks over the admin API, as `tidegate chaos` makes them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;

use serde_json::json;
use tidegate_actors::env::{Rng as _, SeededRng};
use tidegate_bench::service::Service;

use crate::clients::address_of;

/// What is attacked, and how. Core actors among them end the process if they are harmed too often within a minute, so
/// they come seldom.
const ATTACKS: [(&str, &str); 14] = [
    ("kill", "sources/manifests/httproutes.gateway.networking.k8s.io"),
    ("kill", "xds"),
    ("kill", "xds-server"),
    ("kill", "gateway"),
    ("panic", "sources/manifests/httproutes.gateway.networking.k8s.io"),
    ("panic", "xds"),
    ("panic", "stores/manifests/httproutes.gateway.networking.k8s.io"),
    ("stall", "sources/manifests/httproutes.gateway.networking.k8s.io"),
    ("stall", "xds"),
    ("pause", "sources/manifests/httproutes.gateway.networking.k8s.io"),
    ("restart", "json"),
    ("disconnect", "manifests"),
    ("delay", "manifests"),
    ("error", "manifests"),
];

/// See the module.
pub struct Attacker {
    config: PathBuf,
    token: PathBuf,
    dice: SeededRng,
}

impl Attacker {
    pub fn new(service: &Service, seed: u64) -> Self {
        let (config, token) = (service.folder().join("tidegate.yaml"), service.folder().join("data/admin-token"));
        Self { config, token, dice: SeededRng::new(seed ^ 0xa77a) }
    }

    /// Makes one, and says which.
    pub fn strike(&mut self) -> String {
        let (fault, target) = ATTACKS[self.dice.below(ATTACKS.len() as u64) as usize];
        let order = json!({ "fault": fault, "target": target, "for_ms": 2_000 });
        let answer = self.ask("POST", &order.to_string());
        let refused = if answer.starts_with("HTTP/1.1 200") { String::new() } else { format!(": {answer}") };
        format!("{fault} {target}{refused}")
    }

    /// Ends all that is under way.
    pub fn heal(&self) {
        self.ask("DELETE", "");
    }

    fn ask(&self, method: &str, body: &str) -> String {
        let token = std::fs::read_to_string(&self.token).unwrap_or_default();
        let ask = || {
            let mut stream = TcpStream::connect(address_of(&self.config, "admin"))?;
            write!(
                stream,
                "{method} /api/v1/chaos HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {}\r\n\
                 content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                token.trim(),
                body.len()
            )?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            std::io::Result::Ok(answer)
        };
        ask().unwrap_or_else(|error| error.to_string())
    }
}
