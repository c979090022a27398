//! An async loop as a child: an actor that owns the spawned task. Stopping asks the loop to end and waits;
//! killing, or dropping the actor's state in any other way, aborts it.

use std::any::Any;
use std::sync::Arc;

use tokio::sync::watch;

use super::report::Reporter;

/// What a task is given at each start.
#[derive(Clone)]
pub struct TaskContext {
    /// Resolves when the task should end.
    pub stop: Stop,
    /// For telling its health.
    pub reporter: Reporter,
}

/// The wish that somebody ends.
#[derive(Clone)]
pub struct Stop {
    wish: watch::Receiver<bool>,
}

/// The side that has the wish. Dropping it is the wish too: nobody is left to express it.
pub struct Stopper {
    wish: watch::Sender<bool>,
}

impl Stop {
    /// Both sides.
    pub fn channel() -> (Stopper, Stop) {
        let (sender, receiver) = watch::channel(false);
        (Stopper { wish: sender }, Stop { wish: receiver })
    }

    /// Waits for the wish.
    pub async fn stopped(&self) {
        let mut wish = self.wish.clone();
        // An error says that the other side is gone, which means the same.
        let _ = wish.wait_for(|stop| *stop).await;
    }

    /// Whether the wish has been expressed.
    pub fn is_stopped(&self) -> bool {
        *self.wish.borrow() || self.wish.has_changed().is_err()
    }
}

impl Stopper {
    /// Expresses the wish.
    pub fn stop(&self) {
        self.wish.send_replace(true);
    }
}
