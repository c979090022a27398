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

    /// Adds a figure: what it is, its value and unit, the budget in words (or empty), and whether it is kept;
    /// `None` for a figure without a budget, which says what the others are to be compared with.
    pub fn figure(&mut self, figure: &str, value: f64, unit: &str, budget: &str, ok: Option<bool>) {
        self.line(figure, value, unit, budget, ok, None);
    }

    /// Adds a figure that is a ratio between two of this run.
    pub fn ratio(&mut self, figure: &str, ratio: f64, budget: &str, ok: Option<bool>) {
        self.line(figure, ratio, "x", budget, ok, Some(ratio));
    }

    fn line(&mut self, figure: &str, value: f64, unit: &str, budget: &str, ok: Option<bool>, ratio: Option<f64>) {
        let verdict = match ok {
            Some(true) => "  kept",
            Some(false) => "  MISSED",
            None => "",
        };
        let budget_text = if budget.is_empty() { String::new() } else { format!("  [{budget}]") };
        println!("{}: {figure}: {value:.2} {unit}{budget_text}{verdict}", self.bench);
        let line: Value = json!({"bench": self.bench, "figure": figure, "value": value, "unit": unit, "budget": budget, "ok": ok, "ratio": ratio});
        let written = writeln!(self.file, "{line}");
        written.unwrap_or_else(|error| panic!("{}: {error}", self.bench));
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
