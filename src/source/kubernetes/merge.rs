//! Feeds of several namespaces as one stream: one list, then one watch, with a cursor that holds a version for each.
//!
//! Laws: the list is complete when each of them is; no cursor is told before that; what ends one ends all.

use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt as _};
use tidegate_actors::id::Name;
use tidegate_actors::source::{Cursor, SourceError, SourceEvent, SourceStream};
use xxhash_rust::xxh3::xxh3_64;

use super::feed::Feed;
use super::options::TypeOptions;

type Told = Result<SourceEvent, SourceError>;

/// How cursors of a stream are spelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spelling {
    namespaces: Vec<Option<Name>>,
    /// What else decides which objects there are; a cursor of other objects is of no use.
    selectors: Option<u64>,
}

impl Spelling {
    pub fn new(namespaces: Vec<Option<Name>>, options: &TypeOptions) -> Self {
        let selectors = (options.labels.is_some() || options.fields.is_some()).then(|| {
            let parts = [options.labels.as_deref(), options.fields.as_deref()].map(Option::unwrap_or_default);
            xxh3_64(parts.join("\n").as_bytes())
        });
        Self { namespaces, selectors }
    }

    /// All versions as one cursor; that of a whole cluster is its version.
    pub fn cursor(&self, versions: &[Name]) -> Cursor {
        if let (None, [None], [version]) = (self.selectors, self.namespaces.as_slice(), versions) {
            return Cursor(version.clone());
        }
        let selectors = self.selectors.map_or(String::new(), |selectors| format!("{selectors:016x}:"));
        let parts = self.namespaces.iter().zip(versions).map(|(namespace, version)| match namespace {
            Some(namespace) => format!("{namespace}={version}"),
            None => version.to_string(),
        });
        Cursor(format!("{selectors}{}", parts.collect::<Vec<_>>().join(",")).into())
    }

    /// The versions in a cursor, if it is of the same objects.
    pub fn versions(&self, cursor: &Cursor) -> Option<Vec<Name>> {
        let (selectors, rest) = match cursor.0.split_once(':') {
            Some((selectors, rest)) => (Some(u64::from_str_radix(selectors, 16).ok()?), rest),
            None => (None, &*cursor.0),
        };
        if selectors != self.selectors {
            return None;
        }
        if let [None] = self.namespaces.as_slice() {
            return (!rest.contains(['=', ','])).then(|| vec![rest.into()]);
        }
        let parts: Vec<(&str, &str)> = rest.split(',').map(|part| part.split_once('=')).collect::<Option<_>>()?;
        let same = parts.len() == self.namespaces.len()
            && parts.iter().zip(&self.namespaces).all(|((namespace, _), wanted)| wanted.as_deref() == Some(*namespace));
        same.then(|| parts.into_iter().map(|(_, version)| version.into()).collect())
    }
}

struct Merge {
    feeds: BoxStream<'static, (usize, Option<Told>)>,
    spelling: Arc<Spelling>,
    /// Up to where each was told; `None` while it lists.
    at: Vec<Option<Name>>,
    begun: Vec<bool>,
    complete: bool,
    ended: bool,
}

/// The feeds as one stream; `versions` are those from which they were resumed.
pub(super) fn merge(feeds: Vec<Feed>, spelling: Spelling, versions: Option<Vec<Name>>) -> SourceStream {
    let count = feeds.len();
    let at = versions.map_or(vec![None; count], |versions| versions.into_iter().map(Some).collect());
    let feeds = feeds.into_iter().enumerate().map(|(index, feed)| {
        let told = stream::unfold(feed, |mut feed| async move { Some((feed.next().await?, feed)) });
        told.map(move |told| (index, Some(told))).chain(stream::iter([(index, None)])).boxed()
    });
    let mut feeds: Vec<_> = feeds.collect();
    let merge = Merge {
        // Nearly always it is one, which needs nobody to choose among several.
        feeds: if count == 1 { feeds.remove(0) } else { stream::select_all(feeds).boxed() },
        spelling: Arc::new(spelling),
        begun: vec![false; count],
        complete: at.iter().all(Option::is_some),
        at,
        ended: false,
    };
    Box::pin(stream::unfold(merge, |mut merge| async move { Some((merge.next().await?, merge)) }))
}

impl Merge {
    async fn next(&mut self) -> Option<Told> {
        while !self.ended {
            let (index, told) = self.feeds.next().await?;
            let told = match told {
                None => Err(SourceError::retry("a part of the stream ended")),
                Some(Err(error)) => Err(error),
                Some(Ok(event)) => match self.admit(index, event) {
                    Ok(None) => continue,
                    Ok(Some(event)) => Ok(event),
                    Err(error) => Err(error),
                },
            };
            self.ended = told.is_err();
            return Some(told);
        }
        None
    }

    fn admit(&mut self, index: usize, event: SourceEvent) -> Told2 {
        Ok(match event {
            SourceEvent::Init if self.at[index].is_some() || self.begun[index] => {
                // What it told of its first list cannot be taken back alone.
                if self.at.len() > 1 {
                    let reason = "the list of one namespace began anew, so that of all does".to_owned();
                    return Err(SourceError::Relist { reason });
                }
                Some(SourceEvent::Init)
            }
            SourceEvent::Init => {
                let first = !self.begun.contains(&true);
                self.begun[index] = true;
                first.then_some(SourceEvent::Init)
            }
            SourceEvent::InitDone(Cursor(version)) => {
                self.at[index] = Some(version);
                self.complete = self.at.iter().all(Option::is_some);
                self.complete.then(|| SourceEvent::InitDone(self.cursor()))
            }
            SourceEvent::Bookmark(Cursor(version)) => {
                self.at[index] = Some(version);
                self.complete.then(|| SourceEvent::Bookmark(self.cursor()))
            }
            other => Some(other),
        })
    }

    fn cursor(&self) -> Cursor {
        let versions: Vec<Name> = self.at.iter().flatten().cloned().collect();
        self.spelling.cursor(&versions)
    }
}

type Told2 = Result<Option<SourceEvent>, SourceError>;

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_spelling(namespaces: &[&str], labels: Option<&str>) -> Spelling {
        let namespaces = match namespaces {
            [] => vec![None],
            named => named.iter().map(|name| Some(Name::from(*name))).collect(),
        };
        Spelling::new(namespaces, &TypeOptions { labels: labels.map(str::to_owned), ..TypeOptions::default() })
    }

    fn mk_names(names: &[&str]) -> Vec<Name> {
        names.iter().map(|name| Name::from(*name)).collect()
    }

    #[test]
    fn the_cursor_of_a_whole_cluster_is_its_resource_version() {
        let spelling = mk_spelling(&[], None);
        let cursor = spelling.cursor(&mk_names(&["17"]));
        assert_eq!(&*cursor.0, "17");
        assert_eq!(spelling.versions(&cursor), Some(mk_names(&["17"])));
    }

    #[test]
    fn the_cursor_of_several_namespaces_holds_a_version_for_each() {
        let spelling = mk_spelling(&["a", "b"], None);
        let cursor = spelling.cursor(&mk_names(&["17", "18"]));
        assert_eq!(&*cursor.0, "a=17,b=18");
        assert_eq!(spelling.versions(&cursor), Some(mk_names(&["17", "18"])));
    }

    #[test]
    fn a_cursor_of_other_objects_is_of_no_use() {
        let spellings = [
            mk_spelling(&[], None),
            mk_spelling(&[], Some("a=b")),
            mk_spelling(&["a", "b"], None),
            mk_spelling(&["a"], None),
        ];
        for (mine, spelling) in spellings.iter().enumerate() {
            let versions = mk_names(&["17", "18"][..spelling.namespaces.len()]);
            let cursor = spelling.cursor(&versions);
            for (other, spelling) in spellings.iter().enumerate() {
                assert_eq!(spelling.versions(&cursor).is_some(), mine == other, "{cursor:?} read by {spelling:?}");
            }
        }
        assert_eq!(mk_spelling(&["a"], None).versions(&Cursor("".into())), None);
    }
}
