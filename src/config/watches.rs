//! `watches`: which resource types, beside those that the gateway reads, may be and are watched.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_actors::id::{ResourceType, Scope};

use super::problem::Check;

/// Which further resource types may be and are watched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Watches {
    /// Patterns of what may be watched: `widgets.example.com/v1`, `*.example.com` (any version), `configmaps`
    /// (core group). A star stands for any text without a slash.
    pub allow: Vec<String>,
    /// What is watched from the start.
    pub initial: Vec<WatchedType>,
}

/// A resource type to watch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WatchedType {
    /// `plural.group/version`, such as `widgets.example.com/v1`; `configmaps/v1` for the core group.
    pub resource: String,
    /// The kind, such as `Widget`.
    pub kind: String,
    /// Whether its objects live in a namespace.
    #[serde(default)]
    pub scope: WatchedScope,
}

/// Whether objects of a type live in a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum WatchedScope {
    /// They do.
    #[default]
    Namespaced,
    /// They do not.
    Cluster,
}

impl WatchedType {
    /// As the engine names types.
    ///
    /// # Errors
    /// The reason when a field is not well formed.
    pub fn resource_type(&self) -> Result<ResourceType, String> {
        let malformed = || format!("`{}` is not plural.group/version, such as widgets.example.com/v1", self.resource);
        let (name, version) = self.resource.split_once('/').ok_or_else(malformed)?;
        let (plural, group) = name.split_once('.').unwrap_or((name, ""));
        let lower = |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c));
        let bad_group = name.contains('.') && group.is_empty();
        if plural.is_empty() || version.is_empty() || bad_group || !lower(plural) || !lower(group) || !lower(version) {
            return Err(malformed());
        }
        if !self.kind.chars().all(|c| c.is_ascii_alphanumeric())
            || !self.kind.starts_with(|c: char| c.is_ascii_uppercase())
        {
            return Err(format!("`{}` is not a kind, such as Widget", self.kind));
        }
        let scope = match self.scope {
            WatchedScope::Namespaced => Scope::Namespaced,
            WatchedScope::Cluster => Scope::Cluster,
        };
        Ok(ResourceType::new(group, version, &self.kind, plural, scope))
    }
}

impl From<&ResourceType> for WatchedType {
    fn from(resource_type: &ResourceType) -> Self {
        let scope = match resource_type.scope() {
            Scope::Namespaced => WatchedScope::Namespaced,
            Scope::Cluster => WatchedScope::Cluster,
        };
        Self { resource: resource_type.to_string(), kind: resource_type.kind().to_owned(), scope }
    }
}

impl Watches {
    /// Whether the allowlist permits a type.
    pub fn allows(&self, resource_type: &ResourceType) -> bool {
        matches(&self.allow, resource_type)
    }

    /// Why a type may not be watched, naming the entry that is missing.
    pub fn refusal(resource_type: &ResourceType) -> NotAllowed {
        NotAllowed { missing: resource_type.to_string() }
    }

    pub(crate) fn check(&self, check: &mut Check<'_>) {
        for (index, pattern) in self.allow.iter().enumerate() {
            check.ensure(
                is_pattern(pattern),
                &format!("allow[{index}]"),
                "must be like widgets.example.com/v1 or *.example.com",
            );
        }
        let mut seen = Vec::new();
        for (index, watched) in self.initial.iter().enumerate() {
            let key = format!("initial[{index}]");
            match watched.resource_type() {
                Err(reason) => check.problem(&format!("{key}.resource"), reason),
                Ok(resource_type) if !self.allows(&resource_type) => {
                    check.problem(&format!("{key}.resource"), Self::refusal(&resource_type).to_string());
                }
                Ok(_) if seen.contains(&&watched.resource) => check.problem(&key, "is listed twice"),
                Ok(_) => seen.push(&watched.resource),
            }
        }
    }
}

/// Whether one of some patterns is of a type.
pub(crate) fn matches(patterns: &[String], resource_type: &ResourceType) -> bool {
    let versioned = resource_type.to_string();
    let bare = versioned.split_once('/').map_or(versioned.as_str(), |(name, _)| name);
    patterns.iter().any(|pattern| glob(pattern, if pattern.contains('/') { &versioned } else { bare }))
}

/// Whether a text can be a pattern of types.
pub(super) fn is_pattern(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.*".contains(c);
    let parts: Vec<&str> = text.split('/').collect();
    parts.len() <= 2 && parts.iter().all(|part| !part.is_empty() && part.chars().all(plain))
}

/// A type that the allowlist does not permit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAllowed {
    /// The entry that would permit it.
    pub missing: String,
}

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the allowlist does not permit {0}; add `{0}` to watches.allow in the config", self.missing)
    }
}

impl std::error::Error for NotAllowed {}

/// A star stands for any text without a slash.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(tail) = text.strip_prefix(head) else { return false };
    let ends = tail.char_indices().map(|(at, _)| at).chain([tail.len()]);
    let reach = tail.find('/').unwrap_or(tail.len());
    ends.take_while(|end| *end <= reach).any(|end| glob(rest, &tail[end..]))
}
