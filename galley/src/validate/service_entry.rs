//! Rules of `ServiceEntry` and `WorkloadEntry`. Source: Istio
//! `validation.ValidateServiceEntry`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use mesh_api::port::Protocol;
use mesh_api::resource::Meta;

use super::{Findings, rules};
use crate::crd::service_entry::{Location, Resolution, ServiceEntry, WorkloadEntry};
use crate::manifest::path::FieldPath;

pub(super) fn validate(
    spec: &ServiceEntry,
    meta: &Meta,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) {
    hosts(spec, &path.field("hosts"), findings);
    addresses(spec, &path.field("addresses"), findings);
    ports(spec, &path.field("ports"), findings);
    rules::export_to(&spec.export_to, meta, &path.field("exportTo"), findings);
    if let Some(selector) = &spec.workload_selector {
        let at = path.field("workloadSelector");
        rules::labels(&selector.labels, &at.field("labels"), findings);
        if spec.location == Location::MeshExternal {
            findings
                .warn(
                    &at,
                    "selected workloads belong to the mesh, yet the location is MESH_EXTERNAL",
                )
                .suggest("set location: MESH_INTERNAL");
        }
        if !spec.endpoints.is_empty() {
            let message = "only one of \"endpoints\", \"workloadSelector\" may be set";
            findings.error(&path.field("endpoints"), message);
        }
    }
    resolution(spec, path, findings);
    let named_by_dns = !matches!(spec.resolution, Resolution::None | Resolution::Static);
    for (index, endpoint) in spec.endpoints.iter().enumerate() {
        let endpoints = path.field("endpoints");
        validate_workload(endpoint, named_by_dns, &endpoints.index(index), findings);
    }
}

fn hosts(spec: &ServiceEntry, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    if spec.hosts.is_empty() {
        findings.error(path, "at least one host is required");
    }
    let mut seen = BTreeSet::new();
    for (index, text) in spec.hosts.iter().enumerate() {
        let at = path.index(index);
        if text == "*" {
            findings
                .error(&at, "the host cannot be \"*\" alone")
                .suggest("write \"*.SUFFIX\"");
            continue;
        }
        rules::host(text, &at, findings);
        if !seen.insert(text) {
            findings.error(&at, format!("duplicate host \"{text}\""));
        }
    }
}

fn addresses(spec: &ServiceEntry, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let ranges = matches!(spec.resolution, Resolution::None | Resolution::Static);
    for (index, text) in spec.addresses.iter().enumerate() {
        let at = path.index(index);
        rules::subnet(text, &at, findings);
        if text.contains('/') && !ranges {
            findings.error(
                &at,
                format!("range \"{text}\" needs resolution NONE or STATIC"),
            );
        }
    }
}

fn ports(spec: &ServiceEntry, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    if spec.ports.is_empty() {
        findings.warn(path, "without ports the entry matches no traffic");
    }
    let mut numbers = BTreeSet::new();
    let mut names = BTreeSet::new();
    for (index, port) in spec.ports.iter().enumerate() {
        let at = path.index(index);
        rules::port(port.number, &at.field("number"), findings);
        if !numbers.insert(port.number) {
            findings.error(
                &at.field("number"),
                format!("duplicate port {}", port.number),
            );
        }
        if port.name.is_empty() {
            findings.error(&at.field("name"), "the port needs a name");
        } else if !names.insert(&port.name) {
            findings.error(
                &at.field("name"),
                format!("duplicate port name \"{}\"", port.name),
            );
        }
        if port.target_port != 0 {
            rules::port(port.target_port, &at.field("targetPort"), findings);
        }
        if !port.protocol.is_empty() && Protocol::from_text(&port.protocol).is_none() {
            let message = format!("protocol \"{}\" is not known", port.protocol);
            findings
                .error(&at.field("protocol"), message)
                .suggest("write one of HTTP, HTTPS, GRPC, HTTP2, MONGO, TCP, TLS");
        }
    }
    let bytes = |text: &String| Protocol::from_text(text).is_none_or(Protocol::is_tcp);
    let tcp = spec.ports.iter().position(|port| {
        bytes(&port.protocol) && !Protocol::from_text(&port.protocol).is_some_and(Protocol::is_tls)
    });
    if let Some(index) = tcp.filter(|_| spec.addresses.is_empty() && spec.hosts.len() > 1) {
        findings
            .warn(
                &path.index(index),
                "hosts that share a TCP port without addresses cannot be told apart",
            )
            .suggest("add addresses, or make one entry for each host");
    }
}

fn resolution(spec: &ServiceEntry, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let at = path.field("resolution");
    let endpoints = path.field("endpoints");
    let has_endpoints = !spec.endpoints.is_empty();
    match spec.resolution {
        Resolution::None if has_endpoints => {
            findings
                .error(&endpoints, "resolution NONE takes no endpoints")
                .suggest("set resolution: STATIC or DNS");
        }
        Resolution::Static if !has_endpoints && spec.workload_selector.is_none() => {
            findings
                .error(&at, "resolution STATIC needs endpoints")
                .suggest("add endpoints or a workloadSelector");
        }
        Resolution::Dns | Resolution::DnsRoundRobin if !has_endpoints => {
            let wildcard = spec.hosts.iter().position(|host| host.starts_with('*'));
            if let Some(index) = wildcard {
                findings
                    .error(
                        &path.field("hosts").index(index),
                        "a wildcard host cannot be resolved by DNS",
                    )
                    .suggest("add endpoints, or use resolution NONE");
            }
        }
        Resolution::DnsRoundRobin if spec.endpoints.len() > 1 => {
            findings.error(&endpoints, "DNS_ROUND_ROBIN takes one endpoint at most");
        }
        Resolution::DynamicDns => {
            let message = "resolution DYNAMIC_DNS is not supported yet";
            findings.refuse_unsupported(&at, message);
        }
        _ => {}
    }
}

/// A WorkloadEntry, or an endpoint of a ServiceEntry. `named`: its address may be a
/// name, because the service is resolved by DNS or because that is not known here.
pub(super) fn validate_workload(
    spec: &WorkloadEntry,
    named: bool,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) {
    let at = path.field("address");
    match spec.address.strip_prefix("unix://") {
        Some(socket) => {
            findings.refuse_unsupported(&at, "unix sockets are not supported yet");
            if !socket.starts_with('/') {
                findings.error(&at, format!("\"{socket}\" is not an absolute path"));
            }
            if !spec.ports.is_empty() {
                findings.error(&path.field("ports"), "a unix socket has no ports");
            }
        }
        None if spec.address.is_empty() => {
            if spec.network.is_empty() {
                findings.error(&at, "the address is required");
            } else {
                let message = "endpoints behind the gateway of another network are not \
                               supported yet: the endpoint is left out";
                findings.without_effect(&at, message);
            }
        }
        None if spec.address.parse::<IpAddr>().is_ok() => {}
        None if named => {
            if let Some(host) = rules::host(&spec.address, &at, findings)
                && host.is_wildcard()
            {
                findings.error(&at, "an endpoint cannot be a wildcard");
            }
        }
        None => {
            findings
                .error(&at, format!("\"{}\" is not an address", spec.address))
                .suggest("use an address, or resolution: DNS");
        }
    }
    for (name, number) in &spec.ports {
        rules::port(*number, &path.field("ports").field(name), findings);
    }
    rules::labels(&spec.labels, &path.field("labels"), findings);
}
