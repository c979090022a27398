//! How much memory an object takes for each byte of its JSON after the transform: counted by the allocator, in a
//! process of its own, since a count by the operating system would be off by what was freed before.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kube::core::DynamicObject;
use tidegate::resource::View;
use tidegate::resource::endpoint_slice::EndpointSlice;
use tidegate::resource::http_route::HttpRoute;
use tidegate_actors::id::{ResourceType, Scope};
use tidegate_actors::object::{Decoder, Object, Transform};
use tidegate_bench::corpus::{KINDS, Kind};
use tidegate_bench::report::{Figure, Report};

/// Counts what is allocated and not freed, rounded up as the C library's allocator does.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

/// What an allocation takes: eight bytes of its own, in steps of sixteen, thirty-two at least.
fn rounded(size: usize) -> usize {
    (size + 8).next_multiple_of(16).max(32)
}

// A global allocator cannot be had without `unsafe`. Every call is passed on to the system's allocator with the
// arguments that it came with, so that its contract is our callers' to keep, as it is without us.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(rounded(layout.size()), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(rounded(layout.size()), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LIVE.fetch_add(rounded(size), Ordering::Relaxed);
        LIVE.fetch_sub(rounded(layout.size()), Ordering::Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const OBJECTS: usize = 2_000;

/// What `make` holds for all objects together, in bytes; nothing else may be kept by it.
fn held<T>(make: impl Fn(usize) -> T) -> usize {
    let mut all: Vec<T> = Vec::with_capacity(OBJECTS);
    let before = LIVE.load(Ordering::Relaxed);
    all.extend((0..OBJECTS).map(make));
    let after = LIVE.load(Ordering::Relaxed);
    // The slots of the list itself: in a store they are a pointer in a set.
    let slots = OBJECTS * size_of::<T>();
    after - before + slots
}

fn decoder(kind: Kind) -> Decoder {
    let (group, version, plural) = kind.api();
    let resource_type = ResourceType::new(group, version, kind.name(), plural, Scope::Namespaced);
    Decoder::new("bench".into(), resource_type).with_transform(Transform::LEAN)
}

fn decode(decoder: &Decoder, kind: Kind, n: usize) -> Arc<Object> {
    Arc::new(decoder.decode(kind.json(n)).unwrap_or_else(|error| panic!("{}: {error}", kind.name())))
}

fn view<V: tidegate_actors::correlation::View>(object: &Object) -> Arc<V> {
    Arc::new(V::parse(object).unwrap_or_else(|errors| panic!("{object:?}: {errors:?}")))
}

fn main() {
    let mut report = Report::new("held");
    let (mut raw, mut json, mut dynamic) = (0, 0, 0);
    for kind in KINDS {
        // Made anew, so that what it shares between objects counts.
        let sizes = decoder(kind);
        let bytes: usize = (0..OBJECTS).map(|n| decode(&sizes, kind, n).raw().len()).sum();
        drop(sizes);
        let before = LIVE.load(Ordering::Relaxed);
        let shared = decoder(kind);
        let objects = held(|n| decode(&shared, kind, n));
        drop(shared);
        assert!(LIVE.load(Ordering::Relaxed) <= before + 4_096, "something is kept of what was dropped");
        let parsed = held(|n| serde_json::from_str::<DynamicObject>(&kind.json(n)).unwrap_or_else(|e| panic!("{e}")));
        println!(
            "{}: {} bytes of JSON, {:.2}x held; DynamicObject {:.2}x",
            kind.name(),
            bytes / OBJECTS,
            objects as f64 / bytes as f64,
            parsed as f64 / bytes as f64,
        );
        (raw, json, dynamic) = (raw + objects, json + bytes, dynamic + parsed);
    }
    let each = |bytes: usize| bytes as f64 / (OBJECTS * KINDS.len()) as f64;
    let against = |bytes: usize| bytes as f64 / json as f64;
    let of_json = format!("its JSON after the transform, {:.0} bytes", each(json));
    let figure = Figure::new("an object held, all kinds alike", each(raw), "bytes");
    report.add(figure.beside(&of_json, against(raw)).ratio_at_most(1.1));
    let figure = Figure::new("the same as kube's DynamicObject", each(dynamic), "bytes");
    report.add(figure.beside(&of_json, against(dynamic)));

    for kind in [Kind::EndpointSlice, Kind::HttpRoute] {
        let decoder = decoder(kind);
        let bytes: usize = (0..OBJECTS).map(|n| decode(&decoder, kind, n).raw().len()).sum();
        let both = match kind {
            Kind::HttpRoute => held(|n| {
                let object = decode(&decoder, kind, n);
                (view::<View<HttpRoute>>(&object), object)
            }),
            _ => held(|n| {
                let object = decode(&decoder, kind, n);
                (view::<View<EndpointSlice>>(&object), object)
            }),
        };
        let what = format!("a {} held, with its cached view", kind.name());
        let figure = Figure::new(what, (both / OBJECTS) as f64, "bytes");
        let of_json = format!("its JSON after the transform, {} bytes", bytes / OBJECTS);
        report.add(figure.beside(of_json, both as f64 / bytes as f64).ratio_at_most(2.0));
    }
}
