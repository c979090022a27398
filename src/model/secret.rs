//! Certificates and keys. The only part of the model with secret content: neither `Debug` nor `Serialize`
//! shows it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use tidegate_actors::id::{Name, ObjectRef};

use super::GatewayId;

/// A Secret, as filter chains refer to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct SecretId {
    /// The configured source's name.
    pub source: Name,
    /// Namespace.
    pub namespace: Name,
    /// Name.
    pub name: Name,
}

/// `source/namespace/name`.
impl fmt::Display for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.source, self.namespace, self.name)
    }
}

/// A certificate chain with its private key, both PEM, both checked to parse and to belong together.
#[derive(Clone, PartialEq, Serialize)]
pub struct Secret {
    /// Its identity.
    pub id: SecretId,
    /// The Gateways that refer to it, sorted: who is sent it.
    pub gateways: Arc<[GatewayId]>,
    /// The Secret object.
    #[serde(skip)]
    pub origin: ObjectRef,
    /// Leaf first.
    #[serde(skip)]
    pub certificate_chain: Bytes,
    /// Never shown.
    #[serde(skip)]
    pub private_key: Bytes,
    /// The leaf's end of validity, seconds since the Unix epoch.
    pub not_after: i64,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("id", &self.id).finish_non_exhaustive()
    }
}
