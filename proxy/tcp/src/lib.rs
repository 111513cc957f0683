//! TCP proxying (`envoy.filters.network.tcp_proxy`) and the network filters before it.
//!
//! This crate does not know listeners, nor anything of what it carries.

// The layers below, by their short names.
use proxy_config as config;
use proxy_telemetry as telemetry;
use proxy_tls as tls;
use proxy_upstream as upstream;

pub mod proxy;

pub mod copy;

pub mod rbac;
