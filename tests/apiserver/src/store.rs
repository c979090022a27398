//! The server's state: one revision counter, and for each resource type its objects and what happened to them. Each
//! write takes the next revision. Rules about who may write what are not here.
//!
//! Law: a revision belongs to one write of one object.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::kind::Kind;
use crate::object::{Draft, Object};
use crate::watch_cache::{Forgotten, Limits, WatchCache};

/// Objects by their keys, in etcd's order.
pub type Objects = BTreeMap<String, Arc<Object>>;

/// One resource type with its objects.
pub struct Resource {
    /// What it is.
    pub kind: Arc<Kind>,
    /// Its objects.
    pub objects: Objects,
    /// What happened.
    pub cache: Arc<Mutex<WatchCache>>,
    /// Ends the watches, when the type goes or is served anew.
    pub life: CancellationToken,
    changed: watch::Sender<u64>,
}

impl Resource {
    fn new(kind: Arc<Kind>, limits: Limits, revision: u64) -> Self {
        Self {
            kind,
            objects: BTreeMap::new(),
            cache: Arc::new(Mutex::new(WatchCache::new(limits, revision))),
            life: CancellationToken::new(),
            changed: watch::channel(revision).0,
        }
    }

    /// Tells of each write.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The watches that are open end; later ones start at a revision or later.
    pub fn serve_anew(&mut self, revision: u64) {
        self.cache.lock().forget_window(revision);
        std::mem::take(&mut self.life).cancel();
    }
}

/// Everything.
pub struct World {
    /// The last write's.
    pub revision: u64,
    /// By [`Kind::id`].
    pub resources: BTreeMap<String, Resource>,
    limits: Limits,
}

/// The objects of all types at a revision, to go back to.
#[derive(Clone)]
pub struct Snapshot {
    revision: u64,
    kinds: Vec<(Arc<Kind>, Objects)>,
}

impl Snapshot {
    /// Its revision.
    pub fn revision(&self) -> u64 {
        self.revision
    }
}

/// Where a page of a list begins and ends.
#[derive(Clone, Copy, Debug)]
pub struct Range<'a> {
    /// The version of all pages.
    pub revision: u64,
    /// What keys begin with: `namespace/`, or nothing.
    pub prefix: &'a str,
    /// The first key; empty for the first of all.
    pub from: &'a str,
    /// The most objects; 0 is all.
    pub most: usize,
    /// How many are there from the first key on, if that is known: counting costs time.
    pub left: Option<usize>,
}

/// Some objects in order, and how many there are behind them.
pub struct Page {
    /// The objects.
    pub objects: Vec<Arc<Object>>,
    /// How many follow.
    pub behind: usize,
}

impl World {
    /// A world with the built-in types.
    pub fn new(limits: Limits, revision: u64) -> Self {
        let mut world = Self { revision, resources: BTreeMap::new(), limits };
        Kind::all_built_in().into_iter().for_each(|kind| world.serve(kind));
        world
    }

    /// Serves a type, or serves it from now on as this kind says.
    pub fn serve(&mut self, kind: Kind) {
        let (id, kind, revision) = (kind.id(), Arc::new(kind), self.revision);
        match self.resources.get_mut(&id) {
            Some(resource) if resource.kind == kind => {}
            Some(resource) => {
                resource.kind = kind;
                resource.serve_anew(revision);
            }
            None => {
                self.resources.insert(id, Resource::new(kind, self.limits, revision));
            }
        }
    }

    /// Serves a type no more.
    pub fn forget(&mut self, id: &str) {
        if let Some(resource) = self.resources.remove(id) {
            resource.life.cancel();
        }
    }

    /// Writes an object; `None` if there is no such type.
    pub fn put(&mut self, id: &str, draft: Draft) -> Option<Arc<Object>> {
        let revision = self.revision + 1;
        let kind = self.resources.get(id)?.kind.clone();
        self.keep(id, Object::encode(&kind, draft, revision))
    }

    /// Keeps an object that was encoded at the next revision.
    pub fn keep(&mut self, id: &str, object: Object) -> Option<Arc<Object>> {
        let resource = self.resources.get_mut(id)?;
        debug_assert_eq!(object.revision, self.revision + 1);
        self.revision = object.revision;
        let object = Arc::new(object);
        let previous = resource.objects.insert(object.key(), object.clone());
        resource.cache.lock().push(object.clone(), previous, false);
        resource.changed.send_replace(self.revision);
        Some(object)
    }

    /// Takes an object away; `None` if it is not there.
    pub fn remove(&mut self, id: &str, key: &str) -> Option<Arc<Object>> {
        let resource = self.resources.get_mut(id)?;
        let previous = resource.objects.remove(key)?;
        self.revision += 1;
        let object = Arc::new(previous.at(&resource.kind, self.revision));
        resource.cache.lock().push(object.clone(), Some(previous), true);
        resource.changed.send_replace(self.revision);
        Some(object)
    }

    /// An object.
    pub fn get(&self, id: &str, key: &str) -> Option<&Arc<Object>> {
        self.resources.get(id)?.objects.get(key)
    }

    /// Forgets all versions before this one, in tokens and lists.
    pub fn compact(&mut self) {
        let revision = self.revision;
        self.resources.values_mut().for_each(|resource| resource.cache.lock().forget_history(revision));
    }

    /// Forgets what watches could start behind; those that are open go on.
    pub fn forget_windows(&mut self) {
        let revision = self.revision;
        self.resources.values_mut().for_each(|resource| resource.cache.lock().forget_window(revision));
    }

    /// The present, to go back to.
    pub fn snapshot(&self) -> Snapshot {
        let kinds = self.resources.values().map(|resource| (resource.kind.clone(), resource.objects.clone()));
        Snapshot { revision: self.revision, kinds: kinds.collect() }
    }

    /// Goes back in time: the counter too. All watches end, and nothing before is remembered.
    pub fn restore(&mut self, snapshot: &Snapshot) {
        self.resources.values().for_each(|resource| resource.life.cancel());
        self.resources.clear();
        self.revision = snapshot.revision;
        for (kind, objects) in &snapshot.kinds {
            let mut resource = Resource::new(kind.clone(), self.limits, snapshot.revision);
            resource.objects.clone_from(objects);
            self.resources.insert(kind.id(), resource);
        }
    }
}

impl Resource {
    /// The objects at a revision in a range, as many as asked for that a test lets through.
    pub fn page(&self, range: &Range, wanted: impl Fn(&Object) -> bool) -> Result<Page, Forgotten> {
        let Range { revision, prefix, from, most, left } = *range;
        let before = self.cache.lock().before(revision)?;
        let start = if from > prefix { from } else { prefix };
        let bounds = (Bound::Included(start), Bound::Unbounded);
        let mut present = self.objects.range::<str, _>(bounds).filter(|(key, _)| !before.contains_key(*key)).peekable();
        let past = before.range::<str, _>(bounds).filter_map(|(key, object)| Some((key, object.as_ref()?)));
        let mut past = past.peekable();
        let mut page = Page { objects: Vec::new(), behind: 0 };
        let mut passed = 0;
        loop {
            let full = most > 0 && page.objects.len() == most;
            if let Some(left) = left.filter(|_| full) {
                page.behind = left.saturating_sub(passed);
                return Ok(page);
            }
            let next = match (present.peek(), past.peek()) {
                (Some((a, _)), Some((b, _))) if a > b => past.next(),
                (Some(_), _) => present.next(),
                (None, _) => past.next(),
            };
            let Some((_, object)) = next.filter(|(key, _)| key.starts_with(prefix)) else { return Ok(page) };
            if full {
                page.behind += 1;
                continue;
            }
            passed += 1;
            if wanted(object) {
                page.objects.push(object.clone());
            }
        }
    }
}
