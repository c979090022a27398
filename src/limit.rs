//! Limits: whoever refuses something for one counts it here, and names the key that raises it in its message.
//!
//! Not here: what the limits are (`config`), and those of xDS, which are refused by request (`publish/xds`).

/// A limit that something was refused for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `limits.object_size`, or a Kubernetes source's `max_object_size`.
    ObjectSize,
    /// `limits.file_size`.
    FileSize,
    /// `limits.routes_per_gateway`.
    RoutesPerGateway,
    /// The size of a regular expression that every proxy takes; it has no key.
    RegexProgramSize,
    /// `limits.watches`.
    Watches,
    /// `limits.request_size`.
    RequestSize,
}

impl Limit {
    /// What it is called as a label.
    const fn label(self) -> &'static str {
        match self {
            Self::ObjectSize => "object_size",
            Self::FileSize => "file_size",
            Self::RoutesPerGateway => "routes_per_gateway",
            Self::RegexProgramSize => "regex_program_size",
            Self::Watches => "watches",
            Self::RequestSize => "request_size",
        }
    }

    /// Counts what was refused for it in `tidegate_limits_exceeded_total`.
    pub fn exceeded(self, times: usize) {
        metrics::counter!("tidegate_limits_exceeded_total", "limit" => self.label()).increment(times as u64);
    }
}
