//! ReferenceGrant: which references into its namespace are allowed. A broken one allows nothing.

use serde::Deserialize;
use tidegate_actors::id::Name;

use super::field::{Checks, from_json};
use super::format;
use super::meta::Kind;

/// What we read of a ReferenceGrant. Each of `from` may refer to each of `to`.
#[derive(Clone, Debug, PartialEq)]
pub struct ReferenceGrant {
    /// Who may refer.
    pub from: Vec<GrantFrom>,
    /// To what, in the grant's own namespace.
    pub to: Vec<GrantTo>,
}

/// Objects that may refer: all of a kind in a namespace.
#[derive(Clone, Debug, PartialEq)]
pub struct GrantFrom {
    /// Their group.
    pub group: Name,
    /// Their kind.
    pub kind: Name,
    /// Their namespace.
    pub namespace: Name,
}

/// What may be referred to.
#[derive(Clone, Debug, PartialEq)]
pub struct GrantTo {
    /// Its group; empty for the core group.
    pub group: Name,
    /// Its kind.
    pub kind: Name,
    /// One object; all of the kind if absent.
    pub name: Option<Name>,
}

#[derive(Deserialize)]
struct Raw {
    spec: RawSpec,
}

#[derive(Deserialize)]
struct RawSpec {
    from: Vec<RawFrom>,
    to: Vec<RawTo>,
}

#[derive(Deserialize)]
struct RawFrom {
    group: String,
    kind: String,
    namespace: String,
}

#[derive(Deserialize)]
struct RawTo {
    group: String,
    kind: String,
    name: Option<String>,
}

impl Kind for ReferenceGrant {
    const FAILS_CLOSED: bool = true;

    fn read(raw: &[u8], checks: &mut Checks) -> Option<Self> {
        let Raw { spec } = from_json(raw, checks)?;
        Some(checks.field("spec", |c| {
            for (name, empty) in [("from", spec.from.is_empty()), ("to", spec.to.is_empty())] {
                c.field(name, |c| c.ensure(!empty, "must have at least one entry"));
            }
            let from = c.each("from", 16, spec.from, |c, from| GrantFrom {
                group: c.field("group", |c| format::group(c, from.group)),
                kind: c.field("kind", |c| format::kind(c, from.kind)),
                namespace: c.field("namespace", |c| format::namespace(c, from.namespace)),
            });
            let to = c.each("to", 16, spec.to, |c, to| GrantTo {
                group: c.field("group", |c| format::group(c, to.group)),
                kind: c.field("kind", |c| format::kind(c, to.kind)),
                // An empty name means what an absent one means.
                name: c.field("name", |c| to.name.filter(|n| !n.is_empty()).map(|name| format::object_name(c, name))),
            });
            Self { from, to }
        }))
    }
}
