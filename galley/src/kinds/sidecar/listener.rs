//! What entries of `ingress` and `egress` have in common.

use std::net::IpAddr;

use mesh_api::port::Protocol;

use crate::decode::jsonpb::wire_enum;
use crate::kinds::findings::Findings;
use crate::kinds::rules;
use crate::kinds::wire::Port;
use crate::manifest::path::FieldPath;

wire_enum!(
    CaptureMode {
        #[default]
        Default = "DEFAULT" / 0,
        Iptables = "IPTABLES" / 1,
        None = "NONE" / 2,
    }
);

/// The number, if it is right, and the protocol.
pub(super) fn port(
    port: &Port,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<(u16, Protocol)> {
    let number = rules::port(port.number, &path.field("number"), findings);
    let protocol = Protocol::from_text(&port.protocol);
    if !port.protocol.is_empty() && protocol.is_none() {
        let message = format!("protocol \"{}\" is not known", port.protocol);
        findings.error(&path.field("protocol"), message);
    }
    if port.target_port != 0 {
        findings.warn(&path.field("targetPort"), "targetPort has no effect here");
    }
    Some((number?, protocol.unwrap_or(Protocol::Auto)))
}

/// An address to listen on. No listener is bound for an entry, so one that is right has no effect.
pub(super) fn bind(text: &str, path: &FieldPath<'_>, findings: &mut Findings<'_>) -> Option<()> {
    if text.is_empty() {
        return Some(());
    }
    if text.parse::<IpAddr>().is_ok() {
        findings.not_supported(path);
        return Some(());
    }
    match text.strip_prefix("unix://") {
        Some(_) => {
            findings.refuse_unsupported(path, "listening on a unix socket is not supported yet");
        }
        None => {
            findings.error(path, format!("\"{text}\" is not an address"));
        }
    }
    None
}
