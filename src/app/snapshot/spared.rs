//! Which types a first configuration need not wait for although the snapshot leaves them out: Secrets of which nothing
//! that is served shows a certificate.
//!
//! Law: what is published is what would be if they were there. A Gateway that terminates TLS lacks its certificates
//! without them, and proxies would stop serving what they serve, so as soon as there is one everything waits.

use memchr::memmem;
use tidegate_actors::informer::{Informer, InformerFactory};
use tidegate_actors::persistence::Persistence;

use super::is_secret;
use crate::resource::types;

/// How a Gateway names Secrets; nothing else does.
const NAMED_BY: &[u8] = b"certificateRefs";

/// Whether the types that have not settled are of no consequence, because what is served is from the snapshot and
/// shows nothing of theirs.
pub fn are_spared(persistence: Option<&Persistence>, factory: &InformerFactory, missing: &[&Informer]) -> bool {
    let Some(persistence) = persistence else { return false };
    let is_left_out =
        |informer: &&Informer| is_secret(informer.resource_type()) && persistence.leaves_out(informer.resource_type());
    if missing.is_empty() || !missing.iter().all(is_left_out) {
        return false;
    }
    let gateway = types::gateway();
    let of_gateways = |informer: &Informer| {
        (informer.resource_type().group(), informer.resource_type().kind()) == (gateway.group(), gateway.kind())
    };
    let gateways: Vec<Informer> = factory.informers().into_iter().filter(of_gateways).collect();
    let are_restored = gateways.iter().all(|gateways| persistence.is_restored(gateways));
    let names = |informer: &Informer| {
        let mut held = informer.lister().list().into_iter();
        held.any(|gateway| memmem::find(gateway.raw(), NAMED_BY).is_some())
    };
    !gateways.is_empty() && are_restored && !gateways.iter().any(names)
}
