//! Attaching routes to their parents.

use mesh_api::hostname::Hostname;
use mesh_api::resource::ResourceKey;
use mesh_api::route::GatewayRef;
use serde_json::Value;

use super::listener::{BoundListener, Reason};
use super::precedence::ranked;
use super::rule::resolve;
use super::{Place, Places, World};
use crate::normalize::Model;
use crate::normalize::gateway_api::{GROUP, HttpRouteObject, Parent};

/// What became of a route at one parent.
pub(super) struct Attachment {
    /// `parentRef` as written.
    pub(super) parent: Value,
    pub(super) accepted: Result<(), Reason>,
    pub(super) resolved: Result<(), Reason>,
}

/// Puts the rules of a route where they belong. Parents that are not ours to speak
/// about are left out.
pub(super) fn attach<'a>(
    route: &'a HttpRouteObject,
    listeners: &mut [BoundListener<'_>],
    places: &mut Places<'a>,
    world: World<'_>,
) -> Vec<Attachment> {
    let resolved = resolve(route, world);
    let mut attachments = Vec::new();
    for parent in &route.parents {
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
    route: &'a HttpRouteObject,
    parent: &Parent,
    listeners: &mut [BoundListener<'_>],
    places: &mut Places<'a>,
    world: World<'_>,
) -> Option<Result<(), Reason>> {
    let mut ours = false;
    let mut failure: Reason = (
        "NoMatchingParent",
        "no listener has this name and port".to_owned(),
    );
    let mut attached = false;
    for one in listeners {
        let meta = &one.gateway.meta;
        if meta.key.name != parent.to.name || meta.key.namespace != parent.to.namespace {
            continue;
        }
        ours = true;
        let named = parent
            .section
            .as_ref()
            .is_none_or(|name| *name == one.listener.name);
        let on_port = parent.port.is_none_or(|port| port == one.listener.port);
        if !named || !on_port {
            continue;
        }
        if !one.listener.allows_http || !one.admits(route.meta.namespace(), world.store) {
            let message = "no listener allows HTTPRoutes of this namespace".to_owned();
            failure = ("NotAllowedByListeners", message);
            continue;
        }
        let hosts = hosts(&route.hostnames, &one.listener.hostname);
        if hosts.is_empty() {
            let message = "no listener has a host of the route".to_owned();
            failure = ("NoMatchingListenerHostname", message);
            continue;
        }
        attached = true;
        one.attached += 1;
        for host in hosts {
            let place = Place {
                gateway: one.reference(),
                host: host.as_str().to_owned(),
                consumers: None,
            };
            places.entry(place).or_default().extend(ranked(route));
        }
    }
    ours.then_some(if attached { Ok(()) } else { Err(failure) })
}

/// The hosts for which a route answers on a listener.
fn hosts(of_route: &[Hostname], of_listener: &Hostname) -> Vec<Hostname> {
    if of_route.is_empty() {
        return vec![of_listener.clone()];
    }
    let both = of_route
        .iter()
        .filter_map(|host| host.intersection(of_listener));
    both.collect()
}

/// Rules for the traffic of sidecars to a Service: of its own namespace for every
/// client, of another one for the clients there.
fn to_service<'a>(
    route: &'a HttpRouteObject,
    parent: &Parent,
    places: &mut Places<'a>,
    world: World<'_>,
) -> Result<(), Reason> {
    let key = ResourceKey::new("Service", &parent.to.namespace, &parent.to.name);
    let Some(Model::Service(service)) = world.store.get(&key).map(|object| &object.model) else {
        return Err(("NoMatchingParent", format!("{key} does not exist")));
    };
    let own = &route.meta.key.namespace;
    let place = Place {
        gateway: GatewayRef::Mesh,
        host: service.hostname.as_str().to_owned(),
        consumers: (*own != parent.to.namespace).then(|| own.clone()),
    };
    let rules = ranked(route).map(|ranked| ranked.on_port(parent.port));
    places.entry(place).or_default().extend(rules);
    Ok(())
}
