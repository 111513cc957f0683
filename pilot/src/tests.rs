//! Whole meshes in, whole resources out: checked by value, by Envoy itself and over the wire.

mod accepted_by_envoy;
mod credentials;
mod deltas;
mod discovery;
mod envoy_connects;
pub(crate) mod fixture;
mod promises;
