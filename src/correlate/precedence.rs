//! Where a match stands among all of its virtual host.

use std::cmp::Reverse;

use tidegate_actors::id::Name;

use crate::model::Precedence;
use crate::resource::View;
use crate::resource::http_route::{HttpRoute, PathTest, RouteMatch};

/// The place of one match of a route's rule; `full_name` is the route's `namespace/name`.
pub fn precedence(
    route: &View<HttpRoute>,
    full_name: &Name,
    rule: usize,
    at: usize,
    matching: &RouteMatch,
) -> Precedence {
    let (path_kind, path) = match &matching.path {
        PathTest::Exact(path) => (0, path),
        PathTest::Prefix(path) => (2, path),
        PathTest::Regex(path) => (1, path),
    };
    Precedence {
        path_kind,
        path_len: Reverse(path.chars().count() as u32),
        method: Reverse(matching.method.is_some()),
        headers: Reverse(matching.headers.len() as u16),
        query: Reverse(matching.query.len() as u16),
        created: if route.created == 0 { i64::MAX } else { route.created },
        object: (full_name.clone(), route.key().source.clone()),
        rule: rule as u16,
        matching: at as u16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::http_route::ValueTest;
    use crate::resource::types;
    use proptest::prelude::*;
    use std::cmp::Ordering;
    use tidegate_actors::id::{ObjectKey, ObjectRef};

    #[derive(Clone, Debug)]
    struct Candidate {
        route: (i64, &'static str, &'static str, &'static str),
        rule: usize,
        at: usize,
        path: PathTest,
        method: bool,
        headers: usize,
        query: usize,
    }

    fn any_candidate() -> impl Strategy<Value = Candidate> {
        let path = prop::sample::select(vec!["/", "/a", "/b", "/a/b", "/ä"]);
        let path = (path, 0..3).prop_map(|(path, kind)| match kind {
            0 => PathTest::Exact(path.into()),
            1 => PathTest::Prefix(path.into()),
            _ => PathTest::Regex(path.into()),
        });
        let route = (
            0_i64..3,
            prop::sample::select(vec!["app", "app-a", "b"]),
            prop::sample::select(vec!["x", "y"]),
            prop::sample::select(vec!["one", "two"]),
        );
        (route, 0_usize..3, 0_usize..3, path, any::<bool>(), 0_usize..3, 0_usize..3).prop_map(
            |(route, rule, at, path, method, headers, query)| Candidate {
                route,
                rule,
                at,
                path,
                method,
                headers,
                query,
            },
        )
    }

    fn place(of: &Candidate) -> Precedence {
        let (created, namespace, name, source) = of.route;
        let object =
            ObjectRef { resource_type: types::http_route(), key: ObjectKey::namespaced(source, namespace, name) };
        let (parents, hostnames, rules) = Default::default();
        let spec = HttpRoute { parents, hostnames, rules };
        let route = View { object, generation: 1, created, spec };
        let tests = |count: usize| (0..count).map(|n| (format!("n{n}").into(), ValueTest::Exact("v".into()))).collect();
        let matching = RouteMatch {
            path: of.path.clone(),
            method: of.method.then(|| "GET".into()),
            headers: tests(of.headers),
            query: tests(of.query),
        };
        precedence(&route, &format!("{namespace}/{name}").into(), of.rule, of.at, &matching)
    }

    /// The specification's sentences, one after the other.
    fn by_the_specification(a: &Candidate, b: &Candidate) -> Ordering {
        let exact = |c: &Candidate| matches!(c.path, PathTest::Exact(_));
        let regex = |c: &Candidate| matches!(c.path, PathTest::Regex(_));
        let characters = |c: &Candidate| match &c.path {
            PathTest::Exact(path) | PathTest::Prefix(path) | PathTest::Regex(path) => path.chars().count(),
        };
        let age = |c: &Candidate| if c.route.0 == 0 { i64::MAX } else { c.route.0 };
        let name = |c: &Candidate| (format!("{}/{}", c.route.1, c.route.2), c.route.3);
        exact(b)
            .cmp(&exact(a))
            .then_with(|| regex(b).cmp(&regex(a)))
            .then_with(|| characters(b).cmp(&characters(a)))
            .then_with(|| b.method.cmp(&a.method))
            .then_with(|| b.headers.cmp(&a.headers))
            .then_with(|| b.query.cmp(&a.query))
            .then_with(|| age(a).cmp(&age(b)))
            .then_with(|| name(a).cmp(&name(b)))
            .then_with(|| (a.rule, a.at).cmp(&(b.rule, b.at)))
    }

    proptest! {
        #[test]
        fn places_are_ordered_as_the_specification_says(a in any_candidate(), b in any_candidate()) {
            prop_assert_eq!(place(&a).cmp(&place(&b)), by_the_specification(&a, &b));
        }
    }
}
