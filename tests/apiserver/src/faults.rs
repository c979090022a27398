//! The faults that stand, and the count of who has suffered them. The server asks once for each request; what a watch's
//! stream suffers is decided here and done in `session`.

use parking_lot::Mutex;
use serde::Serialize;

use crate::fault::{Act, Asked, Fault};

/// A fault that stands, with its number.
#[derive(Clone, Debug, Serialize)]
pub struct Standing {
    /// Its number, to lift it by.
    pub id: u64,
    /// How many requests have suffered.
    pub hits: u32,
    #[serde(flatten)]
    fault: Fault,
    #[serde(skip)]
    passed: u32,
}

/// The faults of one server, in the order in which they were added.
#[derive(Default)]
pub struct Faults {
    standing: Mutex<(u64, Vec<Standing>)>,
}

impl Faults {
    /// Adds a fault, and says under which number it stands.
    pub fn add(&self, fault: Fault) -> u64 {
        let mut standing = self.standing.lock();
        standing.0 += 1;
        let id = standing.0;
        standing.1.push(Standing { id, hits: 0, fault, passed: 0 });
        id
    }

    /// Lifts one.
    pub fn remove(&self, id: u64) {
        self.standing.lock().1.retain(|standing| standing.id != id);
    }

    /// Lifts all.
    pub fn clear(&self) {
        self.standing.lock().1.clear();
    }

    /// What stands, also what is used up.
    pub fn standing(&self) -> Vec<Standing> {
        self.standing.lock().1.clone()
    }

    /// How many requests a fault has hit.
    pub fn hits(&self, id: u64) -> u32 {
        self.standing.lock().1.iter().find(|standing| standing.id == id).map_or(0, |standing| standing.hits)
    }

    /// What a request suffers; it counts as hit.
    pub fn strike(&self, asked: &Asked) -> Vec<Act> {
        let mut struck = Vec::new();
        for standing in &mut self.standing.lock().1 {
            let left = standing.fault.times.is_none_or(|times| standing.hits < times);
            if !left || !standing.fault.when.matches(asked) {
                continue;
            }
            if standing.passed < standing.fault.when.after {
                standing.passed += 1;
                continue;
            }
            standing.hits += 1;
            struck.push(standing.fault.act.clone());
        }
        struck
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Then, When};

    fn mk_asked(verb: &'static str) -> Asked<'static> {
        Asked {
            verb,
            plural: "services",
            id: "services",
            namespace: "",
            name: "",
            path: "/api/v1/services",
            continued: false,
        }
    }

    #[test]
    fn a_fault_lets_the_first_pass_strikes_as_often_as_it_says_and_then_no_more() {
        let faults = Faults::default();
        let id = faults.add(Fault::times(When::of("list", "services").after(1), 2, Act::Silent));
        let struck: Vec<usize> = (0..4).map(|_| faults.strike(&mk_asked("list")).len()).collect();
        assert_eq!(struck, [0, 1, 1, 0]);
        assert!(faults.strike(&mk_asked("watch")).is_empty());
        assert_eq!(faults.hits(id), 2);
    }

    #[test]
    fn a_fault_reads_from_json_and_a_wrong_word_is_refused() {
        let json =
            r#"{"when": {"verb": "watch"}, "times": 1, "do": {"kind": "stream", "after": 3, "then": {"kind": "cut"}}}"#;
        let fault: Fault = serde_json::from_str(json).unwrap();
        let when = When { verb: "watch".to_owned(), ..When::default() };
        assert_eq!(fault, Fault::once(when, Act::Stream { after: 3, then: Then::Cut }));
        assert!(serde_json::from_str::<Fault>(r#"{"whem": {}, "do": {"kind": "silent"}}"#).is_err());
    }
}
