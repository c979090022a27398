//! Who leads, decided from what was read and written and when. Pure: it is told the time, and asks for one thing
//! after the other.

use std::time::Duration;

use tidegate_actors::env::Rng;
use tokio::time::Instant;

use super::{LeaseError, LeaseOptions, Record};

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    Wait(Instant),
    Read,
    Write(Record),
}

pub(super) struct Machine {
    identity: String,
    options: LeaseOptions,
    /// The record as it was last seen, and when it was first seen so.
    seen: Option<(Record, Instant)>,
    /// There was no record when we looked.
    missing: bool,
    /// The record has to be looked at before anything else.
    stale: bool,
    /// Until when we lead, unless we renew.
    until: Option<Instant>,
    /// Nothing is done before.
    pause: Option<Instant>,
    /// Why the last try failed.
    trouble: Option<String>,
}

impl Machine {
    pub fn new(identity: &str, options: LeaseOptions) -> Self {
        Self {
            identity: identity.to_owned(),
            options,
            seen: None,
            missing: false,
            stale: true,
            until: None,
            pause: None,
            trouble: None,
        }
    }

    /// Why the record could not be read or written when it was tried last.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Until when we lead.
    pub fn until(&self) -> Option<Instant> {
        self.until
    }

    /// How long an answer may take.
    pub fn patience(&self) -> Duration {
        self.options.renew_deadline / 2
    }

    /// What to do now.
    pub fn next(&mut self, now: Instant, wall: Duration, rng: &dyn Rng) -> Action {
        if self.until.is_some_and(|until| until <= now) {
            self.until = None;
            self.stale = true;
        }
        if let Some(pause) = self.pause.take().filter(|pause| *pause > now) {
            self.pause = Some(pause);
            // A lead that ends while we wait ends on time.
            return Action::Wait(self.until.map_or(pause, |until| until.min(pause)));
        }
        if self.stale {
            return Action::Read;
        }
        let fresh = |version: String, transitions: i32| Record {
            version,
            holder: self.identity.clone(),
            transitions,
            duration: self.options.duration,
            acquired: wall,
            renewed: wall,
        };
        match &self.seen {
            None if self.missing => Action::Write(fresh(String::new(), 0)),
            None => Action::Read,
            Some((record, _)) if record.holder == self.identity => {
                Action::Write(Record { acquired: record.acquired, ..fresh(record.version.clone(), record.transitions) })
            }
            Some((record, since)) if record.holder.is_empty() || *since + record.duration <= now => {
                Action::Write(fresh(record.version.clone(), record.transitions.saturating_add(1)))
            }
            Some((record, since)) => {
                // Replicas that were started together need not look together.
                let spread = 1.0 + 0.2 * (rng.below(1_000) as f64 / 1_000.0);
                let at = now + self.options.retry.mul_f64(spread);
                self.stale = true;
                self.pause = Some(at.min(*since + record.duration));
                Action::Wait(at.min(*since + record.duration))
            }
        }
    }

    /// What reading gave.
    pub fn has_read(&mut self, now: Instant, read: Result<Option<Record>, LeaseError>) {
        // While somebody else leads nothing needs to be written; else only a write shows that it can be.
        if let Ok(Some(record)) = &read
            && !record.holder.is_empty()
            && record.holder != self.identity
        {
            self.trouble = None;
        }
        match read {
            Ok(Some(record)) => {
                self.missing = false;
                self.stale = false;
                if record.holder != self.identity {
                    self.until = None;
                }
                match &self.seen {
                    // Only a change says that its holder is alive; what its clock says does not count.
                    Some((held, _)) if *held == record => {}
                    _ => self.seen = Some((record, now)),
                }
            }
            Ok(None) => {
                self.missing = true;
                self.stale = false;
                self.seen = None;
                self.until = None;
            }
            Err(error) => self.failed(now, &error),
        }
    }

    /// What writing gave that was begun at `begun`.
    pub fn has_written(&mut self, begun: Instant, now: Instant, written: Result<Record, LeaseError>) {
        match written {
            Ok(record) => {
                // From when we asked on: others count from when they see it, which is later.
                self.until = Some(begun + self.options.renew_deadline);
                self.seen = Some((record, now));
                self.missing = false;
                self.trouble = None;
                self.pause = Some(now + self.options.retry);
            }
            Err(LeaseError::Conflict) => {
                self.stale = true;
                self.missing = false;
            }
            Err(error) => self.failed(now, &error),
        }
    }

    /// The record that gives the lead to whoever comes first, if it was ours.
    pub fn release(&mut self, now: Instant, wall: Duration) -> Option<Record> {
        self.until.take().filter(|until| *until > now)?;
        let (record, _) = self.seen.as_ref()?;
        Some(Record { holder: String::new(), renewed: wall, ..record.clone() })
    }

    fn failed(&mut self, now: Instant, error: &LeaseError) {
        let trouble = Some(error.to_string());
        if self.trouble != trouble {
            tracing::warn!(%error, "the lease cannot be read or written; it is tried again and again");
            self.trouble = trouble;
        }
        // A write whose answer was lost may have succeeded.
        self.stale = true;
        self.pause = Some(now + self.options.retry);
    }
}
