//! Rules of `Sidecar`. Source: Istio `validation.ValidateSidecar`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use mesh_api::port::Protocol;

use super::{Findings, rules, traffic_policy};
use crate::crd::Port;
use crate::crd::sidecar::{CaptureMode, Egress, Ingress, OutboundMode, Sidecar};
use crate::manifest::path::FieldPath;

pub(super) fn validate(spec: &Sidecar, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    if let Some(selector) = &spec.workload_selector {
        let at = path.field("workloadSelector");
        rules::labels(&selector.labels, &at.field("labels"), findings);
    }
    let mut ports = BTreeSet::new();
    for (index, listener) in spec.ingress.iter().enumerate() {
        let list = path.field("ingress");
        let at = list.index(index);
        ingress(listener, &at, findings);
        if let Some(port) = listener
            .port
            .as_ref()
            .filter(|port| !ports.insert(port.number))
        {
            findings.error(&at.field("port"), format!("duplicate port {}", port.number));
        }
    }
    for (index, listener) in spec.egress.iter().enumerate() {
        let list = path.field("egress");
        let at = list.index(index);
        egress(listener, &at, findings);
        if listener.port.is_none() && index + 1 < spec.egress.len() {
            findings
                .error(&at, "the listener without port must be the last one")
                .suggest("move it to the end of egress");
        }
    }
    if let Some(pool) = &spec.inbound_connection_pool {
        traffic_policy::connection_pool(pool, &path.field("inboundConnectionPool"), findings);
    }
    if let Some(policy) = &spec.outbound_traffic_policy {
        let at = path.field("outboundTrafficPolicy");
        if policy.egress_proxy.is_some() {
            findings.refuse_unsupported(
                &at.field("egressProxy"),
                "egress proxies are not supported yet",
            );
        }
        if policy.tls.is_some() {
            findings.not_supported(&at.field("tls"));
        }
        if policy.mode == OutboundMode::AllowAnyDynamicDns {
            let message = "ALLOW_ANY_DYNAMIC_DNS is not supported yet";
            findings.refuse_unsupported(&at.field("mode"), message);
        }
    }
}

fn ingress(listener: &Ingress, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let at = path.field("port");
    match &listener.port {
        Some(port_) => port(port_, &at, findings),
        None => {
            findings.error(&at, "the port is required");
        }
    }
    bind(&listener.bind, path, findings);
    bound(&listener.bind, path, findings);
    if listener.capture_mode == CaptureMode::None {
        let message = "captureMode NONE is not supported yet for ingress";
        findings.refuse_unsupported(&path.field("captureMode"), message);
    }
    default_endpoint(
        &listener.default_endpoint,
        &path.field("defaultEndpoint"),
        findings,
    );
    if listener.tls.is_some() {
        let message = "TLS settings of an ingress listener are not supported yet";
        findings.refuse_unsupported(&path.field("tls"), message);
    }
    if let Some(pool) = &listener.connection_pool {
        traffic_policy::connection_pool(pool, &path.field("connectionPool"), findings);
    }
}

/// A loopback or unspecified address with port, or a unix socket.
fn default_endpoint(text: &str, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    if text.is_empty() {
        return;
    }
    if text.starts_with("unix://") {
        findings.refuse_unsupported(path, "unix sockets are not supported yet");
        return;
    }
    let legal = ["127.0.0.1:", "0.0.0.0:", "[::1]:", "[::]:"]
        .iter()
        .any(|prefix| {
            text.strip_prefix(prefix)
                .is_some_and(|port| port.parse::<u16>().is_ok_and(|p| p > 0))
        });
    if !legal {
        findings
            .error(
                path,
                format!("\"{text}\" is not an endpoint of the workload itself"),
            )
            .suggest("write 127.0.0.1:PORT, or 0.0.0.0:PORT");
    }
}

fn egress(listener: &Egress, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    if let Some(port_) = &listener.port {
        port(port_, &path.field("port"), findings);
    }
    bind(&listener.bind, path, findings);
    bound(&listener.bind, path, findings);
    if listener.capture_mode != CaptureMode::Default {
        findings.not_supported(&path.field("captureMode"));
    }
    if listener.port.is_none() && !listener.bind.is_empty() {
        findings.error(&path.field("bind"), "bind needs a port");
    }
    let hosts = path.field("hosts");
    if listener.hosts.is_empty() {
        findings
            .error(&hosts, "at least one host is required")
            .suggest("write \"./*\" or \"*/*\"");
    }
    for (index, text) in listener.hosts.iter().enumerate() {
        let at = hosts.index(index);
        let Some((namespace, host)) = text.split_once('/') else {
            findings
                .error(&at, format!("\"{text}\" has no namespace"))
                .suggest(format!("write \"*/{text}\" or \"NAMESPACE/{text}\""));
            continue;
        };
        if namespace.len() > 1 && namespace.starts_with('~') {
            let message = "excluding hosts of a namespace is not supported yet";
            findings.refuse_unsupported(&at, message);
        } else if !matches!(namespace, "*" | "." | "~") && !rules::is_dns_label(namespace) {
            findings.error(
                &at,
                format!("\"{namespace}\" is not a namespace, \"*\", \".\" or \"~\""),
            );
        }
        rules::host(host, &at, findings);
    }
}

fn port(port: &Port, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    rules::port(port.number, &path.field("number"), findings);
    if !port.protocol.is_empty() && Protocol::from_text(&port.protocol).is_none() {
        let message = format!("protocol \"{}\" is not known", port.protocol);
        findings.error(&path.field("protocol"), message);
    }
    if port.target_port != 0 {
        findings.warn(&path.field("targetPort"), "targetPort has no effect here");
    }
}

/// No listener is bound for an entry.
fn bound(text: &str, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    if text.parse::<IpAddr>().is_ok() {
        findings.not_supported(&path.field("bind"));
    }
}

fn bind(text: &str, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    if text.is_empty() || text.parse::<IpAddr>().is_ok() {
        return;
    }
    let at = path.field("bind");
    match text.strip_prefix("unix://") {
        Some(_) => {
            findings.refuse_unsupported(&at, "listening on a unix socket is not supported yet")
        }
        None => {
            findings.error(&at, format!("\"{text}\" is not an address"));
        }
    }
}
