//! `bench`: runs the benchmarks, gathers the figures that they leave, and writes one table with the machine it came
//! from.
//!
//! A benchmark leaves its figures as JSON lines, one [`Figure`] each, in a file of its own, `NAME.json`, in the
//! folder that `TIDEGATE_BENCH_DIR` names; without it, in `target/tidegate-bench` of the repository.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::run::{cargo, output, root, run};

/// One figure of one benchmark.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Figure {
    /// The benchmark.
    bench: String,
    /// What was measured.
    figure: String,
    /// How much it was.
    value: f64,
    /// Of what.
    unit: String,
    /// What was measured beside it in the same run; empty if nothing was.
    #[serde(default)]
    peer: String,
    /// How it compares with that.
    #[serde(default)]
    ratio: Option<f64>,
    /// What it should be, in words; empty if it is only there to be compared with.
    budget: String,
    /// Whether it is; `None` without a budget.
    ok: Option<bool>,
}

/// The package of the benchmarks with budgets, and the folder of their sources.
const PACKAGE: (&str, &str) = ("tidegate-bench", "tests/bench/benches");

/// Those that need the programs that `cargo xtask cluster` builds; the others must not wait for that.
const WITH_KUBERNETES: [&str; 2] = ["apply", "informer"];

/// Runs the benchmarks, or those that are named; what begins with a dash is handed to `cargo bench` as it is, with
/// all that follows.
pub fn bench(selection: &[String]) -> Result<()> {
    let target = root().join("target");
    let folder = target.join("tidegate-bench");
    // Figures of an earlier run would stand in the table as if they were of this one.
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("could not empty {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("could not create {}", folder.display()))?;

    // One that fails does not hide what the others say.
    let mut command = cargo(&["bench", "--no-fail-fast"]);
    command.args(arguments(selection, &benches()?)?).env("TIDEGATE_BENCH_DIR", &folder);
    if std::env::var_os("TIDEGATE_ENVOY").is_none_or(|path| path.is_empty()) {
        command.env("TIDEGATE_ENVOY", crate::suite::find_envoy(None).context("some benchmarks need a real Envoy")?);
    }
    if needs_kubernetes(selection) {
        command.env("TIDEGATE_CLUSTER", crate::cluster::find().context("some benchmarks need a real Kubernetes")?);
    }
    let ran = run(&mut command);

    let figures = gather(&folder)?;
    if figures.is_empty() {
        ran?;
        bail!("no benchmark left a figure in {}", folder.display());
    }
    let table = table(&figures, &machine());
    let path = target.join("bench.md");
    fs::write(&path, &table).with_context(|| format!("could not write {}", path.display()))?;
    println!("\n{table}\nwritten to {}", path.display());
    ran.context("a benchmark failed, so the table may lack some of its figures")?;
    let missed: Vec<String> = figures
        .iter()
        .filter(|figure| figure.ok == Some(false))
        .map(|figure| format!("{}: {}", figure.bench, figure.figure))
        .collect();
    if !missed.is_empty() {
        let budgets = figures.iter().filter(|figure| figure.ok.is_some()).count();
        bail!("{} of {budgets} budgets are missed: {}", missed.len(), missed.join("; "));
    }
    Ok(())
}

/// Whether one of them, or of all if none is named, needs a real Kubernetes or what is built with it.
fn needs_kubernetes(selection: &[String]) -> bool {
    let mut names = selection.iter().take_while(|word| !word.starts_with('-')).peekable();
    names.peek().is_none() || names.any(|name| WITH_KUBERNETES.contains(&name.as_str()))
}

/// The names of the benchmarks with budgets.
fn benches() -> Result<Vec<String>> {
    let folder = root().join(PACKAGE.1);
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("could not list {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

/// What to hand to `cargo bench`: all benchmarks, the engine's own included, or those that are named.
fn arguments(selection: &[String], benches: &[String]) -> Result<Vec<String>> {
    let (names, flags) = selection.split_at(selection.iter().take_while(|word| !word.starts_with('-')).count());
    let mut arguments: Vec<String> = match names {
        [] if flags.is_empty() => ["-p", PACKAGE.0, "-p", "tidegate-actors"].map(str::to_owned).into(),
        _ => ["-p", PACKAGE.0].map(str::to_owned).into(),
    };
    for name in names {
        if !benches.contains(name) {
            bail!("there is no benchmark `{name}`; there are {}", benches.join(", "));
        }
        arguments.extend(["--bench".to_owned(), name.clone()]);
    }
    arguments.extend_from_slice(flags);
    Ok(arguments)
}

/// The figures in a folder, in the order of its files' names.
fn gather(folder: &Path) -> Result<Vec<Figure>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("could not list {}", folder.display()))? {
        files.push(entry?.path());
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let mut figures = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let figure = serde_json::from_str(line);
            figures.push(figure.with_context(|| format!("{}:{}: not a figure", path.display(), number + 1))?);
        }
    }
    Ok(figures)
}

/// The table in Markdown.
fn table(figures: &[Figure], machine: &str) -> String {
    let mut text = String::from(
        "| benchmark | what | measured | peer or floor | ratio | budget | |\n|---|---|---:|---|---:|---|---|\n",
    );
    let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
    for figure in figures {
        let ratio = figure.ratio.map(|ratio| format!("{}x", number(ratio))).unwrap_or_default();
        let verdict = match figure.ok {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "",
        };
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} {} | {} | {ratio} | {} | {verdict} |",
            cell(&figure.bench),
            cell(&figure.figure),
            number(figure.value),
            cell(&figure.unit),
            cell(&figure.peer),
            cell(&figure.budget),
        );
    }
    let _ = writeln!(text, "\nMeasured on {machine}.");
    text
}

/// Three significant digits, thousands set apart.
fn number(value: f64) -> String {
    let size = value.abs();
    let decimals = match size {
        _ if size >= 100.0 || size == 0.0 => 0,
        _ if size >= 10.0 => 1,
        _ if size >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{grouped}{point}{fraction}")
}

/// What this machine is and what it ran. Without a date: the commit says what was measured.
fn machine() -> String {
    let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).and_then(|line| line.split_once(':'));
        line.map(|(_, value)| value.trim().to_owned())
    };
    let cpu = field(&file("/proc/cpuinfo"), "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = field(&file("/proc/meminfo"), "MemTotal");
    let memory = memory.and_then(|text| text.split(' ').next().and_then(|kilobytes| kilobytes.parse::<f64>().ok()));
    let memory = memory.map_or_else(String::new, |kilobytes| format!(", {:.0} GiB", kilobytes / 1024.0 / 1024.0));
    let kernel = file("/proc/sys/kernel/osrelease");
    let rustc = output(Command::new("rustc").arg("--version")).unwrap_or_else(|| "rustc of unknown version".to_owned());
    let rustc = rustc.split(" (").next().unwrap_or_default();
    let commit = output(Command::new("git").args(["rev-parse", "--short", "HEAD"]).current_dir(root()));
    let changed = output(Command::new("git").args(["status", "--porcelain"]).current_dir(root()));
    let changed = if changed.is_some_and(|text| !text.is_empty()) { " with changes" } else { "" };
    let commit = commit.map_or_else(String::new, |commit| format!(", commit {commit}{changed}"));
    format!("{cpu}, {cores} cores{memory}, Linux {}, {rustc}{commit}", kernel.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_figure(figure: &str, value: f64, ok: bool) -> Figure {
        Figure {
            bench: "change".to_owned(),
            figure: figure.to_owned(),
            value,
            unit: "us".to_owned(),
            peer: "82.3 us | 500".to_owned(),
            ratio: ok.then_some(1.5),
            budget: "at most 200 us".to_owned(),
            ok: Some(ok),
        }
    }

    #[test]
    fn the_table_has_a_line_a_figure_and_names_the_machine() {
        let table = table(&[mk_figure("p50", 123.4, true), mk_figure("p99 | all", 12_345.6, false)], "a machine");
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[2], "| change | p50 | 123 us | 82.3 us \\| 500 | 1.50x | at most 200 us | met |");
        assert_eq!(lines[3], "| change | p99 \\| all | 12,346 us | 82.3 us \\| 500 |  | at most 200 us | **missed** |");
        assert_eq!(lines[5], "Measured on a machine.");
    }

    #[test]
    fn figures_are_gathered_and_a_line_that_is_none_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let line = r#"{"bench":"change","figure":"p50","value":1,"unit":"us","peer":"82.3 us | 500","budget":"at most 200 us","ok":true,"ratio":1.5}"#;
        fs::write(folder.path().join("b.json"), format!("{line}\n\n")).unwrap();
        fs::write(folder.path().join("a.txt"), "not read").unwrap();
        assert_eq!(gather(folder.path()).unwrap(), [mk_figure("p50", 1.0, true)]);

        fs::write(folder.path().join("c.json"), format!("{line}\n{{}}\n")).unwrap();
        let message = format!("{:#}", gather(folder.path()).unwrap_err());
        assert!(message.contains("c.json:2"), "{message}");
    }

    #[test]
    fn benchmarks_are_chosen_by_name_and_a_wrong_name_is_told_the_right_ones() {
        let benches = ["change", "decode"].map(str::to_owned);
        let choose = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            arguments(&words, &benches).map(|arguments| arguments.join(" "))
        };
        assert_eq!(choose(&[]).unwrap(), "-p tidegate-bench -p tidegate-actors");
        assert_eq!(choose(&["decode"]).unwrap(), "-p tidegate-bench --bench decode");
        assert_eq!(choose(&["decode", "--no-run"]).unwrap(), "-p tidegate-bench --bench decode --no-run");
        let message = choose(&["held"]).unwrap_err().to_string();
        assert!(message.contains("`held`") && message.contains("change, decode"), "{message}");
    }

    #[test]
    fn only_benchmarks_that_need_kubernetes_wait_for_it() {
        let needs = |words: &[&str]| needs_kubernetes(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert!(needs(&[]) && needs(&["--no-run"]) && needs(&["held", "apply"]));
        assert!(!needs(&["held"]) && !needs(&["types", "--quiet", "informer"]));
        let known = benches().unwrap();
        assert!(WITH_KUBERNETES.iter().all(|name| known.iter().any(|known| known == name)), "{known:?}");
    }

    #[test]
    fn numbers_keep_three_digits() {
        let cases =
            [(0.0, "0"), (0.0123, "0.012"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123"), (1e6, "1,000,000")];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
        assert_eq!(number(-1234.0), "-1,234");
    }
}
