//! From a field's path to its line, by a second parse that keeps positions. It runs only when there is an
//! error to report.

use granit_parser::{Event, Parser};

use super::yaml;

/// The lines of one document. JSON is YAML here, which it is to the parser as well.
pub(super) struct Positions {
    root: Node,
}

struct Node {
    line: usize,
    children: Children,
}

enum Children {
    None,
    /// Key, line of the key, value.
    Mapping(Vec<(String, usize, Node)>),
    Sequence(Vec<Node>),
}

impl Positions {
    /// Parses a document that is known to be good; of one that is not, the lines up to the error are known.
    pub fn of(text: &str) -> Self {
        let mut events = Parser::new_from_str_with_options(text, yaml::options())
            .map_while(Result::ok)
            .map(|(event, span)| (event, span.start.line()))
            .filter(|(event, _)| event.is_node() || matches!(event, Event::SequenceEnd | Event::MappingEnd));
        let first = events.next();
        Self { root: first.map_or(Node { line: 1, children: Children::None }, |first| node(first, &mut events)) }
    }

    /// The line of a field, from 1; of one that is not there, the line of what it should stand in.
    pub fn line(&self, path: &str) -> usize {
        let (mut node, mut line, mut rest) = (&self.root, self.root.line, path);
        while !rest.is_empty() {
            let next = match &node.children {
                Children::None => None,
                Children::Sequence(items) => index(rest).and_then(|(at, rest)| {
                    let item = items.get(at)?;
                    Some((item, item.line, rest))
                }),
                // Of two keys that fit (`a` and `a.b`), the longer one is meant.
                Children::Mapping(entries) => entries
                    .iter()
                    .filter_map(|(key, line, value)| Some((value, *line, after_key(rest, key)?)))
                    .min_by_key(|(_, _, rest)| rest.len()),
            };
            match next {
                Some(found) => (node, line, rest) = found,
                None => break,
            }
        }
        line
    }
}

/// The nesting is limited by [`yaml::options`], so the recursion is too.
fn node<'a>((event, line): (Event<'a>, usize), events: &mut impl Iterator<Item = (Event<'a>, usize)>) -> Node {
    let children = match event {
        Event::SequenceStart(..) => {
            let mut items = Vec::new();
            while let Some(event) = events.next().filter(|(event, _)| *event != Event::SequenceEnd) {
                items.push(node(event, events));
            }
            Children::Sequence(items)
        }
        Event::MappingStart(..) => {
            let mut entries = Vec::new();
            while let Some((key, line)) = events.next().filter(|(event, _)| *event != Event::MappingEnd) {
                let name = key.scalar().map(|(text, _)| text.to_owned()).unwrap_or_default();
                // A key that is a collection would have made the document unusable; its events must still pass.
                node((key, line), events);
                let Some(value) = events.next() else { break };
                entries.push((name, line, node(value, events)));
            }
            Children::Mapping(entries)
        }
        _ => Children::None,
    };
    Node { line, children }
}

/// `[3].rest` to 3 and `rest`.
fn index(path: &str) -> Option<(usize, &str)> {
    let (digits, rest) = path.strip_prefix('[')?.split_once(']')?;
    Some((digits.parse().ok()?, rest.strip_prefix('.').unwrap_or(rest)))
}

/// What follows a key in a path, if the path starts with it: plain, or as `["key"]`.
fn after_key<'p>(path: &'p str, key: &str) -> Option<&'p str> {
    let quoted = |open: &str, close: &str| path.strip_prefix(open)?.strip_prefix(key)?.strip_prefix(close);
    let rest = quoted("[\"", "\"]").or_else(|| quoted("['", "']")).or_else(|| path.strip_prefix(key))?;
    match rest.as_bytes().first() {
        None | Some(b'[') => Some(rest),
        Some(b'.') => Some(&rest[1..]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
---
metadata:
  name: a
  annotations:
    example.com/x: 1
    example: {com/x: 2}
spec:
  rules:
  - matches:
    - path: {type: Exact,
             value: x}

    - path:
        value: y
  - {}
";

    #[test]
    fn a_field_is_found_by_its_path() {
        let positions = Positions::of(TEXT);
        let cases = [
            ("", 2),
            ("metadata.name", 3),
            ("metadata.annotations.example.com/x", 5),
            ("metadata.annotations[\"example.com/x\"]", 5),
            ("metadata.annotations['example'][\"com/x\"]", 6),
            ("spec.rules", 8),
            ("spec.rules[0]", 9),
            ("spec.rules[0].matches[0].path.value", 11),
            ("spec.rules[0].matches[1].path.value", 14),
            ("spec.rules[1]", 15),
        ];
        for (path, line) in cases {
            assert_eq!(positions.line(path), line, "{path}");
        }
    }

    #[test]
    fn a_missing_field_is_reported_where_it_should_stand() {
        let positions = Positions::of(TEXT);
        for (path, line) in [("spec.rules[1].matches", 15), ("spec.parentRefs[0].name", 7), ("spec.rules[7]", 8)] {
            assert_eq!(positions.line(path), line, "{path}");
        }
    }

    #[test]
    fn json_has_lines_too() {
        let positions = Positions::of("{\n\t\"a\": [\n\t\t1,\n\t\t{\"b\":\n\t\t\ttrue}\n\t]\n}");
        for (path, line) in [("a", 2), ("a[0]", 3), ("a[1]", 4), ("a[1].b", 4)] {
            assert_eq!(positions.line(path), line, "{path}");
        }
    }
}
