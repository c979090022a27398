//! The script over HTTP, for whoever has the binary and no Rust: `/_faults`, `/_control`, `/_objects`, `/_requests`.

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::access::Denial;
use crate::answer::{self, Answer};
use crate::fault::{Fault, Then};
use crate::scripted::ScriptError;
use crate::state::{Frozen, Order, State};
use crate::status::Status;

/// One order.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
enum Control {
    /// Earlier versions are forgotten.
    Compact,
    /// Only watches' window is.
    ExpireWatches,
    /// Away for so long, then back on the same port.
    Restart {
        #[serde(default)]
        millis: u64,
        #[serde(default)]
        keep_window: bool,
    },
    /// Something happens to open watches.
    Strike {
        #[serde(default)]
        resource: String,
        then: Then,
    },
    /// The replica stands still.
    Freeze,
    /// The replica catches up.
    Thaw,
    /// Something is forbidden.
    Deny { denial: Denial },
    /// It is allowed again.
    Allow { denial: Denial },
    /// These tokens are good.
    Tokens { tokens: std::collections::BTreeMap<String, String> },
    /// So many objects of one.
    Fill { object: Value, count: usize },
    /// So many objects are written once more.
    Bump {
        resource: String,
        count: usize,
        #[serde(default)]
        from: usize,
    },
}

/// Answers an order.
pub fn answer(state: &State, method: &Method, path: &str, body: &[u8]) -> Answer {
    let answered = match (method.as_str(), path) {
        ("GET", "/_faults") => Ok(json!(state.faults.standing())),
        ("POST", "/_faults") => read::<Fault>(body).map(|fault| json!({"id": state.faults.add(fault)})),
        ("DELETE", "/_faults") => {
            state.faults.clear();
            Ok(json!({}))
        }
        ("DELETE", path) if path.starts_with("/_faults/") => {
            path["/_faults/".len()..].parse().map_err(|_| Status::bad_request("no number of a fault")).map(|id| {
                state.faults.remove(id);
                json!({})
            })
        }
        ("GET", "/_requests") => Ok(json!(state.requests())),
        ("DELETE", "/_requests") => {
            state.forget_requests();
            Ok(json!({}))
        }
        ("GET", "/_control") => Ok(json!({
            "revision": state.world.lock().revision,
            "watches": state.watches().len(),
        })),
        ("POST", "/_objects") => objects(state, body),
        ("POST", "/_control") => read::<Control>(body).and_then(|control| obey(state, control)),
        _ => return answer::nowhere(),
    };
    match answered {
        Ok(value) => answer::json(200, &value),
        Err(status) => answer::status(&status),
    }
}

fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Status> {
    serde_json::from_slice(body).map_err(|error| Status::bad_request(error.to_string()))
}

/// One object, or a list of them.
fn objects(state: &State, body: &[u8]) -> Result<Value, Status> {
    #[derive(Deserialize)]
    struct List<'a> {
        #[serde(borrow, default)]
        items: Option<Vec<&'a serde_json::value::RawValue>>,
    }
    let list: List = serde_json::from_slice(body).map_err(|error| Status::bad_request(error.to_string()))?;
    let mut revision = 0;
    match list.items {
        Some(items) => {
            for item in items {
                revision = state.put(item.get().as_bytes()).map_err(refused)?;
            }
        }
        None => revision = state.put(body).map_err(refused)?,
    }
    Ok(json!({"revision": revision}))
}

fn refused(error: ScriptError) -> Status {
    Status::bad_request(error.to_string())
}

fn obey(state: &State, control: Control) -> Result<Value, Status> {
    match control {
        Control::Compact => state.compact(),
        Control::ExpireWatches => state.world.lock().forget_windows(),
        Control::Restart { millis, keep_window } => state.order(Order::Restart { millis, keep_window }),
        Control::Strike { resource, then } => return Ok(json!({"watches": state.strike(&resource, &then)})),
        Control::Freeze => {
            let revision = state.world.lock().revision;
            state.frozen.send_replace(Some(Frozen { revision, consistent_reads: true }));
        }
        Control::Thaw => {
            state.frozen.send_replace(None);
        }
        Control::Deny { denial } => state.access.deny(denial),
        Control::Allow { denial } => state.access.allow(&denial),
        Control::Tokens { tokens } => state.access.set_tokens(tokens),
        Control::Fill { object, count } => {
            let filled = state.fill(object.to_string().as_bytes(), count);
            return filled.map(|revision| json!({"revision": revision})).map_err(refused);
        }
        Control::Bump { resource, count, from } => {
            let bumped = state.bump(&resource, from, count);
            return bumped.map(|revision| json!({"revision": revision})).map_err(refused);
        }
    }
    Ok(json!({"revision": state.world.lock().revision}))
}
