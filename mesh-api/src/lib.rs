//! What the mesh is meant to do, as values.
//!
//! Galley writes this model, pilot, citadel and the injector read it. Every field is already checked and
//! normalised: names are fully qualified, defaults of enclosing objects are applied only where Istio applies
//! them at the same place, durations and percentages are numbers with one meaning.
//!
//! This crate does not know YAML, Kubernetes, protobuf or tasks; it has no IO and no clock.

pub mod hostname;
pub mod identity;
pub mod labels;
pub mod locality;
pub mod port;
pub mod regex;
pub mod resource;

pub mod diagnostic;

pub mod endpoint;
pub mod gateway;
pub mod mesh_config;
pub mod service;
pub mod sidecar;
pub mod telemetry;
pub mod workload;

pub mod route;
pub mod traffic_policy;

pub mod authn;
pub mod authz;
pub mod secret_readers;

pub mod snapshot;

#[cfg(any(test, feature = "test-util"))]
pub mod test_util;
