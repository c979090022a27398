//! The objects of the simulated world: what there is, in which variants, and which of them are poison.
//!
//! Invariant: nothing here knows a fault, an order or a law.

use std::fmt;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tidegate::resource::types;
use tidegate_actors::id::ResourceType;
use tidegate_actors::testing::MemorySource;

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Class,
    Gateway,
    Route,
    Grant,
    Service,
    Slice,
    Secret,
}

impl Kind {
    pub fn resource_type(self) -> ResourceType {
        match self {
            Self::Class => types::gateway_class(),
            Self::Gateway => types::gateway(),
            Self::Route => types::http_route(),
            Self::Grant => types::reference_grant(),
            Self::Service => types::service(),
            Self::Slice => types::endpoint_slice(),
            Self::Secret => types::secret(),
        }
    }
}

/// What a version of an object says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Say {
    /// One of many good versions; the number decides everything that can be different.
    Good(u64),
    /// It cannot be read, in one of several ways.
    Poison(u64),
    /// A route that proxies may reject.
    Disliked(u64),
    /// What is there from the start and never changes.
    Anchor,
}

/// One object.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Thing {
    pub kind: Kind,
    pub namespace: &'static str,
    pub name: &'static str,
}

impl fmt::Debug for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}/{}", self.kind, self.namespace, self.name)
    }
}

const fn thing(kind: Kind, name: &'static str) -> Thing {
    Thing { kind, namespace: "apps", name }
}

/// What is never touched.
pub const ANCHORS: [Thing; 5] = [
    thing(Kind::Class, "tidegate"),
    thing(Kind::Gateway, "public"),
    thing(Kind::Service, "anchor"),
    thing(Kind::Slice, "anchor-1"),
    thing(Kind::Route, "anchor"),
];

/// Where the anchor's route is seen, and what it leads to.
pub const ANCHOR_ROUTE: &str = "apps/anchor/0/0";
pub const ANCHOR_GATEWAY: &str = "apps/public";
pub const ANCHOR_LISTENER: &str = "127.0.0.1:8080";
pub const ANCHOR_CLUSTER: &str = "east/apps/anchor/80";

/// What changes, by how often.
pub const ROUTES: [Thing; 6] = [
    thing(Kind::Route, "r1"),
    thing(Kind::Route, "r2"),
    thing(Kind::Route, "r3"),
    thing(Kind::Route, "r4"),
    thing(Kind::Route, "r5"),
    thing(Kind::Route, "bad"),
];
pub const SERVICES: [Thing; 4] = [
    thing(Kind::Service, "a"),
    thing(Kind::Service, "b"),
    thing(Kind::Service, "c"),
    Thing { kind: Kind::Service, namespace: "shared", name: "d" },
];
pub const SLICES: [Thing; 5] = [
    thing(Kind::Slice, "a-1"),
    thing(Kind::Slice, "a-2"),
    thing(Kind::Slice, "b-1"),
    thing(Kind::Slice, "c-1"),
    Thing { kind: Kind::Slice, namespace: "shared", name: "d-1" },
];
pub const GATEWAYS: [Thing; 2] = [thing(Kind::Gateway, "g1"), thing(Kind::Gateway, "g2")];
pub const GRANTS: [Thing; 1] = [Thing { kind: Kind::Grant, namespace: "shared", name: "routes" }];
pub const SECRETS: [Thing; 1] = [thing(Kind::Secret, "cert")];

/// Marks what proxies of some moods reject.
pub const DISLIKED: &[u8] = b"/disliked";

struct Pair {
    certificate: String,
    key: String,
}

/// Made once a process: what the seeds say of it is only which of the two it is.
static PAIRS: LazyLock<[Pair; 2]> = LazyLock::new(|| {
    ["one.example.com", "two.example.com"].map(|name| {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let encode = |text: String| BASE64_STANDARD.encode(text);
        Pair { certificate: encode(made.cert.pem()), key: encode(made.signing_key.serialize_pem()) }
    })
});

impl Thing {
    /// Puts a version of it into a source.
    pub fn put(self, source: &MemorySource, says: Say) {
        let namespace = (self.kind != Kind::Class).then_some(self.namespace);
        let service = self.name.split('-').next().unwrap_or_default();
        let labels = [("kubernetes.io/service-name", service)];
        let labels = if self.kind == Kind::Slice { &labels[..] } else { &[] };
        source.apply_labelled(&self.kind.resource_type(), namespace, self.name, labels, &self.body(says));
    }

    /// Whether a source has it.
    pub fn is_in(self, source: &MemorySource) -> bool {
        let objects = source.objects(&self.kind.resource_type());
        objects.keys().any(|key| *key.name == *self.name)
    }

    pub fn delete(self, source: &MemorySource) {
        let namespace = (self.kind != Kind::Class).then_some(self.namespace);
        source.delete(&self.kind.resource_type(), namespace, self.name);
    }

    /// What entries that proxies hold may depend on.
    pub fn causes(self, source: usize) -> Vec<String> {
        let Self { kind, namespace, name } = self;
        let of_source = super::SOURCES[source];
        match kind {
            Kind::Route => vec![format!("route/{namespace}/{name}")],
            Kind::Service => vec![format!("service/{of_source}/{namespace}/{name}")],
            Kind::Slice => {
                let service = name.split('-').next().unwrap_or_default();
                vec![format!("service/{of_source}/{namespace}/{service}")]
            }
            // They have listeners on any of these ports.
            Kind::Gateway | Kind::Class | Kind::Secret => (8081..8085).map(|port| format!("port/{port}")).collect(),
            Kind::Grant => vec!["grants".to_owned()],
        }
    }

    /// The JSON members after `metadata`.
    fn body(self, says: Say) -> String {
        match (self.kind, says) {
            (Kind::Class, _) => r#""spec":{"controllerName":"tidegate.dev/gateway-controller"}"#.to_owned(),
            (_, Say::Poison(how)) => self.poison(how),
            (Kind::Gateway, Say::Anchor) => gateway(&[r#"{"name":"http","port":8080,"protocol":"HTTP"}"#.to_owned()]),
            (Kind::Gateway, Say::Good(n) | Say::Disliked(n)) => gateway(&listeners(n)),
            (Kind::Route, says) => route(says),
            (Kind::Grant, _) => r#""spec":{"from":[{"group":"gateway.networking.k8s.io","kind":"HTTPRoute","namespace":"apps"}],"to":[{"group":"","kind":"Service"}]}"#.to_owned(),
            (Kind::Service, Say::Good(n)) if n % 5 == 4 => r#""spec":{"ports":[{"name":"http","port":8000}]}"#.to_owned(),
            (Kind::Service, Say::Good(n)) if n % 5 == 3 => {
                r#""spec":{"ports":[{"name":"http","port":80,"appProtocol":"kubernetes.io/h2c"}]}"#.to_owned()
            }
            (Kind::Service, _) => r#""spec":{"ports":[{"name":"http","port":80}]}"#.to_owned(),
            (Kind::Slice, Say::Good(n) | Say::Disliked(n)) => slice(n),
            (Kind::Slice, Say::Anchor) => slice(250),
            (Kind::Secret, Say::Good(n) | Say::Disliked(n)) => {
                let Pair { certificate, key } = &PAIRS[(n % 2) as usize];
                format!(r#""type":"kubernetes.io/tls","data":{{"tls.crt":"{certificate}","tls.key":"{key}"}}"#)
            }
            (Kind::Secret, Say::Anchor) => String::new(),
        }
    }

    fn poison(self, how: u64) -> String {
        if self.kind == Kind::Route && how.is_multiple_of(2) {
            let matching = r#"{"path":{"type":"RegularExpression","value":"(["}}"#;
            return format!(
                r#""spec":{{"parentRefs":[{{"name":"public"}}],"rules":[{{"matches":[{matching}],"backendRefs":[{{"name":"a","port":80}}]}}]}}"#
            );
        }
        match self.kind {
            Kind::Slice => r#""addressType":"IPv4","endpoints":7,"ports":[]"#.to_owned(),
            Kind::Secret => r#""type":"kubernetes.io/tls","data":{"tls.crt":"bm8=","tls.key":"bm8="}"#.to_owned(),
            _ => r#""spec":7"#.to_owned(),
        }
    }
}

fn gateway(listeners: &[String]) -> String {
    format!(r#""spec":{{"gatewayClassName":"tidegate","listeners":[{}]}}"#, listeners.join(","))
}

fn listeners(n: u64) -> Vec<String> {
    let port = 8081 + n % 3;
    let mut all = vec![format!(r#"{{"name":"http","port":{port},"protocol":"HTTP"}}"#)];
    if n % 4 == 1 {
        all[0] = format!(r#"{{"name":"http","port":{port},"protocol":"HTTP","hostname":"*.example.com"}}"#);
    }
    if n % 3 == 2 {
        all.push(
            r#"{"name":"https","port":8084,"protocol":"HTTPS","tls":{"certificateRefs":[{"name":"cert"}]}}"#.to_owned(),
        );
    }
    all
}

fn route(says: Say) -> String {
    let (n, path) = match says {
        Say::Anchor => {
            return r#""spec":{"parentRefs":[{"name":"public"}],"hostnames":["a.example.com"],"rules":[{"backendRefs":[{"name":"anchor","port":80}]}]}"#.to_owned();
        }
        Say::Disliked(n) => (n, format!("/disliked{n}")),
        Say::Good(n) | Say::Poison(n) => (n, format!("/p{}", n % 5)),
    };
    let parent = ["public", "g1", "public", "g2"][(n % 4) as usize];
    let hosts = [r#""a.example.com""#, r#""b.example.com""#, r#""a.example.com","c.example.com""#, ""];
    let host = hosts[(n / 4 % 4) as usize];
    let backend = |n: u64| match n % 5 {
        4 => r#"{"name":"d","namespace":"shared","port":80}"#.to_owned(),
        n => format!(r#"{{"name":"{}","port":80}}"#, ["a", "b", "c", "anchor"][n as usize]),
    };
    let mut backends = vec![backend(n / 16)];
    if n % 7 == 6 {
        backends.push(backend(n / 16 + 1));
    }
    let backends = backends.join(",");
    let filter = format!(
        r#"{{"type":"RequestHeaderModifier","requestHeaderModifier":{{"set":[{{"name":"x-version","value":"{n}"}}]}}}}"#
    );
    format!(
        r#""spec":{{"parentRefs":[{{"name":"{parent}"}}],"hostnames":[{host}],"rules":[{{"matches":[{{"path":{{"type":"PathPrefix","value":"{path}"}}}}],"filters":[{filter}],"backendRefs":[{backends}]}}]}}"#
    )
}

fn slice(n: u64) -> String {
    let endpoint = |n: u64, ready: bool| {
        format!(r#"{{"addresses":["10.0.{}.{}"],"conditions":{{"ready":{ready}}}}}"#, n / 250 % 250, n % 250 + 1)
    };
    let mut endpoints = vec![endpoint(n, true)];
    if n % 3 == 1 {
        endpoints.push(endpoint(n + 1, false));
    }
    if n % 3 == 2 {
        endpoints.push(endpoint(n + 7, true));
    }
    format!(r#""addressType":"IPv4","ports":[{{"name":"http","port":8080}}],"endpoints":[{}]"#, endpoints.join(","))
}
