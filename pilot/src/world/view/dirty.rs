//! What of a view was made of something that changed.

use std::collections::BTreeSet;

use mesh_api::hostname::Hostname;
use mesh_api::port::Protocol;
use mesh_api::route::VirtualService;
use mesh_api::service::Service;

use super::super::World;
use super::super::delta::{Changed, Delta};
use super::super::routes::{Place, Routes};
use crate::cds::{self, Discovery};
use crate::node::NodeKind;
use crate::scope::{Scope, has_l4_rules};

/// What is to be made anew.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    pub(super) everything: bool,
    /// Services whose clusters and assignments are.
    pub(super) clusters: BTreeSet<Hostname>,
    /// Services whose assignments are.
    pub(super) endpoints: BTreeSet<Hostname>,
    /// Virtual hosts of sidecars.
    pub(super) hosts: BTreeSet<Place>,
    /// Listeners of sidecars.
    pub(super) listeners: bool,
    /// All that gateways have beside clusters.
    pub(super) gateway: bool,
}

impl Dirty {
    pub(super) fn is_clean(&self) -> bool {
        let Self {
            everything,
            clusters,
            endpoints,
            hosts,
            listeners,
            gateway,
        } = self;
        let flags = *everything || *listeners || *gateway;
        !flags && clusters.is_empty() && endpoints.is_empty() && hosts.is_empty()
    }

    /// Takes a change into the scope and notes what it concerns.
    pub(super) fn add(&mut self, world: &World, scope: &mut Scope, routes: &Routes, delta: &Delta) {
        if delta.everything || self.everything {
            self.everything = true;
            return;
        }
        let is_gateway = scope.key.kind == NodeKind::Router;
        for key in &delta.endpoints {
            if let Some(service) = scope.service(&key.hostname) {
                world.work().visit(1);
                self.add_endpoints(service, is_gateway);
            }
        }
        for change in &delta.destination_rules {
            self.add_destination_rule(world, scope, routes, change);
        }
        if is_gateway {
            if !delta.virtual_services.is_empty() {
                let all = world.snapshot.virtual_services.values();
                world.work().visit(all.map(|of| of.len()).sum());
                scope.read_virtual_services(&world.snapshot);
            }
            self.gateway |= delta.gateways
                || !delta.virtual_services.is_empty()
                || !delta.destination_rules.is_empty();
            return;
        }
        for change in &delta.virtual_services {
            world.work().visit(1);
            let shaped = shapes_listeners(scope, change);
            let hosts = scope.apply_virtual_service(&world.snapshot, change);
            // Rules for bytes are few, and which of several objects decides shows in listeners, chains and names alike.
            self.everything |= shaped || shapes_listeners(scope, change);
            for host in &hosts {
                self.add_host(scope, routes, host);
            }
        }
    }

    /// Names inside of clusters and pods' own listeners come from endpoints as well.
    fn add_endpoints(&mut self, service: &Service, is_gateway: bool) {
        if cds::discovery(service, is_gateway) == Discovery::Eds {
            self.endpoints.insert(service.hostname.clone());
        } else {
            self.clusters.insert(service.hostname.clone());
        }
        self.listeners |= !is_gateway && service.is_headless();
    }

    fn add_destination_rule(
        &mut self,
        world: &World,
        scope: &mut Scope,
        routes: &Routes,
        change: &Changed<mesh_api::traffic_policy::DestinationRule>,
    ) {
        world.work().visit(1);
        let hosts = scope.apply_destination_rule(change);
        let is_gateway = scope.key.kind == NodeKind::Router;
        for service in hosts.iter().flat_map(|host| scope.covered(host)) {
            world.work().visit(1);
            self.clusters.insert(service.hostname.clone());
            self.hosts
                .extend(routes.readers(&service.hostname).cloned());
            let mut ports = service.ports.iter();
            let other =
                ports.any(|port| !port.protocol.is_http() && port.protocol != Protocol::Udp);
            self.listeners |= !is_gateway && (other || scope.virtual_services().have_l4_rules());
        }
    }

    /// A host of which rules say something else than before. A host that no service has, or many
    /// have, may be a virtual host of its own and decide which ports there are.
    fn add_host(&mut self, scope: &Scope, routes: &Routes, host: &Hostname) {
        match scope.service(host) {
            Some(service) => self.hosts.extend(routes.of_service(service)),
            None => self.everything = true,
        }
    }
}

/// Whether listeners show a changed object, or what decides about one of its hosts: that object, or another which it
/// hides.
fn shapes_listeners(scope: &Scope, change: &Changed<VirtualService>) -> bool {
    let objects = || change.before.iter().chain(&change.after);
    let rules = scope.virtual_services();
    let mut deciding = objects()
        .flat_map(|object| &object.hosts)
        .filter_map(|host| rules.of_host(host));
    objects().any(|object| has_l4_rules(object)) || deciding.any(|object| has_l4_rules(object))
}
