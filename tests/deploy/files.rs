//! Manifests as they are in the repository, and as the chart renders them.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A file below the repository.
pub fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The text of a file below the repository.
pub fn text(path: &str) -> String {
    std::fs::read_to_string(in_repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All documents of a YAML text.
pub fn documents(text: &str) -> Vec<Value> {
    let parsed: Vec<Value> = serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    parsed.into_iter().filter(|document| !document.is_null()).collect()
}

/// All objects of the plain manifests.
pub fn plain() -> Vec<Value> {
    ["rbac.yaml", "tidegate.yaml", "servicemonitor.yaml"]
        .iter()
        .flat_map(|file| documents(&text(&format!("config/deploy/{file}"))))
        .collect()
}

/// The program that renders. `cargo xtask test` builds it.
fn chart_program() -> PathBuf {
    match std::env::var_os("TIDEGATE_CHART") {
        Some(path) if !path.is_empty() => PathBuf::from(path),
        _ => panic!("TIDEGATE_CHART is not set: run `cargo xtask test`, or set it to what `cargo xtask chart` prints"),
    }
}

/// What the chart becomes with values in YAML, or what it complains of.
pub fn try_render(namespace: &str, values: &str) -> Result<String, String> {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(file.path(), values).unwrap();
    let mut command = Command::new(chart_program());
    command.args(["--release", "tidegate", "--namespace", namespace, "--values"]).arg(file.path());
    let output = command.arg(in_repository("config/deploy/chart")).output().unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// What the chart becomes, as text.
pub fn render(namespace: &str, values: &str) -> String {
    try_render(namespace, values).unwrap_or_else(|reason| panic!("{reason}\n{values}"))
}

/// The objects of a kind.
pub fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// An object's name.
pub fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

/// The config file in a ConfigMap.
pub fn config_of(config_map: &Value) -> String {
    config_map["data"]["tidegate.yaml"].as_str().unwrap().to_owned()
}

/// The strings of a list.
pub fn strings(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().map(|item| item.as_str().unwrap().to_owned()).collect()
}

/// What the binary says and whether it is content.
pub fn tidegate(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate")).args(arguments).env_remove("TIDEGATE_CONFIG").output();
    let output = output.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

/// Asserts that the binary takes a config file.
pub fn assert_valid_config(config: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tidegate.yaml");
    std::fs::write(&path, config).unwrap();
    let (good, said) = tidegate(&["validate", path.to_str().unwrap()]);
    assert!(good, "{said}\n{config}");
}
