//! A fault plan: rules that say which fault strikes where, how likely and how often. Tests use it, and so does a
//! service that is attacked on purpose.
//!
//! Law: one seed and one sequence of places give one sequence of faults.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{Fault, Faults, Rng, SeededRng};

/// So many strikes are remembered.
const REMEMBERED: usize = 100_000;

/// One kind of fault at some places.
#[derive(Clone, Debug)]
pub struct FaultRule {
    /// Which places: a path in which `*` stands for one or more whole elements, such as `port/*/receive`.
    pub place: String,
    /// What happens there.
    pub fault: Fault,
    /// How likely it is each time, 0 to 1.
    pub probability: f64,
    /// How often it may still happen; `None` without limit.
    pub times: Option<u32>,
    /// How many that match pass unharmed before the first one that may be struck.
    pub after: u32,
}

impl FaultRule {
    /// A fault that happens each time.
    pub fn always(place: &str, fault: Fault) -> Self {
        Self { place: place.to_owned(), fault, probability: 1.0, times: None, after: 0 }
    }

    /// A fault that happens the next time, once.
    pub fn once(place: &str, fault: Fault) -> Self {
        Self { times: Some(1), ..Self::always(place, fault) }
    }

    /// A fault that happens once, to the thing that comes after so many others.
    pub fn nth(place: &str, fault: Fault, after: u32) -> Self {
        Self { after, ..Self::once(place, fault) }
    }

    /// A fault that happens now and then.
    pub fn sometimes(place: &str, fault: Fault, probability: f64) -> Self {
        Self { probability, ..Self::always(place, fault) }
    }
}

/// Rules in force, and what they did. Clones share them.
#[derive(Clone)]
pub struct FaultPlan {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    rng: SeededRng,
    rules: Vec<(u64, FaultRule)>,
    next: u64,
    struck: Vec<(String, Fault)>,
    /// Every place that was passed, if somebody asked for it.
    passed: Option<Vec<String>>,
}

impl FaultPlan {
    /// A plan without rules; its dice are those of the seed.
    pub fn new(seed: u64) -> Self {
        let inner =
            Inner { rng: SeededRng::new(seed ^ 0xfa17), rules: Vec::new(), next: 0, struck: Vec::new(), passed: None };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// Adds a rule; the first that strikes at a place decides.
    pub fn add(&self, rule: FaultRule) -> &Self {
        self.put(rule);
        self
    }

    /// Adds a rule, and says by which number it can be taken back.
    pub fn put(&self, rule: FaultRule) -> u64 {
        let inner = &mut *self.inner.lock();
        inner.next += 1;
        inner.rules.push((inner.next, rule));
        inner.next
    }

    /// Takes a rule back; false if it was taken back before.
    pub fn remove(&self, number: u64) -> bool {
        let rules = &mut self.inner.lock().rules;
        let before = rules.len();
        rules.retain(|(of, _)| *of != number);
        rules.len() < before
    }

    /// No more faults.
    pub fn heal(&self) {
        self.inner.lock().rules.clear();
    }

    /// Notes every place that is passed from now on, struck or not.
    pub fn record(&self) {
        self.inner.lock().passed.get_or_insert_default();
    }

    /// The places that were passed since [`record`](Self::record), in order.
    pub fn passed(&self) -> Vec<String> {
        self.inner.lock().passed.clone().unwrap_or_default()
    }

    /// What struck so far, and where, in order.
    pub fn struck(&self) -> Vec<(String, Fault)> {
        self.inner.lock().struck.clone()
    }
}

impl Faults for FaultPlan {
    fn at(&self, place: &str) -> Fault {
        let inner = &mut *self.inner.lock();
        if let Some(passed) = &mut inner.passed {
            passed.push(place.to_owned());
        }
        for (_, rule) in &mut inner.rules {
            if rule.times == Some(0) || !matches(&rule.place, place) {
                continue;
            }
            if rule.after > 0 {
                rule.after -= 1;
                continue;
            }
            if inner.rng.unit() >= rule.probability {
                continue;
            }
            rule.times = rule.times.map(|times| times - 1);
            // A service under attack for days must not remember all of it.
            if inner.struck.len() < REMEMBERED {
                inner.struck.push((place.to_owned(), rule.fault.clone()));
            }
            return rule.fault.clone();
        }
        Fault::None
    }
}

/// Whether a place matches a pattern, element by element; `*` takes one or more.
fn matches(pattern: &str, place: &str) -> bool {
    fn rest(pattern: &[&str], place: &[&str]) -> bool {
        match (pattern.split_first(), place.split_first()) {
            (None, None) => true,
            (Some((&"*", after)), Some((_, left))) => rest(after, left) || rest(pattern, left),
            (Some((want, after)), Some((have, left))) => want == have && rest(after, left),
            _ => false,
        }
    }
    rest(&pattern.split('/').collect::<Vec<_>>(), &place.split('/').collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_one_or_more_elements() {
        assert!(matches("port/*/receive", "port/store/demo/routes/receive"));
        assert!(matches("*", "publish/xds"));
        assert!(!matches("port/*/receive", "port/receive"));
        assert!(!matches("port/*/send", "port/x/receive"));
    }

    #[test]
    fn a_rule_strikes_as_often_as_it_may_and_healing_ends_it() {
        let plan = FaultPlan::new(1);
        plan.add(FaultRule::once("a/b", Fault::Drop)).add(FaultRule::always("a/*", Fault::Stall));
        assert_eq!(plan.at("a/b"), Fault::Drop);
        assert_eq!(plan.at("a/b"), Fault::Stall);
        let number = plan.put(FaultRule::always("c", Fault::Drop));
        assert_eq!(plan.at("c"), Fault::Drop);
        assert_eq!((plan.remove(number), plan.remove(number), plan.at("c")), (true, false, Fault::None));
        plan.heal();
        assert_eq!(plan.at("a/b"), Fault::None);
        assert_eq!(plan.struck().len(), 3);
    }

    #[test]
    fn the_nth_that_passes_is_struck_and_what_passes_is_noted_on_request() {
        let plan = FaultPlan::new(1);
        plan.add(FaultRule::nth("a/*", Fault::Corrupt, 2));
        assert!(plan.passed().is_empty());
        plan.record();
        let faults: Vec<Fault> = ["a/1", "a/2", "b", "a/3", "a/4"].iter().map(|place| plan.at(place)).collect();
        assert_eq!(faults, [Fault::None, Fault::None, Fault::None, Fault::Corrupt, Fault::None]);
        assert_eq!(plan.passed(), ["a/1", "a/2", "b", "a/3", "a/4"]);
    }
}
