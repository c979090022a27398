//! The order of matches within a virtual host, against the specification's sentences; and the sequence in which routes
//! are held in that order, against a sorted map.
//!
//! Oracle: of two matches the specification says which comes first, sentence by sentence (path kind, length of the path
//! in characters, method, number of headers, of query parameters, age, name, place in the route); a sequence that was
//! edited any number of times holds what a map holds, in the same order, in chunks within their bounds.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate::correlate::precedence::precedence;
use tidegate::model::Precedence;
use tidegate::resource::http_route::{HttpRoute, PathTest, RouteMatch, ValueTest};
use tidegate::resource::{View, types};
use tidegate_actors::id::{Name, ObjectKey, ObjectRef};
use tidegate_actors::seq::Seq;

use crate::input::Input;

#[derive(Clone, Debug)]
struct Candidate {
    path: PathTest,
    method: bool,
    headers: usize,
    query: usize,
    created: i64,
    namespace: &'static str,
    name: &'static str,
    source: &'static str,
    rule: usize,
    at: usize,
}

/// Pieces of ten bytes are matches; they are added to and removed from a sequence in their order.
pub fn run(data: &[u8]) {
    let mut input = Input::new(&data[..data.len().min(2048)]);
    let mut all: Vec<Candidate> = Vec::new();
    let mut seq: Seq<Precedence, usize> = Seq::default();
    let mut map: BTreeMap<Precedence, usize> = BTreeMap::new();
    while !input.is_empty() {
        let candidate = any_candidate(&mut input);
        let place = place(&candidate);
        for other in all.iter().rev().take(8) {
            assert_eq!(place.cmp(&self::place(other)), specified(&candidate, other), "{candidate:?} {other:?}");
        }
        let value = (!input.byte().is_multiple_of(4)).then_some(all.len());
        seq = seq.edited([(place.clone(), value.map(Arc::new))]);
        match value {
            Some(value) => map.insert(place, value),
            None => map.remove(&place),
        };
        all.push(candidate);
        assert_eq!((seq.len(), seq.is_empty()), (map.len(), map.is_empty()));
    }
    assert!(seq.iter().map(|(key, value)| (key, &**value)).eq(map.iter()), "the sequence is the map");
    assert!(seq.chunks().all(|chunk| (1..=16).contains(&chunk.len())), "no chunk is empty, none too long");
    let at_once: Seq<Precedence, usize> = map.into_iter().map(|(key, value)| (key, Arc::new(value))).collect();
    assert!(seq == at_once, "equal whatever the chunks");
}

fn any_candidate(input: &mut Input<'_>) -> Candidate {
    let path: Name = input.one_of(&["/", "/a", "/b", "/a/b", "/\u{e4}", "/aa"]).into();
    Candidate {
        path: match input.below(3) {
            0 => PathTest::Exact(path),
            1 => PathTest::Prefix(path),
            _ => PathTest::Regex(path),
        },
        method: input.flag(),
        headers: input.below(3),
        query: input.below(3),
        created: i64::from(input.byte() % 3),
        namespace: input.one_of(&["app", "app-a", "b"]),
        name: input.one_of(&["x", "y", "x-a"]),
        source: input.one_of(&["one", "two"]),
        rule: input.below(3),
        at: input.below(3),
    }
}

fn place(of: &Candidate) -> Precedence {
    let object =
        ObjectRef { resource_type: types::http_route(), key: ObjectKey::namespaced(of.source, of.namespace, of.name) };
    let (parents, hostnames, rules) = Default::default();
    let route = View { object, generation: 1, created: of.created, spec: HttpRoute { parents, hostnames, rules } };
    let tests = |count: usize| (0..count).map(|n| (format!("n{n}").into(), ValueTest::Exact("v".into()))).collect();
    let matching = RouteMatch {
        path: of.path.clone(),
        method: of.method.then(|| "GET".into()),
        headers: tests(of.headers),
        query: tests(of.query),
    };
    precedence(&route, &format!("{}/{}", of.namespace, of.name).into(), of.rule, of.at, &matching)
}

fn specified(a: &Candidate, b: &Candidate) -> Ordering {
    let kind = |of: &Candidate| match of.path {
        PathTest::Exact(_) => 0,
        PathTest::Regex(_) => 1,
        PathTest::Prefix(_) => 2,
    };
    let length = |of: &Candidate| match &of.path {
        PathTest::Exact(path) | PathTest::Prefix(path) | PathTest::Regex(path) => path.chars().count(),
    };
    let age = |of: &Candidate| if of.created == 0 { i64::MAX } else { of.created };
    let name = |of: &Candidate| (format!("{}/{}", of.namespace, of.name), of.source);
    (kind(a).cmp(&kind(b)))
        .then(length(b).cmp(&length(a)))
        .then(b.method.cmp(&a.method))
        .then(b.headers.cmp(&a.headers))
        .then(b.query.cmp(&a.query))
        .then(age(a).cmp(&age(b)))
        .then(name(a).cmp(&name(b)))
        .then((a.rule, a.at).cmp(&(b.rule, b.at)))
}
