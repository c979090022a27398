//! Objects of one kind and name in several sources: whose counts, and what each side is told.
//!
//! Law: of the claimed kinds one object of a name counts, that of the source that comes first in the
//! configuration; the others are as good as absent until it goes. A namesake costs nothing but its own claim.
//!
//! Claimed are the kinds that configure a gateway by themselves: Gateway, HTTPRoute. Two of one name would serve the
//! same hosts side by side, or quarrel over one socket, and nobody could say which is meant.
//!
//! Not claimed are the kinds that count only where something refers to them: GatewayClass, Service with its
//! EndpointSlices, Secret, Namespace, ReferenceGrant. A reference finds those of its own source first, so namesakes
//! answer different referrers and contradict nobody: two clusters may each have a `default/web` Service, and each
//! names its class as the installation tells it to. To set one aside would send its source's routes to another
//! cluster's endpoints or its Gateways to another controller, and a set-aside grant would take back a permission that is
//! about its own source's objects alone.
//!
//! An object that cannot be read, and has no last good version, claims nothing: it cannot take a good one down.

use std::sync::Arc;

use tidegate_actors::correlation::{Collection, Ctx, Graph};
use tidegate_actors::id::{Name, ObjectKey, ObjectRef, ResourceType};
use tidegate_actors::problem::{Problem, Serving};

use super::settings::Settings;
use crate::model::Seq;
use crate::resource::View;

/// What objects of one kind share if they are one to their readers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FullName {
    /// Namespace, unless the kind has none.
    pub namespace: Option<Name>,
    /// Name.
    pub name: Name,
}

/// The place of a source in the configuration, then its name.
pub type Place = (usize, Name);

/// The sources that define one object, the one that counts first.
pub type Claimants = Seq<Place, ()>;

/// An object that other sources define too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contest {
    /// It counts; these sources' are set aside.
    Won(Vec<Name>),
    /// It is set aside; this source's counts.
    Lost(Name),
}

impl Contest {
    /// How an object of a source stands among its claimants; `None` if it is alone.
    pub fn of(claimants: &Claimants, source: &Name) -> Option<Self> {
        let mut sources = claimants.iter().map(|((_, source), _)| source);
        let first = sources.next().filter(|_| claimants.len() > 1)?;
        if first == source { Some(Self::Won(sources.cloned().collect())) } else { Some(Self::Lost(first.clone())) }
    }

    /// What is to be said of it, and what to do.
    pub fn message(&self) -> String {
        match self {
            Self::Won(others) => {
                let (names, them) = (others.join(", "), if others.len() == 1 { "its object is" } else { "theirs are" });
                format!("defined in {names} too, which the config lists later: {them} set aside; remove or rename one")
            }
            Self::Lost(first) => {
                format!("set aside: defined in {first} too, which the config lists first; remove or rename one")
            }
        }
    }
}

/// What is wrong with the objects of one name.
pub fn problems(resource_type: &ResourceType, name: &FullName, claimants: &Claimants) -> Vec<Problem> {
    let problem = |((_, source), _): &(Place, Arc<()>)| {
        let contest = Contest::of(claimants, source)?;
        let key = ObjectKey { source: source.clone(), namespace: name.namespace.clone(), name: name.name.clone() };
        Some(Problem {
            place: String::new(),
            object: Some(ObjectRef { resource_type: resource_type.clone(), key }),
            field: String::new(),
            reason: contest.message(),
            serving: if matches!(contest, Contest::Won(_)) { Serving::Current } else { Serving::Nothing },
        })
    };
    claimants.iter().filter_map(problem).collect()
}

/// The claims of one kind.
#[derive(Clone, Copy)]
pub(super) struct Claims(Collection<FullName, Claimants>);

impl Claims {
    /// Gathers the claims of a kind, and reports where there is more than one.
    pub fn gather<S>(
        graph: &mut Graph,
        settings: &Arc<Settings>,
        resource_type: &ResourceType,
        views: Collection<ObjectKey, View<S>>,
    ) -> Self
    where
        View<S>: PartialEq + Send + Sync + 'static,
    {
        let (with, kind) = (settings.clone(), resource_type.kind());
        let claims = graph.group(&format!("claims/{kind}"), views, move |key, _| {
            (
                FullName { namespace: key.namespace.clone(), name: key.name.clone() },
                with.place(&key.source),
                Arc::new(()),
            )
        });
        let of = resource_type.clone();
        graph.report(&format!("conflicts/{kind}"), claims, move |name, claimants| problems(&of, name, claimants));
        Self(claims)
    }

    /// How an object stands among its namesakes; `None` if it has none.
    pub fn contest(self, ctx: &mut Ctx<'_>, key: &ObjectKey) -> Option<Contest> {
        let name = FullName { namespace: key.namespace.clone(), name: key.name.clone() };
        ctx.fetch(self.0, &name).and_then(|claimants| Contest::of(&claimants, &key.source))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn mk_claimants(sources: &[&str]) -> Claimants {
        let settings = Settings { sources: vec!["b".into(), "a".into()], ..Settings::default() };
        sources.iter().map(|source| (settings.place(&(*source).into()), Arc::new(()))).collect()
    }

    #[test]
    fn the_source_that_the_config_lists_first_wins_and_unlisted_ones_come_last_by_name() {
        let claimants = mk_claimants(&["y", "a", "x", "b"]);
        let order: Vec<&str> = claimants.iter().map(|((_, source), _)| &**source).collect();
        assert_eq!(order, ["b", "a", "x", "y"]);
        assert_eq!(Contest::of(&claimants, &"b".into()), Some(Contest::Won(vec!["a".into(), "x".into(), "y".into()])));
        assert_eq!(Contest::of(&claimants, &"x".into()), Some(Contest::Lost("b".into())));
    }

    #[test]
    fn an_object_that_is_alone_has_no_contest_and_no_problem() {
        let claimants = mk_claimants(&["a"]);
        assert_eq!(Contest::of(&claimants, &"a".into()), None);
        let name = FullName { namespace: None, name: "n".into() };
        assert_eq!(problems(&crate::resource::types::gateway(), &name, &claimants), []);
    }

    #[test]
    fn each_side_is_told_of_the_other() {
        let name = FullName { namespace: Some("app".into()), name: "r".into() };
        let told = problems(&crate::resource::types::http_route(), &name, &mk_claimants(&["a", "b"]));
        let told: Vec<(String, Serving)> = told.iter().map(|p| (p.to_string(), p.serving)).collect();
        assert_eq!(told[0].1, Serving::Current);
        assert!(told[0].0.starts_with("HTTPRoute b:app/r: defined in a too"), "{told:?}");
        assert_eq!(told[1].1, Serving::Nothing);
        assert!(told[1].0.starts_with("HTTPRoute a:app/r: set aside: defined in b too"), "{told:?}");
    }
}
