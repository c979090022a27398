//! Golden cases: one folder a case below `tests/goldens`, with its manifests in `input.yaml` (and those of further
//! sources in `input.SOURCE.yaml`), the model that they become in `model.yaml`, what proxies are sent in `xds.yaml`, and
//! what every object is told in `status.yaml`. `TIDEGATE_BLESS=1 cargo test --test goldens` writes the results anew, to
//! be read in the diff.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tidegate::correlate::{Outputs, Settings, build};
use tidegate::publish::step;
use tidegate::publish::xds::{self, XdsPublisher};
use tidegate::resource::{self, KnownKind};
use tidegate_actors::correlation::{Collection, Graph};
use tidegate_actors::env::Env;
use tidegate_actors::object::Decoder;
use tidegate_actors::problem::Problems;

/// The results of one case, by file name.
type Results = BTreeMap<&'static str, Value>;

fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
    let mut cases: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.is_dir());
    cases.sort();
    assert!(cases.len() > 20, "only {} cases", cases.len());
    cases
}

/// The sources of a case, in the order of its configuration: `input.yaml` is the source `input`, which comes first,
/// `input.NAME.yaml` the source `NAME`.
fn sources(case: &Path) -> Vec<(String, PathBuf)> {
    let files = fs::read_dir(case).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> =
        files.filter_map(|file| Some(file.strip_prefix("input.")?.strip_suffix(".yaml")?.to_owned())).collect();
    names.sort();
    let others = names.into_iter().map(|name| (name.clone(), case.join(format!("input.{name}.yaml"))));
    std::iter::once(("input".to_owned(), case.join("input.yaml"))).chain(others).collect()
}

/// A case as it is read: its sources in order, and their documents.
struct Case {
    settings: Settings,
    documents: Vec<(String, Value)>,
}

fn read(case: &Path) -> Case {
    let sources = sources(case);
    let settings =
        Settings { sources: sources.iter().map(|(name, _)| name.as_str().into()).collect(), ..Settings::default() };
    let mut documents = Vec::new();
    for (source, file) in sources {
        let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{file:?}: {e}"));
        let parsed: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap_or_else(|e| panic!("{file:?}: {e}"));
        documents.extend(parsed.into_iter().filter(|doc| !doc.is_null()).map(|doc| (source.clone(), doc)));
    }
    Case { settings, documents }
}

fn kind_of<'a>(kinds: &'a [KnownKind], document: &Value) -> &'a KnownKind {
    let api_version = document["apiVersion"].as_str().unwrap();
    let kind = document["kind"].as_str().unwrap();
    let is_it =
        |known: &&KnownKind| known.resource_type.kind() == kind && known.resource_type.api_version() == api_version;
    kinds.iter().find(is_it).unwrap_or_else(|| panic!("no kind {api_version} {kind}"))
}

fn run(case: &Case) -> Results {
    let problems = Problems::default();
    let mut graph = Graph::new(&Env::system(), &problems);
    let outputs = build(&mut graph, &case.settings);
    let kinds = resource::kinds();
    for (source, document) in &case.documents {
        let resource_type = &kind_of(&kinds, document).resource_type;
        let decoder =
            Decoder::new(source.as_str().into(), resource_type.clone()).with_default_namespace("default".into());
        let object = Arc::new(decoder.decode(document.to_string()).unwrap());
        graph.feed(resource_type, object.key(), Some(&object));
    }
    graph.commit(1, None);
    results(&graph, &outputs, &problems)
}

fn results(graph: &Graph, outputs: &Outputs, problems: &Problems) -> Results {
    fn values<K: tidegate_actors::correlation::Key, V: tidegate_actors::correlation::Value + serde::Serialize>(
        graph: &Graph,
        of: Collection<K, V>,
    ) -> Value {
        graph.list(of).into_iter().map(|(_, value)| serde_json::to_value(&*value).unwrap()).collect()
    }
    let model = json!({
        "listeners": values(graph, outputs.listeners),
        "virtualHosts": values(graph, outputs.virtual_hosts),
        "clusters": values(graph, outputs.clusters),
        "endpoints": values(graph, outputs.endpoints),
        "secrets": values(graph, outputs.secrets),
    });
    let problems: Vec<String> = problems.list().iter().map(|(_, problem)| problem.to_string()).collect();
    let status = json!({ "statuses": values(graph, outputs.statuses), "problems": problems });
    BTreeMap::from([("model.yaml", model), ("status.yaml", status), ("xds.yaml", sent(graph, outputs))])
}

/// What proxies are sent, by type; nothing of it that the text form cannot name, and nothing that the publisher
/// warns of.
fn sent(graph: &Graph, outputs: &Outputs) -> Value {
    let problems = Problems::default();
    let publisher = XdsPublisher::new(xds::Options::default(), problems.clone(), Env::system());
    publisher.apply(&step::whole(graph, outputs, 1));
    assert_eq!(problems.list(), []);
    let mut sent: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for text in publisher.text().unwrap() {
        assert_eq!(text.unknown, [""; 0], "{}", text.name);
        sent.entry(text.kind.label()).or_default().push(text.resource);
    }
    json!(sent)
}

#[test]
fn every_case_comes_out_as_its_files_say() {
    let bless = std::env::var_os("TIDEGATE_BLESS").is_some();
    let mut failed = Vec::new();
    for case in cases() {
        for (file, value) in run(&read(&case)) {
            let path = case.join(file);
            let text = serde_saphyr::to_string(&value).unwrap();
            if bless {
                fs::write(&path, text).unwrap();
                continue;
            }
            let expected = fs::read_to_string(&path).unwrap_or_default();
            if expected != text {
                let diff = similar::TextDiff::from_lines(&expected, &text);
                failed.push(format!("{}\n{}", path.display(), diff.unified_diff().context_radius(4)));
            }
        }
    }
    assert!(failed.is_empty(), "{}\nTIDEGATE_BLESS=1 writes the files anew", failed.join("\n"));
}

#[test]
fn the_order_in_which_objects_arrive_changes_nothing() {
    for case in cases() {
        let mut read = read(&case);
        let forward = run(&read);
        read.documents.reverse();
        assert_eq!(run(&read), forward, "{case:?}");
    }
}

#[test]
fn results_read_back_as_what_was_written() {
    for case in cases() {
        for (file, value) in run(&read(&case)) {
            let text = fs::read_to_string(case.join(file)).unwrap();
            let read: Value = serde_saphyr::from_str(&text).unwrap();
            assert_eq!(read, value, "{case:?} {file}");
        }
    }
}

#[test]
fn no_result_shows_a_private_key() {
    for case in cases() {
        let read = read(&case);
        let keys: Vec<String> = read.documents.iter().filter_map(|(_, document)| key(document)).collect();
        for (file, value) in run(&read) {
            let text = value.to_string();
            assert!(!text.contains("PRIVATE KEY"), "{case:?} {file}");
            // Bytes are shown as base64, which no search for words would find.
            assert!(keys.iter().all(|key| !text.contains(key)), "{case:?} {file}");
        }
    }
}

/// The key of a Secret, in base64; enough of it to be told from others.
fn key(document: &Value) -> Option<String> {
    let plain = document["stringData"]["tls.key"].as_str().map(|key| STANDARD.encode(key));
    let key = plain.or_else(|| document["data"]["tls.key"].as_str().map(str::to_owned))?;
    Some(key[..key.len().min(48)].to_owned()).filter(|key| key.len() > 16)
}
