//! What proxies reject, by the objects that it concerns: whoever tells objects about themselves follows it.
//!
//! Invariant: neither what a proxy speaks nor what an object means is known here. Law: nothing stands longer than the
//! proxy that said it is connected.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::RwLock;
use tidegate_actors::id::{Name, ObjectRef};
use tidegate_actors::problem::Serving;
use tidegate_actors::watch;

use crate::model::GatewayId;

/// So many proxies are named in a sentence.
const MAX_NAMED: usize = 3;

/// One thing that one proxy rejects, as it concerns one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejection {
    /// What the proxy calls itself.
    pub proxy: Name,
    /// What it rejects, such as `listener 127.0.0.1:80`.
    pub what: String,
    /// Why, in its words; nothing secret.
    pub reason: String,
    /// What it runs instead.
    pub serving: Serving,
    /// How many objects may be the cause, of which this is one; 0 if this one only depends on it.
    pub suspects: usize,
    /// Which part of the object it concerns.
    pub part: Part,
}

/// A part of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The whole of it.
    Whole,
    /// Listeners of a Gateway.
    Listeners(BTreeSet<Name>),
    /// A route, where it is attached to these Gateways.
    Gateways(Arc<[GatewayId]>),
}

type ById = BTreeMap<String, Rejection>;

/// See the module. Clones share it.
#[derive(Clone)]
pub struct Rejections {
    all: Arc<RwLock<BTreeMap<ObjectRef, ById>>>,
    version: watch::Sender<u64>,
}

impl Default for Rejections {
    fn default() -> Self {
        Self { all: Arc::default(), version: watch::Sender::new(0) }
    }
}

impl Rejections {
    /// A rejection stands from now on, under an id of its proxy's.
    pub fn set(&self, object: &ObjectRef, id: &str, rejection: Rejection) {
        self.all.write().entry(object.clone()).or_default().insert(id.to_owned(), rejection);
        self.version.send_modify(|version| *version += 1);
    }

    /// It stands no more.
    pub fn clear(&self, object: &ObjectRef, id: &str) {
        let mut all = self.all.write();
        let Some(of_object) = all.get_mut(object) else { return };
        of_object.remove(id);
        if of_object.is_empty() {
            all.remove(object);
        }
        drop(all);
        self.version.send_modify(|version| *version += 1);
    }

    /// What stands for an object.
    pub fn of(&self, object: &ObjectRef) -> Vec<Rejection> {
        self.all.read().get(object).map(|of_object| of_object.values().cloned().collect()).unwrap_or_default()
    }

    /// Everything that stands.
    pub fn all(&self) -> BTreeMap<ObjectRef, Vec<Rejection>> {
        let all = self.all.read();
        all.iter().map(|(object, of_object)| (object.clone(), of_object.values().cloned().collect())).collect()
    }

    /// Changes whenever anything does.
    pub fn on_change(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }
}

/// Rejections as a sentence: each thing once, with the proxies that reject it, if those are to be named.
pub fn spell<'a>(rejections: impl IntoIterator<Item = &'a Rejection>, named: bool) -> String {
    let mut things: BTreeMap<(&str, &str, usize, bool), BTreeSet<&str>> = BTreeMap::new();
    for rejection in rejections {
        let kept = rejection.serving == Serving::LastGood;
        let thing = (&*rejection.what, &*rejection.reason, rejection.suspects, kept);
        things.entry(thing).or_default().insert(&rejection.proxy);
    }
    let sentences = things.into_iter().map(|((what, reason, suspects, kept), proxies)| {
        let who = if named { who(&proxies) } else { "a proxy rejects".to_owned() };
        let cause = match suspects {
            0 | 1 => String::new(),
            more => format!(" (one of {more} objects is the cause)"),
        };
        let meanwhile = if kept { "what it accepted last stays in force" } else { "nothing of it is served there" };
        format!("{who} the {what}{cause}: {reason}; {meanwhile}")
    });
    sentences.collect::<Vec<_>>().join("; ")
}

fn who(proxies: &BTreeSet<&str>) -> String {
    let named: Vec<&str> = proxies.iter().copied().take(MAX_NAMED).collect();
    match (proxies.len(), proxies.len().saturating_sub(MAX_NAMED)) {
        (1, _) => format!("the proxy {} rejects", named.join("")),
        (_, 0) => format!("the proxies {} reject", named.join(", ")),
        (_, more) => format!("the proxies {} and {more} more reject", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use tidegate_actors::id::{ObjectKey, ResourceType, Scope};

    use super::*;

    fn mk_rejection(proxy: &str, reason: &str) -> Rejection {
        let (what, reason) = ("listener 127.0.0.1:80".to_owned(), reason.to_owned());
        Rejection { proxy: proxy.into(), what, reason, serving: Serving::Nothing, suspects: 1, part: Part::Whole }
    }

    fn mk_object(name: &str) -> ObjectRef {
        let resource_type = ResourceType::new("", "v1", "Thing", "things", Scope::Namespaced);
        ObjectRef { resource_type, key: ObjectKey::namespaced("test", "apps", name) }
    }

    #[test]
    fn what_stands_is_told_until_the_last_of_an_object_is_taken_back() {
        let (rejections, object) = (Rejections::default(), mk_object("a"));
        let mut changes = rejections.on_change();
        rejections.set(&object, "1", mk_rejection("p", "bad"));
        rejections.set(&object, "2", mk_rejection("q", "bad"));
        assert!(changes.has_changed().unwrap());
        assert_eq!(rejections.of(&object).len(), 2);
        changes.mark_unchanged();
        rejections.clear(&mk_object("b"), "1");
        assert!(!changes.has_changed().unwrap(), "nothing was there");
        rejections.clear(&object, "1");
        assert_eq!(rejections.of(&object), [mk_rejection("q", "bad")]);
        rejections.clear(&object, "2");
        assert!(rejections.all().is_empty() && changes.has_changed().unwrap());
    }

    #[test]
    fn proxies_that_say_the_same_are_told_together_and_only_a_few_by_name() {
        let all: Vec<_> = ["d", "b", "a", "c", "e"].iter().map(|proxy| mk_rejection(proxy, "in use")).collect();
        let text = spell(&all, true);
        let expected = "the proxies a, b, c and 2 more reject the listener 127.0.0.1:80: in use; nothing of it is \
                        served there";
        assert_eq!(text, expected);
        assert_eq!(spell(&all, false), spell(&all[..1], false), "who says it makes no difference");
        let one = Rejection { serving: Serving::LastGood, suspects: 3, ..mk_rejection("a", "bad") };
        let text = spell([&one], true);
        assert!(text.starts_with("the proxy a rejects the listener 127.0.0.1:80 (one of 3 objects is the cause): bad"));
        assert!(text.ends_with("what it accepted last stays in force"), "{text}");
    }
}
