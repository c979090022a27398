//! Faults by script: which requests, from the how-manieth on, how often, and what happens to them. The server asks once
//! for each request; what a watch's stream suffers is decided here and done in `watch`.

use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::status::Status;

/// Which requests are meant. An empty field means any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct When {
    /// `list`, `watch`, `get`, `create`, `update`, `patch`, `delete`, `deletecollection`; `path` for what is no resource.
    pub verb: String,
    /// `services`, or `httproutes.gateway.networking.k8s.io`.
    pub resource: String,
    /// The namespace in the path.
    pub namespace: String,
    /// The name in the path.
    pub name: String,
    /// What the path begins with.
    pub path: String,
    /// Only a list's later pages (true), or only its first (false).
    pub continued: Option<bool>,
    /// How many such requests pass unharmed first.
    pub after: u32,
}

/// What a request is, to [`When`].
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The verb.
    pub verb: &'a str,
    /// The plural; empty for what is no resource.
    pub plural: &'a str,
    /// Plural and group.
    pub id: &'a str,
    /// The namespace.
    pub namespace: &'a str,
    /// The name.
    pub name: &'a str,
    /// The path.
    pub path: &'a str,
    /// Whether it goes on with a list.
    pub continued: bool,
}

impl When {
    fn matches(&self, asked: &Asked) -> bool {
        let same = |wanted: &str, is: &str| wanted.is_empty() || wanted == is;
        same(&self.verb, asked.verb)
            && (same(&self.resource, asked.plural) || self.resource == asked.id)
            && same(&self.namespace, asked.namespace)
            && same(&self.name, asked.name)
            && asked.path.starts_with(&self.path)
            && self.continued.is_none_or(|continued| continued == asked.continued)
    }
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Act {
    /// An error is answered; its code is the HTTP status, its `retryAfterSeconds` the header.
    Status {
        /// The body.
        status: Status,
    },
    /// Anything is answered.
    Answer {
        /// The HTTP status.
        code: u16,
        /// The content type.
        #[serde(default)]
        content_type: String,
        /// The body.
        body: String,
    },
    /// The request is taken and never answered.
    Silent,
    /// The connection is closed without an answer; over HTTP/2 the stream is reset.
    Disconnect,
    /// It takes so long.
    Delay {
        /// Milliseconds.
        millis: u64,
    },
    /// Something happens to a watch's stream.
    Stream {
        /// After how many lines.
        #[serde(default)]
        after: usize,
        /// What.
        then: Then,
    },
    /// A list's body breaks off after so many bytes.
    CutBody {
        /// Bytes.
        after: usize,
    },
    /// No bookmarks, not even the one that closes the initial events.
    WithholdBookmarks,
    /// An object comes as something else, in lists and events.
    Replace {
        /// Its name; empty for all.
        #[serde(default)]
        name: String,
        /// What stands in its place: JSON, or not.
        with: String,
    },
    /// An object comes with an annotation of so many bytes.
    Oversize {
        /// Its name; empty for all.
        #[serde(default)]
        name: String,
        /// Bytes.
        bytes: usize,
    },
}

/// What happens to a stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Then {
    /// It ends, as at its timeout.
    Close,
    /// Half a line, and the connection breaks (over HTTP/2: the stream is reset). The line is the next event's, or a
    /// made-up one when there is none.
    Cut,
    /// Half a line, and a proper end.
    Truncate,
    /// Nothing more, and no end either: half-open.
    Silent,
    /// These bytes as they are.
    Write {
        /// A line is not a line without its break.
        text: String,
    },
    /// An ERROR event, and the end.
    Error {
        /// What it carries.
        status: Status,
    },
    /// The last so many events of the type once more, older ones first.
    Replay {
        /// How many.
        events: usize,
    },
    /// Every event from here on twice.
    Duplicate,
    /// Every event from here on so late.
    Slow {
        /// Milliseconds.
        millis: u64,
    },
}

/// A fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Which requests.
    #[serde(default)]
    pub when: When,
    /// How many requests suffer; none named is all.
    #[serde(default)]
    pub times: Option<u32>,
    /// What happens.
    #[serde(rename = "do")]
    pub act: Act,
}

impl Fault {
    /// For every request that is meant.
    pub fn always(when: When, act: Act) -> Self {
        Self { when, times: None, act }
    }

    /// For the next request that is meant.
    pub fn once(when: When, act: Act) -> Self {
        Self { when, times: Some(1), act }
    }

    /// For the next so many.
    pub fn times(when: When, times: u32, act: Act) -> Self {
        Self { when, times: Some(times), act }
    }
}

impl When {
    /// Requests of a verb for a type.
    pub fn of(verb: &str, resource: &str) -> Self {
        Self { verb: verb.to_owned(), resource: resource.to_owned(), ..Self::default() }
    }

    /// Those after the first so many.
    pub fn after(self, after: u32) -> Self {
        Self { after, ..self }
    }
}

/// A fault that stands, with its number.
#[derive(Clone, Debug, Serialize)]
pub struct Standing {
    /// Its number, to lift it by.
    pub id: u64,
    /// How many requests have suffered.
    pub hits: u32,
    #[serde(flatten)]
    fault: Fault,
    #[serde(skip)]
    passed: u32,
}

/// The faults of one server, in the order in which they were added.
#[derive(Default)]
pub struct Faults {
    standing: Mutex<(u64, Vec<Standing>)>,
}

impl Faults {
    /// Adds a fault, and says under which number it stands.
    pub fn add(&self, fault: Fault) -> u64 {
        let mut standing = self.standing.lock();
        standing.0 += 1;
        let id = standing.0;
        standing.1.push(Standing { id, hits: 0, fault, passed: 0 });
        id
    }

    /// Lifts one.
    pub fn remove(&self, id: u64) {
        self.standing.lock().1.retain(|standing| standing.id != id);
    }

    /// Lifts all.
    pub fn clear(&self) {
        self.standing.lock().1.clear();
    }

    /// What stands, also what is used up.
    pub fn standing(&self) -> Vec<Standing> {
        self.standing.lock().1.clone()
    }

    /// How many requests a fault has hit.
    pub fn hits(&self, id: u64) -> u32 {
        self.standing.lock().1.iter().find(|standing| standing.id == id).map_or(0, |standing| standing.hits)
    }

    /// What a request suffers; it counts as hit.
    pub fn strike(&self, asked: &Asked) -> Vec<Act> {
        let mut struck = Vec::new();
        for standing in &mut self.standing.lock().1 {
            let left = standing.fault.times.is_none_or(|times| standing.hits < times);
            if !left || !standing.fault.when.matches(asked) {
                continue;
            }
            if standing.passed < standing.fault.when.after {
                standing.passed += 1;
                continue;
            }
            standing.hits += 1;
            struck.push(standing.fault.act.clone());
        }
        struck
    }
}

/// How long a delay is.
pub fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_asked(verb: &'static str) -> Asked<'static> {
        Asked {
            verb,
            plural: "services",
            id: "services",
            namespace: "",
            name: "",
            path: "/api/v1/services",
            continued: false,
        }
    }

    #[test]
    fn a_fault_lets_the_first_pass_strikes_as_often_as_it_says_and_then_no_more() {
        let faults = Faults::default();
        let id = faults.add(Fault::times(When::of("list", "services").after(1), 2, Act::Silent));
        let struck: Vec<usize> = (0..4).map(|_| faults.strike(&mk_asked("list")).len()).collect();
        assert_eq!(struck, [0, 1, 1, 0]);
        assert!(faults.strike(&mk_asked("watch")).is_empty());
        assert_eq!(faults.hits(id), 2);
    }

    #[test]
    fn a_fault_reads_from_json_and_a_wrong_word_is_refused() {
        let json =
            r#"{"when": {"verb": "watch"}, "times": 1, "do": {"kind": "stream", "after": 3, "then": {"kind": "cut"}}}"#;
        let fault: Fault = serde_json::from_str(json).unwrap();
        let when = When { verb: "watch".to_owned(), ..When::default() };
        assert_eq!(fault, Fault::once(when, Act::Stream { after: 3, then: Then::Cut }));
        assert!(serde_json::from_str::<Fault>(r#"{"whem": {}, "do": {"kind": "silent"}}"#).is_err());
    }
}
