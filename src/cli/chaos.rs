//! `tidegate chaos`: attacks a running Tidegate by a seeded plan, for game days, and says how it bore them.
//!
//! Laws: the same seed and the same service give the same attacks; however it ends, everything is healed; core actors are
//! not harmed so often that the service ends itself, as it should.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::{Method, StatusCode};
use serde::Serialize;
use serde_json::Value;
use tidegate_actors::env::{Rng as _, SeededRng};
use tokio::time::Instant;

use super::Global;
use super::client::{Client, ClientError};
use super::error::{CliError, Exit};
use super::output::{Format, Table, document};
use super::remote::{Remote, wait};
use crate::admin::chaos::{Attack, Order};
use crate::config::Loader;

/// Attack a running Tidegate that is not in production, and see how it bears it. Needs `chaos.enabled: true` in its config.
#[derive(Debug, Args)]
pub struct Chaos {
    /// For how long, such as 30s or 10m.
    #[arg(long, default_value = "30s", value_parser = period)]
    duration: Duration,

    /// The time between two attacks.
    #[arg(long, default_value = "2s", value_parser = period)]
    every: Duration,

    /// Which attacks, separated by commas; all, if none are named.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "FAULT")]
    faults: Vec<Attack>,

    /// What decides the plan; without it, the time of day, which is printed.
    #[arg(long)]
    seed: Option<u64>,

    #[command(flatten)]
    remote: Remote,
}

fn period(text: &str) -> Result<Duration, String> {
    let period = crate::resource::format::parse_duration(text).filter(|period| !period.is_zero());
    period.ok_or_else(|| "must be a time such as 500ms, 30s or 10m".to_owned())
}

/// One attack and what came of it.
#[derive(Debug, Serialize)]
struct Blow {
    /// Seconds since the beginning.
    at: f64,
    fault: Attack,
    target: String,
    /// How often actors were restarted since the attack before.
    restarts: u64,
    /// Seconds until it was ready again; `None`: not before the next attack.
    ready_after: Option<f64>,
    /// What was refused, if anything.
    refused: Option<String>,
}

#[derive(Debug, Serialize)]
struct Report {
    seed: u64,
    blows: Vec<Blow>,
    /// Restarts of all actors in all.
    restarts: u64,
    /// Whether it was ready at the end, when everything had been healed.
    ready: bool,
    /// Actors that do not run at the end.
    down: Vec<String>,
}

/// So often at the most within a minute is a core actor harmed.
const CORE_HARM: usize = 3;

/// How long it may take to be ready once everything is healed.
const HEALED: Duration = Duration::from_secs(30);

impl Chaos {
    pub(super) fn execute(self, global: &Global, loader: &Loader, out: &mut impl Write) -> Result<Exit, CliError> {
        let client = self.remote.changing(loader)?;
        let quiet = matches!(global.output, Some(Format::Json | Format::Yaml));
        let seed = self.seed.unwrap_or_else(|| SeededRng::from_time().next_u64() % 1_000_000);
        let report = wait(self.run(&client, seed, quiet, out))?;
        match global.output {
            Some(format @ (Format::Json | Format::Yaml)) => document(out, &report, format)?,
            _ => {
                let refused = report.blows.iter().filter(|blow| blow.refused.is_some()).count();
                let late = report.blows.iter().filter(|blow| blow.ready_after.is_none()).count();
                let blows = report.blows.len();
                let ready = if report.ready { "ready" } else { "not ready" };
                writeln!(
                    out,
                    "{blows} attacks ({refused} refused), {} restarts, {late} times not ready before the next one; now {ready}",
                    report.restarts
                )?;
                report.down.iter().try_for_each(|actor| writeln!(out, "{actor} does not run"))?;
                writeln!(out, "again with: --seed {}", report.seed)?;
            }
        }
        Ok(if report.ready && report.down.is_empty() { Exit::Ok } else { Exit::Problems })
    }

    async fn run(&self, client: &Client, seed: u64, quiet: bool, out: &mut impl Write) -> Result<Report, CliError> {
        // Whether it may be attacked at all, before anything else; the remedy is in the answer.
        client.json(Method::GET, "/api/v1/chaos").await?;
        let mut report = Report { seed, blows: Vec::new(), restarts: 0, ready: false, down: Vec::new() };
        let before = restarts(&tree(client).await?);
        let ended = tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => Ok(()),
            ended = self.attack(client, &mut report, quiet, out) => ended,
        };
        client.json(Method::DELETE, "/api/v1/chaos").await?;
        ended?;
        let deadline = Instant::now() + HEALED;
        loop {
            let tree = tree(client).await?;
            report.ready = ready(client).await?;
            report.restarts = restarts(&tree).saturating_sub(before);
            report.down = actors(&tree)
                .into_iter()
                .filter(|(_, state)| !runs(state) && state != "waiting")
                .map(|(path, _)| path)
                .collect();
            if (report.ready && report.down.is_empty()) || Instant::now() > deadline {
                return Ok(report);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn attack(
        &self,
        client: &Client,
        report: &mut Report,
        quiet: bool,
        out: &mut impl Write,
    ) -> Result<(), CliError> {
        let dice = SeededRng::new(report.seed);
        let begun = Instant::now();
        let mut seen = restarts(&tree(client).await?);
        let mut core: Vec<Instant> = Vec::new();
        let mut next = begun;
        while next.duration_since(begun) < self.duration {
            tokio::time::sleep_until(next).await;
            next += self.every;
            core.retain(|at| at.elapsed() < Duration::from_secs(60));
            let order = self.draw(&dice, &tree(client).await?, core.len() < CORE_HARM);
            let Some(order) = order else { continue };
            if is_core(&order.target) {
                core.push(Instant::now());
            }
            let at = begun.elapsed().as_secs_f64();
            let struck = Instant::now();
            let body = serde_json::to_vec(&order).map_err(std::io::Error::other)?;
            let answer = client.send(Method::POST, "/api/v1/chaos", Some(Bytes::from(body))).await?;
            let refused = (!answer.status.is_success()).then(|| client.refused(&answer));
            let refused = match refused {
                // What went meanwhile cannot be attacked; anything else is the caller's to know.
                Some(ClientError::Refused { status: StatusCode::NOT_FOUND | StatusCode::CONFLICT, reason, .. }) => {
                    Some(reason)
                }
                Some(other) => return Err(other.into()),
                None => None,
            };
            let mut ready_after = None;
            while ready_after.is_none() && Instant::now() < next {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let back = settled(&tree(client).await?, &order) && ready(client).await?;
                ready_after = back.then(|| struck.elapsed().as_secs_f64());
            }
            let now = restarts(&tree(client).await?);
            let restarts = now.saturating_sub(std::mem::replace(&mut seen, now));
            let blow = Blow { at, fault: order.fault, target: order.target, restarts, ready_after, refused };
            if !quiet {
                say(&blow, out)?;
            }
            report.blows.push(blow);
        }
        Ok(())
    }

    /// The next attack. The tree is sorted, so that a seed means the same on the same service.
    fn draw(&self, dice: &SeededRng, tree: &Value, core: bool) -> Option<Order> {
        use clap::ValueEnum as _;
        let all = if self.faults.is_empty() { Attack::value_variants() } else { &self.faults };
        let fault = all[dice.below(all.len() as u64) as usize];
        let mut targets: Vec<String> = if fault.is_on_source() {
            let sources = tree["children"].as_array().into_iter().flatten().find(|child| child["path"] == "sources");
            let sources = sources.and_then(|sources| sources["children"].as_array()).into_iter().flatten();
            sources.filter_map(|source| source["name"].as_str().map(str::to_owned)).collect()
        } else {
            let may = |path: &str| match fault {
                Attack::Panic | Attack::Stall => may_fail(path),
                // Through the admin server we are spoken to, and what is seen of it is the test's own doing.
                _ => path != "admin" && path != "config",
            };
            let actors = actors(tree).into_iter().map(|(path, _)| path);
            actors.filter(|path| may(path) && (core || !is_core(path))).collect()
        };
        targets.sort();
        let for_ms = (self.every / 2).as_millis() as u64;
        let target = targets.get(dice.below(targets.len() as u64) as usize)?.clone();
        Some(Order { fault, target, for_ms })
    }
}

fn say(blow: &Blow, out: &mut impl Write) -> Result<(), CliError> {
    let fault = format!("{:?}", blow.fault).to_lowercase();
    let how = match (&blow.refused, blow.ready_after) {
        (Some(reason), _) => format!("refused: {reason}"),
        (None, Some(after)) => format!("{} restarts, ready after {after:.2} s", blow.restarts),
        (None, None) => format!("{} restarts, not ready before the next", blow.restarts),
    };
    let mut table =
        Table::new(&[&format!("{:>7.1} s", blow.at), &format!("{fault:<10}"), &format!("{:<48}", blow.target), &how]);
    table.row([]);
    let mut text = Vec::new();
    table.write(&mut text)?;
    Ok(writeln!(out, "{}", String::from_utf8_lossy(&text).trim_end())?)
}

/// What has places where it can be made to panic and to stall.
fn may_fail(path: &str) -> bool {
    path.starts_with("sources/") || path.starts_with("stores/") || ["gateway", "xds", "json", "status"].contains(&path)
}

/// Who ends the process if it fails too often.
fn is_core(path: &str) -> bool {
    path == "gateway" || path.starts_with("stores/")
}

async fn tree(client: &Client) -> Result<Value, ClientError> {
    client.json(Method::GET, "/api/v1/actors").await
}

async fn ready(client: &Client) -> Result<bool, ClientError> {
    Ok(client.send(Method::GET, "/readyz", None).await?.status == StatusCode::OK)
}

fn runs(state: &str) -> bool {
    matches!(state, "running" | "stopped" | "degraded")
}

/// Whether the one that was attacked runs again.
fn settled(tree: &Value, order: &Order) -> bool {
    order.fault.is_on_source() || actors(tree).iter().any(|(path, state)| *path == order.target && runs(state))
}

/// Actors without children, with their state.
fn actors(tree: &Value) -> Vec<(String, String)> {
    let children = tree["children"].as_array().filter(|children| !children.is_empty());
    match children {
        Some(children) => children.iter().flat_map(actors).collect(),
        None => {
            let text = |key: &str| tree[key].as_str().unwrap_or_default().to_owned();
            vec![(text("path"), text("state"))]
        }
    }
}

fn restarts(tree: &Value) -> u64 {
    let own = tree["restarts"].as_u64().unwrap_or_default();
    own + tree["children"].as_array().into_iter().flatten().map(restarts).sum::<u64>()
}
