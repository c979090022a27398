//! What was heard of a type, brought to its open stream and to whoever waits for the type.
//!
//! Laws: a stream ends for what was heard after it was opened and never for what was known before; one whose type is
//! gone is read on for a moment, since the last deletes may still be on their way.

use std::future::Future;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _};
use tidegate_actors::env::Env;
use tidegate_actors::id::Name;
use tidegate_actors::source::{SourceError, SourceStream};
use tidegate_actors::watch;

use super::shared::{Memory, Standing};

/// How long a stream of a type that is gone is still read.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The stream until its type is gone, or is to be read in another version than the one it was opened with.
pub(super) fn until_notice(
    stream: SourceStream,
    standing: watch::Receiver<Standing>,
    version: Option<Name>,
    env: Env,
) -> SourceStream {
    let notice: BoxFuture<'static, SourceError> = Box::pin(heard(standing, version, env));
    let open = Some((stream, notice));
    Box::pin(stream::unfold(open, |open| async move {
        let (mut stream, mut notice) = open?;
        let told = tokio::select! {
            biased;
            error = &mut notice => Some(Err(error)),
            told = stream.next() => told,
        }?;
        let ended = told.is_err();
        Some((told, (!ended).then_some((stream, notice))))
    }))
}

fn heard(
    mut standing: watch::Receiver<Standing>,
    version: Option<Name>,
    env: Env,
) -> impl Future<Output = SourceError> + Send {
    let departures = standing.borrow_and_update().departures;
    async move {
        loop {
            let now = standing.borrow_and_update().clone();
            if now.version != version {
                let version = now.version.map_or("the one asked for".to_owned(), |version| version.to_string());
                return SourceError::Relist { reason: format!("the type is served in another version now: {version}") };
            }
            if now.departures != departures && now.gone.is_some() {
                env.clock.sleep(LAST_WORDS).await;
                if let Some(reason) = standing.borrow().gone.clone() {
                    return SourceError::Absent { reason };
                }
            }
            if standing.changed().await.is_err() {
                // Nothing is heard any more.
                return std::future::pending().await;
            }
        }
    }
}

/// Resolves when it is heard after this call that the type has come, and not that it went since.
pub(super) fn arrival(memory: &Memory) -> BoxFuture<'static, ()> {
    let mut standing = memory.standing.subscribe();
    let arrivals = standing.borrow().arrivals;
    Box::pin(async move {
        let is_there = |standing: &Standing| standing.arrivals != arrivals && standing.gone.is_none();
        if standing.wait_for(is_there).await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}
