//! The CNI plugin: one short-lived process per pod, called by the container runtime after the plugins that give
//! the pod its network.
//!
//! It runs on the host, so it is linked statically and needs nothing there. What a pod needs is decided by the node
//! agent (crate `cni`), which it asks over a unix socket ([`protocol`]); the pod's network namespace goes along as
//! an open file. Where the agent does not answer, a pod that may belong to the mesh does not start: the runtime
//! tries again, and nothing ever runs uncaptured.
//!
//! The protocol with the runtime is <https://www.cni.dev/docs/spec/>, versions 0.3.0 to 1.1.0.
//!
//! This crate does not know the Kubernetes API, annotations or capture rules.

pub mod config;

pub mod error;

pub mod invocation;

pub mod plugin;

pub mod protocol;

pub use plugin::run;

/// The name of the program, and so the `type` of its entry in a network configuration.
pub const TYPE: &str = "weft-cni";
