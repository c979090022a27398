//! What one change costs, from the bytes of an object to the encoded delta resources: each kind of change, in each
//! layout, at three sizes of one listener. Times are what the thread worked, so that other programs on the machine
//! do not count. Encoded is what a connection is handed: segments that are shared with what was sent before, not yet
//! copied to the socket, for which the table says how many bytes they are.

use std::collections::BTreeMap;

use tidegate::publish::xds::Kind;
use tidegate_bench::gateway_world::{EDITS, Edit, LAYOUTS, Layout, World};
use tidegate_bench::pipeline::{Outcome, Pipeline, STAGES};
use tidegate_bench::report::{Figure, Report, Samples};

const SIZES: [usize; 3] = [500, 5_000, 50_000];
/// So many changes of a kind are looked at.
const CHANGES: usize = 1_000;
/// In so many turns.
const TURNS: usize = 10;
/// So many changes begin each turn and do not count.
const WARM_UP: usize = 20;

/// The figures of one kind of change in one world, in microseconds.
struct Figures {
    p50: f64,
    p99: f64,
    outputs: usize,
    /// The most bytes that one change sent.
    bytes: usize,
    /// Bytes that all changes together sent of other types than EDS.
    not_eds: usize,
    stages: [f64; STAGES.len()],
}

fn main() {
    let only: Option<usize> = std::env::var("TIDEGATE_BENCH_ROUTES").ok().and_then(|text| text.parse().ok());
    let sizes: Vec<usize> = SIZES.into_iter().filter(|size| only.is_none_or(|only| only == *size)).collect();
    let mut all: BTreeMap<(usize, &str, &str), Figures> = BTreeMap::new();
    for layout in LAYOUTS {
        let mut worlds: Vec<Measured> = sizes.iter().map(|size| Measured::new(layout, *size)).collect();
        for edit in EDITS {
            // By turns, so that all sizes see the machine in the same moods: they are to be compared.
            for turn in 0..TURNS {
                worlds.iter_mut().for_each(|world| world.measure(edit, turn));
            }
            for world in &mut worlds {
                let figures = world.take_figures();
                print_line(world.size, layout, edit, &figures);
                all.insert((world.size, edit.name(), name(layout)), figures);
            }
        }
    }
    if sizes.len() == SIZES.len() {
        report(&all);
    }
}

fn name(layout: Layout) -> &'static str {
    match layout {
        Layout::HostARoute => "a host a route",
        Layout::OneHost => "one host",
        Layout::Wildcards => "wildcards",
        Layout::CatchAll => "catch-all",
    }
}

/// A world of one size, and what was measured of the kind of change that is looked at.
struct Measured {
    layout: Layout,
    size: usize,
    world: World,
    pipeline: Pipeline,
    samples: Samples,
    stages: [Samples; STAGES.len()],
    outputs: usize,
    bytes: usize,
    not_eds: usize,
}

impl Measured {
    fn new(layout: Layout, size: usize) -> Self {
        let world = World::new(layout, size);
        let pipeline = Pipeline::new(&world.manifests());
        let (samples, stages) = Default::default();
        Self { layout, size, world, pipeline, samples, stages, outputs: 0, bytes: 0, not_eds: 0 }
    }

    /// A turn's changes: some that bring what is needed back into the caches, and those that count.
    fn measure(&mut self, edit: Edit, turn: usize) {
        let first = turn * (WARM_UP + CHANGES / TURNS) + 1;
        for version in first..first + WARM_UP + CHANGES / TURNS {
            let outcome = self.pipeline.change(&self.world.edit(edit, version));
            check(edit, self.layout, &outcome);
            if version < first + WARM_UP {
                continue;
            }
            self.outputs = self.outputs.max(outcome.outputs());
            self.bytes = self.bytes.max(outcome.sent.iter().map(|sent| sent.encoded.len()).sum());
            let others = outcome.sent.iter().filter(|sent| sent.kind != Kind::Endpoints);
            self.not_eds += others.map(|sent| sent.encoded.len()).sum::<usize>();
            self.samples.push(outcome.worked());
            for (samples, worked) in self.stages.iter_mut().zip(outcome.stages) {
                samples.push(worked);
            }
        }
    }

    fn take_figures(&mut self) -> Figures {
        let (mut samples, stages) = (std::mem::take(&mut self.samples), std::mem::take(&mut self.stages));
        Figures {
            p50: samples.percentile_us(50.0),
            p99: samples.percentile_us(99.0),
            outputs: std::mem::take(&mut self.outputs),
            bytes: std::mem::take(&mut self.bytes),
            not_eds: std::mem::take(&mut self.not_eds),
            stages: stages.map(|mut samples| samples.percentile_us(50.0)),
        }
    }
}

/// A change emits what it must and nothing else.
fn check(edit: Edit, layout: Layout, outcome: &Outcome) {
    let count =
        |kind: Kind| outcome.sent.iter().filter(|sent| sent.kind == kind).map(|sent| sent.resources.len()).sum();
    let counts: [usize; Kind::COUNT] = Kind::ALL.map(count);
    let removed: usize = outcome.sent.iter().map(|sent| sent.removed.len()).sum();
    let [cds, eds, sds, lds, rds, vhds] = counts;
    let expected = match edit {
        Edit::Route => [0, 0, 0, 0, 0, 1],
        Edit::Slice => [0, 1, 0, 0, 0, 0],
        // A changed cluster needs its endpoints sent again.
        Edit::Service => [1, 1, 0, 0, 0, 0],
        Edit::Secret => [0, 0, 1, 0, 0, 0],
        Edit::Grant => {
            assert!(cds <= 1 && eds <= 1 && (sds, lds, rds, vhds) == (0, 0, 0, 1), "{layout:?}: {counts:?}");
            counts
        }
    };
    assert_eq!(
        counts,
        expected,
        "{layout:?}: what a change of a {} emits (cds, eds, sds, lds, rds, vhds)",
        edit.name()
    );
    assert!(removed == 0 || edit == Edit::Grant, "{layout:?}: a change of a {} removed something", edit.name());
    let own_hosts = matches!(layout, Layout::HostARoute | Layout::Wildcards);
    if own_hosts || edit == Edit::Slice {
        let bytes: usize = outcome.sent.iter().map(|sent| sent.encoded.len()).sum();
        assert!(bytes < 4_096, "{layout:?}: a change of a {} sends {bytes} bytes", edit.name());
    }
}

fn print_line(size: usize, layout: Layout, edit: Edit, figures: &Figures) {
    let stages = STAGES.iter().zip(figures.stages).map(|(stage, us)| format!("{stage} {us:.1}"));
    println!(
        "{size:>6} routes, {:<14} {:<14} p50 {:>6.1} us, p99 {:>6.1} us, {} outputs ({})",
        name(layout),
        edit.name(),
        figures.p50,
        figures.p99,
        figures.outputs,
        stages.collect::<Vec<_>>().join(", "),
    );
}

fn report(all: &BTreeMap<(usize, &str, &str), Figures>) {
    let mut report = Report::new("change");
    for edit in EDITS {
        let of_edit = || all.iter().filter(|((_, of, _), _)| *of == edit.name());
        let further = of_edit().map(|(_, figures)| figures.outputs - 1).max().unwrap_or(0) as f64 * 20.0;
        for (what, limit) in [("p50", 200.0 + further), ("p99", 1_000.0 + further)] {
            let value = |figures: &Figures| if what == "p50" { figures.p50 } else { figures.p99 };
            for size in SIZES {
                let of_size = of_edit().filter(|((of, _, _), _)| *of == size);
                let worst = of_size.max_by(|a, b| value(a.1).total_cmp(&value(b.1)));
                let Some(((_, _, layout), figures)) = worst else { continue };
                let name = format!("a {} changes, {size} routes, {what} of the worst layout ({layout})", edit.name());
                report.add(Figure::new(name, value(figures), "us").at_most(limit));
            }
        }
        for layout in LAYOUTS {
            let at = |size| all.get(&(size, edit.name(), name(layout))).map(|figures| figures.p50);
            let (Some(few), Some(many)) = (at(500), at(50_000)) else { continue };
            let what = format!("a {} changes, 50,000 routes, p50 ({})", edit.name(), name(layout));
            let among_few = format!("{few:.1} us among 500");
            report.add(Figure::new(what, many, "us").beside(among_few, many / few).ratio_at_most(1.5));
        }
    }
    let not_eds =
        all.iter().filter(|((_, edit, _), _)| *edit == Edit::Slice.name()).map(|(_, figures)| figures.not_eds);
    let what = "an endpoint changes: sent beside EDS, all sizes and layouts";
    report.add(Figure::new(what, not_eds.sum::<usize>() as f64, "bytes").at_most(0.0));
    for layout in LAYOUTS {
        let Some(figures) = all.get(&(50_000, Edit::Route.name(), name(layout))) else { continue };
        let what = format!("a route of 50,000 changes: size of what is sent ({})", name(layout));
        report.add(Figure::new(what, figures.bytes as f64, "bytes"));
    }
}
