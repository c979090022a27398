//! The record of who leads as a `coordination.k8s.io/v1` Lease, which client-go's electors read and write as well.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::failure::Failure;
use super::shared::Shared;
use super::write::{Verb, ask, micro_time, path, refused};
use crate::source::lease::{LeaseError, LeaseRecord, Record};
use crate::source::sink::SinkError;

const GROUP: &str = "coordination.k8s.io";

/// See the module.
pub(super) struct KubernetesLease {
    shared: Arc<Shared>,
    namespace: String,
    name: String,
}

impl KubernetesLease {
    pub fn new(shared: Arc<Shared>, namespace: String, name: String) -> Self {
        Self { shared, namespace, name }
    }

    fn collection(&self) -> String {
        path(GROUP, "v1", Some(&self.namespace), "leases")
    }

    fn failed(&self, failure: &Failure, verb: Verb) -> LeaseError {
        match refused(failure, verb, GROUP, "leases") {
            SinkError::Conflict => LeaseError::Conflict,
            error => LeaseError::Failed(format!("Lease {}/{}: {error}", self.namespace, self.name)),
        }
    }
}

#[async_trait]
impl LeaseRecord for KubernetesLease {
    async fn read(&self) -> Result<Option<Record>, LeaseError> {
        let path = format!("{}/{}", self.collection(), self.name);
        match ask(&self.shared, Verb::Get, &path, None).await {
            Ok(body) => parse(&body).map(Some),
            Err(failure) if failure.code == 404 => Ok(None),
            Err(failure) => Err(self.failed(&failure, Verb::Get)),
        }
    }

    async fn write(&self, record: &Record) -> Result<Record, LeaseError> {
        let answer = if record.version.is_empty() {
            let lease = json!({
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": { "namespace": self.namespace, "name": self.name },
                "spec": spec(record),
            });
            let created = ask(&self.shared, Verb::Create, &self.collection(), Some(&lease)).await;
            created.map_err(|failure| self.failed(&failure, Verb::Create))?
        } else {
            // A patch, so that labels that somebody put there stay.
            let lease = json!({ "metadata": { "resourceVersion": record.version }, "spec": spec(record) });
            let path = format!("{}/{}", self.collection(), self.name);
            let patched = ask(&self.shared, Verb::Patch, &path, Some(&lease)).await;
            patched.map_err(|failure| self.failed(&failure, Verb::Patch))?
        };
        parse(&answer)
    }
}

fn spec(record: &Record) -> Value {
    json!({
        "holderIdentity": record.holder,
        "leaseDurationSeconds": record.duration.as_secs().max(1),
        "leaseTransitions": record.transitions,
        "acquireTime": micro_time(record.acquired),
        "renewTime": micro_time(record.renewed),
    })
}

fn since_epoch(time: &str) -> Duration {
    let micros = time.parse::<jiff::Timestamp>().map(|time| time.as_microsecond()).unwrap_or_default();
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}

fn parse(body: &[u8]) -> Result<Record, LeaseError> {
    let lease: Lease = serde_json::from_slice(body)
        .map_err(|error| LeaseError::Failed(format!("the API server's answer is no Lease: {error}")))?;
    let spec = lease.spec;
    Ok(Record {
        version: lease.metadata.resource_version,
        holder: spec.holder_identity.unwrap_or_default(),
        transitions: spec.lease_transitions.unwrap_or_default(),
        duration: Duration::from_secs(spec.lease_duration_seconds.unwrap_or_default()),
        acquired: spec.acquire_time.as_deref().map(since_epoch).unwrap_or_default(),
        renewed: spec.renew_time.as_deref().map(since_epoch).unwrap_or_default(),
    })
}

#[derive(Deserialize)]
struct Lease {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    resource_version: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    holder_identity: Option<String>,
    lease_duration_seconds: Option<u64>,
    lease_transitions: Option<i32>,
    acquire_time: Option<String>,
    renew_time: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_written_as_it_is_read() {
        let record = Record {
            version: "7".into(),
            holder: "a".into(),
            transitions: 3,
            duration: Duration::from_secs(15),
            acquired: Duration::from_micros(1_767_225_600_000_001),
            renewed: Duration::from_micros(1_767_225_610_500_000),
        };
        let spec = spec(&record);
        assert_eq!(spec["acquireTime"], "2026-01-01T00:00:00.000001Z");
        assert_eq!(spec["renewTime"], "2026-01-01T00:00:10.500000Z");
        let lease = json!({"metadata": {"resourceVersion": "7"}, "spec": spec}).to_string();
        assert_eq!(parse(lease.as_bytes()), Ok(record));
    }

    #[test]
    fn a_lease_that_nobody_held_is_free() {
        let record = parse(br#"{"metadata": {"resourceVersion": "1"}}"#).unwrap();
        assert_eq!((record.holder.as_str(), record.duration), ("", Duration::ZERO));
    }
}
