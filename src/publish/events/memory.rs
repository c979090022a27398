//! What was said of one source's objects, and what is to be said next. Pure.
//!
//! Laws: what was said and still stands is not said again; one object is never spoken of faster than its own rate; what
//! is remembered is bounded by what stands, and by what was said lately.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_actors::id::Name;
use tidegate_actors::workqueue::{RateLimit, TokenBucket};
use tokio::time::Instant;

use super::{Action, Key, Said};
use crate::source::sink::Grade;

/// For how long it is remembered what was said: API servers forget Events after an hour, too.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// How many different things are remembered of one object.
const MAX_SAYINGS: usize = 8;

/// How fast one thing of one object may be spoken of.
const PACE: RateLimit = RateLimit { per_second: 1.0 / 60.0, burst: 10 };

/// See the module.
#[derive(Default)]
pub struct Memory {
    all: BTreeMap<Key, OfKey>,
}

struct OfKey {
    /// The last that was said.
    last: Saying,
    /// What was said and how often; the latest at the end.
    said: Vec<(Saying, u32)>,
    at: Instant,
    pace: TokenBucket,
    /// When it may be spoken of again.
    not_before: Instant,
}

/// One thing to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saying {
    pub grade: Grade,
    pub said: Said,
    /// Of which object of the name.
    pub uid: Option<Name>,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// All is said.
    Nothing,
    /// To say this, which was said so often before.
    Say(Saying, u32),
    /// Its object is spoken of too often: later.
    Wait(Duration),
}

impl Memory {
    /// What is to be said of an object that is, or is not, wrong in one respect; `uid` is that of the object that is
    /// there, if one is.
    pub fn step(&mut self, key: &Key, wrong: Option<Said>, there: bool, uid: Option<&Name>, now: Instant) -> Step {
        let saying = match (wrong, self.all.get(key)) {
            // It is gone, and so will be what is wrong with it; unless it never came, since it cannot be read.
            (Some(_), _) if !there && key.1 != Action::Read => return Step::Nothing,
            (Some(said), _) => Saying { grade: Grade::Warning, said, uid: uid.cloned() },
            (None, Some(before)) if before.last.grade == Grade::Warning => {
                if !there || before.last.uid.as_ref().is_some_and(|before| Some(before) != uid) {
                    // With the object goes what was wrong with it, and nobody looks for it any more.
                    self.all.remove(key);
                    return Step::Nothing;
                }
                Saying { grade: Grade::Normal, said: key.1.healed(), uid: uid.cloned() }
            }
            (None, _) => return Step::Nothing,
        };
        let Some(before) = self.all.get_mut(key) else { return Step::Say(saying, 0) };
        if before.last == saying {
            return Step::Nothing;
        }
        if now < before.not_before {
            return Step::Wait(before.not_before - now);
        }
        let times = before.said.iter().find(|(said, _)| *said == saying).map_or(0, |(_, times)| *times);
        Step::Say(saying, times)
    }

    /// It was said, so often until now; or given up, which is as good.
    pub fn was_said(&mut self, key: &Key, saying: Saying, times: u32, now: Instant) {
        let new = || OfKey {
            last: saying.clone(),
            said: Vec::new(),
            at: now,
            pace: TokenBucket::new(PACE, now),
            not_before: now,
        };
        let of_key = self.all.entry(key.clone()).or_insert_with(new);
        of_key.said.retain(|(said, _)| *said != saying);
        of_key.said.push((saying.clone(), times));
        if of_key.said.len() > MAX_SAYINGS {
            of_key.said.remove(0);
        }
        (of_key.last, of_key.at) = (saying, now);
        of_key.pace.take(now);
        of_key.not_before = of_key.pace.ready(now);
        self.all.retain(|_, of| of.last.grade == Grade::Warning || now.saturating_duration_since(of.at) < REMEMBERED);
    }

    /// Somebody else speaks of this from now on.
    pub fn forget_of(&mut self, key: &Key) {
        self.all.remove(key);
    }

    /// Somebody else speaks from now on.
    pub fn forget(&mut self) {
        self.all.clear();
    }
}
