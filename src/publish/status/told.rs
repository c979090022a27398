//! What every object is told: what translation says of it and what proxies say of that, as one; for the API, for the
//! sources that take conditions back, and for those who make Events of it.
//!
//! Law: whichever of the two changes, what is told is made of the newest of both.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::value::RawValue;
use tidegate_actors::env::Env;
use tidegate_actors::id::{ObjectKey, ObjectRef};
use tidegate_actors::supervisor::{ChildSpec, TaskContext};

use super::stamp::{stamp, timestamp};
use super::writer::StatusWriter;
use super::{PublishedStatuses, rejected};
use crate::correlate::Answers;
use crate::correlate::status::ObjectStatus;
use crate::publish::events::Teller;
use crate::publish::rejections::{Rejection, Rejections};

/// How long proxies may go on talking before what they said is told; many often say the same at once.
const SETTLE: Duration = Duration::from_millis(100);

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Told {
    shared: Arc<Shared>,
}

struct Shared {
    env: Env,
    statuses: PublishedStatuses,
    writer: StatusWriter,
    teller: Teller,
    rejections: Rejections,
    /// Held while something is told, so that nothing newer is told before.
    said: Mutex<Said>,
}

#[derive(Default)]
struct Said {
    /// What translation says.
    statuses: BTreeMap<ObjectRef, Arc<ObjectStatus>>,
    /// What of proxies was told with it. It may have been taken back before anybody looked for changes.
    rejections: BTreeMap<ObjectRef, Vec<Rejection>>,
}

impl Told {
    /// Tells `statuses`, `writer` and `teller`.
    pub fn new(
        env: &Env,
        statuses: PublishedStatuses,
        writer: StatusWriter,
        teller: Teller,
        rejections: Rejections,
    ) -> Self {
        let (env, said) = (env.clone(), Mutex::default());
        Self { shared: Arc::new(Shared { env, statuses, writer, teller, rejections, said }) }
    }

    /// Who answers for which Gateway from now on. To be said before what follows from it.
    pub(super) fn answers<'a>(
        &self,
        full: bool,
        changes: impl Iterator<Item = (&'a ObjectKey, Option<Answers>)> + Clone,
    ) {
        self.shared.writer.answers(full, changes.clone());
        self.shared.teller.answers(full, changes);
    }

    /// What translation says from now on. `full`: of what is not named it says nothing.
    ///
    /// # Errors
    /// When a status does not serialise, which would be a defect.
    pub(super) fn translated<'a>(
        &self,
        full: bool,
        changes: impl Iterator<Item = (&'a ObjectRef, Option<Arc<ObjectStatus>>)>,
    ) -> serde_json::Result<()> {
        let mut said = self.shared.said.lock();
        if full {
            *said = Said::default();
        }
        let changes: Vec<_> = changes.collect();
        let named: BTreeSet<ObjectRef> = changes.iter().map(|(object, _)| (*object).clone()).collect();
        for (object, status) in changes {
            match status {
                Some(status) => drop(said.statuses.insert(object.clone(), status)),
                None => drop(said.statuses.remove(object)),
            }
        }
        self.shared.tell(&mut said, full, &named)
    }

    /// The child that follows what proxies say.
    pub fn spec(&self) -> ChildSpec {
        let told = self.clone();
        ChildSpec::task("rejections", move |context: TaskContext| {
            let shared = told.shared.clone();
            async move {
                tokio::select! {
                    biased;
                    () = context.stop.stopped() => Ok(()),
                    error = shared.follow() => Err(error.into()),
                }
            }
        })
    }
}

impl Shared {
    async fn follow(&self) -> serde_json::Error {
        let mut changes = self.rejections.on_change();
        changes.mark_changed();
        loop {
            // It lives as long as we do.
            let _ = changes.changed().await;
            self.env.clock.sleep(SETTLE).await;
            changes.mark_unchanged();
            let now = self.rejections.all();
            {
                let mut said = self.said.lock();
                let told = &said.rejections;
                let differs = |object: &&ObjectRef| told.get(*object) != now.get(*object);
                let changed = told.keys().chain(now.keys()).filter(differs);
                let changed = changed.filter(|object| said.statuses.contains_key(*object));
                let changed: BTreeSet<ObjectRef> = changed.cloned().collect();
                // What is told before translation has said anything would be taken for all that there is.
                if !changed.is_empty()
                    && let Err(error) = self.tell(&mut said, false, &changed)
                {
                    return error;
                }
            }
            self.teller.rejected(&now);
        }
    }

    fn tell(&self, said: &mut Said, full: bool, objects: &BTreeSet<ObjectRef>) -> serde_json::Result<()> {
        let Said { statuses, rejections } = said;
        let mut tell = |object: &ObjectRef| {
            rejections.remove(object);
            let status = statuses.get(object)?;
            let rejected = self.rejections.of(object);
            let told = rejected::with(status, &rejected);
            if !rejected.is_empty() {
                rejections.insert(object.clone(), rejected);
            }
            Some(told)
        };
        let told: Vec<(&ObjectRef, Option<Arc<ObjectStatus>>)> =
            objects.iter().map(|object| (object, tell(object))).collect();
        self.writer.apply(full, told.iter().map(|(object, status)| (*object, status.clone())));
        self.teller.told(full, told.iter().map(|(object, status)| (*object, status.as_deref())));
        let now = timestamp(self.env.clock.wall());
        let mut all = self.statuses.all.write();
        if full {
            all.retain(|object, _| objects.contains(object));
        }
        for (object, status) in told {
            match status {
                Some(status) => {
                    let stamped = stamped(&status, all.get(object).map(|held| &**held), &now)?;
                    all.insert(object.clone(), stamped);
                }
                None => drop(all.remove(object)),
            }
        }
        Ok(())
    }
}

fn stamped(status: &ObjectStatus, before: Option<&RawValue>, now: &str) -> serde_json::Result<Box<RawValue>> {
    let mut new = serde_json::to_value(status)?;
    let old = before.map(|text| serde_json::from_str(text.get())).transpose()?;
    stamp(&mut new, old.as_ref(), now);
    serde_json::value::to_raw_value(&new)
}

#[cfg(test)]
mod tests {
    use tidegate_actors::id::ObjectKey;
    use tidegate_actors::informer::InformerFactory;
    use tidegate_actors::problem::{Problems, Serving};
    use tidegate_actors::supervisor::{Strategy, Supervisor};
    use tidegate_actors::testing;

    use super::*;
    use crate::correlate::status::{Condition, ParentStatus, RouteStatus, Status, Truth};
    use crate::publish::rejections::Part;
    use crate::publish::status::Speaker;
    use crate::resource::http_route::ParentRef;
    use crate::resource::types;

    fn route(name: &str) -> ObjectRef {
        ObjectRef { resource_type: types::http_route(), key: ObjectKey::namespaced("east", "n", name) }
    }

    fn mk_status(name: &str) -> Arc<ObjectStatus> {
        let parent_ref = ParentRef {
            group: "gateway.networking.k8s.io".into(),
            kind: "Gateway".into(),
            namespace: None,
            name: "g".into(),
            section_name: None,
            port: None,
        };
        let conditions = vec![Condition::new("Accepted", Truth::True, "Accepted", "", 1)];
        let parents = vec![ParentStatus { parent_ref, controller_name: "us".into(), conditions }];
        Arc::new(ObjectStatus { object: route(name), status: Status::Route(RouteStatus { parents }) })
    }

    fn mk_rejection(proxy: &str) -> Rejection {
        let (what, reason) = ("virtual host h".to_owned(), "bad regex".to_owned());
        Rejection { proxy: proxy.into(), what, reason, serving: Serving::LastGood, suspects: 1, part: Part::Whole }
    }

    struct Rig {
        told: Told,
        statuses: PublishedStatuses,
        rejections: Rejections,
    }

    async fn mk_rig() -> Rig {
        let (env, _) = testing::env(1);
        let supervisor = Supervisor::start("test", Strategy::OneForOne, env.clone()).await.unwrap();
        let problems = Problems::default();
        let factory = InformerFactory::new(env.clone(), supervisor.clone(), problems.clone());
        let writer = StatusWriter::new(&env, &problems, &factory, Speaker::default);
        let teller = Teller::new(&env, &problems, &factory, || "us".into());
        let (statuses, rejections) = (PublishedStatuses::default(), Rejections::default());
        let told = Told::new(&env, statuses.clone(), writer, teller, rejections.clone());
        supervisor.add(told.spec()).await.unwrap();
        Rig { told, statuses, rejections }
    }

    impl Rig {
        fn translate(&self, full: bool, names: &[&str]) {
            let all: Vec<_> = names.iter().map(|name| (route(name), mk_status(name))).collect();
            let changes = all.iter().map(|(object, status)| (object, Some(status.clone())));
            self.told.translated(full, changes).unwrap();
        }

        /// What is said of a route's `Programmed`; empty if nothing is.
        fn programmed(&self, name: &str) -> String {
            let text = self.statuses.get(&route(name)).unwrap();
            let status: serde_json::Value = serde_json::from_str(text.get()).unwrap();
            let conditions = status["status"]["parents"][0]["conditions"].as_array().unwrap().clone();
            let said = conditions.iter().find(|condition| condition["type"] == "Programmed");
            said.map(|said| format!("{} {}", said["status"], said["message"])).unwrap_or_default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_proxy_rejects_is_told_within_a_second_and_so_is_that_it_is_over() {
        let rig = mk_rig().await;
        rig.translate(true, &["a", "b"]);
        rig.rejections.set(&route("a"), "1", mk_rejection("envoy-1"));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let said = rig.programmed("a");
        assert!(said.contains("False") && said.contains("the proxy envoy-1 rejects the virtual host h: bad regex"));
        assert_eq!(rig.programmed("b"), "");
        rig.translate(false, &["a"]);
        assert_eq!(rig.programmed("a"), said, "what is translated anew is rejected still");
        rig.rejections.set(&route("a"), "2", mk_rejection("envoy-2"));
        rig.rejections.clear(&route("a"), "1");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(rig.programmed("a").contains("the proxy envoy-2 rejects"), "{}", rig.programmed("a"));
        rig.rejections.clear(&route("a"), "2");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(rig.programmed("a"), "");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_translated_while_a_proxy_rejects_it_for_a_moment_is_not_rejected_for_ever() {
        let rig = mk_rig().await;
        rig.translate(true, &["a"]);
        tokio::time::sleep(Duration::from_secs(1)).await;
        rig.rejections.set(&route("a"), "1", mk_rejection("envoy-1"));
        tokio::time::sleep(SETTLE / 10).await;
        rig.translate(false, &["a"]);
        assert!(rig.programmed("a").contains("envoy-1"));
        rig.rejections.clear(&route("a"), "1");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(rig.programmed("a"), "");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_rejected_before_anything_is_translated_is_told_with_it() {
        let rig = mk_rig().await;
        rig.rejections.set(&route("a"), "1", mk_rejection("envoy-1"));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(rig.statuses.list().is_empty());
        rig.translate(true, &["a"]);
        assert!(rig.programmed("a").contains("envoy-1"));
        rig.translate(true, &[]);
        assert!(rig.statuses.list().is_empty());
        rig.rejections.clear(&route("a"), "1");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(rig.statuses.list().is_empty(), "what is not there is told nothing");
    }
}
