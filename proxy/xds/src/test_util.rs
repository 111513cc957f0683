//! Resources for tests, as control planes send them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use xds::envoy::cluster as proto;
use xds::envoy::cluster::cluster::{ClusterDiscoveryType, DiscoveryType};
use xds::envoy::core;
use xds::envoy::endpoint::lb_endpoint::HostIdentifier;
use xds::envoy::endpoint::{self, LbEndpoint, LocalityLbEndpoints};

use crate::config::cluster::Cluster;
use crate::config::endpoint::LoadAssignment;
use crate::config::error::ConfigError;
use crate::config::listener::Listener;
use crate::config::names::Names;
use crate::config::route::RouteConfig;
use crate::config::secret::{ResourceSource, SecretRef};
use crate::config::tls::Secret;
use crate::config::{ClusterId, Config, RouteTableId};
use crate::context::ApplyContext;
use crate::target::{SecretOrigin, Target};

/// A STATIC cluster named `c` without endpoints, for a test to change.
pub fn static_cluster() -> proto::Cluster {
    proto::Cluster {
        name: "c".into(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Static as i32)),
        ..Default::default()
    }
}

/// Translates a cluster.
pub fn translate(proto: &proto::Cluster) -> Result<Cluster, crate::config::error::ConfigError> {
    let mut context = ApplyContext {
        names: &mut Names::default(),
        previous_listener: None,
        further_filters: &[],
        node: &Arc::default(),
        source: ResourceSource::default(),
    };
    crate::cds::cluster(proto, &mut context)
}

/// An address in protobuf.
pub fn address(host: &str, port: u16) -> core::Address {
    use core::address::Address;
    use core::socket_address::PortSpecifier;
    core::Address {
        address: Some(Address::SocketAddress(core::SocketAddress {
            address: host.into(),
            port_specifier: Some(PortSpecifier::PortValue(port.into())),
            ..Default::default()
        })),
    }
}

/// An endpoint in protobuf.
pub fn lb_endpoint(host: &str, port: u16, weight: u32) -> LbEndpoint {
    LbEndpoint {
        load_balancing_weight: Some(weight.into_value()),
        host_identifier: Some(HostIdentifier::Endpoint(endpoint::Endpoint {
            address: Some(address(host, port)),
            ..Default::default()
        })),
        ..Default::default()
    }
}

/// Numbers in their wrapper messages.
pub trait IntoValue<T> {
    /// Wraps.
    fn into_value(self) -> T;
}

impl IntoValue<xds::pb::google::protobuf::UInt32Value> for u32 {
    fn into_value(self) -> xds::pb::google::protobuf::UInt32Value {
        xds::pb::google::protobuf::UInt32Value { value: self }
    }
}

/// A locality in protobuf.
pub fn locality(priority: u32, weight: u32, endpoints: Vec<LbEndpoint>) -> LocalityLbEndpoints {
    LocalityLbEndpoints {
        priority,
        load_balancing_weight: Some(weight.into_value()),
        lb_endpoints: endpoints,
        ..Default::default()
    }
}

/// A target that publishes the configuration as it is: everything is ready at once, nothing is alive.
#[derive(Debug, Clone, Default)]
pub struct PlainTarget {
    next: Config,
    published: Arc<Mutex<Arc<Config>>>,
}

impl PlainTarget {
    /// What was published last.
    pub fn load(&self) -> Arc<Config> {
        let published = self.published.lock();
        published.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn slot<T: Clone>(table: &mut Vec<Option<T>>, index: u32) -> &mut Option<T> {
    let index = index as usize;
    if table.len() <= index {
        table.resize(index + 1, None);
    }
    &mut table[index]
}

impl Target for PlainTarget {
    type Cluster = Arc<Cluster>;
    type Listener = Arc<Listener>;

    fn build_cluster(
        &mut self,
        config: &Arc<Cluster>,
        _: Option<&Arc<Cluster>>,
    ) -> Result<Arc<Cluster>, ConfigError> {
        Ok(config.clone())
    }

    fn build_listener(
        &mut self,
        config: &Arc<Listener>,
        _: Option<&Arc<Listener>>,
    ) -> Result<Arc<Listener>, ConfigError> {
        Ok(config.clone())
    }

    fn is_cluster_ready(&self, _: &Arc<Cluster>) -> bool {
        true
    }

    fn is_listener_ready(&self, _: &Arc<Listener>) -> bool {
        true
    }

    fn set_cluster(&mut self, id: ClusterId, cluster: Option<&Arc<Arc<Cluster>>>, _: Instant) {
        *slot(&mut self.next.clusters, id.0) = cluster.map(|cluster| Arc::clone(&**cluster));
        if cluster.is_none() {
            *slot(&mut self.next.endpoints, id.0) = None;
        }
    }

    fn set_endpoints(&mut self, id: ClusterId, endpoints: &Arc<LoadAssignment>) {
        *slot(&mut self.next.endpoints, id.0) = Some(endpoints.clone());
    }

    fn set_routes(&mut self, id: RouteTableId, routes: Option<&Arc<RouteConfig>>) {
        *slot(&mut self.next.routes, id.0) = routes.cloned();
    }

    fn set_listener(&mut self, name: &Arc<str>, listener: Option<&Arc<Arc<Listener>>>) {
        match listener {
            Some(listener) => {
                let listener = Arc::clone(&**listener);
                self.next.listeners.insert(name.clone(), listener);
            }
            None => _ = self.next.listeners.shift_remove(name),
        }
    }

    fn set_secret(&mut self, _: &Arc<str>, _: &Secret, _: SecretOrigin) -> Result<(), ConfigError> {
        Ok(())
    }

    fn remove_secret(&mut self, _: &SecretRef) {}

    fn wanted_secrets(&self) -> Vec<SecretRef> {
        Vec::new()
    }

    fn publish(&mut self, version: u64) {
        self.next.version = version;
        let published = self.published.lock();
        *published.unwrap_or_else(PoisonError::into_inner) = Arc::new(self.next.clone());
    }

    fn tick(&mut self, _: Instant) {}

    fn deadline(&self) -> Option<Instant> {
        None
    }
}
