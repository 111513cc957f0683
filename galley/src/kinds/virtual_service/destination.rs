//! Destinations of routes, and their weights.

use mesh_api::route::{Destination, WeightedDestination};

use super::headers::{self, WireHeaders};
use crate::kinds::findings::Findings;
use crate::kinds::rules::{self, each, some};
use crate::kinds::scope::Scope;
use crate::kinds::wire::{PortSelector, wire};
use crate::manifest::path::FieldPath;

wire! {
    #[schemars(extend("required" = ["destination"]))]
    WireHttpDestination {
        /// Service that receives the requests.
        destination: Option<WireDestination>,
        /// Weight of the destination, 0 to 100, relative to the others of the route. A single destination needs none.
        weight: u32,
        /// Changes to headers for this destination alone.
        headers: Option<WireHeaders>,
    }

    #[schemars(extend("required" = ["destination"]))]
    WireL4Destination {
        /// Service that receives the connections.
        destination: Option<WireDestination>,
        /// Weight of the destination, 0 to 100, relative to the others of the route. A single destination needs none.
        weight: u32,
    }

    #[schemars(extend("required" = ["host"]))]
    WireDestination {
        /// Name of the service. A short name is a service of the VirtualService's own namespace.
        host: String,
        /// Subset of the endpoints, which a DestinationRule of the host defines. By default all endpoints.
        subset: String,
        /// Port of the service. Required if the service has several.
        port: Option<PortSelector>,
    }
}

/// `route` of an HTTP rule at `path`.
pub(super) fn http_destinations(
    routes: &[WireHttpDestination],
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
) -> Option<Vec<WeightedDestination>> {
    let list = path.field("route");
    let alone = routes.len() == 1;
    let destinations = each(routes, &list, findings, |wire, at, findings| {
        let destination = required(wire.destination.as_ref(), at, scope, findings);
        let headers = headers::read(wire.headers.as_ref(), at, findings);
        Some(WeightedDestination {
            destination: destination?,
            weight: weight(wire.weight, alone),
            headers,
        })
    });
    weights(routes.iter().map(|route| route.weight), &list, findings);
    destinations
}

/// `route` of a rule for connections at `path`.
pub(super) fn l4_destinations(
    routes: &[WireL4Destination],
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
) -> Option<Vec<WeightedDestination>> {
    let list = path.field("route");
    if routes.is_empty() {
        findings.error(&list, "at least one destination is required");
    }
    let alone = routes.len() == 1;
    let destinations = each(routes, &list, findings, |wire, at, findings| {
        Some(WeightedDestination {
            destination: required(wire.destination.as_ref(), at, scope, findings)?,
            weight: weight(wire.weight, alone),
            headers: Default::default(),
        })
    });
    weights(routes.iter().map(|route| route.weight), &list, findings);
    destinations
}

/// Field `destination` of what stands at `path`.
pub(super) fn required(
    wire: Option<&WireDestination>,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
) -> Option<Destination> {
    let at = path.field("destination");
    let Some(wire) = wire else {
        findings
            .error(&at, "a destination is required")
            .suggest("add destination: {host: NAME}");
        return None;
    };
    let host_path = at.field("host");
    let host = match wire.host.as_str() {
        "" => {
            findings.error(&host_path, "the host of the destination is required");
            None
        }
        text => scope.host(text, &host_path, findings),
    };
    if let Some(host) = host.as_ref().filter(|host| host.is_wildcard()) {
        let message = format!("a destination cannot be the wildcard \"{host}\"");
        findings.error(&host_path, message);
    }
    if !wire.subset.is_empty() && !rules::is_dns_label(&wire.subset) {
        let message = format!("\"{}\" is not a legal subset name", wire.subset);
        findings.error(&at.field("subset"), message);
    }
    let port = port(wire.port.as_ref(), &at, findings);
    Some(Destination {
        host: host?,
        subset: some(&wire.subset),
        port: port?,
    })
}

/// `mirror`, which is a destination without the level `destination`.
pub(super) fn mirror(
    wire: &WireDestination,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
) -> Option<Destination> {
    let host_path = path.field("host");
    let host = match wire.host.as_str() {
        "" => {
            findings.error(&host_path, "the host of the mirror is required");
            None
        }
        text => scope.host(text, &host_path, findings),
    };
    let port = port(wire.port.as_ref(), path, findings);
    Some(Destination {
        host: host?,
        subset: some(&wire.subset),
        port: port?,
    })
}

fn port(
    wire: Option<&PortSelector>,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<Option<u16>> {
    let Some(wire) = wire else {
        return Some(None);
    };
    let at = path.field("port");
    rules::port(wire.number, &at.field("number"), findings).map(Some)
}

/// A single destination gets everything, whatever its weight says.
fn weight(weight: u32, alone: bool) -> u32 {
    if alone && weight == 0 { 100 } else { weight }
}

/// The sum of weights must be above zero as soon as there is a choice.
///
/// Differs from Istio, which takes any weight: above 100 it is nearly always a slip
/// of the finger (`300` for `30`) and shifts traffic without a word.
fn weights(
    weights: impl ExactSizeIterator<Item = u32> + Clone,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) {
    let total: u64 = weights.clone().map(u64::from).sum();
    let count = weights.len();
    if count > 1 && total == 0 {
        findings.error(path, "the weights of the destinations add up to 0");
    }
    if total > u64::from(u32::MAX) {
        let message = format!("the weights of the destinations add up to {total}");
        findings.error(path, message);
    }
    let advice = match count {
        1 => "leave the weight of a single destination out",
        _ => "weights are shares that should add up to 100",
    };
    for (index, weight) in weights.enumerate().filter(|(_, weight)| *weight > 100) {
        let message = format!("weight {weight} is not between 0 and 100");
        findings
            .error(&path.index(index).field("weight"), message)
            .suggest(advice);
    }
}
