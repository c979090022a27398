//! A soak: the real service in a process of its own, 5,000 routes in a directory, 200 changes a second, xDS clients that
//! take everything, and a fault every 10 s: attacks on its actors and its source, and kill -9. Each minute the changes
//! stop until every client has the last version of every route; what one lacks is a loss.
//!
//! `cargo xtask soak --hours N` runs it and says where the table goes.

mod attacks;

mod clients;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tidegate_actors::env::{Rng as _, SeededRng};
use tidegate_bench::gateway_world::{base, redirect};
use tidegate_bench::service::{Format, Service, run_if_child, write};

use attacks::Attacker;
use clients::Clients;

const ROUTES: usize = 5_000;
/// Changes a second.
const RATE: u64 = 200;
const CLIENTS: usize = 4;
const FAULT_EVERY: Duration = Duration::from_secs(10);
/// One fault in so many is kill -9: seldom, since what grows must have the time to.
const KILL_EVERY: u64 = 60;
const CHECK_EVERY: Duration = Duration::from_secs(60);
/// How long after the last change, and the last fault, a client may take to have everything.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came of it.
#[derive(Default)]
struct Sum {
    events: u64,
    faults: u64,
    kills: u64,
    checks: u64,
    losses: u64,
    /// The longest from the last change to the moment when the last client had it.
    slowest: Duration,
    /// MiB, at each check.
    memory: Vec<f64>,
}

fn main() -> ExitCode {
    if let Some(ended) = run_if_child() {
        return ended;
    }
    let number = |name: &str, or: f64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(or);
    let time = Duration::from_secs_f64(number("TIDEGATE_SOAK_HOURS", 1.0) * 3_600.0);
    let seed = number("TIDEGATE_SOAK_SEED", 1.0) as u64;
    let out = std::env::var_os("TIDEGATE_SOAK_OUT").map(PathBuf::from);

    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("a folder: {error}"));
    write(folder.path(), &base(10), Format::Json, 1_000);
    let mut versions = vec![0_usize; ROUTES];
    (0..ROUTES).for_each(|n| put(folder.path(), n, 0));
    let mut service = Service::start(folder.path());
    service.wait_ready();
    let clients = Clients::start(&service.folder().join("tidegate.yaml"), CLIENTS);
    let mut attacker = Attacker::new(&service, seed);

    let (dice, begun, mut sum) = (SeededRng::new(seed), Instant::now(), Sum::default());
    let (mut next_fault, mut next_check) = (begun + FAULT_EVERY, begun + CHECK_EVERY.min(time));
    // The pace is that of the time in which changes are made; what a check takes does not count.
    let (mut making, mut paced) = (begun, 0_u64);
    while begun.elapsed() < time {
        let due = (making.elapsed().as_secs_f64() * RATE as f64) as u64;
        for _ in paced..due {
            let n = dice.below(ROUTES as u64) as usize;
            versions[n] += 1;
            put(folder.path(), n, versions[n]);
            sum.events += 1;
        }
        paced = due;
        if Instant::now() >= next_fault {
            next_fault += FAULT_EVERY;
            sum.faults += 1;
            if sum.faults.is_multiple_of(KILL_EVERY) {
                sum.kills += 1;
                service.kill();
                service.start_again();
                service.wait_ready();
            } else {
                println!("{:>7.0} s  {}", begun.elapsed().as_secs_f64(), attacker.strike());
            }
        }
        if Instant::now() >= next_check || begun.elapsed() >= time {
            check(&service, &clients, &versions, &mut sum);
            println!("{:>7.0} s  {}", begun.elapsed().as_secs_f64(), progress(&sum));
            (making, paced) = (Instant::now(), 0);
            (next_check, next_fault) = (making + CHECK_EVERY, making + FAULT_EVERY);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    attacker.heal();
    check(&service, &clients, &versions, &mut sum);
    let table = table(&sum, begun.elapsed(), seed);
    println!("\n{table}");
    if let Some(out) = out {
        std::fs::write(&out, table).unwrap_or_else(|error| panic!("{}: {error}", out.display()));
    }
    if sum.losses == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Writes a route as editors and other programs do: whole, under its name, at once.
fn put(folder: &Path, n: usize, version: usize) {
    let path = folder.join(format!("route-{n}.json"));
    // A name that no source reads.
    let fresh = folder.join(format!(".route-{n}.fresh"));
    let written = std::fs::write(&fresh, &redirect(n, version).json).and_then(|()| std::fs::rename(&fresh, &path));
    written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Waits until every client has the last version of every route, and counts what one lacks when it should have it.
fn check(service: &Service, clients: &Clients, versions: &[usize], sum: &mut Sum) {
    let begun = Instant::now();
    let mut lacking = clients.lacking(versions);
    while !lacking.is_empty() && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(20));
        lacking = clients.lacking(versions);
    }
    for (client, route) in lacking.iter().take(5) {
        println!("client {client} lacks version {} of route {route}", versions[*route]);
    }
    sum.checks += 1;
    sum.losses += lacking.len() as u64;
    sum.slowest = sum.slowest.max(begun.elapsed());
    sum.memory.push(service.memory().now);
}

fn progress(sum: &Sum) -> String {
    format!(
        "{} events, {} faults ({} kill -9), {} losses in {} checks, slowest {:.1} s, {:.0} MiB",
        sum.events,
        sum.faults,
        sum.kills,
        sum.losses,
        sum.checks,
        sum.slowest.as_secs_f64(),
        sum.memory.last().copied().unwrap_or_default()
    )
}

fn table(sum: &Sum, took: Duration, seed: u64) -> String {
    let of = |memory: Option<&f64>| memory.copied().unwrap_or_default();
    let (first, last) = (of(sum.memory.first()), of(sum.memory.last()));
    let most = of(sum.memory.iter().max_by(|a, b| a.total_cmp(b)));
    let mut text = String::from("| soak | |\n|---|---|\n");
    let growth = (last - first) / first.max(1.0) * 100.0;
    for (what, value) in [
        ("time", format!("{:.2} h, seed {seed}", took.as_secs_f64() / 3_600.0)),
        ("routes, xDS clients", format!("{ROUTES}, {CLIENTS}")),
        ("events", format!("{} ({:.0} a second)", sum.events, sum.events as f64 / took.as_secs_f64())),
        ("faults, of them kill -9", format!("{}, {}", sum.faults, sum.kills)),
        ("checks of every route at every client", sum.checks.to_string()),
        ("lost updates", sum.losses.to_string()),
        ("slowest to be live everywhere", format!("{:.1} s", sum.slowest.as_secs_f64())),
        ("memory, first and last check", format!("{first:.0} MiB, {last:.0} MiB ({growth:+.0} %)")),
        ("memory, the most at any check", format!("{most:.0} MiB")),
    ] {
        // A string takes everything.
        let _ = writeln!(text, "| {what} | {value} |");
    }
    text
}
