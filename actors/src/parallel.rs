//! One function over many values, shared out among the machine's cores; the results are in the order of the values.
//!
//! Law: it is for pure functions only, so that nobody can tell on how many threads it ran. Few values stay on the
//! caller's thread: what happens all the time costs no thread.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::thread;

/// So many values are worth a thread of their own, which costs as much as a few of them.
const SHARE: usize = 512;

/// What `each` makes of all values. If it panics for one, so does this.
pub fn map<T: Sync, R: Send>(values: &[T], each: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let shares = values.len() / SHARE;
    let threads = if shares < 2 { 1 } else { thread::available_parallelism().map_or(1, NonZero::get).min(shares) };
    if threads == 1 {
        return values.iter().map(each).collect();
    }
    let each = &each;
    thread::scope(|scope| {
        let (own, others) = values.split_at(values.len().div_ceil(threads));
        let others = others.chunks(own.len());
        let others: Vec<_> =
            others.map(|part| scope.spawn(move || part.iter().map(each).collect::<Vec<R>>())).collect();
        let mut all = Vec::with_capacity(values.len());
        all.extend(own.iter().map(each));
        for other in others {
            all.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        all
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_values_however_many_there_are() {
        for count in [0, 1, SHARE, 2 * SHARE - 1, 2 * SHARE, 2 * SHARE + 1, 9 * SHARE + 7] {
            let values: Vec<usize> = (0..count).collect();
            let doubled = map(&values, |value| value * 2);
            assert_eq!(doubled, values.iter().map(|value| value * 2).collect::<Vec<_>>(), "{count}");
        }
    }

    #[test]
    fn a_panic_for_one_value_is_the_callers() {
        let values: Vec<usize> = (0..4 * SHARE).collect();
        let panicked = std::panic::catch_unwind(|| map(&values, |value| assert!(*value + 1 < 4 * SHARE, "injected")));
        assert_eq!(panicked.unwrap_err().downcast_ref::<&str>(), Some(&"injected"));
    }
}
