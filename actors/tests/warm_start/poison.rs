//! An object that somebody cannot compute with: what was made of its last good version is there after a restart too.

use std::time::Duration;

use tidegate_actors::correlation::{Collection, Correlation, View};
use tidegate_actors::id::{ObjectKey, ObjectRef};
use tidegate_actors::object::Object;
use tidegate_actors::problem::{FieldError, Problem, Serving};
use tidegate_actors::testing::{self, MemoryDisk, MemorySource, Probe, ProbeTaps};

use crate::rig::*;

#[derive(PartialEq)]
struct Number(u64);

impl View for Number {
    fn parse(object: &Object) -> Result<Self, Vec<FieldError>> {
        let json: serde_json::Value = serde_json::from_slice(object.raw()).unwrap_or_default();
        Ok(Self(json["spec"]["n"].as_u64().unwrap_or_default()))
    }
}

/// Ten times the number; of 13 nobody knows what to make, unless there is a thing called `luck`.
type Tens = Collection<ObjectKey, u64>;

async fn computing(life: &Life) -> Probe {
    let correlation: Correlation<Tens> =
        Correlation::over_informers("tens", &life.rig.env, &life.rig.problems, |graph| {
            let numbers = graph.source::<Number>(&things());
            graph.try_correlate("tens", numbers, move |ctx, key, number| {
                let luck = ctx.fetch(numbers, &ObjectKey { name: "luck".into(), ..key.clone() });
                if number.0 == 13 && luck.is_none() {
                    return Err("injected".to_owned());
                }
                Ok(vec![(key.clone(), number.0 * 10)])
            })
        });
    correlation.add_informer(&life.things);
    let probe = ProbeTaps::default().tap("tens", *correlation.handles()).build();
    life.rig.supervisor.add(correlation.spec("tens")).await.unwrap();
    life.rig.publish("probe", &correlation, &probe).await.unwrap();
    probe
}

fn tens(probe: &Probe) -> Vec<String> {
    let name = |key: &str| key.rsplit('/').next().unwrap_or_default().to_owned();
    probe.state().iter().map(|(key, ten)| format!("{} {ten}", name(key))).collect()
}

/// What is said of the things that nobody can compute with.
fn said(life: &Life) -> Vec<String> {
    let all = life.rig.problems.list();
    all.into_iter().filter(|(scope, _)| scope == "correlation/tens").map(|(_, problem)| problem.reason).collect()
}

#[test]
fn what_was_made_of_the_version_before_a_poisonous_one_is_there_after_a_restart() {
    testing::run(async {
        let (disk, source) = (MemoryDisk::default(), MemorySource::new("demo"));
        put(&source, "a", 1);
        put(&source, "b", 2);
        let life = Life::start(1, &disk, &source).await;
        let probe = computing(&life).await;
        life.rig.advance(Duration::from_secs(1)).await;
        put(&source, "a", 13);
        put(&source, "b", 3);
        life.rig.advance(Duration::from_secs(1)).await;
        assert_eq!(tens(&probe), ["a 10", "b 30"]);
        assert_eq!((life.held(), said(&life).len()), (vec!["a 13".to_owned(), "b 3".to_owned()], 1));
        assert_eq!(life.status().types[0].held_back, 1);
        // Another version that is no better, and changes of others meanwhile.
        source.apply(&things(), Some("n"), "a", r#""spec":{"n":13,"more":1}"#);
        life.rig.advance(Duration::from_secs(1)).await;
        drop(life);

        // Twice: what the second restart finds was kept by the first.
        let mut disk = disk.copy();
        for round in 2..4 {
            let life = Life::start_away(round, &disk, &source).await;
            let probe = computing(&life).await;
            life.rig.advance(Duration::from_secs(1)).await;
            assert_eq!((tens(&probe), said(&life).len()), (vec!["a 10".to_owned(), "b 30".to_owned()], 0));
            life.come_back();
            life.rig.advance(Duration::from_secs(1)).await;
            assert_eq!(
                (tens(&probe), life.held()[0].clone()),
                (vec!["a 10".to_owned(), "b 30".to_owned()], "a 13".to_owned())
            );
            assert_eq!(said(&life).len(), 1, "it is named again, since it is told again");
            life.rig.advance(Duration::from_secs(1)).await;
            disk = disk.copy();
        }
    });
}

#[test]
fn an_object_that_is_merely_complained_about_is_kept_as_it_is() {
    testing::run(async {
        let (disk, source) = (MemoryDisk::default(), MemorySource::new("demo"));
        put(&source, "a", 1);
        let life = Life::start(1, &disk, &source).await;
        let complaints: Correlation<()> =
            Correlation::over_informers("complaints", &life.rig.env, &life.rig.problems, |graph| {
                let numbers = graph.source::<Number>(&things());
                graph.report("complaints", numbers, |key, _| {
                    let object = ObjectRef { resource_type: things(), key: key.clone() };
                    let (place, field, reason) = (key.to_string(), String::new(), "not nice".to_owned());
                    let of = |serving| Problem {
                        place: place.clone(),
                        object: Some(object.clone()),
                        field: field.clone(),
                        reason: reason.clone(),
                        serving,
                    };
                    vec![of(Serving::Current), of(Serving::Nothing)]
                });
            });
        complaints.add_informer(&life.things);
        life.rig.supervisor.add(complaints.spec("complaints")).await.unwrap();
        life.rig.advance(Duration::from_secs(1)).await;
        put(&source, "a", 2);
        life.rig.advance(Duration::from_secs(1)).await;
        let about = life.rig.problems.list().into_iter().filter(|(scope, _)| scope == "correlation/complaints");
        assert_ne!(about.count(), 0, "it is complained about");
        assert_eq!(life.status().types[0].held_back, 0);
        let next = Life::start_away(2, &disk.copy(), &source).await;
        next.rig.advance(Duration::from_millis(10)).await;
        assert_eq!(next.held(), ["a 2"]);
    });
}

#[test]
fn what_is_no_longer_poisonous_is_kept_as_it_is() {
    testing::run(async {
        let (disk, source) = (MemoryDisk::default(), MemorySource::new("demo"));
        ["a", "b", "c"].iter().for_each(|name| put(&source, name, 1));
        let life = Life::start(1, &disk, &source).await;
        let probe = computing(&life).await;
        life.rig.advance(Duration::from_secs(1)).await;
        ["a", "b", "c"].iter().for_each(|name| put(&source, name, 13));
        life.rig.advance(Duration::from_secs(1)).await;
        assert_eq!((life.status().types[0].held_back, tens(&probe).len()), (3, 3));
        // One is mended, one goes, and then whatever is missing for the third comes.
        put(&source, "a", 2);
        delete(&source, "b");
        life.rig.advance(Duration::from_secs(1)).await;
        assert_eq!(life.status().types[0].held_back, 1);
        let between = Life::start_away(2, &disk.copy(), &source).await;
        between.rig.advance(Duration::from_millis(10)).await;
        assert_eq!(between.held(), ["a 2", "c 1"]);
        drop(between);
        put(&source, "luck", 7);
        life.rig.advance(Duration::from_secs(12)).await;
        assert_eq!((tens(&probe), said(&life)), (["a 20", "c 130", "luck 70"].map(str::to_owned).to_vec(), Vec::new()));
        let next = Life::start_away(3, &disk.copy(), &source).await;
        next.rig.advance(Duration::from_millis(10)).await;
        assert_eq!(next.held(), ["a 2", "c 13", "luck 7"]);
        next.come_back();
        next.rig.settle().await;
        assert_eq!(next.lists(), 0, "there is a cursor again");
    });
}
