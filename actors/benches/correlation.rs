//! What one change costs a graph, and that it does not grow with what did not change.

use std::sync::Arc;

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use tidegate_actors::correlation::{Graph, View};
use tidegate_actors::env::Env;
use tidegate_actors::id::{ObjectKey, ResourceType, Scope};
use tidegate_actors::object::{Decoder, Object};
use tidegate_actors::problem::{FieldError, Problems};

#[derive(PartialEq)]
struct Item(usize);

impl View for Item {
    fn parse(object: &Object) -> Result<Self, Vec<FieldError>> {
        Ok(Self(object.raw().len()))
    }
}

fn mk_object(decoder: &Decoder, n: usize, padding: usize) -> Arc<Object> {
    let raw = format!(r#"{{"metadata":{{"name":"i{n}","namespace":"n"}},"spec":"{}"}}"#, "x".repeat(padding));
    Arc::new(decoder.decode(Bytes::from(raw)).unwrap_or_else(|error| panic!("{error}")))
}

fn one_change(c: &mut Criterion) {
    let items = ResourceType::new("bench", "v1", "Item", "items", Scope::Namespaced);
    let mut group = c.benchmark_group("one change in one group");
    for size in [500, 50_000] {
        let mut graph = Graph::new(&Env::system(), &Problems::default());
        let views = graph.source::<Item>(&items);
        let by_namespace = graph.index(views, |key: &ObjectKey, _: &Item| vec![key.namespace_or_empty().to_owned()]);
        let doubled = graph.correlate("double", views, move |ctx, key, item| {
            let neighbours = ctx.count(by_namespace, &key.namespace_or_empty().to_owned());
            vec![(key.clone(), item.0 + neighbours)]
        });
        graph.group("all", doubled, |key, value: &usize| ((), key.clone(), Arc::new(*value)));
        let decoder = Decoder::new("bench".into(), items.clone());
        for n in 0..size {
            let object = mk_object(&decoder, n, 1);
            graph.feed(&items, object.key(), Some(&object));
        }
        let mut version = 1;
        graph.commit(version, None);
        let mut padding = 1;
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter_batched(
                || {
                    padding += 1;
                    mk_object(&decoder, (padding * 7919) % size, padding % 101 + 1)
                },
                |object| {
                    version += 1;
                    graph.feed(&items, object.key(), Some(&object));
                    graph.commit(version, None)
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, one_change);
criterion_main!(benches);
