//! The end-to-end suite: real requests through a running mesh, case by case.
//!
//! A case sends requests from pods or through the ingress gateway, and judges what came back and what servers,
//! proxies and logs tell about it. It knows the mesh only from outside: through `meshctl`, manifests and
//! sockets. One mesh is started for each data plane; a case removes what it applied.
//!
//! This crate does not import the crates it tests.

pub mod args;
pub mod assert;
pub mod case;
pub mod cases;
pub mod cluster;
pub mod credentials;
pub mod install;
pub mod mesh;
pub mod permissions;
pub mod poll;
pub mod runner;
pub mod samples;
pub mod traffic;
