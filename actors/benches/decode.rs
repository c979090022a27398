//! How fast objects are decoded, and how much memory their JSON takes, on generated EndpointSlices of about
//! 3.7 KB. `serde_json::Value` stands beside it as what a dynamic object costs before anything is done with it.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tidegate_actors::id::{ResourceType, Scope};
use tidegate_actors::object::{Decoder, Transform};

const SLICES: usize = 500;

fn mk_slice(number: usize) -> Bytes {
    let mut endpoints = String::new();
    for at in 0..10 {
        let comma = if at == 0 { "" } else { "," };
        let (a, b) = (number % 250, at + 1);
        let _ = write!(
            endpoints,
            r#"{comma}{{"addresses":["10.{a}.7.{b}"],"conditions":{{"ready":true,"serving":true,"terminating":false}},"nodeName":"node-{b}.zone-a.example.test","targetRef":{{"kind":"Pod","name":"shop-{number}-7f9c6d5b8-x{b}","namespace":"team-{a}","uid":"0b1c2d3e-4f50-6172-8394-{number:06}{b:06}"}},"zone":"zone-a"}}"#
        );
    }
    let team = number % 250;
    let text = format!(
        r#"{{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{{"name":"shop-{number}-abcde","generateName":"shop-{number}-","namespace":"team-{team}","uid":"7a6b5c4d-3e2f-1a0b-9c8d-{number:012}","resourceVersion":"{}","generation":4,"creationTimestamp":"2026-03-04T05:06:07Z","labels":{{"endpointslice.kubernetes.io/managed-by":"endpointslice-controller.k8s.io","kubernetes.io/service-name":"shop-{number}","app.kubernetes.io/part-of":"shop"}},"annotations":{{"endpoints.kubernetes.io/last-change-trigger-time":"2026-03-04T05:06:07Z"}},"ownerReferences":[{{"apiVersion":"v1","kind":"Service","name":"shop-{number}","uid":"11111111-2222-3333-4444-{number:012}","controller":true,"blockOwnerDeletion":true}}],"managedFields":[{{"manager":"kube-controller-manager","operation":"Update","apiVersion":"discovery.k8s.io/v1","time":"2026-03-04T05:06:07Z","fieldsType":"FieldsV1","fieldsV1":{{"f:addressType":{{}},"f:endpoints":{{}},"f:metadata":{{"f:annotations":{{".":{{}},"f:endpoints.kubernetes.io/last-change-trigger-time":{{}}}},"f:generateName":{{}},"f:labels":{{".":{{}},"f:app.kubernetes.io/part-of":{{}},"f:endpointslice.kubernetes.io/managed-by":{{}},"f:kubernetes.io/service-name":{{}}}}}},"f:ports":{{}}}}}}]}},"addressType":"IPv4","endpoints":[{endpoints}],"ports":[{{"name":"http","port":8080,"protocol":"TCP"}}]}}"#,
        100_000 + number
    );
    Bytes::from(text)
}

fn decode(criterion: &mut Criterion) {
    let corpus: Vec<Bytes> = (0..SLICES).map(mk_slice).collect();
    let bytes: usize = corpus.iter().map(Bytes::len).sum();
    let resource_type =
        ResourceType::new("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", Scope::Namespaced);
    let decoder = Decoder::new("demo".into(), resource_type).with_transform(Transform::LEAN);
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(SLICES as u64));
    let all = || corpus.iter().filter_map(|raw| decoder.decode(black_box(raw)).ok()).collect::<Vec<_>>();
    let values = || {
        let parse = |raw: &Bytes| serde_json::from_slice::<serde_json::Value>(black_box(raw)).ok();
        corpus.iter().filter_map(parse).collect::<Vec<_>>()
    };
    group.bench_function("object", |bencher| bencher.iter(all));
    group.bench_function("serde_json_value", |bencher| bencher.iter(values));
    group.finish();

    let held: usize = all().iter().map(|object| object.raw().len()).sum();
    let lean: usize = all().len();
    let (object, value) = (rate(&all), rate(&values));
    println!(
        "decode: {object:.0} objects/s of {} bytes, {:.1} times serde_json::Value ({value:.0}/s); \
         {} bytes held of each after the transform; {lean} of {SLICES} decoded",
        bytes / SLICES,
        object / value,
        held / SLICES,
    );
}

/// Objects a second, the best of several rounds: what else the machine does can only slow it down.
fn rate<T>(run: &impl Fn() -> T) -> f64 {
    let round = |_| {
        let start = Instant::now();
        black_box(run());
        SLICES as f64 / start.elapsed().as_secs_f64()
    };
    (0..50).map(round).fold(0.0, f64::max)
}

criterion_group!(benches, decode);
criterion_main!(benches);
