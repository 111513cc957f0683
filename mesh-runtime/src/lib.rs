//! Process life: what every long-running Weft program needs around its real work.
//!
//! Logs, a metrics endpoint, readiness, signals, drain and supervised tasks are built here once, so that
//! every program starts, reports and stops the same way. Assembly code (`main.rs`, `app.rs`) holds these
//! values and hands the parts to the components that need them; nothing here is a process global except the
//! log subscriber, which `tracing` makes one.
//!
//! This crate does not know anything about the mesh: no identities, no configuration, no xDS.

pub mod log;

#[cfg(feature = "otlp")]
pub mod trace;

pub mod metrics;

pub mod readiness;

pub mod admin;

pub mod caller;

pub mod signal;

pub mod drain;

pub mod task;

pub mod backoff;

pub mod file_watch;

pub mod build_info;

pub mod pool;

pub mod cpu_budget;

pub mod ledger;

pub mod reviews;
