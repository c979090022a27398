//! From a file and the environment to a checked config: parse, override, type, check, resolve paths.

use std::collections::BTreeMap;
use std::path::Path;

use super::de::collect;
use super::overrides::{Overrides, PREFIX, apply, overrides};
use super::problem::{Check, ConfigErrors, Report, suggestion};
use super::registry::{Kind, Registry, Section};
use super::source::SourceConfig;
use super::tree::{Node, Origin, Step, Value};
use super::{Config, ConfigProblem};

/// Reads config files. Cheap to clone.
#[derive(Clone)]
pub struct Loader {
    pub(super) registry: Registry,
    overrides: Overrides,
}

impl Loader {
    /// Reads files with the sections of a registry.
    pub fn new(registry: Registry) -> Self {
        Self { registry, overrides: Overrides::new() }
    }

    /// Lets environment variables override what is in the file.
    #[must_use]
    pub fn with_env(mut self, env: impl IntoIterator<Item = (String, String)>) -> Self {
        self.overrides = overrides(env);
        self
    }

    /// Sets a key as an environment variable would, over what the environment says: for arguments of the
    /// command line, which then outlive a reload. `path` is written like `log.level`.
    #[must_use]
    pub fn with_override(mut self, path: &str, value: impl Into<String>) -> Self {
        let name = path.split('.').map(str::to_ascii_uppercase).collect::<Vec<_>>().join("__");
        self.overrides.insert(format!("{PREFIX}{name}"), value.into());
        self
    }

    /// Reads a config file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(&self, path: &Path) -> Result<Config, ConfigErrors> {
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
        self.parse(&text, path)
    }

    /// Reads the text of a config file; its path is for problems and for what relative paths start from.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(&self, text: &str, path: &Path) -> Result<Config, ConfigErrors> {
        let mut report = Report::new(&path.display().to_string());
        let mut tree = match Node::parse(text) {
            Ok(tree) => tree,
            Err(error) => {
                report.add(error.origin.as_ref(), &[], error.reason);
                return Err(report.into_errors());
            }
        };
        if !matches!(tree.value, Value::Map(_)) {
            report.add(Some(&tree.origin), &[], "a config is a mapping of sections, such as `admin:`");
            return Err(report.into_errors());
        }
        apply(&self.overrides, &mut tree, &mut report);
        let base = path.parent().unwrap_or(Path::new(""));
        let config = self.read(&mut tree, base, &mut report);
        match config {
            Some(config) if report.is_empty() => Ok(config),
            _ => Err(report.into_errors()),
        }
    }

    fn read(&self, tree: &mut Node, base: &Path, report: &mut Report) -> Option<Config> {
        // The open sections are typed by whoever registered them, the rest by `Config`.
        let sources = tree.take("sources");
        let sources = sources.map(|mut entry| self.sources(&mut entry.node, base, report));
        let correlate = tree.take("correlate");
        let correlate = correlate.map(|mut entry| {
            let path = [Step::Key("correlate".to_owned())];
            named(&self.registry.correlations, &mut entry.node, &path, "correlation", base, report)
        });
        let others = self.publishers(tree, base, report);
        let mut config: Config = collect(tree, &[], report)?;
        config.sources = sources.unwrap_or_default();
        config.correlate = correlate.unwrap_or_default();
        config.publish.others = others;
        config.check(&mut Check { tree, outer: Vec::new(), prefix: Vec::new(), report });
        config.resolve(base);
        Some(config)
    }

    fn publishers(&self, tree: &mut Node, base: &Path, report: &mut Report) -> BTreeMap<String, Section> {
        let path = [Step::Key("publish".to_owned())];
        let Value::Map(entries) = &mut tree.value else { return BTreeMap::new() };
        let Some(publish) = entries.iter_mut().find(|entry| entry.key == "publish") else { return BTreeMap::new() };
        let Value::Map(inside) = &mut publish.node.value else { return BTreeMap::new() };
        let (ours, others) = std::mem::take(inside).into_iter().partition(|entry| entry.key == "json");
        *inside = ours;
        let mut others = Node { origin: publish.origin.clone(), value: Value::Map(others) };
        named(&self.registry.publishers, &mut others, &path, "publisher", base, report)
    }

    fn sources(&self, node: &mut Node, base: &Path, report: &mut Report) -> Vec<SourceConfig> {
        let path = vec![Step::Key("sources".to_owned())];
        if let Value::Untyped(text) = &node.value {
            let parsed = Node::parse(text).map(|mut parsed| {
                parsed.mark_all(&node.origin);
                parsed
            });
            match parsed {
                Ok(parsed) => *node = parsed,
                Err(error) => report.add(Some(&node.origin), &path, error.reason),
            }
        }
        let place = node.origin.clone();
        let items = match &mut node.value {
            Value::List(items) => items,
            Value::Null => return Vec::new(),
            _ => {
                report.add(Some(&place), &path, "must be a list of sources, each with `name` and `kind`");
                return Vec::new();
            }
        };
        let mut sources: Vec<SourceConfig> = Vec::new();
        for (index, item) in items.iter_mut().enumerate() {
            let mut path = path.clone();
            path.push(Step::Index(index));
            let Some((source, name_at)) = self.source(item, &path, base, report) else { continue };
            if sources.iter().any(|other| other.name == source.name) {
                path.push(Step::Key("name".to_owned()));
                report.add(Some(&name_at), &path, format!("another source is called `{}` already", source.name));
            }
            sources.push(source);
        }
        sources
    }

    fn source(
        &self,
        node: &mut Node,
        path: &[Step],
        base: &Path,
        report: &mut Report,
    ) -> Option<(SourceConfig, Origin)> {
        if !matches!(node.value, Value::Map(_)) {
            report.add(Some(&node.origin), path, "must be a mapping with `name` and `kind`");
            return None;
        }
        let name = word(node, "name", path, report);
        let kind = word(node, "kind", path, report);
        if let Some((name, at)) = &name {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if name.is_empty() || !name.chars().all(plain) {
                let path: Vec<Step> = path.iter().cloned().chain([Step::Key("name".to_owned())]).collect();
                report.add(
                    Some(at),
                    &path,
                    "may have letters, digits, `-`, `_` and `.` only: it stands in object keys",
                );
            }
        }
        let (kind, at) = kind?;
        let Some(registered) = self.registry.sources.get(&kind) else {
            let path: Vec<Step> = path.iter().cloned().chain([Step::Key("kind".to_owned())]).collect();
            let known = self.registry.sources.keys().map(String::as_str);
            report.add(Some(&at), &path, format!("there is no source kind `{kind}`{}", suggestion(&kind, known)));
            return None;
        };
        let section = (registered.parse)(node, path, base, report)?;
        let (name, at) = name?;
        Some((SourceConfig { name, kind, section }, at))
    }
}

/// For keys that were taken out of the tree and read already: serde then knows their names.
pub(super) fn read_before<'de, D: serde::Deserializer<'de>, T: Default>(_: D) -> Result<T, D::Error> {
    Ok(T::default())
}

/// Takes a required word out of a mapping.
fn word(node: &mut Node, key: &str, path: &[Step], report: &mut Report) -> Option<(String, Origin)> {
    let path: Vec<Step> = path.iter().cloned().chain([Step::Key(key.to_owned())]).collect();
    let Some(mut entry) = node.take(key) else {
        report.add(Some(&node.origin), &path, format!("the key `{key}` is required"));
        return None;
    };
    let text = collect::<String>(&mut entry.node, &path, report)?;
    Some((text, entry.node.origin))
}

/// Reads a mapping from names to sections that were registered under them.
fn named(
    kinds: &BTreeMap<String, Kind>,
    node: &mut Node,
    path: &[Step],
    what: &str,
    base: &Path,
    report: &mut Report,
) -> BTreeMap<String, Section> {
    let place = node.origin.clone();
    let entries = match &mut node.value {
        Value::Map(entries) => entries,
        Value::Null => return BTreeMap::new(),
        _ => {
            report.add(Some(&place), path, format!("must be a mapping from the name of a {what} to its keys"));
            return BTreeMap::new();
        }
    };
    let mut sections = BTreeMap::new();
    for entry in entries {
        let path: Vec<Step> = path.iter().cloned().chain([Step::Key(entry.key.clone())]).collect();
        let Some(kind) = kinds.get(&entry.key) else {
            let known: Vec<&str> =
                kinds.keys().map(String::as_str).chain((what == "publisher").then_some("json")).collect();
            let hint = suggestion(&entry.key, known.into_iter());
            report.add(Some(&entry.origin), &path, format!("there is no {what} `{}`{hint}", entry.key));
            continue;
        };
        if let Some(section) = (kind.parse)(&mut entry.node, &path, base, report) {
            sections.insert(entry.key.clone(), section);
        }
    }
    sections
}

/// The one problem of a file that cannot be read.
pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> ConfigErrors {
    let reason = format!("cannot read the config file: {error}; check the path given with --config");
    ConfigErrors { problems: vec![ConfigProblem { place: path.display().to_string(), key: String::new(), reason }] }
}
