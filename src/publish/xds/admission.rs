//! Who is let in, and to what: what a client's certificate grants, and what its node's metadata asks for within that.
//! A session gets a scope, and knows nothing of how it came about.
//!
//! Laws: a claim is never more than the identity allows; who is nobody's to admit gets no stream.

use std::fmt;
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::Node;
use tonic::Status;

use super::scope::{METADATA_KEY, Scope};
use super::transport::{ClientCertificate, Identity, Peer};

/// One entry of `xds.clients`: clients of this identity may see these Gateways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRule {
    identity: String,
    gateways: Scope,
}

impl ClientRule {
    /// An entry. `identity` is a URI or a DNS name, in which a star stands for any text without a slash in a URI, and
    /// without a dot in a DNS name; a star alone is any identity. `gateways` are `namespace/name`, `namespace/*` or `*`.
    ///
    /// # Errors
    /// When a Gateway is none of these.
    pub fn new(identity: &str, gateways: &[String]) -> Result<Self, String> {
        let gateways = if gateways.iter().any(|gateway| gateway == "*") {
            Scope::All
        } else {
            Scope::named(gateways.iter().map(String::as_str))?
        };
        Ok(Self { identity: identity.to_owned(), gateways })
    }

    fn is_for(&self, identity: &Identity) -> bool {
        if self.identity == "*" {
            return true;
        }
        // No name in DNS has a colon, and every URI has one.
        let is_uri = self.identity.contains(':');
        match identity {
            Identity::Uri(uri) => is_uri && matches(&self.identity, uri, '/'),
            Identity::Dns(name) => !is_uri && matches(&self.identity.to_ascii_lowercase(), name, '.'),
        }
    }
}

/// Whether a text fits a pattern whose stars stand for any text without a separator.
fn matches(pattern: &str, text: &str, separator: char) -> bool {
    let (patterns, texts) = (pattern.split(separator), text.split(separator));
    patterns.clone().count() == texts.clone().count() && patterns.zip(texts).all(|(pattern, text)| fits(pattern, text))
}

fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(first) = parts.next() else { return text.is_empty() };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Why a client is not let in. It is told, and counted by [`label`](Self::label).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its certificate says nothing of who it is.
    #[error("the client certificate has no URI and no DNS name as subject alternative name, so it is nobody's")]
    Nameless,
    /// Nobody knows it.
    #[error("no entry of xds.clients is for {0}")]
    Unknown(String),
    /// It was let in, and its certificate is not valid any more.
    #[error("the client certificate of {0} has expired since the stream began: reconnect with a new one")]
    Expired(String),
    /// It asks for more than it may see.
    #[error("{identity} may not see the Gateway {claimed}, which its node metadata {METADATA_KEY} names (xds.clients)")]
    Beyond {
        /// Who it is.
        identity: String,
        /// What it asks for.
        claimed: String,
    },
    /// It says nothing of Gateways where it has to.
    #[error("the proxy names no Gateways: set {METADATA_KEY} in its node metadata")]
    Unscoped,
    /// Its metadata cannot be understood.
    #[error("{0}")]
    Nonsense(String),
}

impl Refusal {
    /// For metrics.
    fn label(&self) -> &'static str {
        match self {
            Self::Nameless | Self::Unknown(_) => "identity",
            Self::Expired(_) => "expired",
            Self::Beyond { .. } => "claim",
            Self::Unscoped => "scope",
            Self::Nonsense(_) => "metadata",
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        metrics::counter!("tidegate_xds_refused_total", "reason" => refusal.label()).increment(1);
        match &refusal {
            Refusal::Nonsense(_) => Self::invalid_argument(refusal.to_string()),
            Refusal::Expired(_) => Self::unauthenticated(refusal.to_string()),
            _ => Self::permission_denied(refusal.to_string()),
        }
    }
}

/// Who a client is, and what that grants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    certificate: Option<Arc<ClientCertificate>>,
    identity: Option<String>,
    granted: Scope,
}

impl Standing {
    /// What a connection's peer may see at most. Without TLS, which there is on loopback and the Unix socket alone,
    /// everything.
    pub fn of(rules: &[ClientRule], peer: &Peer) -> Result<Self, Refusal> {
        Self::shown(rules, peer.certificate.clone())
    }

    /// What the same client may see by other rules.
    pub fn by(&self, rules: &[ClientRule]) -> Result<Self, Refusal> {
        Self::shown(rules, self.certificate.clone())
    }

    fn shown(rules: &[ClientRule], certificate: Option<Arc<ClientCertificate>>) -> Result<Self, Refusal> {
        let Some(shown) = &certificate else {
            return Ok(Self { certificate, identity: None, granted: Scope::All });
        };
        let identities = &shown.identities;
        if identities.is_empty() {
            return Err(Refusal::Nameless);
        }
        let identity = Spelled(identities).to_string();
        let is_for = |rule: &&ClientRule| identities.iter().any(|identity| rule.is_for(identity));
        let granted = rules.iter().filter(is_for).map(|rule| rule.gateways.clone()).reduce(Scope::union);
        match granted {
            Some(granted) => Ok(Self { certificate, identity: Some(identity), granted }),
            None => Err(Refusal::Unknown(identity)),
        }
    }

    /// Who it is, if that was proven.
    pub fn identity(&self) -> Option<&str> {
        self.identity.as_deref()
    }

    /// What it has shown, if it had to.
    pub fn certificate(&self) -> Option<&ClientCertificate> {
        self.certificate.as_deref()
    }

    /// What a client is sent: what it asks for, if it may; what it may, if it asks for nothing. `allow_all`: whether who
    /// may see everything has to name nothing.
    pub fn within(&self, claimed: Option<&Scope>, allow_all: bool) -> Result<Scope, Refusal> {
        match claimed {
            Some(claimed) => match self.granted.lacks(claimed) {
                None => Ok(claimed.clone()),
                Some(beyond) => {
                    Err(Refusal::Beyond { identity: self.identity.clone().unwrap_or_default(), claimed: beyond })
                }
            },
            None if self.granted == Scope::All && !allow_all => Err(Refusal::Unscoped),
            None => Ok(self.granted.clone()),
        }
    }
}

/// What a node asks for.
pub fn claimed(node: &Node) -> Result<Option<Scope>, Refusal> {
    Scope::from_node(node).map_err(Refusal::Nonsense)
}

struct Spelled<'a>(&'a [Identity]);

impl fmt::Display for Spelled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, identity) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{identity}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
