//! Matches of a rule: path, method, headers, query parameters.

use tidegate_actors::id::Name;

use super::raw;
use crate::resource::field::Checks;
use crate::resource::shared::{shared, shared_value};
use crate::resource::{format, regex};

/// Conditions on a request, all of which must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteMatch {
    /// On the path.
    pub path: PathTest,
    /// On the method.
    pub method: Option<Name>,
    /// On headers: names in lower case, each once.
    pub headers: Box<[(Name, ValueTest)]>,
    /// On query parameters, each name once.
    pub query: Box<[(Name, ValueTest)]>,
}

/// A condition on a path.
#[derive(Clone, Debug, PartialEq)]
pub enum PathTest {
    /// The whole path.
    Exact(Name),
    /// Whole elements from its start, without a slash at the end; `/` for all paths.
    Prefix(Name),
    /// A regular expression on the whole path.
    Regex(Name),
}

/// A condition on a value.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueTest {
    /// The whole value.
    Exact(Name),
    /// A regular expression on the whole value.
    Regex(Name),
}

const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// `None` if it holds something that we cannot do.
pub(super) fn read(c: &mut Checks, raw: raw::Match) -> Option<RouteMatch> {
    let path = c.field("path", |c| path(c, raw.path.unwrap_or_default()));
    let method = c.field("method", |c| match raw.method {
        Some(method) if !METHODS.contains(&&*method) => {
            c.unsupported(format!("must be one of {}", METHODS.join(", ")));
            None
        }
        method => Some(method.as_deref().map(shared)),
    });
    let headers = tests(c, "headers", 4096, raw.headers, format::header_name);
    let query = tests(c, "queryParams", 1024, raw.query_params, |c, name| {
        c.ensure(format::is_header_name(name), "must be a name of 1 to 256 characters, those of a header name");
        name.into()
    });
    Some(RouteMatch { path: path?, method: method?, headers: headers?, query: query? })
}

fn path(c: &mut Checks, raw: raw::Path) -> Option<PathTest> {
    let value = raw.value.unwrap_or_else(|| "/".to_owned());
    let kind = raw.r#type.as_deref().unwrap_or("PathPrefix");
    c.field("value", |c| c.ensure(value.len() <= 1024, "must have at most 1024 characters"));
    match kind {
        "Exact" | "PathPrefix" => {
            c.field("value", |c| literal(c, &value));
            if kind == "Exact" {
                return Some(PathTest::Exact(value.into()));
            }
            let trimmed = value.trim_end_matches('/');
            Some(PathTest::Prefix(if trimmed.is_empty() { "/".into() } else { trimmed.into() }))
        }
        "RegularExpression" => c.field("value", |c| expression(c, &value)).then(|| PathTest::Regex(value.into())),
        _ => {
            c.field("type", |c| c.unsupported("must be Exact, PathPrefix or RegularExpression"));
            None
        }
    }
}

fn literal(c: &mut Checks, value: &str) {
    c.ensure(value.starts_with('/'), "must start with a slash");
    for bad in ["//", "/./", "/../", "%2f", "%2F", "#"] {
        if value.contains(bad) {
            c.error(format!("must not contain {bad}"));
        }
    }
    for bad in ["/..", "/."] {
        if value.ends_with(bad) {
            c.error(format!("must not end with {bad}"));
        }
    }
    let mut rest = value.bytes();
    let mut ok = true;
    while let Some(byte) = rest.next() {
        ok &= match byte {
            b'%' => [rest.next(), rest.next()].iter().all(|hex| hex.is_some_and(|b| b.is_ascii_hexdigit())),
            // What has an error of its own above.
            b'#' => true,
            other => other.is_ascii_alphanumeric() || b"-/._~!$&'()*+,;=:@".contains(&other),
        };
    }
    c.ensure(ok, "has a character that is not allowed in a path; write it in percent encoding");
}

fn expression(c: &mut Checks, pattern: &str) -> bool {
    match regex::check(pattern) {
        Ok(()) => true,
        Err(reason) => {
            c.unsupported(reason);
            false
        }
    }
}

/// Of several tests on one name the first counts.
fn tests(
    c: &mut Checks,
    field: &'static str,
    max_value: usize,
    raw: Option<Vec<raw::Test>>,
    name: impl Fn(&mut Checks, &str) -> Name,
) -> Option<Box<[(Name, ValueTest)]>> {
    let all = c.each(field, 16, raw.unwrap_or_default(), |c, raw| {
        let name = c.field("name", |c| name(c, &raw.name));
        c.field("value", |c| {
            let ok = (1..=max_value).contains(&raw.value.len());
            c.ensure(ok, "must not be empty, nor longer than the specification allows");
        });
        let test = match raw.r#type.as_deref().unwrap_or("Exact") {
            // Versions, variants, tenants: there are fewer values than routes that ask for them.
            "Exact" => Some(ValueTest::Exact(shared_value(&raw.value))),
            "RegularExpression" => {
                c.field("value", |c| expression(c, &raw.value)).then(|| ValueTest::Regex(raw.value.into()))
            }
            _ => {
                c.field("type", |c| c.unsupported("must be Exact or RegularExpression"));
                None
            }
        };
        test.map(|test| (name, test))
    });
    let mut kept: Vec<(Name, ValueTest)> = Vec::with_capacity(all.len());
    for test in all {
        let (name, test) = test?;
        if kept.iter().all(|(earlier, _)| *earlier != name) {
            kept.push((name, test));
        }
    }
    Some(kept.into())
}
