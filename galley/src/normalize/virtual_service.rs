//! `VirtualService`.

mod http;
mod http_match;

use std::sync::Arc;

use mesh_api::route::{
    Destination, GatewayRef, L4Match, TcpRoute, TlsMatch, TlsRoute, VirtualService,
    WeightedDestination,
};

pub(crate) use self::http::grpc_status;
pub(super) use self::http::retries;
use super::{Fault, Scope, labels, some};
use crate::crd::virtual_service as wire;
use crate::manifest::path::FieldPath;
use crate::validate::parse_subnet;

pub(super) fn normalize(
    spec: &wire::VirtualService,
    scope: &Scope<'_>,
) -> Result<VirtualService, Fault> {
    let root = FieldPath::ROOT;
    let path = root.field("spec");
    let http = path.field("http");
    let tls = path.field("tls");
    let tcp = path.field("tcp");
    let default = &scope.mesh.default_virtual_service_export_to;
    Ok(VirtualService {
        meta: scope.meta.clone(),
        hosts: scope.hosts(&spec.hosts, &path.field("hosts"))?,
        gateways: match spec.gateways.is_empty() {
            true => vec![GatewayRef::Mesh],
            false => gateways(&spec.gateways, scope),
        },
        visibility: scope.visibility(&spec.export_to, default),
        http: each(&spec.http, &http, |route, path| {
            http::route(route, path, scope)
        })?,
        tls: each(&spec.tls, &tls, |route, path| tls_route(route, path, scope))?,
        tcp: each(&spec.tcp, &tcp, |route, path| tcp_route(route, path, scope))?,
    })
}

/// Maps the items of a list together with their paths.
fn each<T, U>(
    items: &[T],
    path: &FieldPath<'_>,
    convert: impl Fn(&T, &FieldPath<'_>) -> Result<U, Fault>,
) -> Result<Vec<U>, Fault> {
    items
        .iter()
        .enumerate()
        .map(|(index, item)| convert(item, &path.index(index)))
        .collect()
}

fn gateways(names: &[String], scope: &Scope<'_>) -> Vec<GatewayRef> {
    let gateway = |namespace: Arc<str>, name: &str| GatewayRef::Gateway {
        namespace,
        name: name.into(),
    };
    names
        .iter()
        .map(|name| match name.split_once('/') {
            None if name == "mesh" => GatewayRef::Mesh,
            None => gateway(scope.meta.key.namespace.clone(), name),
            Some((".", name)) => gateway(scope.meta.key.namespace.clone(), name),
            Some((namespace, name)) => gateway(namespace.into(), name),
        })
        .collect()
}

fn destination(
    destination: Option<&wire::Destination>,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<Destination, Fault> {
    let destination = destination.ok_or_else(|| scope.fault(path, "a destination is required"))?;
    let number = path.field("port");
    let port = destination
        .port
        .as_ref()
        .map(|port| scope.port(port.number, &number))
        .transpose()?;
    Ok(Destination {
        host: scope.old_host(&destination.host, &path.field("host"))?,
        subset: some(&destination.subset),
        port,
    })
}

fn l4_destinations(
    routes: &[wire::RouteDestination],
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<Vec<WeightedDestination>, Fault> {
    let path = path.field("route");
    let alone = routes.len() == 1;
    each(routes, &path, |route, path| {
        Ok(WeightedDestination {
            destination: destination(
                route.destination.as_ref(),
                &path.field("destination"),
                scope,
            )?,
            weight: weight(route.weight, alone),
            headers: Default::default(),
        })
    })
}

/// A single destination gets everything, whatever its weight says.
fn weight(weight: u32, alone: bool) -> u32 {
    if alone && weight == 0 { 100 } else { weight }
}

fn tls_route(
    route: &wire::TlsRoute,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<TlsRoute, Fault> {
    let matches = each(&route.r#match, &path.field("match"), |m, path| {
        let sni = path.field("sniHosts");
        let sni_hosts = m.sni_hosts.iter().enumerate().map(|(index, host)| {
            host.parse()
                .map_err(|error| scope.fault(&sni.index(index), error))
        });
        Ok(TlsMatch {
            sni_hosts: sni_hosts.collect::<Result<_, _>>()?,
            l4: L4Match {
                destination_subnets: subnets(&m.destination_subnets, path, scope)?,
                port: port(m.port, path, scope)?,
                source_labels: labels(&m.source_labels),
                source_namespace: some(&m.source_namespace),
                gateways: gateways(&m.gateways, scope),
            },
        })
    })?;
    Ok(TlsRoute {
        origin: scope.origin(path),
        matches,
        route: l4_destinations(&route.route, path, scope)?,
    })
}

fn tcp_route(
    route: &wire::TcpRoute,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<TcpRoute, Fault> {
    let matches = each(&route.r#match, &path.field("match"), |m, path| {
        Ok(L4Match {
            destination_subnets: subnets(&m.destination_subnets, path, scope)?,
            port: port(m.port, path, scope)?,
            source_labels: labels(&m.source_labels),
            source_namespace: some(&m.source_namespace),
            gateways: gateways(&m.gateways, scope),
        })
    })?;
    Ok(TcpRoute {
        origin: scope.origin(path),
        matches,
        route: l4_destinations(&route.route, path, scope)?,
    })
}

fn subnets(
    texts: &[String],
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<Vec<ipnet::IpNet>, Fault> {
    let path = path.field("destinationSubnets");
    each(texts, &path, |text, path| {
        parse_subnet(text).ok_or_else(|| scope.fault(path, format!("\"{text}\" is not a range")))
    })
}

/// Zero is an unset port.
fn port(number: u32, path: &FieldPath<'_>, scope: &Scope<'_>) -> Result<Option<u16>, Fault> {
    (number != 0)
        .then(|| scope.port(number, &path.field("port")))
        .transpose()
}
