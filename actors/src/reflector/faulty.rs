//! Injected faults on the way from a source. A lost event without a lost connection would be a lost update that
//! no client could see, so what drops an event ends the stream.

use futures::{StreamExt as _, stream};

use crate::env::{Env, Fault};
use crate::source::{SourceError, SourceEvent, SourceStream};

fn broken(reason: impl Into<String>) -> SourceError {
    SourceError::Retry { reason: reason.into(), after: None }
}

/// Opens a stream through the places `PLACE/open` and `PLACE/event`. Without faults it is `open` alone.
pub(super) fn open(env: &Env, place: String, open: impl FnOnce() -> SourceStream + Send + 'static) -> SourceStream {
    if env.faults.is_none() {
        return open();
    }
    let env = env.clone();
    let opened = async move {
        match env.fault(|| format!("{place}/open")) {
            Fault::None | Fault::Duplicate => {}
            Fault::Delay(wait) => env.clock.sleep(wait).await,
            Fault::Drop => return failing(broken("injected: the connection was dropped")),
            Fault::Error(reason) => return failing(broken(reason)),
            Fault::Panic(reason) => injected_panic(&reason),
            Fault::Stall => return stream::pending().boxed(),
        }
        events(env, place, open())
    };
    stream::once(opened).flatten().boxed()
}

fn failing(error: SourceError) -> SourceStream {
    stream::iter([Err(error)]).boxed()
}

/// What a fault plan asked for.
#[allow(clippy::panic)]
fn injected_panic(reason: &str) -> ! {
    panic!("{reason}")
}

fn events(env: Env, place: String, inner: SourceStream) -> SourceStream {
    let state = (env, place, Some(inner), None::<SourceEvent>);
    let step = |(env, place, inner, twice): (Env, String, Option<SourceStream>, Option<SourceEvent>)| async move {
        if let Some(event) = twice {
            return Some((Ok(event), (env, place, inner, None)));
        }
        let mut inner = inner?;
        let event = match inner.next().await? {
            Ok(event) => event,
            Err(error) => return Some((Err(error), (env, place, None, None))),
        };
        match env.fault(|| format!("{place}/event")) {
            Fault::None => {}
            Fault::Duplicate => return Some((Ok(event.clone()), (env, place, Some(inner), Some(event)))),
            Fault::Delay(wait) => env.clock.sleep(wait).await,
            Fault::Drop => {
                return Some((Err(broken("injected: the connection was dropped")), (env, place, None, None)));
            }
            Fault::Error(reason) => return Some((Err(broken(reason)), (env, place, None, None))),
            Fault::Panic(reason) => injected_panic(&reason),
            Fault::Stall => futures::future::pending().await,
        }
        Some((Ok(event), (env, place, Some(inner), None)))
    };
    stream::unfold(state, step).boxed()
}
