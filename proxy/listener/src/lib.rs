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

pub mod socket;

pub mod accept;
pub mod balance;
pub mod set;

pub mod inspect;

pub mod http_inspector;
pub mod original_dst;
pub mod proxy_protocol;
pub mod tls_inspector;

pub mod connection;
pub mod match_chain;
pub mod stream;
