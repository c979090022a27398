//! `snapshot`: what is kept on disk, so that the next start serves at once and lists nothing.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::problem::Check;
use super::values::{ByteSize, Period};
use super::watches::is_pattern;

/// What is kept on disk, so that the next start serves at once and lists nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Snapshot {
    /// Whether objects are kept in `snapshot` in `data_dir`. Where nothing can be written, none are, and that is
    /// said.
    pub enabled: bool,
    /// What becomes of objects with secret content, such as Secrets: encrypt, or omit. Without it: encrypt if there is
    /// a `key_file`, else omit. What is left out is not known after a start before its source has told it. If a Gateway
    /// shows certificates, nothing is published until then, rather than a configuration that lacks them: proxies go on
    /// with what they have, and a fresh one waits. Without certificates nothing waits for Secrets.
    pub secrets: Option<SnapshotSecrets>,
    /// A file with the key that they are encrypted with: 32 random bytes in base64, as of `openssl rand -base64 32`.
    pub key_file: Option<PathBuf>,
    /// Further resource types with secret content, as plural.group; a star stands for any text.
    pub confidential: Vec<String>,
    /// How long changes are gathered before they are written. So much may have to be asked for again after a crash.
    pub interval: Period,
    /// The most that is kept. A resource type that does not fit in is left out, and listed at the next start.
    pub max_size: ByteSize,
}

/// What becomes of objects with secret content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SnapshotSecrets {
    /// They are kept encrypted.
    Encrypt,
    /// They are left out.
    Omit,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            enabled: true,
            secrets: None,
            key_file: None,
            confidential: Vec::new(),
            interval: Period::from_millis(200),
            max_size: ByteSize::new(4 << 30),
        }
    }
}

impl Snapshot {
    pub(crate) fn check(&self, check: &mut Check<'_>) {
        if self.secrets == Some(SnapshotSecrets::Encrypt) && self.key_file.is_none() {
            check.problem("secrets", "`encrypt` needs a key; set `key_file`");
        }
        if self.secrets == Some(SnapshotSecrets::Omit) && self.key_file.is_some() {
            check.problem("key_file", "is of no use while `secrets` is `omit`; remove one of them");
        }
        for (index, name) in self.confidential.iter().enumerate() {
            let key = format!("confidential[{index}]");
            check.ensure(is_pattern(name), &key, "must be like widgets.example.com or *.example.com");
        }
        check.ensure(!self.interval.is_zero(), "interval", "must be longer than zero");
        check.ensure(self.max_size.bytes() >= 1 << 20, "max_size", "must be at least 1MiB");
    }
}
