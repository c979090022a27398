//! Tags: honoured where JSON can say what they mean, refused elsewhere.

use std::borrow::Cow;

use granit_parser::{ScalarStyle, Tag};

use crate::source::directory::scalar;

/// What a tag asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    None,
    Text,
    Integer,
    Float,
    Boolean,
    Null,
    Mapping,
    Sequence,
}

impl Kind {
    /// What a tag asks for. Tags of one's own would need code to give them a meaning, and silently dropping
    /// one would change what its author said.
    pub fn of(tag: Option<&Cow<'_, Tag>>) -> Result<Self, String> {
        let Some(tag) = tag else { return Ok(Self::None) };
        let original = tag.original();
        if original == "!" {
            return Ok(Self::Text);
        }
        match tag.core_suffix() {
            Some("str" | "timestamp") => Ok(Self::Text),
            Some("int") => Ok(Self::Integer),
            Some("float") => Ok(Self::Float),
            Some("bool") => Ok(Self::Boolean),
            Some("null") => Ok(Self::Null),
            Some("map") => Ok(Self::Mapping),
            Some("seq") => Ok(Self::Sequence),
            _ => Err(format!("tag `{original}` has no meaning in a manifest; remove it")),
        }
    }
}

/// Appends a scalar as the JSON value that its style and tag ask for.
pub(super) fn write_scalar(text: &str, style: ScalarStyle, kind: Kind, out: &mut Vec<u8>) -> Result<(), String> {
    let misfit = |what: &str| Err(format!("tagged as {what} but is not one"));
    match kind {
        Kind::None if style == ScalarStyle::Plain => scalar::plain(text, out)?,
        Kind::None | Kind::Text => scalar::string(text, out),
        Kind::Mapping | Kind::Sequence => return misfit("a collection"),
        Kind::Integer | Kind::Float | Kind::Boolean | Kind::Null => {
            let start = out.len();
            scalar::plain(text, out)?;
            let json = &out[start..];
            let number = json.first().is_some_and(|b| b.is_ascii_digit() || *b == b'-');
            let fits = match kind {
                Kind::Integer => number && !json.iter().any(|b| b".e".contains(b)),
                Kind::Float => number,
                Kind::Boolean => json == b"true" || json == b"false",
                _ => json == b"null",
            };
            if !fits {
                return misfit(match kind {
                    Kind::Integer => "an integer",
                    Kind::Float => "a number",
                    Kind::Boolean => "a boolean",
                    _ => "null",
                });
            }
        }
    }
    Ok(())
}
