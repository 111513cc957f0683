//! The node agent: capture for injected pods without an init container that has privileges.
//!
//! The agent installs the plugin (`cni-plugin`) on its node and chains it behind the node's network (`install`).
//! For every pod the plugin asks over a unix socket (`server`); the agent reads the pod, decides whether it is
//! captured and how (`decide`, `capture`), and applies the rules of crate `redirect` inside the pod's network
//! namespace (`network`). Pods that started before the plugin was there are found by their failed check and
//! repaired (`repair`).
//!
//! Behaviour and names are those of Istio's `istio-cni-node` where there is something to be compatible with.
//!
//! This crate does not make rules, and it touches no network but that of the pods it captures.

pub mod app;

pub mod args;

pub mod server;

pub mod setup;

pub mod decide;

pub mod capture;

pub mod network;

pub mod install;

pub mod uninstall;

pub mod repair;

pub mod metrics;
