//! Objects as an API server sends them, `managedFields` and all, for decoding benchmarks. Made by rule from a
//! number, so that every run has the same.

use std::fmt::Write as _;

/// A kind of object of the corpus.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// About 3.8 KB, a tenth of it metadata.
    EndpointSlice,
    /// About 2.4 KB.
    HttpRoute,
    /// About 6.3 KB, nearly all of it base64.
    Secret,
    /// About 4.5 KB, a third of it `managedFields`.
    Pod,
}

/// All kinds.
pub const KINDS: [Kind; 4] = [Kind::EndpointSlice, Kind::HttpRoute, Kind::Secret, Kind::Pod];

impl Kind {
    /// The kind's name, as objects spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::EndpointSlice => "EndpointSlice",
            Self::HttpRoute => "HTTPRoute",
            Self::Secret => "Secret",
            Self::Pod => "Pod",
        }
    }

    /// Group, version and plural.
    pub fn api(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::EndpointSlice => ("discovery.k8s.io", "v1", "endpointslices"),
            Self::HttpRoute => ("gateway.networking.k8s.io", "v1", "httproutes"),
            Self::Secret => ("", "v1", "secrets"),
            Self::Pod => ("", "v1", "pods"),
        }
    }

    /// The JSON of object number `n`.
    pub fn json(self, n: usize) -> String {
        let (group, version, _) = self.api();
        let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        let (body, fields) = match self {
            Self::EndpointSlice => (endpoint_slice(n), 6),
            Self::HttpRoute => (http_route(n), 8),
            Self::Secret => (secret(n), 3),
            Self::Pod => (pod(n), 40),
        };
        format!(
            r#"{{"apiVersion":"{api_version}","kind":"{}","metadata":{},{body}}}"#,
            self.name(),
            metadata(n, fields)
        )
    }
}

fn metadata(n: usize, fields: usize) -> String {
    let mut managed = String::new();
    for field in 0..fields {
        let comma = if field == 0 { "" } else { "," };
        let _ = write!(managed, r#"{comma}"f:field{field}":{{".":{{}},"f:name":{{}},"f:value":{{}}}}"#);
    }
    format!(
        r#"{{"name":"object-{n}","namespace":"team-{}","uid":"8f1c1c52-0000-4000-8000-{n:012}","resourceVersion":"{}","generation":{},"creationTimestamp":"2026-03-0{}T10:11:12Z","labels":{{"app.kubernetes.io/name":"app-{}","app.kubernetes.io/part-of":"shop","kubernetes.io/service-name":"service-{n}"}},"annotations":{{"example.com/owner":"team-{}"}},"managedFields":[{{"apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{{{managed}}},"manager":"kube-controller-manager","operation":"Update","time":"2026-03-01T10:11:12Z"}}]}}"#,
        n % 50,
        100_000 + n,
        n % 7 + 1,
        n % 9 + 1,
        n % 200,
        n % 50,
    )
}

fn endpoint_slice(n: usize) -> String {
    let mut endpoints = String::new();
    for at in 0..12 {
        let comma = if at == 0 { "" } else { "," };
        let _ = write!(
            endpoints,
            r#"{comma}{{"addresses":["10.{}.{}.{at}"],"conditions":{{"ready":true,"serving":true,"terminating":false}},"nodeName":"node-{}","targetRef":{{"kind":"Pod","name":"app-{n}-{at}","namespace":"team-{}","uid":"5a1c1c52-0000-4000-8000-{at:012}"}},"zone":"zone-{}"}}"#,
            n / 256 % 256,
            n % 256,
            at % 40,
            n % 50,
            at % 3,
        );
    }
    format!(
        r#""addressType":"IPv4","endpoints":[{endpoints}],"ports":[{{"name":"http","port":8080,"protocol":"TCP"}}]"#
    )
}

fn http_route(n: usize) -> String {
    let mut rules = String::new();
    for at in 0..3 {
        let comma = if at == 0 { "" } else { "," };
        let _ = write!(
            rules,
            r#"{comma}{{"matches":[{{"path":{{"type":"PathPrefix","value":"/v{at}/items-{n}"}},"headers":[{{"type":"Exact","name":"x-version","value":"v{at}"}}]}}],"filters":[{{"type":"RequestHeaderModifier","requestHeaderModifier":{{"set":[{{"name":"x-route","value":"object-{n}"}}]}}}}],"backendRefs":[{{"group":"","kind":"Service","name":"service-{n}","port":8080,"weight":90}},{{"group":"","kind":"Service","name":"service-{n}-canary","port":8080,"weight":10}}]}}"#
        );
    }
    format!(
        r#""spec":{{"parentRefs":[{{"group":"gateway.networking.k8s.io","kind":"Gateway","name":"public","namespace":"infra"}}],"hostnames":["app-{n}.example.com"],"rules":[{rules}]}},"status":{{"parents":[]}}"#
    )
}

fn secret(n: usize) -> String {
    let base64: String = (0..5_600).map(|at| char::from(b'A' + ((at * 7 + n) % 26) as u8)).collect();
    let (crt, key) = base64.split_at(3_600);
    format!(r#""type":"kubernetes.io/tls","data":{{"tls.crt":"{crt}","tls.key":"{key}"}}"#)
}

fn pod(n: usize) -> String {
    let mut env = String::new();
    for at in 0..30 {
        let comma = if at == 0 { "" } else { "," };
        let _ = write!(env, r#"{comma}{{"name":"SETTING_{at}","value":"value {at} of {n}"}}"#);
    }
    let mut conditions = String::new();
    for (at, kind) in ["Initialized", "Ready", "ContainersReady", "PodScheduled"].into_iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let _ = write!(
            conditions,
            r#"{comma}{{"lastProbeTime":null,"lastTransitionTime":"2026-03-01T10:11:12Z","status":"True","type":"{kind}"}}"#
        );
    }
    format!(
        r#""spec":{{"containers":[{{"name":"app","image":"registry.example.com/app:{n}","env":[{env}],"ports":[{{"containerPort":8080,"name":"http","protocol":"TCP"}}],"resources":{{"limits":{{"cpu":"1","memory":"512Mi"}}}}}}],"nodeName":"node-{}","serviceAccountName":"app"}},"status":{{"conditions":[{conditions}],"phase":"Running","podIP":"10.0.{}.{}"}}"#,
        n % 40,
        n / 256 % 256,
        n % 256,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_is_json_of_about_the_size_that_its_kind_says() {
        for (kind, expected) in KINDS.into_iter().zip([3_800, 2_400, 6_300, 4_500]) {
            let json = kind.json(17);
            let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!(parsed["kind"], kind.name());
            assert!(json.len() > expected * 7 / 10 && json.len() < expected * 13 / 10, "{kind:?}: {}", json.len());
        }
    }
}
