//! A fault, in words: which requests, from the how-manieth on, how often, and what happens to them. Read from JSON, or
//! made in Rust. Nothing is done here.

use std::time::Duration;

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
    /// Whether a request is meant, leaving aside how many came before.
    pub fn matches(&self, asked: &Asked) -> bool {
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

/// How long a delay is.
pub fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
