//! Side-by-side measurements of data planes on one machine.
//!
//! Contenders run alternately (A B A B ...) in one run, on the same Envoy bootstrap, pinned to core 0, with
//! load and backend on core 1, in a network namespace of their own. Absolute figures move from machine to
//! machine; the ratios within one run are the result.
//!
//! This crate does not import what it measures: it starts binaries and reads `/proc`.

pub mod args;
pub mod certs;
pub mod contender;
pub mod control_plane;
pub mod floor;
pub mod load;
pub mod namespace;
pub mod process;
pub mod report;
pub mod responder;
pub mod scenarios;
