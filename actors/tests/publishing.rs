//! The actors between stores and the outside: a correlation's gate, restarts and inputs, a publisher's retries.
//! The laws' suite sees them as a whole; here each behaviour stands alone.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidegate_actors::correlation::{Collection, Correlation, Gate, Graph, Subscribe, View};
use tidegate_actors::env::Fault;
use tidegate_actors::id::{ObjectKey, ResourceType, Scope};
use tidegate_actors::informer::RegisterOptions;
use tidegate_actors::object::Object;
use tidegate_actors::problem::FieldError;
use tidegate_actors::supervisor::State;
use tidegate_actors::testing::{FaultRule, MemorySource, Mood, Probe, ProbeTaps, Rig};
use tokio::time::Instant;

/// `"word":w`; the word `bad` cannot be read.
#[derive(PartialEq)]
struct Thing(String);

impl View for Thing {
    fn parse(object: &Object) -> Result<Self, Vec<FieldError>> {
        let json: serde_json::Value = serde_json::from_slice(object.raw()).unwrap();
        match json["word"].as_str() {
            Some(word) if word != "bad" => Ok(Self(word.to_owned())),
            _ => Err(vec![FieldError::new("word", "is bad")]),
        }
    }
}

fn mk_type() -> ResourceType {
    ResourceType::new("example.test", "v1", "Thing", "things", Scope::Namespaced)
}

type Words = Collection<ObjectKey, String>;

fn build(graph: &mut Graph) -> Words {
    let things = graph.source::<Thing>(&mk_type());
    graph.correlate("words", things, |_, key, thing| vec![(key.clone(), thing.0.clone())])
}

struct World {
    rig: Rig,
    source: MemorySource,
    correlation: Correlation<Words>,
    probe: Probe,
}

/// An engine that has published one word, `go`, of `a`.
async fn mk_world(rig: Rig) -> World {
    let source = rig.memory_source("demo").unwrap();
    source.apply(&mk_type(), Some("n"), "a", r#""word":"go""#);
    rig.register(&source, &mk_type()).await.unwrap();
    let correlation = rig.correlate("words", build).await.unwrap();
    let probe = ProbeTaps::default().tap("words", *correlation.handles()).build();
    rig.publish("probe", &correlation, &probe).await.unwrap();
    rig.factory.start().await.unwrap();
    rig.advance(Duration::from_secs(1)).await;
    let world = World { rig, source, correlation, probe };
    assert_eq!(world.word("a").as_deref(), Some("go"));
    world
}

impl World {
    fn say(&self, name: &str, word: &str) {
        self.source.apply(&mk_type(), Some("n"), name, &format!(r#""word":"{word}""#));
    }

    fn word(&self, name: &str) -> Option<String> {
        Some(self.probe.get(&format!("words/demo:n/{name}"))?.trim_matches('"').to_owned())
    }

    async fn soon(&self) {
        self.rig.advance(Duration::from_millis(20)).await;
    }

    fn kept_promises(&self) {
        assert_eq!(self.probe.broken_promises(), [""; 0]);
    }
}

#[test]
fn nothing_is_published_while_the_gate_is_closed_and_everything_at_once_when_it_opens() {
    Rig::run(1, async |rig: Rig| {
        let open = Arc::new(AtomicBool::new(false));
        let asked = open.clone();
        let gate: Gate = Arc::new(move || if asked.load(Ordering::SeqCst) { vec![] } else { vec!["a type".into()] });
        let source = rig.memory_source("demo").unwrap();
        let informer = rig.register(&source, &mk_type()).await.unwrap();
        let correlation = Correlation::new("words", &rig.env, &rig.problems, gate, build);
        let subscribe: Subscribe = Arc::new(move |port| informer.subscribe(port));
        correlation.add_input(&mk_type(), &"demo".into(), subscribe);
        let probe = ProbeTaps::default().tap("words", *correlation.handles()).build();
        rig.supervisor.add(correlation.spec("words")).await.unwrap();
        rig.publish("probe", &correlation, &probe).await.unwrap();
        rig.factory.start().await.unwrap();
        for name in ["a", "b", "c"] {
            source.apply(&mk_type(), Some("n"), name, r#""word":"go""#);
            rig.advance(Duration::from_secs(1)).await;
        }
        assert!(probe.steps().is_empty());
        assert_eq!(correlation.version(), 0);
        open.store(true, Ordering::SeqCst);
        correlation.check_gate();
        rig.advance(Duration::from_millis(20)).await;
        let steps = probe.steps();
        assert_eq!(steps.len(), 1);
        assert!(steps[0].full);
        assert_eq!(steps[0].state.len(), 3);
    });
}

#[test]
fn inputs_that_are_complete_before_they_are_connected_are_published_together() {
    Rig::run(1, async |rig: Rig| {
        let other = ResourceType::new("example.test", "v1", "Other", "others", Scope::Namespaced);
        let source = rig.memory_source("demo").unwrap();
        let mut informers = Vec::new();
        for of in [&mk_type(), &other] {
            source.apply(of, Some("n"), "a", r#""word":"go""#);
            informers.push(rig.register(&source, of).await.unwrap());
        }
        rig.factory.start().await.unwrap();
        rig.advance(Duration::from_secs(1)).await;
        let correlation = Correlation::over_informers("words", &rig.env, &rig.problems, move |graph: &mut Graph| {
            [&mk_type(), &other].map(|of| {
                let things = graph.source::<Thing>(of);
                graph.correlate(of.plural(), things, |_, key, thing: &Arc<Thing>| vec![(key.clone(), thing.0.clone())])
            })
        });
        let [things, others] = *correlation.handles();
        let probe = ProbeTaps::default().tap("things", things).tap("others", others).build();
        rig.supervisor.add(correlation.spec("words")).await.unwrap();
        rig.publish("probe", &correlation, &probe).await.unwrap();
        // The actor hears of one after the other, when both have long been complete.
        for informer in &informers {
            correlation.add_informer(informer);
        }
        rig.advance(Duration::from_secs(1)).await;
        let steps = probe.steps();
        assert_eq!(steps.iter().map(|step| step.state.len()).collect::<Vec<_>>(), [2], "{steps:#?}");
        // A publisher on another thread would have been handed the first half as a version of its own.
        assert_eq!(correlation.version(), 1);
    });
}

#[test]
fn a_gate_that_is_open_and_has_nothing_to_publish_says_so() {
    Rig::run(1, async |rig: Rig| {
        let source = rig.memory_source("demo").unwrap();
        rig.register(&source, &mk_type()).await.unwrap();
        let correlation = rig.correlate("words", build).await.unwrap();
        let probe = ProbeTaps::default().tap("words", *correlation.handles()).build();
        rig.publish("probe", &correlation, &probe).await.unwrap();
        rig.factory.start().await.unwrap();
        rig.advance(Duration::from_secs(1)).await;
        let steps = probe.steps();
        assert_eq!(steps.len(), 1);
        assert!(steps[0].full && steps[0].state.is_empty());
    });
}

#[test]
fn a_gate_opens_when_a_type_that_was_absent_and_then_forbidden_turns_out_to_be_empty() {
    Rig::run(1, async |rig: Rig| {
        let (near, far) = (rig.memory_source("near").unwrap(), rig.memory_source("far").unwrap());
        near.set_forbidden(&mk_type(), true);
        for source in ["near", "far"] {
            rig.factory.register(source, mk_type(), RegisterOptions::default()).await.unwrap();
        }
        let correlation = rig.correlate("words", build).await.unwrap();
        let probe = ProbeTaps::default().tap("words", *correlation.handles()).build();
        rig.publish("probe", &correlation, &probe).await.unwrap();
        rig.factory.start().await.unwrap();
        // Far is absent; then it may not be read either; then near is complete, and far is not.
        rig.advance(Duration::from_secs(1)).await;
        far.set_forbidden(&mk_type(), true);
        rig.advance(Duration::from_secs(20)).await;
        near.set_forbidden(&mk_type(), false);
        rig.advance(Duration::from_secs(40)).await;
        assert!(probe.steps().is_empty());
        far.set_forbidden(&mk_type(), false);
        rig.advance(Duration::from_secs(40)).await;
        assert_eq!(correlation.missing(), [""; 0]);
        assert_eq!(probe.steps().len(), 1);
    });
}

#[test]
fn a_gate_that_was_open_stays_open_when_the_correlation_is_restarted() {
    Rig::run(1, async |rig: Rig| {
        let world = mk_world(rig).await;
        // Elsewhere the type is absent, and then may not be read: neither complete nor absent.
        let far = world.rig.memory_source("far").unwrap();
        let informer = world.rig.factory.register("far", mk_type(), RegisterOptions::default()).await.unwrap();
        world.correlation.add_informer(&informer);
        world.soon().await;
        far.set_forbidden(&mk_type(), true);
        world.rig.advance(Duration::from_secs(20)).await;
        assert_eq!(world.correlation.missing().len(), 1);
        assert!(world.rig.kill("words"));
        world.say("a", "stay");
        world.rig.advance(Duration::from_secs(1)).await;
        assert_eq!(world.word("a").as_deref(), Some("stay"));
    });
}

#[test]
fn a_restarted_correlation_sends_one_full_batch_and_loses_nothing() {
    Rig::run(1, async |rig: Rig| {
        let world = mk_world(rig).await;
        let before = world.probe.steps().len();
        let version = world.correlation.version();
        assert!(world.rig.kill("words"));
        world.say("a", "stay");
        world.say("b", "come");
        world.rig.advance(Duration::from_secs(1)).await;
        let steps = world.probe.steps();
        assert_eq!(steps.len(), before + 1);
        assert!(steps[before].full && steps[before].version > version);
        assert_eq!((world.word("a").as_deref(), world.word("b").as_deref()), (Some("stay"), Some("come")));
        world.kept_promises();
    });
}

#[test]
fn a_problem_of_an_object_that_went_while_the_correlation_was_down_is_taken_back() {
    Rig::run(1, async |rig: Rig| {
        let world = mk_world(rig).await;
        world.say("a", "bad");
        world.soon().await;
        assert_eq!(world.rig.problems.list().len(), 1);
        world.rig.supervisor.pause("words").await.unwrap();
        world.source.delete(&mk_type(), Some("n"), "a");
        world.soon().await;
        world.rig.supervisor.resume("words").await.unwrap();
        world.rig.advance(Duration::from_secs(1)).await;
        assert!(world.rig.problems.list().is_empty());
        assert_eq!(world.word("a"), None);
    });
}

#[test]
fn the_last_good_version_of_an_object_is_not_that_of_its_namesake_before() {
    Rig::run(1, async |rig: Rig| {
        let world = mk_world(rig).await;
        world.say("b", "come");
        world.soon().await;
        world.say("a", "bad");
        world.source.delete(&mk_type(), Some("n"), "b");
        world.say("b", "bad");
        world.soon().await;
        assert_eq!(world.word("a").as_deref(), Some("go"), "it is the same object");
        assert_eq!(world.word("b"), None, "it is another");
    });
}

#[test]
fn removing_an_input_removes_what_came_of_it_and_its_problems() {
    Rig::run(1, async |rig: Rig| {
        let world = mk_world(rig).await;
        world.say("b", "bad");
        world.soon().await;
        assert_eq!(world.rig.problems.list().len(), 1);
        world.correlation.remove_input(&mk_type(), &"demo".into());
        world.soon().await;
        assert!(world.probe.state().is_empty());
        assert!(world.rig.problems.list().is_empty());
        world.say("a", "stay");
        world.soon().await;
        assert!(world.probe.state().is_empty(), "nobody reads the store any more");
        world.correlation.add_informer(&world.rig.factory.informers()[0]);
        world.soon().await;
        assert_eq!(world.word("a").as_deref(), Some("stay"));
    });
}

#[test]
fn an_input_that_is_added_again_replaces_what_came_of_it_in_one_step() {
    Rig::run(1, async |rig: Rig| {
        let world = mk_world(rig).await;
        world.say("b", "come");
        world.soon().await;
        let before = world.probe.steps().len();
        // A store of the same type and source, with other content.
        let other = MemorySource::new("demo");
        other.apply(&mk_type(), Some("n"), "a", r#""word":"other""#);
        let second = Rig::start(2).await.unwrap();
        second.factory.add_source(Arc::new(other.clone())).unwrap();
        let informer = second.register(&other, &mk_type()).await.unwrap();
        second.factory.start().await.unwrap();
        world.soon().await;
        let subscribe: Subscribe = Arc::new(move |port| informer.subscribe(port));
        world.correlation.add_input(&mk_type(), &"demo".into(), subscribe);
        world.soon().await;
        assert_eq!(world.probe.steps().len(), before + 1);
        assert_eq!((world.word("a").as_deref(), world.word("b")), (Some("other"), None));
        world.kept_promises();
    });
}

#[test]
fn a_publisher_that_is_restarted_gets_a_full_batch_before_any_other() {
    Rig::run(1, async |rig: Rig| {
        let world = mk_world(rig).await;
        world.probe.set_mood(Mood::Stuck);
        world.say("a", "stay");
        world.soon().await;
        // It has begun a batch that is not full, and never ends it.
        world.say("b", "come");
        world.soon().await;
        assert!(world.rig.kill("probe"));
        world.probe.set_mood(Mood::Prompt);
        world.rig.advance(Duration::from_secs(1)).await;
        let steps = world.probe.steps();
        let second = steps.iter().find(|step| step.life == 2).unwrap();
        assert!(second.full);
        assert_eq!((world.word("a").as_deref(), world.word("b").as_deref()), (Some("stay"), Some("come")));
        world.kept_promises();
    });
}

#[test]
fn a_batch_that_fails_is_tried_again_after_a_backoff_that_news_do_not_shorten() {
    Rig::run(1, async |rig: Rig| {
        let world = mk_world(rig).await;
        world.rig.faults.add(FaultRule::always("publish/probe", Fault::Error("injected".into())));
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let before = tasks();
        for n in 0..500 {
            world.say("a", &format!("word{n}"));
            world.soon().await;
        }
        let tried = world.rig.faults.struck().len();
        assert!((5..12).contains(&tried), "in 10 s of a doubling backoff from 100 ms it was tried {tried} times");
        assert!(tasks() <= before + 1, "{} tasks wait, before there were {before}", tasks());
        let child = world.rig.supervisor.tree().find("probe").cloned().unwrap();
        assert_eq!(child.state, State::Waiting);
        assert!(child.reason.unwrap().contains("injected"));
        world.rig.faults.heal();
        world.rig.advance(Duration::from_secs(31)).await;
        assert_eq!(world.word("a").as_deref(), Some("word499"));
        assert_eq!(world.rig.supervisor.tree().find("probe").unwrap().state, State::Running);
        world.kept_promises();
    });
}

#[test]
fn the_backoff_begins_anew_after_a_success() {
    Rig::run(1, async |rig: Rig| {
        let world = mk_world(rig).await;
        let fail = |times| FaultRule { times: Some(times), ..FaultRule::always("publish/probe", Fault::Drop) };
        world.rig.faults.add(fail(6));
        world.say("a", "one");
        world.rig.advance(Duration::from_secs(30)).await;
        assert_eq!(world.word("a").as_deref(), Some("one"));
        world.rig.faults.add(fail(1));
        let from = Instant::now();
        world.say("a", "two");
        world.rig.advance(Duration::from_secs(30)).await;
        let took = world.probe.steps().last().unwrap().at - from;
        assert_eq!(world.word("a").as_deref(), Some("two"));
        assert!(took < Duration::from_millis(110), "{took:?}");
    });
}

#[test]
fn a_stuck_publisher_delays_nobody_and_gets_the_newest_state_when_it_comes_back() {
    Rig::run(1, async |rig: Rig| {
        let world = mk_world(rig).await;
        let second = ProbeTaps::default().tap("words", *world.correlation.handles()).build();
        world.rig.publish("second", &world.correlation, &second).await.unwrap();
        world.soon().await;
        second.set_mood(Mood::Stuck);
        for n in 0..100 {
            world.say("a", &format!("word{n}"));
            world.soon().await;
            assert_eq!(world.word("a").unwrap(), format!("word{n}"));
        }
        assert_eq!(second.steps().len(), 1);
        second.set_mood(Mood::Prompt);
        world.soon().await;
        assert_eq!(second.state(), world.probe.state());
        assert_eq!(second.steps().len(), 3, "the batch that it was stuck in, and one for all the rest");
    });
}
