//! What is said of the snapshot on disk: how old and how large it is, what of it was of use, and what is wrong with it.

use std::path::PathBuf;

use serde::Serialize;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SnapshotStatus {
    /// Whether anything is kept.
    pub enabled: bool,
    /// Why nothing is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where it is.
    pub directory: PathBuf,
    /// How large it is.
    pub bytes: u64,
    /// How large it may be.
    pub max_bytes: u64,
    /// How long ago something was last written; none: nothing in this run.
    pub written_seconds: Option<f64>,
    /// For how long something has been waiting to be written; none: nothing is.
    pub behind_seconds: Option<f64>,
    /// The types that are kept, or should be.
    pub types: Vec<SnapshotType>,
    /// What cannot be written, or could not be used.
    pub problems: Vec<String>,
    /// Corrupt files, for whoever wants to look at them.
    pub set_aside: Vec<PathBuf>,
}

/// What is kept of one type.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SnapshotType {
    /// As `plural.group`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The source.
    pub source: String,
    /// How large its file is.
    pub bytes: u64,
    /// What the last run left of it, if that could be used.
    pub restored: Option<SnapshotRestored>,
    /// Its objects are not kept, since they have secret content.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub left_out: bool,
    /// Of how many objects the version before is kept, since nobody can use the present one.
    #[serde(skip_serializing_if = "is_zero")]
    pub held_back: usize,
    /// What is wrong with its file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What a type began with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SnapshotRestored {
    /// So many objects.
    pub objects: usize,
    /// How long before this run the source had last told anything of them, if that is known.
    pub age_seconds: Option<f64>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}
