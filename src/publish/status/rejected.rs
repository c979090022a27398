//! What proxies think of an object, put into what translation says of it: `Programmed` is not true of what a proxy
//! rejects. Pure.
//!
//! Laws: nothing but `Programmed` is touched; what translation says is not true stays as it says it.

use std::sync::Arc;

use tidegate_actors::id::{Name, ObjectKey};

use crate::correlate::status::{
    Condition, GatewayStatus, ListenerStatus, ObjectStatus, ParentStatus, RouteStatus, Status, Truth, condition, reason,
};
use crate::publish::rejections::{Part, Rejection, spell};

/// A status with what is rejected of its object.
pub(super) fn with(told: &Arc<ObjectStatus>, rejections: &[Rejection]) -> Arc<ObjectStatus> {
    if rejections.is_empty() {
        return told.clone();
    }
    let mut told = ObjectStatus::clone(told);
    match &mut told.status {
        Status::GatewayClass(_) => {}
        Status::Gateway(gateway) => of_gateway(gateway, rejections),
        Status::Route(route) => of_route(route, &told.object.key, rejections),
    }
    Arc::new(told)
}

fn of_gateway(gateway: &mut GatewayStatus, rejections: &[Rejection]) {
    for listener in &mut gateway.listeners {
        let is_of =
            |rejection: &&Rejection| matches!(&rejection.part, Part::Listeners(all) if all.contains(&listener.name));
        let of_listener: Vec<&Rejection> = rejections.iter().filter(is_of).collect();
        if !of_listener.is_empty() {
            deny(&mut listener.conditions, &spell(of_listener, true));
        }
    }
    let is_whole = |rejection: &&Rejection| !matches!(rejection.part, Part::Listeners(_));
    let of_whole: Vec<&Rejection> = rejections.iter().filter(is_whole).collect();
    if !of_whole.is_empty() {
        return deny(&mut gateway.conditions, &spell(of_whole, true));
    }
    let is_served = |listener: &ListenerStatus| is_true(&listener.conditions, condition::PROGRAMMED);
    let unserved: Vec<&Name> = gateway.listeners.iter().filter(|of| !is_served(of)).map(|of| &of.name).collect();
    if unserved.len() == gateway.listeners.len() {
        return deny(&mut gateway.conditions, &spell(rejections, true));
    }
    let names = unserved.into_iter().map(|name| &**name).collect::<Vec<_>>().join(", ");
    for told in gateway.conditions.iter_mut().filter(|told| is_of_type(told, condition::PROGRAMMED)) {
        if told.status == Truth::True && !names.is_empty() {
            told.message = format!("served without the listeners {names}; see their conditions");
        }
    }
}

fn of_route(route: &mut RouteStatus, key: &ObjectKey, rejections: &[Rejection]) {
    let concerns = |parent: &ParentStatus, rejection: &Rejection| match &rejection.part {
        Part::Gateways(gateways) => {
            let namespace = parent.parent_ref.namespace.as_deref().unwrap_or(key.namespace_or_empty());
            gateways.iter().any(|gateway| *gateway.name == *parent.parent_ref.name && *gateway.namespace == *namespace)
        }
        Part::Whole | Part::Listeners(_) => true,
    };
    for parent in &mut route.parents {
        let here: Vec<&Rejection> = rejections.iter().filter(|rejection| concerns(parent, rejection)).collect();
        if here.is_empty() {
            continue;
        }
        let generation = parent.conditions.first().map_or(0, |first| first.observed_generation);
        let (status, reason) = (Truth::False, reason::REJECTED_BY_PROXY);
        let programmed = Condition::new(condition::PROGRAMMED, status, reason, spell(here, true), generation);
        parent.conditions.push(programmed);
    }
}

/// `Programmed` is not true, if it was.
fn deny(conditions: &mut [Condition], message: &str) {
    for told in conditions.iter_mut().filter(|told| is_of_type(told, condition::PROGRAMMED)) {
        if told.status == Truth::True {
            let (status, generation) = (Truth::False, told.observed_generation);
            *told = Condition::new(condition::PROGRAMMED, status, reason::INVALID, message, generation);
        }
    }
}

fn is_true(conditions: &[Condition], of_type: &str) -> bool {
    conditions.iter().any(|told| is_of_type(told, of_type) && told.status == Truth::True)
}

fn is_of_type(told: &Condition, of_type: &str) -> bool {
    told.r#type == of_type
}

#[cfg(test)]
mod tests {
    use tidegate_actors::id::ObjectRef;
    use tidegate_actors::problem::Serving;

    use super::*;
    use crate::model::GatewayId;
    use crate::resource::http_route::ParentRef;
    use crate::resource::types;

    fn mk_condition(of_type: &'static str, status: Truth) -> Condition {
        Condition::new(of_type, status, "Reason", "as translated", 4)
    }

    fn mk_rejection(part: Part) -> Rejection {
        let (what, reason) = ("listener 127.0.0.1:80".to_owned(), "in use".to_owned());
        Rejection { proxy: "p".into(), what, reason, serving: Serving::Nothing, suspects: 1, part }
    }

    fn mk_listeners(names: &[&str]) -> Part {
        Part::Listeners(names.iter().map(|name| Name::from(*name)).collect())
    }

    fn mk_gateway(listeners: &[(&str, Truth)]) -> Arc<ObjectStatus> {
        let listener = |(name, programmed): &(&str, Truth)| ListenerStatus {
            name: (*name).into(),
            supported_kinds: Vec::new(),
            attached_routes: 1,
            conditions: vec![
                mk_condition(condition::ACCEPTED, Truth::True),
                mk_condition(condition::PROGRAMMED, *programmed),
            ],
        };
        let status = GatewayStatus {
            addresses: Vec::new(),
            conditions: vec![
                mk_condition(condition::ACCEPTED, Truth::True),
                mk_condition(condition::PROGRAMMED, Truth::True),
            ],
            listeners: listeners.iter().map(listener).collect(),
        };
        let object =
            ObjectRef { resource_type: types::gateway(), key: ObjectKey::namespaced("test", "infra", "public") };
        Arc::new(ObjectStatus { object, status: Status::Gateway(status) })
    }

    fn mk_route(parents: &[&str]) -> Arc<ObjectStatus> {
        let parent = |name: &&str| ParentStatus {
            parent_ref: ParentRef {
                group: "gateway.networking.k8s.io".into(),
                kind: "Gateway".into(),
                namespace: Some("infra".into()),
                name: (*name).into(),
                section_name: None,
                port: None,
            },
            controller_name: "tidegate.dev/gateway-controller".into(),
            conditions: vec![mk_condition(condition::ACCEPTED, Truth::True)],
        };
        let status = Status::Route(RouteStatus { parents: parents.iter().map(parent).collect() });
        let key = ObjectKey::namespaced("test", "apps", "web");
        Arc::new(ObjectStatus { object: ObjectRef { resource_type: types::http_route(), key }, status })
    }

    /// What `Programmed` says, if anything does.
    fn programmed(conditions: &[Condition]) -> Option<(Truth, &str, i64)> {
        let told = conditions.iter().find(|told| is_of_type(told, condition::PROGRAMMED))?;
        Some((told.status, told.reason, told.observed_generation))
    }

    fn gateway_of(told: &ObjectStatus) -> &GatewayStatus {
        let Status::Gateway(gateway) = &told.status else { panic!("a Gateway") };
        gateway
    }

    #[test]
    fn a_rejected_listener_is_not_programmed_and_its_neighbours_are() {
        let told = mk_gateway(&[("a", Truth::True), ("b", Truth::True)]);
        let with = with(&told, &[mk_rejection(mk_listeners(&["b"]))]);
        let gateway = gateway_of(&with);
        assert_eq!(programmed(&gateway.listeners[0].conditions), Some((Truth::True, "Reason", 4)));
        assert_eq!(programmed(&gateway.listeners[1].conditions), Some((Truth::False, "Invalid", 4)));
        let said = &gateway.listeners[1].conditions[1].message;
        assert!(said.contains("the proxy p rejects the listener 127.0.0.1:80: in use"), "{said}");
        assert_eq!(programmed(&gateway.conditions), Some((Truth::True, "Reason", 4)));
        assert!(gateway.conditions[1].message.contains("without the listeners b"));
        assert_eq!(gateway.listeners[1].attached_routes, 1);
    }

    #[test]
    fn a_gateway_without_any_listener_that_is_not_rejected_is_not_programmed() {
        let told = mk_gateway(&[("a", Truth::False), ("b", Truth::True)]);
        let with = with(&told, &[mk_rejection(mk_listeners(&["a", "b"]))]);
        let gateway = gateway_of(&with);
        assert_eq!(programmed(&gateway.conditions), Some((Truth::False, "Invalid", 4)));
        assert_eq!(gateway.listeners[0].conditions[1].message, "as translated", "it has a better reason");
        assert_eq!(programmed(&gateway.listeners[1].conditions), Some((Truth::False, "Invalid", 4)));
    }

    #[test]
    fn a_rejected_route_says_so_at_the_gateways_whose_proxies_reject_it() {
        let id = |name: &str| GatewayId { source: "test".into(), namespace: "infra".into(), name: name.into() };
        let told = mk_route(&["public", "private"]);
        let with = with(&told, &[mk_rejection(Part::Gateways([id("private")].into()))]);
        let Status::Route(route) = &with.status else { panic!("a route") };
        assert_eq!(programmed(&route.parents[0].conditions), None);
        assert_eq!(programmed(&route.parents[1].conditions), Some((Truth::False, "RejectedByProxy", 4)));
        assert_eq!(route.parents[1].conditions[0], mk_condition(condition::ACCEPTED, Truth::True));
    }

    #[test]
    fn what_nobody_rejects_is_told_as_it_was() {
        let told = mk_route(&["public"]);
        assert!(Arc::ptr_eq(&with(&told, &[]), &told));
    }
}
