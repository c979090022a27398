//! Resource versions: opaque names that, since Kubernetes 1.35 (KEP-5504), are numbers of any length and may be ordered.
//!
//! Law: what is not a number is never ordered, only told apart.

use std::cmp::Ordering;

/// Whether a watch can begin at a resource version. "0" means "any state, however old" to the server, so nobody may
/// go on from there.
pub(super) fn is_usable(version: &str) -> bool {
    !version.is_empty() && version != "0"
}

/// Which of two versions is older, if both are numbers.
pub(super) fn compare(a: &str, b: &str) -> Option<Ordering> {
    let (a, b) = (digits(a)?, digits(b)?);
    Some(a.len().cmp(&b.len()).then_with(|| a.cmp(b)))
}

fn digits(version: &str) -> Option<&str> {
    let is_number = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| version.trim_start_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_length_are_ordered() {
        assert_eq!(compare("9", "10"), Some(Ordering::Less));
        assert_eq!(compare("100", "100"), Some(Ordering::Equal));
        assert_eq!(compare("007", "7"), Some(Ordering::Equal));
        let long = "340282366920938463463374607431768211457";
        assert_eq!(compare(long, "2"), Some(Ordering::Greater));
    }

    #[test]
    fn anything_else_is_not_ordered() {
        assert_eq!(compare("abc", "10"), None);
        assert_eq!(compare("10", ""), None);
        assert_eq!(compare("1.5", "2"), None);
    }

    #[test]
    fn nobody_goes_on_from_zero() {
        assert!(is_usable("1"));
        assert!(!is_usable("0"));
        assert!(!is_usable(""));
    }
}
