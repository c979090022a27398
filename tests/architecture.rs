//! The architecture's invariants, each a test: who may know whom, how large a file may be, what the top level
//! holds, and where the outside world may be asked.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// All Rust files below some folders, with their paths relative to the root and their text.
fn rust_files(folders: &[&str]) -> Vec<(String, String)> {
    let mut todo: VecDeque<PathBuf> = folders.iter().map(|folder| Path::new(ROOT).join(folder)).collect();
    let mut files = Vec::new();
    while let Some(path) = todo.pop_front() {
        if path.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(ROOT).unwrap().display().to_string();
            files.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
    files.sort();
    assert!(!files.is_empty(), "no Rust files below {folders:?}");
    files
}

/// Code lines that are neither comments nor in a file's test module at its end.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line));
    lines
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Fails with each place where a file of the folders mentions a word in code.
fn absent(folders: &[&str], words: &[&str], except: &[&str], why: &str) {
    let mut found = Vec::new();
    for (name, text) in rust_files(folders) {
        if except.iter().any(|except| name.starts_with(except)) {
            continue;
        }
        for (at, line) in code(&text) {
            found.extend(words.iter().filter(|word| line.contains(**word)).map(|word| format!("{name}:{at}: {word}")));
        }
    }
    assert!(found.is_empty(), "{why}:\n{}", found.join("\n"));
}

#[test]
fn the_engine_depends_on_no_kube_gateway_api_or_envoy_crate() {
    // For this machine alone: crates for others need not be here, and nothing may be fetched for a test.
    let cargo = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--package", "tidegate-actors", "--all-features"])
        .args(["--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .current_dir(ROOT)
        .output()
        .unwrap();
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    let tree = String::from_utf8(cargo.stdout).unwrap();
    let names: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains("ractor") && names.len() > 10, "what is this: {names:?}");
    let forbidden = ["kube", "k8s", "gateway-api", "envoy", "tonic", "prost", "xds"];
    let found: Vec<&&str> = names.iter().filter(|name| forbidden.iter().any(|word| name.contains(word))).collect();
    assert!(found.is_empty(), "the engine depends on {found:?}");
}

#[test]
fn the_model_knows_neither_its_sources_nor_its_publishers() {
    absent(
        &["src/model"],
        &[
            "kube",
            "envoy_types",
            "tonic",
            "prost",
            "crate::correlate",
            "crate::resource",
            "crate::publish",
            "crate::source",
        ],
        &[],
        "`model` is plain data",
    );
}

#[test]
fn translation_knows_no_proxy_and_no_transport() {
    absent(
        &["src/resource", "src/correlate"],
        &[
            "envoy_types",
            "tonic",
            "crate::publish",
            "crate::source",
            "crate::proxy",
            "crate::admin",
            "std::fs",
            "tokio::",
        ],
        &[],
        "`resource` and `correlate` are pure: raw objects in, model and conditions out",
    );
}

#[test]
fn xds_knows_only_the_model() {
    absent(
        &["src/publish/xds"],
        &["crate::resource", "crate::correlate", "crate::source", "crate::proxy", "crate::admin"],
        &[],
        "xDS is made of the model alone",
    );
}

#[test]
fn sources_know_nothing_of_what_objects_mean() {
    absent(
        &["src/source"],
        &["crate::correlate", "crate::model", "crate::publish", "crate::proxy", "crate::admin", "envoy_types"],
        &[],
        "`source` only brings objects",
    );
}

#[test]
fn only_the_kubernetes_source_knows_kubernetes_client() {
    absent(
        &["actors/src", "src"],
        &["kube::", "k8s_openapi"],
        &["src/source/kubernetes/"],
        "kube's client stands in `source/kubernetes` alone",
    );
}

#[test]
fn the_state_machine_of_a_watch_knows_neither_http_nor_time() {
    let path = Path::new(ROOT).join("src/source/kubernetes/machine.rs");
    let text = fs::read_to_string(path).unwrap();
    let words = ["kube::", "http::", "hyper", "tokio", "async ", "Instant", "Duration", "env::"];
    let found: Vec<_> = code(&text).filter(|(_, line)| words.iter().any(|word| line.contains(word))).collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn the_engine_asks_for_time_randomness_files_and_sockets_only_through_env() {
    absent(
        &["actors/src"],
        &[
            "SystemTime::now",
            "std::fs",
            "fs::read",
            "TcpStream",
            "TcpListener",
            "std::env::",
            "std::process::",
            "std::thread::",
        ],
        // A campaign runs systems; it is outside of any of them.
        &["actors/src/env/", "actors/src/testing/campaign.rs"],
        "the outside world stands in `env` alone",
    );
}

#[test]
fn every_select_says_which_branch_goes_first() {
    let mut found = Vec::new();
    for (name, text) in rust_files(&["actors/src", "src"]) {
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let next = lines.get(at + 1).map_or("", |next| next.trim());
            if line.contains("select! {") && !line.trim_start().starts_with("//") && next != "biased;" {
                found.push(format!("{name}:{}", at + 1));
            }
        }
    }
    assert!(found.is_empty(), "an unbiased select! does not replay:\n{}", found.join("\n"));
}

/// Tokio's watch channel and its broadcast one wake whoever waits in an order by chance.
#[test]
fn whoever_waits_for_a_value_is_woken_in_an_order_that_replays() {
    let why = "it does not replay: use tidegate_actors::watch";
    absent(&["actors/src", "src"], &["tokio::sync::watch", "sync::{watch", ", watch}", "broadcast::"], &[], why);
}

#[test]
fn a_file_has_at_most_500_lines_and_says_at_its_top_what_it_is() {
    let mut found = Vec::new();
    for (name, text) in rust_files(&["actors", "src", "tests", "examples"]) {
        let lines = text.lines().count();
        if lines > 500 {
            found.push(format!("{name}: {lines} lines"));
        }
        if !text.starts_with("//!") {
            found.push(format!("{name}: no `//!` at its top"));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_top_level_holds_what_the_design_says_and_nothing_else() {
    let mut folders = BTreeSet::new();
    for entry in fs::read_dir(ROOT).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() && !name.starts_with('.') && name != "target" {
            folders.insert(name);
        }
    }
    let expected = ["actors", "config", "examples", "src", "tests"].map(str::to_owned);
    assert_eq!(folders, BTreeSet::from(expected));
}

#[test]
fn modules_are_declared_in_the_order_in_which_data_flows() {
    let order = ["config", "source", "resource", "correlate", "model", "publish", "proxy", "admin"];
    let text = fs::read_to_string(Path::new(ROOT).join("src/lib.rs")).unwrap();
    let declared: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let known: Vec<&str> = declared.into_iter().filter(|module| order.contains(module)).collect();
    assert_eq!(known, order);
}

#[test]
fn every_promise_of_the_readme_names_tests_that_there_are() {
    let readme = fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap();
    let mut rows: Vec<&str> = Vec::new();
    for (title, at_least) in [("\n## Security\n", 9), ("\n## What happens when things fail\n", 16)] {
        let section = readme.split(title).nth(1).unwrap().split("\n## ").next().unwrap();
        let of_section: Vec<&str> = section.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
        assert!(of_section.len() >= at_least, "{of_section:#?}");
        rows.extend(of_section);
    }
    let files = rust_files(&["src", "actors/src", "tests", "actors/tests"]);
    // A test's path names folders and files in their order, as `directory::tests` does src/source/directory/tests.rs.
    let stands_in = |name: &str, modules: &[&str]| {
        let mut parts = name.trim_end_matches(".rs").split('/');
        modules.iter().all(|module| parts.any(|part| part == *module))
            && parts.all(|part| ["mod", "main"].contains(&part))
    };
    let is_there = |path: &str| {
        let (modules, test) = path.rsplit_once("::")?;
        let modules: Vec<&str> = modules.split("::").collect();
        let declared = format!("fn {test}(");
        let mut lines = files.iter().filter(|(name, _)| stands_in(name, &modules)).map(|(_, text)| text.lines());
        lines
            .any(|lines| {
                let lines: Vec<&str> = lines.collect();
                let at = lines.iter().position(|line| line.contains(&declared));
                at.is_some_and(|at| lines[at.saturating_sub(2)..at].iter().any(|line| line.contains("test")))
            })
            .then_some(())
    };
    let mut missing = Vec::new();
    for row in rows {
        let proofs = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let named: Vec<&str> = proofs.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "no test is named in {row}");
        missing.extend(named.into_iter().filter(|path| is_there(path).is_none()).map(str::to_owned));
    }
    assert!(missing.is_empty(), "the README names tests that there are not: {missing:#?}");
}
