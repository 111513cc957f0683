//! The control plane in one process: galley reads the mesh's configuration, pilot serves it to proxies,
//! citadel signs their certificates, the injector puts them into pods.
//!
//! [`app::run`] assembles and runs everything, inside a test as well as behind `main`. The components know
//! nothing of each other; what passes between them passes here: the snapshot from galley to pilot and to the
//! injector, the proven identity of a connection from [`server`] to citadel and pilot.
//!
//! This crate does not contain logic of the mesh; it only composes.

pub mod args;

pub mod app;

pub mod server;

mod authority;

mod cluster;

mod configuration;

mod injection;

mod publish_root;

mod secret_access;
