//! What every view has: who the object is, and the little of its metadata that decides anything.
//!
//! Invariant: neither the resource version nor anything of `status` is in a view, so that our own status
//! writes change none.

use tidegate_actors::id::{ObjectKey, ObjectRef};
use tidegate_actors::object::Object;

use super::field::{Checks, FieldError};

/// The part of a kind that we read, apart from its metadata.
pub trait Kind: Sized + PartialEq + Send + Sync + 'static {
    /// Whether the kind grants something: a broken one is then as good as absent.
    const FAILS_CLOSED: bool = false;

    /// Reads the raw JSON of the whole object. What makes it unusable goes to `checks.errors`; `None` only if
    /// something did.
    fn read(raw: &[u8], checks: &mut Checks) -> Option<Self>;
}

/// A pruned, typed view of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct View<S> {
    /// Who it is.
    pub object: ObjectRef,
    /// `metadata.generation`.
    pub generation: i64,
    /// `metadata.creationTimestamp` in seconds since the Unix epoch; 0 if the source has none.
    pub created: i64,
    /// What we read of it.
    pub spec: S,
}

impl<S: Kind> tidegate_actors::correlation::View for View<S> {
    const FAILS_CLOSED: bool = S::FAILS_CLOSED;

    fn parse(object: &Object) -> Result<Self, Vec<FieldError>> {
        let mut checks = Checks::default();
        match S::read(object.raw(), &mut checks) {
            Some(spec) if checks.errors.is_empty() => Ok(Self {
                object: object.object_ref(),
                generation: object.generation(),
                created: object.created(),
                spec,
            }),
            _ => Err(checks.errors),
        }
    }
}

impl<S> View<S> {
    /// Which object it is.
    pub fn key(&self) -> &ObjectKey {
        &self.object.key
    }
}

/// All that is wrong with the raw JSON of an object of this kind, what a view would tolerate included: a value
/// outside of the schema's enumerations, a regular expression that does not compile.
pub fn check<S: Kind>(raw: &[u8]) -> Vec<FieldError> {
    let mut checks = Checks::default();
    // Everything that is wrong is in `checks`.
    let _ = S::read(raw, &mut checks);
    checks.errors.append(&mut checks.unsupported);
    checks.errors
}
