//! The loop that writes: it gathers what changed, and writes slot by slot. It waits for the disk so that nobody else
//! has to.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::record::Position;
use super::slot::Done;
use super::{Persistence, Slot, slot};
use crate::Set;
use crate::correlation;
use crate::env::{Disk, Fault};
use crate::id::{Name, ObjectKey, ObjectRef};
use crate::supervisor::{BoxError, ChildSpec, TaskContext};

/// A file that fails is tried again after so long at the latest.
const LONGEST: Duration = Duration::from_secs(30);
/// A disk that takes longer for one file is said to stall.
const STALLED: Duration = Duration::from_secs(5);

pub(super) fn spec(persistence: Persistence, name: impl Into<Name>) -> ChildSpec {
    ChildSpec::task(name, move |context| run(persistence.clone(), context)).stop_timeout(Duration::from_secs(5))
}

async fn run(persistence: Persistence, context: TaskContext) -> Result<(), BoxError> {
    let (shared, clock) = (persistence.shared.clone(), persistence.shared.env.clock.clone());
    let mut tidy_at = Some(clock.now() + shared.options.unclaimed);
    loop {
        let wait = persistence.round(&context).await;
        if context.stop.is_stopped() {
            return Ok(());
        }
        if tidy_at.is_some_and(|at| at <= clock.now()) {
            tidy_at = None;
            persistence.remove_unclaimed().await;
        }
        tokio::select! {
            biased;
            // One more round, for what came last.
            () = context.stop.stopped() => continue,
            () = shared.wake.notified() => {}
            () = clock.sleep(wait) => continue,
        }
        tokio::select! {
            biased;
            () = context.stop.stopped() => {}
            () = clock.sleep(shared.options.gather) => {}
        }
    }
}

impl Persistence {
    /// Writes every slot that is behind; says how long to wait for the next look if nobody asks for one before.
    async fn round(&self, context: &TaskContext) -> Duration {
        let shared = &self.shared;
        let mut wait = shared.options.cursors;
        let slots: Vec<Arc<Slot>> = shared.slots.lock().values().cloned().collect();
        let (mut behind, mut failing) = (false, None);
        let poison: Set<ObjectRef> = shared.problems.held_back(correlation::PROBLEMS).collect();
        for slot in slots {
            let now = shared.env.clock.now();
            let until = slot.failure.lock().until.filter(|until| *until > now);
            if let Some(until) = until.filter(|_| !context.stop.is_stopped()) {
                (behind, wait) = (true, wait.min(until - now));
                failing = failing.or_else(|| shared.status.lock().failing.get(&slot.path).cloned());
                continue;
            }
            let written = self.write(&slot, &poison, context).await;
            if slot.files.try_lock().is_some_and(|files| files.has_suspects()) {
                wait = wait.min(shared.options.gather);
            }
            let mut failure = slot.failure.lock();
            match written {
                Ok(done) => {
                    if done.bytes > 0 || failure.count > 0 {
                        self.settle(&slot.path, None);
                    }
                    *failure = super::Failure::default();
                    if done.bytes > 0 {
                        shared.metrics.batches.increment(1);
                        shared.metrics.bytes.increment(done.bytes);
                        shared.metrics.anew.increment(u64::from(done.anew));
                        shared.status.lock().written = Some(shared.env.clock.wall());
                    }
                }
                Err(error) => {
                    shared.metrics.failed.increment(1);
                    let again = shared.options.retry.saturating_mul(1 << failure.count.min(16)).min(LONGEST);
                    if failure.count == 0 {
                        tracing::warn!(file = %slot.path.display(), %error, "cannot write the snapshot");
                    }
                    *failure = super::Failure { count: failure.count + 1, until: Some(now + again) };
                    (behind, wait) = (true, wait.min(again));
                    let why = format!("it cannot be written: {error}");
                    self.settle(&slot.path, Some(why.clone()));
                    failing.get_or_insert(why);
                }
            }
        }
        let now = shared.env.clock.now();
        let since = &mut shared.status.lock().behind_since;
        *since = behind.then(|| since.unwrap_or(now));
        match failing {
            Some(why) => context.reporter.degraded(format!("the snapshot is not up to date: {why}")),
            None => context.reporter.running(),
        }
        wait
    }

    async fn write(&self, slot: &Arc<Slot>, poison: &Set<ObjectRef>, context: &TaskContext) -> io::Result<Done> {
        let shared = &self.shared;
        {
            // A writer that was killed may still be at it; the next round has another look.
            let Some(mut files) = slot.files.try_lock() else {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "an earlier attempt is still under way"));
            };
            let readable = &*shared.options.readable;
            // Read before the changes are taken in, so that it says no more than they do; and once more if there were
            // any, so that it says no less either.
            for _ in 0..8 {
                let position = position(slot);
                if !position.is_known() {
                    return Ok(Done::default());
                }
                let any = slot.port.receive(|changes| files.absorb(changes, readable));
                files.check(|| slot.informer.lister().list(), readable);
                files.reached(position);
                if !any {
                    break;
                }
            }
            let of = slot.informer.resource_type();
            let is_poison =
                |key: &ObjectKey| poison.contains(&ObjectRef { resource_type: of.clone(), key: key.clone() });
            files.judge(&is_poison, |key| slot.informer.lister().get(key));
            if !files.is_behind() {
                return Ok(Done::default());
            }
        }
        let slots: Vec<Arc<Slot>> = shared.slots.lock().values().cloned().collect();
        let others = slots.iter().filter(|other| !Arc::ptr_eq(other, slot));
        let others: u64 = others.filter_map(|other| Some(other.files.try_lock()?.length())).sum();
        let room = shared.options.max_bytes.saturating_sub(others);
        let (of, sealer, salt) = (slot.clone(), shared.options.sealer.clone(), shared.env.rng.next_u64());
        let write = move |disk: &dyn Disk| {
            let mut files = of.files.lock();
            let written = files.write(disk, sealer.as_deref(), salt, room);
            *of.figures.lock() = files.figures();
            written
        };
        let writing = async {
            match shared.env.fault(|| "disk/write".to_owned()) {
                Fault::None | Fault::Duplicate | Fault::Reorder => {}
                Fault::Delay(wait) => shared.env.clock.sleep(wait).await,
                Fault::Stall => std::future::pending().await,
                Fault::Drop | Fault::Corrupt => return Err(io::Error::other("injected")),
                Fault::Error(reason) | Fault::Panic(reason) => return Err(io::Error::other(reason)),
            }
            shared.env.on_disk(write).await
        };
        tokio::pin!(writing);
        tokio::select! {
            biased;
            written = &mut writing => return written,
            () = shared.env.clock.sleep(STALLED) => {}
        }
        context.reporter.degraded(format!("the disk has been busy with {} for {STALLED:?}", slot.path.display()));
        writing.await
    }

    /// Forgets what nobody has asked for in all that time.
    async fn remove_unclaimed(&self) {
        let rest = self.shared.opened.lock().rest();
        for path in rest {
            tracing::info!(file = %path.display(), "nobody asked for this part of the snapshot; it is removed");
            let removed = self.shared.env.on_disk(move |disk| slot::remove(disk, &path)).await;
            if let Err(error) = removed {
                tracing::warn!(%error, "it cannot be removed");
            }
        }
    }
}

/// How far the changes go that have been sent to a slot's port.
fn position(slot: &Slot) -> Position {
    let mut position = slot.informer.position();
    // A quarantined object is told of again by a list only.
    if !slot.source.can_resume(slot.informer.resource_type()) {
        position.cursor = None;
    }
    position
}
