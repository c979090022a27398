//! An object as its raw JSON plus the metadata parsed out of it in the same pass.
//!
//! Invariant: nothing here holds a parsed JSON tree; typed views are made by whoever needs one, from
//! [`Object::raw`](crate::object::Object::raw).

mod decode;
mod error;
mod intern;
mod keyed;
mod parse;
mod scan;
#[cfg(test)]
mod tests;
mod text;
mod timestamp;

pub use decode::{Decoder, Transform};
pub use error::{Cause as DecodeCause, DecodeError};
pub(crate) use keyed::Keyed;

use std::fmt;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use self::text::{Span, Texts};
use crate::id::{Name, ObjectKey, ObjectRef, ResourceType};
use crate::problem::FieldError;

/// One object of a source. Shared as `Arc<Object>`; never changed after it was made.
///
/// `Debug` and logs show the identity only: the raw JSON may be a secret.
pub struct Object {
    pub(crate) resource_type: ResourceType,
    pub(crate) key: ObjectKey,
    /// Empty if there is none, as is the resource version.
    uid: Span,
    resource_version: Span,
    generation: i64,
    created: i64,
    deleting: bool,
    /// Sorted by key.
    labels: Box<[(Span, Span)]>,
    owners: Box<[OwnerRef]>,
    /// The raw JSON, in which most of the above stands.
    texts: Texts,
}

/// An entry of `metadata.ownerReferences`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerRef {
    /// `group/version` of the owner.
    pub api_version: Name,
    /// Kind of the owner.
    pub kind: Name,
    /// Name of the owner, in the object's own namespace or cluster-scoped.
    pub name: Name,
    /// UID of the owner.
    pub uid: Name,
}

impl Object {
    /// What kind of object it is.
    pub fn resource_type(&self) -> &ResourceType {
        &self.resource_type
    }

    /// Which object it is.
    pub fn key(&self) -> &ObjectKey {
        &self.key
    }

    /// Type and key together.
    pub fn object_ref(&self) -> ObjectRef {
        ObjectRef { resource_type: self.resource_type.clone(), key: self.key.clone() }
    }

    /// `metadata.uid`: differs between two objects that had one name one after the other.
    pub fn uid(&self) -> Option<&str> {
        Some(self.texts.get(self.uid)).filter(|uid| !uid.is_empty())
    }

    /// `metadata.resourceVersion`, opaque.
    pub fn resource_version(&self) -> Option<&str> {
        Some(self.texts.get(self.resource_version)).filter(|version| !version.is_empty())
    }

    /// `metadata.generation`; 0 if the source has none.
    pub fn generation(&self) -> i64 {
        self.generation
    }

    /// `metadata.creationTimestamp` in seconds since the Unix epoch; 0 if the source has none.
    pub fn created(&self) -> i64 {
        self.created
    }

    /// Whether `metadata.deletionTimestamp` is set.
    pub fn is_deleting(&self) -> bool {
        self.deleting
    }

    /// `metadata.labels`, sorted by key.
    pub fn labels(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.labels.iter().map(|(key, value)| (self.texts.get(*key), self.texts.get(*value)))
    }

    /// The value of one label.
    pub fn label(&self, key: &str) -> Option<&str> {
        let at = self.labels.binary_search_by(|(held, _)| self.texts.get(*held).cmp(key)).ok()?;
        Some(self.texts.get(self.labels[at].1))
    }

    /// `metadata.ownerReferences`.
    pub fn owners(&self) -> &[OwnerRef] {
        &self.owners
    }

    /// Whether both are one version of one object: the same uid and resource version, said in one API version; where
    /// there are no versions, the same content. Versions are opaque, so there is no older or newer.
    pub fn is_same_version(&self, other: &Self) -> bool {
        self.key == other.key
            && self.uid() == other.uid()
            && match (self.resource_version(), other.resource_version()) {
                (Some(mine), Some(theirs)) => mine == theirs && !self.is_said_otherwise(other),
                (None, None) => self.raw() == other.raw(),
                _ => false,
            }
    }

    /// Whether both begin with their API versions, and those are different: one object looks otherwise in each, under
    /// one resource version. Objects whose API version changes while they are watched begin with it, since their
    /// server sorts keys; those in lists of others leave it out.
    fn is_said_otherwise(&self, other: &Self) -> bool {
        fn of(raw: &[u8]) -> Option<&[u8]> {
            raw.strip_prefix(br#"{"apiVersion":""#)?.split(|byte| *byte == b'"').next()
        }
        matches!((of(self.raw()), of(other.raw())), (Some(mine), Some(theirs)) if mine != theirs)
    }

    /// The JSON of the object after the source's transform.
    pub fn raw(&self) -> &Bytes {
        self.texts.raw()
    }

    /// The JSON as a type of one's own that names the fields it wants: most of what a
    /// [`View`](crate::correlation::View) has to do.
    ///
    /// # Errors
    /// The first field that does not fit, with its path and what it must be; never what it is.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Vec<FieldError>> {
        parse::parse(self.raw()).map_err(|error| vec![error])
    }
}

/// Objects are equal when they are the same object with the same content.
impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.resource_type == other.resource_type && self.key == other.key && self.raw() == other.raw()
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.resource_version().unwrap_or("-");
        write!(f, "{} {}@{version}", self.resource_type.kind(), self.key)
    }
}
