//! Header edits and matchers, in Envoy's terms.

use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::r#type::matcher::v3::{RegexMatcher, StringMatcher, string_matcher::MatchPattern};
use tidegate_actors::id::Name;

use crate::model::{HeaderEdit, Matcher};

/// Edits as Envoy takes them.
#[derive(Default)]
pub struct Edits {
    /// Set and added, in this order.
    pub add: Vec<HeaderValueOption>,
    /// Removed.
    pub remove: Vec<String>,
    /// The Host header, which Envoy refuses to edit as a header and rewrites with a field of its own.
    pub host: Option<Name>,
}

/// Translates edits. The model's order is set, add, remove; Envoy removes first, so what is removed is not
/// set or added to begin with.
pub fn edits(model: &HeaderEdit) -> Edits {
    let removed = |name: &Name| model.remove.contains(name);
    let mut edits = Edits::default();
    let set = model.set.iter().map(|header| (header, HeaderAppendAction::OverwriteIfExistsOrAdd));
    let add = model.add.iter().map(|header| (header, HeaderAppendAction::AppendIfExistsOrAdd));
    for ((name, value), action) in set.chain(add).filter(|((name, _), _)| !removed(name)) {
        if is_host(name) {
            edits.host = Some(value.clone());
            continue;
        }
        edits.add.push(HeaderValueOption {
            // A percent sign begins a variable in Envoy; users of the Gateway API mean the character.
            header: Some(HeaderValue {
                key: name.to_string(),
                value: value.replace('%', "%%"),
                ..HeaderValue::default()
            }),
            append_action: action.into(),
            keep_empty_value: true,
            ..HeaderValueOption::default()
        });
    }
    edits.remove = model.remove.iter().filter(|name| !is_host(name)).map(ToString::to_string).collect();
    edits
}

/// What two edits do one after the other, as one. The host of the first is left to whoever calls: it is no header to
/// Envoy.
pub fn then(first: &HeaderEdit, next: &HeaderEdit) -> HeaderEdit {
    let sets = |edit: &HeaderEdit, name: &Name| edit.set.iter().any(|(other, _)| other == name);
    let adds = |edit: &HeaderEdit, name: &Name| edit.add.iter().any(|(other, _)| other == name);
    let stays = |(name, _): &&(Name, Name)| {
        !first.remove.contains(name) && !next.remove.contains(name) && !sets(next, name) && !is_host(name)
    };
    let mut both = HeaderEdit {
        set: first.set.iter().filter(stays).chain(&next.set).cloned().collect(),
        add: first.add.iter().filter(stays).cloned().collect(),
        remove: first.remove.iter().filter(|name| !sets(next, name) && !adds(next, name)).cloned().collect(),
    };
    for added in &next.add {
        // Removed by the first, a header comes back with this value alone.
        let comes_back = first.remove.contains(&added.0) && !sets(&both, &added.0);
        if comes_back { both.set.push(added.clone()) } else { both.add.push(added.clone()) }
    }
    for name in &next.remove {
        if !both.remove.contains(name) {
            both.remove.push(name.clone());
        }
    }
    both
}

fn is_host(name: &str) -> bool {
    name == "host" || name == ":authority"
}

/// A condition on a value.
pub fn matcher(model: &Matcher) -> StringMatcher {
    let pattern = match model {
        Matcher::Exact(value) => MatchPattern::Exact(value.to_string()),
        Matcher::Regex(pattern) => MatchPattern::SafeRegex(regex(pattern)),
    };
    StringMatcher { match_pattern: Some(pattern), ignore_case: false }
}

/// RE2, which is what Envoy takes when no engine is named.
pub fn regex(pattern: &str) -> RegexMatcher {
    RegexMatcher { regex: pattern.to_owned(), ..RegexMatcher::default() }
}
