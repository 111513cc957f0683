//! Virtual host and route selection.

use std::borrow::Cow;

use crate::config::matcher::StringMatcher;
use crate::config::route::{
    Action, ClusterSpecifier, PathMatch, RequireTls, Route, RouteConfig, RouteMatch, VirtualHost,
    WeightedClusters,
};
use crate::http::stream::RequestHead;
use crate::telemetry::stream_info::ConnectionInfo;

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
) -> Option<u32> {
    let found = host
        .routes
        .iter()
        .position(|route| route.matches.matches(request, connection))?;
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

impl RouteMatch {
    /// True if the request matches.
    pub fn matches(&self, request: &RequestHead, connection: &ConnectionInfo) -> bool {
        self.path.matches(request)
            && (!self.grpc || request.is_grpc())
            && self.headers.iter().all(|matcher| matcher.matches(request))
            && self
                .query
                .iter()
                .all(|matcher| matcher.matches(request.path.query()))
            && self.certificate_matches(connection)
            && self.fraction.is_none_or(|fraction| fraction.draw())
    }

    fn certificate_matches(&self, connection: &ConnectionInfo) -> bool {
        let presented = || {
            let tls = connection.tls.as_ref();
            tls.is_some_and(|tls| tls.peer.is_some())
        };
        // A certificate that does not verify ends the handshake: what was presented is validated.
        [
            self.client_certificate_presented,
            self.client_certificate_validated,
        ]
        .into_iter()
        .flatten()
        .all(|wanted| wanted == presented())
    }
}

impl PathMatch {
    /// True if the request's path matches.
    pub fn matches(&self, request: &RequestHead) -> bool {
        let connect = request.method == http::Method::CONNECT && request.upgrade.is_none();
        match self {
            Self::Prefix(matcher, _) if !connect => {
                matcher.matches(request.path.as_str().as_bytes())
            }
            Self::Exact(matcher, _) if !connect => matcher.matches(request.path_only().as_bytes()),
            Self::Regex(regex) if !connect => regex.is_match(request.path_only().as_bytes()),
            Self::Segments(matcher, prefix) if !connect => {
                segments(matcher, prefix, request.path_only())
            }
            Self::Connect => connect,
            _ => false,
        }
    }
}

/// `/a` covers `/a` and `/a/b`, but not `/ab`.
fn segments(matcher: &StringMatcher, prefix: &str, path: &str) -> bool {
    matcher.matches(path.as_bytes())
        && path
            .as_bytes()
            .get(prefix.len())
            .is_none_or(|next| *next == b'/')
}
