//! The generators at work on one scope: from what a group of proxies sees to its resources.

use std::sync::Arc;

use mesh_api::endpoint::ServiceEndpoints;
use mesh_api::service::Service;
use mesh_api::traffic_policy::load_balancer::LocalityRule;
use xds::delta::{ResourceMap, SharedResource};

use super::{StaticCluster, StaticKind, World};
use crate::cds::{self, Discovery};
use crate::lds::Common;
use crate::lds::http_connection_manager::Position;
use crate::node::{InterceptionMode, NodeKind};
use crate::scope::{Rule, Scope, service_key};
use crate::shared::Shared;
use crate::{cache, eds, gateway, lds, policy, rds, tls};

/// The generators, pointed at one scope.
pub(super) struct Generate<'w> {
    pub(super) world: &'w World,
    pub(super) scope: &'w Scope,
}

impl Generate<'_> {
    pub(super) fn clusters(&self) -> (ResourceMap, ResourceMap) {
        let (generators, context) = (&self.world.generators, &self.world.context);
        let mut clusters = ResourceMap::new();
        let mut assignments = ResourceMap::new();
        for service in self.scope.services() {
            for inputs in self.service_clusters(service) {
                if inputs.discovery() == Discovery::Eds {
                    let (name, assignment) = self.assignment(&inputs);
                    assignments.insert(name, assignment);
                }
                let name = inputs.name();
                clusters.extend([generators
                    .clusters
                    .get(context, &name, inputs, cds::generate)]);
            }
        }
        let mut kinds = vec![StaticKind::BlackHole];
        if self.scope.key.kind == NodeKind::Sidecar {
            kinds.extend([StaticKind::Passthrough, StaticKind::InboundPassthrough]);
        }
        for kind in kinds {
            let inputs = StaticCluster {
                kind,
                mesh: Shared::from(&self.scope.mesh),
            };
            let name = inputs.generate().name;
            clusters.extend([generators.static_clusters.get(
                context,
                &name,
                inputs,
                StaticCluster::generate,
            )]);
        }
        (clusters, assignments)
    }

    /// The clusters of a service: each port, whole and by subset.
    pub(super) fn service_clusters(&self, service: &Arc<Service>) -> Vec<cds::Inputs> {
        let rule = self.scope.rule(service);
        let gateway = self.scope.key.kind == NodeKind::Router;
        let namespace_mode = policy::namespace_mode(&self.world.snapshot, service.meta.namespace());
        let embedded = cds::discovery(service, gateway) != Discovery::Eds;
        let base = cds::Inputs {
            service: Shared::from(service),
            port: 0,
            subset: None,
            mesh: Shared::from(&self.scope.mesh),
            gateway,
            mtls_disabled: namespace_mode == mesh_api::authn::MtlsMode::Disable,
            weft: self.scope.key.weft,
            embedded_endpoints: embedded
                .then(|| self.endpoints(service))
                .flatten()
                .map(Shared),
            rule,
        };
        let mut clusters = Vec::new();
        let ports = service.ports.iter().filter(|port| {
            port.protocol != mesh_api::port::Protocol::Udp
                && self.scope.allows_port(service, port.number)
        });
        for port in ports {
            let whole = cds::Inputs {
                port: port.number,
                ..base.clone()
            };
            let subsets = base.rule.iter().flat_map(Rule::subsets);
            clusters.extend(subsets.map(|s| cds::Inputs {
                subset: Some(Arc::clone(&s.name)),
                ..whole.clone()
            }));
            clusters.push(whole);
        }
        clusters
    }

    fn endpoints(&self, service: &Service) -> Option<Arc<ServiceEndpoints>> {
        self.world
            .snapshot
            .endpoints
            .get(&service_key(service))
            .cloned()
    }

    pub(super) fn assignment(&self, cluster: &cds::Inputs) -> (Arc<str>, SharedResource) {
        let rule = cluster.rule.as_ref();
        let labels = cluster.subset.as_deref().and_then(|subset| {
            rule.and_then(|rule| rule.subset(subset))
                .map(|subset| subset.labels.clone())
        });
        let inputs = eds::Inputs {
            cluster: cluster.name(),
            port: cluster.port,
            labels: labels.unwrap_or_default(),
            endpoints: Shared(self.endpoints(&cluster.service).unwrap_or_default()),
            publish_not_ready: cluster.service.publish_not_ready,
            locality: self.locality(cluster),
            mtls_disabled: Arc::clone(&self.world.mtls_disabled),
        };
        let name = inputs.cluster.clone();
        let (generators, context) = (&self.world.generators, &self.world.context);
        generators
            .assignments
            .get(context, &name, inputs, eds::generate)
    }

    /// Where the client is, if that plays a role for a cluster.
    fn locality(&self, cluster: &cds::Inputs) -> Option<eds::LocalityInputs> {
        let policy = cluster.effective_policy();
        let service = &cluster.service;
        let setting = cds::locality_setting(
            policy.load_balancer.as_ref(),
            &self.scope.mesh,
            service.traffic_distribution,
        )?;
        let prefers = service.traffic_distribution != Default::default();
        let failover = policy.outlier_detection.is_some() || prefers;
        if !failover && !matches!(setting.rule, LocalityRule::Distribute(_)) {
            return None;
        }
        let by_labels = matches!(setting.rule, LocalityRule::FailoverPriority(_));
        Some(eds::LocalityInputs {
            client: self.scope.key.locality.clone(),
            client_labels: if by_labels {
                self.scope.key.labels.clone()
            } else {
                Default::default()
            },
            setting,
            failover,
        })
    }

    pub(super) fn listeners(&self) -> ResourceMap {
        let (generators, context) = (&self.world.generators, &self.world.context);
        let common = self.common(Position::SidecarOutbound);
        let mut listeners = ResourceMap::new();
        if self.scope.key.interception_mode == InterceptionMode::None {
            return listeners;
        }
        let endpoints = |service: &Service| self.endpoints(service);
        for inputs in lds::outbound_ports::listeners(self.scope, &common, endpoints) {
            let name = inputs.name();
            listeners.extend([generators.outbound_listeners.get(
                context,
                &name,
                inputs,
                lds::outbound::generate,
            )]);
        }
        let inputs = lds::outbound::VirtualInputs {
            port: self.scope.mesh.proxy_listen_port,
            policy: self.scope.outbound_policy,
            common,
        };
        let name = crate::names::VIRTUAL_OUTBOUND;
        let generate = lds::outbound::generate_virtual;
        listeners.extend([generators
            .virtual_outbound
            .get(context, name, inputs, generate)]);
        listeners
    }

    pub(super) fn routes(&self) -> ResourceMap {
        let mut routes = ResourceMap::new();
        for port in rds::sidecar::http_ports(self.scope) {
            let hosts = rds::sidecar::port_hosts(self.scope, port);
            routes.extend([self.route_configuration(&port.to_string(), hosts)]);
        }
        for (name, (service, port)) in rds::sidecar::sniffed_services(self.scope) {
            let hosts = rds::sidecar::sniffed_hosts(self.scope, &service, port);
            routes.extend([self.route_configuration(&name, hosts)]);
        }
        routes
    }

    /// A configuration is what its virtual hosts are: their versions stand for them.
    fn route_configuration(
        &self,
        name: &str,
        hosts: Vec<rds::virtual_host::Inputs>,
    ) -> (Arc<str>, SharedResource) {
        let (generators, context) = (&self.world.generators, &self.world.context);
        let hosts: Vec<_> = hosts
            .into_iter()
            .map(|inputs| {
                let key = format!("{name}/{}", inputs.name);
                generators
                    .virtual_hosts
                    .get(context, &key, inputs, rds::virtual_host::generate)
                    .1
            })
            .collect();
        let versions = hosts.iter().map(|host| host.version()).collect();
        generators
            .route_configurations
            .get_encoded(context, name, versions, |_, _| {
                let hosts = hosts.iter().map(SharedResource::value);
                cache::resource(name, &rds::compose(name, hosts))
            })
    }

    pub(super) fn gateway(&self) -> (ResourceMap, ResourceMap) {
        let (generators, context) = (&self.world.generators, &self.world.context);
        let key = &self.scope.key;
        let snapshot = &self.world.snapshot;
        let authorization = policy::authorization(snapshot, &key.namespace, &key.labels);
        let authentication = policy::request_authentication(snapshot, &key.namespace, &key.labels);
        let mut listeners = ResourceMap::new();
        let mut routes = ResourceMap::new();
        for port in gateway::ports(snapshot, key) {
            let inputs = lds::gateway::Inputs {
                ip: port.ip,
                port: port.port,
                chains: lds::gateway::chains(self.scope, &port),
                authorization: authorization.iter().map(Shared::from).collect(),
                request_authentication: lds::jwt::filters(&authentication),
                trust_domains: tls::trust_domains(&self.scope.mesh),
                common: self.common(Position::Gateway),
            };
            // A listener without chains would be refused; connections are then, as they should be.
            if inputs.chains.is_empty() {
                continue;
            }
            let name = inputs.name();
            let generate = lds::gateway::generate;
            listeners.extend([generators
                .gateway_listeners
                .get(context, &name, inputs, generate)]);
            for (name, hosts) in rds::gateway::configurations(self.scope, &port) {
                routes.extend([self.route_configuration(&name, hosts)]);
            }
        }
        (listeners, routes)
    }

    fn common(&self, position: Position) -> Common {
        let key = &self.scope.key;
        let mesh = &self.scope.mesh;
        Common {
            weft: key.weft,
            access_log: policy::access_log(
                &self.world.snapshot,
                &key.namespace,
                &key.labels,
                position,
            ),
            normalization: lds::normalization(mesh),
            http10: key.http10,
            transparent: key.interception_mode == InterceptionMode::Tproxy,
            trusted_hops: mesh.default_config.num_trusted_proxies,
        }
    }
}
