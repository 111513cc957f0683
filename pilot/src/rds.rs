//! Routes: what happens to a request, by host and by what it looks like.
//!
//! The virtual host is the unit: each is generated and cached by its own inputs, and a route
//! configuration is put together from the encoded hosts. One changed route therefore costs the
//! computation of one virtual host.

mod action;
mod fault;
pub(crate) mod gateway;
mod hash_policy;
mod headers;
mod matcher;
mod retry;
pub(crate) mod sidecar;
pub(crate) mod virtual_host;

use bytes::Bytes;
use mesh_api::route::Destination;
use mesh_api::service::Service;
use mesh_api::traffic_policy::load_balancer::{Algorithm, ConsistentHash};
use xds::envoy::route::RouteConfiguration;
use xds::prost::encoding::{WireType, encode_key, encode_varint};
use xds::prost::{Message, Name};
use xds::resource::Any;

use crate::names;
use crate::scope::Scope;
use crate::wire;

/// The tag of `RouteConfiguration.virtual_hosts`.
const VIRTUAL_HOSTS_TAG: u32 = 2;
/// How long a body a route may answer with.
const MAX_DIRECT_RESPONSE_BODY_BYTES: u32 = 1024 * 1024;

/// Where a route leads, as far as the route itself depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Upstream {
    /// The cluster.
    pub(crate) cluster: String,
    /// What requests are hashed by, if the cluster balances by hash.
    pub(crate) hash: Option<ConsistentHash>,
}

impl Upstream {
    /// What a destination means for clients on `listener_port`.
    pub(crate) fn of(scope: &Scope, destination: &Destination, listener_port: u16) -> Self {
        let service = scope.service(&destination.host);
        let port = destination
            .port
            .unwrap_or_else(|| default_port(service, listener_port));
        let subset = destination.subset.as_deref();
        Self {
            cluster: names::outbound_cluster(port, subset.unwrap_or_default(), &destination.host),
            hash: service.and_then(|service| consistent_hash(scope, service, subset, port)),
        }
    }
}

/// The only port of a service, else the port that the client used.
fn default_port(service: Option<&std::sync::Arc<Service>>, listener_port: u16) -> u16 {
    match service.map(|service| service.ports.as_slice()) {
        Some([only]) => only.number,
        _ => listener_port,
    }
}

/// The hash that a destination rule asks for.
pub(crate) fn consistent_hash(
    scope: &Scope,
    service: &Service,
    subset: Option<&str>,
    port: u16,
) -> Option<ConsistentHash> {
    let policy = scope.rule(service)?.effective(subset).for_port(port);
    match policy.load_balancer?.algorithm {
        Algorithm::ConsistentHash(hash) => Some(hash),
        _ => None,
    }
}

/// A route configuration of encoded virtual hosts.
pub(crate) fn compose<'h>(name: &str, virtual_hosts: impl Iterator<Item = &'h Bytes>) -> Any {
    let frame = RouteConfiguration {
        name: name.to_owned(),
        validate_clusters: Some(wire::boolean(false)),
        max_direct_response_body_size_bytes: Some(wire::number(MAX_DIRECT_RESPONSE_BODY_BYTES)),
        ignore_port_in_host_matching: true,
        ..Default::default()
    };
    let mut encoded = frame.encode_to_vec();
    for host in virtual_hosts {
        encode_key(VIRTUAL_HOSTS_TAG, WireType::LengthDelimited, &mut encoded);
        encode_varint(host.len() as u64, &mut encoded);
        encoded.extend_from_slice(host);
    }
    Any {
        type_url: RouteConfiguration::type_url(),
        value: encoded.into(),
    }
}

#[cfg(test)]
mod tests {
    use xds::envoy::route::VirtualHost;

    use super::*;

    #[test]
    fn composing_is_encoding_the_whole() {
        let hosts = ["a", "b"].map(|name| VirtualHost {
            name: name.into(),
            ..Default::default()
        });
        let encoded = hosts.each_ref().map(Any::pack);
        let config: RouteConfiguration = compose("80", encoded.iter().map(|host| &host.value))
            .unpack()
            .unwrap();
        assert_eq!(config.name, "80");
        assert_eq!(config.virtual_hosts, hosts);
    }
}
