//! Endpoints: `envoy.config.endpoint.v3.ClusterLoadAssignment` to [`LoadAssignment`].
//!
//! The assignment of a DNS cluster names hosts; [`Addresses`] says what they resolved to. Endpoints that did
//! not change keep their `Arc`.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use xds::envoy::core::{HealthStatus, address};
use xds::envoy::endpoint as proto;
use xds::envoy::endpoint::lb_endpoint::HostIdentifier;

use super::any::host_and_port;
use crate::config::ClusterId;
use crate::config::endpoint::{
    Endpoint, Health, LoadAssignment, Locality, LocalityEndpoints, OVERPROVISIONING_FACTOR,
};
use crate::config::error::{ConfigError, Within};
use crate::config::metadata::{Metadata, Struct};
use crate::config::peer::Peer;
use crate::config::secret::ResourceSource;

/// Envoy's limit of priorities.
const PRIORITY_MAX: u32 = 128;

/// What host names in an assignment stand for.
#[derive(Debug, Clone, Copy)]
pub enum Addresses<'a> {
    /// There must be none (STATIC, EDS).
    None,
    /// All addresses are endpoints (STRICT_DNS). A name without an entry has none.
    All(&'a HashMap<Box<str>, Vec<IpAddr>>),
    /// The first address is the endpoint (LOGICAL_DNS).
    First(&'a HashMap<Box<str>, Vec<IpAddr>>),
}

/// Translates an assignment for the cluster in a slot. `previous` is the one in force.
pub fn load_assignment(
    proto: &proto::ClusterLoadAssignment,
    id: ClusterId,
    addresses: Addresses<'_>,
    previous: Option<&LoadAssignment>,
    source: ResourceSource,
) -> Result<LoadAssignment, ConfigError> {
    let policy = proto.policy.clone().unwrap_or_default();
    if !policy.drop_overloads.is_empty() {
        return Err(ConfigError::unsupported(
            "policy.drop_overloads",
            "dropping a share of requests",
        ));
    }
    if policy.endpoint_stale_after.is_some() {
        return Err(ConfigError::unsupported(
            "policy.endpoint_stale_after",
            "forgetting endpoints",
        ));
    }
    let known = Known::new(previous);
    let mut priorities: Vec<Vec<LocalityEndpoints>> = Vec::new();
    for (n, locality) in proto.endpoints.iter().enumerate() {
        let field = format!("endpoints[{n}]");
        if locality.priority > PRIORITY_MAX {
            let message = format!("at most {PRIORITY_MAX}: {}", locality.priority);
            return Err(ConfigError::new("priority", message).within(field));
        }
        let priority = locality.priority as usize;
        if priorities.len() <= priority {
            priorities.resize_with(priority + 1, Vec::new);
        }
        priorities[priority].push(locality_endpoints(locality, addresses, &known).within(field)?);
    }
    let overprovisioning_factor = policy
        .overprovisioning_factor
        .map_or(OVERPROVISIONING_FACTOR, |factor| factor.value);
    Ok(LoadAssignment {
        id,
        priorities,
        overprovisioning_factor,
        weighted_priority_health: policy.weighted_priority_health,
        source,
    })
}

/// The host names of an assignment, to be resolved.
pub fn host_names(proto: &proto::ClusterLoadAssignment) -> Vec<Box<str>> {
    let endpoints = proto
        .endpoints
        .iter()
        .flat_map(|locality| &locality.lb_endpoints);
    let mut names: Vec<Box<str>> = endpoints
        .filter_map(|endpoint| socket_address(endpoint).ok())
        .filter(|address| address.address.parse::<IpAddr>().is_err())
        .map(|address| address.address.as_str().into())
        .collect();
    names.sort();
    names.dedup();
    names
}

/// Endpoints in force, by address.
struct Known<'a>(HashMap<SocketAddr, &'a Arc<Endpoint>>);

impl<'a> Known<'a> {
    fn new(previous: Option<&'a LoadAssignment>) -> Self {
        let endpoints = previous.into_iter().flat_map(LoadAssignment::endpoints);
        Self(
            endpoints
                .map(|(_, _, endpoint)| (endpoint.address, endpoint))
                .collect(),
        )
    }

    /// The known endpoint if it is the same.
    fn reuse(&self, new: Endpoint) -> Arc<Endpoint> {
        let Some(known) = self.0.get(&new.address) else {
            return Arc::new(new);
        };
        let same = known.weight == new.weight
            && known.health == new.health
            && known.hostname == new.hostname
            && known.metadata == new.metadata;
        if same {
            return Arc::clone(known);
        }
        Arc::new(new)
    }
}

fn locality_endpoints(
    proto: &proto::LocalityLbEndpoints,
    addresses: Addresses<'_>,
    known: &Known<'_>,
) -> Result<LocalityEndpoints, ConfigError> {
    if proto.lb_config.is_some() {
        return Err(ConfigError::unsupported(
            "leds_cluster_locality_config",
            "LEDS",
        ));
    }
    let mut endpoints = Vec::with_capacity(proto.lb_endpoints.len());
    for (n, endpoint) in proto.lb_endpoints.iter().enumerate() {
        let resolved = resolve(endpoint, addresses);
        for address in resolved.within(format_args!("lb_endpoints[{n}]"))? {
            endpoints.push(known.reuse(translate(endpoint, address)?));
        }
    }
    let locality = proto.locality.clone().unwrap_or_default();
    Ok(LocalityEndpoints {
        locality: Locality {
            region: locality.region.into(),
            zone: locality.zone.into(),
            sub_zone: locality.sub_zone.into(),
        },
        weight: proto.load_balancing_weight.map_or(0, |weight| weight.value),
        endpoints,
    })
}

fn translate(proto: &proto::LbEndpoint, address: SocketAddr) -> Result<Endpoint, ConfigError> {
    let weight = proto.load_balancing_weight.map_or(1, |weight| weight.value);
    if weight == 0 {
        return Err(ConfigError::new(
            "load_balancing_weight",
            "must be at least 1",
        ));
    }
    let mut metadata = crate::metadata::metadata(proto.metadata.as_ref());
    share_empty(&mut metadata);
    let peer = metadata
        .filter("istio")
        .string("workload")
        .map(Peer::from_endpoint_metadata);
    let hostname = endpoint(proto)?.hostname.as_str();
    let named = socket_address(proto)?.address.as_str();
    let hostname = match hostname {
        "" if named.parse::<IpAddr>().is_err() => named,
        hostname => hostname,
    };
    Ok(Endpoint {
        address,
        hostname: hostname.into(),
        weight,
        health: match proto.health_status() {
            HealthStatus::Unknown | HealthStatus::Healthy => Health::Healthy,
            HealthStatus::Degraded => Health::Degraded,
            HealthStatus::Unhealthy | HealthStatus::Timeout => Health::Unhealthy,
            HealthStatus::Draining => Health::Draining,
        },
        metadata,
        peer: peer.map(Arc::new),
    })
}

/// Filters without fields say nothing.
fn share_empty(metadata: &mut Metadata) {
    let only_empty = metadata
        .iter()
        .all(|(_, fields)| *fields == Struct::default());
    if only_empty {
        *metadata = Metadata::default();
    }
}

fn resolve(
    proto: &proto::LbEndpoint,
    addresses: Addresses<'_>,
) -> Result<Vec<SocketAddr>, ConfigError> {
    if !endpoint(proto)?.additional_addresses.is_empty() {
        return Err(ConfigError::unsupported(
            "additional_addresses",
            "a second address",
        ));
    }
    let (host, port) = host_and_port(socket_address(proto)?)?;
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let found = |resolved: &HashMap<Box<str>, Vec<IpAddr>>, most: usize| {
        let ips = resolved.get(host).into_iter().flatten().take(most);
        ips.map(|ip| SocketAddr::new(*ip, port)).collect()
    };
    match addresses {
        Addresses::None => Err(ConfigError::new(
            "address",
            format!("not an IP address: \"{host}\""),
        )),
        Addresses::All(resolved) => Ok(found(resolved, usize::MAX)),
        Addresses::First(resolved) => Ok(found(resolved, 1)),
    }
}

fn endpoint(proto: &proto::LbEndpoint) -> Result<&proto::Endpoint, ConfigError> {
    match &proto.host_identifier {
        Some(HostIdentifier::Endpoint(endpoint)) => Ok(endpoint),
        Some(HostIdentifier::EndpointName(_)) => Err(ConfigError::unsupported(
            "endpoint_name",
            "a named endpoint",
        )),
        None => Err(ConfigError::new("endpoint", "missing")),
    }
}

fn socket_address(
    proto: &proto::LbEndpoint,
) -> Result<&xds::envoy::core::SocketAddress, ConfigError> {
    let address = endpoint(proto)?
        .address
        .as_ref()
        .and_then(|address| address.address.as_ref());
    match address {
        Some(address::Address::SocketAddress(address)) => Ok(address),
        Some(address::Address::Pipe(_)) => {
            Err(ConfigError::unsupported("address.pipe", "a Unix socket"))
        }
        Some(address::Address::EnvoyInternalAddress(_)) => Err(ConfigError::unsupported(
            "address.envoy_internal_address",
            "an internal address",
        )),
        None => Err(ConfigError::new("address", "missing")),
    }
}

#[cfg(test)]
mod tests;
