//! A correlation over informers opens its gate by itself, in virtual time.

use std::time::Duration;

use crate::correlation::{Collection, Correlation, OutputBuffer, OutputPort, Taps, View};
use crate::env::Env;
use crate::id::ObjectKey;
use crate::informer::InformerFactory;
use crate::object::Object;
use crate::problem::{FieldError, Problems};
use crate::reflector::scripted::{ScriptedSource, Trouble, mk_type, retry};
use crate::source::SourceError;
use crate::supervisor::{Strategy, Supervisor};

#[derive(Debug, PartialEq)]
struct Thing(String);

impl View for Thing {
    fn parse(object: &Object) -> Result<Self, Vec<FieldError>> {
        Ok(Self(object.key().name.to_string()))
    }
}

type Things = Collection<ObjectKey, Thing>;

struct Rig {
    source: std::sync::Arc<ScriptedSource>,
    supervisor: Supervisor,
    factory: InformerFactory,
    correlation: Correlation<Things>,
    output: OutputPort,
}

async fn mk_rig() -> Rig {
    let (env, problems) = (Env::system(), Problems::default());
    let supervisor = Supervisor::start("test", Strategy::OneForOne, env.clone()).await.unwrap();
    let factory = InformerFactory::new(env.clone(), supervisor.clone(), problems.clone());
    let source = ScriptedSource::new();
    factory.add_source(source.clone()).unwrap();
    let correlation = Correlation::over_informers("c", &env, &problems, |graph| graph.source::<Thing>(&mk_type()));
    let output = correlation.output("o", |things| Taps::default().with(*things));
    supervisor.add(correlation.spec("c")).await.unwrap();
    factory.start().await.unwrap();
    Rig { source, supervisor, factory, correlation, output }
}

impl Rig {
    async fn connect(&self) {
        self.correlation.follow(&self.factory, "demo").await.unwrap();
    }

    /// What was published since this was last asked: whether in full, and the names; `None` for nothing.
    async fn published(&self) -> Option<(bool, Vec<String>)> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let batch = self.output.receive(OutputBuffer::begin)?;
        self.output.receive(OutputBuffer::commit);
        let names = batch.changes(*self.correlation.handles()).iter();
        let names = names.map(|(key, change)| format!("{}{}", if change.new.is_some() { "+" } else { "-" }, key.name));
        Some((batch.is_full(), names.collect()))
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_published_before_every_type_that_is_read_has_an_informer_and_is_complete() {
    let rig = mk_rig().await;
    rig.source.apply("a", 1);
    rig.source.trouble(Trouble::HalfList(retry("gone")));
    assert_eq!(rig.published().await, None);
    assert_eq!(rig.correlation.missing(), ["things.example.test/v1: nobody reads it from any source yet"]);
    rig.source.trouble(Trouble::EndlessList);
    rig.connect().await;
    assert_eq!(rig.published().await, None, "the list is not complete");
    assert_eq!(rig.correlation.missing(), ["demo:things.example.test/v1"]);
    rig.supervisor.restart("sources/demo/things.example.test").await.unwrap();
    assert_eq!(rig.published().await, Some((true, vec!["+a".to_owned()])));
    assert!(rig.correlation.missing().is_empty());
    rig.source.delete("a");
    assert_eq!(rig.published().await, Some((false, vec!["-a".to_owned()])));
}

#[tokio::test(start_paused = true)]
async fn an_empty_list_and_a_type_that_does_not_exist_open_the_gate_although_they_tell_nothing() {
    for absent in [false, true] {
        let rig = mk_rig().await;
        if absent {
            rig.source.trouble(Trouble::Fail(SourceError::Absent { reason: "no such type".to_owned() }));
        }
        rig.connect().await;
        assert_eq!(rig.published().await, Some((true, Vec::new())), "absent: {absent}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_restarted_correlation_publishes_all_that_its_informers_hold_again() {
    let rig = mk_rig().await;
    rig.source.apply("a", 1);
    rig.connect().await;
    assert_eq!(rig.published().await, Some((true, vec!["+a".to_owned()])));
    rig.supervisor.restart("c").await.unwrap();
    assert_eq!(rig.published().await, Some((true, vec!["+a".to_owned()])));
}
