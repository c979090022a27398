//! From JSON to an [`Object`] in one pass: the metadata is parsed, the rest is checked and copied.
//!
//! Laws: the copy is exactly as long as what it holds, so a small object never pins a big buffer; no tree
//! is built; errors name places, not content.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use parking_lot::Mutex;

use super::error::{Cause, DecodeError};
use super::intern::Interner;
use super::scan::{Fail, Member, Scan};
use super::text::Places;
use super::{Object, OwnerRef, timestamp};
use crate::id::{Name, ObjectKey, ResourceType, Scope};

/// The annotation in which `kubectl apply` keeps a second copy of the object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What is cut from objects on the way in; by default nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transform {
    /// Cut `metadata.managedFields`.
    pub managed_fields: bool,
    /// Cut the annotation `kubectl.kubernetes.io/last-applied-configuration`.
    pub last_applied: bool,
}

impl Transform {
    /// Cuts all that a reader of objects has no use for.
    pub const LEAN: Self = Self { managed_fields: true, last_applied: true };
}

/// Turns JSON into [`Object`]s of one source and type. Shareable between threads.
pub struct Decoder {
    source: Name,
    resource_type: ResourceType,
    transform: Transform,
    default_namespace: Option<Name>,
    interner: Mutex<Interner>,
}

impl Decoder {
    /// A decoder that cuts nothing and has no default namespace.
    pub fn new(source: Name, resource_type: ResourceType) -> Self {
        let (transform, default_namespace) = (Transform::default(), None);
        Self { source, resource_type, transform, default_namespace, interner: Mutex::default() }
    }

    /// Cuts some parts on the way in.
    #[must_use]
    pub fn with_transform(mut self, transform: Transform) -> Self {
        self.transform = transform;
        self
    }

    /// The namespace of namespaced objects that name none; without one such an object is an error.
    #[must_use]
    pub fn with_default_namespace(mut self, namespace: Name) -> Self {
        self.default_namespace = Some(namespace);
        self
    }

    /// Decodes one object.
    ///
    /// # Errors
    /// When it is not JSON, has no name, or has metadata of a wrong type.
    pub fn decode(&self, raw: impl AsRef<[u8]>) -> Result<Object, DecodeError> {
        self.decode_in(raw.as_ref(), self.default_namespace.as_ref())
    }

    /// The same with another default namespace.
    pub(crate) fn decode_in(&self, raw: &[u8], namespace: Option<&Name>) -> Result<Object, DecodeError> {
        let text = std::str::from_utf8(raw).map_err(|error| DecodeError::not_utf8(raw, error.valid_up_to()))?;
        let mut found = Found::default();
        self.scan(&mut Scan::new(text), &mut found).map_err(|fail| DecodeError::new(text, fail))?;
        self.finish(text, found, namespace)
    }

    fn scan<'a>(&self, scan: &mut Scan<'a>, found: &mut Found<'a>) -> Result<(), Fail> {
        let mut cuts = Vec::new();
        scan.object(&mut cuts, |scan, key, cuts| {
            if key != "metadata" {
                scan.skip()?;
                return Ok(Member::Keep);
            }
            // As with any repeated key, the last one counts.
            *found = Found::default();
            if !scan.null()? {
                scan.object(cuts, |scan, key, cuts| self.metadata(scan, &key, cuts, found))?;
            }
            found.end = scan.at();
            Ok(Member::Keep)
        })?;
        found.cuts = cuts;
        scan.end()
    }

    fn metadata<'a>(
        &self,
        scan: &mut Scan<'a>,
        key: &str,
        cuts: &mut Vec<Range<usize>>,
        found: &mut Found<'a>,
    ) -> Result<Member, Fail> {
        match key {
            "name" => found.name = optional(scan)?,
            "namespace" => found.namespace = optional(scan)?,
            "uid" => found.uid = optional(scan)?,
            "resourceVersion" => found.resource_version = optional(scan)?,
            "generation" => found.generation = if scan.null()? { 0 } else { scan.integer()? },
            "creationTimestamp" => found.created = time(scan)?,
            "deletionTimestamp" => found.deleting = deleting(scan)?,
            "labels" => found.labels = labels(scan)?,
            "ownerReferences" => found.owners = owners(scan)?,
            "managedFields" if self.transform.managed_fields => {
                scan.skip()?;
                return Ok(Member::Cut);
            }
            "annotations" if self.transform.last_applied && scan.peek() == Some(b'{') => {
                scan.object(cuts, |scan, key, _| {
                    scan.skip()?;
                    Ok(if key == LAST_APPLIED { Member::Cut } else { Member::Keep })
                })?;
            }
            _ => scan.skip()?,
        }
        Ok(Member::Keep)
    }

    fn finish<'a>(
        &self,
        text: &'a str,
        found: Found<'a>,
        default_namespace: Option<&Name>,
    ) -> Result<Object, DecodeError> {
        let name = checked_name(text, &found)?;
        let mut interner = self.interner.lock();
        let namespace = match (self.resource_type.scope(), found.namespace.as_deref(), default_namespace) {
            (Scope::Cluster, _, _) => None,
            (Scope::Namespaced, Some(namespace), _) if !namespace.is_empty() => Some(interner.share(namespace)),
            (Scope::Namespaced, _, Some(default)) => Some(default.clone()),
            (Scope::Namespaced, _, None) => {
                return Err(DecodeError::of_field(text, found.end, "metadata.namespace", Cause::Missing));
            }
        };
        let mut labels = found.labels;
        // Stable, so that of a repeated key the last value is kept below.
        labels.sort_by(|a, b| a.0.cmp(&b.0));
        labels.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                std::mem::swap(&mut later.1, &mut kept.1);
            }
            same
        });
        let owners = found.owners.iter().map(|owner| OwnerRef {
            api_version: interner.share(&owner.api_version),
            kind: interner.share(&owner.kind),
            name: Name::from(&*owner.name),
            uid: Name::from(&*owner.uid),
        });
        let owners = owners.collect();
        drop(interner);
        let mut places = Places::new(text, &found.cuts);
        let (uid, version) = (found.uid.unwrap_or_default(), found.resource_version.unwrap_or_default());
        Ok(Object {
            resource_type: self.resource_type.clone(),
            key: ObjectKey { source: self.source.clone(), namespace, name },
            uid: places.of(uid),
            resource_version: places.of(version),
            generation: found.generation,
            created: found.created,
            deleting: found.deleting,
            owners,
            labels: labels.into_iter().map(|(key, value)| (places.of(key), places.of(value))).collect(),
            texts: places.finish(compact(text, &found.cuts)),
        })
    }
}

type Pairs<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// What the pass found, still borrowed from the input.
#[derive(Default)]
struct Found<'a> {
    name: Option<Cow<'a, str>>,
    namespace: Option<Cow<'a, str>>,
    uid: Option<Cow<'a, str>>,
    resource_version: Option<Cow<'a, str>>,
    generation: i64,
    created: i64,
    deleting: bool,
    labels: Pairs<'a>,
    owners: Vec<Owner<'a>>,
    cuts: Vec<Range<usize>>,
    /// Where the metadata ended: the place that is named for what is missing in it.
    end: usize,
}

#[derive(Default)]
struct Owner<'a> {
    api_version: Cow<'a, str>,
    kind: Cow<'a, str>,
    name: Cow<'a, str>,
    uid: Cow<'a, str>,
}

fn checked_name(text: &str, found: &Found<'_>) -> Result<Name, DecodeError> {
    let Some(name) = found.name.as_deref() else {
        return Err(DecodeError::of_field(text, found.end, "metadata.name", Cause::Missing));
    };
    for (path, part) in [("metadata.name", name), ("metadata.namespace", found.namespace.as_deref().unwrap_or("-"))] {
        let is_name = path == "metadata.name";
        if (is_name && part.is_empty()) || part.contains(|c: char| c == '/' || c.is_control()) {
            return Err(DecodeError::of_field(text, found.end, path, Cause::BadName));
        }
    }
    Ok(Name::from(name))
}

fn optional<'a>(scan: &mut Scan<'a>) -> Result<Option<Cow<'a, str>>, Fail> {
    if scan.null()? { Ok(None) } else { scan.string("a string").map(Some) }
}

/// A string inside a map of strings, where `null` counts as empty, as it does for Kubernetes.
fn text<'a>(scan: &mut Scan<'a>) -> Result<Cow<'a, str>, Fail> {
    Ok(optional(scan)?.unwrap_or_default())
}

fn time(scan: &mut Scan<'_>) -> Result<i64, Fail> {
    const EXPECTED: &str = "an RFC 3339 timestamp";
    if scan.null()? {
        return Ok(0);
    }
    scan.peek();
    let start = scan.at();
    let text = scan.string(EXPECTED)?;
    timestamp::parse(&text).map_or_else(|| scan.fail(start, Cause::Type { expected: EXPECTED }), Ok)
}

fn deleting(scan: &mut Scan<'_>) -> Result<bool, Fail> {
    if scan.null()? {
        return Ok(false);
    }
    scan.string("a timestamp")?;
    Ok(true)
}

fn labels<'a>(scan: &mut Scan<'a>) -> Result<Pairs<'a>, Fail> {
    let mut labels = Vec::new();
    if !scan.null()? {
        scan.entries(|key, scan| {
            labels.push((key, text(scan)?));
            Ok(())
        })?;
    }
    Ok(labels)
}

fn owners<'a>(scan: &mut Scan<'a>) -> Result<Vec<Owner<'a>>, Fail> {
    let mut owners = Vec::new();
    if !scan.null()? {
        scan.array(|scan| {
            let mut owner = Owner::default();
            scan.entries(|key, scan| {
                match &*key {
                    "apiVersion" => owner.api_version = text(scan)?,
                    "kind" => owner.kind = text(scan)?,
                    "name" => owner.name = text(scan)?,
                    "uid" => owner.uid = text(scan)?,
                    _ => scan.skip()?,
                }
                Ok(())
            })?;
            owners.push(owner);
            Ok(())
        })?;
    }
    Ok(owners)
}

/// The text without the cut ranges, in a buffer of exactly that length.
fn compact(text: &str, cuts: &[Range<usize>]) -> Bytes {
    let bytes = text.as_bytes();
    let removed: usize = cuts.iter().map(ExactSizeIterator::len).sum();
    let mut copy = Vec::with_capacity(bytes.len() - removed);
    let mut from = 0;
    for cut in cuts {
        copy.extend_from_slice(&bytes[from..cut.start]);
        from = cut.end;
    }
    copy.extend_from_slice(&bytes[from..]);
    Bytes::from(copy)
}
