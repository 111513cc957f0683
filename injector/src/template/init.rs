//! The init container that sets up traffic capture: `weft-redirect` with the flags of `istio-iptables`.
//!
//! It alone has privileges, and it is gone before the application starts.

use serde_json::{Value, json};

use super::{Subject, container, env};
use crate::config::{INIT_CONTAINER, PROXY_UID};

/// Ports of the proxy itself that clients and Prometheus reach directly.
const OWN_PORTS: &str = "15090,15021";

pub(super) fn container(subject: &Subject<'_>) -> Value {
    let config = subject.config;
    let image = config.init_image.as_ref().unwrap_or(&config.image);
    let mut container = json!({
        "name": INIT_CONTAINER,
        "image": subject.annotations.or("sidecar.istio.io/proxyImage", image),
        "command": ["weft-redirect"],
        "args": args(subject),
        "resources": container::resources(subject),
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"]},
            "privileged": false,
            "readOnlyRootFilesystem": false,
            "runAsGroup": 0,
            "runAsNonRoot": false,
            "runAsUser": 0,
        },
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

fn args(subject: &Subject<'_>) -> Vec<String> {
    let (annotations, config) = (subject.annotations, subject.config);
    let traffic = |name: &str, default: &str| {
        let annotation = annotations.get(&format!("traffic.sidecar.istio.io/{name}"));
        annotation.unwrap_or(default).to_owned()
    };
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
    args.into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect()
}

fn excluded_inbound_ports(status_port: u16, excluded: &str) -> String {
    let status_port = (status_port != 0).then(|| status_port.to_string());
    let mut ports: Vec<&str> = OWN_PORTS.split(',').chain(status_port.as_deref()).collect();
    for port in excluded.split(',').map(str::trim) {
        if !port.is_empty() && !ports.contains(&port) {
            ports.push(port);
        }
    }
    ports.join(",")
}
