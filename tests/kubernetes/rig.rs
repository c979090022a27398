//! A source of a scripted server, and what it tells in words.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt as _;
use tempfile::TempDir;
use tidegate::source::kubernetes::{Access, KubernetesSource, Options};
use tidegate::source::schema::{Catalogue, Entry};
use tidegate_actors::env::Env;
use tidegate_actors::id::{ResourceType, Scope};
use tidegate_actors::problem::Problems;
use tidegate_actors::source::{Cursor, Source as _, SourceError, SourceEvent, SourceStream};

use crate::server::Server;

/// How long anything that must happen may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub const TOKEN: &str = "first-secret-token";

pub fn things() -> ResourceType {
    ResourceType::new("example.com", "v1", "Thing", "things", Scope::Namespaced)
}

/// A type that grants something.
pub fn grants() -> ResourceType {
    ResourceType::new("example.com", "v1", "Grant", "grants", Scope::Namespaced)
}

/// See the module.
pub struct Rig {
    pub server: Server,
    pub source: KubernetesSource,
    pub problems: Problems,
    pub folder: TempDir,
}

impl Rig {
    /// With lists in pages.
    pub async fn new() -> Self {
        Self::with(|options| options.streaming_lists = false).await
    }

    pub async fn with(change: impl FnOnce(&mut Options)) -> Self {
        Self::on(Server::start().await, change)
    }

    /// With a server of one's own.
    pub fn on(server: Server, change: impl FnOnce(&mut Options)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_kubeconfig(&folder, &server, TOKEN);
        let access = Access { kubeconfig: Some(folder.path().join("kubeconfig")), context: None };
        let mut options = Options::new("c", access);
        change(&mut options);
        let problems = Problems::default();
        let catalogue =
            Catalogue::new().with_entry(Entry { resource_type: grants(), schema: None, fails_closed: true });
        let source = KubernetesSource::new(options, Env::system(), problems.clone(), catalogue);
        Self { server, source, problems, folder }
    }

    pub fn open(&self, from: Option<&str>) -> Told {
        self.open_type(&things(), from)
    }

    pub fn open_type(&self, resource_type: &ResourceType, from: Option<&str>) -> Told {
        Told(self.source.open(resource_type, from.map(|at| Cursor(at.into()))))
    }

    /// What stands as a problem.
    pub fn problems(&self) -> Vec<String> {
        let all = self.problems.list();
        all.iter().map(|(scope, problem)| format!("{scope} {problem} {:?}", problem.serving)).collect()
    }
}

pub fn write_kubeconfig(folder: &TempDir, server: &Server, token: &str) {
    let (scheme, authority) = match &server.authority {
        None => ("http", String::new()),
        Some(pem) => ("https", format!(", certificate-authority-data: {}", STANDARD.encode(pem))),
    };
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         clusters: [{{name: c, cluster: {{server: '{scheme}://{}'{authority}}}}}]\n\
         users: [{{name: u, user: {{token: {token}}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n",
        server.address
    );
    std::fs::write(folder.path().join("kubeconfig"), text).unwrap();
}

/// What a stream tells.
pub struct Told(SourceStream);

impl Told {
    pub fn of(stream: SourceStream) -> Self {
        Self(stream)
    }

    /// The next so many words.
    pub async fn next(&mut self, count: usize) -> Vec<String> {
        let mut words = Vec::new();
        while words.len() < count {
            match tokio::time::timeout(PATIENCE, self.0.next()).await.expect("nothing is told") {
                Some(Ok(event)) => words.push(spell(&event)),
                Some(Err(error)) => panic!("after {words:?}: {error}"),
                None => panic!("it ends after {words:?}"),
            }
        }
        words
    }

    /// All until the end, and the error.
    pub async fn end(&mut self) -> (Vec<String>, SourceError) {
        let mut words = Vec::new();
        loop {
            match tokio::time::timeout(PATIENCE, self.0.next()).await.expect("nothing is told") {
                Some(Ok(event)) => words.push(spell(&event)),
                Some(Err(error)) => {
                    assert!(self.0.next().await.is_none(), "something is told after the end");
                    return (words, error);
                }
                None => panic!("it ends without an error after {words:?}"),
            }
        }
    }
}

fn spell(event: &SourceEvent) -> String {
    match event {
        SourceEvent::Init => "Init".to_owned(),
        SourceEvent::InitApply(object) => format!("={}", object.key().name),
        SourceEvent::InitKeep(key) => format!("keep {}", key.name),
        SourceEvent::InitDone(Cursor(at)) => format!("Done {at}"),
        SourceEvent::Apply(object) => format!("+{}", object.key().name),
        SourceEvent::Delete(key) => format!("-{}", key.name),
        SourceEvent::Bookmark(Cursor(at)) => format!("@{at}"),
    }
}
