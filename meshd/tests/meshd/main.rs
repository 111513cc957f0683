//! The whole control plane in this process, driven over its real sockets.

mod credentials;
mod discovery;
mod generation;
mod held;
mod identity;
mod ports;
mod reviews;
mod rotation;
mod support;
mod traces;
mod worst_reviews;
