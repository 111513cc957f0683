//! Where rules of several objects come together, best first: precedence is between
//! matches, wherever they were written.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_api::hostname::Hostname;
use mesh_api::resource::{Meta, ResourceKey, Visibility};
use mesh_api::route::{GatewayRef, HttpRoute, TcpRoute, TlsRoute, VirtualService};

use super::{gateway_api, ingress};

/// A host, and who gets its rules.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// The ingress gateway.
    Ingress {
        /// The host as text: `Hostname` has no order.
        host: String,
    },
    /// A listener or the sidecars.
    Listener {
        gateway: GatewayRef,
        host: String,
        /// Only clients of this namespace (a route of another namespace than its Service's).
        consumers: Option<Arc<str>>,
    },
}

/// What comes first: the kind of match, then longer ones, then more of it.
pub(super) type Rank = (
    u8,
    Reverse<(usize, usize)>,
    bool,
    Reverse<usize>,
    Reverse<usize>,
);

/// The routes of one match.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ranked {
    pub(super) rank: Rank,
    pub(super) routes: Vec<HttpRoute>,
}

/// The rules of one object at one place, in the order in which they were written.
#[derive(Debug, PartialEq)]
pub(super) struct Contribution {
    pub(super) meta: Meta,
    pub(super) http: Vec<Ranked>,
    /// What answers when nothing fits; the oldest object's does.
    pub(super) fallback: Option<HttpRoute>,
    pub(super) tls: Vec<TlsRoute>,
    pub(super) tcp: Vec<TcpRoute>,
}

/// The rules of one place, those of the oldest objects first.
pub(super) type Contributions = BTreeMap<Turn, Arc<Contribution>>;

/// Age, name, namespace; then the kind, which nothing but this tells apart.
pub(super) type Turn = (i64, Arc<str>, Arc<str>, usize);

impl Contribution {
    pub(super) fn of(meta: &Meta) -> Self {
        Self {
            meta: meta.clone(),
            http: Vec::new(),
            fallback: None,
            tls: Vec::new(),
            tcp: Vec::new(),
        }
    }

    /// True without any rule.
    pub(super) fn is_empty(&self) -> bool {
        let of_requests = self.http.is_empty() && self.fallback.is_none();
        of_requests && self.tls.is_empty() && self.tcp.is_empty()
    }

    pub(super) fn turn(&self) -> Turn {
        let key = &self.meta.key;
        let kind = super::SOURCES.iter().position(|kind| **kind == *key.kind);
        (
            self.meta.creation_seconds,
            key.name.clone(),
            key.namespace.clone(),
            kind.unwrap_or_default(),
        )
    }
}

impl Place {
    /// What the rules come to; nothing if there are none.
    pub(super) fn virtual_service(&self, all: &Contributions) -> Option<Arc<VirtualService>> {
        let mut ranked: Vec<(&Contribution, &Ranked)> = Vec::new();
        for contribution in all.values() {
            ranked.extend(
                contribution
                    .http
                    .iter()
                    .map(|ranked| (&**contribution, ranked)),
            );
        }
        // Stable: the older object goes first, and then the order of its rules.
        ranked.sort_by_key(|(_, one)| one.rank);
        let first = ranked.first().map(|(first, _)| &first.meta);
        let fallback = all.values().find_map(|one| one.fallback.as_ref());
        let http = ranked.iter().flat_map(|(_, ranked)| &ranked.routes);
        let http: Vec<HttpRoute> = http.chain(fallback).cloned().collect();
        let tls: Vec<TlsRoute> = all.values().flat_map(|one| &one.tls).cloned().collect();
        let tcp: Vec<TcpRoute> = all.values().flat_map(|one| &one.tcp).cloned().collect();
        let oldest = &all.values().next()?.meta;
        let (meta, gateways) = match self {
            Self::Ingress { host } => {
                let gateways = all.values().map(|one| ingress::reference(&one.meta));
                (ingress::rules_of(oldest, host), gateways.collect())
            }
            Self::Listener { gateway, host, .. } => {
                let meta = gateway_api::rules_of(first.unwrap_or(oldest), gateway, host);
                (meta, vec![gateway.clone()])
            }
        };
        let visibility = match self {
            Self::Listener {
                consumers: Some(namespace),
                ..
            } => Visibility::Namespaces([namespace.clone()].into()),
            _ => Visibility::Public,
        };
        let host: Hostname = self.host().parse().ok()?;
        Some(Arc::new(VirtualService {
            meta,
            hosts: vec![host],
            gateways,
            visibility,
            http,
            tls,
            tcp,
        }))
    }

    fn host(&self) -> &str {
        match self {
            Self::Ingress { host } | Self::Listener { host, .. } => host,
        }
    }
}

/// Metadata of something that was made of an object, under a name of its own.
pub(super) fn named(of: &Meta, kind: &str, namespace: &str, name: &str) -> Meta {
    Meta {
        key: ResourceKey::new(kind, namespace, name),
        ..of.clone()
    }
}

/// A host within a name: a wildcard is `any`, and a label that is `any` is not taken for one.
pub(super) fn host_name(host: &str) -> String {
    match host.split('.').next() {
        Some("*") => host.replacen('*', "any", 1),
        Some("any") => format!("={host}"),
        _ => host.to_owned(),
    }
}
