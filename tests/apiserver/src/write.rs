//! The rules of writing: what a create, an update and a delete make of what a client sends, as the generic registry
//! does it: identity and generation are the server's, versions must fit, finalizers hold a delete back, and an update
//! that changes nothing writes nothing. Schemas and defaults are nobody's business here.

use std::sync::Arc;

use tidegate_actors::env::Env;

use crate::crd;
use crate::kind::{CRD_ID, Kind};
use crate::object::{Draft, Meta, Object, key_of};
use crate::status::Status;
use crate::store::World;

/// Which part of an object an update is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All but the status, if the status is written apart.
    Main,
    /// The status alone.
    Status,
    /// All of it, as only the test itself may.
    Everything,
}

/// What must be so for a delete to happen. Empty is no condition.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Preconditions {
    /// The identity.
    pub uid: Option<String>,
    /// The version.
    pub resource_version: Option<String>,
}

/// What a delete came to.
pub enum Deleted {
    /// It is gone.
    Gone(Arc<Object>),
    /// Finalizers hold it.
    Held(Arc<Object>),
}

/// Writes by the rules.
pub struct Writer<'a> {
    /// What is written to.
    pub world: &'a mut World,
    /// Time and identities.
    pub env: &'a Env,
}

impl Writer<'_> {
    /// Now, to the second, as Kubernetes writes it.
    pub fn now(&self) -> String {
        let seconds = self.env.clock.wall().as_secs();
        let time = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        time.unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
    }

    /// An identity that looks like one.
    pub fn uid(&self) -> String {
        let (a, b) = (self.env.rng.next_u64(), self.env.rng.next_u64());
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            a >> 32,
            (a >> 16) & 0xffff,
            a & 0xfff,
            b >> 52,
            b & 0xffff_ffff_ffff
        )
    }

    /// Creates an object that has its name and namespace.
    pub fn create(&mut self, kind: &Kind, mut draft: Draft, part: Part) -> Result<Arc<Object>, Status> {
        let id = kind.id();
        let meta = &mut draft.meta;
        if !meta.resource_version.is_empty() {
            return Err(Status::failure(500, "", "resourceVersion should not be set on objects to be created"));
        }
        if meta.name.is_empty() && !meta.generate_name.is_empty() {
            meta.name = format!("{}{:05x}", meta.generate_name, self.env.rng.below(0x10_0000));
        }
        check_name(kind, meta)?;
        if crd::is_terminating(self.world, kind) {
            let why = "create not allowed while custom resource definition is terminating";
            return Err(Status::forbidden(kind, &meta.name, why));
        }
        if let Some(there) = self.world.get(&id, &key_of(&meta.namespace, &meta.name)) {
            let mut taken = Status::already_exists(kind, &meta.name);
            if there.meta.deletion_timestamp.is_some() {
                taken.message = format!("object is being deleted: {}", taken.message);
            }
            return Err(taken);
        }
        meta.uid = self.uid();
        meta.creation_timestamp = Some(self.now());
        meta.deletion_timestamp = None;
        meta.deletion_grace_period_seconds = None;
        meta.generation = kind.behaviour.generation.then_some(1);
        if kind.versions.iter().any(|version| version.status) && part != Part::Everything {
            draft.fields.remove("status");
        }
        match id.as_str() {
            CRD_ID => crd::create(self, draft),
            "namespaces" => self.create_namespace(&id, draft),
            _ => self.put(&id, draft),
        }
    }

    fn create_namespace(&mut self, id: &str, mut draft: Draft) -> Result<Arc<Object>, Status> {
        let labels = draft.meta.labels.get_or_insert_default();
        labels.insert("kubernetes.io/metadata.name".to_owned(), draft.meta.name.clone());
        for (field, value) in [("spec", r#"{"finalizers":["kubernetes"]}"#), ("status", r#"{"phase":"Active"}"#)] {
            if let Ok(raw) = serde_json::value::RawValue::from_string(value.to_owned()) {
                draft.fields.insert(field.to_owned(), raw);
            }
        }
        self.put(id, draft)
    }

    /// Puts a draft whose metadata is complete.
    pub fn put(&mut self, id: &str, draft: Draft) -> Result<Arc<Object>, Status> {
        self.world.put(id, draft).ok_or_else(|| Status::failure(404, "NotFound", format!("{id} is not served")))
    }

    /// Updates an object. Without a resource version it is taken as it is, where the type allows that.
    pub fn update(&mut self, kind: &Kind, mut draft: Draft, part: Part) -> Result<Arc<Object>, Status> {
        let (id, name) = (kind.id(), draft.meta.name.clone());
        let key = key_of(&draft.meta.namespace, &name);
        let Some(current) = self.world.get(&id, &key).cloned() else {
            if kind.behaviour.create_on_update && part == Part::Main {
                draft.meta.resource_version.clear();
                return self.create(kind, draft, part);
            }
            return Err(Status::not_found(kind, &name));
        };
        let sent = &draft.meta.resource_version;
        if sent.is_empty() && !kind.behaviour.unconditional_update && part != Part::Everything {
            let why = "Invalid value: 0: must be specified for an update".to_owned();
            let problem = ("FieldValueInvalid", why, "metadata.resourceVersion");
            return Err(Status::invalid(&kind.group, &kind.plural, &name, &[problem]));
        }
        if !sent.is_empty() && *sent != current.meta.resource_version {
            return Err(Status::conflict(kind, &name));
        }
        if !draft.meta.uid.is_empty() && draft.meta.uid != current.meta.uid {
            let why = format!(
                "Precondition failed: UID in precondition: {}, UID in object meta: {}",
                draft.meta.uid, current.meta.uid
            );
            return Err(Status::conflict_because(kind, &name, &why));
        }
        let before = current.draft();
        let next = merged(kind, &current.meta, &before, draft, part);
        if next.meta.deletion_timestamp.is_some() && next.meta.finalizers.is_empty() {
            // Watchers see it as it was; the answer is what was asked for.
            let gone = self.world.remove(&id, &key).ok_or_else(|| Status::not_found(kind, &name))?;
            crd::finish(self, kind);
            return Ok(Arc::new(Object::encode(kind, next, gone.revision)));
        }
        if next.same_but(&before, "") && same_meta(&next.meta, &current.meta) {
            return Ok(current);
        }
        if id == CRD_ID {
            return crd::update(self, next);
        }
        self.put(&id, next)
    }

    /// Deletes an object, or marks it as one that its finalizers hold.
    pub fn delete(&mut self, kind: &Kind, key: &str, only: &Preconditions) -> Result<Deleted, Status> {
        let id = kind.id();
        let name = key.rsplit('/').next().unwrap_or(key);
        let current = self.world.get(&id, key).cloned().ok_or_else(|| Status::not_found(kind, name))?;
        let differs = |wanted: &Option<String>, is: &str| wanted.as_ref().filter(|wanted| *wanted != is).cloned();
        if let Some(wanted) = differs(&only.uid, &current.meta.uid) {
            let why =
                format!("Precondition failed: UID in precondition: {wanted}, UID in object meta: {}", current.meta.uid);
            return Err(Status::conflict_because(kind, name, &why));
        }
        if let Some(wanted) = differs(&only.resource_version, &current.meta.resource_version) {
            let why = format!(
                "Precondition failed: ResourceVersion in precondition: {wanted}, ResourceVersion in object meta: {}",
                current.meta.resource_version
            );
            return Err(Status::conflict_because(kind, name, &why));
        }
        if id == CRD_ID {
            return crd::delete(self, kind, &current);
        }
        if id == "namespaces" {
            return self.delete_namespace(kind, &current);
        }
        if current.meta.finalizers.is_empty() {
            let gone = self.world.remove(&id, key);
            return gone.map(Deleted::Gone).ok_or_else(|| Status::not_found(kind, name));
        }
        self.mark(kind, &current).map(Deleted::Held)
    }

    /// Sets the deletion timestamp, once.
    pub fn mark(&mut self, kind: &Kind, current: &Arc<Object>) -> Result<Arc<Object>, Status> {
        if current.meta.deletion_timestamp.is_some() {
            return Ok(current.clone());
        }
        let mut meta = current.meta.clone();
        meta.deletion_timestamp = Some(self.now());
        meta.deletion_grace_period_seconds = Some(0);
        meta.generation = meta.generation.map(|generation| generation + 1);
        let revision = self.world.revision + 1;
        let marked = current.with_meta(kind, meta, revision);
        self.world.keep(&kind.id(), marked).ok_or_else(|| Status::not_found(kind, &current.meta.name))
    }

    /// What the namespace controller does, at once: the content goes, and then the namespace. Where a finalizer holds
    /// something in it, it stays terminating.
    fn delete_namespace(&mut self, kind: &Kind, namespace: &Arc<Object>) -> Result<Deleted, Status> {
        let mut draft = namespace.draft();
        draft.meta.deletion_timestamp = Some(self.now());
        if let Ok(phase) = serde_json::value::to_raw_value(&serde_json::json!({"phase": "Terminating"})) {
            draft.fields.insert("status".to_owned(), phase);
        }
        let marked = self.put(&kind.id(), draft)?;
        let prefix = format!("{}/", namespace.meta.name);
        let kinds: Vec<Arc<Kind>> = self.world.resources.values().map(|resource| resource.kind.clone()).collect();
        let mut held = false;
        for inner in kinds.into_iter().filter(|kind| kind.namespaced) {
            let Some(resource) = self.world.resources.get(&inner.id()) else { continue };
            let keys: Vec<String> = resource.objects.keys().filter(|key| key.starts_with(&prefix)).cloned().collect();
            for key in keys {
                held |= matches!(self.delete(&inner, &key, &Preconditions::default())?, Deleted::Held(_));
            }
        }
        if held {
            return Ok(Deleted::Held(marked));
        }
        let gone = self.world.remove(&kind.id(), &namespace.meta.name);
        gone.map(Deleted::Gone).ok_or_else(|| Status::not_found(kind, &namespace.meta.name))
    }
}

fn check_name(kind: &Kind, meta: &Meta) -> Result<(), Status> {
    if meta.name.is_empty() {
        let problem =
            ("FieldValueRequired", "Required value: name or generateName is required".to_owned(), "metadata.name");
        return Err(Status::invalid(&kind.group, &kind.kind, "", &[problem]));
    }
    Ok(())
}

/// What an update makes of the object.
fn merged(kind: &Kind, current: &Meta, before: &Draft, mut next: Draft, part: Part) -> Draft {
    let sent = std::mem::replace(&mut next.meta, current.clone());
    if part == Part::Status {
        let mut status = before.clone();
        status.take("status", &next);
        status.meta.managed_fields = sent.managed_fields.or(status.meta.managed_fields);
        return status;
    }
    next.meta.labels = sent.labels.filter(|labels| !labels.is_empty());
    next.meta.annotations = sent.annotations.filter(|annotations| !annotations.is_empty());
    next.meta.owner_references = sent.owner_references;
    next.meta.finalizers = sent.finalizers;
    next.meta.managed_fields = sent.managed_fields.or(next.meta.managed_fields);
    let apart = kind.versions.iter().any(|version| version.status);
    if apart && part == Part::Main {
        next.take("status", before);
    }
    let unseen = if apart { "status" } else { "" };
    if kind.behaviour.generation && !next.same_but(before, unseen) {
        next.meta.generation = Some(next.meta.generation.unwrap_or(0) + 1);
    }
    next
}

fn same_meta(a: &Meta, b: &Meta) -> bool {
    a.labels == b.labels
        && a.annotations == b.annotations
        && a.finalizers == b.finalizers
        && a.owner_references == b.owner_references
        && a.managed_fields == b.managed_fields
}
