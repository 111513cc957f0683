//! Bookinfo: the four services of the well-known sample shop as one small binary.
//!
//! Seen from outside they behave like the originals: same paths, same JSON, same header propagation, same
//! timeouts and the same deliberate slips that fault-injection exercises rely on. They start in milliseconds,
//! so that a whole mesh of them can be started for every test run.
//!
//! This crate does not know that a mesh exists, and it imports nothing from the workspace.

pub mod args;
pub mod details;
pub mod forward_headers;
pub mod productpage;
pub mod ratings;
pub mod reviews;
pub mod serve;
pub mod upstream;
