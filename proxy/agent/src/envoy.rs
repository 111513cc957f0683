//! An unmodified Envoy as the data plane.
//!
//! ```text
//! Envoy ── ADS, unix socket ──> relay ── mutual TLS ──> control plane
//!       ── SDS, unix socket ──> secrets ── certificates of this agent
//! ```
//!
//! The relay copies bytes: Envoy speaks to the control plane itself, only the TLS session is the agent's.

pub mod process;
pub mod relay;
pub mod secrets;
