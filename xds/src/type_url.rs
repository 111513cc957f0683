//! The resource types of xDS: their type URLs and the order in which they must be sent.

use std::fmt;

/// The prefix of every type URL.
pub const PREFIX: &str = "type.googleapis.com/";
/// `envoy.config.cluster.v3.Cluster`.
pub const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
/// `envoy.config.endpoint.v3.ClusterLoadAssignment`.
pub const ENDPOINT: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
/// `envoy.config.listener.v3.Listener`.
pub const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
/// `envoy.config.route.v3.RouteConfiguration`.
pub const ROUTE: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
/// `envoy.config.route.v3.VirtualHost`.
pub const VIRTUAL_HOST: &str = "type.googleapis.com/envoy.config.route.v3.VirtualHost";
/// `envoy.extensions.transport_sockets.tls.v3.Secret`.
pub const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
/// `envoy.config.core.v3.TypedExtensionConfig`.
pub const EXTENSION_CONFIG: &str = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig";

/// A resource type that the mesh serves.
///
/// The order of the variants is the order of sending: a cluster before its endpoints, both
/// before the listeners and routes that name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceType {
    /// Clusters (CDS).
    Cluster,
    /// Cluster load assignments (EDS).
    Endpoint,
    /// Listeners (LDS).
    Listener,
    /// Route configurations (RDS).
    Route,
    /// Virtual hosts on demand (VHDS).
    VirtualHost,
    /// Secrets (SDS).
    Secret,
    /// Extension configurations (ECDS).
    ExtensionConfig,
}

impl ResourceType {
    /// All types, in the order of sending.
    pub const ALL: [Self; 7] = [
        Self::Cluster,
        Self::Endpoint,
        Self::Listener,
        Self::Route,
        Self::VirtualHost,
        Self::Secret,
        Self::ExtensionConfig,
    ];

    /// The type with this URL.
    pub fn from_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.url() == url)
    }

    /// The type's URL.
    pub const fn url(self) -> &'static str {
        match self {
            Self::Cluster => CLUSTER,
            Self::Endpoint => ENDPOINT,
            Self::Listener => LISTENER,
            Self::Route => ROUTE,
            Self::VirtualHost => VIRTUAL_HOST,
            Self::Secret => SECRET,
            Self::ExtensionConfig => EXTENSION_CONFIG,
        }
    }

    /// The abbreviation that people use: `CDS`, `EDS`, ….
    pub const fn short_name(self) -> &'static str {
        match self {
            Self::Cluster => "CDS",
            Self::Endpoint => "EDS",
            Self::Listener => "LDS",
            Self::Route => "RDS",
            Self::VirtualHost => "VHDS",
            Self::Secret => "SDS",
            Self::ExtensionConfig => "ECDS",
        }
    }

    /// Whether a first request that names nothing asks for everything.
    ///
    /// Only clusters and listeners have a wildcard in xDS; the other types are fetched by the
    /// names that those two mention.
    pub const fn has_wildcard(self) -> bool {
        matches!(self, Self::Cluster | Self::Listener)
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short_name())
    }
}

#[cfg(test)]
mod tests {
    use prost::Name;

    use super::*;
    use crate::pb::envoy;

    #[test]
    fn urls_are_those_of_the_messages() {
        let urls = [
            envoy::config::cluster::v3::Cluster::type_url(),
            envoy::config::endpoint::v3::ClusterLoadAssignment::type_url(),
            envoy::config::listener::v3::Listener::type_url(),
            envoy::config::route::v3::RouteConfiguration::type_url(),
            envoy::config::route::v3::VirtualHost::type_url(),
            envoy::extensions::transport_sockets::tls::v3::Secret::type_url(),
            envoy::config::core::v3::TypedExtensionConfig::type_url(),
        ];
        assert_eq!(ResourceType::ALL.map(|t| t.url().to_owned()), urls);
    }

    #[test]
    fn urls_lead_back_to_their_type() {
        for resource_type in ResourceType::ALL {
            assert_eq!(
                ResourceType::from_url(resource_type.url()),
                Some(resource_type)
            );
        }
        assert_eq!(ResourceType::from_url("type.googleapis.com/x.Y"), None);
    }
}
