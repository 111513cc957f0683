//! Attaching routes to their parents.

use mesh_api::hostname::Hostname;
use mesh_api::resource::{Meta, ResourceKey};
use mesh_api::route::GatewayRef;
use serde_json::Value;

use super::backend::resolve;
use super::l4::L4Rule;
use super::listener::{BoundListener, Reason, is_shadowed};
use super::precedence::ranked;
use super::{Place, Places, World};
use crate::normalize::Model;
use crate::normalize::gateway_api::{
    GROUP, HttpRouteObject, L4RouteObject, ListenerProtocol, Parent,
};

/// A route of some kind.
#[derive(Debug, Clone, Copy)]
pub(super) enum Route<'a> {
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
    fn resolve(self, world: World<'_>) -> Result<(), Reason> {
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
        one: &mut BoundListener<'_>,
        host: &Hostname,
        places: &mut Places<'a>,
    ) {
        let place = Place {
            gateway: one.reference(host),
            host: host.as_str().to_owned(),
            consumers: None,
        };
        let rules = places.entry(place).or_default();
        match self {
            Self::Http(route) => rules.http.extend(ranked(route)),
            Self::L4(route) => {
                let passes = one.listener.protocol == ListenerProtocol::TlsPassthrough;
                let names = passes.then(|| host.clone());
                rules.l4.push(L4Rule {
                    route,
                    names: names.into_iter().collect(),
                    port: None,
                });
                one.hosts.insert(host.clone());
            }
        }
    }

    /// Puts the rules to a Service.
    fn put_at_service(
        self,
        service: &Hostname,
        port: Option<u16>,
        place: Place,
        places: &mut Places<'a>,
    ) {
        let rules = places.entry(place).or_default();
        match self {
            Self::Http(route) => {
                let ranked = ranked(route).map(|ranked| ranked.on_port(port));
                rules.http.extend(ranked);
            }
            Self::L4(route) => {
                let names = match (route.is_tls(), route.hostnames.is_empty()) {
                    (false, _) => Vec::new(),
                    (true, true) => vec![service.clone()],
                    (true, false) => route.hostnames.clone(),
                };
                rules.l4.push(L4Rule { route, names, port });
            }
        }
    }
}

/// Puts the rules of a route where they belong. Parents that are not ours to speak
/// about are left out.
pub(super) fn attach<'a>(
    route: Route<'a>,
    listeners: &mut [BoundListener<'_>],
    places: &mut Places<'a>,
    world: World<'_>,
) -> Vec<Attachment> {
    let resolved = route.resolve(world);
    let mut attachments = Vec::new();
    for parent in route.parents() {
        let accepted = match (&*parent.to.group, &*parent.to.kind) {
            (GROUP, "Gateway") => to_gateway(route, parent, listeners, places, world),
            ("", "Service") => Some(to_service(route, parent, places, world)),
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
    attachments
}

/// Nothing if the Gateway is not ours.
fn to_gateway<'a>(
    route: Route<'a>,
    parent: &Parent,
    listeners: &mut [BoundListener<'_>],
    places: &mut Places<'a>,
    world: World<'_>,
) -> Option<Result<(), Reason>> {
    let is_parent = |one: &BoundListener<'_>| {
        let key = &one.gateway.meta.key;
        key.name == parent.to.name && key.namespace == parent.to.namespace
    };
    let mut own: Vec<_> = listeners.iter_mut().filter(|one| is_parent(one)).collect();
    let all: Vec<_> = own.iter().map(|one| one.listener).collect();
    let mut failure: Reason = (
        "NoMatchingParent",
        "no listener has this name and port".to_owned(),
    );
    let mut attached = false;
    for one in &mut own {
        match hosts(route, parent, one, world) {
            Ok(None) => {}
            Ok(Some(hosts)) => {
                attached = true;
                one.attached += 1;
                for host in hosts {
                    if !is_shadowed(&host, one.listener, &all) {
                        route.put_at_listener(one, &host, places);
                    }
                }
            }
            Err(reason) => failure = reason,
        }
    }
    let ours = !all.is_empty();
    ours.then_some(if attached { Ok(()) } else { Err(failure) })
}

/// The hosts for which a route answers on a listener; nothing if another listener is
/// meant.
fn hosts(
    route: Route<'_>,
    parent: &Parent,
    one: &BoundListener<'_>,
    world: World<'_>,
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
    if !takes || !one.admits(route.meta().namespace(), world.store) {
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
fn to_service<'a>(
    route: Route<'a>,
    parent: &Parent,
    places: &mut Places<'a>,
    world: World<'_>,
) -> Result<(), Reason> {
    let key = ResourceKey::new("Service", &parent.to.namespace, &parent.to.name);
    let Some(Model::Service(service)) = world.store.get(&key).map(|object| &object.model) else {
        return Err(("NoMatchingParent", format!("{key} does not exist")));
    };
    let own = &route.meta().key.namespace;
    let place = Place {
        gateway: GatewayRef::Mesh,
        host: service.hostname.as_str().to_owned(),
        consumers: (*own != parent.to.namespace).then(|| own.clone()),
    };
    route.put_at_service(&service.hostname, parent.port, place, places);
    Ok(())
}
