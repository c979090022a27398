//! What must have been said once all is quiet: a client has what it wants, and nothing that is gone.

use super::{Now, Oracle, Wrong, full, rule};
use crate::publish::xds::cache::table_of;
use crate::publish::xds::kind::Kind;
use crate::publish::xds::session::tests::model::world::{Content, Key};

impl Oracle {
    /// What is wrong once nothing more comes.
    pub fn check_quiet(&self, now: &Now<'_>) -> Result<(), Wrong> {
        if let Some((kind, _)) = self.in_flight.first_key_value() {
            return Err(format!("{kind} was answered, and the answer got lost"));
        }
        rule!(self.owed.is_empty(), "no answer at all for {:?}", self.owed);
        if !self.inline {
            let asked: Vec<_> =
                self.asked.iter().filter(|key| !self.alone.contains_key(key) && !self.is_orphan(key, now)).collect();
            rule!(asked.is_empty(), "no answer for {asked:?}");
        }
        let owed: Vec<_> = self
            .owed_endpoints
            .iter()
            .filter(|name| {
                let rejected = |kind| self.alone.contains_key(&(kind, name.to_string()));
                let wanted = self.heard(Kind::Endpoints).wants(name);
                wanted
                    && now.seen.contains_key(&(Kind::Cluster, name.to_string()))
                    && !rejected(Kind::Endpoints)
                    && !rejected(Kind::Cluster)
            })
            .collect();
        rule!(owed.is_empty(), "clusters were sent and their endpoints were not: {owed:?}");
        for (kind, wants) in Kind::ALL.into_iter().map(|kind| (kind, self.heard(kind))) {
            let of_kind = |key: &&Key| key.0 == kind && wants.wants(&key.1);
            for key in now.seen.keys().filter(of_kind).filter(|key| !self.is_orphan(key, now)) {
                let (newest, has) = (now.seen.get(key), now.client.has.get(key).map(|(content, _)| content));
                if newest == has || (newest.is_some() && self.alone.get(key) == newest) {
                    continue;
                }
                return Err(format!("{key:?} is {newest:?}, and in the end the client has {has:?}"));
            }
            if !self.inline || full(true, kind) {
                for key in now.client.has.keys().filter(|key| key.0 == kind && !now.seen.contains_key(key)) {
                    let drains = kind == Kind::VirtualHost
                        && !now.seen.contains_key(&(Kind::RouteConfig, table_of(&key.1).to_owned()));
                    let stays = drains
                        || self.is_needed(key, now)
                        || self.refused.contains(key)
                        || self.stubborn.contains(&kind)
                        || (kind == Kind::Endpoints && self.refused.contains(&(Kind::Cluster, key.1.clone())));
                    rule!(stays, "{key:?} is not there any more, and in the end the client has it");
                }
            }
        }
        Ok(())
    }

    /// What a client still runs with, since it rejects what is newer, needs more that is not there any more.
    fn is_needed(&self, (kind, name): &Key, now: &Now<'_>) -> bool {
        if !self.resumes.is_empty()
            && self.alone.keys().any(|(of, _)| matches!(of, Kind::Listener | Kind::RouteConfig | Kind::VirtualHost))
        {
            // It may run with anything in place of what it rejects.
            return !matches!(kind, Kind::Listener | Kind::VirtualHost);
        }
        let rejecting = now.client.has.iter().filter(|(key, _)| self.alone.get(key) == now.seen.get(key));
        rejecting.into_iter().any(|(_, (old, _))| match (kind, old) {
            (Kind::Cluster | Kind::Endpoints, Content::Listener(chains)) => {
                now.client.has.iter().any(|(key, (routes, _))| {
                    let table = if key.0 == Kind::VirtualHost { table_of(&key.1) } else { &key.1 };
                    chains.iter().any(|(of, _)| of == table) && routes.leads_to().contains(name)
                })
            }
            (Kind::Cluster | Kind::Endpoints, old) => old.leads_to().contains(name),
            (Kind::RouteConfig, Content::Listener(chains)) => chains.iter().any(|(table, _)| table == name),
            (Kind::Secret, Content::Listener(chains)) => chains.iter().any(|(_, secrets)| secrets.contains(name)),
            _ => false,
        })
    }

    /// A virtual host that nobody asked for by name, of a table that the client does not have.
    fn is_orphan(&self, (kind, name): &Key, now: &Now<'_>) -> bool {
        *kind == Kind::VirtualHost
            && !self.heard(Kind::VirtualHost).names.contains(name)
            && !now.client.has.contains_key(&(Kind::RouteConfig, table_of(name).to_owned()))
    }
}
