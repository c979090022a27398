//! Whose a Gateway is: ours, another shard's, or somebody else's. Nobody else decides that.
//!
//! Law: what is another shard's is as good as somebody else's (not served, not told anything), but for one thing: shards
//! have one name in statuses, so entries under that name at another shard's Gateways stay as they are.

use tidegate_actors::id::Name;
use tidegate_actors::store::Selector;

use super::gateway::{Acceptance, class_acceptance};
use super::settings::Settings;
use crate::resource::View;
use crate::resource::gateway_class::GatewayClass;

/// Which Gateways of our controller are this shard's; without anything, all of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shard {
    /// Those of these GatewayClasses; empty: of all.
    pub classes: Vec<Name>,
    /// Those whose labels match.
    pub selector: Selector,
}

impl Shard {
    /// Whether it is less than everything.
    pub fn is_part(&self) -> bool {
        !self.classes.is_empty() || !self.selector.requirements().is_empty()
    }

    /// Whether it takes Gateways of a class.
    pub fn takes_class(&self, name: &Name) -> bool {
        self.classes.is_empty() || self.classes.contains(name)
    }
}

/// Whose a Gateway is.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// Ours, if its class accepts it.
    Ours(Acceptance),
    /// Of our controller, but another shard's.
    AnotherShards,
    /// Somebody else's, or of no class at all.
    Foreign,
}

/// Whose a Gateway is: by its class, if there is one, and by its labels.
pub fn standing<'a>(
    settings: &Settings,
    class: Option<&View<GatewayClass>>,
    label: impl Fn(&str) -> Option<&'a str>,
) -> Standing {
    match class {
        Some(class) if class.spec.controller == settings.controller => match class_acceptance(settings, class) {
            Some(acceptance) if settings.shard.selector.matches(label) => Standing::Ours(acceptance),
            _ => Standing::AnotherShards,
        },
        _ => Standing::Foreign,
    }
}

/// Who answers for a Gateway of our controller, for those who write under its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// This shard.
    Here,
    /// Another one.
    Elsewhere,
}
