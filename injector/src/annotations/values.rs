//! What the values of annotations must look like that are handed on as they are written.

use std::collections::BTreeMap;

use super::{AnnotationError, DATA_PLANE, error};

/// An annotation, what its values look like, and what to say of others.
type Check = (&'static str, fn(&str) -> bool, &'static str);

/// Checks every annotation that has a form.
pub(super) fn validate(raw: &BTreeMap<String, String>) -> Result<(), AnnotationError> {
    const CHECKS: [Check; 18] = [
        (
            "traffic.sidecar.istio.io/includeOutboundIPRanges",
            is_ranges_or_all,
            RANGES,
        ),
        (
            "traffic.sidecar.istio.io/excludeOutboundIPRanges",
            is_ranges,
            RANGES,
        ),
        (
            "traffic.sidecar.istio.io/includeInboundPorts",
            is_ports_or_all,
            PORTS,
        ),
        (
            "traffic.sidecar.istio.io/excludeInboundPorts",
            is_ports,
            PORTS,
        ),
        (
            "traffic.sidecar.istio.io/includeOutboundPorts",
            is_ports_or_all,
            PORTS,
        ),
        (
            "traffic.sidecar.istio.io/excludeOutboundPorts",
            is_ports,
            PORTS,
        ),
        (
            "traffic.sidecar.istio.io/excludeInterfaces",
            is_interfaces,
            INTERFACES,
        ),
        (
            "traffic.sidecar.istio.io/kubevirtInterfaces",
            is_interfaces,
            INTERFACES,
        ),
        (
            "istio.io/reroute-virtual-interfaces",
            is_interfaces,
            INTERFACES,
        ),
        (
            "readiness.status.sidecar.istio.io/initialDelaySeconds",
            is_u32,
            SECONDS,
        ),
        (
            "readiness.status.sidecar.istio.io/periodSeconds",
            is_u32,
            SECONDS,
        ),
        (
            "readiness.status.sidecar.istio.io/failureThreshold",
            is_u32,
            "is not a number",
        ),
        ("sidecar.istio.io/proxyCPU", is_quantity, QUANTITY),
        ("sidecar.istio.io/proxyCPULimit", is_quantity, QUANTITY),
        ("sidecar.istio.io/proxyMemory", is_quantity, QUANTITY),
        ("sidecar.istio.io/proxyMemoryLimit", is_quantity, QUANTITY),
        (DATA_PLANE, is_data_plane, "is not one of weft, envoy"),
        (
            "sidecar.istio.io/logLevel",
            is_filter,
            "is not a log filter",
        ),
    ];
    const RANGES: &str = "is not a list of CIDR ranges";
    const PORTS: &str = "is not a list of ports";
    const INTERFACES: &str = "is not a list of interface names";
    const SECONDS: &str = "is not a number of seconds";
    const QUANTITY: &str = "is not a quantity of resources";
    for (name, is_valid, reason) in CHECKS {
        if let Some(value) = raw.get(name).filter(|value| !is_valid(value)) {
            return Err(error(name, value, reason));
        }
    }
    Ok(())
}

fn entries(list: &str) -> impl Iterator<Item = &str> {
    list.split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
}

fn is_ranges(list: &str) -> bool {
    entries(list).all(|entry| {
        entry.parse::<ipnet::IpNet>().is_ok() || entry.parse::<std::net::IpAddr>().is_ok()
    })
}

fn is_ranges_or_all(list: &str) -> bool {
    list == "*" || is_ranges(list)
}

fn is_ports(list: &str) -> bool {
    entries(list).all(|entry| entry.parse::<u16>().is_ok())
}

fn is_ports_or_all(list: &str) -> bool {
    list == "*" || is_ports(list)
}

/// Linux' limit is 15 bytes without slash and space.
fn is_interfaces(list: &str) -> bool {
    entries(list).all(|name| {
        name.len() <= 15
            && name
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'/')
    })
}

fn is_u32(value: &str) -> bool {
    value.parse::<u32>().is_ok()
}

/// A decimal number with an optional SI or binary suffix, as `resource.Quantity`.
fn is_quantity(value: &str) -> bool {
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let suffixes = [
        "", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei",
    ];
    digits.parse::<f64>().is_ok_and(|number| number >= 0.0)
        && digits
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
        && suffixes.contains(&&value[digits.len()..])
}

/// A level or comma-separated directives; the proxy parses it in full.
fn is_filter(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_data_plane(value: &str) -> bool {
    matches!(value, "weft" | "envoy")
}
