//! TLS: termination ([`server`]), origination ([`client`]), verification of peers ([`verify_spiffe`]) and the
//! secrets that all three are built from ([`secret_store`]).
//!
//! A context names its secrets; the store rebuilds it whenever one of them changes. Handshakes that begin
//! after that use the new certificate, connections that exist are left alone. A context whose secrets are not
//! all there refuses every connection.
//!
//! Differs from Envoy: TLS 1.2 is the floor whatever `tls_minimum_protocol_version` says, and sessions are
//! never resumed, so that no connection skips the verification against the roots now in force.
//!
//! This crate does not know clusters, listeners or what travels inside a session.

// The layers below, by their short names.
use proxy_config as config;

pub mod secret;
pub mod secret_store;

pub mod context;
pub mod verify_spiffe;

pub mod client;
pub mod server;

pub mod downstream;

pub mod peer;
mod san;
mod stream;

pub use stream::MaybeTls;
