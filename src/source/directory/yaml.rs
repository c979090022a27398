//! One YAML document to JSON, straight from the parser's events, without a tree between.
//!
//! Laws: what comes out is valid JSON; keys are unique; an alias copies what was already written, and the
//! size limit counts those copies, so a small document cannot grow without bound.

mod merge;
mod tag;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, Tag};
use tidegate_actors::Set;

use self::merge::merge_sources;
use self::tag::{Kind, write_scalar};
use super::{keys, scalar};
use crate::limit::Limit;

/// Why a document is not usable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct YamlError {
    /// Line within the document, from 1.
    pub line: usize,
    /// What is wrong, in a sentence.
    pub reason: String,
}

/// The deepest nesting of a document; JSON parsers stop at 128.
const MAX_NESTING: usize = 100;

/// The JSON of a document; `None` if it is empty.
///
/// # Errors
/// When it is not YAML, has no form in JSON, repeats a key, or grows above `limit` bytes.
pub(super) fn to_json(text: &str, limit: usize) -> Result<Option<Vec<u8>>, YamlError> {
    let mut writer = Writer::new(limit, text.len());
    for next in Parser::new_from_str_with_options(text, options()) {
        let (event, span) = next.map_err(|error| YamlError {
            line: error.marker().line(),
            reason: format!("not valid YAML: {} (column {})", error.info(), error.marker().col() + 1),
        })?;
        let line = span.start.line();
        writer.event(event, line).map_err(|reason| YamlError { line: writer.fault_line.unwrap_or(line), reason })?;
    }
    Ok(Some(writer.out).filter(|json| !json.is_empty() && json != b"null"))
}

/// How documents are parsed, for their content and for positions alike.
pub(super) fn options() -> granit_parser::Options {
    granit_parser::options! {
        emit_comments: false,
        // As libyaml does, which is what Kubernetes users have seen so far.
        block_scalar_eof_without_line_feed: true,
        flow_nesting_limit: MAX_NESTING,
        block_nesting_limit: MAX_NESTING,
    }
}

struct Frame {
    mapping: bool,
    /// The anchor to remember when it closes; 0 for none.
    anchor: usize,
    start: usize,
    entries: usize,
    /// In a mapping: whether a key comes next.
    at_key: bool,
    /// Where the value of a merge key starts, while it is being written.
    merging: Option<usize>,
    /// What merge keys brought.
    merged: Vec<Vec<u8>>,
    /// The first of its keys in [`Writer::keys`].
    keys: usize,
}

struct Writer {
    out: Vec<u8>,
    limit: usize,
    frames: Vec<Frame>,
    /// Where the keys of all open mappings stand in `out`, with their lines.
    keys: Vec<(Range<usize>, usize)>,
    /// What was anchored, by the parser's number.
    anchors: Vec<Option<Box<[u8]>>>,
    /// Where an error is that shows only after its place.
    fault_line: Option<usize>,
}

impl Writer {
    fn new(limit: usize, hint: usize) -> Self {
        let out = Vec::with_capacity(hint.min(limit));
        Self { out, limit, frames: Vec::new(), keys: Vec::new(), anchors: Vec::new(), fault_line: None }
    }

    fn event(&mut self, event: Event<'_>, line: usize) -> Result<(), String> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tag = Kind::of(tag.as_ref())?;
                if self.at_key() {
                    let merge = text == "<<" && style == ScalarStyle::Plain && tag == Kind::None;
                    return self.key(&text, merge, anchor, line);
                }
                let start = self.before_value();
                write_scalar(&text, style, tag, &mut self.out)?;
                self.remember(anchor, start);
                self.after_value()
            }
            Event::Alias(anchor) => {
                let json = self.anchors.get(anchor).cloned().flatten();
                let json = json.ok_or("an alias refers to a node that it stands in")?;
                if self.at_key() {
                    let text = key_text(&json)?;
                    return self.key(&text, false, 0, line);
                }
                self.before_value();
                self.out.extend(&*json);
                self.after_value()
            }
            Event::SequenceStart(_, anchor, tag) => self.open(false, anchor, tag.as_ref(), line),
            Event::MappingStart(_, anchor, tag) => self.open(true, anchor, tag.as_ref(), line),
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            _ => Ok(()),
        }
    }

    fn at_key(&self) -> bool {
        self.frames.last().is_some_and(|frame| frame.mapping && frame.at_key)
    }

    fn key(&mut self, text: &str, merge: bool, anchor: usize, line: usize) -> Result<(), String> {
        let Some(frame) = self.frames.last_mut() else { return Ok(()) };
        frame.at_key = false;
        if merge {
            frame.merging = Some(self.out.len());
            return Ok(());
        }
        if frame.entries > 0 {
            self.out.push(b',');
        }
        frame.entries += 1;
        let start = self.out.len();
        scalar::string(text, &mut self.out);
        self.keys.push((start..self.out.len(), line));
        self.remember(anchor, start);
        self.out.push(b':');
        self.within_limit()
    }

    fn before_value(&mut self) -> usize {
        if let Some(frame) = self.frames.last_mut().filter(|frame| !frame.mapping) {
            if frame.entries > 0 {
                self.out.push(b',');
            }
            frame.entries += 1;
        }
        self.out.len()
    }

    fn after_value(&mut self) -> Result<(), String> {
        self.within_limit()?;
        if let Some(frame) = self.frames.last_mut().filter(|frame| frame.mapping) {
            frame.at_key = true;
            if let Some(start) = frame.merging.take() {
                frame.merged.push(self.out.split_off(start));
            }
        }
        Ok(())
    }

    fn within_limit(&self) -> Result<(), String> {
        if self.out.len() <= self.limit {
            return Ok(());
        }
        Limit::ObjectSize.exceeded(1);
        Err(format!(
            "the document, its aliases expanded, is larger than {} bytes; make it smaller, or raise limits.object_size",
            self.limit
        ))
    }

    fn open(&mut self, mapping: bool, anchor: usize, tag: Option<&Cow<'_, Tag>>, line: usize) -> Result<(), String> {
        match Kind::of(tag)? {
            Kind::None => {}
            Kind::Mapping if mapping => {}
            Kind::Sequence if !mapping => {}
            _ => return Err("the tag does not fit what it stands before; remove it".to_owned()),
        }
        if self.at_key() {
            return Err("a mapping key must be a plain word or string".to_owned());
        }
        if self.frames.len() >= MAX_NESTING {
            return Err(format!("nested more than {MAX_NESTING} levels deep (at line {line})"));
        }
        let start = self.before_value();
        let keys = self.keys.len();
        self.frames.push(Frame {
            mapping,
            anchor,
            start,
            entries: 0,
            at_key: mapping,
            merging: None,
            merged: Vec::new(),
            keys,
        });
        self.out.push(if mapping { b'{' } else { b'[' });
        Ok(())
    }

    fn close(&mut self) -> Result<(), String> {
        let Some(mut frame) = self.frames.pop() else { return Ok(()) };
        if frame.mapping {
            self.refuse_repeated_keys(frame.keys)?;
            if !frame.merged.is_empty() {
                self.merge(&mut frame)?;
            }
            self.keys.truncate(frame.keys);
        }
        self.out.push(if frame.mapping { b'}' } else { b']' });
        self.remember(frame.anchor, frame.start);
        self.after_value()
    }

    fn refuse_repeated_keys(&mut self, from: usize) -> Result<(), String> {
        let Self { out, keys, fault_line, .. } = self;
        let text = |key: &(Range<usize>, usize)| out.get(key.0.clone()).unwrap_or_default();
        match keys::second(&mut keys[from..], |a, b| text(a).cmp(text(b))) {
            None => Ok(()),
            Some(key) => {
                *fault_line = Some(key.1);
                Err(keys::reason(&String::from_utf8_lossy(text(key))))
            }
        }
    }

    /// Adds what merge keys brought: a mapping's own keys win, then earlier sources over later ones.
    fn merge(&mut self, frame: &mut Frame) -> Result<(), String> {
        let own = &self.keys[frame.keys..];
        let mut taken: Set<Vec<u8>> = own.iter().map(|(range, _)| self.out[range.clone()].to_vec()).collect();
        let sources = std::mem::take(&mut frame.merged);
        for source in sources.iter().map(|json| merge_sources(json)) {
            for (key, value) in source?.into_iter().flatten() {
                let mut json = Vec::new();
                scalar::string(&key, &mut json);
                if !taken.insert(json.clone()) {
                    continue;
                }
                if frame.entries > 0 {
                    self.out.push(b',');
                }
                frame.entries += 1;
                self.out.extend(json);
                self.out.push(b':');
                self.out.extend(value.get().as_bytes());
                self.within_limit()?;
            }
        }
        Ok(())
    }

    fn remember(&mut self, anchor: usize, start: usize) {
        if anchor == 0 {
            return;
        }
        if self.anchors.len() <= anchor {
            self.anchors.resize(anchor + 1, None);
        }
        self.anchors[anchor] = Some(self.out[start..].into());
    }
}

/// The text of an aliased scalar that stands where a key does.
fn key_text(json: &[u8]) -> Result<String, String> {
    match json.first() {
        Some(b'{' | b'[') => Err("a mapping key must be a plain word or string".to_owned()),
        Some(b'"') => serde_json::from_slice(json).map_err(|error| error.to_string()),
        _ => Ok(String::from_utf8_lossy(json).into_owned()),
    }
}
