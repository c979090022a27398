//! Lists: at which version, which page of it, and the body, streamed in the shape in which the real server writes it
//! (built-in types as a Go struct, custom ones in the order of keys, so that their version comes last).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{BufMut as _, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::answer::{self, Answer, Broken, JSON};
use crate::fault::Act;
use crate::harm::Harm;
use crate::kind::Kind;
use crate::object::{Object, quoted};
use crate::query::ListOptions;
use crate::routes::Target;
use crate::selectors::Selectors;
use crate::state::{Frozen, State};
use crate::status::Status;
use crate::store::{Range, World};

/// How much of a list is sent at once.
const CHUNK: usize = 64 * 1024;

/// What a continue token says, to the server alone.
#[derive(Serialize, Deserialize)]
struct Token {
    v: String,
    /// The version of all pages; -1 goes on at the most recent one.
    rv: i64,
    start: String,
    /// How many are left, if that was counted.
    #[serde(default)]
    left: Option<usize>,
}

impl Token {
    fn write(rv: i64, start: String, left: Option<usize>) -> String {
        let token = Self { v: "meta.k8s.io/v1".to_owned(), rv, start, left };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
    }

    fn read(text: &str) -> Result<Self, Status> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        let token = bytes.and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok());
        token
            .filter(|token| token.rv != 0 && !token.start.is_empty())
            .ok_or_else(|| Status::bad_request("invalid continue token: continue key is not valid"))
    }
}

/// At which version a list is answered.
#[derive(Clone, Copy)]
struct At {
    revision: u64,
    /// Whether it must be this version, so that a compaction matters.
    exact: bool,
}

/// Answers a list.
pub fn list(state: &State, target: &Target, options: &ListOptions, acts: &[Act]) -> Result<Answer, Status> {
    let kind = &target.kind;
    let selectors = Selectors::parse(kind, &options.labels, &options.fields)?;
    let token = match options.continue_token.as_str() {
        "" => None,
        text => Some(Token::read(text)?),
    };
    let world = state.world.lock();
    let frozen = state.frozen.borrow().filter(|_| target.replica);
    let at = version(&world, options, token.as_ref(), frozen)?;
    let prefix = target.prefix();
    // The watch cache answers whole lists to who takes any version, and one object has no pages.
    let one = selectors.is_one_name() && (!target.namespace.is_empty() || !kind.namespaced);
    let whole = one || (options.version == "0" && token.is_none());
    let range = Range {
        revision: at.revision,
        prefix: &prefix,
        from: token.as_ref().map_or("", |token| &token.start),
        most: if whole { 0 } else { options.limit },
        left: token.as_ref().and_then(|token| token.left).filter(|_| at.exact),
    };
    let resource = world.resources.get(&kind.id()).ok_or_else(|| Status::not_found(kind, ""))?;
    let page = resource.page(&range, |object| selectors.matches(object)).map_err(|_| match &token {
        Some(token) => Status::token_expired(Token::write(-1, token.start.clone(), None)),
        None => Status::list_expired(),
    })?;
    drop(world);
    let next = page.objects.last().filter(|_| page.behind > 0);
    let mut meta = ListMeta { revision: at.revision, ..ListMeta::default() };
    if let Some(last) = next {
        meta.continue_token = Token::write(at.revision as i64, format!("{}\0", last.key()), Some(page.behind));
        meta.remaining = Some(page.behind).filter(|_| selectors.is_empty());
    }
    let cut = acts.iter().find_map(|act| if let Act::CutBody { after } = act { Some(*after) } else { None });
    let body = ListBody::new(kind.clone(), target.version.clone(), page.objects, &meta, Harm::of(acts));
    Ok(match cut {
        Some(after) => answer::chunks(JSON, CutAfter { body, left: Some(after) }),
        None => answer::chunks(JSON, body.map(Ok)),
    })
}

/// Answers with some objects as a list.
pub fn of(target: &Target, objects: Vec<Arc<Object>>, revision: u64) -> Answer {
    let meta = ListMeta { revision, ..ListMeta::default() };
    let body = ListBody::new(target.kind.clone(), target.version.clone(), objects, &meta, Harm::default());
    answer::chunks(JSON, body.map(Ok))
}

fn version(world: &World, options: &ListOptions, token: Option<&Token>, frozen: Option<Frozen>) -> Result<At, Status> {
    let current = world.revision;
    let exactly = |revision: u64| match revision > current {
        true => Err(Status::too_large(revision, current)),
        false => Ok(At { revision, exact: true }),
    };
    let consistent = || match frozen {
        Some(frozen) if !frozen.consistent_reads => Err(Status::too_large(current, frozen.revision)),
        _ => Ok(At { revision: current, exact: false }),
    };
    if let Some(token) = token {
        if !matches!(options.version.as_str(), "" | "0") {
            return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
        }
        return u64::try_from(token.rv).map_or_else(|_| consistent(), exactly);
    }
    let wanted = options.revision()?;
    match options.version_match.as_str() {
        "Exact" => exactly(wanted),
        "" if options.limit > 0 && wanted > 0 => exactly(wanted),
        "" if options.version.is_empty() => consistent(),
        _ => {
            let cached = frozen.map_or(current, |frozen| frozen.revision);
            let at = At { revision: cached, exact: frozen.is_some() };
            if wanted > cached { Err(Status::too_large(wanted, cached)) } else { Ok(at) }
        }
    }
}

#[derive(Default)]
struct ListMeta {
    revision: u64,
    continue_token: String,
    remaining: Option<usize>,
}

impl ListMeta {
    fn typed(&self) -> String {
        let mut text = format!(r#"{{"resourceVersion":"{}""#, self.revision);
        if !self.continue_token.is_empty() {
            text += &format!(r#","continue":"{}""#, self.continue_token);
        }
        if let Some(remaining) = self.remaining {
            text += &format!(r#","remainingItemCount":{remaining}"#);
        }
        text + "}"
    }

    fn custom(&self) -> String {
        let remaining = self.remaining.map_or(String::new(), |left| format!(r#""remainingItemCount":{left},"#));
        format!(r#"{{"continue":"{}",{remaining}"resourceVersion":"{}"}}"#, self.continue_token, self.revision)
    }
}

/// A list's body, in chunks made when they are wanted.
struct ListBody {
    kind: Arc<Kind>,
    version: String,
    objects: std::vec::IntoIter<Arc<Object>>,
    harm: Harm,
    head: Option<String>,
    tail: Option<String>,
    first: bool,
}

impl ListBody {
    fn new(kind: Arc<Kind>, version: String, objects: Vec<Arc<Object>>, meta: &ListMeta, harm: Harm) -> Self {
        let (name, api_version) = (quoted(&kind.list_kind), quoted(&kind.api_version(&version)));
        let (head, tail) = if kind.behaviour.typed {
            let meta = meta.typed();
            (format!(r#"{{"kind":{name},"apiVersion":{api_version},"metadata":{meta},"items":["#), "]}\n".to_owned())
        } else {
            let tail = format!("],\"kind\":{name},\"metadata\":{}}}\n", meta.custom());
            (format!(r#"{{"apiVersion":{api_version},"items":["#), tail)
        };
        let objects = objects.into_iter();
        Self { kind, version, objects, harm, head: Some(head), tail: Some(tail), first: true }
    }
}

impl Iterator for ListBody {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut chunk = BytesMut::with_capacity(CHUNK + CHUNK / 8);
        if let Some(head) = self.head.take() {
            chunk.put_slice(head.as_bytes());
        }
        while chunk.len() < CHUNK {
            let Some(object) = self.objects.next() else {
                chunk.put_slice(self.tail.take().unwrap_or_default().as_bytes());
                return Some(chunk.freeze()).filter(|chunk| !chunk.is_empty());
            };
            if !std::mem::take(&mut self.first) {
                chunk.put_u8(b',');
            }
            let (start, json) = object.list_item(&self.kind, &self.version);
            if self.harm.meets(&object) {
                chunk.put_slice(&self.harm.apply(&object, [start, &json].concat().into()));
            } else {
                chunk.put_slice(start);
                chunk.put_slice(&json);
            }
        }
        Some(chunk.freeze())
    }
}

/// A body that breaks off after so many bytes.
struct CutAfter {
    body: ListBody,
    left: Option<usize>,
}

impl Iterator for CutAfter {
    type Item = Result<Bytes, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        let left = self.left?;
        if left == 0 {
            self.left = None;
            return Some(Err(Broken));
        }
        // A list that is shorter than the cut breaks at its end.
        let chunk = self.body.next().unwrap_or_default();
        let sent = chunk.slice(..chunk.len().min(left));
        self.left = Some(if sent.is_empty() { 0 } else { left - sent.len() });
        Some(Ok(sent))
    }
}
