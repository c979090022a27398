//! Manifests checked and translated without a server.

use super::*;
use crate::running::{GATEWAY, SERVICE};

/// What the command line says, read as YAML or JSON.
fn translated(path: &str, target: &str, format: &str) -> Value {
    let output = tidegate(&["translate", path, "--to", target, "-o", format, "--allow-backends", "loopback"]);
    assert_eq!((code(&output), stderr(&output)), (0, String::new()), "{path} {target} {format}");
    match format {
        "json" => serde_json::from_str(&stdout(&output)).unwrap(),
        _ => serde_saphyr::from_str(&stdout(&output)).unwrap(),
    }
}

#[test]
fn manifests_validate_and_every_problem_is_a_line() {
    let dir = tempfile::tempdir().unwrap();
    mk_file(dir.path(), "gateway.yaml", GATEWAY);
    mk_file(dir.path(), "service.yaml", SERVICE);
    let directory = dir.path().display().to_string();
    let output = tidegate(&["validate", &directory]);
    assert_eq!((code(&output), stdout(&output)), (0, String::new()), "{}", stderr(&output));

    let broken = SERVICE.replace("[{port: 80}]", "[{port: many}]").replace("name: web", "name: broken");
    mk_file(dir.path(), "service.yaml", &broken);
    let output = tidegate(&["validate", &directory]);
    assert_eq!(code(&output), 1);
    let text = stdout(&output);
    assert!(text.lines().any(|line| line.contains("service.yaml:4")), "{text}");
    let refused = text.lines().any(|line| line.starts_with("HTTPRoute ") && line.contains("BackendNotFound"));
    assert!(refused, "{text}");
}

#[test]
fn translate_prints_the_model_and_tells_problems_apart_from_it() {
    let dir = tempfile::tempdir().unwrap();
    mk_file(dir.path(), "gateway.yaml", GATEWAY);
    mk_file(dir.path(), "service.yaml", SERVICE);
    let directory = dir.path().display().to_string();
    let output = tidegate(&["translate", &directory, "--to", "model", "-o", "json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let model: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(model["listeners"].as_array().unwrap().len(), 1);
    assert_eq!(model["clusters"].as_array().unwrap().len(), 1);
    let yaml: Value = serde_saphyr::from_str(&stdout(&tidegate(&["translate", &directory]))).unwrap();
    assert_eq!(yaml, model);

    std::fs::remove_file(dir.path().join("service.yaml")).unwrap();
    let output = tidegate(&["translate", &directory, "-o", "json"]);
    assert_eq!(code(&output), 1);
    assert!(serde_json::from_str::<Value>(&stdout(&output)).is_ok(), "the answer stays whole");
    assert!(stderr(&output).contains("BackendNotFound"), "{}", stderr(&output));
}

#[test]
fn the_demo_translates_to_both_targets_in_both_formats_and_shows_no_key() {
    use base64::Engine as _;
    let demo = config_file("demo");
    let [model, xds] = ["model", "xds"].map(|target| {
        let [json, yaml] = ["json", "yaml"].map(|format| translated(&demo, target, format));
        assert_eq!(json, yaml, "{target}");
        json
    });
    assert!(model["listeners"].is_array() && model.get("cds").is_none());

    let names = |kind: &str| -> Vec<&str> {
        xds[kind].as_array().unwrap().iter().map(|resource| resource["name"].as_str().unwrap()).collect()
    };
    let count = |part: &str| model[part].as_array().unwrap().len();
    assert_eq!((names("lds").len(), names("cds").len()), (count("listeners"), count("clusters")));
    assert_eq!(names("cds"), names("eds"), "each cluster has its endpoints");
    // Each table has one more, which is never asked for.
    assert_eq!(names("vhds").len(), count("virtual_hosts") + names("rds").len());
    for kind in ["cds", "eds", "sds", "lds", "rds", "vhds"] {
        for resource in xds[kind].as_array().unwrap() {
            assert!(resource["resource"]["@type"].is_string() && resource["version"].as_str().unwrap().len() == 16);
        }
    }

    assert_eq!(names("sds").len(), 1);
    let secret = &xds["sds"][0]["resource"]["tls_certificate"];
    assert_eq!(secret["private_key"]["inline_bytes"], "<redacted>");
    let chain = secret["certificate_chain"]["inline_bytes"].as_str().unwrap();
    let chain = base64::engine::general_purpose::STANDARD.decode(chain).unwrap();
    assert!(chain.starts_with(b"-----BEGIN CERTIFICATE-----"), "the certificate is no secret");
    let key = base64::engine::general_purpose::STANDARD.encode("-----BEGIN PRIVATE");
    let all = xds.to_string();
    assert!(!all.contains("PRIVATE") && !all.contains(key.trim_end_matches('=')));
}

#[test]
fn one_file_translates_and_what_is_wrong_with_it_is_exit_code_one_for_every_target() {
    let dir = tempfile::tempdir().unwrap();
    let path = mk_file(dir.path(), "all.yaml", &format!("{GATEWAY}---\n{SERVICE}"));
    assert_eq!(code(&tidegate(&["validate", &path])), 0);
    assert_eq!(translated(&path, "xds", "yaml")["cds"][0]["name"], "files/default/web/80");

    let path = mk_file(dir.path(), "gateway.yaml", GATEWAY);
    assert_eq!(code(&tidegate(&["validate", &path])), 1);
    for target in ["model", "xds"] {
        let output = tidegate(&["translate", &path, "--to", target, "-o", "json"]);
        assert_eq!(code(&output), 1, "{target}");
        let answer: Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert!(answer.is_object(), "the answer stays whole");
        assert!(stderr(&output).contains("BackendNotFound"), "{target}: {}", stderr(&output));
    }
    let output = tidegate(&["translate", &path, "--to", "envoy"]);
    assert_eq!((code(&output), stdout(&output)), (2, String::new()));
}
