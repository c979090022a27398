//! Figures for the table: printed, and written as JSON lines where `cargo xtask bench` finds them: in the folder
//! that `TIDEGATE_BENCH_DIR` names, else in `target/tidegate-bench`.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

/// The figures of one benchmark; writing starts anew with each run.
pub struct Report {
    bench: &'static str,
    file: fs::File,
}

impl Report {
    /// A report for the benchmark `bench`.
    ///
    /// # Panics
    /// When the file cannot be made: a benchmark whose figures are lost is worth nothing.
    pub fn new(bench: &'static str) -> Self {
        let by_hand = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tidegate-bench"));
        let folder = std::env::var_os("TIDEGATE_BENCH_DIR").map_or_else(by_hand, PathBuf::from);
        let file = fs::create_dir_all(&folder).and_then(|()| fs::File::create(folder.join(format!("{bench}.json"))));
        let file = file.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        Self { bench, file }
    }

    /// Adds a figure: printed now, and in the table later.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn add(&mut self, figure: Figure) {
        let Figure { what, value, unit, peer, ratio, budget, ok } = figure;
        let verdict = match ok {
            Some(true) => "  met",
            Some(false) => "  MISSED",
            None => "",
        };
        let peer_text = if peer.is_empty() { String::new() } else { format!("  (beside {peer})") };
        let ratio_text = ratio.map(|ratio| format!("  {ratio:.2}x")).unwrap_or_default();
        let budget_text = if budget.is_empty() { String::new() } else { format!("  [{budget}]") };
        println!("{}: {what}: {value:.2} {unit}{peer_text}{ratio_text}{budget_text}{verdict}", self.bench);
        let line: Value = json!({"bench": self.bench, "figure": what, "value": value, "unit": unit, "peer": peer, "ratio": ratio, "budget": budget, "ok": ok});
        let written = writeln!(self.file, "{line}");
        written.unwrap_or_else(|error| panic!("{}: {error}", self.bench));
    }
}

/// One line of the table. Without a budget it says what others are to be compared with.
pub struct Figure {
    what: String,
    value: f64,
    unit: &'static str,
    peer: String,
    ratio: Option<f64>,
    budget: String,
    ok: Option<bool>,
}

impl Figure {
    /// What was measured, and how much of it there was.
    pub fn new(what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { what: what.into(), value, unit, peer: String::new(), ratio: None, budget: String::new(), ok: None }
    }

    /// What was measured beside it in the same run, and how the two compare.
    #[must_use]
    pub fn beside(self, peer: impl Into<String>, ratio: f64) -> Self {
        Self { peer: peer.into(), ratio: Some(ratio), ..self }
    }

    /// What was measured beside it in the same run and is taken off, or is otherwise no ratio.
    #[must_use]
    pub fn above(self, floor: impl Into<String>) -> Self {
        Self { peer: floor.into(), ..self }
    }

    /// The most that the value may be.
    #[must_use]
    pub fn at_most(self, limit: f64) -> Self {
        Self {
            budget: format!("at most {} {}", (limit * 1_000.0).round() / 1_000.0, self.unit),
            ok: Some(self.value <= limit),
            ..self
        }
    }

    /// The most that the ratio may be. Without one, it is missed.
    #[must_use]
    pub fn ratio_at_most(self, limit: f64) -> Self {
        Self { budget: format!("at most {limit}x"), ok: Some(self.ratio.is_some_and(|ratio| ratio <= limit)), ..self }
    }

    /// The least that the ratio may be. Without one, it is missed.
    #[must_use]
    pub fn ratio_at_least(self, limit: f64) -> Self {
        Self { budget: format!("at least {limit}x"), ok: Some(self.ratio.is_some_and(|ratio| ratio >= limit)), ..self }
    }
}

/// Durations of single runs, for percentiles.
#[derive(Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// Adds one.
    pub fn push(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    /// The percentile `p` (0 to 100), in microseconds; 0 without samples.
    pub fn percentile_us(&mut self, p: f64) -> f64 {
        self.0.sort_unstable();
        let at = (p / 100.0 * (self.0.len().saturating_sub(1)) as f64).round() as usize;
        self.0.get(at).map_or(0.0, |sample| sample.as_secs_f64() * 1e6)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
