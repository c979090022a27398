//! Keys that stand twice in one mapping. YAML forbids them, JSON leaves open which one counts, and neither parser says
//! a word; nobody knows which of the two the author meant. Knows no file and no object.

use std::borrow::Cow;
use std::cmp::Ordering;

/// The second of two equal keys among those of one mapping, which are in the order of the text.
pub(super) fn second<T>(keys: &mut [T], compare: impl Fn(&T, &T) -> Ordering) -> Option<&T> {
    // Stable, so that of two equal ones the second still stands behind the first.
    keys.sort_by(&compare);
    keys.windows(2).find(|pair| compare(&pair[0], &pair[1]).is_eq()).map(|pair| &pair[1])
}

/// What is said of one, given as JSON.
pub(super) fn reason(key: &str) -> String {
    format!("key {key} is there twice")
}

/// The first mapping of a valid JSON text to end with a key in it twice: the line of the second one, from 0, and what
/// is said of it.
pub(super) fn repeated(json: &str) -> Option<(usize, String)> {
    let bytes = json.as_bytes();
    // The keys of all open mappings with their places; of each open bracket where its keys begin, if it has any.
    let mut keys: Vec<(Cow<'_, str>, usize)> = Vec::new();
    let mut open: Vec<Option<usize>> = Vec::new();
    let (mut at, mut at_key) = (0, false);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                let end = end_of_string(bytes, at);
                if at_key {
                    keys.push((plain(&json[at..end]), at));
                    at_key = false;
                }
                at = end;
                continue;
            }
            b'{' => {
                open.push(Some(keys.len()));
                at_key = true;
            }
            b'[' => {
                open.push(None);
                at_key = false;
            }
            b',' => at_key = matches!(open.last(), Some(Some(_))),
            b'}' | b']' => {
                at_key = false;
                if let Some(Some(first)) = open.pop() {
                    if let Some((key, place)) = second(&mut keys[first..], |a, b| a.0.cmp(&b.0)) {
                        let line = bytes[..*place].iter().filter(|byte| **byte == b'\n').count();
                        return Some((line, reason(key)));
                    }
                    keys.truncate(first);
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Behind the closing quote of the string that begins at `start`.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The one spelling of a string that may have several.
fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let spelt = serde_json::from_str::<String>(text).and_then(|text| serde_json::to_string(&text));
    spelt.map_or(Cow::Borrowed(text), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_stands_twice_in_one_mapping_is_found_with_its_line() {
        let cases = [
            (r#"{"a": 1, "a": 2}"#, Some((0, r#"key "a" is there twice"#))),
            ("{\n\"a\": {\"b\": [1, {\"c\": 1,\n\"d\": \"c\",\n\"c\": 2}]}}", Some((3, r#"key "c" is there twice"#))),
            (r#"{"a\u0062": 1, "ab": 2}"#, Some((0, r#"key "ab" is there twice"#))),
            (r#"[{"a": {}, "b": [{"x": 1}], "a": 1}]"#, Some((0, r#"key "a" is there twice"#))),
            (r#"{"a": "a", "b": ["a", "a"], "c": {"a": 1}, "d": {"a": 1}, "e": [{"a": 1}, {"a": 1}]}"#, None),
            (r#"{"a\"": 1, "a": ",\"a\":", "{": "}", "b": "\\"}"#, None),
            (r#"{"": 1, " ": 2}"#, None),
            ("[]", None),
            ("\"a\"", None),
        ];
        for (json, expected) in cases {
            serde_json::from_str::<serde_json::Value>(json).unwrap();
            let found = repeated(json);
            assert_eq!(found.as_ref().map(|(line, reason)| (*line, reason.as_str())), expected, "{json}");
        }
    }
}
