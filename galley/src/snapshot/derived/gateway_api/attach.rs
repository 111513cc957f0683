//! Attaching routes to their parents.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_api::hostname::Hostname;
use mesh_api::resource::{Meta, ResourceKey};
use mesh_api::route::GatewayRef;
use serde_json::Value;

use super::backend::resolve;
use super::is_ours;
use super::l4::L4Rule;
use super::listener::{At, Reason, is_shadowed};
use super::precedence::ranked;
use crate::kinds::Model;
use crate::kinds::gateway_api::{GROUP, HttpRouteObject, L4RouteObject, ListenerProtocol, Parent};
use crate::snapshot::derived::Made;
use crate::snapshot::derived::place::{Contribution, Place};
use crate::snapshot::derived::world::World;

/// A route of some kind.
#[derive(Debug, Clone, Copy)]
pub(in crate::snapshot::derived) enum Route<'a> {
    /// Of requests.
    Http(&'a HttpRouteObject),
    /// Of connections.
    L4(&'a L4RouteObject),
}

/// What became of a route at one parent.
pub(super) struct Attachment {
    /// `parentRef` as written.
    pub(super) parent: Value,
    pub(super) accepted: Result<(), Reason>,
    pub(super) resolved: Result<(), Reason>,
}

impl<'a> Route<'a> {
    pub(super) fn meta(self) -> &'a Meta {
        match self {
            Self::Http(route) => &route.meta,
            Self::L4(route) => &route.meta,
        }
    }

    fn parents(self) -> &'a [Parent] {
        match self {
            Self::Http(route) => &route.parents,
            Self::L4(route) => &route.parents,
        }
    }

    fn hostnames(self) -> &'a [Hostname] {
        match self {
            Self::Http(route) => &route.hostnames,
            Self::L4(route) => &route.hostnames,
        }
    }

    /// Whether all references lead somewhere.
    fn resolve(self, world: &World<'_>) -> Result<(), Reason> {
        match self {
            Self::Http(route) => {
                let rules = route.rules.iter();
                let backends = rules.flat_map(|rule| {
                    let mirrors = rule.mirrors.iter().map(|mirror| &mirror.backend);
                    rule.backends.iter().chain(mirrors)
                });
                resolve(&route.meta, backends, world)
            }
            Self::L4(route) => resolve(&route.meta, &route.backends, world),
        }
    }

    /// Puts the rules to a host of a listener.
    fn put_at_listener(
        self,
        one: At<'_>,
        host: &Hostname,
        contributions: &mut Written,
        world: &World<'_>,
    ) {
        let place = Place::Listener {
            gateway: one.reference(host),
            host: host.as_str().to_owned(),
            consumers: None,
        };
        let rules = contributions.at(place, self.meta());
        match self {
            Self::Http(route) => rules.http.extend(ranked(route, None, world)),
            Self::L4(route) => {
                let passes = one.listener.protocol == ListenerProtocol::TlsPassthrough;
                let names = passes.then(|| host.clone());
                let rule = L4Rule {
                    route,
                    names: names.into_iter().collect(),
                    port: None,
                };
                rule.put(rules, world);
            }
        }
    }

    /// Puts the rules to a Service.
    fn put_at_service(
        self,
        service: &Hostname,
        port: Option<u16>,
        place: Place,
        contributions: &mut Written,
        world: &World<'_>,
    ) {
        let rules = contributions.at(place, self.meta());
        match self {
            Self::Http(route) => rules.http.extend(ranked(route, port, world)),
            Self::L4(route) => {
                let names = match (route.is_tls(), route.hostnames.is_empty()) {
                    (false, _) => Vec::new(),
                    (true, true) => vec![service.clone()],
                    (true, false) => route.hostnames.clone(),
                };
                L4Rule { route, names, port }.put(rules, world);
            }
        }
    }
}

/// A route at a listener.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::snapshot::derived) struct Attached {
    pub(in crate::snapshot::derived) gateway: ResourceKey,
    /// The listener's place in the Gateway.
    listener: usize,
    /// The route's hosts there, if it is one of connections.
    hosts: Vec<Hostname>,
}

/// The routes at all listeners of a Gateway.
#[derive(Debug, Default)]
pub(in crate::snapshot::derived) struct Attachments(BTreeMap<usize, AtListener>);

#[derive(Debug, Default)]
struct AtListener {
    routes: u32,
    hosts: BTreeMap<Arc<str>, u32>,
}

impl Attachments {
    pub(in crate::snapshot::derived) fn add(&mut self, one: &Attached) {
        let here = self.0.entry(one.listener).or_default();
        here.routes += 1;
        for host in &one.hosts {
            *here.hosts.entry(host.as_str().into()).or_default() += 1;
        }
    }

    pub(in crate::snapshot::derived) fn remove(&mut self, one: &Attached) {
        let Some(here) = self.0.get_mut(&one.listener) else {
            return;
        };
        here.routes -= 1;
        for host in &one.hosts {
            if let Some(count) = here.hosts.get_mut(host.as_str()) {
                *count -= 1;
                if *count == 0 {
                    here.hosts.remove(host.as_str());
                }
            }
        }
        if here.routes == 0 {
            self.0.remove(&one.listener);
        }
    }

    pub(in crate::snapshot::derived) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many routes are attached to a listener.
    pub(super) fn routes(&self, listener: usize) -> u32 {
        self.0.get(&listener).map_or(0, |here| here.routes)
    }

    /// Hosts of attached routes of connections.
    pub(super) fn hosts(&self, listener: usize) -> Vec<Hostname> {
        let here = self.0.get(&listener);
        let hosts = here.into_iter().flat_map(|here| here.hosts.keys());
        hosts.filter_map(|host| host.parse().ok()).collect()
    }
}

/// The rules of one route so far.
#[derive(Default)]
struct Written(BTreeMap<Place, Contribution>);

impl Written {
    fn at(&mut self, place: Place, route: &Meta) -> &mut Contribution {
        let rules = self.0.entry(place);
        rules.or_insert_with(|| Contribution::of(route))
    }
}

/// Puts the rules of a route where they belong. Parents that are not ours to speak
/// about are left out.
pub(super) fn attach(route: Route<'_>, made: &mut Made, world: &World<'_>) -> Vec<Attachment> {
    let resolved = route.resolve(world);
    let mut attachments = Vec::new();
    let mut rules = Written::default();
    for parent in route.parents() {
        let accepted = match (&*parent.to.group, &*parent.to.kind) {
            (GROUP, "Gateway") => to_gateway(route, parent, &mut rules, &mut made.attached, world),
            ("", "Service") => Some(to_service(route, parent, &mut rules, world)),
            _ => None,
        };
        if let Some(accepted) = accepted {
            attachments.push(Attachment {
                parent: parent.written.clone(),
                accepted,
                resolved: resolved.clone(),
            });
        }
    }
    let rules = rules.0.into_iter().filter(|(_, rules)| !rules.is_empty());
    made.contributions = rules
        .map(|(place, rules)| (place, Arc::new(rules)))
        .collect();
    attachments
}

/// Nothing if the Gateway is not ours.
fn to_gateway(
    route: Route<'_>,
    parent: &Parent,
    rules: &mut Written,
    attached: &mut Vec<Attached>,
    world: &World<'_>,
) -> Option<Result<(), Reason>> {
    let key = ResourceKey::new("KubernetesGateway", &parent.to.namespace, &parent.to.name);
    let gateway = match &world.get(&key)?.model {
        Model::KubernetesGateway(gateway) if is_ours(gateway, world) => gateway,
        _ => return None,
    };
    let all: Vec<_> = gateway.listeners.iter().collect();
    let mut failure: Reason = (
        "NoMatchingParent",
        "no listener has this name and port".to_owned(),
    );
    let mut is_attached = false;
    for (index, listener) in gateway.listeners.iter().enumerate() {
        let one = At { gateway, listener };
        match hosts(route, parent, one, world) {
            Ok(None) => {}
            Ok(Some(mut hosts)) => {
                is_attached = true;
                hosts.retain(|host| !is_shadowed(host, listener, &all));
                for host in &hosts {
                    route.put_at_listener(one, host, rules, world);
                }
                let of_connections = matches!(route, Route::L4(_));
                attached.push(Attached {
                    gateway: key.clone(),
                    listener: index,
                    hosts: if of_connections { hosts } else { Vec::new() },
                });
            }
            Err(reason) => failure = reason,
        }
    }
    let ours = !all.is_empty();
    ours.then_some(if is_attached { Ok(()) } else { Err(failure) })
}

/// The hosts for which a route answers on a listener; nothing if another listener is
/// meant.
fn hosts(
    route: Route<'_>,
    parent: &Parent,
    one: At<'_>,
    world: &World<'_>,
) -> Result<Option<Vec<Hostname>>, Reason> {
    let named = parent
        .section
        .as_ref()
        .is_none_or(|name| *name == one.listener.name);
    let on_port = parent.port.is_none_or(|port| port == one.listener.port);
    if !named || !on_port {
        return Ok(None);
    }
    let kind = &*route.meta().key.kind;
    let takes = one.listener.kinds.contains(&kind);
    if !takes || !one.admits(route.meta().namespace(), world) {
        let message = format!("no listener allows {kind}s of this namespace");
        return Err(("NotAllowedByListeners", message));
    }
    let of_listener = &one.listener.hostname;
    let of_route = route.hostnames();
    if of_route.is_empty() {
        return Ok(Some(vec![of_listener.clone()]));
    }
    let both = of_route.iter();
    let both: Vec<Hostname> = both
        .filter_map(|host| host.intersection(of_listener))
        .collect();
    if both.is_empty() {
        let message = "no listener has a host of the route".to_owned();
        return Err(("NoMatchingListenerHostname", message));
    }
    Ok(Some(both))
}

/// Rules for the traffic of sidecars to a Service: of its own namespace for every
/// client, of another one for the clients there.
fn to_service(
    route: Route<'_>,
    parent: &Parent,
    rules: &mut Written,
    world: &World<'_>,
) -> Result<(), Reason> {
    let key = ResourceKey::new("Service", &parent.to.namespace, &parent.to.name);
    let Some(service) = world.service(&key) else {
        return Err(("NoMatchingParent", format!("{key} does not exist")));
    };
    let own = &route.meta().key.namespace;
    let place = Place::Listener {
        gateway: GatewayRef::Mesh,
        host: service.hostname.as_str().to_owned(),
        consumers: (*own != parent.to.namespace).then(|| own.clone()),
    };
    route.put_at_service(&service.hostname, parent.port, place, rules, world);
    Ok(())
}
