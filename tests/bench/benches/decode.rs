//! From the bytes of a watch to objects that can be held: ours beside kube's `DynamicObject`, through kube's watcher
//! and, to tell the two apart, without it. Both get the same bytes, in pieces as a connection brings them, in one
//! thread. Neither pays for a connection: kube's client asks a service in its own process.

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
async fn ours_watched(decoder: &Decoder, pieces: &[Bytes]) -> Vec<Arc<Object>> {
    let mut held = Vec::with_capacity(OBJECTS);
    let mut body = pin!(stream::iter(pieces));
    let mut rest: Vec<u8> = Vec::new();
    while let Some(piece) = body.next().await {
        rest.extend_from_slice(piece);
        let mut from = 0;
        while let Some(length) = rest[from..].iter().position(|byte| *byte == b'\n') {
            let line = str::from_utf8(&rest[from..from + length]).unwrap_or_else(|error| panic!("{error}"));
            held.push(ours(decoder, line));
            from += length + 1;
        }
        rest.drain(..from);
    }
    held
}

/// All objects of a watch, held, as kube's watcher makes them.
async fn theirs_watched(kind: Kind, pieces: &[Bytes]) -> Vec<DynamicObject> {
    let (group, version, plural) = kind.api();
    let resource = ApiResource {
        group: group.into(),
        version: version.into(),
        api_version: if group.is_empty() { version.into() } else { format!("{group}/{version}") },
        kind: kind.name().into(),
        plural: plural.into(),
        ..ApiResource::erase::<k8s_openapi::api::core::v1::Pod>(&())
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
    let mut held = Vec::with_capacity(OBJECTS);
    let mut events = pin!(watcher(api, watcher::Config::default()));
    while held.len() < OBJECTS {
        match events.next().await {
            Some(Ok(Event::Apply(object))) => held.push(object),
            Some(Ok(_)) => {}
            other => panic!("kube's watcher says {other:?}"),
        }
    }
    held
}

/// Objects a second of what the thread worked, the best of several rounds: what else the machine does can only
/// slow it down.
fn rate<T>(mut hold_all: impl FnMut() -> Vec<T>) -> f64 {
    let round = |_| {
        let begun = worked();
        let held = black_box(hold_all());
        let took = worked() - begun;
        assert_eq!(held.len(), OBJECTS);
        OBJECTS as f64 / took.as_secs_f64()
    };
    (0..ROUNDS).map(round).fold(0.0, f64::max)
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
    let mut seconds = [[0.0; 2]; 2];
    for kind in KINDS {
        let (lines, decoder) = (lines(kind), decoder(kind));
        let pieces = pieces(&lines);
        let rates = [
            [
                rate(|| runtime.block_on(ours_watched(&decoder, &pieces))),
                rate(|| runtime.block_on(theirs_watched(kind, &pieces))),
            ],
            [
                rate(|| lines.iter().map(|line| ours(&decoder, black_box(line))).collect()),
                rate(|| lines.iter().map(|line| theirs(black_box(line))).collect()),
            ],
        ];
        let [[ours, theirs], _] = rates;
        let figure = Figure::new(format!("watched, decoded and held: a {}", kind.name()), ours, "a second");
        report.add(figure.beside(format!("{theirs:.0} by kube's watcher"), ours / theirs));
        for (seconds, rate) in seconds.iter_mut().flatten().zip(rates.iter().flatten()) {
            *seconds += 1.0 / rate;
        }
    }
    let [watched, alone] = seconds.map(|both| both.map(|seconds| KINDS.len() as f64 / seconds));
    let figure = Figure::new("watched, decoded and held: all kinds alike", watched[0], "a second");
    let beside = format!("{:.0} DynamicObjects by kube's watcher", watched[1]);
    report.add(figure.beside(beside, watched[0] / watched[1]).ratio_at_least(10.0));
    let figure = Figure::new("decoded and held, without a watch: all kinds alike", alone[0], "a second");
    report.add(figure.beside(format!("{:.0} DynamicObjects by serde_json", alone[1]), alone[0] / alone[1]));
}
