//! HTTP: server side, filters, routes, client side.
//!
//! [`server::serve`] drives one downstream connection. For each request it takes the configuration in force,
//! cleans the request ([`headers`]), finds the route ([`route`]), runs the filters in the order of the
//! connection manager ([`filter`]) and lets the router send it upstream ([`router`], [`client`]).
//!
//! This crate does not know where connections come from or which control plane configures it.

// The layers below, by their short names.
use proxy_config as config;
use proxy_telemetry as telemetry;
use proxy_upstream as upstream;

pub use proxy_upstream::framing;

pub mod attempt;
pub mod body;
pub mod client;
pub mod complete;
pub mod connection_manager;
pub mod deadline;
pub mod exchange;
pub mod filter;
pub mod format;
pub mod handler;
pub mod header_memory;
pub mod headers;
pub mod local_reply;
pub mod path;
pub mod protocol;
pub mod refusal;
pub mod request_id;
pub mod respond;
pub mod route;
pub mod router;
pub mod server;
pub mod stream;
pub mod upgrade;
pub mod worker;
pub mod xfcc;
