//! From the bytes of a watch to objects that can be held: ours beside kube's `DynamicObject`, through kube's watcher
//! and, to tell the two apart, without it. Both get the same bytes, in pieces as a connection brings them, in one
//! thread. Neither pays for a connection: kube's client asks a service in its own process.
//!
//! Two ways to hold are told apart. In a first list every object needs new memory. In a watch that goes on, each takes
//! the place of its last version, which is dropped: that is what a process does for months, and what the budget is
//! measured on. Drops count, since a tree of a hundred allocations is not free when they end.

use std::convert::Infallible;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use futures::{StreamExt as _, stream};
use http::{Request, Response};
use http_body_util::StreamBody;
use hyper::body::Frame;
use kube::client::Body;
use kube::core::{ApiResource, DynamicObject, WatchEvent};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use tidegate_actors::id::{ResourceType, Scope};
use tidegate_actors::object::{Decoder, Object, Transform};
use tidegate_bench::corpus::{KINDS, Kind};
use tidegate_bench::pipeline::worked;
use tidegate_bench::report::{Figure, Report};

/// So many objects of each kind; enough that none is still in the nearest cache when its turn comes again.
const OBJECTS: usize = 500;
const ROUNDS: usize = 15;

/// The objects of a kind as lines of a watch.
fn lines(kind: Kind) -> Vec<String> {
    (0..OBJECTS).map(|n| format!(r#"{{"type":"ADDED","object":{}}}"#, kind.json(n))).collect()
}

fn decoder(kind: Kind) -> Decoder {
    let (group, version, plural) = kind.api();
    let resource_type = ResourceType::new(group, version, kind.name(), plural, Scope::Namespaced);
    Decoder::new("bench".into(), resource_type).with_transform(Transform::LEAN)
}

/// Takes the frame of a line off, as a source would; the object in it is checked when it is decoded.
fn frame(line: &str) -> Option<(&str, &str)> {
    let (event, rest) = line.strip_prefix(r#"{"type":""#)?.split_once(r#"","object":"#)?;
    Some((event, rest.strip_suffix('}')?))
}

fn ours(decoder: &Decoder, line: &str) -> Arc<Object> {
    let Some((event, object)) = frame(line) else { panic!("not a line of a watch: {line}") };
    black_box(event);
    Arc::new(decoder.decode(object).unwrap_or_else(|error| panic!("{error}")))
}

fn theirs(line: &str) -> DynamicObject {
    match serde_json::from_str::<WatchEvent<DynamicObject>>(line) {
        Ok(WatchEvent::Added(object)) => object,
        other => panic!("not an added object: {other:?}"),
    }
}

/// What a connection brings at once, at most: a record of TLS.
const PIECE: usize = 16 * 1_024;

/// The lines as the body of a watch.
fn pieces(lines: &[String]) -> Vec<Bytes> {
    let body = Bytes::from(lines.join("\n") + "\n");
    (0..body.len()).step_by(PIECE).map(|at| body.slice(at..body.len().min(at + PIECE))).collect()
}

/// All objects of a watch, held, as a source of ours makes them.
async fn ours_watched(decoder: &Decoder, pieces: &[Bytes], hold: &mut Hold<Arc<Object>>) {
    let mut body = pin!(stream::iter(pieces));
    let mut rest: Vec<u8> = Vec::new();
    while let Some(piece) = body.next().await {
        rest.extend_from_slice(piece);
        let mut from = 0;
        while let Some(length) = memchr::memchr(b'\n', &rest[from..]) {
            let line = str::from_utf8(&rest[from..from + length]).unwrap_or_else(|error| panic!("{error}"));
            hold.put(ours(decoder, line));
            from += length + 1;
        }
        rest.drain(..from);
    }
}

/// All objects of a watch, held, as kube's watcher makes them.
async fn theirs_watched(kind: Kind, pieces: &[Bytes], hold: &mut Hold<DynamicObject>) {
    let (group, version, plural) = kind.api();
    let resource = ApiResource {
        group: group.into(),
        version: version.into(),
        api_version: if group.is_empty() { version.into() } else { format!("{group}/{version}") },
        kind: kind.name().into(),
        plural: plural.into(),
    };
    let body = pieces.to_vec();
    let service = tower::service_fn(move |request: Request<Body>| {
        // First it lists, and is told that there is nothing; then it watches, and is told of everything.
        let watches = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        let empty = r#"{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[]}"#;
        let body = if watches { body.clone() } else { vec![Bytes::from_static(empty.as_bytes())] };
        let body = stream::iter(body.into_iter().map(|piece| Ok::<_, Infallible>(Frame::data(piece))));
        async { Ok::<_, Infallible>(Response::new(StreamBody::new(body))) }
    });
    let api = Api::<DynamicObject>::all_with(Client::new(service, "default"), &resource);
    let mut events = pin!(watcher(api, watcher::Config::default()));
    let mut applied = 0;
    while applied < OBJECTS {
        match events.next().await {
            Some(Ok(Event::Apply(object))) => hold.put(object),
            Some(Ok(_)) => continue,
            other => panic!("kube's watcher says {other:?}"),
        }
        applied += 1;
    }
}

/// All objects, each until its next version comes.
struct Hold<T> {
    held: Vec<T>,
    next: usize,
}

impl<T> Hold<T> {
    fn put(&mut self, object: T) {
        match self.held.get_mut(self.next) {
            Some(held) => *held = object,
            None => self.held.push(object),
        }
        self.next = (self.next + 1) % OBJECTS;
    }
}

/// Objects a second of what the thread worked, the best of several rounds: what else the machine does can only
/// slow it down. For a first list, and for a watch that goes on.
fn rates<T>(mut hold_all: impl FnMut(&mut Hold<T>)) -> [f64; 2] {
    let mut round = |hold: &mut Hold<T>| {
        let begun = worked();
        hold_all(black_box(hold));
        let took = worked() - begun;
        assert_eq!((hold.held.len(), hold.next), (OBJECTS, 0));
        OBJECTS as f64 / took.as_secs_f64()
    };
    let empty = || Hold { held: Vec::with_capacity(OBJECTS), next: 0 };
    let first = (0..ROUNDS).map(|_| round(&mut empty())).fold(0.0, f64::max);
    let mut hold = empty();
    [first, (0..=ROUNDS).map(|_| round(&mut hold)).skip(1).fold(0.0, f64::max)]
}

fn main() {
    let criterion = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(2));
    let mut criterion = criterion.sample_size(20).configure_from_args();
    let mut group = criterion.benchmark_group("decode and hold");
    for kind in KINDS {
        let (lines, decoder) = (lines(kind), decoder(kind));
        group.throughput(Throughput::Elements(OBJECTS as u64));
        group.bench_function(BenchmarkId::new("tidegate", kind.name()), |bencher| {
            bencher.iter(|| lines.iter().map(|line| ours(&decoder, line)).collect::<Vec<_>>());
        });
        group.bench_function(BenchmarkId::new("kube", kind.name()), |bencher| {
            bencher.iter(|| lines.iter().map(|line| theirs(line)).collect::<Vec<_>>());
        });
    }
    group.finish();

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.unwrap_or_else(|error| panic!("a runtime: {error}"));
    let mut report = Report::new("decode");
    // By watcher or alone, first list or going on, ours or theirs.
    let mut seconds = [[[0.0; 2]; 2]; 2];
    for kind in KINDS {
        let (lines, decoder) = (lines(kind), decoder(kind));
        let pieces = pieces(&lines);
        let by_watch = [
            rates(|hold| runtime.block_on(ours_watched(&decoder, &pieces, hold))),
            rates(|hold| runtime.block_on(theirs_watched(kind, &pieces, hold))),
        ];
        let alone = [
            rates(|hold| lines.iter().for_each(|line| hold.put(ours(&decoder, black_box(line))))),
            rates(|hold| lines.iter().for_each(|line| hold.put(theirs(black_box(line))))),
        ];
        let [[_, ours], [_, theirs]] = by_watch;
        let figure = Figure::new(format!("watched, decoded and held: a {}", kind.name()), ours, "a second");
        report.add(figure.beside(format!("{theirs:.0} by kube's watcher"), ours / theirs));
        for (seconds, rates) in seconds.iter_mut().zip([by_watch, alone]) {
            for (who, rates) in rates.into_iter().enumerate() {
                for (when, rate) in rates.into_iter().enumerate() {
                    seconds[when][who] += 1.0 / rate;
                }
            }
        }
    }
    let [watched, alone] = seconds;
    let all_kinds = |what: &str, peer: &str, seconds: [f64; 2]| {
        let [ours, theirs] = seconds.map(|seconds| KINDS.len() as f64 / seconds);
        let figure = Figure::new(format!("{what}: all kinds alike"), ours, "a second");
        figure.beside(format!("{theirs:.0} {peer}"), ours / theirs)
    };
    let by_watcher = "DynamicObjects by kube's watcher";
    report.add(all_kinds("watched, decoded and held", by_watcher, watched[1]).ratio_at_least(10.0));
    let first_list = "the same, into new memory (a first list)";
    report.add(all_kinds(first_list, by_watcher, watched[0]).ratio_at_least(10.0));
    let by_serde = "DynamicObjects by serde_json";
    report.add(all_kinds("decoded and held, without a watch", by_serde, alone[1]));
}
