//! Views: typed, pruned values parsed from raw objects. Where untyped becomes typed, bad input is stopped.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::collection::{Collection, State};
use super::graph::{Node, World, panic_text};
use crate::id::{Name, ObjectKey, ObjectRef, ResourceType};
use crate::object::Object;
use crate::parallel;
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

/// An object that its view cannot be read from. See [`Graph::source_errors`](super::Graph::source_errors).
#[derive(Clone, Debug)]
pub struct ViewError {
    /// The object as it came.
    pub object: Arc<Object>,
    /// All that is wrong with it; at least one.
    pub errors: Vec<FieldError>,
    /// What its view is meanwhile: the last good one, or absent.
    pub serving: Serving,
}

impl PartialEq for ViewError {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.object, &other.object) && self.serving == other.serving && self.errors == other.errors
    }
}

pub(super) struct ViewNode<V> {
    output: Collection<ObjectKey, V>,
    resource_type: ResourceType,
    /// In the order of arrival; the last of one key counts.
    incoming: Vec<(ObjectKey, Option<Arc<Object>>)>,
    /// What is reported as a problem.
    failing: Set<ObjectKey>,
    /// Who wants to know of them.
    errors: Option<Collection<ObjectKey, ViewError>>,
}

impl<V: View> ViewNode<V> {
    pub fn new(output: Collection<ObjectKey, V>, resource_type: ResourceType) -> Self {
        Self { output, resource_type, incoming: Vec::new(), failing: Set::default(), errors: None }
    }

    fn parse(object: &Object) -> Result<V, Vec<FieldError>> {
        catch_unwind(AssertUnwindSafe(|| V::parse(object))).unwrap_or_else(|panic| {
            let reason = format!("reading it panicked: {}", panic_text(&*panic));
            Err(vec![FieldError { path: String::new(), reason }])
        })
    }

    /// Names the view as well, since another one of the same type may be content with the object.
    fn scope(&self) -> String {
        format!("view/{}/{}", self.resource_type, std::any::type_name::<V>())
    }

    /// Says, or no longer says, that an object cannot be read.
    fn fail(&mut self, world: &World, key: &ObjectKey, error: Option<ViewError>) {
        match &error {
            Some(error) => {
                self.failing.insert(key.clone());
                self.report(world, key, &error.errors, error.serving);
            }
            None if !self.failing.is_empty() && self.failing.remove(key) => {
                world.problems.clear(&self.scope(), &key.to_string());
            }
            None => return,
        }
        if let Some(errors) = self.errors {
            world.with(errors, |state| state.set(key, error.map(Arc::new)));
        }
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
        let mut failing: Vec<_> = self.failing.iter().cloned().collect();
        failing.sort_unstable();
        gone.extend(failing);
        gone.retain(|key| key.source == *source);
        self.incoming.retain(|(key, _)| key.source != *source);
        self.incoming.extend(gone.into_iter().map(|key| (key, None)));
    }

    fn tell_errors(&mut self, to: Collection<ObjectKey, ViewError>) {
        self.errors = Some(to);
    }

    fn run(&mut self, world: &World, _dirty: Vec<u32>) -> usize {
        let incoming = std::mem::take(&mut self.incoming);
        let runs = incoming.len();
        let mut latest: Map<&ObjectKey, usize> = Map::with_capacity_and_hasher(runs, Default::default());
        let mut deleted: Set<&ObjectKey> = Set::default();
        for (at, (key, object)) in incoming.iter().enumerate() {
            latest.insert(key, at);
            if object.is_none() {
                deleted.insert(key);
            }
        }
        let mut wanted: Vec<usize> = latest.into_values().collect();
        wanted.sort_unstable();
        world.with(self.output, |state| state.make_room(wanted.len()));
        let read = |at: &usize| incoming[*at].1.as_ref().map(|object| (object, Self::parse(object)));
        for (at, read) in wanted.iter().zip(parallel::map(&wanted, read)) {
            let key = &incoming[*at].0;
            let (new, error) = match read {
                Some((object, Err(errors))) => {
                    let held = world.with(self.output, |state| state.get(key).cloned());
                    // What was deleted and created again is another object: the old one's version is not its last good.
                    let kept = held.filter(|_| !V::FAILS_CLOSED && !deleted.contains(key));
                    let serving = if kept.is_some() { Serving::LastGood } else { Serving::Nothing };
                    (kept, Some(ViewError { object: object.clone(), errors, serving }))
                }
                good => (good.and_then(|(_, view)| view.ok()).map(Arc::new), None),
            };
            self.fail(world, key, error);
            world.with(self.output, |state| state.set(key, new));
        }
        runs
    }
}

/// Holds the errors that a view node writes: they are set before its turn, and its turn wakes their readers.
pub(super) struct ErrorsNode(pub Collection<ObjectKey, ViewError>);

impl Node for ErrorsNode {
    fn has_work(&self, world: &World) -> bool {
        world.erased(self.0.id).is_touched()
    }

    fn run(&mut self, _world: &World, _dirty: Vec<u32>) -> usize {
        0
    }
}
