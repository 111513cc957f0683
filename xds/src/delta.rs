//! Delta ADS as state machines: one [`Server`] or [`Client`] per stream, fed with messages and
//! asked for messages. No sockets, no clock, no tasks.
//!
//! Every resource type of a stream is a world of its own: subscriptions, nonces and refusals of
//! one type say nothing about another. What both sides share are [`Subscription`] (what is asked
//! for) and the nonce bookkeeping.
//!
//! See <https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#incremental-xds>.

mod client;
mod nonce;
mod response;
mod server;
mod subscription;

pub use client::{Client, ResourceState, Update};
pub use nonce::{Acks, Nack, SyncState};
pub use response::{Pieces, Response, SharedResource, WeakResource};
pub use server::{
    Layers, NAMES_BYTES_MAX, NAMES_MAX, Pass, Request, RequestError, ResourceMap, Server, TypeState,
};
pub use subscription::{Subscription, WILDCARD};

#[cfg(test)]
mod tests;
