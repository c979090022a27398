//! A source of one's own: a registry of hosts in memory, which an informer lists and then watches.
//!
//! Shows `Source`, `InformerFactory`, and a lister with a label selector. Run it with
//! `cargo run --example source_of_ones_own`. It prints:
//!
//! ```text
//! synced: 2 hosts, in the EU: anna
//! changed: 2 hosts, in the EU: bert
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use parking_lot::Mutex;
use tidegate_actors::id::{Name, ObjectKey, ResourceType, Scope};
use tidegate_actors::informer::{InformerFactory, RegisterOptions};
use tidegate_actors::object::{Decoder, Object};
use tidegate_actors::problem::Problems;
use tidegate_actors::source::{Cursor, Source, SourceError, SourceEvent, SourceStream, failed};
use tidegate_actors::supervisor::{Strategy, Supervisor};
use tidegate_actors::testing;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

/// What it holds now, and a channel on which it tells changes.
struct Registry {
    name: Name,
    of: ResourceType,
    hosts: Mutex<BTreeMap<ObjectKey, Arc<Object>>>,
    changes: broadcast::Sender<SourceEvent>,
}

impl Registry {
    fn set(&self, host: &str, zone: &str) -> anyhow::Result<()> {
        // Whatever a source holds becomes JSON of this form; a decoder reads the metadata out of it.
        let json = format!(r#"{{"metadata":{{"name":"{host}","labels":{{"zone":"{zone}"}}}}}}"#);
        let object = Arc::new(Decoder::new(self.name.clone(), self.of.clone()).decode(json)?);
        let mut hosts = self.hosts.lock();
        hosts.insert(object.key().clone(), object.clone());
        // It fails when nobody listens yet: whoever comes later begins with a list.
        let _ = self.changes.send(SourceEvent::Apply(object));
        Ok(())
    }

    fn remove(&self, host: &str) {
        let key = ObjectKey::cluster(&self.name, host);
        self.hosts.lock().remove(&key);
        let _ = self.changes.send(SourceEvent::Delete(key));
    }
}

impl Source for Registry {
    fn name(&self) -> &Name {
        &self.name
    }

    fn open(&self, resource_type: &ResourceType, _from: Option<Cursor>) -> SourceStream {
        if *resource_type != self.of {
            return failed(SourceError::Absent { reason: format!("it has {} alone", self.of) });
        }
        // Subscribed before it lists, so that no change falls between; what is told twice harms nobody.
        let changes = BroadcastStream::new(self.changes.subscribe());
        let hosts: Vec<_> = self.hosts.lock().values().cloned().map(SourceEvent::InitApply).collect();
        let list = [SourceEvent::Init].into_iter().chain(hosts).chain([SourceEvent::InitDone(Cursor("".into()))]);
        // Who was too slow has missed changes. This advice is all that it takes to list anew.
        let watch = changes.map(|told| told.map_err(|missed| SourceError::Relist { reason: missed.to_string() }));
        stream::iter(list).map(Ok).chain(watch).boxed()
    }
}

fn main() -> anyhow::Result<()> {
    testing::run(async {
        let (env, _) = testing::env(1);
        let of = ResourceType::new("example.com", "v1", "Host", "hosts", Scope::Cluster);
        let (name, changes) = ("demo".into(), broadcast::Sender::new(64));
        let registry = Arc::new(Registry { name, of: of.clone(), hosts: Mutex::default(), changes });
        registry.set("anna", "eu")?;
        registry.set("bert", "us")?;
        let supervisor = Supervisor::start("example", Strategy::OneForOne, env.clone()).await?;
        let factory = InformerFactory::new(env.clone(), supervisor, Problems::default());
        factory.add_source(registry.clone())?;
        let hosts = factory.register("demo", of, RegisterOptions::default()).await?.lister().clone();
        factory.start().await?;
        factory.wait_for_sync(Duration::from_secs(10)).await?;
        let in_eu = "zone=eu".parse()?;
        let names = || hosts.select(&in_eu).iter().map(|host| format!(" {}", host.key().name)).collect::<String>();
        println!("synced: {} hosts, in the EU:{}", hosts.len(), names());
        registry.set("bert", "eu")?;
        registry.set("clio", "us")?;
        registry.remove("anna");
        // Virtual time: it passes when nobody has anything left to do.
        env.clock.sleep(Duration::from_secs(1)).await;
        println!("changed: {} hosts, in the EU:{}", hosts.len(), names());
        Ok(())
    })
}
