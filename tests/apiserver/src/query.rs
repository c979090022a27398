//! The query of a list or a watch: read, and checked as the real server checks it.

use std::time::Duration;

use crate::status::Status;

/// `ListOptions`.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// Whether it is a watch.
    pub watch: bool,
    /// `labelSelector`.
    pub labels: String,
    /// `fieldSelector`.
    pub fields: String,
    /// The most objects of one page; 0 is all.
    pub limit: usize,
    /// The token of the page before.
    pub continue_token: String,
    /// As it was written; empty for none.
    pub version: String,
    /// `NotOlderThan`, `Exact` or empty.
    pub version_match: String,
    /// How long a watch may last.
    pub timeout: Option<Duration>,
    /// Whether a watch gets bookmarks.
    pub bookmarks: bool,
    /// Whether a watch begins with all objects.
    pub initial_events: Option<bool>,
}

/// The pairs of a query, decoded.
pub fn pairs(query: &str) -> impl Iterator<Item = (String, String)> + '_ {
    form_urlencoded::parse(query.as_bytes()).map(|(key, value)| (key.into_owned(), value.into_owned()))
}

const VERSION_MATCH: &str = "resourceVersionMatch";
const INITIAL_EVENTS: &str = "sendInitialEvents";

impl ListOptions {
    /// Reads a query and checks what goes together; `streaming_lists` is whether the server has them.
    pub fn parse(query: &str, streaming_lists: bool) -> Result<Self, Status> {
        let mut options = Self::default();
        let truth = |value: &str| matches!(value, "1" | "t" | "T" | "true" | "True" | "TRUE" | "");
        let number = |value: &str| {
            let bad = |_| Status::bad_request(format!("strconv.ParseInt: parsing \"{value}\": invalid syntax"));
            value.parse::<u64>().map_err(bad)
        };
        for (key, value) in pairs(query) {
            match key.as_str() {
                "watch" => options.watch = truth(&value),
                "labelSelector" => options.labels = value,
                "fieldSelector" => options.fields = value,
                "limit" => options.limit = number(&value)? as usize,
                "continue" => options.continue_token = value,
                "resourceVersion" => options.version = value,
                VERSION_MATCH => options.version_match = value,
                "timeoutSeconds" => options.timeout = Some(Duration::from_secs(number(&value)?)),
                "allowWatchBookmarks" => options.bookmarks = truth(&value),
                INITIAL_EVENTS => options.initial_events = Some(truth(&value)),
                _ => {}
            }
        }
        let problems = if options.watch { options.watch_problems(streaming_lists) } else { options.list_problems() };
        if !problems.is_empty() {
            return Err(Status::invalid("meta.k8s.io", "ListOptions", "", &problems));
        }
        options.revision()?;
        Ok(options)
    }

    /// The version as a number; 0 for none.
    pub fn revision(&self) -> Result<u64, Status> {
        if self.version.is_empty() {
            return Ok(0);
        }
        let bad = |error| Status::bad_request(format!("invalid resource version: \"{}\": {error}", self.version));
        self.version.parse().map_err(bad)
    }

    fn list_problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let given = self.version_match.as_str();
        if !given.is_empty() {
            if self.version.is_empty() {
                let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
                problems.push(forbidden(why, VERSION_MATCH));
            }
            if !self.continue_token.is_empty() {
                let why = "resourceVersionMatch is forbidden when continue is provided";
                problems.push(forbidden(why, VERSION_MATCH));
            }
            if !matches!(given, "Exact" | "NotOlderThan") {
                problems.push(unsupported(given, r#""Exact", "NotOlderThan", """#));
            }
            if given == "Exact" && self.version == "0" {
                let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
                problems.push(forbidden(why, VERSION_MATCH));
            }
        }
        if self.initial_events.is_some() {
            problems.push(forbidden("sendInitialEvents is forbidden for list", INITIAL_EVENTS));
        }
        problems
    }

    fn watch_problems(&self, streaming_lists: bool) -> Vec<Problem> {
        let mut problems = Vec::new();
        let given = self.version_match.as_str();
        if self.initial_events.is_some() {
            if given != "NotOlderThan" {
                let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
                problems.push(forbidden(why, VERSION_MATCH));
            }
            if !streaming_lists {
                let why = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
                problems.push(forbidden(why, INITIAL_EVENTS));
            }
        }
        if !given.is_empty() {
            if self.initial_events.is_none() {
                let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
                problems.push(forbidden(why, VERSION_MATCH));
            }
            if given != "NotOlderThan" {
                problems.push(unsupported(given, r#""NotOlderThan""#));
            }
            if !self.continue_token.is_empty() {
                let why = "resourceVersionMatch is forbidden when continue is provided";
                problems.push(forbidden(why, VERSION_MATCH));
            }
        }
        problems
    }
}

type Problem = (&'static str, String, &'static str);

fn forbidden(why: &str, field: &'static str) -> Problem {
    ("FieldValueForbidden", format!("Forbidden: {why}"), field)
}

fn unsupported(given: &str, supported: &str) -> Problem {
    let message = format!("Unsupported value: \"{given}\": supported values: {supported}");
    ("FieldValueNotSupported", message, VERSION_MATCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_list_on_a_server_without_them_is_refused_as_the_real_one_refuses_it() {
        let query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
        assert!(ListOptions::parse(query, true).is_ok());
        let status = ListOptions::parse(query, false).unwrap_err();
        assert_eq!((status.code, status.reason.as_str()), (Some(422), "Invalid"));
        assert_eq!(
            status.message,
            "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden \
             for watch unless the WatchList feature gate is enabled"
        );
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for query in [
            "resourceVersionMatch=Exact",
            "resourceVersionMatch=Exact&resourceVersion=0",
            "resourceVersionMatch=Nearly&resourceVersion=7",
            "resourceVersionMatch=Exact&resourceVersion=7&continue=x",
            "sendInitialEvents=true",
            "watch=1&sendInitialEvents=true",
            "watch=1&resourceVersionMatch=NotOlderThan",
            "resourceVersion=x",
            "limit=many",
        ] {
            assert!(ListOptions::parse(query, true).is_err(), "{query}");
        }
    }
}
