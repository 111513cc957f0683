//! `ports[]`.

use std::collections::BTreeSet;

use mesh_api::port::{Port as TargetNumber, Protocol, TargetPort};
use mesh_api::service::ServicePort;

use crate::kinds::findings::Findings;
use crate::kinds::rules::{self, each};
use crate::kinds::wire::Port;
use crate::manifest::path::FieldPath;

/// `can_be_told_apart`: the hosts by their addresses, or because there is only one.
pub(super) fn read(
    wire: &[Port],
    can_be_told_apart: bool,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<Vec<ServicePort>> {
    if wire.is_empty() {
        findings.warn(path, "without ports the entry matches no traffic");
    }
    let mut numbers = BTreeSet::new();
    let mut names = BTreeSet::new();
    let ports = each(wire, path, findings, |wire, at, findings| {
        let number = rules::port(wire.number, &at.field("number"), findings);
        if !numbers.insert(wire.number) {
            let message = format!("duplicate port {}", wire.number);
            findings.error(&at.field("number"), message);
        }
        if wire.name.is_empty() {
            findings.error(&at.field("name"), "the port needs a name");
        } else if !names.insert(&wire.name) {
            let message = format!("duplicate port name \"{}\"", wire.name);
            findings.error(&at.field("name"), message);
        }
        let target = match wire.target_port {
            0 => number,
            target => rules::port(target, &at.field("targetPort"), findings),
        };
        let protocol = protocol(wire, at, findings);
        Some(ServicePort {
            number: number?,
            name: wire.name.as_str().into(),
            protocol,
            target: TargetPort::Number(TargetNumber::new(target?)?),
        })
    });
    let is_plain_tcp = |port: &Port| {
        Protocol::from_text(&port.protocol)
            .is_none_or(|protocol| protocol.is_tcp() && !protocol.is_tls())
    };
    let tcp = wire.iter().position(is_plain_tcp);
    if let Some(index) = tcp.filter(|_| !can_be_told_apart) {
        findings
            .warn(
                &path.index(index),
                "hosts that share a TCP port without addresses cannot be told apart",
            )
            .suggest("add addresses, or make one entry for each host");
    }
    ports
}

fn protocol(wire: &Port, path: &FieldPath<'_>, findings: &mut Findings<'_>) -> Protocol {
    let protocol = Protocol::from_text(&wire.protocol);
    if protocol.is_none() && !wire.protocol.is_empty() {
        let message = format!("protocol \"{}\" is not known", wire.protocol);
        findings
            .error(&path.field("protocol"), message)
            .suggest("write one of HTTP, HTTPS, GRPC, HTTP2, MONGO, TCP, TLS");
    }
    protocol.unwrap_or(Protocol::Auto)
}
