//! `Sidecar`.

use std::net::IpAddr;

use mesh_api::mesh_config::OutboundPolicy;
use mesh_api::port::Protocol;
use mesh_api::sidecar::{EgressHost, EgressListener, IngressListener, Sidecar};

use super::traffic_policy::connection_pool;
use super::{Fault, Scope, some, workload_selector};
use crate::crd::Port;
use crate::crd::sidecar as wire;
use crate::manifest::path::FieldPath;

pub(super) fn normalize(spec: &wire::Sidecar, scope: &Scope<'_>) -> Result<Sidecar, Fault> {
    let root = FieldPath::ROOT;
    let path = root.field("spec");
    let ingress_list = path.field("ingress");
    let egress_list = path.field("egress");
    let ingress = spec.ingress.iter().enumerate();
    let egress = spec.egress.iter().enumerate();
    Ok(Sidecar {
        meta: scope.meta.clone(),
        workload_selector: workload_selector(spec.workload_selector.as_ref()),
        ingress: ingress
            .map(|(index, listener)| ingress_listener(listener, &ingress_list.index(index), scope))
            .collect::<Result<_, _>>()?,
        egress: match spec.egress.is_empty() {
            true => None,
            false => Some(
                egress
                    .map(|(i, listener)| egress_listener(listener, &egress_list.index(i), scope))
                    .collect::<Result<_, _>>()?,
            ),
        },
        outbound_policy: spec
            .outbound_traffic_policy
            .as_ref()
            .map(|p| outbound_policy(p.mode)),
        inbound_connection_pool: spec.inbound_connection_pool.as_ref().map(connection_pool),
    })
}

/// Also `meshConfig.outboundTrafficPolicy`.
pub(super) fn outbound_policy(mode: wire::OutboundMode) -> OutboundPolicy {
    match mode {
        wire::OutboundMode::RegistryOnly => OutboundPolicy::RegistryOnly,
        wire::OutboundMode::AllowAny | wire::OutboundMode::AllowAnyDynamicDns => {
            OutboundPolicy::AllowAny
        }
    }
}

fn ingress_listener(
    wire: &wire::Ingress,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<IngressListener, Fault> {
    let port = wire.port.clone().unwrap_or_default();
    let (number, protocol) = listener_port(&port, path, scope)?;
    Ok(IngressListener {
        port: number,
        name: port.name.as_str().into(),
        protocol,
        bind: bind(&wire.bind, path, scope)?,
        default_endpoint: some(&wire.default_endpoint),
        connection_pool: wire.connection_pool.as_ref().map(connection_pool),
    })
}

fn egress_listener(
    wire: &wire::Egress,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<EgressListener, Fault> {
    let hosts = wire
        .hosts
        .iter()
        .enumerate()
        .filter(|(_, text)| !text.starts_with('~'));
    let hosts = hosts.map(|(index, text)| {
        let list = path.field("hosts");
        let at = list.index(index);
        let (namespace, host) = text.split_once('/').unwrap_or(("*", text));
        Ok(EgressHost {
            namespace: match namespace {
                "*" => None,
                "." => Some(scope.meta.key.namespace.clone()),
                name => Some(name.into()),
            },
            host: host.parse().map_err(|error| scope.fault(&at, error))?,
        })
    });
    Ok(EgressListener {
        port: wire
            .port
            .as_ref()
            .map(|port| listener_port(port, path, scope))
            .transpose()?,
        bind: bind(&wire.bind, path, scope)?,
        captured: wire.capture_mode != wire::CaptureMode::None,
        hosts: hosts.collect::<Result<_, _>>()?,
    })
}

fn listener_port(
    port: &Port,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<(u16, Protocol), Fault> {
    let number = scope.port(port.number, &path.field("port").field("number"))?;
    Ok((
        number,
        Protocol::from_text(&port.protocol).unwrap_or(Protocol::Auto),
    ))
}

fn bind(text: &str, path: &FieldPath<'_>, scope: &Scope<'_>) -> Result<Option<IpAddr>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|_| scope.fault(&path.field("bind"), format!("\"{text}\" is not an address")))
}
