//! The config file: strictness, places, suggestions, overrides, the annotated file, the schema, hot reload.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate::config::reload::{Outcome, Reload, SCOPE};
use tidegate::config::{
    Changes, Check, Config, ConfigErrors, Directory, Kubernetes, Loader, Period, Registry, SectionType, Switch, Watches,
};
use tidegate_actors::env::Env;
use tidegate_actors::id::{ResourceType, Scope};
use tidegate_actors::problem::Problems;

fn mk_loader() -> Loader {
    Loader::new(Registry::default())
}

fn mk_env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn parse(text: &str) -> Result<Config, ConfigErrors> {
    mk_loader().parse(text, Path::new("etc/tidegate.yaml"))
}

fn problems(text: &str) -> Vec<String> {
    let errors = parse(text).expect_err("the config should be refused");
    errors.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn an_empty_config_is_all_defaults() {
    let mut config = parse("# nothing\n").unwrap();
    assert_eq!(config.data_dir, Path::new("etc/data"));
    config.data_dir = "data".into();
    assert_eq!(config, Config::default());
}

#[test]
fn an_unknown_key_is_refused_with_its_place_and_a_suggestion() {
    let found = problems("proxy:\n  bnd: 127.0.0.1\n");
    assert_eq!(found, ["etc/tidegate.yaml:2:3: proxy.bnd: unknown key `bnd`; did you mean `bind`?"]);
    let found = problems("sorces: []\n");
    assert_eq!(found, ["etc/tidegate.yaml:1:1: sorces: unknown key `sorces`; did you mean `sources`?"]);
}

#[test]
fn everything_that_is_wrong_is_said_at_once_in_the_order_of_the_file() {
    let text = "\
admin:
  address: nowhere
  colour: red
sources:
  - name: a
    kind: directory
    pth: x
  - name: a
    kind: direktory
  - kind: directory
    path: y
proxy:
  managed: perhaps
  concurrency: 0
  drain_timeout: 5
xds:
  max_clients: many
shutdown_timeout: 3 fortnights
";
    let found = problems(text);
    let has = |line: u32, part: &str| {
        let place = format!("etc/tidegate.yaml:{line}:");
        assert!(found.iter().any(|p| p.starts_with(&place) && p.contains(part)), "{line} {part}: {found:#?}");
    };
    has(2, "admin.address");
    has(3, "unknown key `colour`");
    has(7, "did you mean `path`?");
    has(5, "sources[0]: the key `path` is required");
    has(9, "there is no source kind `direktory`; did you mean `directory`?");
    has(10, "sources[2].name: the key `name` is required");
    has(13, "expected true, false or auto");
    has(14, "proxy.concurrency: must be at least 1");
    has(15, "expected a duration such as 5s");
    has(17, "xds.max_clients: expected u32, found text");
    has(18, "expected a duration such as 5s");
    assert_eq!(found.len(), 11, "{found:#?}");
}

#[test]
fn a_word_that_is_not_allowed_is_answered_with_those_that_are() {
    let found = problems("log:\n  format: jsno\n");
    let expected =
        "etc/tidegate.yaml:2:11: log.format: `jsno` is not one of the words allowed here; did you mean `json`?";
    assert_eq!(found, [expected]);
    let found = problems("log:\n  level: verbose\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("`verbose` is not a log level; known are off, error, warn"), "{found:?}");
}

#[test]
fn yaml_that_does_not_parse_names_the_line_and_a_second_definition_is_no_silent_override() {
    let found = problems("admin:\n  address: [1\nproxy: {}\n");
    assert!(found[0].starts_with("etc/tidegate.yaml:3:"), "{found:?}");
    let found = problems("data_dir: a\ndata_dir: b\n");
    assert!(found[0].contains("etc/tidegate.yaml:2:") && found[0].contains("duplicate"), "{found:?}");
    assert_eq!(problems("- a list\n").len(), 1);
}

#[test]
fn contradictions_between_keys_are_found() {
    let found = problems("admin: {address: '127.0.0.1:18000'}\n");
    assert!(found[0].contains("xds.address: 127.0.0.1:18000 is the address of `admin.address` already"), "{found:?}");
    let found = problems("admin: {token: 0123456789abcdef, token_file: t}\n");
    assert!(found[0].contains("both set"), "{found:?}");
    let found = problems("xds: {address: '0.0.0.0:18000'}\n");
    assert!(
        found[0].contains("xds.address: is not a loopback address") && found[0].contains("set `xds.tls`"),
        "{found:?}"
    );
    let tls = "{cert_file: c, key_file: k, client_ca_file: a}";
    let found = problems(&format!("xds: {{address: '0.0.0.0:18000', tls: {tls}}}\n"));
    assert!(found[0].contains("xds.clients: lets nobody in"), "{found:?}");
    let found = problems("xds: {clients: [{identity: '*', gateways: ['*']}]}\n");
    assert!(found[0].contains("xds.clients: counts only with `xds.tls`"), "{found:?}");
    let clients =
        "[{identity: '', gateways: []}, {identity: a.example, gateways: [a, '*/b', 'a/b/c', a/b, 'a/*', '*']}]";
    let found = problems(&format!("xds: {{tls: {tls}, clients: {clients}}}\n"));
    assert_eq!(found.len(), 5, "{found:?}");
    assert!(found[0].contains("xds.clients[0].identity: must be a URI or a DNS name"), "{found:?}");
    assert!(found[1].contains("xds.clients[0].gateways: lists none"), "{found:?}");
    assert!(found[4].contains("xds.clients[1].gateways[2]: must be namespace/name, namespace/* or *"), "{found:?}");
    let found = problems("sources: [{name: a, kind: directory, path: x}, {name: a, kind: directory, path: y}]\n");
    assert!(found[0].contains("sources[1].name: another source is called `a` already"), "{found:?}");
    let found = problems("watches:\n  allow: ['*.example.com']\n  initial:\n  - {resource: a.other.org/v1, kind: A}\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("etc/tidegate.yaml:4:"), "{found:?}");
    assert!(found[0].contains("add `a.other.org/v1` to watches.allow"), "{found:?}");
}

#[test]
fn an_environment_variable_overrides_and_a_bad_one_is_named() {
    let env = mk_env(&[
        ("TIDEGATE__PROXY__BIND", "0.0.0.0"),
        ("TIDEGATE__PROXY__MANAGED", "false"),
        ("TIDEGATE__XDS__MAX_CLIENTS", "7"),
        ("TIDEGATE__ADMIN__TOKEN", "12345678901234567890"),
        ("TIDEGATE__SOURCES__0__PATH", "/elsewhere"),
        ("TIDEGATE__WATCHES__ALLOW", "['*.example.com', configmaps]"),
        ("TIDEGATE_ENVOY", "not ours to read"),
    ]);
    let text = "sources:\n- {name: a, kind: directory, path: here}\nproxy: {bind: 127.0.0.2}\n";
    let config = mk_loader().with_env(env).parse(text, Path::new("t.yaml")).unwrap();
    assert_eq!(config.proxy.bind.to_string(), "0.0.0.0");
    assert_eq!(config.proxy.managed, Switch::Off);
    assert_eq!(config.xds.max_clients, 7);
    assert_eq!(config.admin.token.as_ref().unwrap().reveal(), "12345678901234567890");
    assert_eq!(config.sources[0].section::<Directory>().unwrap().path, Path::new("/elsewhere"));
    assert_eq!(config.watches.allow, ["*.example.com", "configmaps"]);

    let env = mk_env(&[("TIDEGATE__PROXY__BNID", "::1"), ("TIDEGATE__XDS__MAX_CLIENTS", "lots")]);
    let errors = mk_loader().with_env(env).parse(text, Path::new("t.yaml")).unwrap_err();
    let found: Vec<String> = errors.problems.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("environment variable TIDEGATE__PROXY__BNID: proxy.bnid: unknown key"), "{found:?}");
    assert!(found[1].starts_with("environment variable TIDEGATE__XDS__MAX_CLIENTS: xds.max_clients"), "{found:?}");
}

#[test]
fn a_token_is_never_shown_not_even_when_it_is_wrong() {
    let config = parse("admin: {token: correct-horse-battery}\n").unwrap();
    assert!(!format!("{config:?}").contains("horse"));
    assert!(!serde_json::to_string(&config).unwrap().contains("horse"));
    for text in ["admin: {token: short-horse}\n", "admin: {token: [horse]}\n", "admin: {token: horse, token: [}\n"] {
        let errors = parse(text).unwrap_err();
        assert!(!errors.to_string().contains("horse"), "{errors}");
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Catalogue {
    /// Where the catalogue is.
    url: String,
    #[serde(default)]
    retries: u8,
}

impl SectionType for Catalogue {
    fn check(&self, check: &mut Check<'_>) {
        check.ensure(self.url.starts_with("http"), "url", "must be an http URL");
    }
}

#[test]
fn another_binary_adds_sections_that_are_checked_like_ours() {
    let registry = Registry::default().source::<Catalogue>("catalogue").publisher::<Catalogue>("mirror");
    let loader = Loader::new(registry.correlation::<Catalogue>("joiner"));
    let text = "
sources:
- {name: c, kind: catalogue, url: 'http://x', retries: 3}
publish: {mirror: {url: 'http://m'}, json: {interval: 2s}}
correlate: {joiner: {url: 'http://j'}}
";
    let config = loader.parse(text, Path::new("t.yaml")).unwrap();
    let expected = Catalogue { url: "http://x".into(), retries: 3 };
    assert_eq!(config.sources[0].section::<Catalogue>(), Some(&expected));
    assert_eq!(config.publisher::<Catalogue>("mirror").unwrap().url, "http://m");
    assert_eq!(config.correlation::<Catalogue>("joiner").unwrap().url, "http://j");
    assert_eq!(config.publish.json.interval, Period::from_secs(2));

    let text = "sources:\n- name: c\n  kind: catalogue\n  url: ftp\n  retris: 3\npublish:\n  miror: {}\n";
    let errors = loader.parse(text, Path::new("t.yaml")).unwrap_err();
    let found: Vec<String> = errors.problems.iter().map(ToString::to_string).collect();
    let expected = [
        "t.yaml:4:8: sources[0].url: must be an http URL",
        "t.yaml:5:3: sources[0].retris: unknown key `retris`; did you mean `retries`?",
        "t.yaml:7:3: publish.miror: there is no publisher `miror`; did you mean `mirror`?",
    ];
    assert_eq!(found, expected);

    let schema = loader.schema();
    let kinds = schema["properties"]["sources"]["items"]["oneOf"].as_array().unwrap();
    assert!(kinds.iter().any(|kind| kind["properties"]["kind"]["const"] == "catalogue"));
    assert!(schema["properties"]["publish"]["properties"]["mirror"].is_object());
    assert!(schema["properties"]["correlate"]["properties"]["joiner"].is_object());
}

fn config_dir() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

#[test]
fn every_config_file_of_ours_parses() {
    let mut seen = 0;
    for entry in std::fs::read_dir(config_dir()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "yaml") {
            Config::load(&path, []).unwrap_or_else(|errors| panic!("{errors}"));
            seen += 1;
        }
    }
    assert!(seen >= 2);
}

#[test]
fn the_annotated_config_states_the_defaults() {
    let text = std::fs::read_to_string(config_dir().join("tidegate.yaml")).unwrap();
    let mut config = mk_loader().parse(&text, Path::new("tidegate.yaml")).unwrap();
    let source = config.sources.remove(0);
    assert_eq!(source.section::<Directory>(), Some(&Directory::new("demo")));
    assert_eq!(config, Config::default());
}

#[test]
fn the_cluster_in_the_annotated_config_states_the_defaults_without_its_comment_signs() {
    let text = std::fs::read_to_string(config_dir().join("tidegate.yaml")).unwrap();
    let lines = text.lines().skip_while(|line| *line != "  # - name: cluster");
    let lines: Vec<_> = lines.map_while(|line| line.strip_prefix("  # ")).collect();
    assert!(lines.len() > 20, "{lines:#?}");
    let config = mk_loader().parse(&format!("sources:\n{}\n", lines.join("\n")), Path::new("t.yaml")).unwrap();
    assert_eq!(config.sources[0].section::<Kubernetes>(), Some(&Kubernetes::default()));
}

#[test]
fn what_is_wrong_with_a_cluster_is_said_at_its_place() {
    let text = "\
sources:
- name: a
  kind: kubernetes
  namespaces: [demo, Demo, demo]
  page_size: 0
  watch_timeout: 5ms
  types:
  - {resource: Secrets/v1}
  - {resource: services, labels: 'a in (', fields: nonsense}
  - {resource: services, namespaces: ['-']}
  max_object_size: 1
  discover: ['*.example.com', widgets.example.com/v1, '*', a/b/c]
  events: {rate: 0, burst: 0}
";
    let found = problems(text);
    let has = |line: u32, part: &str| {
        let place = format!("etc/tidegate.yaml:{line}:");
        assert!(found.iter().any(|p| p.starts_with(&place) && p.contains(part)), "{line} {part}: {found:#?}");
    };
    has(12, "discover[2]: must name a group");
    has(12, "discover[3]: must be like *.example.com");
    has(4, "sources[0].namespaces[1]: is no namespace's name");
    has(4, "sources[0].namespaces[2]: is listed twice");
    has(5, "page_size: must be between 1 and 10000");
    has(6, "watch_timeout: must be between 1s and 1h");
    has(8, "types[0].resource: must be like secrets");
    has(9, "types[1].labels");
    has(9, "types[1].fields: must be like");
    has(10, "types[2].namespaces[0]: is no namespace's name");
    has(10, "is the second entry for this resource type");
    has(11, "max_object_size: must be at least 1KiB");
    has(13, "events.rate: must be at least 1; `write: false` writes nothing");
    has(13, "events.burst: must be at least 1");
    assert_eq!(found.len(), 14, "{found:#?}");
}

#[test]
fn a_shard_says_which_gateways_are_its_own_and_needs_a_lease_of_its_own() {
    let cluster = |lease: &str| format!("sources:\n- {{name: east, kind: kubernetes, status: {{{lease}}}}}\n");
    let shard = "gateway: {classes: [edge], selector: 'shard in (a, b)'}\n";
    let config = parse(&format!("{}{shard}", cluster("lease: {name: tidegate-a}"))).unwrap();
    assert!(config.gateway.is_shard());
    assert_eq!(config.gateway.labels().to_string(), "shard in (a,b)");
    for harmless in [cluster("write: false"), String::new()] {
        assert!(parse(&format!("{harmless}{shard}")).is_ok(), "{harmless}");
    }
    assert!(parse(&cluster("")).is_ok_and(|config| !config.gateway.is_shard()));

    let found = problems(&format!("{}gateway:\n  selector: shard=a\n", cluster("")));
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("etc/tidegate.yaml:4:") && found[0].contains("gateway.selector"), "{found:?}");
    assert!(found[0].contains("`status.lease.name` of the source `east`"), "{found:?}");
    let found = problems(&format!("{}gateway: {{classes: [edge]}}\n", cluster("")));
    assert!(found[0].contains("gateway.classes: makes this a shard"), "{found:?}");
    for (wrong, reason) in [
        ("classes: [a, a]", "gateway.classes[1]: is listed twice"),
        ("classes: [A]", "is no GatewayClass's name"),
        ("selector: '=a'", "gateway.selector: label selector `=a`, column 1"),
        ("selector: ''", "selects everything"),
    ] {
        let found = problems(&format!("gateway: {{{wrong}}}\n"));
        assert!(found.len() == 1 && found[0].contains(reason), "{wrong}: {found:?}");
    }
}

/// Every key of a schema, with `[]` for what is inside a list.
fn schema_keys(path: &str, schema: &Value, keys: &mut Vec<String>) {
    for (name, inside) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        schema_keys(&path, inside, keys);
        keys.push(path);
    }
    let Some(items) = schema.get("items") else { return };
    let alternatives = items["oneOf"].as_array().cloned().unwrap_or_else(|| vec![items.clone()]);
    for item in alternatives {
        schema_keys(&format!("{path}[]"), &item, keys);
    }
}

#[test]
fn the_annotated_config_has_every_key_of_the_schema_with_its_meaning() {
    let text = std::fs::read_to_string(config_dir().join("tidegate.yaml")).unwrap();
    let file: Value = serde_saphyr::from_str(&text).unwrap();
    let mut keys = Vec::new();
    schema_keys("", &mk_loader().schema(), &mut keys);
    assert!(keys.len() > 40 && keys.contains(&"publish.json.interval".to_owned()), "{keys:?}");
    assert!(keys.contains(&"watches.initial[].kind".to_owned()), "{keys:?}");
    for key in &keys {
        let pointer = format!("/{}", key.replace("[]", "/0").replace('.', "/"));
        let last = key.rsplit('.').next().unwrap();
        // What is inside a list that is empty by default stands in a comment.
        let in_comment = text.lines().any(|line| {
            let line = line.trim_start();
            line.starts_with('#') && line.trim_start_matches(['#', ' ', '-']).starts_with(&format!("{last}:"))
        });
        // So does what is inside of something that is not there by default.
        let mut around = pointer.match_indices('/').map(|(at, _)| &pointer[..at]);
        let left_out = key.contains("[]") || around.any(|around| file.pointer(around).is_some_and(Value::is_null));
        assert!(file.pointer(&pointer).is_some() || (left_out && in_comment), "{key} is not in the file");
    }
}

#[test]
fn the_schema_describes_every_key() {
    fn undescribed(path: &str, schema: &Value, found: &mut Vec<String>) {
        for (name, inside) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            if inside["description"].as_str().unwrap_or_default().is_empty() {
                found.push(path.clone());
            }
            undescribed(&path, inside, found);
        }
    }
    let mut found = Vec::new();
    undescribed("", &mk_loader().schema(), &mut found);
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn durations_and_sizes_round_trip() {
    for (text, millis) in [("500ms", 500), ("5s", 5_000), ("1m30s", 90_000), ("2h", 7_200_000), ("0", 0), ("0s", 0)] {
        let period: Period = serde_json::from_value(Value::from(text)).unwrap();
        assert_eq!(period.as_millis(), millis, "{text}");
        let again: Period = serde_json::from_value(serde_json::to_value(period).unwrap()).unwrap();
        assert_eq!(again, period);
    }
    for bad in ["", "5", "s", "5 fortnights", "-5s", "99999999999999999999s", "9999999999999999h"] {
        assert!(serde_json::from_value::<Period>(Value::from(bad)).is_err(), "{bad}");
    }
}

#[test]
fn the_allowlist_matches_versions_groups_and_stars() {
    let mk = |allow: &[&str]| Watches { allow: allow.iter().map(|a| (*a).to_owned()).collect(), initial: vec![] };
    let widget = ResourceType::new("example.com", "v1", "Widget", "widgets", Scope::Namespaced);
    let config_map = ResourceType::new("", "v1", "ConfigMap", "configmaps", Scope::Namespaced);
    for allow in ["widgets.example.com/v1", "widgets.example.com", "*.example.com", "*.example.com/v1", "*", "*/v1"] {
        assert!(mk(&[allow]).allows(&widget), "{allow}");
    }
    for allow in
        ["widgets.example.com/v2", "gadgets.example.com", "*.example.org", "example.com", "*.example.com/v", ""]
    {
        assert!(!mk(&[allow]).allows(&widget), "{allow}");
    }
    assert!(mk(&["configmaps"]).allows(&config_map));
    assert!(!mk(&["*.example.com"]).allows(&config_map));
    assert!(!mk(&[]).allows(&widget));
}

#[test]
fn a_change_says_which_sections_and_what_needs_a_restart() {
    let old = parse("proxy: {bind: 127.0.0.1}\n").unwrap();
    let new = "proxy: {bind: 127.0.0.2, concurrency: 2}\nlog: {level: debug}\nadmin: {token: 0123456789abcdef}\n";
    let new = parse(new).unwrap();
    let changes = Changes::between(&old, &new);
    assert_eq!(changes.sections().into_iter().collect::<Vec<_>>(), ["admin", "log", "proxy"]);
    assert_eq!(changes.needing_restart().collect::<Vec<_>>(), ["admin.token", "proxy.concurrency"]);
    assert!(changes.touch("log") && changes.touch("log.level") && !changes.touch("xds"));
    assert!(Changes::between(&old, &old).is_empty());
}

#[test]
fn a_bad_reload_keeps_the_running_config_and_a_good_one_clears_the_problem() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tidegate.yaml");
    let write = |text: &str| std::fs::write(&path, text).unwrap();
    write("log: {level: info}\n");
    let running = Arc::new(mk_loader().load(&path).unwrap());
    let problems = Problems::default();
    let mut reload = Reload::new(&path, mk_loader(), running, Env::system(), problems.clone());
    assert!(matches!(reload.look(), Outcome::Same));
    assert!(matches!(reload.look(), Outcome::Unchanged));

    write("log:\n  level: info\n  levle: debug\n");
    assert!(matches!(reload.look(), Outcome::Refused(_)));
    assert_eq!(reload.running().log.level, "info");
    let standing = problems.list();
    assert_eq!(standing.len(), 1);
    assert_eq!(standing[0].0, SCOPE);
    assert!(standing[0].1.place.ends_with("tidegate.yaml:3:3"), "{standing:?}");

    write("log: {level: debug}\nadmin: {address: '127.0.0.1:1'}\n");
    let Outcome::Changed(reloaded) = reload.look() else { panic!("expected a change") };
    assert_eq!(reloaded.config.log.level, "debug");
    let keys: Vec<&str> = reloaded.changes.keys.iter().map(String::as_str).collect();
    assert_eq!(keys, ["admin.address", "log.level"]);
    let standing = problems.list();
    assert_eq!(standing.len(), 1);
    assert_eq!(standing[0].1.field, "admin.address");

    std::fs::remove_file(&path).unwrap();
    assert!(matches!(reload.look(), Outcome::Refused(_)));
    assert!(matches!(reload.look(), Outcome::Unchanged));
    assert_eq!(reload.running().log.level, "debug");

    // Back to what the process started with: nothing waits for a restart any more.
    write("log: {level: info}\n");
    assert!(matches!(reload.look(), Outcome::Changed(_)));
    assert!(problems.list().is_empty());
}

#[tokio::test]
async fn a_replaced_link_to_the_config_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let mk_version = |name: &str, text: &str| {
        std::fs::create_dir(dir.path().join(name)).unwrap();
        std::fs::write(dir.path().join(name).join("tidegate.yaml"), text).unwrap();
    };
    mk_version("v1", "log: {level: info}\n");
    mk_version("v2", "log: {level: trace}\n");
    let link = |target: &str| {
        std::os::unix::fs::symlink(target, dir.path().join("data.tmp")).unwrap();
        std::fs::rename(dir.path().join("data.tmp"), dir.path().join("..data")).unwrap();
    };
    link("v1");
    let path = dir.path().join("tidegate.yaml");
    std::os::unix::fs::symlink("..data/tidegate.yaml", &path).unwrap();

    let running = Arc::new(mk_loader().load(&path).unwrap());
    let reload = Reload::new(&path, mk_loader(), running, Env::system(), Problems::default());
    let (told, mut changed) = tokio::sync::mpsc::unbounded_channel();
    let task = tokio::spawn(reload.run(move |reloaded| {
        let _ = told.send(reloaded.config.log.level.clone());
    }));
    link("v2");
    let level = tokio::time::timeout(std::time::Duration::from_secs(20), changed.recv()).await.unwrap();
    assert_eq!(level.as_deref(), Some("trace"));
    task.abort();
}
