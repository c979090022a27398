//! HTTP answers and their bodies. A body can break on purpose.

use std::convert::Infallible;

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use http::{Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;

use crate::status::Status;

/// What is sent.
pub type Body = UnsyncBoxBody<Bytes, Broken>;

/// A connection or stream that breaks because a fault says so.
#[derive(Debug, thiserror::Error)]
#[error("broken by a fault")]
pub struct Broken;

/// An answer.
pub type Answer = Response<Body>;

/// The content type of nearly everything.
pub const JSON: &str = "application/json";

/// A body in one piece.
pub fn whole(code: u16, content_type: &str, body: impl Into<Bytes>) -> Answer {
    let body = Full::new(body.into()).map_err(|never: Infallible| match never {}).boxed_unsync();
    answer(code, content_type, body)
}

/// A body that comes bit by bit.
pub fn streamed(content_type: &str, chunks: impl Stream<Item = Result<Bytes, Broken>> + Send + 'static) -> Answer {
    let chunks = chunks.then(|chunk| async {
        if chunk.is_err() {
            // What came before the break is sent when there is nothing to wait for.
            tokio::task::yield_now().await;
        }
        chunk.map(Frame::data)
    });
    answer(200, content_type, StreamBody::new(chunks).boxed_unsync())
}

/// A body of chunks that are made when they are wanted.
pub fn chunks(content_type: &str, chunks: impl Iterator<Item = Result<Bytes, Broken>> + Send + 'static) -> Answer {
    streamed(content_type, stream::iter(chunks))
}

/// JSON.
pub fn json(code: u16, value: &impl serde::Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(body) => whole(code, JSON, body),
        Err(error) => status(&Status::failure(500, "InternalError", error.to_string())),
    }
}

/// An error, with `Retry-After` if it says when to come again.
pub fn status(status: &Status) -> Answer {
    let mut answer = whole(status.code.unwrap_or(200), JSON, status.to_bytes());
    let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    if seconds > 0 {
        answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    answer
}

/// What Go's HTTP server says of a path that leads nowhere, which is how the real server says that a type is not
/// there: no `Status`.
pub fn nowhere() -> Answer {
    whole(404, "text/plain; charset=utf-8", "404 page not found\n")
}

fn answer(code: u16, content_type: &str, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Ok(value) = content_type.parse() {
        answer.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    answer
}
