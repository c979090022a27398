//! Who may do what, by script: bearer tokens that come and go, and denials that stand until they are lifted. What is
//! not denied is allowed.

use std::collections::BTreeMap;

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use crate::kind::{Kind, id_of};
use crate::status::Status;

/// What is forbidden. An empty field means any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Denial {
    /// `list`.
    pub verb: String,
    /// `services`, or `httproutes.gateway.networking.k8s.io`; with `/status` for the subresource.
    pub resource: String,
    /// A namespace. Requests across all namespaces are in none.
    pub namespace: Option<String>,
}

/// What a request wants, as far as permission goes.
pub struct Wish<'a> {
    /// The verb.
    pub verb: &'a str,
    /// The type.
    pub kind: &'a Kind,
    /// `status`, or empty.
    pub subresource: &'a str,
    /// The namespace, or empty.
    pub namespace: &'a str,
    /// The name, or empty.
    pub name: &'a str,
}

/// Tokens and denials of one server.
#[derive(Default)]
pub struct Access {
    tokens: RwLock<BTreeMap<String, String>>,
    denials: RwLock<Vec<Denial>>,
}

impl Access {
    /// With these tokens and their users.
    pub fn new(tokens: BTreeMap<String, String>) -> Self {
        Self { tokens: RwLock::new(tokens), denials: RwLock::default() }
    }

    /// From now on these tokens are good, and no others. With none, nobody is asked for one.
    pub fn set_tokens(&self, tokens: BTreeMap<String, String>) {
        *self.tokens.write() = tokens;
    }

    /// A token that is good, if any is needed.
    pub fn any_token(&self) -> Option<String> {
        self.tokens.read().keys().next().cloned()
    }

    /// Forbids something until [`Access::allow`] lifts it.
    pub fn deny(&self, denial: Denial) {
        self.denials.write().push(denial);
    }

    /// Lifts a denial.
    pub fn allow(&self, denial: &Denial) {
        self.denials.write().retain(|other| other != denial);
    }

    /// The user behind an `Authorization` header.
    pub fn user(&self, authorization: Option<&str>) -> Result<String, Status> {
        let tokens = self.tokens.read();
        if tokens.is_empty() {
            return Ok("system:admin".to_owned());
        }
        let token = authorization.and_then(|value| value.strip_prefix("Bearer "));
        token.and_then(|token| tokens.get(token.trim()).cloned()).ok_or_else(Status::unauthorized)
    }

    /// Whether a user may; the refusal is in the words of the RBAC authorizer.
    pub fn check(&self, user: &str, wish: &Wish) -> Result<(), Status> {
        let Wish { verb, kind, subresource, namespace, name } = *wish;
        let mut resource = kind.plural.clone();
        if !subresource.is_empty() {
            resource = format!("{resource}/{subresource}");
        }
        let id = id_of(&kind.group, &kind.plural);
        let meant = |denial: &Denial| {
            let same = |wanted: &str, is: &str| wanted.is_empty() || wanted == is;
            let (wanted, wanted_sub) = denial.resource.split_once('/').unwrap_or((&denial.resource, ""));
            same(&denial.verb, verb)
                && (same(wanted, &id) || wanted == kind.plural)
                && (wanted_sub == subresource || denial.resource.is_empty())
                && denial.namespace.as_ref().is_none_or(|wanted| wanted == namespace)
        };
        if !self.denials.read().iter().any(meant) {
            return Ok(());
        }
        let place = match namespace {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace \"{namespace}\""),
        };
        let why =
            format!("User \"{user}\" cannot {verb} resource \"{resource}\" in API group \"{}\" {place}", kind.group);
        Err(Status::forbidden(kind, name, &why))
    }
}
