//! Virtual host and route selection.

use std::borrow::Cow;

use crate::config::route::{
    Action, ClusterSpecifier, RequireTls, Route, RouteConfig, VirtualHost, WeightedClusters,
};
use crate::stream::RequestHead;
use crate::telemetry::stream_info::{ConnectionInfo, DynamicMetadata};

/// The position of the virtual host of an authority.
pub fn virtual_host(config: &RouteConfig, authority: &[u8]) -> Option<u32> {
    let authority = std::str::from_utf8(authority).ok()?;
    let host = if config.ignore_port {
        without_port(authority)
    } else {
        authority
    };
    config.hosts.find(&lower(host))
}

/// The authority without its port, brackets of IPv6 addresses kept.
pub fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port))
            if !port.contains(']') && port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            host
        }
        _ => authority,
    }
}

fn lower(host: &str) -> Cow<'_, str> {
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        host.to_ascii_lowercase().into()
    } else {
        host.into()
    }
}

/// True if plaintext requests to the virtual host are sent to https.
pub fn demands_tls(host: &VirtualHost, internal: bool) -> bool {
    match host.require_tls {
        RequireTls::None => false,
        RequireTls::ExternalOnly => !internal,
        RequireTls::All => true,
    }
}

/// The position of the first route that matches.
pub fn route(
    host: &VirtualHost,
    request: &RequestHead,
    connection: &ConnectionInfo,
    metadata: &DynamicMetadata,
) -> Option<u32> {
    let metadata = metadata.borrow();
    let metadata = metadata.as_deref();
    let found = host
        .routes
        .iter()
        .position(|route| route.matches.matches(request, connection, metadata))?;
    u32::try_from(found).ok()
}

/// Draws one of the alternatives of a weighted cluster; 0 for other routes.
pub fn alternative(route: &Route) -> u32 {
    match &route.action {
        Action::Forward(forward) => match &forward.cluster {
            ClusterSpecifier::Weighted(weighted) => {
                pick_weighted(weighted, fastrand::u64(..weighted.total.max(1)))
            }
            _ => 0,
        },
        _ => 0,
    }
}

/// The alternative whose share covers `value`, in the order of the list.
pub fn pick_weighted(weighted: &WeightedClusters, value: u64) -> u32 {
    let mut end = 0;
    for (position, cluster) in (0..).zip(&weighted.clusters) {
        end += u64::from(cluster.weight);
        if value < end {
            return position;
        }
    }
    0
}
