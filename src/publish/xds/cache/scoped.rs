//! Resources that look different to clients of different scopes, encoded when somebody of a scope first asks.
//!
//! Law: what is kept is bounded, as scopes are named by clients: beyond [`MANY`] only what some client has is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tidegate_actors::Map;

use crate::publish::xds::resource::Resource;
use crate::publish::xds::scope::Scope;

/// At so many scopes it is looked which of them anybody still has; what is encoded again is the same.
const MANY: usize = 1_024;

/// See the module.
#[derive(Default)]
pub struct Scoped(Mutex<Map<Scope, Option<Arc<Resource>>>>);

/// The last version before the current one that a client of a scope accepted.
#[derive(Default)]
pub struct GoodByScope(BTreeMap<Scope, Arc<Resource>>);

impl Scoped {
    /// What clients of a scope see; `None`: nothing.
    pub fn get(&self, scope: &Scope, encode: impl FnOnce() -> Option<Arc<Resource>>) -> Option<Arc<Resource>> {
        let mut encoded = self.0.lock();
        if let Some(resource) = encoded.get(scope) {
            return resource.clone();
        }
        if encoded.len() >= MANY {
            encoded.retain(|_, resource| resource.as_ref().is_some_and(is_held));
        }
        let resource = encode();
        encoded.insert(scope.clone(), resource.clone());
        resource
    }

    /// Begins anew; what clients accepted of the old is noted.
    pub fn renew(&mut self, good: &mut GoodByScope) {
        let old = std::mem::take(self.0.get_mut());
        good.0.extend(old.into_iter().filter_map(|(scope, old)| Some((scope, old.filter(|old| old.is_accepted())?))));
        if good.0.len() >= MANY {
            good.0.retain(|_, resource| is_held(resource));
        }
    }
}

impl GoodByScope {
    /// The one of a scope, if there is one.
    pub fn get(&self, scope: &Scope) -> Option<&Arc<Resource>> {
        self.0.get(scope)
    }
}

/// Whether anybody but the cache has it.
fn is_held(resource: &Arc<Resource>) -> bool {
    Arc::strong_count(resource) > 1
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::publish::xds::kind::Kind;
    use crate::publish::xds::resource::Source;

    fn mk_scope(n: usize) -> Scope {
        Scope::named([&*format!("n/g{n}")]).unwrap()
    }

    fn mk_resource(n: usize) -> Option<Arc<Resource>> {
        let body = n.to_string().into_bytes();
        Some(Resource::small(Kind::Listener, "l".into(), body, [].into(), Source::Fixed))
    }

    #[test]
    fn scopes_that_clients_make_up_are_not_kept_without_bound_and_what_a_client_has_is() {
        let mut scoped = Scoped::default();
        let held: Vec<_> = (0..10).map(|n| scoped.get(&mk_scope(n), || mk_resource(n)).unwrap()).collect();
        for n in 10..MANY * 3 {
            scoped.get(&mk_scope(n), || mk_resource(n)).unwrap().set_accepted();
        }
        assert!(scoped.0.lock().len() <= MANY);
        for (n, resource) in held.iter().enumerate() {
            let again = scoped.get(&mk_scope(n), || panic!("it is encoded once for all clients of its scope"));
            assert!(Arc::ptr_eq(&again.unwrap(), resource));
            resource.set_accepted();
        }
        let mut good = GoodByScope::default();
        scoped.renew(&mut good);
        for _ in 0..3 {
            (0..MANY).for_each(|n| {
                drop(scoped.get(&mk_scope(MANY * 9 + n), || mk_resource(n)).inspect(|r| r.set_accepted()))
            });
            scoped.renew(&mut good);
        }
        assert!(good.0.len() < MANY);
        assert!((0..10).all(|n| good.get(&mk_scope(n)).is_some()));
    }
}
