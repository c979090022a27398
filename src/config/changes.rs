//! What differs between two configs, and whether it takes effect at once or at the next start.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Config;

/// When a changed key takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// At once.
    Now,
    /// At the next start of the process.
    Restart,
}

/// What takes effect at once, by the beginning of the key. Everything else is wired up at start: sockets,
/// directories, and what a whole tree of actors was built from.
const AT_ONCE: [&str; 10] = [
    "sources",
    "watches",
    "log.level",
    "publish.json",
    "gateway.controller_name",
    "gateway.classes",
    "gateway.selector",
    "gateway.allow_backends",
    "proxy.bind",
    "xds.clients",
];

/// The keys that differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Every changed key, such as `proxy.bind`; a list counts as one key.
    pub keys: BTreeSet<String>,
}

impl Changes {
    /// The difference between two configs.
    pub fn between(old: &Config, new: &Config) -> Self {
        let mut keys = BTreeSet::new();
        let shown = |config: &Config| serde_json::to_value(config).unwrap_or_default();
        compare("", &shown(old), &shown(new), &mut keys);
        // The token is never serialised, so it is compared here.
        if old.admin.token != new.admin.token {
            keys.insert("admin.token".to_owned());
        }
        Self { keys }
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The sections with a change, such as `proxy`; a key outside sections counts as one.
    pub fn sections(&self) -> BTreeSet<&str> {
        self.keys.iter().map(|key| key.split('.').next().unwrap_or(key)).collect()
    }

    /// Whether a section, or a key, or a key below it changed.
    pub fn touch(&self, key: &str) -> bool {
        self.keys.iter().any(|changed| is_below(changed, key))
    }

    /// The changed keys that take effect at the next start only.
    pub fn needing_restart(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(String::as_str).filter(|key| Self::effect(key) == Effect::Restart)
    }

    /// When a change of a key takes effect.
    pub fn effect(key: &str) -> Effect {
        if AT_ONCE.iter().any(|now| is_below(key, now)) { Effect::Now } else { Effect::Restart }
    }
}

fn is_below(key: &str, ancestor: &str) -> bool {
    key.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn compare(path: &str, old: &Value, new: &Value, keys: &mut BTreeSet<String>) {
    match (old, new) {
        (Value::Object(a), Value::Object(b)) => {
            let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for name in names {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                compare(&path, a.get(name).unwrap_or(&Value::Null), b.get(name).unwrap_or(&Value::Null), keys);
            }
        }
        _ if old != new => {
            keys.insert(path.to_owned());
        }
        _ => {}
    }
}
