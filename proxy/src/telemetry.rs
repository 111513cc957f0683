//! What the data plane tells about its work: access logs, metrics, traces.

pub mod access_log;
pub mod peer_metadata;
pub mod request_metrics;
pub mod stream_info;

/// Counters and log buffers of one worker.
#[derive(Debug, Default)]
pub struct WorkerTelemetry {}
