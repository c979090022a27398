//! One request and what comes back, with deadlines; anything but success becomes a [`Failure`].

use std::error::Error;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::RETRY_AFTER;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use tidegate_actors::env::Env;
use tokio::time::Instant;

use super::access::words;
use super::failure::Failure;
use super::pool::{Generation, Place};
use super::shared::Shared;

/// The largest part of a failed request's body that is read.
const MAX_STATUS: usize = 64 << 10;

/// A successful response.
pub(super) struct Answer {
    pub body: Body,
    /// Of a watch: its place on a connection, taken for as long as this lives.
    pub place: Option<Place>,
}

/// Sends a request with the current credentials; says which those were.
pub(super) async fn exchange(shared: &Shared, request: Request<Body>, watch: bool) -> (u64, Result<Answer, Failure>) {
    let generation = match shared.pool.current().await {
        Ok(generation) => generation,
        Err(error) => return (0, Err(Failure::network(words(&error)))),
    };
    let answer = with(shared, &generation, request, watch).await;
    (generation.number, answer)
}

async fn with(
    shared: &Shared,
    generation: &Generation,
    mut request: Request<Body>,
    watch: bool,
) -> Result<Answer, Failure> {
    let deadline = shared.env.clock.now() + shared.options.response_timeout;
    let mut place = None;
    if watch {
        let taken = tokio::select! {
            biased;
            taken = generation.place() => taken,
            () = shared.env.clock.sleep(shared.options.response_timeout) => return Err(no_answer(shared)),
        };
        let taken = match taken {
            Ok(taken) => taken,
            Err(error) => return Err(unconnected(shared, &*error).await),
        };
        request.extensions_mut().insert(taken.lane.clone());
        place = Some(taken);
    }
    let client = if watch { &generation.watches } else { &generation.lists };
    let body = send_until(shared, client, request, deadline).await?;
    Ok(Answer { body, place })
}

/// Sends a request over a client; the body of the response is still to come.
pub(super) async fn send(shared: &Shared, client: &Client, request: Request<Body>) -> Result<Body, Failure> {
    let deadline = shared.env.clock.now() + shared.options.response_timeout;
    send_until(shared, client, request, deadline).await
}

async fn send_until(
    shared: &Shared,
    client: &Client,
    request: Request<Body>,
    deadline: Instant,
) -> Result<Body, Failure> {
    let clock = &shared.env.clock;
    let response = tokio::select! {
        biased;
        response = client.send(request) => response,
        () = clock.sleep(deadline.saturating_duration_since(clock.now())) => return Err(no_answer(shared)),
    };
    match response {
        Ok(response) if response.status().is_success() => Ok(response.into_body()),
        Ok(response) => Err(refusal(shared, response).await),
        Err(error) => Err(unconnected(shared, &error).await),
    }
}

/// What cannot connect any more may have certificates that were replaced.
async fn unconnected(shared: &Shared, error: &(dyn Error + Send + Sync + 'static)) -> Failure {
    shared.pool.look_after_failure().await;
    Failure::network(words(error))
}

fn no_answer(shared: &Shared) -> Failure {
    Failure::network(format!("the API server did not answer within {:?}", shared.options.response_timeout))
}

async fn refusal(shared: &Shared, response: Response<Body>) -> Failure {
    let (parts, mut body) = response.into_parts();
    let mut said = BytesMut::new();
    // As much as comes; the status alone says enough.
    while let Ok(Some(bytes)) = chunk(&mut body, &shared.env, shared.options.connect_timeout).await {
        said.extend_from_slice(&bytes);
        if said.len() > MAX_STATUS {
            break;
        }
    }
    let retry_after = parts.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    Failure::of_response(parts.status.as_u16(), &said, retry_after)
}

/// The next chunk of a body; `None` at its end.
pub(super) async fn chunk(body: &mut Body, env: &Env, deadline: Duration) -> Result<Option<Bytes>, String> {
    loop {
        let frame = tokio::select! {
            biased;
            frame = body.frame() => frame,
            () = env.clock.sleep(deadline) => return Err(format!("the response stopped for {deadline:?}")),
        };
        match frame.transpose().map_err(|error| words(&error))? {
            None => return Ok(None),
            // Trailers say nothing that matters.
            Some(frame) => match frame.into_data() {
                Ok(bytes) => return Ok(Some(bytes)),
                Err(_) => continue,
            },
        }
    }
}

/// All of a body, up to a size.
pub(super) async fn collect(body: &mut Body, env: &Env, deadline: Duration, limit: usize) -> Option<Bytes> {
    let mut all = BytesMut::new();
    while let Some(bytes) = chunk(body, env, deadline).await.ok()? {
        all.extend_from_slice(&bytes);
        if all.len() > limit {
            return None;
        }
    }
    Some(all.freeze())
}
