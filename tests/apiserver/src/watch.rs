//! Where a watch begins: at a version, or with everything there is; or why it does not.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::answer::{self, Answer, Broken, JSON};
use crate::fault::{Act, Then};
use crate::harm::Harm;
use crate::query::ListOptions;
use crate::routes::Target;
use crate::selectors::Selectors;
use crate::session::{Begin, Session};
use crate::state::{OpenWatch, State};
use crate::status::Status;
use crate::store::Range;
use crate::watch_cache::frame;

/// Lines that wait for a slow client.
const WAITING: usize = 64;

/// Opens a watch.
pub fn watch(state: &Arc<State>, target: &Target, options: &ListOptions, acts: &[Act]) -> Result<Answer, Status> {
    let selectors = Selectors::parse(&target.kind, &options.labels, &options.fields)?;
    let initial = options.initial_events.unwrap_or(false) || matches!(options.version.as_str(), "" | "0");
    let begun = {
        let world = state.world.lock();
        let frozen = state.frozen.borrow().filter(|_| target.replica).map(|frozen| frozen.revision);
        let current = frozen.unwrap_or(world.revision);
        let wanted = options.revision()?;
        let resource = world.resources.get(&target.kind.id()).ok_or_else(|| Status::not_found(&target.kind, ""))?;
        let (cache, life, changes) = (resource.cache.clone(), resource.life.clone(), resource.changes());
        let start = if initial && wanted > current {
            Err(Status::too_large(wanted, current))
        } else if initial {
            let prefix = target.prefix();
            let range = Range { revision: current, prefix: &prefix, from: "", most: 0, left: None };
            let page = resource.page(&range, |object| selectors.matches(object));
            page.map(|page| (current, page.objects)).map_err(|_| Status::list_expired())
        } else {
            let since = cache.lock().since(wanted, 0);
            since.map(|_| (wanted, Vec::new())).map_err(|forgotten| Status::too_old(wanted, forgotten.0))
        };
        start.map(|start| (start, cache, life, changes))
    };
    let ((cursor, objects), cache, life, changes) = match begun {
        Ok(begun) => begun,
        Err(status) if state.options.watch.gone_as_status => return Err(status),
        Err(status) => return Ok(answer::whole(200, JSON, frame("ERROR", &status.to_bytes()))),
    };
    let (sender, receiver) = mpsc::channel(WAITING);
    let withheld = acts.contains(&Act::WithholdBookmarks);
    let (kind, version) = (target.kind.clone(), target.version.clone());
    let open = OpenWatch { resource: kind.id(), namespace: target.namespace.clone() };
    let (id, commands) = state.enter(open);
    let mut script: Vec<(usize, Then)> = acts.iter().filter_map(scripted).collect();
    script.sort_by_key(|(after, _)| *after);
    let session = Session {
        state: state.clone(),
        id,
        kind,
        version,
        namespace: target.namespace.clone(),
        replica: target.replica,
        selectors,
        harm: Harm::of(acts),
        bookmarks: options.bookmarks && !withheld,
        cache,
        life,
        cursor,
        sender,
        script,
        sent: 0,
        twice: false,
        slow: Duration::ZERO,
    };
    let timeout = options.timeout.filter(|timeout| !timeout.is_zero()).unwrap_or(state.options.watch.timeout);
    let closing = initial && options.bookmarks && state.options.watch.streaming_lists && !withheld;
    let begin = Begin { objects, closing, deadline: Instant::now() + timeout };
    tokio::spawn(session.run(begin, changes, commands));
    let lines = stream::unfold(receiver, |mut receiver: mpsc::Receiver<_>| async {
        let line: Result<Bytes, Broken> = receiver.recv().await?;
        Some((line, receiver))
    });
    Ok(answer::streamed(JSON, lines))
}

fn scripted(act: &Act) -> Option<(usize, Then)> {
    if let Act::Stream { after, then } = act { Some((*after, then.clone())) } else { None }
}
