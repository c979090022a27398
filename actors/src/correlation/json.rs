//! The shortest way to a view: the fields of a type of one's own, read from the object's JSON.

use std::ops::Deref;

use serde::de::DeserializeOwned;

use super::view::View;
use crate::object::Object;
use crate::problem::FieldError;

/// A view that is what `T` deserialises to, and no more. What `T` has no field for re-runs nothing; what does not fit
/// is reported with its path, and the last good version stays. For anything else, implement [`View`].
#[derive(Clone, Debug, PartialEq)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned + PartialEq + Send + Sync + 'static> View for Json<T> {
    fn parse(object: &Object) -> Result<Self, Vec<FieldError>> {
        object.parse().map(Self)
    }
}

impl<T> Deref for Json<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
