//! The data plane: sidecar and gateway from one library.
//!
//! A connection is accepted by one worker and lives there to its end:
//!
//! ```text
//! listener (accept, original destination, inspectors, filter chain match)
//!    ├─ tls (termination, SPIFFE verification)
//!    ├─ http (HTTP/1.1 and HTTP/2 server, filters, routes, retries) ─┐
//!    └─ tcp (proxy, RBAC, splice) ───────────────────────────────────┴─> upstream (balancing, pools, health)
//! ```
//!
//! The control thread (`xds`, `agent`, `admin`) compiles resources to `config` and publishes an `Arc`;
//! workers only read. `telemetry` counts in per-worker cells that the control thread sums.
//!
//! This crate does not know a VirtualService, Kubernetes or any other object that a user writes: what it
//! executes is the Envoy v3 API, whoever sends it.

pub use proxy_agent as agent;
pub use proxy_config as config;
pub use proxy_http as http;
pub use proxy_listener as listener;
pub use proxy_tcp as tcp;
pub use proxy_telemetry as telemetry;
pub use proxy_tls as tls;
pub use proxy_upstream as upstream;

pub mod app;
pub mod args;
pub mod bootstrap;

pub mod admin;

pub mod executor;
pub mod worker;
