//! The command line of the mesh.
//!
//! `cli` is what can be typed, `commands` has one file for each command, `cluster` is how commands
//! reach a mesh, `install` brings one into Kubernetes, and `output` is the only place that writes to standard output.
//!
//! This crate does not decide anything about the mesh: it asks galley, the injector or a running mesh
//! and shows the answer.

pub mod cli;
pub mod cluster;
pub mod commands;
pub mod install;
pub mod mesh_config;
pub mod output;
