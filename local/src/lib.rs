//! Pods as processes in network namespaces on one Linux machine: a mesh without Kubernetes.
//!
//! Outside, `launch` opens what the user sees and starts one process tree in namespaces of its own;
//! `client` talks to it. Inside, `init` is process 1, `supervisor` assembles the parts, `controller`
//! turns objects into pods, addresses, names and files, and each pod is a task (`pod`) with processes
//! (`process`). The control plane is a pod like any other and reads what is written to the state
//! directory. When the first process ends, the kernel removes everything.
//!
//! This crate does not compute mesh configuration, does not sign certificates, and does not decide
//! what is injected into a pod: it asks the control plane, as an API server would.

pub mod api;
pub mod beneath;
pub mod cleanup;
pub mod client;
pub mod control;
pub mod controller;
pub mod desired;
pub mod dns;
pub mod endpoints;
pub mod env;
pub mod frame;
pub mod image;
pub mod ingress;
pub mod init;
pub mod inject;
pub mod launch;
pub mod lookup;
pub mod manifest;
pub mod network;
pub mod options;
pub mod pause;
pub mod pod;
pub mod probe;
pub mod process;
pub mod rollout;
pub mod rootfs;
pub mod state;
pub mod supervisor;
pub mod system;
pub mod token;
pub mod validate;
pub mod volume;
