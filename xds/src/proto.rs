//! Generated code for what `envoy-types` lacks.
//!
//! The messages come from `xds/proto`, the discovery service from the description in
//! `xds/tests/generated.rs`: ours carries resource bodies as shared [`bytes::Bytes`], so that one
//! encoded resource serves every proxy. That test fails when these files drift from their
//! sources and rewrites them when `WEFT_UPDATE_GENERATED` is set.

/// The certificate signing service (`istio.v1.auth`).
#[rustfmt::skip]
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod istio_v1_auth;

/// `xds.type.v3.TypedStruct`.
#[rustfmt::skip]
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod xds_type_v3;

/// Client and server of `envoy.service.discovery.v3.AggregatedDiscoveryService`.
#[rustfmt::skip]
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod ads;
