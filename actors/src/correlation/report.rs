//! A report node: problems that are computed from a collection, told for as long as its values are there.

use super::collection::{Collection, Key, Value};
use super::graph::{Node, World};
use crate::problem::Problem;

pub(super) struct ReportNode<K, V, F> {
    pub scope: String,
    pub input: Collection<K, V>,
    pub problems: F,
}

impl<K, V, F> Node for ReportNode<K, V, F>
where
    K: Key,
    V: Value,
    F: Fn(&K, &V) -> Vec<Problem> + Send + 'static,
{
    fn problem_scope(&self) -> Option<String> {
        Some(self.scope.clone())
    }

    fn has_work(&self, world: &World) -> bool {
        world.erased(self.input.id).is_touched()
    }

    fn run(&mut self, world: &World, _dirty: Vec<u32>) -> usize {
        let deltas: Vec<_> = world.with(self.input, |state| state.deltas().collect());
        for delta in &deltas {
            let of =
                |value: &Option<_>| value.as_deref().map_or_else(Vec::new, |value| (self.problems)(&delta.key, value));
            let (old, new) = (of(&delta.old).len(), of(&delta.new));
            let id = |at: usize| format!("{:?}/{at}", delta.key);
            for at in new.len()..old {
                world.problems.clear(&self.scope, &id(at));
            }
            for (at, problem) in new.into_iter().enumerate() {
                if world.problems.set(&self.scope, &id(at), problem.clone()) {
                    tracing::warn!(problem = %problem, "reported");
                }
            }
        }
        deltas.len()
    }
}
