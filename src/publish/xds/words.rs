//! What a proxy says about what it rejects, as others may read it. Envoy quotes what it does not like, and may quote
//! all of a message; so whatever could be a key is cut away before anybody keeps it.
//!
//! Law: no part of a private key, and nothing that looks like one, is in what this returns.

use std::sync::Arc;

use super::kind::Kind;
use super::resource::{Resource, Source};

/// What is kept of a client's words.
const MAX_REASON: usize = 1024;

/// Where an armoured key begins, however the text around it is quoted.
const ARMOUR: &str = "-----";

/// So many characters of a key's own in a row are a part of it.
const MIN_PART: usize = 8;

/// So many characters of Base64 in a row are content, and no word of a language.
const MAX_WORD: usize = 40;

/// What is said instead of what was cut away.
const WITHHELD: &str = "[the rest is withheld: it may quote a secret]";

/// One line of what a client said about resources of a kind that it was sent.
pub fn words<'a>(kind: Kind, said: &str, sent: impl IntoIterator<Item = &'a Arc<Resource>>) -> String {
    let mut end = said.find(ARMOUR).unwrap_or(said.len());
    if kind == Kind::Secret {
        // Where the text quotes, it quotes a secret.
        end = said[..end].find(['"', '\'', '{', '\\', '\n']).unwrap_or(end);
        end = content(&said[..end], sent).unwrap_or(end);
    }
    let line = one_line(&said[..end]);
    match end < said.len() {
        true if line.is_empty() => WITHHELD.to_owned(),
        true => format!("{line} {WITHHELD}"),
        false => line,
    }
}

/// Where something begins that is, or may be, content of the secrets that were sent.
fn content<'a>(text: &str, sent: impl IntoIterator<Item = &'a Arc<Resource>>) -> Option<usize> {
    let keys: Vec<Vec<u8>> = sent.into_iter().filter_map(|resource| body(resource)).collect();
    let mut start = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        if c.is_ascii_alphanumeric() || "+/=".contains(c) {
            start.get_or_insert(at);
        } else if let Some(from) = start.take() {
            let word = &text.as_bytes()[from..at];
            let is_part = |key: &Vec<u8>| memchr::memmem::find(key, word).is_some();
            if word.len() > MAX_WORD || (word.len() >= MIN_PART && keys.iter().any(is_part)) {
                return Some(from);
            }
        }
    }
    None
}

/// A secret's key without its armour's lines.
fn body(resource: &Resource) -> Option<Vec<u8>> {
    let Source::Secret(secret) = &resource.source else { return None };
    let lines = secret.private_key.split(|byte| *byte == b'\n');
    Some(lines.filter(|line| !line.starts_with(ARMOUR.as_bytes())).flatten().copied().collect())
}

fn one_line(text: &str) -> String {
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        let room = MAX_REASON.saturating_sub(line.len() + 1);
        let end = (0..=room.min(word.len())).rev().find(|end| word.is_char_boundary(*end)).unwrap_or(0);
        if !line.is_empty() && end > 0 {
            line.push(' ');
        }
        line.push_str(&word[..end]);
        if end < word.len() {
            break;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::xds::rope::{Digest, Rope};
    use crate::publish::xds::testing::mk_secret;

    const KEY: &str =
        "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nBKcwggSjAgEAAoIB\n-----END PRIVATE KEY-----\n";

    fn said(text: &str) -> String {
        let secret = Arc::new(mk_secret("cert", "chain", KEY));
        let (body, gateways) = (Rope::from(Vec::new()), secret.gateways.clone());
        let digest = Digest::of(b"");
        let sent = Resource::new(Kind::Secret, "cert".into(), body, digest, gateways, Source::Secret(secret));
        words(Kind::Secret, text, [&sent])
    }

    #[test]
    fn what_envoy_says_about_a_key_is_kept() {
        let text = "Failed to load private key from <inline>, Cause: error:0b000074:X.509 certificate \
                    routines:OPENSSL_internal:KEY_VALUES_MISMATCH";
        assert_eq!(said(text), text);
    }

    #[test]
    fn a_key_is_cut_away_however_it_is_quoted() {
        let quoted = [
            format!("bad: {KEY}"),
            format!("bad: inline_string: \"{}\"", KEY.replace('\n', "\\n")),
            "bad: MIIEvQIBADANBgkqhkiG9w0BAQEFAASC".to_owned(),
            "bad: BKcwggSjAgEAAoIB, it is".to_owned(),
            "bad: tail cwggSjAgE".to_owned(),
            format!("bad: private_key {{ inline_bytes: {} }}", "QUJD".repeat(20)),
            format!("bad: {}", "QUJD".repeat(20)),
        ];
        for text in quoted {
            let kept = said(&text);
            assert!(kept.starts_with("bad:") && kept.ends_with(WITHHELD), "{text} became {kept}");
            let parts = ["MII", "BKc", "cwgg", "QUJD", "PRIVATE"];
            assert!(!parts.iter().any(|part| kept.contains(part)), "{text} became {kept}");
        }
        let other = words(Kind::Listener, &format!("odd: {KEY}"), []);
        assert_eq!(other, format!("odd: {WITHHELD}"));
    }

    #[test]
    fn words_are_one_line_of_bounded_length() {
        let text = format!("a\n\tb\u{1b}[31m {}", "ä".repeat(2000));
        let kept = words(Kind::Listener, &text, []);
        assert!(kept.starts_with("a b [31m ä") && kept.len() <= MAX_REASON, "{kept}");
        assert_eq!(words(Kind::Listener, "route \"a\" is bad", []), "route \"a\" is bad");
    }
}
