//! CustomResourceDefinitions: what creating, changing and deleting one does to the types that are served. It follows
//! the real server's order of events: a definition is created, then established; its objects go before it does.
//!
//! Law: a type is served if and only if its definition is there.

use std::sync::Arc;

use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use crate::kind::{CRD_ID, CrdSpec, Kind};
use crate::object::{Draft, Object};
use crate::status::Status;
use crate::store::World;
use crate::write::{Deleted, Preconditions, Writer};

/// Creates a definition, and serves its type.
pub fn create(writer: &mut Writer, mut draft: Draft) -> Result<Arc<Object>, Status> {
    draft.fields.remove("status");
    let spec = spec(&draft)?;
    let created = writer.put(CRD_ID, draft)?;
    writer.world.serve(spec.kind());
    establish(writer, &created, &spec)?;
    Ok(created)
}

/// Writes a changed definition, and serves its type as it now says: watches that are open end, and later ones start at
/// the present, as they do where the watch cache is made anew.
pub fn update(writer: &mut Writer, draft: Draft) -> Result<Arc<Object>, Status> {
    let spec = spec(&draft)?;
    let updated = writer.put(CRD_ID, draft)?;
    writer.world.serve(spec.kind());
    establish(writer, &updated, &spec)?;
    Ok(updated)
}

/// Takes a definition away: it is terminating, its objects go, it goes, and its type is served no more. Objects that
/// finalizers hold also hold the definition.
pub fn delete(writer: &mut Writer, kind: &Kind, current: &Arc<Object>) -> Result<Deleted, Status> {
    let defined = spec(&current.draft()).map(|spec| spec.kind())?;
    let marked = writer.mark(kind, current)?;
    let objects = writer.world.resources.get(&defined.id()).map(|resource| resource.objects.keys().cloned().collect());
    let keys: Vec<String> = objects.unwrap_or_default();
    for key in keys {
        writer.delete(&defined, &key, &Preconditions::default())?;
    }
    Ok(finish(writer, &defined).map_or(Deleted::Held(marked), Deleted::Gone))
}

/// Whether a type's definition is on its way out.
pub fn is_terminating(world: &World, kind: &Kind) -> bool {
    world.get(CRD_ID, &kind.id()).is_some_and(|definition| definition.meta.deletion_timestamp.is_some())
}

/// Takes a terminating definition away when nothing holds it any more.
pub fn finish(writer: &mut Writer, defined: &Kind) -> Option<Arc<Object>> {
    let id = defined.id();
    let empty = writer.world.resources.get(&id).is_none_or(|resource| resource.objects.is_empty());
    if !empty || !is_terminating(writer.world, defined) {
        return None;
    }
    let gone = writer.world.remove(CRD_ID, &id);
    writer.world.forget(&id);
    gone
}

fn spec(draft: &Draft) -> Result<CrdSpec, Status> {
    let invalid = |why: String| {
        let problem = ("FieldValueInvalid", why, "spec");
        Status::invalid("apiextensions.k8s.io", "CustomResourceDefinition", &draft.meta.name, &[problem])
    };
    let raw = draft.fields.get("spec").ok_or_else(|| invalid("Required value".to_owned()))?;
    let spec: CrdSpec = serde_json::from_str(raw.get()).map_err(|error| invalid(format!("Invalid value: {error}")))?;
    let id = spec.kind().id();
    if draft.meta.name != id {
        return Err(invalid(format!("Invalid value: metadata.name must be spec.names.plural+\".\"+spec.group: {id}")));
    }
    Ok(spec)
}

/// The status that says that the type is served, as an event of its own.
fn establish(writer: &mut Writer, object: &Arc<Object>, spec: &CrdSpec) -> Result<(), Status> {
    let mut draft = object.draft();
    let (now, kind) = (writer.now(), spec.kind());
    let condition = |kind: &str, reason: &str, message: &str| {
        let (status, time) = ("True", &now);
        json!({"type": kind, "status": status, "lastTransitionTime": time, "reason": reason, "message": message})
    };
    let status = json!({
        "acceptedNames": {
            "plural": kind.plural, "singular": kind.singular, "kind": kind.kind, "listKind": kind.list_kind,
            "shortNames": kind.short_names, "categories": kind.categories,
        },
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
        "storedVersions": [kind.storage],
    });
    let status: Box<RawValue> = to_raw_value(&status).map_err(|error| Status::failure(500, "", error.to_string()))?;
    let before = draft.clone();
    draft.fields.insert("status".to_owned(), status);
    // The conditions' time alone is no change.
    if !draft.same_but(&before, "") && !before.fields.contains_key("status") {
        writer.put(CRD_ID, draft)?;
    }
    Ok(())
}
