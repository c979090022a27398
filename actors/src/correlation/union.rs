//! A union node: several collections of one type as one; where two hold a key, the one declared first counts.

use super::collection::{Collection, Key, Value};
use super::graph::{Node, World};

pub(super) struct UnionNode<K, V> {
    pub inputs: Vec<Collection<K, V>>,
    pub output: Collection<K, V>,
}

impl<K: Key, V: Value> Node for UnionNode<K, V> {
    fn has_work(&self, world: &World) -> bool {
        self.inputs.iter().any(|input| world.erased(input.id).is_touched())
    }

    fn run(&mut self, world: &World, _dirty: Vec<u32>) -> usize {
        let mut runs = 0;
        for input in &self.inputs {
            let changed: Vec<K> = world.with(*input, |state| state.deltas().map(|delta| delta.key).collect());
            runs += changed.len();
            world.with(self.output, |state| state.make_room(changed.len()));
            for key in changed {
                let first = self.inputs.iter().find_map(|input| world.with(*input, |state| state.get(&key).cloned()));
                world.with(self.output, |state| state.set(&key, first));
            }
        }
        runs
    }
}
