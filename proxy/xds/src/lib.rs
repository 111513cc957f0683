//! The xDS client side: protobuf to `config`, subscriptions, warming.
//!
//! [`client`] keeps the stream to the control plane and feeds what arrives to [`apply`], which translates one
//! resource at a time, keeps the last good version of what is refused, and publishes what is complete.

pub mod apply;
pub mod client;
pub mod status;
mod transport;
mod warming;

pub mod any;
pub mod context;

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
