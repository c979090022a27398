//! A plan: what a seed does to a system, step by step; and how a plan that fails is made short.

use std::fmt;

/// Steps in their order. What a step is, the scenario says: a change of a source, a fault, an order, a wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan<S> {
    /// What decided the steps, and decides whatever dice the run itself throws.
    pub seed: u64,
    /// What happens, in order.
    pub steps: Vec<S>,
}

impl<S> Plan<S> {
    /// A plan of some steps.
    pub fn new(seed: u64, steps: impl IntoIterator<Item = S>) -> Self {
        Self { seed, steps: steps.into_iter().collect() }
    }
}

/// For people: one line a step.
impl<S: fmt::Debug> fmt::Display for Plan<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.steps.iter().enumerate() {
            writeln!(f, "{at:>4}  {step:?}")?;
        }
        Ok(())
    }
}

/// The shortest plan that still fails, as far as leaving steps out leads there: Zeller's delta debugging (ddmin), on
/// steps that may be left out in any combination. Runs `fails` at most `runs` times.
pub fn shrink<S: Clone>(plan: &Plan<S>, runs: usize, mut fails: impl FnMut(&Plan<S>) -> bool) -> Plan<S> {
    let mut best = plan.clone();
    let mut left = runs;
    let mut parts = 2;
    while best.steps.len() >= 2 && left > 0 {
        let size = best.steps.len().div_ceil(parts);
        let mut found = None;
        for part in 0..best.steps.len().div_ceil(size) {
            let gone = part * size..((part + 1) * size).min(best.steps.len());
            let rest = best.steps.iter().enumerate().filter(|(at, _)| !gone.contains(at)).map(|(_, step)| step.clone());
            let candidate = Plan::new(best.seed, rest);
            if left == 0 {
                break;
            }
            left -= 1;
            if fails(&candidate) {
                found = Some(candidate);
                break;
            }
        }
        match found {
            Some(shorter) => {
                best = shorter;
                parts = (parts - 1).max(2);
            }
            None if size == 1 => break,
            None => parts = (parts * 2).min(best.steps.len()),
        }
    }
    if best.steps.len() == 1 && left > 0 {
        let empty = Plan::new(best.seed, []);
        if fails(&empty) {
            return empty;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_matter_is_left_out() {
        let plan = Plan::new(7, 0..100);
        let mut runs = 0;
        let short = shrink(&plan, 1_000, |plan| {
            runs += 1;
            [13, 57, 58].iter().all(|needed| plan.steps.contains(needed))
        });
        assert_eq!(short, Plan::new(7, [13, 57, 58]));
        assert!(runs < 200, "{runs} runs");
    }

    #[test]
    fn a_plan_that_fails_without_any_step_is_empty_and_runs_are_counted() {
        assert!(shrink(&Plan::new(1, 0..50), 100, |_| true).steps.is_empty());
        let mut runs = 0;
        let plan = Plan::new(1, 0..64);
        let short = shrink(&plan, 5, |plan| {
            runs += 1;
            plan.steps.contains(&63)
        });
        assert_eq!(runs, 5);
        assert!(short.steps.contains(&63) && short.steps.len() < 64);
    }
}
