//! Who wrote what and when, as the API server itself has it in its audit log.

use std::path::PathBuf;

use serde_json::Value;

/// What is logged: writes of Leases with what they say, of statuses and of Events.
const POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: RequestResponse
    verbs: [create, update, patch]
    resources: [{ group: coordination.k8s.io, resources: [leases] }]
  - level: Metadata
    verbs: [update, patch]
    resources:
      - group: gateway.networking.k8s.io
        resources: [gatewayclasses/status, gateways/status, httproutes/status]
  - level: Metadata
    verbs: [create, update, patch]
    resources: [{ group: events.k8s.io, resources: [events] }]
  - level: None
";

/// The log of one API server.
pub struct Audit {
    folder: tempfile::TempDir,
}

/// A write that the API server has answered.
#[derive(Clone, Debug)]
pub struct Write {
    pub user: String,
    pub resource: String,
    pub name: String,
    pub code: u64,
    /// Of a Lease, whom it names; empty if nobody.
    pub holder: String,
    begun: String,
    ended: String,
}

impl Audit {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("audit").tempdir().unwrap();
        std::fs::write(folder.path().join("policy.yaml"), POLICY).unwrap();
        Self { folder }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("audit.log")
    }

    /// The flags that the API server needs for it.
    pub fn flags(&self) -> Vec<String> {
        let policy = self.folder.path().join("policy.yaml");
        vec![
            format!("--audit-policy-file={}", policy.display()),
            format!("--audit-log-path={}", self.log().display()),
            "--audit-log-mode=blocking-strict".to_owned(),
        ]
    }

    /// All writes in a namespace, or of what has none and its name, in the order in which they were answered.
    pub fn writes(&self, namespace: &str) -> Vec<Write> {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        // The last line may still be on its way.
        let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
        // Others write much more, which is not worth parsing.
        let quoted = format!("\"{namespace}\"");
        let lines = whole.lines().filter(|line| line.contains(&quoted));
        let events = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
        let here = events.filter(|event| {
            let of = &event["objectRef"];
            of["namespace"].as_str().or(of["name"].as_str()) == Some(namespace) && event["stage"] == "ResponseComplete"
        });
        let mut writes: Vec<Write> = here.map(|event| Write::of(&event)).collect();
        writes.sort_by(|a, b| a.ended.cmp(&b.ended));
        writes
    }

    /// Who holds the Lease of a namespace.
    pub fn leader(&self, namespace: &str) -> Option<String> {
        let mut leases = self.writes(namespace).into_iter().filter(Write::is_lease);
        leases.next_back().filter(|write| !write.holder.is_empty()).map(|write| write.user)
    }
}

impl Write {
    fn of(event: &Value) -> Self {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self {
            user: text("/user/username"),
            resource: text("/objectRef/resource"),
            name: text("/objectRef/name"),
            code: event["responseStatus"]["code"].as_u64().unwrap_or(0),
            holder: text("/responseObject/spec/holderIdentity"),
            begun: text("/requestReceivedTimestamp"),
            ended: text("/stageTimestamp"),
        }
    }

    /// Whether it was done.
    pub fn is_done(&self) -> bool {
        matches!(self.code, 200 | 201)
    }

    /// Whether it is one of a Lease, and done.
    pub fn is_lease(&self) -> bool {
        self.resource == "leases" && self.is_done()
    }
}

/// Statuses and Events that somebody wrote who did not hold the Lease at that time, of writes in order. Who held it when the
/// write came or got it before it was answered may have written.
pub fn writes_without_lease(writes: &[Write]) -> Vec<&Write> {
    let leases: Vec<&Write> = writes.iter().filter(|write| write.is_lease()).collect();
    let may = |write: &Write| {
        let before = leases.iter().rev().find(|lease| lease.ended <= write.begun);
        let meanwhile = leases.iter().filter(|lease| lease.ended > write.begun && lease.begun < write.ended);
        before.into_iter().chain(meanwhile).any(|lease| lease.user == write.user && !lease.holder.is_empty())
    };
    writes.iter().filter(|write| write.resource != "leases" && write.is_done() && !may(write)).collect()
}

/// How often the Lease went from one to another.
pub fn transitions(writes: &[Write]) -> usize {
    let users: Vec<&str> = writes.iter().filter(|write| write.is_lease()).map(|write| write.user.as_str()).collect();
    users.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

#[test]
fn a_status_by_whoever_does_not_hold_the_lease_is_noticed() {
    let write = |resource: &str, user: &str, begun: u32, ended: u32| Write {
        user: user.to_owned(),
        resource: resource.to_owned(),
        name: "x".to_owned(),
        code: 200,
        holder: if resource == "leases" { user.to_owned() } else { String::new() },
        begun: format!("{begun:03}"),
        ended: format!("{ended:03}"),
    };
    let writes = [
        write("leases", "a", 0, 1),
        write("httproutes", "a", 2, 3),
        write("leases", "b", 4, 6),
        write("httproutes", "a", 5, 7),
        write("httproutes", "b", 8, 9),
        write("httproutes", "a", 8, 10),
    ];
    let found: Vec<&str> = writes_without_lease(&writes).iter().map(|write| write.ended.as_str()).collect();
    assert_eq!(found, ["010"]);
    assert_eq!(transitions(&writes), 1);
}
