//! The certificate authority of the mesh: who a workload is, and the certificate that says so.
//!
//! A request comes in through [`ca_service`], [`authenticate`] finds out who is calling, [`csr`] takes the
//! public key (and nothing else) out of the request, [`issue`] writes a certificate for the identity that was
//! authenticated, and [`ca`] signs it with the key in force. [`trust_bundle`] is what everyone verifies
//! against; [`serving`] keeps the control plane's own TLS configuration fresh from the same authority.
//!
//! Everything fails closed: a caller that cannot be identified gets no certificate, and a CA on disk that
//! does not pass its checks never replaces the one in use.
//!
//! Of Kubernetes it knows two things, both optional: the API server vouches for tokens
//! ([`authenticate::token_review`]), and Secrets keep the CA ([`ca::secret`]).
//!
//! This crate does not hold workload private keys, and it does not know xDS resources.

pub mod ca_service;

pub mod authenticate;

pub mod csr;

pub mod issue;

pub mod ca;

pub mod trust_bundle;

pub mod serving;

pub mod metrics;

mod clock;

pub use ca::Ca;
pub use clock::Clock;
