//! Conditions that say no, as problems: what an offline check has to tell beside what does not parse.

use tidegate_actors::correlation::Graph;
use tidegate_actors::problem::{Problem, Serving};

use crate::correlate::Outputs;
use crate::correlate::status::condition::{CONFLICTED, OVERLAPPING_TLS_CONFIG, PARTIALLY_INVALID};
use crate::correlate::status::{Condition, ObjectStatus, Status, Truth};

/// Every condition of a committed graph that is bad news.
pub(super) fn refusals(graph: &Graph, outputs: &Outputs) -> Vec<Problem> {
    graph.list(outputs.statuses).iter().flat_map(|(_, status)| of(status)).collect()
}

fn of(object: &ObjectStatus) -> Vec<Problem> {
    let bad = |field: String, conditions: &[Condition]| {
        let problem = |condition: &Condition| Problem {
            place: String::new(),
            object: Some(object.object.clone()),
            field: field.clone(),
            reason: format!("{}: {}: {}", condition.r#type, condition.reason, condition.message),
            serving: Serving::Current,
        };
        conditions.iter().filter(|condition| is_bad(condition)).map(problem).collect::<Vec<_>>()
    };
    match &object.status {
        Status::GatewayClass(class) => bad(String::new(), &class.conditions),
        Status::Gateway(gateway) => {
            let listeners = gateway.listeners.iter();
            let listeners = listeners.flat_map(|l| bad(format!("listener {}", l.name), &l.conditions));
            bad(String::new(), &gateway.conditions).into_iter().chain(listeners).collect()
        }
        Status::Route(route) => {
            let parents = route.parents.iter().enumerate();
            parents.flat_map(|(at, parent)| bad(format!("spec.parentRefs[{at}]"), &parent.conditions)).collect()
        }
    }
}

/// Most conditions say yes when all is well, a few are named after what is wrong.
fn is_bad(condition: &Condition) -> bool {
    let bad = match condition.r#type {
        CONFLICTED | OVERLAPPING_TLS_CONFIG | PARTIALLY_INVALID => Truth::True,
        _ => Truth::False,
    };
    condition.status == bad
}
