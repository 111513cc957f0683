//! Rules of TLSRoutes and TCPRoutes as routes of the model.

use mesh_api::hostname::Hostname;
use mesh_api::route::{Destination, L4Match, TcpRoute, TlsMatch, TlsRoute, WeightedDestination};

use super::backend::weighted;
use crate::kinds::gateway_api::L4RouteObject;
use crate::snapshot::derived::place::Contribution;
use crate::snapshot::derived::world::World;

/// The rule of a route at one place.
#[derive(Debug, Clone)]
pub(super) struct L4Rule<'a> {
    pub(super) route: &'a L4RouteObject,
    /// Server names of TLS that passes through; none for bytes, and for TLS that has
    /// ended before.
    pub(super) names: Vec<Hostname>,
    /// Only traffic to this port of the Service.
    pub(super) port: Option<u16>,
}

impl L4Rule<'_> {
    pub(super) fn put(&self, rules: &mut Contribution, world: &World<'_>) {
        rules.tls.extend(self.tls(world));
        rules.tcp.extend(self.tcp(world));
    }

    /// The rule for TLS that passes through.
    fn tls(&self, world: &World<'_>) -> Option<TlsRoute> {
        let one = TlsMatch {
            sni_hosts: self.names.clone(),
            l4: self.on_port(),
        };
        (!self.names.is_empty()).then(|| TlsRoute {
            origin: self.route.meta.origin.clone(),
            matches: vec![one],
            route: self.destinations(world),
        })
    }

    /// The rule for bytes.
    fn tcp(&self, world: &World<'_>) -> Option<TcpRoute> {
        self.names.is_empty().then(|| TcpRoute {
            origin: self.route.meta.origin.clone(),
            matches: self.port.map(|_| self.on_port()).into_iter().collect(),
            route: self.destinations(world),
        })
    }

    fn on_port(&self) -> L4Match {
        L4Match {
            port: self.port,
            ..L4Match::default()
        }
    }

    /// Connections that lead nowhere are closed, and so are all of a route without
    /// backends.
    fn destinations(&self, world: &World<'_>) -> Vec<WeightedDestination> {
        let route = self.route;
        let mut destinations = weighted(&route.meta, &route.backends, world);
        if destinations.is_empty() {
            destinations.push(WeightedDestination {
                destination: Destination::nowhere(),
                weight: 1,
                headers: Default::default(),
            });
        }
        destinations
    }
}
