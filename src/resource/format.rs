//! The formats of names and values that Kubernetes' and the Gateway API's schemas ask for. Each check says
//! what is expected, never repeats the value: it may be long, or secret.

use std::time::Duration;

use tidegate_actors::id::Name;

use super::field::Checks;
use super::shared::shared;

/// RFC 1123 label: namespaces, some names.
pub fn is_label(text: &str) -> bool {
    let edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    matches!(bytes.len(), 1..=63)
        && edge(bytes[0])
        && edge(bytes[bytes.len() - 1])
        && bytes.iter().all(|&b| edge(b) || b == b'-')
}

/// RFC 1123 subdomain: most names, group names, precise hostnames. A part may be longer than a label here,
/// as the schemas allow.
pub fn is_subdomain(text: &str) -> bool {
    let part = |part: &str| {
        let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = part.as_bytes();
        bytes.first().is_some_and(edge) && bytes.last().is_some_and(edge) && bytes.iter().all(|b| edge(b) || *b == b'-')
    };
    text.len() <= 253 && text.split('.').all(part)
}

/// A hostname, `*.` in front of it allowed; IP addresses are not hostnames.
pub fn is_hostname(text: &str) -> bool {
    let precise = text.strip_prefix("*.").unwrap_or(text);
    text.len() <= 253 && is_precise_hostname(precise)
}

/// A hostname without a wildcard.
pub fn is_precise_hostname(text: &str) -> bool {
    is_subdomain(text) && text.parse::<std::net::IpAddr>().is_err()
}

/// A kind: letters, digits, dashes.
pub fn is_kind(text: &str) -> bool {
    let bytes = text.as_bytes();
    matches!(bytes.len(), 1..=63)
        && bytes[0].is_ascii_alphabetic()
        && bytes[bytes.len() - 1].is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
}

/// A header name: an RFC 7230 token of at most 256 characters.
pub fn is_header_name(text: &str) -> bool {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    matches!(text.len(), 1..=256) && text.bytes().all(token)
}

/// A header value that no proxy refuses: no control characters but tab.
pub fn is_header_value(text: &str) -> bool {
    matches!(text.len(), 1..=4096) && text.chars().all(|c| c == '\t' || !c.is_control())
}

/// A Gateway API duration (GEP-2257): one to four of `h`, `m`, `s`, `ms`, each a whole number of at most five
/// digits.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    for _ in 0..4 {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if !(1..=5).contains(&digits) {
            return None;
        }
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (unit, length) = match rest.as_bytes() {
            [b'm', b's', ..] => (Duration::from_millis(1), 2),
            [b'h', ..] => (Duration::from_secs(3600), 1),
            [b'm', ..] => (Duration::from_secs(60), 1),
            [b's', ..] => (Duration::from_secs(1), 1),
            _ => return None,
        };
        total += unit * u32::try_from(number).ok()?;
        rest = &rest[length..];
        if rest.is_empty() {
            return Some(total);
        }
    }
    None
}

/// The name of an object.
pub fn object_name(c: &mut Checks, text: String) -> Name {
    c.ensure(!text.is_empty() && text.len() <= 253, "must be the name of an object, of 1 to 253 characters");
    text.into()
}

/// A namespace.
pub fn namespace(c: &mut Checks, text: String) -> Name {
    c.ensure(is_label(&text), "must be a namespace: at most 63 lower case letters, digits and dashes");
    shared(&text)
}

/// A section name: of a listener or a rule.
pub fn section_name(c: &mut Checks, text: String) -> Name {
    c.ensure(is_subdomain(&text), "must be a name of lower case letters, digits, dashes and dots");
    shared(&text)
}

/// A group; empty for the core group.
pub fn group(c: &mut Checks, text: String) -> Name {
    c.ensure(text.is_empty() || is_subdomain(&text), "must be an API group, or empty for the core group");
    shared(&text)
}

/// A kind.
pub fn kind(c: &mut Checks, text: String) -> Name {
    c.ensure(is_kind(&text), "must be a kind, such as Service");
    shared(&text)
}

/// A hostname, wildcard allowed.
pub fn hostname(c: &mut Checks, text: String) -> Name {
    let reason = "must be a lower case hostname, with at most one wildcard as its whole first label, and no IP address";
    c.ensure(is_hostname(&text), reason);
    text.into()
}

/// A hostname without a wildcard.
pub fn precise_hostname(c: &mut Checks, text: String) -> Name {
    c.ensure(is_precise_hostname(&text), "must be a lower case hostname without a wildcard, and no IP address");
    text.into()
}

/// A port from 1 to 65535; 1 if it is not one.
pub fn port(c: &mut Checks, number: i64) -> u16 {
    match u16::try_from(number) {
        Ok(port) if port > 0 => port,
        _ => {
            c.error("must be a port from 1 to 65535");
            1
        }
    }
}

/// A header's name, in lower case.
pub fn header_name(c: &mut Checks, text: &str) -> Name {
    c.ensure(is_header_name(text), "must be an HTTP header name of 1 to 256 characters");
    shared(&text.to_ascii_lowercase())
}

/// A header's value.
pub fn header_value(c: &mut Checks, text: String) -> Name {
    c.ensure(is_header_value(&text), "must be a header value of 1 to 4096 characters without control characters");
    text.into()
}

/// A duration.
pub fn duration(c: &mut Checks, text: &str) -> Duration {
    parse_duration(text).unwrap_or_else(|| {
        c.error("must be a duration such as 10s, 500ms or 1h30m");
        Duration::ZERO
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_follow_the_gateway_api_and_not_go() {
        let ok = [("0s", 0), ("10s", 10_000), ("1h30m", 5_400_000), ("1h1m1s1ms", 3_661_001), ("99999ms", 99_999)];
        for (text, millis) in ok {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "1", "s", "1.5s", "-1s", "100000s", "1d", "1us", "1s1s1s1s1s", "1s "] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn hostnames_are_lower_case_names_with_at_most_one_leading_wildcard() {
        for text in ["a.example.com", "*.example.com", "localhost", "1a.b", "*.com"] {
            assert!(is_hostname(text), "{text}");
        }
        for text in
            ["", "*", "a.*.com", "*a.com", "A.com", "a_b.com", "-a.com", "a..com", "a.com.", "10.0.0.1", "*.*.a"]
        {
            assert!(!is_hostname(text), "{text}");
        }
        assert!(!is_precise_hostname("*.example.com"));
    }

    #[test]
    fn header_names_are_tokens() {
        assert!(is_header_name("X-Env_1"));
        for text in ["", ":method", "a b", "a/b", "ä"] {
            assert!(!is_header_name(text), "{text}");
        }
        assert!(is_header_value("a, b\tc"));
        assert!(!is_header_value("a\r\nb: c"));
    }

    #[test]
    fn names_are_checked_by_their_kind() {
        assert!(is_label("a-1") && !is_label("a.b") && !is_label(""));
        assert!(is_subdomain("a.b-c.d") && !is_subdomain("a..b") && !is_subdomain("A"));
        assert!(is_kind("HTTPRoute") && !is_kind("1a") && !is_kind(""));
    }
}
