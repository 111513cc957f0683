//! TCP proxying (`envoy.filters.network.tcp_proxy`) and the network filters before it.

pub mod proxy;

pub mod copy;

pub mod rbac;
