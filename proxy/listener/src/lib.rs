//! Listening sockets, inspection of the first bytes, filter chain match.
//!
//! ```text
//! accept ─> level ─> listener filters ─┬─> listener of the original destination ─> its filters ─┐
//!   (one socket per worker)            └────────────────────────────────────────────────────────┴─> match_chain
//!                                                      ─> tls ─> network filters ─> http | tcp proxy
//! ```
//!
//! [`accept`] takes connections from a worker's own socket, [`balance`] may hand a fresh one to a worker with
//! less to do, [`inspect`] runs the listener filters, [`connection`] does the rest. [`set`] keeps a worker's
//! accept loops in step with the configuration.
//!
//! This crate does not know xDS: it is given configuration and builds the live parts of listeners from it.

// The layers below, by their short names.
use proxy_config as config;
use proxy_http as http;
use proxy_tcp as tcp;
use proxy_telemetry as telemetry;
use proxy_tls as tls;
use proxy_upstream as upstream;

pub mod shared;
pub mod socket;

pub mod accept;
pub mod balance;
pub mod set;
pub mod worker;

pub mod inspect;

pub mod http_inspector;
pub mod original_dst;
pub mod proxy_protocol;
pub mod tls_inspector;

pub mod connection;
