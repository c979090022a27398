//! `tidegate status`: how a running one is: readiness, types, conditions, proxies, problems.

mod snapshot;

use std::io::Write;

use clap::Args;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::Global;
use super::client::Client;
use super::error::{CliError, Exit};
use super::output::{Format, Table, document};
use super::remote::{Remote, wait};
use crate::config::Loader;

/// Ask a running Tidegate how it is. Exit code 1 if it is not ready.
#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    remote: Remote,
}

impl Status {
    pub(super) fn execute(self, global: &Global, loader: &Loader, out: &mut impl Write) -> Result<Exit, CliError> {
        let client = self.remote.looking(loader)?;
        let status = wait(ask(&client))?;
        match global.output {
            Some(format @ (Format::Json | Format::Yaml)) => document(out, &status, format)?,
            _ => write(out, &status)?,
        }
        Ok(if status["readiness"]["ready"] == true { Exit::Ok } else { Exit::Problems })
    }
}

async fn ask(client: &Client) -> Result<Value, CliError> {
    // Not ready is an answer here, and no refusal.
    let answer = client.send(Method::GET, "/readyz", None).await?;
    if answer.status != StatusCode::OK && answer.status != StatusCode::SERVICE_UNAVAILABLE {
        return Err(client.refused(&answer).into());
    }
    let readiness: Value = serde_json::from_slice(&answer.body).map_err(|_| client.refused(&answer))?;
    let get = async |path: &str| client.json(Method::GET, path).await;
    Ok(json!({
        "address": client.address(),
        "readiness": readiness,
        "types": get("/api/v1/resources").await?["items"],
        "objects": get("/api/v1/status").await?["items"],
        "proxies": get("/api/v1/proxies").await?,
        "snapshot": get("/api/v1/snapshot").await?,
        "problems": get("/api/v1/problems").await?["items"],
    }))
}

fn write(out: &mut impl Write, status: &Value) -> std::io::Result<()> {
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    writeln!(out, "{}: {}", text(status, "address"), text(&status["readiness"], "message"))?;
    // One line, whatever stands in a path or a reason.
    let line: String = snapshot::line(&status["snapshot"]).chars().filter(|c| !c.is_control()).collect();
    writeln!(out, "{line}")?;

    let mut table = Table::new(&["SOURCE", "TYPE", "OBJECTS", "STATE", "REASON"]);
    for item in items(&status["types"]) {
        let objects = item["objects"].as_u64().unwrap_or_default().to_string();
        table.row([text(item, "source"), text(item, "name"), objects, text(item, "phase"), text(item, "reason")]);
    }
    section(out, &table)?;

    let mut table = Table::new(&["OBJECT", "ABOUT", "CONDITION", "STATUS", "REASON", "GENERATION", "MESSAGE"]);
    for object in items(&status["objects"]) {
        let name = object["namespace"].as_str().map_or(String::new(), |namespace| format!("{namespace}/"));
        let name = format!("{} {}:{name}{}", text(object, "kind"), text(object, "source"), text(object, "name"));
        for (about, condition) in conditions(&object["status"]) {
            table.row([
                name.clone(),
                about,
                text(condition, "type"),
                text(condition, "status"),
                text(condition, "reason"),
                condition["observedGeneration"].as_i64().map_or(String::new(), |generation| generation.to_string()),
                text(condition, "message"),
            ]);
        }
    }
    section(out, &table)?;

    let mut table = Table::new(&["PROBLEM IN", "PLACE", "FIELD", "SERVING", "REASON"]);
    for item in items(&status["problems"]) {
        let place = text(item, "place");
        let object = text(&item["object"], "name");
        let place = if place.is_empty() { object } else { place };
        table.row([text(item, "scope"), place, text(item, "field"), text(item, "serving"), text(item, "reason")]);
    }
    section(out, &table)
}

fn section(out: &mut impl Write, table: &Table) -> std::io::Result<()> {
    if table.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    table.write(out)
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// An object's conditions, those of its listeners and those of its parents, with what they are about.
fn conditions(status: &Value) -> Vec<(String, &Value)> {
    let own = items(&status["conditions"]).map(|condition| (String::new(), condition));
    let listeners = items(&status["listeners"]).flat_map(|listener| {
        let about = format!("listener {}", listener["name"].as_str().unwrap_or_default());
        items(&listener["conditions"]).map(move |condition| (about.clone(), condition))
    });
    let parents = items(&status["parents"]).flat_map(|parent| {
        let reference = &parent["parentRef"];
        let part = |key: &str| reference[key].as_str().map(str::to_owned);
        let named = [part("namespace"), part("name"), part("sectionName")].into_iter().flatten().collect::<Vec<_>>();
        let about = format!("parent {}", named.join("/"));
        items(&parent["conditions"]).map(move |condition| (about.clone(), condition))
    });
    own.chain(listeners).chain(parents).collect()
}
