//! The generators at work on one scope: from what a group of proxies sees to its resources.

use std::sync::Arc;

use mesh_api::endpoint::ServiceEndpoints;
use mesh_api::service::Service;
use mesh_api::traffic_policy::load_balancer::LocalityRule;
use xds::delta::{ResourceMap, SharedResource};

use super::{Generators, StaticCluster, StaticKind, Work, World};
use crate::cache::insert;
use crate::cds::{self, Discovery};
use crate::lds::Common;
use crate::lds::http_connection_manager::Position;
use crate::node::{InterceptionMode, NodeKind};
use crate::scope::{Rule, Scope, service_key};
use crate::shared::Shared;
use crate::{eds, gateway, lds, policy, rds, tls};

/// The generators, pointed at one scope.
pub(super) struct Generate<'w> {
    pub(super) world: &'w World,
    pub(super) scope: &'w Scope,
}

impl Generate<'_> {
    /// Where resources are kept, and where work is counted.
    pub(super) fn caches(&self) -> (&Generators, &Work) {
        (&self.world.kept.generators, &self.world.kept.work)
    }

    pub(super) fn clusters(&self) -> (ResourceMap, ResourceMap) {
        let (generators, work) = self.caches();
        let (mut clusters, mut assignments) = (ResourceMap::new_sync(), ResourceMap::new_sync());
        for service in self.scope.services() {
            let (of_service, with_assignments) = self.of_service(service);
            for cluster in of_service {
                insert(&mut clusters, cluster);
            }
            for assignment in with_assignments {
                insert(&mut assignments, assignment);
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
            let cache = &generators.static_clusters;
            let cluster = cache.get(work, &name, inputs, StaticCluster::generate);
            insert(&mut clusters, cluster);
        }
        (clusters, assignments)
    }

    /// The clusters of a service, and the assignments of those that get their endpoints from us.
    pub(super) fn of_service(
        &self,
        service: &Arc<Service>,
    ) -> (Vec<SharedResource>, Vec<SharedResource>) {
        let (generators, work) = self.caches();
        work.visit(1);
        let (mut clusters, mut assignments) = (Vec::new(), Vec::new());
        for inputs in self.service_clusters(service) {
            if inputs.discovery() == Discovery::Eds {
                assignments.push(self.assignment(&inputs));
            }
            let name = inputs.name();
            let cache = &generators.clusters;
            clusters.push(cache.get(work, &name, inputs, cds::generate));
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

    fn assignment(&self, cluster: &cds::Inputs) -> SharedResource {
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
            node: cluster
                .service
                .node_local
                .then(|| self.scope.key.node.clone().unwrap_or_default()),
            mtls_disabled: Arc::clone(&self.world.facts.mtls_disabled),
        };
        let name = inputs.cluster.clone();
        let (generators, work) = self.caches();
        generators
            .assignments
            .get(work, &name, inputs, eds::generate)
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
        let (generators, work) = self.caches();
        let common = self.common(Position::SidecarOutbound);
        let mut listeners = ResourceMap::new_sync();
        if self.scope.key.interception_mode == InterceptionMode::None {
            return listeners;
        }
        work.visit(self.scope.services().len());
        let endpoints = |service: &Service| self.endpoints(service);
        for inputs in lds::outbound_ports::listeners(self.scope, &common, endpoints) {
            let name = inputs.name();
            let cache = &generators.outbound_listeners;
            let listener = cache.get(work, &name, inputs, lds::outbound::generate);
            insert(&mut listeners, listener);
        }
        let inputs = lds::outbound::VirtualInputs {
            port: self.scope.mesh.proxy_listen_port,
            policy: self.scope.outbound_policy,
            common,
        };
        let name = crate::names::VIRTUAL_OUTBOUND;
        let generate = lds::outbound::generate_virtual;
        let cache = &generators.virtual_outbound;
        insert(&mut listeners, cache.get(work, name, inputs, generate));
        listeners
    }

    /// A gateway's configuration is what its virtual hosts are: their versions stand for them.
    fn gateway_routes(
        &self,
        name: &str,
        hosts: Vec<rds::virtual_host::Inputs>,
    ) -> (SharedResource, Vec<SharedResource>) {
        let (generators, work) = self.caches();
        let host = |inputs: rds::virtual_host::Inputs| {
            work.visit(1 + inputs.objects());
            let key = format!("{name}/{}", inputs.name);
            let cache = &generators.virtual_hosts;
            cache.get(work, &key, inputs, rds::virtual_host::generate)
        };
        let hosts: Vec<_> = hosts.into_iter().map(host).collect();
        let versions = hosts.iter().map(SharedResource::version).collect();
        let cache = &generators.route_configurations;
        let configuration = cache.get_encoded(work, name, versions, |_| {
            rds::compose(name, hosts.iter().map(SharedResource::value))
        });
        (configuration, hosts)
    }

    /// Listeners and routes; the virtual hosts in them go to `kept`.
    pub(super) fn gateway(&self, kept: &mut Vec<SharedResource>) -> (ResourceMap, ResourceMap) {
        let (generators, work) = self.caches();
        let key = &self.scope.key;
        let snapshot = &self.world.snapshot;
        let authorization = policy::authorization(snapshot, &key.namespace, &key.labels);
        let authentication = policy::request_authentication(snapshot, &key.namespace, &key.labels);
        let (mut listeners, mut routes) = (ResourceMap::new_sync(), ResourceMap::new_sync());
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
            let cache = &generators.gateway_listeners;
            insert(&mut listeners, cache.get(work, &name, inputs, generate));
            for (name, hosts) in rds::gateway::configurations(self.scope, &port) {
                let (configuration, hosts) = self.gateway_routes(&name, hosts);
                insert(&mut routes, configuration);
                kept.extend(hosts);
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
