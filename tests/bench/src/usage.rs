//! What a process has used: of itself, in the words that all peers of the informers' benchmark print.

use std::fs;
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Since it started.
    pub seconds: f64,
    /// Time on all cores.
    pub cpu_seconds: f64,
    /// The most that was ever resident.
    pub peak_bytes: u64,
    /// What is resident.
    pub bytes: u64,
    /// What is resident after all was given back that could be; without a garbage collector that is the same.
    pub steady_bytes: u64,
}

impl Usage {
    /// Of this process, which began at `begun`.
    ///
    /// # Panics
    /// Where there is no `/proc`.
    pub fn now(begun: Instant) -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let status = fs::read_to_string("/proc/self/status").unwrap_or_else(|error| panic!("/proc: {error}"));
        let [peak, bytes] = ["VmHWM:", "VmRSS:"].map(|name| resident(&status, name));
        Self {
            seconds: begun.elapsed().as_secs_f64(),
            cpu_seconds: cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9,
            peak_bytes: peak,
            bytes,
            steady_bytes: bytes,
        }
    }
}

/// A field of `/proc/PID/status`, in bytes.
///
/// # Panics
/// When it is not there.
pub fn resident(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_else(|| panic!("no {name} in {status}")) * 1024
}

/// What a peer prints, a line each.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase")]
pub enum Said {
    /// Everything that was there has been listed.
    Synced {
        /// How much that was.
        objects: usize,
        /// What it took.
        #[serde(flatten)]
        usage: Usage,
    },
    /// So many updates have come.
    #[serde(rename_all = "camelCase")]
    Updated {
        /// How many.
        updates: usize,
        /// How many of them said when they were written.
        stamped: usize,
        /// From the write to the handler.
        p50_seconds: f64,
        /// The same.
        p99_seconds: f64,
        /// What has been used so far.
        #[serde(flatten)]
        usage: Usage,
    },
}
