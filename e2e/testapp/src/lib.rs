//! The application of the test suites: servers that show what reached them, and a client that reports what
//! came back.
//!
//! `echo` speaks every protocol a mesh carries and can be told by the request itself to fail, wait or count,
//! `tcp-echo` and `httpbin` stand in for the well-known sample images, `client` sends bounded load and prints
//! one JSON report.
//!
//! This crate does not know that a mesh exists, and it imports nothing from the workspace.

pub mod args;
pub mod capture;
pub mod client;
pub mod echo;
pub mod grpc;
pub mod httpbin;
pub mod serve;
pub mod tcp_echo;
pub mod websocket;
