//! Where a match stands among all of its virtual host.

use std::cmp::Reverse;

use tidegate_actors::id::Name;

use crate::model::Precedence;
use crate::resource::View;
use crate::resource::http_route::{HttpRoute, PathTest, RouteMatch};

/// The place of one match of a route's rule.
pub fn precedence(route: &View<HttpRoute>, rule: usize, at: usize, matching: &RouteMatch) -> Precedence {
    let (path_kind, path) = match &matching.path {
        PathTest::Exact(path) => (0, path),
        PathTest::Prefix(path) => (1, path),
        PathTest::Regex(path) => (2, path),
    };
    let key = route.key();
    let full_name: Name = format!("{}/{}", key.namespace_or_empty(), key.name).into();
    Precedence {
        path_kind,
        path_len: Reverse(path.chars().count() as u32),
        method: Reverse(matching.method.is_some()),
        headers: Reverse(matching.headers.len() as u16),
        query: Reverse(matching.query.len() as u16),
        created: if route.created == 0 { i64::MAX } else { route.created },
        object: (full_name.clone(), full_name, key.source.clone()),
        rule: rule as u16,
        matching: at as u16,
    }
}
