//! A file's text to the documents in it, before any of them is parsed, so that a bad one harms no other and
//! one that did not change is not parsed again.
//!
//! A line that starts with `---` separates YAML documents wherever it stands (YAML 1.2.2, section 9.1.2: not
//! even a block scalar may hold one at column zero), so no parser is needed to find them.

use serde::Deserialize;
use serde_json::value::RawValue;

/// One document's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// The line of the file on which it starts, from 1.
    pub line: usize,
    /// What it is written in.
    pub text: Text<'a>,
    /// Kind and API version of the items of a typed list, which do not repeat them.
    pub inherited: Option<Inherited<'a>>,
}

/// What the items of a typed list inherit from it: `HTTPRouteList` has items of kind `HTTPRoute`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inherited<'a> {
    /// API version.
    pub api_version: &'a str,
    /// Kind.
    pub kind: &'a str,
}

/// See [`Piece`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text<'a> {
    /// YAML, of unknown quality.
    Yaml(&'a [u8]),
    /// Valid JSON.
    Json(&'a str),
    /// The rest of a JSON file from where it is not valid.
    BadJson {
        /// The whole rest, to tell it from another.
        rest: &'a [u8],
        /// The line of the error, within the rest, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
}

impl<'a> Text<'a> {
    /// The bytes, whatever they are.
    pub fn bytes(&self) -> &'a [u8] {
        match self {
            Text::Yaml(bytes) | Text::BadJson { rest: bytes, .. } => bytes,
            Text::Json(text) => text.as_bytes(),
        }
    }
}

/// The documents of a YAML file. Pieces without content are left out.
pub(super) fn yaml(file: &[u8]) -> Vec<Piece<'_>> {
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    let mut pieces = Vec::new();
    let (mut start, mut start_line, mut blank) = (0, 1, true);
    let mut push = |from: usize, to: usize, line: usize, blank: bool| {
        if !blank {
            pieces.push(Piece { line, text: Text::Yaml(&file[from..to]), inherited: None });
        }
    };
    let (mut at, mut line) = (0, 1);
    for text in file.split_inclusive(|byte| *byte == b'\n') {
        let next = at + text.len();
        if is_marker(text, b"---") {
            // Directives stand before the marker of the document that they are about.
            if !(blank || is_directives(&file[start..at])) {
                push(start, at, start_line, false);
                (start, start_line) = (at, line);
            } else if blank {
                (start, start_line) = (at, line);
            }
            blank = has_no_content(&text[3..]) && !is_directives(&file[start..at]);
        } else if is_marker(text, b"...") {
            push(start, next, start_line, blank);
            (start, start_line, blank) = (next, line + 1, true);
        } else {
            blank = blank && has_no_content(text);
        }
        (at, line) = (next, line + 1);
    }
    push(start, file.len(), start_line, blank);
    pieces
}

fn is_marker(line: &[u8], marker: &[u8]) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace))
}

/// Whether a line holds blanks and a comment at the most.
fn has_no_content(line: &[u8]) -> bool {
    line.iter().find(|byte| !byte.is_ascii_whitespace()).is_none_or(|byte| *byte == b'#')
}

/// The line, from 0, on which a YAML document's content starts.
pub(super) fn content_line(text: &str) -> usize {
    let content = |line: &str| {
        let line = line.strip_prefix("---").filter(|_| is_marker(line.as_bytes(), b"---")).unwrap_or(line);
        !line.starts_with('%') && !has_no_content(line.as_bytes())
    };
    text.lines().position(content).unwrap_or(0)
}

fn is_directives(text: &[u8]) -> bool {
    let mut directives = false;
    text.split_inclusive(|byte| *byte == b'\n').all(|line| {
        directives |= line.starts_with(b"%");
        line.starts_with(b"%") || has_no_content(line)
    }) && directives
}

/// The documents of a JSON file: one or more values in a row; arrays and lists are taken apart.
pub(super) fn json(file: &[u8]) -> Vec<Piece<'_>> {
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    let mut lines = Lines { file, at: 0, line: 1 };
    let mut pieces = Vec::new();
    let mut stream = serde_json::Deserializer::from_slice(file).into_iter::<&RawValue>();
    let mut good = 0;
    loop {
        match stream.next() {
            None => return pieces,
            Some(Ok(value)) => {
                good = stream.byte_offset();
                take_apart(value.get(), &mut lines, None, &mut pieces);
            }
            Some(Err(error)) => {
                let first = lines.of(good);
                let (line, column) = (error.line().saturating_sub(first) + 1, error.column());
                let text = Text::BadJson { rest: &file[good..], line, column };
                pieces.push(Piece { line: first, text, inherited: None });
                return pieces;
            }
        }
    }
}

#[derive(Deserialize)]
struct List<'a> {
    #[serde(borrow, rename = "apiVersion")]
    api_version: Option<&'a str>,
    #[serde(borrow)]
    kind: Option<&'a str>,
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
}

fn take_apart<'a>(text: &'a str, lines: &mut Lines<'_>, inherited: Option<Inherited<'a>>, pieces: &mut Vec<Piece<'a>>) {
    if text.starts_with('[') {
        if let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(text) {
            items.into_iter().for_each(|item| take_apart(item.get(), lines, inherited, pieces));
            return;
        }
    } else if let Some((items, inherited)) = list_items(text) {
        items.into_iter().for_each(|item| take_apart(item.get(), lines, inherited, pieces));
        return;
    }
    pieces.push(Piece { line: lines.of_text(text), text: Text::Json(text), inherited });
}

/// The items of an object that is a list of others, with what they inherit; `None` if it is none.
pub(super) fn list_items(json: &str) -> Option<(Vec<&RawValue>, Option<Inherited<'_>>)> {
    // Most objects are no lists: this look at the text is much cheaper than a parse.
    if !json.contains("List\"") {
        return None;
    }
    let list = serde_json::from_str::<List<'_>>(json).ok()?;
    let of_kind = list.kind?.strip_suffix("List")?;
    let items = list.items?;
    let inherited =
        list.api_version.filter(|_| !of_kind.is_empty()).map(|api_version| Inherited { api_version, kind: of_kind });
    Some((items, inherited))
}

/// Counts lines, going forward only.
struct Lines<'a> {
    file: &'a [u8],
    at: usize,
    line: usize,
}

impl Lines<'_> {
    fn of(&mut self, offset: usize) -> usize {
        let passed = self.file.get(self.at..offset).unwrap_or_default();
        self.line += passed.iter().filter(|byte| **byte == b'\n').count();
        self.at = self.at.max(offset);
        self.line
    }

    /// The line of a text that is a part of the file.
    fn of_text(&mut self, text: &str) -> usize {
        self.of((text.as_ptr() as usize).saturating_sub(self.file.as_ptr() as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<(usize, String)> {
        let pieces = yaml(text.as_bytes());
        pieces.iter().map(|p| (p.line, String::from_utf8_lossy(p.text.bytes()).into_owned())).collect()
    }

    fn mk(parts: &[(usize, &str)]) -> Vec<(usize, String)> {
        parts.iter().map(|(line, text)| (*line, (*text).to_owned())).collect()
    }

    #[test]
    fn documents_are_separated_where_yaml_says_so() {
        assert_eq!(split("a: 1\n---\nb: 2\n"), mk(&[(1, "a: 1\n"), (2, "---\nb: 2\n")]));
        assert_eq!(split("---\na: 1\n--- # x\n\n---\nb: 2"), mk(&[(1, "---\na: 1\n"), (5, "---\nb: 2")]));
        assert_eq!(split("a: 1\n...\n# x\n---\nb: 2\n"), mk(&[(1, "a: 1\n...\n"), (4, "---\nb: 2\n")]));
        assert_eq!(split("--- {a: 1}\n--- [2]\n"), mk(&[(1, "--- {a: 1}\n"), (2, "--- [2]\n")]));
        assert_eq!(split("a: |\n  x\n  ---\n ---\n---x: 1\n"), mk(&[(1, "a: |\n  x\n  ---\n ---\n---x: 1\n")]));
        assert_eq!(split("a: 1\r\n---\r\nb: 2\r\n"), mk(&[(1, "a: 1\r\n"), (2, "---\r\nb: 2\r\n")]));
        assert_eq!(split("\u{feff}a: 1\n"), mk(&[(1, "a: 1\n")]));
    }

    #[test]
    fn directives_belong_to_the_document_after_them() {
        let text = "# c\n%YAML 1.2\n---\na: 1\n...\n%YAML 1.2\n---\nb: 2\n";
        let expected = [(1, "# c\n%YAML 1.2\n---\na: 1\n...\n"), (6, "%YAML 1.2\n---\nb: 2\n")];
        assert_eq!(split(text), mk(&expected));
    }

    #[test]
    fn what_has_no_content_is_left_out() {
        for text in ["", "\n\n", "# x\n", "---\n", "---\n---\n# x\n---\n", "...\n...\n"] {
            assert_eq!(split(text), mk(&[]), "{text:?}");
        }
    }

    fn split_json(text: &str) -> Vec<(usize, String)> {
        let pieces = json(text.as_bytes());
        pieces.iter().map(|p| (p.line, String::from_utf8_lossy(p.text.bytes()).into_owned())).collect()
    }

    #[test]
    fn json_arrays_lists_and_rows_are_taken_apart() {
        assert_eq!(split_json("\n{\"a\": 1}"), mk(&[(2, "{\"a\": 1}")]));
        assert_eq!(split_json("[{\"a\":1},\n\n{\"b\":2}]"), mk(&[(1, "{\"a\":1}"), (3, "{\"b\":2}")]));
        assert_eq!(split_json("{\"a\":1}\n{\"b\":2}\n"), mk(&[(1, "{\"a\":1}"), (2, "{\"b\":2}")]));
        let list = "{\"kind\":\"List\",\"apiVersion\":\"v1\",\"items\":[\n{\"a\":1},\n{\"b\":2}]}";
        assert_eq!(split_json(list), mk(&[(2, "{\"a\":1}"), (3, "{\"b\":2}")]));
        assert_eq!(json(list.as_bytes())[0].inherited, None);
    }

    #[test]
    fn items_of_a_typed_list_inherit_its_kind() {
        let list = b"{\"kind\":\"HTTPRouteList\",\"apiVersion\":\"g/v1\",\"items\":[{}]}";
        assert_eq!(json(list)[0].inherited, Some(Inherited { api_version: "g/v1", kind: "HTTPRoute" }));
    }

    #[test]
    fn invalid_json_harms_what_follows_it_only() {
        let pieces = json(b"{\"a\":1}\n\n{\"b\":\n x}");
        assert_eq!(pieces.len(), 2);
        let Text::BadJson { line, .. } = pieces[1].text else { panic!("{pieces:?}") };
        assert_eq!(pieces[1].line + line - 1, 4);
    }
}
