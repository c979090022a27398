//! What is done and what goes wrong, in order, from a seed: the same seed is the same plan.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate::resource::types;
use tidegate_actors::env::{Rng, SeededRng};
use tidegate_actors::id::{ResourceType, Scope};

use crate::proxy::Network;

/// What is watched. `Maps` are watched by label, `Secrets` by field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Maps,
    Secrets,
    Routes,
    Widgets,
}

pub const KINDS: [Kind; 4] = [Kind::Maps, Kind::Secrets, Kind::Routes, Kind::Widgets];

/// What selects the maps that are watched.
pub const LABELS: &str = "watched=yes";

/// What selects the secrets that are watched.
pub const FIELDS: &str = "type=Opaque";

impl Kind {
    pub fn resource_type(self) -> ResourceType {
        match self {
            Self::Maps => ResourceType::new("", "v1", "ConfigMap", "configmaps", Scope::Namespaced),
            Self::Secrets => types::secret(),
            Self::Routes => types::http_route(),
            Self::Widgets => ResourceType::new("example.com", "v1", "Widget", "widgets", Scope::Namespaced),
        }
    }

    pub fn path(self, namespace: &str) -> String {
        let of = self.resource_type();
        let root = if of.group().is_empty() { "/api".to_owned() } else { format!("/apis/{}", of.group()) };
        format!("{root}/{}/namespaces/{namespace}/{}", of.version(), of.plural())
    }

    /// The path of what is watched.
    pub fn watched_path(self, namespace: &str) -> String {
        let path = self.path(namespace);
        match self {
            Self::Maps => format!("{path}?labelSelector={LABELS}"),
            Self::Secrets => format!("{path}?fieldSelector={FIELDS}"),
            Self::Routes | Self::Widgets => path,
        }
    }

    fn has_status(self) -> bool {
        matches!(self, Self::Routes | Self::Widgets)
    }

    /// A new object with a value; `watched` as far as there is a choice.
    pub fn object(self, name: &str, value: u64, watched: bool, finalizer: bool) -> Value {
        let of = self.resource_type();
        let version = if of.group().is_empty() { "v1".to_owned() } else { format!("{}/{}", of.group(), of.version()) };
        let mut object = json!({"apiVersion": version, "kind": of.kind(), "metadata": {"name": name}});
        if finalizer {
            object["metadata"]["finalizers"] = json!([FINALIZER]);
        }
        if self == Self::Maps {
            object["metadata"]["labels"] = labels(watched);
        }
        if self == Self::Secrets {
            object["type"] = json!(if watched { "Opaque" } else { "example.com/other" });
        }
        merge(&mut object, self.content(value));
        object
    }

    /// A value as a merge patch. A few are large, so that they are on the way for long.
    pub fn content(self, value: u64) -> Value {
        let filler = "x".repeat(if value.is_multiple_of(7) { 12_000 } else { 20 });
        match self {
            Self::Maps => json!({"data": {"value": value.to_string(), "filler": filler}}),
            Self::Secrets => json!({"data": {"value": encoded(value)}}),
            Self::Routes => json!({"spec": {"hostnames": [format!("h{value}.example.com")]}}),
            Self::Widgets => json!({"spec": {"value": value, "filler": filler}}),
        }
    }

    /// A value in the status as a merge patch.
    pub fn status(self, value: u64) -> Value {
        match self {
            Self::Routes => json!({"status": {"parents": [{
                "parentRef": {"name": "public"}, "controllerName": "example.com/other",
                "conditions": [{
                    "type": "Accepted", "status": "True", "reason": "Accepted", "message": value.to_string(),
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }],
            }]}}),
            _ => json!({"status": {"value": value}}),
        }
    }
}

fn encoded(value: u64) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(value.to_string())
}

fn merge(object: &mut Value, content: Value) {
    let Value::Object(content) = content else { panic!("{content}") };
    object.as_object_mut().unwrap().extend(content);
}

pub const FINALIZER: &str = "example.com/held";

/// Labels that are selected, or not.
pub fn labels(watched: bool) -> Value {
    json!({"watched": if watched { "yes" } else { "no" }})
}

/// What is done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Create {
        watched: bool,
        finalizer: bool,
    },
    Update,
    /// Into the selector, or out of it; of a kind without labels to select by, another label.
    Select(bool),
    Status,
    Delete,
    /// Gone and there again, under the same name.
    Recreate {
        watched: bool,
    },
    /// Let go of by whoever holds it up.
    Release,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Do {
        kind: Kind,
        name: u64,
        action: Action,
        value: u64,
    },
    Network(Network),
    /// Whatever is open is cut.
    Cut,
    /// A frame is truncated somewhere.
    CutAfter(u32),
    /// Half-open: what is open carries nothing any more.
    Lose,
    /// The permission to watch anything is withdrawn, or granted.
    Permit(bool),
    /// The file with the token is replaced; the old one is refused soon.
    Token,
    Pause(Duration),
    /// Nothing is wrong for a moment, in which what is held has to become what the server has. Without it the next list
    /// would mend what was lost before anybody looked.
    Check,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    /// How the source is set up.
    pub streaming: bool,
    pub page_size: u32,
    pub watch_timeout: Duration,
    pub steps: Vec<Step>,
}

impl Plan {
    pub fn new(seed: u64) -> Self {
        // Neighbouring seeds are neighbours in nothing else.
        let rng = SeededRng::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut plan = Self {
            seed,
            streaming: rng.below(2) == 0,
            page_size: 1 + range(&rng, 4),
            watch_timeout: Duration::from_secs(2 + rng.below(4)),
            steps: Vec::new(),
        };
        // What is wrong for a while, and for how many steps more.
        let (mut network, mut denied) = (0, 0);
        let rounds = 30 + rng.below(20);
        for round in 0..rounds {
            if round > 0 && round % (rounds / 4) == 0 {
                (network, denied) = (0, 0);
                plan.steps.push(Step::Check);
            }
            lift(&mut network, || plan.steps.push(Step::Network(Network::Pass)));
            lift(&mut denied, || plan.steps.push(Step::Permit(true)));
            let step = match rng.below(100) {
                0..65 => {
                    plan.steps.extend((0..rng.below(4)).map(|_| operation(&rng)));
                    operation(&rng)
                }
                65..77 => {
                    network = 1 + rng.below(5);
                    Step::Network(trouble(&rng))
                }
                77..84 => Step::Cut,
                84..90 => Step::CutAfter(range(&rng, 6_000)),
                90..93 => Step::Lose,
                93..96 => {
                    denied = 1 + rng.below(6);
                    Step::Permit(false)
                }
                _ => Step::Token,
            };
            plan.steps.push(step);
            let pause = if rng.below(8) == 0 { 300 + rng.below(1_200) } else { rng.below(120) };
            plan.steps.push(Step::Pause(Duration::from_millis(pause)));
        }
        plan
    }

    /// How many steps are operations.
    pub fn operations(&self) -> usize {
        self.steps.iter().filter(|step| matches!(step, Step::Do { .. })).count()
    }

    /// How many steps make something go wrong.
    pub fn faults(&self) -> usize {
        let no_fault = |step: &&Step| {
            let mends = matches!(step, Step::Network(Network::Pass) | Step::Permit(true) | Step::Check);
            mends || matches!(step, Step::Do { .. } | Step::Pause(_))
        };
        self.steps.len() - self.steps.iter().filter(no_fault).count()
    }
}

fn range(rng: &SeededRng, below: u64) -> u32 {
    u32::try_from(rng.below(below)).unwrap()
}

fn lift(left: &mut u64, over: impl FnOnce()) {
    if *left > 0 {
        *left -= 1;
        if *left == 0 {
            over();
        }
    }
}

fn operation(rng: &SeededRng) -> Step {
    let kind = KINDS[rng.below(4) as usize];
    let yes = |of: u64| rng.below(of) == 0;
    let action = match rng.below(20) {
        0..5 => Action::Create { watched: !yes(4), finalizer: yes(5) },
        5..9 => Action::Update,
        9..11 => Action::Select(yes(2)),
        11..13 if kind.has_status() => Action::Status,
        11..13 => Action::Select(true),
        13..16 => Action::Delete,
        16..19 => Action::Recreate { watched: !yes(4) },
        _ => Action::Release,
    };
    // Few names, so that much happens to each.
    Step::Do { kind, name: rng.below(4), action, value: rng.below(1_000_000) }
}

fn trouble(rng: &SeededRng) -> Network {
    match rng.below(4) {
        0 => Network::Delay(Duration::from_millis(20 + rng.below(150))),
        1 => Network::Trickle(1 + rng.below(700) as usize),
        2 => Network::Freeze,
        _ => Network::Refuse,
    }
}

#[test]
fn a_seed_is_one_plan_and_plans_have_everything_in_them() {
    assert_eq!(Plan::new(7).steps, Plan::new(7).steps);
    assert_ne!(Plan::new(7).steps, Plan::new(8).steps);
    let all: String = (0..200).map(|seed| format!("{:?}", Plan::new(seed).steps)).collect();
    for word in [
        "Create",
        "Update",
        "Select(true)",
        "Select(false)",
        "Status",
        "Delete",
        "Recreate",
        "Release",
        "Delay",
        "Trickle",
        "Freeze",
        "Refuse",
        "Cut,",
        "CutAfter",
        "Lose",
        "Permit(false)",
        "Permit(true)",
        "Token",
        "Widgets",
    ] {
        assert!(all.contains(word), "{word}");
    }
}
