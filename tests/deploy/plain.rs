//! The plain manifests, looked at alone.

use serde_json::Value;

use crate::files::{assert_valid_config, config_of, documents, name, of_kind, plain, strings, text, tidegate};

#[test]
fn the_config_of_the_manifests_is_accepted() {
    let objects = plain();
    let configs = of_kind(&objects, "ConfigMap");
    assert_eq!(configs.len(), 1);
    assert_valid_config(&config_of(configs[0]));
}

#[test]
fn the_bootstrap_of_the_example_is_what_the_command_prints() {
    let envoy = text("config/deploy/envoy.yaml");
    let line = envoy.lines().find_map(|line| line.trim().strip_prefix("# What `tidegate ")).unwrap();
    let command = line.split('`').next().unwrap();
    let (good, printed) = tidegate(&command.split(' ').collect::<Vec<_>>());
    assert!(good, "{printed}");
    let objects = documents(&envoy);
    let stands = of_kind(&objects, "ConfigMap")[0]["data"]["bootstrap.yaml"].as_str().unwrap();
    assert_eq!(stands, printed, "write it anew: tidegate {command}");
}

#[test]
fn the_example_is_let_in_and_asks_where_xds_is_served() {
    let objects = [plain(), documents(&text("config/deploy/envoy.yaml"))].concat();
    let policy = of_kind(&objects, "NetworkPolicy")[0];
    let peer = &policy["spec"]["ingress"][0]["from"][0];
    let matches = |wanted: &Value, labels: &Value| {
        let wanted = wanted["matchLabels"].as_object().unwrap();
        !wanted.is_empty() && wanted.iter().all(|(key, value)| labels[key] == *value)
    };
    let namespaces = of_kind(&objects, "Namespace").into_iter();
    let allowed: Vec<&str> = namespaces
        .filter(|namespace| matches(&peer["namespaceSelector"], &namespace["metadata"]["labels"]))
        .map(name)
        .collect();
    assert_eq!(allowed, ["tidegate-proxies"]);
    let deployments = of_kind(&objects, "Deployment");
    let template = |name_of: &str| {
        let deployment = deployments.iter().find(|deployment| name(deployment) == name_of).unwrap();
        &deployment["spec"]["template"]
    };
    assert!(matches(&peer["podSelector"], &template("envoy")["metadata"]["labels"]));
    assert!(!matches(&peer["podSelector"], &template("tidegate")["metadata"]["labels"]));

    let services = of_kind(&objects, "Service");
    let service = services.iter().find(|service| name(service) == "tidegate").unwrap();
    assert!(text("config/deploy/envoy.yaml").contains("--xds tidegate.tidegate.svc:18000`"));
    assert_eq!(service["metadata"]["namespace"], "tidegate");
    assert_eq!(service["spec"]["ports"][0]["port"], 18000);
    let config: Value = serde_saphyr::from_str(&config_of(of_kind(&objects, "ConfigMap")[0])).unwrap();
    assert_eq!(config["xds"]["address"], "0.0.0.0:18000");
    let hosts = strings(&config["admin"]["allowed_hosts"]);
    assert!(hosts.contains(&"tidegate.tidegate.svc".to_owned()), "{hosts:?}");
}

#[test]
#[ignore = "needs envoy: run by cargo xtask test"]
fn envoy_takes_the_example_as_it_would_be_started() {
    let objects = documents(&text("config/deploy/envoy.yaml"));
    let folder = tempfile::tempdir().unwrap();
    let bootstrap = folder.path().join("bootstrap.yaml");
    std::fs::write(&bootstrap, of_kind(&objects, "ConfigMap")[0]["data"]["bootstrap.yaml"].as_str().unwrap()).unwrap();
    let container = &of_kind(&objects, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0];
    let arguments = strings(&container["args"]).into_iter().map(|argument| match &*argument {
        "/etc/envoy/bootstrap.yaml" => bootstrap.display().to_string(),
        _ => argument,
    });
    let mut envoy = std::process::Command::new(crate::support::envoy::envoy_binary());
    let output = envoy.args(["--mode", "validate"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
