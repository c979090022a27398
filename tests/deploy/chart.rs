//! The chart, rendered by Helm's own engine: it is the plain manifests with values, and refuses values that mean nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::files::{
    assert_valid_config, config_of, documents, in_repository, name, of_kind, plain, render, strings, text, try_render,
};
use crate::permission::permissions;

/// What is the same wherever it comes from: without labels that only a chart has, and with the config as what it says.
fn comparable(objects: Vec<Value>) -> BTreeMap<(String, String), Value> {
    let rbac = |kind: &str| kind.contains("Role");
    let mut all = BTreeMap::new();
    for mut object in objects {
        let kind = object["kind"].as_str().unwrap().to_owned();
        // Helm makes no namespace by a template, and permissions are compared by what they allow.
        if kind == "Namespace" || rbac(&kind) {
            continue;
        }
        object["metadata"].as_object_mut().unwrap().remove("labels");
        if let Some(annotations) = object.pointer_mut("/spec/template/metadata/annotations") {
            let only_checksum = annotations.as_object().unwrap().keys().all(|key| key == "checksum/config");
            assert!(only_checksum, "{annotations}");
            object.pointer_mut("/spec/template/metadata").unwrap().as_object_mut().unwrap().remove("annotations");
        }
        if kind == "ConfigMap" {
            object["data"] = serde_saphyr::from_str(&config_of(&object)).unwrap();
        }
        all.insert((kind, name(&object).to_owned()), object);
    }
    all
}

#[test]
#[ignore = "needs the chart program: run by cargo xtask test"]
fn a_release_with_nothing_said_is_the_plain_manifests() {
    let rendered = documents(&render("tidegate", "serviceMonitor: { enabled: true }"));
    assert_eq!(permissions(&rendered), permissions(&plain()));
    let (ours, theirs) = (comparable(rendered), comparable(plain()));
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    for (key, object) in &ours {
        assert_eq!(object, &theirs[key], "{key:?}");
    }
    assert!(ours.len() >= 8, "{:?}", ours.keys());
}

#[test]
#[ignore = "needs the chart program: run by cargo xtask test"]
fn permissions_are_given_in_the_namespaces_that_are_named_alone() {
    let whole = permissions(&plain());
    let of = |values: &str| permissions(&documents(&render("tidegate", values)));
    let about = |all: &BTreeSet<String>, what: &str| -> Vec<String> {
        let about = all.iter().filter(|permission| permission.contains(what));
        about.map(|permission| permission.rsplit_once(" in ").unwrap().1.to_owned()).collect()
    };

    let named = of("namespaces: [apps, infra]");
    for what in ["list /secrets", "watch /secrets", "list /services", "patch gateway.networking.k8s.io/gateways/status"]
    {
        assert_eq!(about(&named, what), ["apps", "infra"], "{what}");
        assert_eq!(about(&whole, what), ["every namespace"], "{what}");
    }
    assert_eq!(about(&named, "list /namespaces"), ["every namespace"]);
    // Each thing that may be done everywhere may be done in each of them, if it is about what is in a namespace.
    let in_apps = |permission: &String| {
        let (what, place) = permission.rsplit_once(" in ").unwrap();
        place != "every namespace" || named.contains(&format!("{what} in apps")) || named.contains(permission)
    };
    assert!(whole.iter().all(in_apps));

    let secrets = of("secretNamespaces: [certificates]");
    assert_eq!(about(&secrets, "list /secrets"), ["certificates"]);
    assert_eq!(about(&secrets, "list /services"), ["every namespace"]);
    let both = of("{ namespaces: [apps, infra], secretNamespaces: [infra] }");
    assert_eq!(about(&both, "list /secrets"), ["infra"]);
    assert_eq!(about(&both, "list /services"), ["apps", "infra"]);
}

#[test]
#[ignore = "needs the chart program: run by cargo xtask test"]
fn what_is_watched_is_what_is_permitted() {
    let rendered = documents(&render("tidegate", "{ namespaces: [apps, infra], secretNamespaces: [infra] }"));
    let text = config_of(of_kind(&rendered, "ConfigMap")[0]);
    assert_valid_config(&text);
    let config: Value = serde_saphyr::from_str(&text).unwrap();
    let source = &config["sources"][0];
    assert_eq!(strings(&source["namespaces"]), ["apps", "infra"]);
    assert_eq!(source["types"][0]["resource"], "secrets");
    assert_eq!(strings(&source["types"][0]["namespaces"]), ["infra"]);
}

const SHARDS: &str = "
shards:
  - { name: a, selector: shard=a }
  - { name: rest, classes: [edge, tidegate], selector: '!shard' }
config:
  gateway: { controller_name: example.com/gateways }
  log: { level: debug }
";

#[test]
#[ignore = "needs the chart program: run by cargo xtask test"]
fn each_shard_has_replicas_a_config_a_service_and_a_lease_of_its_own() {
    let rendered = documents(&render("tidegate", SHARDS));
    for kind in ["ConfigMap", "Deployment", "Service", "PodDisruptionBudget"] {
        let names: Vec<&str> = of_kind(&rendered, kind).into_iter().map(name).collect();
        assert_eq!(names, ["tidegate-a", "tidegate-rest"], "{kind}");
    }
    let mut leases = Vec::new();
    for config_map in of_kind(&rendered, "ConfigMap") {
        let text = config_of(config_map);
        assert_valid_config(&text);
        let config: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(config["gateway"]["controller_name"], "example.com/gateways");
        assert_eq!(config["log"]["level"], "debug");
        leases.push(config["sources"][0]["status"]["lease"]["name"].as_str().unwrap().to_owned());
    }
    assert_eq!(leases, ["tidegate-a", "tidegate-rest"]);
    let permitted = permissions(&rendered);
    let patched: Vec<&str> = permitted
        .iter()
        .filter_map(|permission| permission.split(" may patch coordination.k8s.io/leases/").nth(1)?.split(' ').next())
        .collect();
    assert_eq!(patched, leases);

    // No pod of one shard is another's.
    let selectors: Vec<&Value> =
        of_kind(&rendered, "Service").into_iter().map(|service| &service["spec"]["selector"]).collect();
    for (at, deployment) in of_kind(&rendered, "Deployment").into_iter().enumerate() {
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        for (other, selector) in selectors.iter().enumerate() {
            let selected = selector.as_object().unwrap().iter().all(|(key, value)| labels[key] == *value);
            assert_eq!(selected, at == other);
        }
        assert_eq!(deployment["spec"]["selector"]["matchLabels"], *selectors[at]);
    }
    let class = of_kind(&rendered, "GatewayClass")[0];
    assert_eq!(class["spec"]["controllerName"], "example.com/gateways");
}

#[test]
#[ignore = "needs the chart program: run by cargo xtask test"]
fn values_that_mean_nothing_are_refused() {
    for (values, reason) in [
        ("replica: 3", "replica"),
        ("replicas: 0", "replicas"),
        ("namespaces: [Apps]", "namespaces"),
        ("shards: [{ name: a }]", "shards"),
        ("shards: [{ name: a, selector: x, lease: y }]", "shards"),
        ("image: { tags: x }", "tags"),
        ("service: { type: ExternalName }", "type"),
        ("xds: { clients: [] }", "clients"),
        ("xds: { clients: [{ identity: a.example }] }", "gateways"),
        ("config: { sources: [] }", "extraSources"),
    ] {
        let refused = try_render("tidegate", values).expect_err(values);
        assert!(refused.contains(reason), "{values}: {refused}");
    }
    // A part that is off leaves nothing behind.
    let off = "{ networkPolicy: { enabled: false }, podDisruptionBudget: { enabled: false }, rbac: { create: false },
        serviceAccount: { create: false, name: mine }, gatewayClass: { create: false } }";
    let rendered = documents(&render("elsewhere", off));
    let kinds: Vec<&str> = rendered.iter().map(|object| object["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["ConfigMap", "Deployment", "Service"]);
    assert_eq!(rendered[1]["spec"]["template"]["spec"]["serviceAccountName"], "mine");
}

#[test]
fn every_value_is_in_the_schema_and_has_words_beside_it() {
    let values: Value = serde_saphyr::from_str(&text("config/deploy/chart/values.yaml")).unwrap();
    let schema: Value = serde_json::from_str(&text("config/deploy/chart/values.schema.json")).unwrap();
    fn compare(path: &str, values: &Value, schema: &Value) {
        let Some(known) = schema["properties"].as_object() else { return };
        let known: BTreeSet<&String> = known.keys().filter(|key| *key != "global").collect();
        let stated: BTreeSet<&String> = values.as_object().unwrap().keys().collect();
        assert_eq!(known, stated, "{path}");
        for key in stated {
            compare(&format!("{path}.{key}"), &values[key], &schema["properties"][key]);
        }
    }
    compare("values", &values, &schema);
    let used: String = ["_helpers.tpl", "configmap.yaml", "deployment.yaml", "gatewayclass.yaml", "networkpolicy.yaml"]
        .iter()
        .chain(&["poddisruptionbudget.yaml", "rbac.yaml", "service.yaml", "serviceaccount.yaml", "servicemonitor.yaml"])
        .map(|file| text(&format!("config/deploy/chart/templates/{file}")))
        .collect();
    let templates = std::fs::read_dir(in_repository("config/deploy/chart/templates")).unwrap().count();
    assert_eq!(templates, 11, "a template is not looked at here");
    for key in values.as_object().unwrap().keys() {
        assert!(used.contains(&format!("alues.{key}")) || used.contains(&format!("$values.{key}")), "{key} is unused");
    }
}
