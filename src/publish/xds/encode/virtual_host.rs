//! Virtual hosts, for VHDS: a head, then one segment a chunk of routes and one section a page of chunks. Protobuf's
//! repeated fields concatenate, so a chunk that did not change is the segment that it was.
//!
//! Law: one route's change costs one route's encoding, its chunk's copy, a pointer for every other chunk of its page
//! and one for every other page.

use std::sync::Arc;

use bytes::Bytes;
use envoy_types::pb::envoy::config::route::v3::VirtualHost as Host;
use prost::Message as _;
use tidegate_actors::id::{Name, ObjectRef};
use tidegate_actors::{Map, Set};

use super::route;
use crate::model::{Chunk, Page, Precedence, Route, VirtualHost};
use crate::publish::xds::rope::{Digest, Rope, Section};

/// Field of `routes` in `VirtualHost`.
const ROUTES: u32 = 3;

/// A virtual host's routes with their encodings; kept to encode its next version.
pub struct HostEncoding {
    pages: Vec<Arc<EncodedPage>>,
}

/// One page of chunks, encoded.
struct EncodedPage {
    /// Held for its address, as a chunk's is.
    source: Page<Precedence, Route>,
    chunks: Vec<Arc<EncodedChunk>>,
    section: Arc<Section>,
    digest: Digest,
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

    let old = previous.map_or(&[][..], |previous| &previous.pages);
    let new = model.routes.pages();
    let (first, last) = alike(old, new, |old, new| Arc::ptr_eq(&old.source, new));
    let Middle { encoded, gained, lost } =
        encode_pages(&old[first..old.len() - last], &new[first..new.len() - last], &model.id.domain);
    let mut pages = Vec::with_capacity(new.len());
    pages.extend_from_slice(&old[..first]);
    pages.extend(encoded);
    pages.extend_from_slice(&old[old.len() - last..]);

    let mut digest = Digest::of(&head);
    let mut body = Rope::with_capacity(pages.len() + 1);
    body.push(head.into());
    for page in &pages {
        digest = digest.then(page.digest);
        body.push_section(page.section.clone());
    }
    Encoded { encoding: Arc::new(HostEncoding { pages }), body, digest, gained, lost }
}

/// How many are the same at the beginning of two lists, and how many of the rest at their end.
fn alike<A, B>(old: &[A], new: &[B], same: impl Fn(&A, &B) -> bool) -> (usize, usize) {
    let first = old.iter().zip(new).take_while(|(old, new)| same(old, new)).count();
    let limit = old.len().min(new.len()) - first;
    let last = old.iter().rev().zip(new.iter().rev()).take(limit).take_while(|(old, new)| same(old, new)).count();
    (first, last)
}

/// The part in which something changed.
struct Middle<T> {
    encoded: Vec<Arc<T>>,
    gained: Vec<Name>,
    lost: Vec<Name>,
}

/// Encodes pages; those among them that did not change are recognised by address.
fn encode_pages(old: &[Arc<EncodedPage>], new: &[Page<Precedence, Route>], domain: &str) -> Middle<EncodedPage> {
    let by_page: Map<usize, &Arc<EncodedPage>> = old.iter().map(|page| (address(&page.source), page)).collect();
    let kept: Set<usize> = new.iter().map(address).filter(|at| by_page.contains_key(at)).collect();
    let gone = old.iter().filter(|page| !kept.contains(&address(&page.source)));
    let come = new.iter().filter(|page| !kept.contains(&address(page)));
    let old_chunks: Vec<_> = gone.flat_map(|page| &page.chunks).collect();
    let new_chunks: Vec<_> = come.flat_map(|page| page.iter()).collect();

    let (first, last) = alike(&old_chunks, &new_chunks, |old, new| Arc::ptr_eq(&old.source, new));
    let (old_end, new_end) = (old_chunks.len() - last, new_chunks.len() - last);
    let Middle { encoded, gained, lost } =
        encode_chunks(&old_chunks[first..old_end], &new_chunks[first..new_end], domain);
    let before = old_chunks[..first].iter().copied().cloned();
    let mut chunks = before.chain(encoded).chain(old_chunks[old_end..].iter().copied().cloned());
    let page = |page: &Page<Precedence, Route>| match by_page.get(&address(page)) {
        Some(page) => Arc::clone(page),
        None => Arc::new(EncodedPage::new(page.clone(), chunks.by_ref().take(page.len()).collect())),
    };
    Middle { encoded: new.iter().map(page).collect(), gained, lost }
}

/// Encodes chunks; those and routes among them that did not change are recognised by address.
fn encode_chunks(old: &[&Arc<EncodedChunk>], new: &[&Chunk<Precedence, Route>], domain: &str) -> Middle<EncodedChunk> {
    let by_chunk: Map<usize, &Arc<EncodedChunk>> = old.iter().map(|chunk| (address(&chunk.source), *chunk)).collect();
    let kept: Set<usize> = new.iter().map(|chunk| address(chunk)).filter(|at| by_chunk.contains_key(at)).collect();
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

fn address<T>(run: &Arc<[T]>) -> usize {
    Arc::as_ptr(run).cast::<u8>() as usize
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

impl EncodedPage {
    fn new(source: Page<Precedence, Route>, chunks: Vec<Arc<EncodedChunk>>) -> Self {
        let section = Arc::new(Section::new(chunks.iter().map(|chunk| chunk.bytes.clone())));
        let digest = chunks.iter().fold(Digest::EMPTY, |digest, chunk| digest.then(chunk.digest));
        Self { source, chunks, section, digest }
    }
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
    fn chunks(&self) -> impl Iterator<Item = &Arc<EncodedChunk>> {
        self.pages.iter().flat_map(|page| &page.chunks)
    }

    /// Whether one of its routes leads to a cluster.
    pub fn routes_to(&self, cluster: &str) -> bool {
        self.chunks().any(|chunk| chunk.clusters.binary_search_by(|name| (**name).cmp(cluster)).is_ok())
    }

    /// Its clusters, once for each chunk that names them.
    pub fn clusters(&self) -> impl Iterator<Item = &Name> {
        self.chunks().flat_map(|chunk| &chunk.clusters)
    }

    /// The objects of routes that lead to a cluster, and their names.
    pub fn routes_leading_to<'a>(&'a self, cluster: &'a str) -> impl Iterator<Item = &'a Arc<Route>> {
        let chunks = self.chunks();
        let chunks = chunks.filter(|chunk| chunk.clusters.binary_search_by(|name| (**name).cmp(cluster)).is_ok());
        let routes = chunks.flat_map(|chunk| chunk.source.iter().map(|(_, route)| route));
        routes.filter(move |route| route::clusters(route).any(|id| id.to_string() == cluster))
    }

    /// The objects of the routes that are not in another version, or of all.
    pub fn changed_origins(&self, before: Option<&Self>) -> Vec<ObjectRef> {
        let before = || before.into_iter().flat_map(Self::chunks);
        let old: Set<usize> = before().map(|chunk| address(&chunk.source)).collect();
        let new: Set<usize> = self.chunks().map(|chunk| address(&chunk.source)).collect();
        let old_routes: Set<usize> = before()
            .filter(|chunk| !new.contains(&address(&chunk.source)))
            .flat_map(|chunk| chunk.source.iter().map(|(_, route)| Arc::as_ptr(route) as usize))
            .collect();
        let changed = self.chunks().filter(|chunk| !old.contains(&address(&chunk.source)));
        let routes = changed.flat_map(|chunk| chunk.source.iter());
        let new = routes.filter(|(_, route)| !old_routes.contains(&(Arc::as_ptr(route) as usize)));
        new.map(|(_, route)| route.origin.clone()).collect()
    }
}
