//! What a cluster's source needs to know.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_actors::id::{Name, ResourceType, Scope};

use super::access::Access;

/// See the module.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configured name, which stands in the key of every object.
    pub name: Name,
    /// How the API server is reached.
    pub access: Access,
    /// The namespaces that are watched; none: all.
    pub namespaces: Vec<Name>,
    /// What is watched of single types, by `plural.group`.
    pub types: BTreeMap<String, TypeOptions>,
    /// How many objects a page of a list has.
    pub page_size: u32,
    /// Whether lists may come as streams.
    pub streaming_lists: bool,
    /// How long a watch lasts at the least; the most is twice as long, and chance decides.
    pub watch_timeout: Duration,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long a response may take to begin, and a list to go on.
    pub response_timeout: Duration,
    /// How long a streaming list may take to its closing bookmark.
    pub bookmark_deadline: Duration,
    /// The largest object as JSON, in bytes.
    pub max_object: usize,
    /// How much longer than its timeout a watch may be silent.
    pub silence_grace: Duration,
    /// How long after a watch was resumed the server is asked where it is, and whether it has what it had; and, if
    /// something is missing, how long after that it is taken for lost.
    pub settle: Duration,
    /// How often a connection is asked whether it is still there.
    pub ping_interval: Duration,
    /// How long the answer may take; with the interval, when a half-open connection is given up at the latest.
    pub ping_timeout: Duration,
    /// How often the files with the credentials are looked at.
    pub credentials_interval: Duration,
    /// How often the API groups are asked for although nothing was heard; chance makes it up to a quarter shorter.
    pub groups_interval: Duration,
    /// The same while definitions may not be watched.
    pub groups_interval_unheard: Duration,
}

/// What is watched of one type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypeOptions {
    /// The namespaces, if others than the source's.
    pub namespaces: Option<Vec<Name>>,
    /// A label selector.
    pub labels: Option<String>,
    /// A field selector.
    pub fields: Option<String>,
}

impl Options {
    /// The defaults for a cluster.
    pub fn new(name: impl Into<Name>, access: Access) -> Self {
        Self {
            name: name.into(),
            access,
            namespaces: Vec::new(),
            types: BTreeMap::new(),
            page_size: 500,
            streaming_lists: true,
            watch_timeout: Duration::from_secs(300),
            connect_timeout: Duration::from_secs(10),
            response_timeout: Duration::from_secs(60),
            bookmark_deadline: Duration::from_secs(60),
            max_object: 8 << 20,
            silence_grace: Duration::from_secs(30),
            settle: Duration::from_secs(10),
            ping_interval: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(10),
            credentials_interval: Duration::from_secs(30),
            groups_interval: Duration::from_secs(300),
            groups_interval_unheard: Duration::from_secs(30),
        }
    }

    /// What is watched of a type.
    pub(super) fn of(&self, resource_type: &ResourceType) -> TypeOptions {
        self.types.get(&resource_type.plural_and_group()).cloned().unwrap_or_default()
    }

    /// The namespaces to watch a type in, sorted; `None` is all of them, or a cluster's own objects.
    pub(super) fn namespaces_of(&self, resource_type: &ResourceType) -> Vec<Option<Name>> {
        let named = self.of(resource_type).namespaces.unwrap_or_else(|| self.namespaces.clone());
        if named.is_empty() || resource_type.scope() == Scope::Cluster {
            return vec![None];
        }
        let mut named: Vec<_> = named.into_iter().map(Some).collect();
        named.sort();
        named.dedup();
        named
    }
}
