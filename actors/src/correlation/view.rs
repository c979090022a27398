//! Views: typed, pruned values parsed from raw objects. Where untyped becomes typed, bad input is stopped.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::collection::{Collection, State};
use super::graph::{Node, World, panic_text};
use crate::id::{Name, ObjectKey, ObjectRef, ResourceType};
use crate::object::Object;
use crate::problem::{FieldError, Problem, Serving};
use crate::{Map, Set};

/// What a correlation reads of an object. Fields that nobody reads are left out, so that a change to them
/// changes no view and re-runs nothing.
pub trait View: PartialEq + Send + Sync + Sized + 'static {
    /// Whether objects of the kind grant something: a broken one is then as good as absent. Anything else keeps
    /// its last good version.
    const FAILS_CLOSED: bool = false;

    /// Reads an object, or says all that is wrong with it.
    fn parse(object: &Object) -> Result<Self, Vec<FieldError>>;
}

pub(super) struct ViewNode<V> {
    pub output: Collection<ObjectKey, V>,
    pub resource_type: ResourceType,
    /// In the order of arrival; the last of one key counts.
    pub incoming: Vec<(ObjectKey, Option<Arc<Object>>)>,
    /// Objects with a problem.
    pub broken: BTreeSet<ObjectKey>,
}

impl<V: View> ViewNode<V> {
    fn parse(&self, object: &Object) -> Result<V, Vec<FieldError>> {
        catch_unwind(AssertUnwindSafe(|| V::parse(object))).unwrap_or_else(|panic| {
            let reason = format!("reading it panicked: {}", panic_text(&*panic));
            Err(vec![FieldError { path: String::new(), reason }])
        })
    }

    /// Names the view as well, since another one of the same type may be content with the object.
    fn scope(&self) -> String {
        format!("view/{}/{}", self.resource_type, std::any::type_name::<V>())
    }

    fn report(&self, world: &World, key: &ObjectKey, errors: &[FieldError], serving: Serving) {
        let Some(first) = errors.first() else { return };
        let more: String = errors[1..].iter().map(|error| format!("; {}: {}", error.path, error.reason)).collect();
        let object = ObjectRef { resource_type: self.resource_type.clone(), key: key.clone() };
        let problem = Problem {
            place: String::new(),
            object: Some(object),
            field: first.path.clone(),
            reason: format!("{}{more}", first.reason),
            serving,
        };
        if world.problems.set(&self.scope(), &key.to_string(), problem.clone()) {
            tracing::warn!(problem = %problem, "object quarantined");
        }
    }
}

impl<V: View> Node for ViewNode<V> {
    fn problem_scope(&self) -> Option<String> {
        Some(self.scope())
    }

    fn has_work(&self, _world: &World) -> bool {
        !self.incoming.is_empty()
    }

    fn feed(&mut self, resource_type: &ResourceType, key: &ObjectKey, object: Option<&Arc<Object>>) {
        if *resource_type == self.resource_type {
            self.incoming.push((key.clone(), object.cloned()));
        }
    }

    fn forget_source(&mut self, world: &World, source: &Name) {
        let held = |state: &mut State<ObjectKey, V>| state.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
        let mut gone = world.with(self.output, held);
        // What never could be read is not held, but has a problem that goes too.
        gone.extend(self.broken.iter().cloned());
        gone.retain(|key| key.source == *source);
        self.incoming.retain(|(key, _)| key.source != *source);
        self.incoming.extend(gone.into_iter().map(|key| (key, None)));
    }

    fn run(&mut self, world: &World, _dirty: Vec<u32>) -> usize {
        let incoming = std::mem::take(&mut self.incoming);
        let runs = incoming.len();
        let mut latest: Map<&ObjectKey, usize> = Map::default();
        let mut deleted: Set<&ObjectKey> = Set::default();
        for (at, (key, object)) in incoming.iter().enumerate() {
            latest.insert(key, at);
            if object.is_none() {
                deleted.insert(key);
            }
        }
        for (at, (key, object)) in incoming.iter().enumerate() {
            if latest.get(key) != Some(&at) {
                continue;
            }
            let new = match object.as_deref().map(|object| self.parse(object)) {
                Some(Err(errors)) => {
                    let held = world.with(self.output, |state| state.get(key).cloned());
                    // What was deleted and created again is another object: the old one's version is not its last good.
                    let kept = held.filter(|_| !V::FAILS_CLOSED && !deleted.contains(key));
                    let serving = if kept.is_some() { Serving::LastGood } else { Serving::Nothing };
                    self.report(world, key, &errors, serving);
                    self.broken.insert(key.clone());
                    kept
                }
                good => {
                    if self.broken.remove(key) {
                        world.problems.clear(&self.scope(), &key.to_string());
                    }
                    good.and_then(Result::ok).map(Arc::new)
                }
            };
            world.with(self.output, |state| state.set(key.clone(), new));
        }
        runs
    }
}
