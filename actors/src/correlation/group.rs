//! A group node: the values of a collection gathered into sorted sequences, one a group, at a cost that does
//! not grow with the group.

use std::sync::Arc;

use super::collection::{Collection, Key, Value};
use super::graph::{Node, World};
use crate::Map;
use crate::seq::Seq;

/// A value's group, its place in the group (unique there), and what stands at that place.
pub(super) type Place<G, O, T> = (G, O, Arc<T>);

/// Edits of one group: places with what now stands there.
type Edits<O, T> = Vec<(O, Option<Arc<T>>)>;

/// What happened to one group. Removals apart from additions, and first: of two values that swap places, the new
/// one must win.
struct Regrouped<G, O, T> {
    group: G,
    removals: Edits<O, T>,
    additions: Edits<O, T>,
}

/// Several groups, in the order in which they first changed.
struct AllRegrouped<G, O, T> {
    at: Map<G, usize>,
    groups: Vec<Regrouped<G, O, T>>,
}

impl<G: Key, O, T> AllRegrouped<G, O, T> {
    fn of(&mut self, group: G) -> &mut Regrouped<G, O, T> {
        let next = self.groups.len();
        let at = *self.at.entry(group.clone()).or_insert(next);
        if at == next {
            self.groups.push(Regrouped { group, removals: Vec::new(), additions: Vec::new() });
        }
        &mut self.groups[at]
    }
}

pub(super) struct GroupNode<K, V, G, O, T, F> {
    pub input: Collection<K, V>,
    pub output: Collection<G, Seq<O, T>>,
    pub place: F,
}

impl<K, V, G, O, T, F> Node for GroupNode<K, V, G, O, T, F>
where
    K: Key,
    V: Value,
    G: Key,
    O: Key,
    T: Value,
    F: Fn(&K, &V) -> Place<G, O, T> + Send + 'static,
{
    fn has_work(&self, world: &World) -> bool {
        world.erased(self.input.id).is_touched()
    }

    fn run(&mut self, world: &World, _dirty: Vec<u32>) -> usize {
        let deltas: Vec<_> = world.with(self.input, |state| state.deltas().collect());
        let mut regrouped = AllRegrouped { at: Map::default(), groups: Vec::new() };
        for delta in &deltas {
            if let Some(old) = &delta.old {
                let (group, order, _) = (self.place)(&delta.key, old);
                regrouped.of(group).removals.push((order, None));
            }
            if let Some(new) = &delta.new {
                let (group, order, value) = (self.place)(&delta.key, new);
                regrouped.of(group).additions.push((order, Some(value)));
            }
        }
        let edits = regrouped.groups;
        let runs = edits.len();
        for Regrouped { group, removals, additions } in edits {
            world.with(self.output, |state| {
                let seq = state.get(&group).map(|seq| (**seq).clone()).unwrap_or_default();
                let seq = seq.edited(removals.into_iter().chain(additions));
                state.set(&group, (!seq.is_empty()).then(|| Arc::new(seq)));
            });
        }
        runs
    }
}
