//! What a file claimed before it changed, so that the same claims keep their place and the same content its
//! object.

use std::sync::Arc;

use tidegate_actors::Map;
use tidegate_actors::id::ObjectRef;
use tidegate_actors::object::Object;

use super::{Holder, Since};
use crate::source::directory::document::{Body, Document};

/// What a file claimed before it changed.
#[derive(Default)]
pub(super) struct Before {
    pub order: Vec<ObjectRef>,
    pub seen: Map<ObjectRef, (Vec<Since>, Option<Arc<Object>>)>,
}

impl Before {
    pub fn add(&mut self, id: &ObjectRef, released: Option<Holder>) {
        let Some(released) = released else { return };
        if !self.seen.contains_key(id) {
            self.order.push(id.clone());
        }
        let (sinces, object) = self.seen.entry(id.clone()).or_default();
        sinces.push(released.since);
        if object.is_none() {
            *object = released.object;
        }
    }

    /// When the file first claimed the object; each claim of several counts once.
    pub fn since(&mut self, id: &ObjectRef) -> Option<Since> {
        let (sinces, _) = self.seen.get_mut(id)?;
        (!sinces.is_empty()).then(|| sinces.remove(0))
    }

    pub fn object(&self, id: &ObjectRef) -> Option<Arc<Object>> {
        self.seen.get(id)?.1.clone()
    }

    /// Lets a new document use an old object where it says the same, so that there is one copy of it.
    pub fn share(&self, document: &mut Arc<Document>) {
        let Some(document) = Arc::get_mut(document) else { return };
        for part in &mut document.parts {
            if let Body::Good(object) = &mut part.body
                && let Some(old) = self.object(&object.object_ref()).filter(|old| old.raw() == object.raw())
            {
                *object = old;
            }
        }
    }
}
