//! Virtual hosts, for VHDS: a head, then one segment a chunk of routes. Protobuf's repeated fields
//! concatenate, so a chunk that did not change is the segment that it was.
//!
//! Law: one route's change costs one route's encoding, its chunk's copy, and a pointer for every other chunk.

use std::sync::Arc;

use bytes::Bytes;
use envoy_types::pb::envoy::config::route::v3::VirtualHost as Host;
use prost::Message as _;
use tidegate_actors::id::{Name, ObjectRef};
use tidegate_actors::{Map, Set};

use super::route;
use crate::model::{Chunk, Precedence, Route, VirtualHost};
use crate::publish::xds::rope::{Digest, Rope};

/// Field of `routes` in `VirtualHost`.
const ROUTES: u32 = 3;

/// A virtual host's chunks of routes with their encodings; kept to encode its next version.
pub struct HostEncoding {
    chunks: Vec<Arc<EncodedChunk>>,
}

/// One chunk of routes, encoded.
struct EncodedChunk {
    /// Held, so that its address and those of its routes stay theirs as long as somebody compares with them.
    source: Chunk<Precedence, Route>,
    bytes: Bytes,
    /// Where each route's bytes end, and what they hash to.
    routes: Vec<(u32, Digest)>,
    digest: Digest,
    /// Where its routes lead: sorted, each once.
    clusters: Vec<Name>,
}

/// A virtual host's encoding with what changed in where it leads.
pub struct Encoded {
    /// To be kept for the next version.
    pub encoding: Arc<HostEncoding>,
    /// The message.
    pub body: Rope,
    /// Its hash.
    pub digest: Digest,
    /// Clusters of chunks that are new: one entry a chunk.
    pub gained: Vec<Name>,
    /// Clusters of chunks that are no more: one entry a chunk.
    pub lost: Vec<Name>,
}

/// Encodes a virtual host, reusing what its previous version shares with it.
pub fn encode_virtual_host(model: &VirtualHost, previous: Option<&HostEncoding>) -> Encoded {
    let head = Host {
        name: model.id.to_string(),
        domains: vec![model.id.domain.to_string()],
        retry_policy: Some(route::retries()),
        ..Host::default()
    }
    .encode_to_vec();

    let old = previous.map_or(&[][..], |previous| &previous.chunks);
    let new = model.routes.chunks();
    let same = |(old, new): (&Arc<EncodedChunk>, &Chunk<Precedence, Route>)| Arc::ptr_eq(&old.source, new);
    let first = old.iter().zip(new).take_while(|(old, new)| same((old, new))).count();
    let limit = old.len().min(new.len()) - first;
    let last = old.iter().rev().zip(new.iter().rev()).take(limit).take_while(|(old, new)| same((old, new))).count();
    let (old_middle, new_middle) = (&old[first..old.len() - last], &new[first..new.len() - last]);

    let mut chunks = Vec::with_capacity(new.len());
    chunks.extend_from_slice(&old[..first]);
    let Middle { encoded, gained, lost } = encode_middle(old_middle, new_middle, &model.id.domain);
    chunks.extend(encoded);
    chunks.extend_from_slice(&old[old.len() - last..]);

    let mut digest = Digest::of(&head);
    let mut body = Rope::with_capacity(chunks.len() + 1);
    body.push(head.into());
    for chunk in &chunks {
        digest = digest.then(chunk.digest);
        body.push(chunk.bytes.clone());
    }
    Encoded { encoding: Arc::new(HostEncoding { chunks }), body, digest, gained, lost }
}

struct Middle {
    encoded: Vec<Arc<EncodedChunk>>,
    gained: Vec<Name>,
    lost: Vec<Name>,
}

/// Encodes the part in which something changed; chunks and routes in it that did not are recognised by address.
fn encode_middle(old: &[Arc<EncodedChunk>], new: &[Chunk<Precedence, Route>], domain: &str) -> Middle {
    let by_chunk: Map<usize, &Arc<EncodedChunk>> = old.iter().map(|chunk| (address(&chunk.source), chunk)).collect();
    let kept: Set<usize> = new.iter().map(address).filter(|at| by_chunk.contains_key(at)).collect();
    let mut by_route: Map<usize, (&[u8], Digest)> = Map::default();
    let mut lost = Vec::new();
    for chunk in old.iter().filter(|chunk| !kept.contains(&address(&chunk.source))) {
        by_route.extend(chunk.routes());
        lost.extend(chunk.clusters.iter().cloned());
    }
    let mut gained = Vec::new();
    let encoded = new.iter().map(|chunk| match by_chunk.get(&address(chunk)) {
        Some(encoded) => Arc::clone(encoded),
        None => {
            let encoded = encode_chunk(chunk, &by_route, domain);
            gained.extend(encoded.clusters.iter().cloned());
            Arc::new(encoded)
        }
    });
    Middle { encoded: encoded.collect(), gained, lost }
}

fn address(chunk: &Chunk<Precedence, Route>) -> usize {
    Arc::as_ptr(chunk).cast::<u8>() as usize
}

fn encode_chunk(source: &Chunk<Precedence, Route>, known: &Map<usize, (&[u8], Digest)>, domain: &str) -> EncodedChunk {
    let mut bytes = Vec::with_capacity(source.len() * 192);
    let mut routes = Vec::with_capacity(source.len());
    let mut digest = Digest::EMPTY;
    let mut clusters = Vec::with_capacity(source.len());
    for (_, model) in source.iter() {
        let start = bytes.len();
        let own = match known.get(&(Arc::as_ptr(model) as usize)) {
            Some((encoded, digest)) => {
                bytes.extend_from_slice(encoded);
                *digest
            }
            None => {
                prost::encoding::message::encode(ROUTES, &route::route(model, domain), &mut bytes);
                Digest::of(&bytes[start..])
            }
        };
        digest = digest.then(own);
        // A chunk of 64 routes would have to reach 4 GiB to overflow, which no list of matches does.
        routes.push((u32::try_from(bytes.len()).unwrap_or(u32::MAX), own));
        clusters.extend(route::clusters(model).map(|id| Name::from(id.to_string())));
    }
    clusters.sort_unstable();
    clusters.dedup();
    EncodedChunk { source: source.clone(), bytes: bytes.into(), routes, digest, clusters }
}

impl EncodedChunk {
    /// Each route's address with its bytes and their hash.
    fn routes(&self) -> impl Iterator<Item = (usize, (&[u8], Digest))> {
        let starts = std::iter::once(0).chain(self.routes.iter().map(|(end, _)| *end as usize));
        self.source.iter().zip(self.routes.iter().zip(starts)).map(|((_, route), ((end, digest), start))| {
            (Arc::as_ptr(route) as usize, (&self.bytes[start..*end as usize], *digest))
        })
    }
}

impl HostEncoding {
    /// Whether one of its routes leads to a cluster.
    pub fn routes_to(&self, cluster: &str) -> bool {
        self.chunks.iter().any(|chunk| chunk.clusters.binary_search_by(|name| (**name).cmp(cluster)).is_ok())
    }

    /// Its clusters, once for each chunk that names them.
    pub fn clusters(&self) -> impl Iterator<Item = &Name> {
        self.chunks.iter().flat_map(|chunk| &chunk.clusters)
    }

    /// The objects of routes that lead to a cluster, and their names.
    pub fn routes_leading_to<'a>(&'a self, cluster: &'a str) -> impl Iterator<Item = &'a Arc<Route>> {
        let chunks = self.chunks.iter();
        let chunks = chunks.filter(|chunk| chunk.clusters.binary_search_by(|name| (**name).cmp(cluster)).is_ok());
        let routes = chunks.flat_map(|chunk| chunk.source.iter().map(|(_, route)| route));
        routes.filter(move |route| route::clusters(route).any(|id| id.to_string() == cluster))
    }

    /// The objects of the routes that are not in another version, or of all.
    pub fn changed_origins(&self, before: Option<&Self>) -> Vec<ObjectRef> {
        let before = before.map_or(&[][..], |before| &before.chunks);
        let old: Set<usize> = before.iter().map(|chunk| address(&chunk.source)).collect();
        let new: Set<usize> = self.chunks.iter().map(|chunk| address(&chunk.source)).collect();
        let old_routes: Set<usize> = before
            .iter()
            .filter(|chunk| !new.contains(&address(&chunk.source)))
            .flat_map(|chunk| chunk.source.iter().map(|(_, route)| Arc::as_ptr(route) as usize))
            .collect();
        let changed = self.chunks.iter().filter(|chunk| !old.contains(&address(&chunk.source)));
        let routes = changed.flat_map(|chunk| chunk.source.iter());
        let new = routes.filter(|(_, route)| !old_routes.contains(&(Arc::as_ptr(route) as usize)));
        new.map(|(_, route)| route.origin.clone()).collect()
    }
}
