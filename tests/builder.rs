//! What another binary adds through the builder, running inside the service.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate::app::{App, Hooks};
use tidegate::builder::Tidegate;
use tidegate::config::{Config, Directory, Section, SectionType, SourceConfig};
use tidegate_actors::correlation::{Collection, Json, OutputBatch, Taps};
use tidegate_actors::env::Env;
use tidegate_actors::id::{ObjectKey, ResourceType, Scope};
use tidegate_actors::publisher::{PublishError, Publisher};
use tokio::sync::mpsc;

/// The section `correlate.names`.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Names {
    prefix: String,
}

impl SectionType for Names {}

#[derive(PartialEq, Deserialize)]
struct Service {}

type Outputs = Collection<ObjectKey, String>;

/// What each batch says: whether it is full, and the new values.
struct Tell(Outputs, mpsc::UnboundedSender<(bool, Vec<String>)>);

impl Publisher for Tell {
    async fn publish(&mut self, batch: &OutputBatch) -> Result<(), PublishError> {
        let values = batch.changes(self.0).iter().filter_map(|(_, change)| change.new.as_deref().cloned());
        self.1.send((batch.is_full(), values.collect())).map_err(PublishError::new)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correlation_of_another_binary_publishes_nothing_before_its_types_have_synced() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config { data_dir: folder.path().join("data"), ..Config::default() };
    for (name, text) in tidegate::demo::MANIFESTS {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let section = Section::new(Directory::new(folder.path()));
    config.sources = vec![SourceConfig { name: "demo".into(), kind: "directory".into(), section }];
    config.correlate.insert("names".into(), Section::new(Names { prefix: "service ".into() }));
    config.admin.address.set_port(0);
    config.xds.address.set_port(0);

    let (tell, mut told) = mpsc::unbounded_channel();
    let tidegate = Tidegate::builder().correlation::<Names, Outputs, Tell>(
        "names",
        |section, graph| {
            let services =
                graph.source::<Json<Service>>(&ResourceType::new("", "v1", "Service", "services", Scope::Namespaced));
            let prefix = section.prefix.clone();
            graph.correlate("names", services, move |_, key, _| vec![(key.clone(), format!("{prefix}{}", key.name))])
        },
        |names| Taps::default().with(*names),
        move |_, names| Tell(*names, tell.clone()),
    );
    let app = App::start(&tidegate, &config, &Hooks::default(), Env::system()).await.unwrap();
    let (full, mut names) = tokio::time::timeout(Duration::from_secs(10), told.recv()).await.unwrap().unwrap();
    names.sort();
    assert!(full, "the first batch names everything");
    assert!(names.len() > 1 && names.iter().all(|name| name.starts_with("service ")), "{names:?}");
    app.supervisor.shutdown(Duration::from_secs(5)).await;
}
