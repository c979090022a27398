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
