//! TLS: termination, origination, SPIFFE verification, secrets.

pub mod server;
