//! A value of which everybody sees the latest, and waits for the next: as `tokio::sync::watch`, but for one thing. Who
//! waits is woken in the order in which they began to wait, where tokio's are woken in an order by chance; so a run in
//! virtual time replays however many wait for one change.
//!
//! Laws: nobody misses that there was a change, and several may be seen as one; nobody is told of a value before it can
//! be read; when the last sender is gone, whoever has seen the last value is told so.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{MappedRwLockReadGuard, RwLock, RwLockReadGuard};
use tokio::sync::Notify;

/// The value as it is now. It cannot change while this lives, so it must not live long.
pub type Ref<'a, T> = MappedRwLockReadGuard<'a, T>;

/// All senders are gone: the value stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody is left who could change it")]
pub struct Closed;

struct Shared<T> {
    /// The value, and how often it was changed.
    state: RwLock<(T, u64)>,
    told: Notify,
    senders: AtomicUsize,
}

impl<T> Shared<T> {
    fn borrow(&self) -> Ref<'_, T> {
        RwLockReadGuard::map(self.state.read(), |(value, _)| value)
    }

    /// The value, which counts as seen.
    fn look(&self, seen: &mut u64) -> Ref<'_, T> {
        let state = self.state.read();
        *seen = state.1;
        RwLockReadGuard::map(state, |(value, _)| value)
    }

    fn has_changed(&self, seen: u64) -> Result<bool, Closed> {
        // Before the look: the last sender may say something and go.
        let closed = self.senders.load(Ordering::Acquire) == 0;
        match self.state.read().1 != seen {
            false if closed => Err(Closed),
            changed => Ok(changed),
        }
    }

    async fn changed(&self, seen: &mut u64) -> Result<(), Closed> {
        loop {
            let told = self.told.notified();
            tokio::pin!(told);
            // Before the look, so that nothing is missed between it and the wait.
            told.as_mut().enable();
            if self.has_changed(*seen)? {
                *seen = self.state.read().1;
                return Ok(());
            }
            told.await;
        }
    }
}

/// Sets the value. All clones set the same.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

/// Sees the value, and hears of changes.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

/// A sender, and a receiver that has seen the first value.
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let sender = Sender::new(value);
    let receiver = sender.subscribe();
    (sender, receiver)
}

impl<T> Sender<T> {
    /// A sender of a first value.
    pub fn new(value: T) -> Self {
        let state = RwLock::new((value, 0));
        Self { shared: Arc::new(Shared { state, told: Notify::new(), senders: AtomicUsize::new(1) }) }
    }

    /// A receiver that has seen what there is now.
    pub fn subscribe(&self) -> Receiver<T> {
        let seen = self.shared.state.read().1;
        Receiver { shared: self.shared.clone(), seen }
    }

    /// The value.
    pub fn borrow(&self) -> Ref<'_, T> {
        self.shared.borrow()
    }

    /// Sets the value and tells of it; returns the one before.
    pub fn send_replace(&self, value: T) -> T {
        let mut before = value;
        self.send_modify(|now| std::mem::swap(now, &mut before));
        before
    }

    /// Changes the value and tells of it.
    pub fn send_modify(&self, change: impl FnOnce(&mut T)) {
        self.send_if_modified(|value| {
            change(value);
            true
        });
    }

    /// Changes the value, and tells of it if `change` says so; returns whether it did.
    pub fn send_if_modified(&self, change: impl FnOnce(&mut T) -> bool) -> bool {
        let changed = {
            let mut state = self.shared.state.write();
            let changed = change(&mut state.0);
            state.1 += u64::from(changed);
            changed
        };
        if changed {
            self.shared.told.notify_waiters();
        }
        changed
    }
}

impl<T: Default> Default for Sender<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.senders.fetch_add(1, Ordering::Relaxed);
        Self { shared: self.shared.clone() }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.shared.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.told.notify_waiters();
        }
    }
}

impl<T> Receiver<T> {
    /// The value; whether it was seen stays as it is.
    pub fn borrow(&self) -> Ref<'_, T> {
        self.shared.borrow()
    }

    /// The value, which is seen from now on.
    pub fn borrow_and_update(&mut self) -> Ref<'_, T> {
        self.shared.look(&mut self.seen)
    }

    /// Whether there is a value that was not seen.
    ///
    /// # Errors
    /// When there is none, and never will be.
    pub fn has_changed(&self) -> Result<bool, Closed> {
        self.shared.has_changed(self.seen)
    }

    /// What there is now counts as not seen.
    pub fn mark_changed(&mut self) {
        self.seen = self.seen.wrapping_sub(1);
    }

    /// What there is now counts as seen.
    pub fn mark_unchanged(&mut self) {
        self.seen = self.shared.state.read().1;
    }

    /// Waits until there is a value that was not seen, which then is.
    ///
    /// # Errors
    /// When there is none, and never will be.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        self.shared.changed(&mut self.seen).await
    }

    /// Waits until something is true of the value, and returns it.
    ///
    /// # Errors
    /// When it is not true, and never will be.
    pub async fn wait_for(&mut self, mut holds: impl FnMut(&T) -> bool) -> Result<Ref<'_, T>, Closed> {
        let Self { shared, seen } = self;
        loop {
            {
                let value = shared.look(seen);
                if holds(&value) {
                    return Ok(value);
                }
            }
            shared.changed(seen).await?;
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), seen: self.seen }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    #[tokio::test]
    async fn who_began_to_wait_first_is_woken_first_however_many_wait() {
        for _ in 0..50 {
            let (sender, woken) = (Sender::new(0), Arc::new(Mutex::new(Vec::new())));
            let wait = |number: u32| {
                let (mut receiver, woken) = (sender.subscribe(), woken.clone());
                tokio::spawn(async move {
                    receiver.changed().await.unwrap();
                    woken.lock().push((number, *receiver.borrow()));
                })
            };
            let tasks: Vec<_> = (0..20).map(wait).collect();
            tokio::task::yield_now().await;
            sender.send_replace(7);
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(*woken.lock(), (0..20).map(|number| (number, 7)).collect::<Vec<_>>());
        }
    }

    #[tokio::test]
    async fn a_change_is_seen_once_and_several_may_be_seen_as_one() {
        let (sender, mut receiver) = channel(1);
        let mut other = receiver.clone();
        assert_eq!((receiver.has_changed(), sender.send_replace(2)), (Ok(false), 1));
        sender.send_modify(|value| *value += 1);
        assert!(!sender.send_if_modified(|value| std::mem::replace(value, 3) != 3));
        assert_eq!((receiver.has_changed(), *receiver.borrow(), receiver.has_changed()), (Ok(true), 3, Ok(true)));
        receiver.changed().await.unwrap();
        assert_eq!((receiver.has_changed(), *receiver.borrow_and_update()), (Ok(false), 3));
        assert_eq!(*other.borrow_and_update(), 3);
        assert_eq!(other.has_changed(), Ok(false));
        other.mark_changed();
        assert_eq!(other.has_changed(), Ok(true));
        other.mark_unchanged();
        assert_eq!((other.has_changed(), *sender.borrow()), (Ok(false), 3));
    }

    #[tokio::test]
    async fn who_waits_for_something_that_holds_already_does_not_wait_and_sees_it_when_it_comes() {
        let (sender, mut receiver) = channel(1);
        assert_eq!(*receiver.wait_for(|value| *value == 1).await.unwrap(), 1);
        let waits = tokio::spawn(async move { receiver.wait_for(|value| *value >= 3).await.map(|value| *value) });
        for value in [2, 3] {
            tokio::task::yield_now().await;
            sender.send_replace(value);
        }
        assert_eq!(waits.await.unwrap(), Ok(3));
    }

    #[tokio::test]
    async fn the_last_value_is_seen_after_all_senders_are_gone_and_then_nobody_waits_in_vain() {
        let (sender, mut receiver) = channel(1);
        let (another, mut waiting) = (sender.clone(), receiver.clone());
        let waits = tokio::spawn(async move { (waiting.changed().await, waiting.changed().await) });
        drop(sender);
        tokio::task::yield_now().await;
        another.send_replace(2);
        tokio::task::yield_now().await;
        drop(another);
        assert_eq!(waits.await.unwrap(), (Ok(()), Err(Closed)));
        assert_eq!((receiver.changed().await, *receiver.borrow()), (Ok(()), 2));
        assert_eq!((receiver.changed().await, receiver.has_changed()), (Err(Closed), Err(Closed)));
        assert_eq!(receiver.wait_for(|value| *value == 2).await.map(|value| *value), Ok(2));
        assert!(receiver.wait_for(|value| *value == 3).await.is_err());
    }
}
