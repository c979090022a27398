//! Sieve's three perturbations as ready plans (Sun et al., "Automatic Reliability Testing For Cluster Management
//! Controllers", OSDI 2022): what a reader of changing state may meet at any event, at every event.
//!
//! - **Stale state**: after a reconnect it is served a state that is older than what it has seen; then the present.
//! - **Unobserved states**: it sees the state before some events and the one after them, and none between.
//! - **Intermediate states**: an actor fails in the middle of what an event sets in motion, at each step of it.
//!
//! A scenario is recorded once: its events, and the places that they made things pass
//! ([`FaultPlan::record`](crate::env::FaultPlan::record)). Every index of it gives a plan; run them as a
//! [`Scenario`](super::Scenario)'s.

use std::collections::BTreeMap;

use super::plan::Plan;
use crate::env::{Fault, FaultRule};
use crate::testing::MemorySource;

/// What happens between two events.
#[derive(Clone, Debug)]
pub enum Disturbance {
    /// The state of now is what the source will go back to, or stay at.
    Mark,
    /// Readers see nothing of what happens from here on.
    Blind,
    /// They see the present again, and of what happened meanwhile only what is left of it.
    See,
    /// They lose their connection, and the one that they get is to somebody who is behind.
    Past,
    /// Who was behind has caught up.
    Present,
    /// A fault, some time.
    Strike(FaultRule),
}

impl Disturbance {
    /// Does it to a source; a strike is for the fault plan to take.
    pub fn apply(&self, source: &MemorySource) {
        match self {
            Self::Mark => source.mark(),
            Self::Blind => source.serve_past(),
            Self::See => {
                source.compact();
                source.serve_present();
            }
            Self::Past => {
                source.serve_past();
                source.disconnect();
            }
            Self::Present => source.serve_present(),
            Self::Strike(_) => {}
        }
    }
}

/// For every event: the reader has seen it and `behind - 1` more, and is then served the state before it.
pub fn stale<S: Clone>(events: &[S], behind: usize, disturb: impl Fn(Disturbance) -> S) -> Vec<Plan<S>> {
    around(events, behind, &[Disturbance::Mark], &[Disturbance::Past], &disturb, Some(Disturbance::Present))
}

/// For every event: the reader never sees the state after it, nor those after the `missed - 1` that follow.
pub fn unobserved<S: Clone>(events: &[S], missed: usize, disturb: impl Fn(Disturbance) -> S) -> Vec<Plan<S>> {
    let before = [Disturbance::Mark, Disturbance::Blind];
    around(events, missed, &before, &[Disturbance::See], &disturb, None)
}

fn around<S: Clone>(
    events: &[S],
    width: usize,
    before: &[Disturbance],
    after: &[Disturbance],
    disturb: &impl Fn(Disturbance) -> S,
    later: Option<Disturbance>,
) -> Vec<Plan<S>> {
    let plan = |at: usize| {
        let until = (at + width.max(1)).min(events.len());
        let mut steps = events[..at].to_vec();
        steps.extend(before.iter().cloned().map(disturb));
        steps.extend_from_slice(&events[at..until]);
        steps.extend(after.iter().cloned().map(disturb));
        // One event happens while the reader is behind.
        let next = (until + 1).min(events.len());
        steps.extend_from_slice(&events[until..next]);
        steps.extend(later.iter().cloned().map(disturb));
        steps.extend_from_slice(&events[next..]);
        Plan::new(at as u64, steps)
    };
    (0..events.len()).map(plan).collect()
}

/// For every time that a place was passed in the recorded run: there, this time, whoever passes it panics. `places`
/// says which of them a panic means something at.
pub fn intermediate<S: Clone>(
    events: &[S],
    passed: &[String],
    places: impl Fn(&str) -> bool,
    disturb: impl Fn(Disturbance) -> S,
) -> Vec<Plan<S>> {
    let mut times: BTreeMap<&str, u32> = BTreeMap::new();
    let mut plans = Vec::new();
    for place in passed.iter().filter(|place| places(place)) {
        let time = times.entry(place).or_default();
        let strike = Disturbance::Strike(FaultRule::nth(place, Fault::Panic("injected".to_owned()), *time));
        *time += 1;
        let steps = std::iter::once(disturb(strike)).chain(events.iter().cloned());
        plans.push(Plan::new(plans.len() as u64, steps));
    }
    plans
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(plan: &Plan<String>) -> String {
        plan.steps.join(" ")
    }

    fn disturb(disturbance: Disturbance) -> String {
        format!("{disturbance:?}")
    }

    #[test]
    fn every_event_is_met_by_each_pattern() {
        let events: Vec<String> = ["a", "b", "c"].map(ToOwned::to_owned).to_vec();
        let shown: Vec<_> = stale(&events, 1, disturb).iter().map(show).collect();
        assert_eq!(shown, ["Mark a Past b Present c", "a Mark b Past c Present", "a b Mark c Past Present"]);
        let shown: Vec<_> = unobserved(&events, 2, disturb).iter().map(show).collect();
        assert_eq!(shown, ["Mark Blind a b See c", "a Mark Blind b c See", "a b Mark Blind c See"]);
    }

    #[test]
    fn every_passing_of_a_place_is_struck_once() {
        let passed = ["p", "q", "p", "r"].map(ToOwned::to_owned);
        let plans = intermediate(&["e".to_owned()], &passed, |place| place != "r", disturb);
        let strikes: Vec<_> = plans.iter().map(|plan| plan.steps[0].clone()).collect();
        assert_eq!(plans.len(), 3);
        assert!(strikes[0].contains(r#"place: "p""#) && strikes[0].contains("after: 0"), "{strikes:?}");
        assert!(strikes[1].contains(r#"place: "q""#) && strikes[1].contains("after: 0"));
        assert!(strikes[2].contains(r#"place: "p""#) && strikes[2].contains("after: 1"));
    }
}
