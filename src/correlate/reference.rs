//! The one place that decides whether one object may refer to another, and which object that is.
//!
//! Laws: a reference into another namespace needs a ReferenceGrant of the referent's own source; without one it
//! does not even say whether the referent exists; a reference resolves in its own source first, then in the
//! others in the configuration's order.

use tidegate_actors::id::{Name, ObjectKey};

use super::settings::Settings;
use crate::resource::View;
use crate::resource::gateway::ObjectReference;
use crate::resource::reference_grant::ReferenceGrant;

/// What a grant allows, spelled so that a look-up finds it: who, and to what.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GrantKey {
    /// Source and namespace of the grant, which are those of the referent.
    pub place: (Name, Name),
    /// Group, kind and namespace of the referrer.
    pub from: (Name, Name, Name),
    /// Group, kind and name of the referent; without a name for all of the kind.
    pub to: (Name, Name, Option<Name>),
}

/// All that a grant allows.
pub fn allowances(grant: &View<ReferenceGrant>) -> Vec<GrantKey> {
    let Some(namespace) = &grant.key().namespace else { return Vec::new() };
    let place = (grant.key().source.clone(), namespace.clone());
    let pairs = grant.spec.from.iter().flat_map(|from| grant.spec.to.iter().map(move |to| (from, to)));
    let key =
        |(from, to): (&crate::resource::reference_grant::GrantFrom, &crate::resource::reference_grant::GrantTo)| {
            GrantKey {
                place: place.clone(),
                from: (from.group.clone(), from.kind.clone(), from.namespace.clone()),
                to: (to.group.clone(), to.kind.clone(), to.name.clone()),
            }
        };
    pairs.map(key).collect()
}

/// Who refers.
#[derive(Clone, Debug)]
pub struct Referrer<'a> {
    /// Its source.
    pub source: &'a Name,
    /// Its group.
    pub group: &'a str,
    /// Its kind.
    pub kind: &'a str,
    /// Its namespace.
    pub namespace: &'a Name,
}

/// Why a reference leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// It crosses namespaces and no grant allows it.
    NotPermitted,
    /// There is no such object.
    NotFound,
}

/// What the resolver reads.
pub trait Find<T> {
    /// Whether a grant allows exactly this.
    fn granted(&mut self, key: &GrantKey) -> bool;

    /// The object of a key.
    fn find(&mut self, key: &ObjectKey) -> Option<T>;
}

/// Follows a reference.
pub fn resolve<T>(
    settings: &Settings,
    from: &Referrer<'_>,
    to: &ObjectReference,
    world: &mut impl Find<T>,
) -> Result<(ObjectKey, T), Unresolved> {
    let namespace = to.namespace.as_ref().unwrap_or(from.namespace);
    let crosses = namespace != from.namespace;
    let mut permitted_anywhere = !crosses;
    for source in settings.search(from.source) {
        let permitted = !crosses || is_granted(source, namespace, from, to, world);
        permitted_anywhere |= permitted;
        let key = ObjectKey { source: source.clone(), namespace: Some(namespace.clone()), name: to.name.clone() };
        match world.find(&key) {
            Some(found) if permitted => return Ok((key, found)),
            Some(_) => return Err(Unresolved::NotPermitted),
            None => {}
        }
    }
    Err(if permitted_anywhere { Unresolved::NotFound } else { Unresolved::NotPermitted })
}

fn is_granted<T>(
    source: &Name,
    namespace: &Name,
    from: &Referrer<'_>,
    to: &ObjectReference,
    world: &mut impl Find<T>,
) -> bool {
    let mut key = GrantKey {
        place: (source.clone(), namespace.clone()),
        from: (from.group.into(), from.kind.into(), from.namespace.clone()),
        to: (to.group.clone(), to.kind.clone(), None),
    };
    if world.granted(&key) {
        return true;
    }
    key.to.2 = Some(to.name.clone());
    world.granted(&key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[derive(Default)]
    struct Known {
        objects: BTreeSet<ObjectKey>,
        grants: BTreeSet<GrantKey>,
    }

    impl Find<()> for Known {
        fn granted(&mut self, key: &GrantKey) -> bool {
            self.grants.contains(key)
        }

        fn find(&mut self, key: &ObjectKey) -> Option<()> {
            self.objects.contains(key).then_some(())
        }
    }

    fn mk_grant(source: &str, name: Option<&str>) -> GrantKey {
        GrantKey {
            place: (source.into(), "shop".into()),
            from: ("gateway.networking.k8s.io".into(), "HTTPRoute".into(), "web".into()),
            to: ("".into(), "Service".into(), name.map(Into::into)),
        }
    }

    fn follow(known: &mut Known, namespace: Option<&str>, name: &str) -> Result<String, Unresolved> {
        let settings = Settings { sources: vec!["one".into(), "two".into()], ..Settings::default() };
        let (source, web) = ("two".into(), "web".into());
        let from = Referrer { source: &source, group: "gateway.networking.k8s.io", kind: "HTTPRoute", namespace: &web };
        let to = ObjectReference {
            group: "".into(),
            kind: "Service".into(),
            namespace: namespace.map(Into::into),
            name: name.into(),
        };
        resolve(&settings, &from, &to, known).map(|(key, ())| key.to_string())
    }

    #[test]
    fn a_reference_resolves_in_its_own_source_first_and_then_in_the_others() {
        let mut known = Known::default();
        known.objects.insert(ObjectKey::namespaced("one", "web", "a"));
        assert_eq!(follow(&mut known, None, "a").as_deref(), Ok("one:web/a"));
        known.objects.insert(ObjectKey::namespaced("two", "web", "a"));
        assert_eq!(follow(&mut known, None, "a").as_deref(), Ok("two:web/a"));
        assert_eq!(follow(&mut known, Some("web"), "b"), Err(Unresolved::NotFound));
    }

    #[test]
    fn another_namespace_needs_a_grant_and_without_one_nothing_is_said_of_existence() {
        let mut known = Known::default();
        known.objects.insert(ObjectKey::namespaced("two", "shop", "a"));
        assert_eq!(follow(&mut known, Some("shop"), "a"), Err(Unresolved::NotPermitted));
        assert_eq!(follow(&mut known, Some("shop"), "absent"), Err(Unresolved::NotPermitted));
        known.grants.insert(mk_grant("two", Some("a")));
        assert_eq!(follow(&mut known, Some("shop"), "a").as_deref(), Ok("two:shop/a"));
        assert_eq!(follow(&mut known, Some("shop"), "absent"), Err(Unresolved::NotPermitted));
        known.grants.insert(mk_grant("two", None));
        assert_eq!(follow(&mut known, Some("shop"), "absent"), Err(Unresolved::NotFound));
    }

    #[test]
    fn a_grant_of_one_source_opens_nothing_of_another() {
        let mut known = Known::default();
        known.objects.insert(ObjectKey::namespaced("one", "shop", "a"));
        known.grants.insert(mk_grant("two", None));
        assert_eq!(follow(&mut known, Some("shop"), "a"), Err(Unresolved::NotPermitted));
    }
}
