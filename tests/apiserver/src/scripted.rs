//! What a test does to the server behind its clients' backs: objects put and taken, versions forgotten, time turned
//! back, replicas frozen, watches struck.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use thiserror::Error;

use crate::access::Denial;
use crate::fault::Then;
use crate::faults::Faults;
use crate::kind::Kind;
use crate::object::{Draft, key_of};
use crate::server::{ApiServer, Inner};
use crate::state::{Frozen, OpenWatch, Request, State};
use crate::status::Status;
use crate::store::Snapshot;
use crate::write::{Deleted, Part, Preconditions, Writer};

/// Something that a test asked for and cannot have.
#[derive(Debug, Error)]
pub enum ScriptError {
    /// A type that is not served.
    #[error("no resource type `{0}` is served: name it by its plural, with its group if that is needed")]
    NoSuchType(String),
    /// Text that is no object.
    #[error("no object: {0}")]
    Object(#[from] crate::object::DraftError),
    /// What the rules forbid.
    #[error("refused: {}", .0.message)]
    Refused(Box<Status>),
}

impl From<Status> for ScriptError {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

impl State {
    /// A type by its plural, or by its plural and group.
    pub fn kind_named(&self, name: &str) -> Result<Arc<Kind>, ScriptError> {
        let world = self.world.lock();
        let resource = world.resources.get(name).or_else(|| {
            let mut named = world.resources.values().filter(|resource| resource.kind.plural == name);
            named.next().filter(|_| named.next().is_none())
        });
        resource.map(|resource| resource.kind.clone()).ok_or_else(|| ScriptError::NoSuchType(name.to_owned()))
    }

    /// Creates or replaces an object, whatever its version; its status is taken too.
    pub fn put(&self, json: &[u8]) -> Result<u64, ScriptError> {
        let mut draft = Draft::parse(json)?;
        let mut world = self.world.lock();
        let (group, version) = draft.api_version.split_once('/').unwrap_or(("", &draft.api_version));
        let kind = world.resources.values().map(|resource| &resource.kind);
        let kind = kind.into_iter().find(|kind| {
            kind.group == group && kind.kind == draft.kind && kind.versions.iter().any(|served| served.name == version)
        });
        let kind = kind.cloned();
        let kind = kind.ok_or_else(|| ScriptError::NoSuchType(format!("{} {}", draft.api_version, draft.kind)))?;
        if kind.namespaced && draft.meta.namespace.is_empty() {
            draft.meta.namespace = "default".to_owned();
        }
        draft.meta.resource_version.clear();
        draft.meta.uid.clear();
        let there = world.get(&kind.id(), &key_of(&draft.meta.namespace, &draft.meta.name)).is_some();
        let mut writer = Writer { world: &mut world, env: self.env() };
        let object = if there {
            writer.update(&kind, draft, Part::Everything)?
        } else {
            writer.create(&kind, draft, Part::Everything)?
        };
        Ok(object.revision)
    }

    /// Makes so many objects of one, quickly: `NAME-00000` and on.
    pub fn fill(&self, json: &[u8], count: usize) -> Result<u64, ScriptError> {
        let first = Draft::parse(json)?;
        let mut world = self.world.lock();
        let group = first.api_version.split_once('/').map_or("", |(group, _)| group);
        let mut kinds = world.resources.values().map(|resource| &resource.kind);
        let kind = kinds.find(|kind| kind.group == group && kind.kind == first.kind).cloned();
        let kind = kind.ok_or_else(|| ScriptError::NoSuchType(format!("{} {}", first.api_version, first.kind)))?;
        let (id, base) = (kind.id(), first.meta.name.clone());
        let writer = Writer { world: &mut world, env: self.env() };
        let now = writer.now();
        let uids: Vec<String> = (0..count).map(|_| writer.uid()).collect();
        let mut meta = first.meta.clone();
        meta.creation_timestamp = Some(now);
        meta.generation = kind.behaviour.generation.then_some(1);
        let mould = crate::object::Object::encode(&kind, first, 0);
        for (at, uid) in uids.into_iter().enumerate() {
            let mut meta = meta.clone();
            meta.name = format!("{base}-{at:05}");
            meta.uid = uid;
            let object = mould.with_meta(&kind, meta, world.revision + 1);
            world.keep(&id, object);
        }
        Ok(world.revision)
    }

    /// Changes so many objects of a type, each once, in the order of their keys, from the `from`th on, in an annotation.
    pub fn bump(&self, resource: &str, from: usize, count: usize) -> Result<u64, ScriptError> {
        let kind = self.kind_named(resource)?;
        let (id, mut world) = (kind.id(), self.world.lock());
        let objects = world.resources.get(&id).into_iter().flat_map(|resource| resource.objects.values());
        let objects: Vec<_> = objects.cycle().skip(from).take(count).cloned().collect();
        for object in objects {
            let revision = world.revision + 1;
            let current = world.get(&id, &object.key()).cloned().unwrap_or(object);
            let mut meta = current.meta.clone();
            meta.annotations.get_or_insert_default().insert("tidegate.dev/bumped".to_owned(), revision.to_string());
            world.keep(&id, current.with_meta(&kind, meta, revision));
        }
        Ok(world.revision)
    }

    /// Changes one object, found by its key, in one annotation.
    pub fn annotate(&self, resource: &str, key: &str, annotation: &str, value: &str) -> Result<u64, ScriptError> {
        let kind = self.kind_named(resource)?;
        let (id, mut world) = (kind.id(), self.world.lock());
        let found = world.get(&id, key).cloned();
        let current = found.ok_or_else(|| Status::not_found(&kind, key.rsplit('/').next().unwrap_or_default()))?;
        let mut meta = current.meta.clone();
        meta.annotations.get_or_insert_default().insert(annotation.to_owned(), value.to_owned());
        let revision = world.revision + 1;
        world.keep(&id, current.with_meta(&kind, meta, revision));
        Ok(revision)
    }

    /// Forgets everything before the present: tokens and lists at earlier versions expire, and no watch starts there.
    pub fn compact(&self) {
        let mut world = self.world.lock();
        world.forget_windows();
        world.compact();
    }
}

impl Inner {
    pub(crate) fn default_namespaces(&self) {
        for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
            let json = serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            // A namespace is always served.
            let _put = self.state.put(json.to_string().as_bytes());
        }
    }
}

impl ApiServer {
    fn state(&self) -> &Arc<State> {
        &self.inner.state
    }

    /// Creates or replaces an object, whatever its version, with its status, and says at which revision. An object
    /// that names no namespace and needs one is in `default`; a namespace need not be there.
    pub fn put(&self, object: &Value) -> Result<u64, ScriptError> {
        self.state().put(object.to_string().as_bytes())
    }

    /// The same from JSON text.
    pub fn put_raw(&self, json: &[u8]) -> Result<u64, ScriptError> {
        self.state().put(json)
    }

    /// Makes so many objects of one at once, named `NAME-00000` and on: 100,000 take some tenths of a second.
    pub fn fill(&self, object: &Value, count: usize) -> Result<u64, ScriptError> {
        self.state().fill(object.to_string().as_bytes(), count)
    }

    /// Writes so many objects of a type once more, each with an annotation that says when.
    pub fn bump(&self, resource: &str, count: usize) -> Result<u64, ScriptError> {
        self.state().bump(resource, 0, count)
    }

    /// Writes one object once more, with an annotation: a few microseconds, so that updates can be paced.
    pub fn annotate(
        &self,
        resource: &str,
        namespace: &str,
        name: &str,
        annotation: &str,
        value: &str,
    ) -> Result<u64, ScriptError> {
        self.state().annotate(resource, &key_of(namespace, name), annotation, value)
    }

    /// Deletes an object; false if it was not there, or finalizers hold it.
    pub fn delete(&self, resource: &str, namespace: &str, name: &str) -> Result<bool, ScriptError> {
        let kind = self.state().kind_named(resource)?;
        let mut world = self.state().world.lock();
        let mut writer = Writer { world: &mut world, env: self.state().env() };
        match writer.delete(&kind, &key_of(namespace, name), &Preconditions::default()) {
            Ok(deleted) => Ok(matches!(deleted, Deleted::Gone(_))),
            Err(status) if status.code == Some(404) => Ok(false),
            Err(status) => Err(status.into()),
        }
    }

    /// An object, in its storage version.
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Result<Option<Value>, ScriptError> {
        let kind = self.state().kind_named(resource)?;
        let world = self.state().world.lock();
        let object = world.get(&kind.id(), &key_of(namespace, name));
        Ok(object.and_then(|object| serde_json::from_slice(object.raw()).ok()))
    }

    /// All objects of a type, by `namespace/name`, as their JSON: what every store should equal in the end.
    pub fn list_raw(&self, resource: &str) -> Result<BTreeMap<String, Bytes>, ScriptError> {
        let kind = self.state().kind_named(resource)?;
        let world = self.state().world.lock();
        let objects = world.resources.get(&kind.id()).into_iter().flat_map(|resource| &resource.objects);
        Ok(objects.map(|(key, object)| (key.clone(), object.raw().clone())).collect())
    }

    /// The last write's revision.
    pub fn revision(&self) -> u64 {
        self.state().world.lock().revision
    }

    /// Forgets everything before the present: continue tokens and lists at earlier versions are answered 410, and so
    /// are watches that would start there. Watches that are open go on.
    pub fn compact(&self) {
        self.state().compact();
    }

    /// Forgets only what watches start behind, as a new watch cache does: 410 for them, and tokens stay good.
    pub fn expire_watches(&self) {
        self.state().world.lock().forget_windows();
    }

    /// The present, to go back to.
    pub fn snapshot(&self) -> Snapshot {
        self.state().world.lock().snapshot()
    }

    /// Goes back in time, as when a backup is restored: objects and counter. Open watches end.
    pub fn restore(&self, snapshot: &Snapshot) {
        self.state().world.lock().restore(snapshot);
    }

    /// From now on the replica stands still. Lists at the most recent version are still answered by the storage.
    pub fn freeze(&self) {
        self.state().frozen.send_replace(Some(Frozen { revision: self.revision(), consistent_reads: true }));
    }

    /// The same, and lists at the most recent version time out, as where the storage is out of reach too.
    pub fn freeze_without_storage(&self) {
        self.state().frozen.send_replace(Some(Frozen { revision: self.revision(), consistent_reads: false }));
    }

    /// The replica catches up.
    pub fn thaw(&self) {
        self.state().frozen.send_replace(None);
    }

    /// The faults by script.
    pub fn faults(&self) -> &Faults {
        &self.state().faults
    }

    /// The open watches.
    pub fn watches(&self) -> Vec<OpenWatch> {
        self.state().watches()
    }

    /// Does something to the open watches of a type (empty for all), and says to how many.
    pub fn strike_watches(&self, resource: &str, then: &Then) -> usize {
        self.state().strike(resource, then)
    }

    /// Forbids something: requests are answered 403 until it is allowed again. Open watches go on, as they do.
    pub fn deny(&self, denial: Denial) {
        self.state().access.deny(denial);
    }

    /// Lifts a denial.
    pub fn allow(&self, denial: &Denial) {
        self.state().access.allow(denial);
    }

    /// From now on these tokens and their users are good, and no others; with none, nobody is asked for one.
    pub fn set_tokens<'a>(&self, tokens: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let owned = tokens.into_iter().map(|(token, user)| (token.to_owned(), user.to_owned()));
        self.state().access.set_tokens(owned.collect());
    }

    /// Marks a `GROUP/VERSION` as one that discovery could not ask, or no longer.
    pub fn set_stale(&self, group_version: &str, stale: bool) {
        let mut all = self.state().stale.lock();
        all.retain(|other| other != group_version);
        if stale {
            all.push(group_version.to_owned());
        }
    }

    /// All requests so far, in the order in which they came.
    pub fn requests(&self) -> Vec<Request> {
        self.state().requests()
    }

    /// Forgets the requests so far.
    pub fn forget_requests(&self) {
        self.state().forget_requests();
    }
}
