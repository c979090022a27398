//! `tidegate actors`: the tree of a running one, and steering by hand.

use std::io::Write;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::Value;

use super::Global;
use super::client::Client;
use super::error::{CliError, Exit};
use super::output::{Format, Table, document};
use super::remote::{Remote, wait};
use crate::config::Loader;

/// Look at the actors of a running Tidegate, restart, pause or resume one.
#[derive(Debug, Args)]
pub struct Actors {
    #[command(subcommand)]
    action: Action,

    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show all actors with state, restarts, last error and next attempt.
    List,
    /// Stop an actor if it runs and start it at once.
    Restart(Named),
    /// Stop an actor and keep it down.
    Pause(Named),
    /// Start a paused actor again.
    Resume(Named),
}

#[derive(Debug, Args)]
struct Named {
    /// Its path, as `actors list` shows it.
    name: String,
}

impl Actors {
    pub(super) fn execute(self, global: &Global, loader: &Loader, out: &mut impl Write) -> Result<Exit, CliError> {
        let (verb, name) = match &self.action {
            Action::List => return self.list(global, loader, out),
            Action::Restart(named) => ("restart", &named.name),
            Action::Pause(named) => ("pause", &named.name),
            Action::Resume(named) => ("resume", &named.name),
        };
        let client = self.remote.changing(loader)?;
        let answer = wait(steer(&client, name, verb))?;
        match global.output {
            Some(format @ (Format::Json | Format::Yaml)) => document(out, &answer, format)?,
            _ => writeln!(out, "{name}: {verb} done")?,
        }
        Ok(Exit::Ok)
    }

    fn list(&self, global: &Global, loader: &Loader, out: &mut impl Write) -> Result<Exit, CliError> {
        let client = self.remote.looking(loader)?;
        let tree = wait(async { Ok(client.json(Method::GET, "/api/v1/actors").await?) })?;
        match global.output {
            Some(format @ (Format::Json | Format::Yaml)) => document(out, &tree, format)?,
            _ => {
                let mut table = Table::new(&["ACTOR", "STATE", "RESTARTS", "NEXT ATTEMPT", "LAST ERROR"]);
                rows(&tree, 0, &mut table);
                table.write(out)?;
            }
        }
        Ok(Exit::Ok)
    }
}

async fn steer(client: &Client, name: &str, verb: &str) -> Result<Value, CliError> {
    let path = format!("/api/v1/actors/{}/{verb}", encoded(name.trim_matches('/')));
    Ok(client.json(Method::POST, &path).await?)
}

/// Percent-encodes what a path cannot hold (RFC 3986, section 3.3); slashes separate names and stay.
fn encoded(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:@".contains(&byte);
    path.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// The tree as rows, children indented under their supervisor.
pub(super) fn rows(tree: &Value, depth: usize, table: &mut Table) {
    let text = |key: &str| tree[key].as_str().unwrap_or_default().to_owned();
    let name = if depth == 0 { text("name") } else { text("path") };
    let next = tree["next_attempt"].as_u64().map_or(String::new(), |ms| format!("in {:.1} s", ms as f64 / 1000.0));
    let restarts = tree["restarts"].as_u64().unwrap_or_default().to_string();
    table.row([format!("{}{name}", "  ".repeat(depth)), text("state"), restarts, next, text("last_error")]);
    for child in tree["children"].as_array().into_iter().flatten() {
        rows(child, depth + 1, table);
    }
}
