//! Discovery: for each connected proxy, the xDS resources that it needs.
//!
//! [`Pilot`] reads snapshots of the mesh, makes a [`world::World`] of each and serves it over
//! aggregated xDS. [`generate`] is the same computation for one node, without a network.
//!
//! The way of a resource: `scope` says what a proxy may see, `cds`, `eds`, `lds`, `rds` and `sds`
//! turn that into messages, `cache` keeps the encoded bytes by the inputs they came from, `ads`
//! sends the difference to each proxy.
//!
//! This crate does not know where a snapshot came from, read files or Kubernetes objects, or end
//! TLS.

pub mod access;
pub mod ads;
pub mod caller;
pub mod debug;
pub mod metrics;
pub mod node;
pub mod world;

mod access_log;
mod cache;
mod cds;
mod eds;
mod fingerprints;
mod gateway;
mod lds;
mod names;
mod policy;
mod rds;
mod scope;
mod sds;
mod shared;
mod tls;
mod wire;

mod app;

pub use app::{Config, Pilot, Resources, generate};

#[cfg(test)]
mod tests;
