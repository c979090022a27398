//! Which types a cluster has: what was observed of definitions and API groups, and what changes by it. Pure.
//!
//! Laws: what a definition says goes before what the groups say, which lag; a type whose definition was deleted is
//! gone although groups still name it; what is stale, or not known to be complete, takes nothing away.

use std::collections::{BTreeMap, BTreeSet};

use super::definition::{Definition, TypeName};

/// What is seen of a cluster.
#[derive(Clone, Debug)]
pub(super) enum Observation {
    /// A list of definitions begins.
    ListBegan,
    /// A definition of the list; without what it says if that cannot be read.
    Listed(TypeName, Option<Definition>),
    /// The list is complete.
    ListEnded,
    /// A definition was added or changed.
    Applied(TypeName, Definition),
    /// A definition was deleted.
    Deleted(TypeName),
    /// All API groups but the core's.
    Groups(Vec<GroupVersion>),
    /// Definitions cannot be followed any more: from now on the groups decide.
    DefinitionsLost,
}

/// A version of an API group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GroupVersion {
    pub group: String,
    pub version: String,
    /// The server that serves it did not answer; what it has is as it was.
    pub stale: bool,
    /// Its types, with one version: this one.
    pub types: Vec<(TypeName, Definition)>,
}

/// What is different for a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It is served from now on.
    Came(TypeName),
    /// Its versions, or what else is said of it, are others.
    Changed(TypeName),
    /// It is served no more.
    Gone(TypeName),
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Discovered {
    defined: BTreeMap<TypeName, Definition>,
    /// What a list that is under way has named so far.
    listing: Option<BTreeMap<TypeName, Option<Definition>>>,
    grouped: BTreeMap<TypeName, Definition>,
    /// Types whose definition was deleted; until the groups do not name them any more.
    deleted: BTreeSet<TypeName>,
}

impl Discovered {
    /// How a type is served; `None` if it is not.
    pub fn get(&self, name: &TypeName) -> Option<&Definition> {
        let grouped = || self.grouped.get(name).filter(|_| !self.deleted.contains(name));
        self.defined.get(name).or_else(grouped).filter(|definition| !definition.versions.is_empty())
    }

    /// All that is served.
    pub fn iter(&self) -> impl Iterator<Item = (&TypeName, &Definition)> {
        let names: BTreeSet<&TypeName> = self.defined.keys().chain(self.grouped.keys()).collect();
        names.into_iter().filter_map(|name| Some((name, self.get(name)?)))
    }

    /// Takes in what was observed.
    pub fn observe(&mut self, observation: Observation) -> Vec<Change> {
        match observation {
            Observation::ListBegan => self.listing = Some(BTreeMap::new()),
            Observation::Listed(name, definition) => {
                if let Some(listing) = &mut self.listing {
                    listing.insert(name, definition);
                }
            }
            Observation::ListEnded => return self.compared(Self::end_list),
            Observation::Applied(name, definition) => {
                return self.compared_for(name, |this, name| {
                    this.deleted.remove(&name);
                    this.defined.insert(name, definition);
                });
            }
            Observation::Deleted(name) => return self.compared_for(name, Self::delete),
            Observation::Groups(groups) => return self.compared(|this| this.regroup(groups)),
            Observation::DefinitionsLost => {
                self.listing = None;
                self.grouped.append(&mut self.defined);
                self.deleted.clear();
            }
        }
        Vec::new()
    }

    fn end_list(&mut self) {
        let Some(listing) = self.listing.take() else { return };
        let unnamed: Vec<TypeName> = self.defined.keys().filter(|name| !listing.contains_key(name)).cloned().collect();
        unnamed.into_iter().for_each(|name| self.delete(name));
        for (name, definition) in listing {
            self.deleted.remove(&name);
            if let Some(definition) = definition {
                self.defined.insert(name, definition);
            }
        }
    }

    fn delete(&mut self, name: TypeName) {
        self.defined.remove(&name);
        // Whether groups name it or not: those that are being read may.
        self.deleted.insert(name);
    }

    fn regroup(&mut self, groups: Vec<GroupVersion>) {
        let mut grouped: BTreeMap<TypeName, Definition> = BTreeMap::new();
        for GroupVersion { group, version, stale, types } in groups {
            let had = |(name, definition): &(&TypeName, &Definition)| {
                name.group == group && definition.versions.contains(&version)
            };
            let kept = self.grouped.iter().filter(|entry| stale && had(entry));
            let kept = kept.map(|(name, definition)| {
                (name.clone(), Definition { versions: vec![version.clone()], ..definition.clone() })
            });
            let kept: Vec<_> = kept.collect();
            for (name, definition) in types.into_iter().chain(kept) {
                let versions = &mut grouped.entry(name).or_insert_with(|| definition.clone()).versions;
                if !versions.contains(&version) {
                    versions.push(version.clone());
                }
            }
        }
        self.deleted.retain(|name| grouped.contains_key(name));
        self.grouped = grouped;
    }

    fn compared(&mut self, change: impl FnOnce(&mut Self)) -> Vec<Change> {
        let owned = |(name, definition): (&TypeName, &Definition)| (name.clone(), definition.clone());
        let before: BTreeMap<TypeName, Definition> = self.iter().map(owned).collect();
        change(self);
        let after: BTreeMap<TypeName, Definition> = self.iter().map(owned).collect();
        let names: BTreeSet<&TypeName> = before.keys().chain(after.keys()).collect();
        names.into_iter().filter_map(|name| difference(name, before.get(name), after.get(name))).collect()
    }

    fn compared_for(&mut self, name: TypeName, change: impl FnOnce(&mut Self, TypeName)) -> Vec<Change> {
        let before = self.get(&name).cloned();
        change(self, name.clone());
        difference(&name, before.as_ref(), self.get(&name)).into_iter().collect()
    }
}

fn difference(name: &TypeName, before: Option<&Definition>, after: Option<&Definition>) -> Option<Change> {
    match (before, after) {
        (None, Some(_)) => Some(Change::Came(name.clone())),
        (Some(_), None) => Some(Change::Gone(name.clone())),
        (Some(before), Some(after)) if before != after => Some(Change::Changed(name.clone())),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
