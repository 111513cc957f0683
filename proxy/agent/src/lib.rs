//! The node agent: what a proxy in a pod needs besides its configuration.
//!
//! It gives the pod its identity (a key made here, a certificate from citadel, rotated at half of its life),
//! introduces the proxy to the control plane, and answers the kubelet and Prometheus. The data plane beside it is
//! this very process, or an unmodified Envoy ([`envoy`]) that is fed over unix sockets.
//!
//! The private key exists in memory only and leaves this process towards nobody but the local Envoy.
//!
//! This crate does not know the request path.

// The layers below, by their short names.
use proxy_config as config;
use proxy_tls as tls;
use proxy_upstream as upstream;

pub mod settings;

pub mod bootstrap;

pub mod csr;

pub mod certificates;

pub mod control_plane;

pub mod status;

pub mod probes;

pub mod metrics;

pub mod envoy;
