//! What an API server answers instead of objects, and what that means. A failure is the same thing whether it came as
//! an HTTP status, as an ERROR event in a stream, or as a bare `Status` body, and one function judges all of them.
//!
//! Law: nothing from an object's content gets into a text here.

use std::time::Duration;

use serde::Deserialize;

/// The longest part of a server's message that is passed on.
const MAX_MESSAGE: usize = 400;

/// A failed request or stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// The HTTP status, or that of the `Status`; 0 when there was no answer at all.
    pub code: u16,
    /// The machine-readable reason of the `Status`, such as `Expired`.
    pub reason: String,
    /// What happened, for people: one line.
    pub message: String,
    /// When to come back, if the server says so.
    pub retry_after: Option<Duration>,
    /// The version that was asked for lies in the server's future.
    pub too_new: bool,
}

/// How a stream ends; the source words it as an error with the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Go on from the cursor, after some time if that is known.
    Retry { reason: String, after: Option<Duration> },
    /// List anew.
    Relist { reason: String },
    /// There is no such resource type.
    Absent { reason: String },
    /// The credentials were refused: read them again, then go on.
    Unauthorized { reason: String },
    /// A permission is missing.
    Forbidden { reason: String },
}

impl Ending {
    /// An interruption.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry { reason: reason.into(), after: None }
    }
}

impl Failure {
    /// No answer came, or it broke off.
    pub fn network(message: impl Into<String>) -> Self {
        Self { message: one_line(&message.into()), ..Self::default() }
    }

    /// An HTTP status that is no success, with what its body says. `retry_after` is the header's value.
    pub fn of_response(code: u16, body: &[u8], retry_after: Option<&str>) -> Self {
        let mut failure = serde_json::from_slice::<Status>(body).map(Self::from).unwrap_or_default();
        // The status line is the server's last word; proxies before it write their own.
        failure.code = code;
        if failure.message.is_empty() {
            failure.message = format!("HTTP status {code}");
        }
        let header = retry_after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        failure.retry_after = header.or(failure.retry_after);
        failure
    }

    /// The history that was asked for is gone, or never was.
    pub fn is_expired(&self) -> bool {
        self.code == 410
            || matches!(self.reason.as_str(), "Expired" | "Gone")
            || self.too_new
            || self.message.contains("too old resource version")
    }

    /// The server does not do what was asked for, and asking again changes nothing.
    pub fn is_unsupported(&self) -> bool {
        matches!(self.code, 400 | 405 | 422 | 501) || self.message.contains("unsupported")
    }

    /// What to do about it.
    pub fn classify(&self) -> Ending {
        let reason = self.to_string();
        match self.code {
            _ if self.is_expired() => Ending::Relist { reason },
            404 => Ending::Absent { reason },
            401 => Ending::Unauthorized { reason },
            403 => Ending::Forbidden { reason },
            _ => Ending::Retry { reason, after: self.retry_after },
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.code, self.reason.is_empty()) {
            (0, _) => f.write_str(&self.message),
            (code, true) => write!(f, "{} ({code})", self.message),
            (code, false) => write!(f, "{} ({code} {})", self.message, self.reason),
        }
    }
}

/// `meta/v1` Status, as far as it matters.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Status {
    message: Option<String>,
    reason: Option<String>,
    code: Option<u16>,
    details: Option<Details>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    retry_after_seconds: Option<u64>,
    causes: Option<Vec<Cause>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Cause {
    reason: Option<String>,
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let details = status.details.unwrap_or_default();
        let message = one_line(&status.message.unwrap_or_default());
        let causes = details.causes.unwrap_or_default();
        let cause = causes.iter().any(|cause| cause.reason.as_deref() == Some("ResourceVersionTooLarge"));
        Self {
            code: status.code.unwrap_or(500),
            reason: status.reason.unwrap_or_default(),
            too_new: cause || message.contains("Too large resource version"),
            message,
            retry_after: details.retry_after_seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs),
        }
    }
}

fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(MAX_MESSAGE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_body(code: u16, body: &str) -> Ending {
        Failure::of_response(code, body.as_bytes(), None).classify()
    }

    #[test]
    fn gone_history_asks_for_a_list_however_it_is_said() {
        let gone = |ending| assert!(matches!(ending, Ending::Relist { .. }), "{ending:?}");
        gone(of_body(410, ""));
        gone(of_body(410, r#"{"reason":"Expired","message":"The provided continue parameter is too old"}"#));
        gone(of_body(500, r#"{"message":"too old resource version: 1 (9)","code":500}"#));
        gone(of_body(504, r#"{"reason":"Timeout","details":{"causes":[{"reason":"ResourceVersionTooLarge"}]}}"#));
    }

    #[test]
    fn an_overloaded_server_is_left_alone_for_as_long_as_it_asks() {
        let after = |ending| match ending {
            Ending::Retry { after, .. } => after,
            other => panic!("{other:?}"),
        };
        let body = br#"{"code":429,"details":{"retryAfterSeconds":7}}"#;
        assert_eq!(after(Failure::of_response(429, body, None).classify()), Some(Duration::from_secs(7)));
        assert_eq!(after(Failure::of_response(503, body, Some("3")).classify()), Some(Duration::from_secs(3)));
        assert_eq!(after(Failure::of_response(504, b"", None).classify()), None);
        assert_eq!(after(Failure::network("refused").classify()), None);
    }

    #[test]
    fn absence_refusal_and_missing_permission_are_three_things() {
        assert!(matches!(of_body(404, "404 page not found"), Ending::Absent { .. }));
        assert!(matches!(of_body(401, ""), Ending::Unauthorized { .. }));
        assert!(matches!(of_body(403, ""), Ending::Forbidden { .. }));
    }

    #[test]
    fn what_a_server_cannot_do_is_told_from_what_it_will_not_do_now() {
        for code in [400, 405, 422, 501] {
            assert!(Failure::of_response(code, b"", None).is_unsupported());
        }
        for code in [0, 401, 403, 404, 410, 429, 500, 503] {
            assert!(!Failure::of_response(code, b"", None).is_unsupported());
        }
    }

    #[test]
    fn a_message_is_one_line_of_bounded_length() {
        let body = serde_json::json!({ "message": format!("a\nb {}", "x".repeat(1000)) }).to_string();
        let failure = Failure::of_response(500, body.as_bytes(), None);
        assert!(failure.message.starts_with("a b x"), "{failure}");
        assert_eq!(failure.message.len(), MAX_MESSAGE);
    }
}
