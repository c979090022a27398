//! The content of objects, and credentials, are in no log: not even in the most talkative one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

// In a process of its own: what is logged elsewhere at the same time decides which log lines are made at all.
#[path = "kubernetes/rig.rs"]
mod rig;

#[path = "kubernetes/server.rs"]
mod server;

use std::io::Write;
use std::sync::Arc;

use parking_lot::Mutex;
use tidegate_actors::id::{ResourceType, Scope};
use tracing_subscriber::fmt::MakeWriter;

use crate::rig::{Rig, TOKEN};
use crate::server::{Server, event, status, thing};

const CONTENT: &str = "VEhJUy1JUy1TRUNSRVQ";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn neither_content_nor_credentials_are_logged_or_told_in_errors() {
    let log = Log::default();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).with_ansi(false);
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    let secrets = ResourceType::new("", "v1", "Secret", "secrets", Scope::Namespaced);
    let good =
        |name: &str, version: &str| thing(name, version).replace("\"a\":1", &format!("\"tls.key\":\"{CONTENT}\""));
    let broken = |name: &str, version: &str| {
        good(name, version).replace("\"uid\":\"", &format!("\"labels\":{{\"x\":[\"{CONTENT}\"]}},\"uid\":\""))
    };
    let cut = good("d", "9");
    let endings = [
        event("ERROR", &status(410, "Expired", "too old resource version")),
        format!("{{\"type\":\"ADDED\",\"object\":{}", &cut[..cut.len() - 4]),
        format!("{CONTENT}\n"),
    ];
    for server in [Server::start().await, Server::start_tls(&["h2"]).await] {
        let rig = Rig::on(server, |options| (options.streaming_lists, options.max_object) = (false, 400));
        for ending in &endings {
            let huge = good("c", "5").replace("\"spec\":{", &format!("\"spec\":{{\"x\":\"{}\",", CONTENT.repeat(30)));
            rig.server.then_list("7", &[&good("a", "3"), &broken("b", "4"), &huge]);
            rig.server.then_watch().say(event("MODIFIED", &broken("a", "8"))).say(ending.clone());
            let (words, error) = rig.open_type(&secrets, None).end().await;
            assert!(words.contains(&"=a".to_owned()) && words.contains(&"keep b".to_owned()), "{words:?}");
            let told = format!("{error} {error:?} {:?} {words:?}", rig.problems.list());
            assert!(!told.contains(CONTENT) && !told.contains(TOKEN), "{told}");
            assert!(told.contains("c/demo/b"), "{told}");
        }
    }
    let log = String::from_utf8_lossy(&log.0.lock()).into_owned();
    assert!(log.contains("an object cannot be read"), "the log was not captured: {log}");
    for line in log.lines() {
        assert!(!line.contains(CONTENT) && !line.contains(TOKEN), "{line}");
    }
}
