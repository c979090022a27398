//! `chaos`: whether a running service may be attacked on purpose.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether faults may be injected into the running service, for game days.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Chaos {
    /// Whether `tidegate chaos` may make actors and sources of this service fail. Not for production: whoever has the
    /// admin token can then stop the service.
    pub enabled: bool,
}
