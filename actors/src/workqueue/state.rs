//! The state of a work queue, pure: time and chance come in as arguments.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::hash::Hash;

use tokio::time::Instant;

use super::limit::TokenBucket;
use super::{GivenUp, WorkQueueOptions};
use crate::Map;
use crate::env::Rng;
use crate::supervisor::Delays;

/// Order of keys that wait: higher priority first, then first come, first served.
type Place = (Reverse<i32>, u64);

/// What became of a key whose work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Done,
    Retry,
    GivenUp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Open,
    Draining,
    Over,
}

/// What a key has behind it.
struct Failures {
    tries: u32,
    delays: Delays,
}

pub(super) struct State<K> {
    options: WorkQueueOptions,
    waiting: BTreeMap<Place, K>,
    places: Map<K, Place>,
    /// What is worked on, and with which priority it was added again meanwhile.
    working: Map<K, Option<i32>>,
    later: BTreeMap<(Instant, u64), (K, i32)>,
    times: Map<K, (Instant, u64)>,
    failures: Map<K, Failures>,
    given_up: VecDeque<GivenUp<K>>,
    bucket: Option<TokenBucket>,
    life: Life,
    next: u64,
}

impl<K: Clone + Eq + Hash> State<K> {
    pub fn new(options: WorkQueueOptions, now: Instant) -> Self {
        let bucket = options.rate.map(|rate| TokenBucket::new(rate, now));
        Self {
            options,
            waiting: BTreeMap::new(),
            places: Map::default(),
            working: Map::default(),
            later: BTreeMap::new(),
            times: Map::default(),
            failures: Map::default(),
            given_up: VecDeque::new(),
            bucket,
            life: Life::Open,
            next: 0,
        }
    }

    /// Adds a key from outside.
    pub fn add(&mut self, key: K, priority: i32) {
        if self.life == Life::Open {
            self.put(key, priority);
        }
    }

    /// Adds a key later.
    pub fn add_at(&mut self, key: K, priority: i32, at: Instant) {
        if self.life != Life::Open {
            return;
        }
        if let Some(time) = self.times.get(&key).copied() {
            if time.0 <= at {
                return;
            }
            self.later.remove(&time);
        }
        let time = (at, self.number());
        self.times.insert(key.clone(), time);
        self.later.insert(time, (key, priority));
    }

    /// A key that was given up is added again, so it is no longer given up.
    pub fn take_back(&mut self, key: &K) {
        self.given_up.retain(|given_up| given_up.key != *key);
    }

    fn put(&mut self, key: K, priority: i32) {
        if let Some(again) = self.working.get_mut(&key) {
            *again = Some(again.map_or(priority, |before| before.max(priority)));
            return;
        }
        let mut place = (Reverse(priority), self.number());
        if let Some(before) = self.places.get(&key).copied() {
            if before.0 <= place.0 {
                return;
            }
            // It moves up, and stands there as if it had come when it first came.
            self.waiting.remove(&before);
            place.1 = before.1;
        }
        self.places.insert(key.clone(), place);
        self.waiting.insert(place, key);
    }

    /// The next key and how often it has failed in a row.
    pub fn take(&mut self, now: Instant) -> Option<(K, u32)> {
        while let Some(due) = self.later.first_entry().filter(|due| due.key().0 <= now) {
            let (key, priority) = due.remove();
            self.times.remove(&key);
            self.put(key, priority);
        }
        let (_, key) = self.waiting.pop_first()?;
        self.places.remove(&key);
        self.working.insert(key.clone(), None);
        let tries = self.failures.get(&key).map_or(0, |failures| failures.tries);
        Some((key, tries))
    }

    /// The work on a key ended.
    pub fn finish(&mut self, key: &K, outcome: Result<(), String>, now: Instant, rng: &dyn Rng) -> Verdict {
        let again = self.working.remove(key).flatten();
        let verdict = match outcome {
            Ok(()) => {
                self.failures.remove(key);
                Verdict::Done
            }
            Err(reason) => self.failed(key, reason, again.is_some(), now, rng),
        };
        if let Some(priority) = again.filter(|_| self.life != Life::Over) {
            self.put(key.clone(), priority);
        }
        verdict
    }

    fn failed(&mut self, key: &K, reason: String, again: bool, now: Instant, rng: &dyn Rng) -> Verdict {
        let backoff = self.options.backoff;
        let failures =
            self.failures.entry(key.clone()).or_insert_with(|| Failures { tries: 0, delays: backoff.delays() });
        failures.tries += 1;
        let tries = failures.tries;
        // What was added meanwhile comes again anyway, with something new to look at.
        if !again && self.options.max_tries.is_some_and(|max| tries >= max) {
            self.failures.remove(key);
            self.take_back(key);
            self.given_up.push_back(GivenUp { key: key.clone(), tries, reason });
            return Verdict::GivenUp;
        }
        let delay = failures.delays.next(rng);
        let allowed = self.bucket.as_mut().map_or(now, |bucket| bucket.take(now));
        self.add_at(key.clone(), 0, allowed.max(now + delay));
        Verdict::Retry
    }

    pub fn take_given_up(&mut self) -> Option<GivenUp<K>> {
        self.given_up.pop_front()
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// When a key that comes later is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.later.first_key_value().map(|((at, _), _)| *at)
    }

    pub fn shutdown(&mut self) {
        self.life = Life::Over;
        self.waiting.clear();
        self.places.clear();
        self.drop_later();
    }

    pub fn drain(&mut self) {
        if self.life == Life::Open {
            self.life = Life::Draining;
            self.drop_later();
        }
    }

    fn drop_later(&mut self) {
        self.later.clear();
        self.times.clear();
    }

    /// Whether no key will ever come any more.
    pub fn is_over(&self) -> bool {
        self.life == Life::Over || (self.life == Life::Draining && self.is_idle())
    }

    /// Whether nothing waits and nothing is worked on.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.working.is_empty()
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}
