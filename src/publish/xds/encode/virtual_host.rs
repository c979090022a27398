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
    routes: Vec<EncodedRoute>,
    digest: Digest,
    /// Where its routes lead, in their order.
    clusters: Vec<Name>,
}

/// One route of a chunk.
struct EncodedRoute {
    /// Where its bytes end among its chunk's.
    end: u32,
    /// And where its clusters do.
    clusters_end: u32,
    digest: Digest,
}

/// What is known of a route from the last version.
struct Known<'a> {
    bytes: &'a [u8],
    clusters: &'a [Name],
    digest: Digest,
    /// At how many places the last version had it and the new one does not, as far as is known.
    gone: usize,
}

/// A virtual host's encoding with what changed in where it leads.
pub struct Encoded {
    /// To be kept for the next version.
    pub encoding: Arc<HostEncoding>,
    /// The message.
    pub body: Rope,
    /// Its hash.
    pub digest: Digest,
    /// Clusters of routes that are new: one entry a route.
    pub gained: Vec<Name>,
    /// Clusters of routes that are no more: one entry a route.
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
    let old_routes =
        || old.iter().filter(|chunk| !kept.contains(&address(&chunk.source))).flat_map(|chunk| chunk.routes());
    let mut by_route: Map<usize, Known<'_>> = Map::default();
    for (at, route) in old_routes() {
        by_route.entry(at).or_insert(route).gone += 1;
    }
    let mut gained = Vec::new();
    let encoded = new.iter().map(|chunk| match by_chunk.get(&address(chunk)) {
        Some(encoded) => Arc::clone(encoded),
        None => Arc::new(encode_chunk(chunk, &mut by_route, domain, &mut gained)),
    });
    let encoded = encoded.collect();
    let mut lost = Vec::new();
    // In the order of the routes: that of addresses would differ from run to run.
    for (at, route) in old_routes() {
        if let Some(known) = by_route.get_mut(&at).filter(|known| known.gone > 0) {
            known.gone -= 1;
            lost.extend_from_slice(route.clusters);
        }
    }
    Middle { encoded, gained, lost }
}

fn address<T>(run: &Arc<[T]>) -> usize {
    Arc::as_ptr(run).cast::<u8>() as usize
}

fn encode_chunk(
    source: &Chunk<Precedence, Route>,
    known: &mut Map<usize, Known<'_>>,
    domain: &str,
    gained: &mut Vec<Name>,
) -> EncodedChunk {
    let mut bytes = Vec::with_capacity(source.len() * 192);
    let mut routes = Vec::with_capacity(source.len());
    let mut digest = Digest::EMPTY;
    let mut clusters = Vec::with_capacity(source.len());
    // A chunk would have to reach 4 GiB to overflow, which no list of matches does.
    let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    for (_, model) in source.iter() {
        let (start, clusters_start) = (bytes.len(), clusters.len());
        let (own, is_new) = match known.get_mut(&(Arc::as_ptr(model) as usize)) {
            Some(known) => {
                bytes.extend_from_slice(known.bytes);
                clusters.extend_from_slice(known.clusters);
                let is_new = known.gone == 0;
                known.gone = known.gone.saturating_sub(1);
                (known.digest, is_new)
            }
            None => {
                prost::encoding::message::encode(ROUTES, &route::route(model, domain), &mut bytes);
                clusters.extend(route::clusters(model).map(|id| Name::from(id.to_string())));
                (Digest::of(&bytes[start..]), true)
            }
        };
        if is_new {
            gained.extend_from_slice(&clusters[clusters_start..]);
        }
        digest = digest.then(own);
        routes.push(EncodedRoute { end: place(bytes.len()), clusters_end: place(clusters.len()), digest: own });
    }
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
    /// Each route's address with what is known of it.
    fn routes(&self) -> impl Iterator<Item = (usize, Known<'_>)> {
        let (mut start, mut clusters_start) = (0, 0);
        self.source.iter().zip(&self.routes).map(move |((_, route), encoded)| {
            let (end, clusters_end) = (encoded.end as usize, encoded.clusters_end as usize);
            let bytes = &self.bytes[std::mem::replace(&mut start, end)..end];
            let clusters = &self.clusters[std::mem::replace(&mut clusters_start, clusters_end)..clusters_end];
            (Arc::as_ptr(route) as usize, Known { bytes, clusters, digest: encoded.digest, gone: 0 })
        })
    }
}

impl HostEncoding {
    fn chunks(&self) -> impl Iterator<Item = &Arc<EncodedChunk>> {
        self.pages.iter().flat_map(|page| &page.chunks)
    }

    /// Whether one of its routes leads to a cluster.
    pub fn routes_to(&self, cluster: &str) -> bool {
        self.clusters().any(|name| **name == *cluster)
    }

    /// Its clusters, once for each route that leads there.
    pub fn clusters(&self) -> impl Iterator<Item = &Name> {
        self.chunks().flat_map(|chunk| &chunk.clusters)
    }

    /// The objects of routes that lead to a cluster, and their names.
    pub fn routes_leading_to<'a>(&'a self, cluster: &'a str) -> impl Iterator<Item = &'a Arc<Route>> {
        let chunks = self.chunks();
        let routes = chunks.flat_map(|chunk| chunk.source.iter().zip(chunk.routes()));
        let leads = routes.filter(move |(_, (_, known))| known.clusters.iter().any(|name| **name == *cluster));
        leads.map(|((_, route), _)| route)
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
