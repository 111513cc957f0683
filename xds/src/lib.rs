//! The xDS protocol: Envoy's v3 messages, their names, and the delta state machines of both
//! sides.
//!
//! - [`pb`]: Envoy's messages as `envoy-types` has them; the modules of [`envoy`] are the short
//!   way to the ones that the mesh uses.
//! - [`type_url`]: the resource types and their order.
//! - [`resource`]: resources on the wire, with bodies as shared bytes.
//! - [`structs`]: `google.protobuf.Struct` as JSON values and back.
//! - [`canonical`]: one encoding for equal messages.
//! - [`version`]: resource versions, which are hashes of that encoding.
//! - [`delta`]: what was asked, sent, acknowledged and refused, for server and client.
//! - [`json`]: canonical protobuf JSON, both ways.
//! - [`proto`]: generated code for the certificate and discovery services.
//! - [`test_util`]: a client and a server made of the state machines, without a network.
//!
//! This crate does not decide what to send, open sockets, start tasks or know a mesh.

pub mod canonical;
pub mod delta;
pub mod envoy;
pub mod json;
pub mod proto;
pub mod resource;
pub mod structs;
pub mod test_util;
pub mod type_url;
pub mod version;

pub use envoy_types::pb;
pub use prost;
