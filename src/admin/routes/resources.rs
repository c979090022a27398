//! `/api/v1/resources`: what the stores hold, without what is secret.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_actors::store::Selector;

use crate::admin::answer::Failure;
use crate::admin::redact::redacted;
use crate::admin::state::{AdminState, Slot, SyncPhase};

#[derive(Serialize)]
pub(super) struct Listing<T> {
    items: Vec<T>,
}

#[derive(Serialize)]
pub(super) struct ShownType {
    /// What the path of its objects ends with.
    name: String,
    version: String,
    kind: String,
    source: String,
    /// Nobody asked for it by name.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    discovered: bool,
    objects: usize,
    #[serde(flatten)]
    phase: SyncPhase,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_seconds: Option<f64>,
}

pub(super) async fn types(State(state): State<AdminState>) -> Json<Listing<ShownType>> {
    let items = state.catalogue.slots().into_iter().map(|slot| ShownType {
        name: name_of(&slot),
        version: slot.resource_type.version().to_owned(),
        kind: slot.resource_type.kind().to_owned(),
        source: slot.source.to_string(),
        discovered: slot.discovered,
        objects: slot.objects,
        phase: slot.phase,
        age_seconds: slot.age.map(|age| age.as_secs_f64()),
    });
    Json(Listing { items: items.collect() })
}

/// What to leave out of a list.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Filter {
    label_selector: Option<String>,
    namespace: Option<String>,
    source: Option<String>,
}

#[derive(Serialize)]
pub(super) struct ShownObject {
    source: String,
    object: Value,
}

pub(super) async fn list(
    State(state): State<AdminState>,
    name: Result<Path<String>, PathRejection>,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Result<Json<Listing<ShownObject>>, Failure> {
    let (Path(name), Query(filter)) = (name?, filter?);
    let selector: Selector = match &filter.label_selector {
        Some(text) => text
            .parse()
            .map_err(|error: tidegate_actors::store::SelectorError| Failure::bad_request(error.to_string()))?,
        None => Selector::default(),
    };
    let slots: Vec<Slot> = state.catalogue.slots().into_iter().filter(|slot| name_of(slot) == name).collect();
    if slots.is_empty() {
        return Err(Failure::not_found(format!(
            "no resource type `{name}` is watched; GET /api/v1/resources lists all, POST /api/v1/watches adds one"
        )));
    }
    let mut items = Vec::new();
    for slot in slots.iter().filter(|slot| filter.source.as_deref().is_none_or(|source| *slot.source == *source)) {
        for object in state.catalogue.objects(&slot.source, &slot.resource_type) {
            let key = object.key();
            let here = filter.namespace.as_deref().is_none_or(|namespace| key.namespace.as_deref() == Some(namespace));
            if here && selector.matches(|label| object.label(label)) {
                items.push(ShownObject { source: key.source.to_string(), object: redacted(&object) });
            }
        }
    }
    Ok(Json(Listing { items }))
}

/// `plural.group`, or `plural` for the core group.
fn name_of(slot: &Slot) -> String {
    let (plural, group) = (slot.resource_type.plural(), slot.resource_type.group());
    if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") }
}
