//! What an event handler was told of the objects of one type, and whether it can have happened.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tidegate_actors::handler::EventHandler;
use tidegate_actors::object::Object;

/// Which object: its uid and resource version.
pub type Which = (String, String);

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Add(Which),
    Update(Which, Which),
    Delete(Which, bool),
}

/// Remembers all calls, by the object's namespace and name.
#[derive(Default)]
pub struct Observer {
    told: Mutex<Vec<(String, Told)>>,
}

pub fn name_of(object: &Object) -> String {
    format!("{}/{}", object.key().namespace_or_empty(), object.key().name)
}

pub fn which(object: &Object) -> Which {
    (object.uid().unwrap().to_owned(), object.resource_version().unwrap().to_owned())
}

#[async_trait]
impl EventHandler for Observer {
    async fn on_add(&self, object: Arc<Object>, _: bool) {
        self.told.lock().push((name_of(&object), Told::Add(which(&object))));
    }

    async fn on_update(&self, old: Arc<Object>, new: Arc<Object>) {
        self.told.lock().push((name_of(&new), Told::Update(which(&old), which(&new))));
    }

    async fn on_delete(&self, object: Arc<Object>, tombstone: bool) {
        self.told.lock().push((name_of(&object), Told::Delete(which(&object), tombstone)));
    }
}

impl Observer {
    pub fn told(&self) -> Vec<(String, Told)> {
        self.told.lock().clone()
    }

    /// What was told of one object.
    pub fn told_of(&self, name: &str) -> Vec<Told> {
        let told = self.told.lock();
        told.iter().filter(|(of, _)| of == name).map(|(_, told)| told.clone()).collect()
    }
}

/// Whether a history leads forward in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    Forward,
    /// The server itself was set back.
    MayGoBack,
}

/// What there is at the end of a history; an error if it cannot have happened.
pub fn replay(told: &[(String, Told)], time: Time) -> Result<BTreeMap<String, Which>, String> {
    let mut held: BTreeMap<String, Which> = BTreeMap::new();
    let forward = |old: &Which, new: &Which| time == Time::MayGoBack || number(&old.1) < number(&new.1);
    for (at, (name, call)) in told.iter().enumerate() {
        let wrong = |what: &str, held: Option<&Which>| Err(format!("call {at}: {call:?} of {name} {what}: {held:?}"));
        match call {
            Told::Add(new) => match held.get(name) {
                None => _ = held.insert(name.clone(), new.clone()),
                there => return wrong("which was there already", there),
            },
            Told::Update(old, new) => match held.get(name) {
                Some(known) if known != old => return wrong("which was told otherwise before", Some(known)),
                Some(known) if known.0 != new.0 => return wrong("which is another object", Some(known)),
                Some(known) if !forward(known, new) => return wrong("which is not newer", Some(known)),
                None => return wrong("which was never added", None),
                Some(_) => _ = held.insert(name.clone(), new.clone()),
            },
            Told::Delete(last, _) => match held.remove(name) {
                Some(known) if known.0 == last.0 => {}
                there => return wrong("which was not there so", there.as_ref()),
            },
        }
    }
    Ok(held)
}

/// The uids under each name, in the order in which they were seen, each once in a row.
pub fn lives(told: &[(String, Told)]) -> BTreeMap<String, Vec<String>> {
    let mut lives: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, call) in told {
        let Told::Add((uid, _)) = call else { continue };
        let of = lives.entry(name.clone()).or_default();
        if of.last() != Some(uid) {
            of.push(uid.clone());
        }
    }
    lives
}

fn number(version: &str) -> u64 {
    version.parse().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(uid: &str, version: u64) -> Which {
        (uid.to_owned(), version.to_string())
    }

    fn judge(calls: &[Told]) -> Result<usize, String> {
        let told: Vec<_> = calls.iter().map(|call| ("n/a".to_owned(), call.clone())).collect();
        replay(&told, Time::Forward).map(|held| held.len())
    }

    #[test]
    fn what_cannot_have_happened_is_noticed() {
        let (one, two, other) = (of("u", 1), of("u", 2), of("v", 3));
        let add = Told::Add(one.clone());
        let update = Told::Update(one.clone(), two.clone());
        let recreated = [Told::Delete(two.clone(), true), Told::Add(other.clone())];
        assert_eq!(judge(&[&[add.clone(), update.clone()][..], &recreated].concat()), Ok(1));
        for (calls, what) in [
            (vec![update.clone()], "never added"),
            (vec![Told::Delete(one.clone(), false)], "was not there"),
            (vec![add.clone(), add.clone()], "already"),
            (vec![add.clone(), update.clone(), update], "otherwise"),
            (vec![add.clone(), Told::Update(one.clone(), other.clone())], "another object"),
            (vec![Told::Add(two.clone()), Told::Update(two, one)], "not newer"),
            (vec![add, Told::Delete(other, false)], "was not there so"),
        ] {
            let error = judge(&calls).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
    }
}
