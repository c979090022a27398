//! The certificates of a listener.

use std::sync::Arc;

use tidegate_actors::id::{Name, ObjectKey};

use super::reference::{Find, Referrer, Unresolved, resolve};
use super::settings::Settings;
use super::status::reason;
use crate::model::{GatewayId, Secret, SecretId};
use crate::resource::View;
use crate::resource::gateway::{Gateway, GatewayListener};
use crate::resource::secret::Secret as SecretView;
use crate::resource::types::GATEWAY_GROUP;

/// The certificates of a listener that terminates TLS.
#[derive(Clone, Debug, PartialEq)]
pub struct Certificates {
    /// Those that can be used, in the order of the spec, each once.
    pub usable: Vec<SecretId>,
    /// What is wrong with the first of the others: reason and message.
    pub problem: Option<(&'static str, String)>,
}

/// Whether a Secret holds a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// It does.
    Certificate,
    /// It is of another type.
    SomethingElse,
}

/// Looks up the certificates of a listener.
pub fn certificates(
    settings: &Settings,
    gateway: &View<Gateway>,
    listener: &GatewayListener,
    world: &mut impl Find<Holds>,
) -> Certificates {
    let mut found = Certificates { usable: Vec::new(), problem: None };
    let no_namespace: Name = "".into();
    let key = gateway.key();
    let from = Referrer {
        source: &key.source,
        group: GATEWAY_GROUP,
        kind: "Gateway",
        namespace: key.namespace.as_ref().unwrap_or(&no_namespace),
    };
    for to in listener.certificates.iter().flatten() {
        let name = format!("{}/{}", to.namespace.as_ref().unwrap_or(from.namespace), to.name);
        let problem = if !to.group.is_empty() || &*to.kind != "Secret" {
            let kind = format!("{} {}", to.group, to.kind);
            Some((reason::INVALID_CERTIFICATE_REF, format!("a certificate must be a Secret, not {}", kind.trim())))
        } else {
            match resolve(settings, &from, to, world) {
                Ok((key, Holds::Certificate)) => {
                    let id = secret_id(&key);
                    if !found.usable.contains(&id) {
                        found.usable.push(id);
                    }
                    None
                }
                Ok((_, Holds::SomethingElse)) => Some((
                    reason::INVALID_CERTIFICATE_REF,
                    format!("the Secret {name} is not of the type kubernetes.io/tls"),
                )),
                Err(Unresolved::NotFound) => Some((
                    reason::INVALID_CERTIFICATE_REF,
                    format!("there is no Secret {name} with a certificate that can be used"),
                )),
                Err(Unresolved::NotPermitted) => Some((
                    reason::REF_NOT_PERMITTED,
                    format!("no ReferenceGrant allows the reference to the Secret {name}"),
                )),
            }
        };
        found.problem = found.problem.or(problem);
    }
    if found.usable.is_empty() && found.problem.is_none() {
        found.problem = Some((reason::INVALID_CERTIFICATE_REF, "no certificate is named".to_owned()));
    }
    found
}

/// A Secret, as the model names it.
pub fn secret_id(key: &ObjectKey) -> SecretId {
    SecretId {
        source: key.source.clone(),
        namespace: key.namespace.clone().unwrap_or_else(|| "".into()),
        name: key.name.clone(),
    }
}

/// The object of a Secret that the model names.
pub fn secret_key(id: &SecretId) -> ObjectKey {
    ObjectKey { source: id.source.clone(), namespace: Some(id.namespace.clone()), name: id.name.clone() }
}

/// A certificate that listeners of these Gateways use.
pub fn secret(id: &SecretId, view: &View<SecretView>, gateways: Arc<[GatewayId]>) -> Option<Secret> {
    let tls = view.spec.tls.as_ref()?;
    Some(Secret {
        id: id.clone(),
        gateways,
        origin: view.object.clone(),
        certificate_chain: tls.certificate_chain.clone(),
        private_key: tls.private_key.clone(),
        not_after: tls.not_after,
    })
}
