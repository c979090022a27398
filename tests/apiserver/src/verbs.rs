//! The verbs on one object, and creation and deletion of collections: from a request's body to a write and its answer.

use std::sync::Arc;

use serde_json::Value;

use crate::answer::{self, Answer, JSON};
use crate::apply::{Applier, applied};
use crate::kind::{CRD_ID, Kind};
use crate::list;
use crate::object::{Draft, Object};
use crate::patch::{PatchType, patched};
use crate::query::{ListOptions, pairs};
use crate::routes::Target;
use crate::selectors::Selectors;
use crate::state::State;
use crate::status::Status;
use crate::store::World;
use crate::write::{Deleted, Part, Preconditions, Writer};

/// What came with a request.
pub struct Sent<'a> {
    /// The query.
    pub query: &'a str,
    /// The content type.
    pub content_type: &'a str,
    /// The body.
    pub body: &'a [u8],
}

impl Sent<'_> {
    fn parameter(&self, name: &str) -> String {
        pairs(self.query).find(|(key, _)| key == name).map(|(_, value)| value).unwrap_or_default()
    }
}

/// Answers a verb on an object, or the creation or deletion of some.
pub fn answer(state: &State, target: &Target, verb: &str, sent: &Sent) -> Result<Answer, Status> {
    let kind = &target.kind;
    let has_status = kind.served(&target.version).is_some_and(|version| version.status);
    let part = match target.subresource.as_str() {
        "" => Part::Main,
        "status" if has_status => Part::Status,
        _ => return Err(Status::not_found(kind, &target.name)),
    };
    let mut world = state.world.lock();
    let mut writer = Writer { world: &mut world, env: state.env() };
    match verb {
        "get" => get(writer.world, target),
        "create" if part == Part::Main && target.name.is_empty() => create(&mut writer, target, sent),
        "update" => {
            let draft = named(target, read(kind, &target.version, sent.body)?)?;
            Ok(whole(200, target, &writer.update(kind, draft, part)?))
        }
        "patch" => patch(&mut writer, target, part, sent),
        "delete" if part == Part::Main => delete(&mut writer, target, sent),
        "deletecollection" => delete_collection(&mut writer, target, sent),
        _ => Err(Status::method_not_allowed(kind, verb)),
    }
}

fn whole(code: u16, target: &Target, object: &Arc<Object>) -> Answer {
    answer::whole(code, JSON, object.in_version(&target.kind, &target.version))
}

fn get(world: &World, target: &Target) -> Result<Answer, Status> {
    let object = world.get(&target.kind.id(), &target.key());
    object.map(|object| whole(200, target, object)).ok_or_else(|| Status::not_found(&target.kind, &target.name))
}

/// The object in a body, which must say that it is what the path says.
fn read(kind: &Kind, version: &str, body: &[u8]) -> Result<Draft, Status> {
    let draft = Draft::parse(body).map_err(|error| Status::bad_request(error.to_string()))?;
    let wanted = kind.api_version(version);
    if draft.kind != kind.kind || draft.api_version != wanted {
        return Err(Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): it says that it is {} of {}",
            kind.kind, draft.kind, draft.api_version
        )));
    }
    Ok(draft)
}

/// With the path's namespace, and its name if it has one.
fn named(target: &Target, mut draft: Draft) -> Result<Draft, Status> {
    let meta = &mut draft.meta;
    if meta.namespace.is_empty() {
        meta.namespace.clone_from(&target.namespace);
    } else if meta.namespace != target.namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    if !target.name.is_empty() && meta.name != target.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({}) does not match the name on the URL ({})",
            meta.name, target.name
        )));
    }
    Ok(draft)
}

fn create(writer: &mut Writer, target: &Target, sent: &Sent) -> Result<Answer, Status> {
    let draft = named(target, read(&target.kind, &target.version, sent.body)?)?;
    check_namespace(writer.world, target, &draft.meta.name)?;
    let created = writer.create(&target.kind, draft, Part::Main)?;
    Ok(whole(201, target, &created))
}

/// A namespaced object needs its namespace, and one that is not on its way out.
fn check_namespace(world: &World, target: &Target, name: &str) -> Result<(), Status> {
    if !target.kind.namespaced {
        return Ok(());
    }
    let namespaces = world.resources.get("namespaces");
    let Some(namespaces) = namespaces else { return Ok(()) };
    match namespaces.objects.get(&target.namespace) {
        None => Err(Status::not_found(&namespaces.kind, &target.namespace)),
        Some(namespace) if namespace.meta.deletion_timestamp.is_some() => {
            let why = format!(
                "unable to create new content in namespace {} because it is being terminated",
                target.namespace
            );
            Err(Status::forbidden(&target.kind, name, &why))
        }
        Some(_) => Ok(()),
    }
}

fn patch(writer: &mut Writer, target: &Target, part: Part, sent: &Sent) -> Result<Answer, Status> {
    let (kind, key) = (&target.kind, target.key());
    let patch_type = PatchType::of(kind, sent.content_type)?;
    let current = writer.world.get(&kind.id(), &key).cloned();
    let before = current.as_ref().map(|object| value(target, object)).transpose()?;
    let next = if patch_type == PatchType::Apply {
        let text = std::str::from_utf8(sent.body).map_err(|error| Status::bad_request(error.to_string()))?;
        let config: Value = serde_saphyr::from_str(text).map_err(|error| Status::bad_request(error.to_string()))?;
        let now = writer.now();
        let applier = Applier {
            manager: &sent.parameter("fieldManager"),
            subresource: &target.subresource,
            force: sent.parameter("force") == "true",
            now: &now,
        };
        applied(before, &config, &applier)?
    } else {
        let before = before.ok_or_else(|| Status::not_found(kind, &target.name))?;
        patched(patch_type, before, sent.body)?
    };
    let mut draft = Draft::from_value(&next).map_err(|error| Status::bad_request(error.to_string()))?;
    match current {
        Some(current) => {
            // A patch that names no version is one of whatever is there.
            if draft.meta.resource_version.is_empty() {
                draft.meta.resource_version.clone_from(&current.meta.resource_version);
            }
            let draft = named(target, draft)?;
            Ok(whole(200, target, &writer.update(kind, draft, part)?))
        }
        None if part == Part::Main => {
            let draft = named(target, draft)?;
            check_namespace(writer.world, target, &target.name)?;
            Ok(whole(201, target, &writer.create(kind, draft, Part::Main)?))
        }
        None => Err(Status::not_found(kind, &target.name)),
    }
}

fn value(target: &Target, object: &Object) -> Result<Value, Status> {
    serde_json::from_slice(&object.in_version(&target.kind, &target.version))
        .map_err(|error| Status::failure(500, "InternalError", error.to_string()))
}

fn delete(writer: &mut Writer, target: &Target, sent: &Sent) -> Result<Answer, Status> {
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct DeleteOptions {
        preconditions: Preconditions,
    }
    let options: DeleteOptions = match sent.body {
        [] => DeleteOptions::default(),
        body => serde_json::from_slice(body).map_err(|error| Status::bad_request(error.to_string()))?,
    };
    match writer.delete(&target.kind, &target.key(), &options.preconditions)? {
        Deleted::Held(object) => Ok(whole(200, target, &object)),
        // A definition and a namespace are answered as they were; what is gone at once, with a Status.
        Deleted::Gone(object) if matches!(target.kind.id().as_str(), CRD_ID | "namespaces") => {
            Ok(whole(200, target, &object))
        }
        Deleted::Gone(object) => Ok(answer::status(&Status::deleted(&target.kind, &target.name, &object.meta.uid))),
    }
}

fn delete_collection(writer: &mut Writer, target: &Target, sent: &Sent) -> Result<Answer, Status> {
    let options = ListOptions::parse(sent.query, true)?;
    let selectors = Selectors::parse(&target.kind, &options.labels, &options.fields)?;
    let (id, prefix) = (target.kind.id(), target.prefix());
    let resource = writer.world.resources.get(&id).ok_or_else(|| Status::not_found(&target.kind, ""))?;
    let meant = resource.objects.iter().filter(|(key, object)| key.starts_with(&prefix) && selectors.matches(object));
    let meant: Vec<Arc<Object>> = meant.map(|(_, object)| object.clone()).collect();
    let revision = writer.world.revision;
    for object in &meant {
        writer.delete(&target.kind, &object.key(), &Preconditions::default())?;
    }
    Ok(list::of(target, meant, revision))
}
