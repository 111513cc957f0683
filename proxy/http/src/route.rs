//! Which route a request takes, and what the route does to it.

use std::rc::Rc;

use super::stream::{HttpConnection, RequestHead, Scheme};
use crate::config::http::RouteSource;
use crate::config::route::overrides::FilterOverrides;
use crate::config::route::{
    Action, ClusterSpecifier, Route, RouteConfig, VirtualHost, WeightedCluster,
};
use crate::config::{ClusterId, RouteTableId};
use crate::telemetry::stream_info::DynamicMetadata;
use crate::upstream::worker::View;

pub mod choose;
pub mod hash_policy;
pub mod matcher;
pub mod mirror;
pub mod redirect;
pub mod retry;
pub mod rewrite;
pub mod timeout;

/// A route that was chosen, held by position so that taking it touches no memory shared between workers.
#[derive(Debug, Clone)]
pub struct RouteRef {
    table: Table,
    host: u32,
    route: u32,
    /// The alternative of a weighted cluster.
    alternative: u32,
}

/// Where routes are looked up for one request.
#[derive(Debug, Clone)]
pub enum Table {
    /// In the connection manager.
    Inline(Rc<HttpConnection>),
    /// In the configuration in force.
    Rds(View, RouteTableId),
}

impl Table {
    /// The table of a connection.
    pub fn of(connection: &Rc<HttpConnection>, view: &View) -> Self {
        match &connection.hcm.routes {
            RouteSource::Inline(_) => Self::Inline(connection.clone()),
            RouteSource::Rds(id) => Self::Rds(view.clone(), *id),
        }
    }

    /// The route configuration, if there is one (yet).
    pub fn config(&self) -> Option<&RouteConfig> {
        match self {
            Self::Inline(connection) => match &connection.hcm.routes {
                RouteSource::Inline(config) => Some(config),
                RouteSource::Rds(_) => None,
            },
            Self::Rds(view, id) => view.route_config(*id).map(|config| &**config),
        }
    }
}

impl RouteRef {
    /// The table it stands in.
    pub fn config(&self) -> &RouteConfig {
        self.table
            .config()
            .expect("the route was found in this table")
    }

    /// The virtual host.
    pub fn virtual_host(&self) -> &VirtualHost {
        &self.config().virtual_hosts[self.host as usize]
    }

    /// The route.
    pub fn route(&self) -> &Route {
        &self.virtual_host().routes[self.route as usize]
    }

    /// The alternative that was drawn, if the route has weighted clusters.
    pub fn alternative(&self) -> Option<&WeightedCluster> {
        match &self.route().action {
            Action::Forward(forward) => match &forward.cluster {
                ClusterSpecifier::Weighted(weighted) => {
                    weighted.clusters.get(self.alternative as usize)
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// What the route says to filters.
    pub fn overrides(&self) -> &FilterOverrides {
        match self.alternative() {
            Some(alternative) => &alternative.overrides,
            None => &self.route().overrides,
        }
    }

    /// The cluster's slot, unless a header names it.
    pub fn cluster_id(&self) -> Option<ClusterId> {
        let Action::Forward(forward) = &self.route().action else {
            return None;
        };
        match &forward.cluster {
            ClusterSpecifier::Cluster(cluster) => Some(cluster.id),
            ClusterSpecifier::Weighted(_) => self.alternative().map(|a| a.cluster.id),
            ClusterSpecifier::Header(_) => None,
        }
    }

    /// The cluster's name, unless a header names it.
    pub fn cluster_name(&self) -> Option<&str> {
        let Action::Forward(forward) = &self.route().action else {
            return None;
        };
        match &forward.cluster {
            ClusterSpecifier::Cluster(cluster) => Some(&cluster.name),
            ClusterSpecifier::Weighted(_) => self.alternative().map(|a| &*a.cluster.name),
            ClusterSpecifier::Header(_) => None,
        }
    }
}

/// What the search found.
#[derive(Debug)]
pub enum Found {
    /// A route.
    Route(RouteRef),
    /// The virtual host demands https.
    RedirectToHttps,
    /// Nothing.
    None,
}

/// Finds the route of a request. `internal` says whether it comes from inside the mesh or network.
pub fn find(
    table: Table,
    connection: &HttpConnection,
    request: &RequestHead,
    internal: bool,
    metadata: &DynamicMetadata,
) -> Found {
    let Some(config) = table.config() else {
        return Found::None;
    };
    let Some(host) = matcher::virtual_host(config, request.authority()) else {
        return Found::None;
    };
    let virtual_host = &config.virtual_hosts[host as usize];
    if request.scheme != Scheme::Https && matcher::demands_tls(virtual_host, internal) {
        return Found::RedirectToHttps;
    }
    let Some(route) = matcher::route(virtual_host, request, &connection.info, metadata) else {
        return Found::None;
    };
    let alternative = matcher::alternative(&virtual_host.routes[route as usize]);
    Found::Route(RouteRef {
        table,
        host,
        route,
        alternative,
    })
}
