//! Decoding a line of a watch into an object that can be held: ours beside kube's `DynamicObject`, which is what its
//! watcher makes of the same line.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput};
use kube::core::{DynamicObject, WatchEvent};
use tidegate_actors::id::{ResourceType, Scope};
use tidegate_actors::object::{Decoder, Object, Transform};
use tidegate_bench::corpus::{KINDS, Kind};
use tidegate_bench::pipeline::worked;
use tidegate_bench::report::Report;

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

/// Objects a second of what the thread worked, the best of several rounds: what else the machine does can only
/// slow it down.
fn rate<T>(lines: &[String], mut decode: impl FnMut(&str) -> T) -> f64 {
    let round = |_| {
        let begun = worked();
        let held: Vec<T> = lines.iter().map(|line| decode(black_box(line))).collect();
        let took = worked() - begun;
        black_box(held);
        lines.len() as f64 / took.as_secs_f64()
    };
    (0..ROUNDS).map(round).fold(0.0, f64::max)
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
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

    let mut report = Report::new("decode");
    let mut seconds = [0.0, 0.0];
    for kind in KINDS {
        let (lines, decoder) = (lines(kind), decoder(kind));
        let rates = [rate(&lines, |line| ours(&decoder, line)), rate(&lines, theirs)];
        for (seconds, rate) in seconds.iter_mut().zip(rates) {
            *seconds += 1.0 / rate;
        }
        let figure = format!("decode and hold a {}, against DynamicObject", kind.name());
        println!("{}: {:.0} a second, kube {:.0}", kind.name(), rates[0], rates[1]);
        report.ratio(&figure, rates[0] / rates[1], "", None);
    }
    let [ours, theirs] = seconds;
    report.figure("objects decoded a second, one core, all kinds alike", KINDS.len() as f64 / ours, "1/s", "", None);
    let ratio = theirs / ours;
    report.ratio("decode and hold, all kinds alike, against DynamicObject", ratio, "at least 10x", Some(ratio >= 10.0));
}
