//! Every metric with its unit and meaning, in one place, and the recorder that collects them.

use metrics::Unit;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

/// What kind of metric it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

use Kind::{Counter, Gauge, Histogram};

/// Name, kind, unit and meaning of every metric.
pub const METRICS: &[(&str, Kind, Unit, &str)] = &[
    ("tidegate_queue_depth", Gauge, Unit::Count, "Things waiting in an edge between two stages, by queue."),
    ("tidegate_queue_sends_total", Counter, Unit::Count, "Times that something was put into a queue."),
    ("tidegate_reflector_events_total", Counter, Unit::Count, "Deltas that a source told of, by kind of event."),
    ("tidegate_source_errors_total", Counter, Unit::Count, "Ends of a source's stream, by kind of error."),
    ("tidegate_kubernetes_connections", Gauge, Unit::Count, "Open connections to an API server, by source and use."),
    ("tidegate_kubernetes_watches", Gauge, Unit::Count, "Watches on a connection to an API server."),
    ("tidegate_sync_age_seconds", Gauge, Unit::Seconds, "Time since a source last told anything of a type."),
    ("tidegate_store_objects", Gauge, Unit::Count, "Objects held, by source and type."),
    ("tidegate_snapshot_bytes", Gauge, Unit::Bytes, "Size of what is kept for the next start."),
    ("tidegate_snapshot_behind_seconds", Gauge, Unit::Seconds, "Time that the disk has kept changes waiting; else 0."),
    (
        "tidegate_snapshot_written_timestamp_seconds",
        Gauge,
        Unit::Seconds,
        "When the snapshot was last written; 0: never.",
    ),
    ("tidegate_snapshot_left_out_types", Gauge, Unit::Count, "Types with secret content that are not kept."),
    ("tidegate_snapshot_restored_types", Gauge, Unit::Count, "Types that were there from the last run."),
    ("tidegate_snapshot_batches_total", Counter, Unit::Count, "Batches of changes written to disk."),
    ("tidegate_snapshot_bytes_total", Counter, Unit::Bytes, "Bytes written to disk."),
    ("tidegate_snapshot_rewrites_total", Counter, Unit::Count, "Files of the snapshot that were written anew."),
    ("tidegate_snapshot_errors_total", Counter, Unit::Count, "Writes of the snapshot that failed."),
    ("tidegate_snapshot_corrupt_total", Counter, Unit::Count, "Files of the snapshot that were corrupt and set aside."),
    ("tidegate_snapshot_restored_objects_total", Counter, Unit::Count, "Objects that were there from the last run."),
    ("tidegate_discovered_types", Gauge, Unit::Count, "Types watched because they match a pattern, by source."),
    ("tidegate_type_changes_total", Counter, Unit::Count, "Types of a cluster that came, changed or went."),
    ("tidegate_handler_panics_total", Counter, Unit::Count, "Panics in an event handler."),
    ("tidegate_status_writes_total", Counter, Unit::Count, "Statuses written back to a source, by outcome."),
    ("tidegate_events_total", Counter, Unit::Count, "Events about a source's objects, by outcome."),
    ("tidegate_workqueue_depth", Gauge, Unit::Count, "Keys waiting in a work queue."),
    ("tidegate_workqueue_adds_total", Counter, Unit::Count, "Keys added to a work queue."),
    ("tidegate_workqueue_retries_total", Counter, Unit::Count, "Keys added again after a failure."),
    ("tidegate_workqueue_given_up_total", Counter, Unit::Count, "Keys given up after too many failures."),
    ("tidegate_problems", Gauge, Unit::Count, "What is wrong now, by what found it: source, correlation, xds."),
    ("tidegate_limits_exceeded_total", Counter, Unit::Count, "Times that something was refused for a limit, by limit."),
    ("tidegate_actor_restarts_total", Counter, Unit::Count, "Times that an actor was started again."),
    ("tidegate_actor_up", Gauge, Unit::Count, "1 while an actor runs, else 0."),
    ("tidegate_correlation_runs_total", Counter, Unit::Count, "Inputs that a correlation ran for."),
    ("tidegate_correlation_seconds", Histogram, Unit::Seconds, "Time that a correlation took for a batch."),
    ("tidegate_publisher_batches_total", Counter, Unit::Count, "Batches handed to a publisher."),
    ("tidegate_publisher_errors_total", Counter, Unit::Count, "Batches that a publisher failed on."),
    ("tidegate_xds_clients", Gauge, Unit::Count, "Connected proxies."),
    ("tidegate_xds_refused_total", Counter, Unit::Count, "Streams and requests of proxies refused, by reason."),
    ("tidegate_xds_pushes_total", Counter, Unit::Count, "Responses sent to proxies, by xDS type."),
    ("tidegate_xds_bytes_total", Counter, Unit::Bytes, "Bytes of responses sent to proxies, by xDS type."),
    ("tidegate_xds_acks_total", Counter, Unit::Count, "Responses that proxies accepted, by xDS type."),
    ("tidegate_xds_nacks_total", Counter, Unit::Count, "Responses that proxies rejected, by xDS type."),
    ("tidegate_xds_held_back", Gauge, Unit::Count, "Resources held back at their last good version for a proxy."),
    ("tidegate_xds_event_to_ack_seconds", Histogram, Unit::Seconds, "Time from a change's arrival to a proxy's ACK."),
    ("tidegate_envoy_live", Gauge, Unit::Count, "1 while the local Envoy serves, else 0."),
    ("tidegate_envoy_starts_total", Counter, Unit::Count, "Times that the local Envoy was started."),
    ("tidegate_envoy_adoptions_total", Counter, Unit::Count, "Times that a running local Envoy was adopted."),
];

/// From 50 us to 10 s: a change takes 200 us in the best case.
const SECONDS: [f64; 16] =
    [0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// A recorder with our buckets. Install it, or use it locally in a test.
///
/// # Errors
/// Never in practice: the buckets are a constant that is not empty.
pub fn recorder() -> Result<PrometheusRecorder, BuildError> {
    let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?;
    Ok(builder.build_recorder())
}

/// Describes every metric to the recorder that is installed.
pub fn describe() {
    for (name, kind, unit, help) in METRICS {
        match kind {
            Counter => metrics::describe_counter!(*name, *unit, *help),
            Gauge => metrics::describe_gauge!(*name, *unit, *help),
            Histogram => metrics::describe_histogram!(*name, *unit, *help),
        }
    }
}

/// Installs the recorder for the whole process, describes every metric, and returns what `/metrics` renders.
/// A second call in one process fails, since a process has one recorder.
///
/// # Errors
/// When another recorder is installed.
pub fn install() -> Result<PrometheusHandle, InstallError> {
    let recorder = recorder()?;
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|_| InstallError::Taken)?;
    describe();
    Ok(handle)
}

/// Why metrics cannot be collected.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The recorder cannot be built.
    #[error("build the metrics recorder")]
    Build(#[from] BuildError),
    /// There is one already.
    #[error("install the metrics recorder: the process has one already")]
    Taken,
}

/// Renders the metrics; histograms are first relieved of what they need not remember.
pub fn render(handle: &PrometheusHandle) -> String {
    handle.run_upkeep();
    handle.render()
}
