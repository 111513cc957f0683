//! Traffic capture: the init container that sets it up, or, where a CNI plugin has, the one that checks it; both are
//! `weft-redirect` with the flags of `istio-iptables`.
//!
//! The one that sets it up alone has privileges, and it is gone before the application starts. The plugin knows what
//! to capture from annotations, into which the operator's defaults are written for it.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::{Subject, container, env};
use crate::config::{INIT_CONTAINER, PROXY_UID, VALIDATION_CONTAINER};

/// Ports of the proxy itself that clients and Prometheus reach directly.
const OWN_PORTS: &str = "15090,15021";

pub(super) fn container(subject: &Subject<'_>) -> Value {
    let config = subject.config;
    let (name, security_context) = match config.cni {
        true => (VALIDATION_CONTAINER, unprivileged()),
        false => (INIT_CONTAINER, privileged()),
    };
    let mut container = json!({
        "name": name,
        "image": image(subject),
        "command": ["weft-redirect"],
        "args": args(subject),
        "resources": container::resources(subject),
        "securityContext": security_context,
    });
    container::set_seccomp_profile(&mut container["securityContext"], subject);
    let env = env::proxy_metadata(subject);
    if !env.is_empty() {
        container["env"] = Value::Array(env);
    }
    if let Some(policy) = &config.image_pull_policy {
        container["imagePullPolicy"] = policy.clone().into();
    }
    container
}

/// The image of what comes before the proxy.
pub(super) fn image<'a>(subject: &'a Subject<'_>) -> &'a str {
    let config = subject.config;
    let image = config.init_image.as_ref().unwrap_or(&config.image);
    subject.annotations.or("sidecar.istio.io/proxyImage", image)
}

fn privileged() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "capabilities": {"add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"]},
        "privileged": false,
        "readOnlyRootFilesystem": false,
        "runAsGroup": 0,
        "runAsNonRoot": false,
        "runAsUser": 0,
    })
}

fn unprivileged() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
        "privileged": false,
        "readOnlyRootFilesystem": true,
        "runAsGroup": PROXY_UID,
        "runAsNonRoot": true,
        "runAsUser": PROXY_UID,
    })
}

/// What the CNI plugin reads, as Istio writes it: for each annotation the author's value, or the operator's.
pub(super) fn annotations(subject: &Subject<'_>) -> Map<String, Value> {
    let (annotations, config) = (subject.annotations, subject.config);
    let mut found = Map::new();
    found.insert(
        "sidecar.istio.io/interceptionMode".into(),
        annotations.interception_mode.as_str().into(),
    );
    let mut write = |name: &str, value: String| {
        found.insert(format!("traffic.sidecar.istio.io/{name}"), value.into());
    };
    // Without these two the plugin captures everything, and an empty list means nothing at all.
    for (name, default) in [
        (
            "includeOutboundIPRanges",
            &config.include_outbound_ip_ranges,
        ),
        ("includeInboundPorts", &config.include_inbound_ports),
    ] {
        write(name, traffic(subject, name, default));
    }
    for (name, default) in [
        (
            "excludeOutboundIPRanges",
            &config.exclude_outbound_ip_ranges,
        ),
        ("includeOutboundPorts", &config.include_outbound_ports),
        ("excludeOutboundPorts", &config.exclude_outbound_ports),
    ] {
        let value = traffic(subject, name, default);
        if !value.is_empty() {
            write(name, value);
        }
    }
    let excluded = traffic(
        subject,
        "excludeInboundPorts",
        &config.exclude_inbound_ports,
    );
    let status_port = Some(annotations.status_port).filter(|port| *port != 0);
    let status_port = status_port.map(|port| port.to_string());
    let excluded = ports(status_port.as_deref(), &excluded);
    if !excluded.is_empty() {
        write("excludeInboundPorts", excluded);
    }
    found
}

fn args(subject: &Subject<'_>) -> Vec<String> {
    let (annotations, config) = (subject.annotations, subject.config);
    let traffic = |name: &str, default: &str| traffic(subject, name, default);
    let excluded = traffic("excludeInboundPorts", &config.exclude_inbound_ports);
    let mut args = vec![
        ("-p", "15001".to_owned()),
        ("-z", "15006".to_owned()),
        ("-u", PROXY_UID.to_string()),
        ("-m", annotations.interception_mode.as_str().to_owned()),
        (
            "-i",
            traffic(
                "includeOutboundIPRanges",
                &config.include_outbound_ip_ranges,
            ),
        ),
        (
            "-x",
            traffic(
                "excludeOutboundIPRanges",
                &config.exclude_outbound_ip_ranges,
            ),
        ),
        (
            "-b",
            traffic("includeInboundPorts", &config.include_inbound_ports),
        ),
        (
            "-d",
            excluded_inbound_ports(annotations.status_port, &excluded),
        ),
    ];
    let reroute = annotations
        .get("istio.io/reroute-virtual-interfaces")
        .map_or_else(|| traffic("kubevirtInterfaces", ""), ToOwned::to_owned);
    let optional = [
        (
            "-q",
            traffic("includeOutboundPorts", &config.include_outbound_ports),
        ),
        (
            "-o",
            traffic("excludeOutboundPorts", &config.exclude_outbound_ports),
        ),
        ("-k", reroute),
        ("-c", traffic("excludeInterfaces", "")),
    ];
    args.extend(optional.into_iter().filter(|(_, value)| !value.is_empty()));
    let mut args: Vec<String> = args
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect();
    if config.cni {
        args.extend(["--run-validation", "--skip-rule-apply"].map(str::to_owned));
    }
    args
}

/// The annotation of the pod's author, or what the operator decided.
fn traffic(subject: &Subject<'_>, name: &str, default: &str) -> String {
    let name = format!("traffic.sidecar.istio.io/{name}");
    subject.annotations.or(&name, default).to_owned()
}

fn excluded_inbound_ports(status_port: u16, excluded: &str) -> String {
    let status_port = (status_port != 0).then(|| status_port.to_string());
    ports(OWN_PORTS.split(',').chain(status_port.as_deref()), excluded)
}

/// `own` ports, then those of `excluded` that are others.
fn ports<'a>(own: impl IntoIterator<Item = &'a str>, excluded: &'a str) -> String {
    let mut ports: Vec<&str> = own.into_iter().collect();
    let mut seen: HashSet<&str> = ports.iter().copied().collect();
    for port in excluded.split(',').map(str::trim) {
        if !port.is_empty() && seen.insert(port) {
            ports.push(port);
        }
    }
    ports.join(",")
}
