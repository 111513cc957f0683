//! The whole control plane in this process, driven over its real sockets.

mod identity;
mod support;
