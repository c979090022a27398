//! The laws of the graph, on a small world: teams, members, and what is computed of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;
use crate::env::Env;
use crate::id::{ObjectKey, ResourceType, Scope};
use crate::object::{Decoder, Object};
use crate::problem::{FieldError, Problem, Problems, Serving};
use crate::seq::Seq;

/// `{"team": t, "rank": r}`; rank 13 does not parse.
#[derive(Debug, PartialEq)]
struct Member {
    team: String,
    rank: u64,
}

impl View for Member {
    fn parse(object: &Object) -> Result<Self, Vec<FieldError>> {
        let json: serde_json::Value = serde_json::from_slice(object.raw()).unwrap();
        let rank = json["rank"].as_u64().unwrap();
        if rank == 13 {
            return Err(vec![FieldError { path: "rank".into(), reason: "13 is not allowed".into() }]);
        }
        Ok(Self { team: json["team"].as_str().unwrap().into(), rank })
    }
}

/// `{"motto": m}`, named as the team.
#[derive(Debug, PartialEq)]
struct Team {
    motto: String,
}

impl View for Team {
    const FAILS_CLOSED: bool = true;

    fn parse(object: &Object) -> Result<Self, Vec<FieldError>> {
        let json: serde_json::Value = serde_json::from_slice(object.raw()).unwrap();
        let motto = json["motto"].as_str().unwrap();
        if motto == "bad" {
            return Err(vec![FieldError { path: "motto".into(), reason: "is bad".into() }]);
        }
        Ok(Self { motto: motto.into() })
    }
}

fn member_type() -> ResourceType {
    ResourceType::new("test", "v1", "Member", "members", Scope::Cluster)
}

fn team_type() -> ResourceType {
    ResourceType::new("test", "v1", "Team", "teams", Scope::Cluster)
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::cluster("src", name)
}

/// An object with these further members, such as `"motto":"x"`.
fn mk_object(resource_type: ResourceType, name: &str, members: &str) -> Arc<Object> {
    let text = format!(r#"{{"metadata":{{"name":"{name}"}},{members}}}"#);
    Arc::new(Decoder::new("src".into(), resource_type).decode(text).unwrap())
}

struct Rig {
    graph: Graph,
    problems: Problems,
    badges: Collection<ObjectKey, String>,
    rosters: Collection<String, Seq<(u64, ObjectKey), u64>>,
    leads: Collection<String, (usize, ObjectKey)>,
    excuses: Collection<ObjectKey, (String, Serving)>,
    badge_runs: Arc<AtomicUsize>,
    version: u64,
}

fn rig() -> Rig {
    rig_with(Problems::default())
}

fn rig_with(problems: Problems) -> Rig {
    let mut graph = Graph::new(&Env::system(), &problems);
    let members = graph.source::<Member>(&member_type());
    let teams = graph.source::<Team>(&team_type());
    let by_team = graph.index(members, |_, member: &Member| vec![member.team.clone()]);
    let badge_runs = Arc::new(AtomicUsize::new(0));
    let runs = badge_runs.clone();
    let badges = graph.correlate("badges", members, move |ctx, member, view| {
        runs.fetch_add(1, Ordering::SeqCst);
        assert!(view.rank != 66, "rank 66 explodes");
        let motto = ctx.fetch(teams, &key(&view.team)).map(|team| team.motto.clone());
        let size = ctx.count(by_team, &view.team);
        vec![(member.clone(), format!("{}/{}/{}/{size}", view.team, view.rank % 10, motto.unwrap_or_default()))]
    });
    let rosters = graph.group("rosters", members, |member, view: &Member| {
        (view.team.clone(), (view.rank, member.clone()), Arc::new(view.rank))
    });
    // Every member claims its team's lead; the smallest key wins, whatever the history.
    let leads = graph.correlate("leads", members, move |ctx, member, view| {
        vec![(view.team.clone(), (ctx.fetch_by(by_team, &view.team).len(), member.clone()))]
    });
    let errors = graph.source_errors(&member_type());
    let excuses = graph.correlate("excuses", errors, |_, key, error: &Arc<ViewError>| {
        vec![(key.clone(), (error.errors[0].to_string(), error.serving))]
    });
    // A rank of 99 is not forbidden, but worth a word.
    graph.report("ranks", rosters, |team, roster: &Seq<(u64, ObjectKey), u64>| {
        let problem = |((_, member), _): &((u64, ObjectKey), Arc<u64>)| Problem {
            place: team.clone(),
            object: None,
            field: String::new(),
            reason: format!("{} has the rank 99", member.name),
            serving: Serving::Current,
        };
        roster.iter().filter(|(_, rank)| **rank == 99).map(problem).collect()
    });
    Rig { graph, problems, badges, rosters, leads, excuses, badge_runs, version: 0 }
}

impl Rig {
    fn member(&mut self, name: &str, what: Option<(&str, u64)>) -> &mut Self {
        let object =
            what.map(|(team, rank)| mk_object(member_type(), name, &format!(r#""team":"{team}","rank":{rank}"#)));
        self.graph.feed(&member_type(), &key(name), object.as_ref());
        self
    }

    fn team(&mut self, name: &str, motto: Option<&str>) -> &mut Self {
        let object = motto.map(|motto| mk_object(team_type(), name, &format!(r#""motto":"{motto}""#)));
        self.graph.feed(&team_type(), &key(name), object.as_ref());
        self
    }

    /// Commits, and says how many badges ran.
    fn commit(&mut self) -> usize {
        self.version += 1;
        self.badge_runs.store(0, Ordering::SeqCst);
        self.graph.commit(self.version, None);
        self.badge_runs.load(Ordering::SeqCst)
    }

    fn excuse(&self, name: &str) -> Option<(String, Serving)> {
        self.graph.get(self.excuses, &key(name)).map(|excuse| (*excuse).clone())
    }

    fn problems(&self) -> Vec<String> {
        self.problems.list().iter().map(|(scope, problem)| format!("{scope}: {problem}")).collect()
    }

    fn badge(&self, name: &str) -> Option<String> {
        self.graph.get(self.badges, &key(name)).map(|badge| (*badge).clone())
    }

    /// Everything that the functions put out.
    #[allow(clippy::type_complexity)]
    fn outputs(
        &self,
    ) -> (BTreeMap<ObjectKey, String>, BTreeMap<String, Vec<u64>>, BTreeMap<String, (usize, ObjectKey)>) {
        let badges = self.graph.list(self.badges).into_iter().map(|(k, v)| (k, (*v).clone())).collect();
        let rosters = self.graph.list(self.rosters).into_iter();
        let rosters = rosters.map(|(k, v)| (k, v.iter().map(|(_, rank)| **rank).collect())).collect();
        let leads = self.graph.list(self.leads).into_iter().map(|(k, v)| (k, (*v).clone())).collect();
        (badges, rosters, leads)
    }
}

#[test]
fn a_change_re_runs_exactly_the_inputs_that_looked_at_it() {
    let mut rig = rig();
    rig.team("red", Some("go")).member("ann", Some(("red", 1))).member("bob", Some(("blue", 2)));
    assert_eq!(rig.commit(), 2);
    rig.team("red", Some("stay"));
    assert_eq!(rig.commit(), 1);
    assert_eq!(rig.badge("ann").as_deref(), Some("red/1/stay/1"));
}

#[test]
fn an_absence_is_a_look_up_too() {
    let mut rig = rig();
    rig.member("ann", Some(("red", 1)));
    rig.commit();
    assert_eq!(rig.badge("ann").as_deref(), Some("red/1//1"));
    rig.team("red", Some("go"));
    assert_eq!(rig.commit(), 1);
    assert_eq!(rig.badge("ann").as_deref(), Some("red/1/go/1"));
}

#[test]
fn a_change_that_no_view_sees_re_runs_nothing() {
    let mut rig = rig();
    rig.team("red", Some("go")).member("ann", Some(("red", 1)));
    rig.commit();
    rig.team("red", Some("go"));
    assert_eq!(rig.commit(), 0);
}

#[test]
fn a_count_re_runs_its_readers_only_when_the_number_changes() {
    let mut rig = rig();
    rig.member("ann", Some(("red", 1))).member("bob", Some(("red", 2)));
    rig.commit();
    rig.member("bob", Some(("red", 3)));
    assert_eq!(rig.commit(), 1, "the rank changed, the number of members did not");
    rig.member("cid", Some(("red", 4)));
    assert_eq!(rig.commit(), 3);
}

#[test]
fn many_changes_commit_once_and_run_each_input_once() {
    let mut rig = rig();
    rig.member("ann", Some(("red", 1)))
        .member("ann", Some(("red", 2)))
        .team("red", Some("go"))
        .team("red", Some("stay"));
    assert_eq!(rig.commit(), 1);
    assert_eq!(rig.badge("ann").as_deref(), Some("red/2/stay/1"));
}

#[test]
fn a_panic_quarantines_one_input_and_keeps_its_last_good_output() {
    let mut rig = rig();
    rig.member("ann", Some(("red", 1))).member("bob", Some(("blue", 2)));
    rig.commit();
    rig.member("ann", Some(("red", 66))).member("bob", Some(("blue", 3)));
    rig.commit();
    assert_eq!(rig.badge("ann").as_deref(), Some("red/1//1"));
    assert_eq!(rig.badge("bob").as_deref(), Some("blue/3//1"));
    let problems = rig.problems.list();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].1.to_string().contains("rank 66 explodes"), "{}", problems[0].1);
    assert!(problems[0].1.to_string().contains("Member src:ann"), "{}", problems[0].1);
    rig.member("ann", Some(("red", 4)));
    rig.commit();
    assert_eq!(rig.badge("ann").as_deref(), Some("red/4//1"));
    assert!(rig.problems.list().is_empty());
}

#[test]
fn an_object_that_does_not_parse_keeps_its_last_good_view_unless_it_grants_something() {
    let mut rig = rig();
    rig.team("red", Some("go")).member("ann", Some(("red", 1)));
    rig.commit();
    rig.member("ann", Some(("red", 13)));
    assert_eq!(rig.commit(), 0);
    assert_eq!(rig.badge("ann").as_deref(), Some("red/1/go/1"));
    rig.team("red", Some("bad"));
    rig.commit();
    assert_eq!(rig.badge("ann").as_deref(), Some("red/1//1"), "a team fails closed");
    assert_eq!(rig.problems.list().len(), 2);
}

/// A second view of a member, which sees the team alone.
#[derive(Debug, PartialEq, serde::Deserialize)]
struct Affiliation {
    team: String,
}

#[test]
fn two_views_of_one_type_are_both_fed_and_complain_each_for_itself() {
    let problems = Problems::default();
    let mut graph = Graph::new(&Env::system(), &problems);
    let members = graph.source::<Member>(&member_type());
    let affiliations = graph.source::<Json<Affiliation>>(&member_type());
    let object = mk_object(member_type(), "ann", r#""team":"red","rank":13"#);
    graph.feed(&member_type(), &key("ann"), Some(&object));
    graph.commit(1, None);
    assert_eq!(graph.get(members, &key("ann")), None);
    assert_eq!(graph.get(affiliations, &key("ann")), Some(Arc::new(Json(Affiliation { team: "red".to_owned() }))));
    assert_eq!(problems.list().len(), 1, "the view that is content does not take back what the other one said");
    graph.forget_source(&member_type(), &"src".into());
    graph.commit(2, None);
    assert_eq!(graph.get(affiliations, &key("ann")), None);
}

#[test]
fn functions_can_read_which_objects_cannot_be_read() {
    let mut rig = rig();
    rig.member("ann", Some(("red", 1))).member("bob", Some(("red", 13)));
    rig.commit();
    assert_eq!(rig.excuse("bob"), Some(("rank: 13 is not allowed".to_owned(), Serving::Nothing)));
    assert_eq!(rig.excuse("ann"), None);
    rig.member("ann", Some(("red", 13)));
    rig.commit();
    assert_eq!(rig.excuse("ann").unwrap().1, Serving::LastGood);
    rig.member("ann", Some(("red", 2))).member("bob", None);
    rig.commit();
    assert_eq!((rig.excuse("ann"), rig.excuse("bob")), (None, None));
    assert!(rig.problems().iter().all(|problem| !problem.starts_with("view/")), "{:?}", rig.problems());
}

#[test]
fn a_source_that_goes_takes_the_problems_of_what_was_never_good_along() {
    let mut rig = rig();
    rig.member("ann", Some(("red", 13)));
    rig.commit();
    assert_eq!(rig.problems().len(), 1);
    rig.graph.forget_source(&member_type(), &"src".into());
    rig.commit();
    assert_eq!((rig.problems(), rig.excuse("ann")), (Vec::new(), None));
}

#[test]
fn what_is_reported_of_a_value_stands_for_as_long_as_the_value_gives_reason() {
    let mut rig = rig();
    rig.member("ann", Some(("red", 99))).member("bob", Some(("red", 99))).member("cat", Some(("blue", 99)));
    rig.commit();
    let of = |team: &str, member: &str| format!("correlation/ranks: {team}: {member} has the rank 99");
    assert_eq!(rig.problems(), [of("blue", "cat"), of("red", "ann"), of("red", "bob")]);
    rig.member("ann", Some(("red", 1))).member("cat", None);
    rig.commit();
    assert_eq!(rig.problems(), [of("red", "bob")]);
    rig.member("bob", Some(("red", 2)));
    rig.commit();
    assert_eq!(rig.problems(), Vec::<String>::new());
}

#[test]
fn a_graph_that_is_built_anew_takes_back_what_the_one_before_it_reported() {
    let mut old = rig();
    old.member("ann", Some(("red", 99))).member("bob", Some(("red", 13))).member("cat", Some(("red", 66)));
    old.commit();
    assert_eq!(old.problems().len(), 3);
    rig_with(old.problems.clone()).graph.clear_problems();
    assert_eq!(old.problems(), Vec::<String>::new());
}

#[test]
fn a_removed_input_takes_its_outputs_and_its_look_ups_along() {
    let mut rig = rig();
    rig.member("ann", Some(("red", 1)));
    rig.commit();
    rig.member("ann", None);
    rig.commit();
    assert_eq!(rig.badge("ann"), None);
    rig.team("red", Some("go"));
    assert_eq!(rig.commit(), 0);
}

/// One step: a member or a team, changed or removed.
#[derive(Clone, Debug)]
enum Step {
    Member(u8, Option<(u8, u64)>),
    Team(u8, Option<bool>),
    Commit,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let rank = prop_oneof![8 => 0_u64..8, 1 => Just(13_u64), 1 => Just(66_u64)];
    let step = prop_oneof![
        6 => (0_u8..8, prop::option::weighted(0.8, (0_u8..3, rank))).prop_map(|(who, what)| Step::Member(who, what)),
        2 => (0_u8..3, prop::option::weighted(0.8, any::<bool>())).prop_map(|(team, motto)| Step::Team(team, motto)),
        2 => Just(Step::Commit),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    #[test]
    fn the_output_equals_a_computation_from_scratch_whatever_the_history(steps in steps()) {
        let mut rig = rig();
        let mut members: BTreeMap<u8, (u8, u64)> = BTreeMap::new();
        let mut teams: BTreeMap<u8, bool> = BTreeMap::new();
        for step in steps {
            match step {
                // What is quarantined keeps its last good output, which a computation from scratch can't know:
                // the model holds what was good last, as it is served.
                Step::Member(who, Some((_, 13 | 66))) if !members.contains_key(&who) => {}
                Step::Member(who, what) => {
                    let spelled = what.map(|(team, rank)| (["red", "blue", "green"][usize::from(team)], rank));
                    rig.member(&format!("m{who}"), spelled);
                    match what {
                        Some((_, 13)) => {}
                        Some(good) => drop(members.insert(who, good)),
                        None => drop(members.remove(&who)),
                    }
                    // Committed at once, so that "last good" is the one the model has.
                    rig.commit();
                }
                Step::Team(team, motto) => {
                    rig.team(["red", "blue", "green"][usize::from(team)], motto.map(|loud| if loud { "LOUD" } else { "soft" }));
                    match motto { Some(motto) => drop(teams.insert(team, motto)), None => drop(teams.remove(&team)) }
                }
                Step::Commit => drop(rig.commit()),
            }
        }
        // A rank of 66 is mended at the end: after the faults, everything must be as from scratch.
        for (who, (team, rank)) in &mut members {
            if *rank == 66 {
                *rank = 5;
            }
            rig.member(&format!("m{who}"), Some((["red", "blue", "green"][usize::from(*team)], *rank)));
        }
        rig.commit();
        let mut fresh = super::tests::rig();
        for (who, (team, rank)) in &members {
            fresh.member(&format!("m{who}"), Some((["red", "blue", "green"][usize::from(*team)], *rank)));
        }
        for (team, loud) in &teams {
            fresh.team(["red", "blue", "green"][usize::from(*team)], Some(if *loud { "LOUD" } else { "soft" }));
        }
        fresh.commit();
        prop_assert_eq!(rig.outputs(), fresh.outputs());
        prop_assert!(rig.problems.list().is_empty());
    }
}
