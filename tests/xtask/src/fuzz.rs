//! `fuzz`: builds the fuzz targets once, each instrumented for libFuzzer, and runs each for a while.
//!
//! What is found new is kept beside what is built, and the next run goes on from there; the corpora in the tree grow by
//! hand alone. Stable Rust does: coverage is all that libFuzzer needs, and an oracle is a panic without any sanitizer.

use std::fs;
use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, bail};

use crate::run::{cargo, output, root, run, title};

/// How long each target runs where nobody says otherwise, in seconds.
pub const SECONDS: u64 = 10;

/// The package, and where it stands.
const PACKAGE: (&str, &str) = ("tidegate-fuzz", "tests/fuzz");

/// What makes the compiler count edges and report comparisons, in the way that libFuzzer reads.
const INSTRUMENTED: [&str; 8] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    "--cfg",
    "fuzzing",
];

/// An input that takes longer than so many seconds is a find.
const TIMEOUT: u64 = 20;

/// A target that holds more than so many MiB is one, too.
const MEMORY: u64 = 2048;

/// What one run of one target came to.
struct Outcome {
    name: String,
    /// How it ended, in a sentence, if it found something or did nothing.
    failure: Option<String>,
    stats: Stats,
}

/// What libFuzzer says at the end.
#[derive(Debug, Default, PartialEq, Eq)]
struct Stats {
    executions: u64,
    per_second: u64,
    edges: u64,
    features: u64,
    new: u64,
    memory: u64,
}

/// Runs the targets that are named, or all, for so many seconds each.
pub fn fuzz(names: &[String], seconds: u64) -> Result<()> {
    let known = targets()?;
    if let Some(wrong) = names.iter().find(|name| !known.contains(name)) {
        bail!("there is no fuzz target `{wrong}`; there are {}", known.join(", "));
    }
    let names = if names.is_empty() { &known } else { names };
    let host = host()?;
    let place = target_dir().join("fuzz");
    build(&host, &place)?;
    let programs = place.join(&host).join("fuzz");

    let at_once = std::thread::available_parallelism().map_or(1, usize::from).min(names.len());
    title(&format!("{} fuzz targets for {seconds} s each, {at_once} at a time", names.len()));
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = run_one(name, &programs.join(name), &place, seconds);
                    if let Ok(outcome) = &outcome {
                        println!("{}", line(outcome));
                    }
                    done.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(outcome);
                }
            });
        }
    });
    let outcomes: Result<Vec<Outcome>> =
        done.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()).into_iter().collect();
    let failures: Vec<String> =
        outcomes?.into_iter().filter_map(|outcome| Some(format!("{}: {}", outcome.name, outcome.failure?))).collect();
    if failures.is_empty() {
        return Ok(());
    }
    bail!("{} fuzz targets failed:\n{}", failures.len(), failures.join("\n"))
}

/// The names of all targets.
fn targets() -> Result<Vec<String>> {
    let folder = root().join(PACKAGE.1).join("fuzz_targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("could not list {}", folder.display()))? {
        let path = entry?.path();
        names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

/// Where Cargo builds; ours is a folder in there, so that whoever keeps the one between runs keeps the other.
fn target_dir() -> PathBuf {
    let configured = std::env::var_os("CARGO_TARGET_DIR").filter(|path| !path.is_empty());
    root().join(configured.map_or_else(|| PathBuf::from("target"), PathBuf::from))
}

/// The machine that we are on, as rustc names it. With a target of that name, what runs while building (which includes
/// this) is not instrumented.
fn host() -> Result<String> {
    let said = output(Command::new("rustc").arg("-vV")).context("rustc does not say what it builds for")?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc -vV names no host")
}

fn build(host: &str, place: &Path) -> Result<()> {
    let compiler = std::env::var_os("CXX").filter(|path| !path.is_empty()).unwrap_or_else(|| "c++".into());
    if output(Command::new(&compiler).arg("--version")).is_none() {
        bail!(
            "there is no C++ compiler (`{}`), and libFuzzer is written in C++: install g++ or clang, or set CXX to one",
            compiler.to_string_lossy()
        );
    }
    let mut command =
        cargo(&["build", "--package", PACKAGE.0, "--bins", "--features", "libfuzzer", "--profile", "fuzz"]);
    command.args(["--target", host]).arg("--target-dir").arg(place);
    let own = std::env::var("RUSTFLAGS").unwrap_or_default();
    command.env("RUSTFLAGS", format!("{} {own}", INSTRUMENTED.join(" ")).trim_end());
    command.env_remove("CARGO_ENCODED_RUSTFLAGS");
    run(&mut command)
}

fn run_one(name: &str, program: &Path, place: &Path, seconds: u64) -> Result<Outcome> {
    let (found, crashes) = (place.join("found").join(name), place.join("crashes").join(name));
    for folder in [&found, &crashes] {
        fs::create_dir_all(folder).with_context(|| format!("could not create {}", folder.display()))?;
    }
    let log_path = place.join(format!("{name}.log"));
    let failed = || format!("could not write {}", log_path.display());
    let log = fs::File::create(&log_path).with_context(failed)?;
    let mut command = Command::new(program);
    command.arg(format!("-max_total_time={seconds}")).arg(format!("-timeout={TIMEOUT}"));
    command.arg(format!("-rss_limit_mb={MEMORY}")).arg("-print_final_stats=1");
    command.arg(format!("-artifact_prefix={}/", crashes.display()));
    // What is new goes into the first folder.
    command.arg(&found).arg(root().join(PACKAGE.1).join("corpus").join(name));
    command.stdin(Stdio::null()).stdout(log.try_clone().with_context(failed)?).stderr(log);
    let status = command.status().with_context(|| format!("could not start {}", program.display()))?;
    let log = fs::File::open(&log_path).with_context(failed)?;
    // What a panic repeats need not be text.
    let lines = std::io::BufReader::new(log).split(b'\n').map_while(Result::ok);
    let lines: Vec<String> = lines.map(|line| String::from_utf8_lossy(&line).into_owned()).collect();
    let stats = Stats::of(&lines);
    let failure = match status.success() {
        true if stats.executions == 0 => Some(format!("it ran nothing; {} says why", log_path.display())),
        true => None,
        false => Some(found_something(name, program, &lines, &log_path)),
    };
    Ok(Outcome { name: name.to_owned(), failure, stats })
}

/// What to do about a find.
fn found_something(name: &str, program: &Path, lines: &[String], log: &Path) -> String {
    let marker = "Test unit written to ";
    let unit = lines.iter().rev().find_map(|line| line.split_once(marker).map(|(_, path)| path.trim().to_owned()));
    let panicked = lines.iter().position(|line| line.contains("panicked at"));
    let words =
        panicked.map_or(String::new(), |at| lines[at..].iter().take(8).map(|line| format!("\n    {line}")).collect());
    match unit {
        Some(unit) => format!(
            "it fails on {unit}{words}\n  replay it with: {} {unit}\n  once it is mended, keep it with: cp {unit} {}/corpus/{name}/",
            program.display(),
            PACKAGE.1
        ),
        None => format!("it ended badly{words}\n  its output: {}", log.display()),
    }
}

fn line(outcome: &Outcome) -> String {
    let Stats { executions, per_second, edges, features, new, memory } = outcome.stats;
    let verdict = if outcome.failure.is_some() { "FAILED" } else { "ok" };
    format!(
        "fuzz {:<20} {verdict}: {executions} runs, {per_second}/s, {edges} edges, {features} features, {new} new, {memory} MiB",
        outcome.name
    )
}

impl Stats {
    fn of(lines: &[String]) -> Self {
        let mut stats = Self::default();
        for line in lines {
            let words: Vec<&str> = line.split_whitespace().collect();
            let after = |word: &str| {
                let at = words.iter().position(|found| *found == word)?;
                words.get(at + 1)?.parse::<u64>().ok()
            };
            for (name, figure) in [
                ("stat::number_of_executed_units:", &mut stats.executions),
                ("stat::average_exec_per_sec:", &mut stats.per_second),
                ("stat::new_units_added:", &mut stats.new),
                ("stat::peak_rss_mb:", &mut stats.memory),
                ("cov:", &mut stats.edges),
                ("ft:", &mut stats.features),
            ] {
                *figure = after(name).unwrap_or(*figure);
            }
        }
        stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn what_libfuzzer_says_at_the_end_is_read() {
        let said = "#2 INITED cov: 10 ft: 11 corp: 1/1b exec/s: 0 rss: 40Mb\n\
                    #9 NEW    cov: 12 ft: 15 corp: 2/9b lim: 4 exec/s: 0 rss: 41Mb L: 8/8 MS: 1 ChangeByte-\n\
                    stat::number_of_executed_units: 900\nstat::average_exec_per_sec:     90\n\
                    stat::new_units_added:          7\nstat::slowest_unit_time_sec:    0\nstat::peak_rss_mb:              52";
        let expected = Stats { executions: 900, per_second: 90, edges: 12, features: 15, new: 7, memory: 52 };
        assert_eq!(Stats::of(&mk_lines(said)), expected);
        assert_eq!(Stats::of(&mk_lines("nothing")), Stats::default());
    }

    #[test]
    fn a_find_is_named_with_how_to_replay_and_how_to_keep_it() {
        let said = "thread '<unnamed>' panicked at src/a.rs:7:5:\nit is wrong\n==1== ERROR: libFuzzer: deadly signal\n\
                    artifact_prefix='x/'; Test unit written to x/crash-1";
        let told = found_something("config", Path::new("bin/config"), &mk_lines(said), Path::new("log"));
        assert!(told.contains("src/a.rs:7:5") && told.contains("it is wrong"), "{told}");
        assert!(
            told.contains("bin/config x/crash-1") && told.contains("cp x/crash-1 tests/fuzz/corpus/config/"),
            "{told}"
        );
        let told = found_something("config", Path::new("bin/config"), &mk_lines("Killed"), Path::new("its/log"));
        assert!(told.contains("its/log"), "{told}");
    }

    #[test]
    fn targets_are_known_by_name_and_a_wrong_name_is_told_the_right_ones() {
        let known = targets().unwrap();
        assert!(known.len() >= 12, "{known:?}");
        let message = fuzz(&["nonsense".to_owned()], 1).unwrap_err().to_string();
        assert!(message.contains("`nonsense`") && known.iter().all(|name| message.contains(name)), "{message}");
    }
}
