//! The xDS client side: protobuf to `config`, subscriptions, warming.
//!
//! [`client`] keeps the stream to the control plane and feeds what arrives to [`apply`], which translates one
//! resource at a time, keeps the last good version of what is refused, and publishes what is complete.
//!
//! This crate does not know who executes the configuration: sockets, TLS contexts, circuit breakers and filters are
//! built behind [`target::Target`].

// The layers below, by their short names.
use proxy_config as config;

pub mod apply;
pub mod client;
pub mod status;
pub mod target;
mod warming;

pub mod any;
pub mod context;

pub mod metadata;
pub mod tls;

pub mod access_log;
pub mod cds;
pub mod eds;
pub mod istio;

pub mod lds;
pub mod tcp_proxy;

pub mod hcm;
pub mod headers;
pub mod http_filters;
pub mod matchers;
pub mod rbac;
pub mod rds;

#[cfg(any(test, feature = "test-util"))]
pub mod test_util;
