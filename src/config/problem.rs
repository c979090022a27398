//! What is wrong with a config: all of it at once, each with its place and what to do about it.

use std::fmt;

use super::tree::{Node, Origin, Step, show_path};

/// One thing that is wrong with a config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// `config/tidegate.yaml:12:3`, or `environment variable TIDEGATE__PROXY__BIND`.
    pub place: String,
    /// The key, such as `sources[0].path`; empty for the file as a whole.
    pub key: String,
    /// What is wrong, and what to do.
    pub reason: String,
}

/// `place: key: reason`.
impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.reason)
    }
}

/// Why a config cannot be used: at least one problem, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    /// All of them.
    pub problems: Vec<ConfigProblem>,
}

/// One problem a line.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Problems while they are being collected.
pub(crate) struct Report {
    file: String,
    found: Vec<(u64, u64, ConfigProblem)>,
}

impl Report {
    pub fn new(file: &str) -> Self {
        Self { file: file.to_owned(), found: Vec::new() }
    }

    pub fn add(&mut self, origin: Option<&Origin>, path: &[Step], reason: impl Into<String>) {
        let (line, column, place) = match origin {
            // The parser counts from one; zero means that it does not know.
            Some(Origin::File { line, column }) if *line > 0 => {
                (*line, *column, format!("{}:{line}:{column}", self.file))
            }
            Some(Origin::Environment(name)) => (u64::MAX, 0, format!("environment variable {name}")),
            _ => (0, 0, self.file.clone()),
        };
        let problem = ConfigProblem { place, key: show_path(path), reason: reason.into() };
        if !self.found.iter().any(|(_, _, known)| *known == problem) {
            self.found.push((line, column, problem));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub fn into_errors(mut self) -> ConfigErrors {
        self.found.sort_by_key(|(line, column, _)| (*line, *column));
        ConfigErrors { problems: self.found.into_iter().map(|(_, _, problem)| problem).collect() }
    }
}

/// Handed to a section's own checks: says what is wrong with which of its keys; the place is looked up.
pub struct Check<'a> {
    /// The node that paths are looked up from, and its own path, for show.
    pub(crate) tree: &'a Node,
    pub(crate) outer: Vec<Step>,
    /// The section's path under `tree`.
    pub(crate) prefix: Vec<Step>,
    pub(crate) report: &'a mut Report,
}

impl Check<'_> {
    /// Reports a problem with a key of this section, written as `path` or `allow[2]` or `json.path`.
    pub fn problem(&mut self, key: &str, reason: impl Into<String>) {
        let mut path = self.prefix.clone();
        path.extend(parse_path(key));
        let origin = self.tree.place_of(&path).clone();
        let shown: Vec<Step> = self.outer.iter().chain(&path).cloned().collect();
        self.report.add(Some(&origin), &shown, reason);
    }

    /// Reports a problem with `key` unless `good`.
    pub fn ensure(&mut self, good: bool, key: &str, reason: &str) {
        if !good {
            self.problem(key, reason);
        }
    }

    /// The checks of a part of this section.
    pub(crate) fn inside(&mut self, key: &str) -> Check<'_> {
        let mut prefix = self.prefix.clone();
        prefix.extend(parse_path(key));
        Check { tree: self.tree, outer: self.outer.clone(), prefix, report: self.report }
    }
}

fn parse_path(key: &str) -> Vec<Step> {
    let mut path = Vec::new();
    for part in key.split('.').filter(|part| !part.is_empty()) {
        let (name, indexes) = part.split_once('[').map_or((part, ""), |(name, rest)| (name, rest));
        if !name.is_empty() {
            path.push(Step::Key(name.to_owned()));
        }
        let indexes = indexes.split(['[', ']']).filter_map(|index| index.parse().ok());
        path.extend(indexes.map(Step::Index));
    }
    path
}

/// `; did you mean "bind"?`, or the list of what is known.
pub(crate) fn suggestion<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    match closest(word, known.iter().copied()) {
        Some(best) => format!("; did you mean `{best}`?"),
        None if known.is_empty() => String::new(),
        None => format!("; known are {}", known.join(", ")),
    }
}

/// The known word that is most like one that is not known, if any is like it at all.
pub(crate) fn closest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.map(|k| (strsim::jaro_winkler(word, k), k));
    let best = scored.max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.filter(|(score, _)| *score > 0.75).map(|(_, best)| best)
}
