//! `limits`: how much is taken in from sources before somebody is named and refused.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::problem::Check;
use super::values::ByteSize;

/// How much is taken in before somebody is named and refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The largest object, as JSON. A larger one is quarantined and named.
    pub object_size: ByteSize,
    /// The largest file of a directory source.
    pub file_size: ByteSize,
    /// How many routes one Gateway may have: the oldest have room, later ones are told that there is none.
    pub routes_per_gateway: u32,
    /// How many resource types may be watched because somebody asked for it at run time.
    pub watches: u32,
    /// The largest body of a request to the admin API.
    pub request_size: ByteSize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            object_size: ByteSize::new(2 << 20),
            file_size: ByteSize::new(64 << 20),
            routes_per_gateway: 100_000,
            watches: 256,
            request_size: ByteSize::new(64 << 10),
        }
    }
}

impl Limits {
    pub(crate) fn check(&self, check: &mut Check<'_>) {
        for (key, size) in
            [("object_size", self.object_size), ("file_size", self.file_size), ("request_size", self.request_size)]
        {
            check.ensure(size.bytes() >= 1024, key, "must be at least 1KiB");
        }
        check.ensure(self.routes_per_gateway > 0, "routes_per_gateway", "must be at least 1");
    }
}
