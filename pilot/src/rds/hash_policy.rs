//! What requests are hashed by.

use mesh_api::traffic_policy::load_balancer::{ConsistentHash, HashKey};
use xds::envoy::route::route_action::{
    HashPolicy,
    hash_policy::{
        ConnectionProperties, Cookie, CookieAttribute, Header, PolicySpecifier, QueryParameter,
    },
};

use crate::wire;

/// The wire form.
pub(super) fn policy(hash: &ConsistentHash) -> HashPolicy {
    let specifier = match &hash.key {
        HashKey::Header(name) => PolicySpecifier::Header(Header {
            header_name: name.to_string(),
            ..Default::default()
        }),
        HashKey::QueryParameter(name) => PolicySpecifier::QueryParameter(QueryParameter {
            name: name.to_string(),
        }),
        HashKey::SourceIp => {
            PolicySpecifier::ConnectionProperties(ConnectionProperties { source_ip: true })
        }
        HashKey::Cookie {
            name,
            path,
            ttl,
            attributes,
        } => PolicySpecifier::Cookie(Cookie {
            name: name.to_string(),
            path: path.as_deref().unwrap_or_default().to_owned(),
            ttl: ttl.map(wire::duration),
            attributes: attributes
                .iter()
                .map(|(name, value)| CookieAttribute {
                    name: name.to_string(),
                    value: value.to_string(),
                })
                .collect(),
        }),
    };
    HashPolicy {
        terminal: false,
        policy_specifier: Some(specifier),
    }
}
