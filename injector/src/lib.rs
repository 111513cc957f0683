//! Sidecar injection: turns the pod that a user wrote into the pod that runs in the mesh.
//!
//! One road for all callers. [`policy`] decides whether a pod is injected and says why, [`annotations`] reads
//! what its author asked for, [`template`] writes what is added, [`overlay`] merges both by the rules of
//! Kubernetes' strategic merge, [`probe`] and [`prometheus`] point the kubelet and Prometheus at the proxy,
//! and [`patch`] turns before and after into the patch of the admission answer. [`inject`] is that pipeline,
//! [`webhook`] the API server's way into it, [`object`] the command line's.
//!
//! Objects stay JSON values throughout: a field that this version has never heard of survives.
//!
//! This crate does not talk to proxies or to the API server, and it does not read files.

pub mod webhook;

pub mod object;

pub mod inject;

pub mod policy;

pub mod annotations;

pub mod config;

pub mod values;

pub mod template;

pub mod overlay;

pub mod probe;

pub mod prometheus;

pub mod patch;

pub mod metrics;

mod json;
mod order;
mod owner;

pub use config::InjectorConfig;
pub use inject::{InjectError, Injection, inject_pod};
pub use object::inject_object;
