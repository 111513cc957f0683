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

pub mod app;
pub mod args;
pub mod bootstrap;
#[path = "../config/src/lib.rs"]
pub mod config;
pub mod error;
#[path = "../xds/src/lib.rs"]
pub mod xds;

#[path = "../listener/src/lib.rs"]
pub mod listener;
#[path = "../tls/src/lib.rs"]
pub mod tls;

#[path = "../http/src/lib.rs"]
pub mod http;
#[path = "../tcp/src/lib.rs"]
pub mod tcp;

#[path = "../upstream/src/lib.rs"]
pub mod upstream;

#[path = "../telemetry/src/lib.rs"]
pub mod telemetry;

pub mod admin;
#[path = "../agent/src/lib.rs"]
pub mod agent;
pub mod worker;
