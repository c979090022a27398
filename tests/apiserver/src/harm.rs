//! What the faults that struck one request do to the objects in its answer.

use bytes::Bytes;

use crate::fault::Act;
use crate::object::Object;

/// The harm done to one answer's objects.
#[derive(Clone, Debug, Default)]
pub struct Harm {
    acts: Vec<Act>,
}

impl Harm {
    /// From the acts that struck.
    pub fn of(acts: &[Act]) -> Self {
        let objects = acts.iter().filter(|act| matches!(act, Act::Replace { .. } | Act::Oversize { .. }));
        Self { acts: objects.cloned().collect() }
    }

    /// Whether an object is harmed.
    pub fn meets(&self, object: &Object) -> bool {
        self.acts.iter().any(|act| meant(act, object))
    }

    /// The JSON of an object, or what stands in its place.
    pub fn apply(&self, object: &Object, json: Bytes) -> Bytes {
        self.acts.iter().filter(|act| meant(act, object)).fold(json, |json, act| match act {
            Act::Replace { with, .. } => Bytes::from(with.clone()),
            Act::Oversize { bytes, .. } => oversized(&json, *bytes),
            _ => json,
        })
    }
}

fn meant(act: &Act, object: &Object) -> bool {
    match act {
        Act::Replace { name, .. } | Act::Oversize { name, .. } => name.is_empty() || *name == object.meta.name,
        _ => false,
    }
}

/// With one field more, of so many bytes, at its end.
fn oversized(json: &[u8], bytes: usize) -> Bytes {
    let open = json.strip_suffix(b"}").unwrap_or(json);
    [open, b",\"padding\":\"", "x".repeat(bytes).as_bytes(), b"\"}"].concat().into()
}
