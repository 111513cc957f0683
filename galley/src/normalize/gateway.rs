//! `Gateway`.

use mesh_api::gateway::{Gateway, Server, ServerCertificate, ServerHost, ServerTls, ServerTlsMode};
use mesh_api::labels::Selector;
use mesh_api::port::Protocol;
use mesh_api::traffic_policy::tls::TlsVersion;

use super::{Fault, Scope, labels, shared, some};
use crate::crd::gateway as wire;
use crate::manifest::path::FieldPath;

pub(super) fn normalize(spec: &wire::Gateway, scope: &Scope<'_>) -> Result<Gateway, Fault> {
    let root = FieldPath::ROOT;
    let path = root.field("spec");
    let list = path.field("servers");
    let servers = spec
        .servers
        .iter()
        .enumerate()
        .map(|(i, s)| server(s, &list.index(i), scope));
    Ok(Gateway {
        meta: scope.meta.clone(),
        selector: Selector::new(labels(&spec.selector)),
        pod_namespace: None,
        trusted_pods: None,
        servers: servers.collect::<Result<_, _>>()?,
    })
}

fn server(wire: &wire::Server, path: &FieldPath<'_>, scope: &Scope<'_>) -> Result<Server, Fault> {
    let port_path = path.field("port");
    let port = wire
        .port
        .as_ref()
        .ok_or_else(|| scope.fault(&port_path, "the port is required"))?;
    let protocol = Protocol::from_text(&port.protocol)
        .ok_or_else(|| scope.fault(&port_path, "the protocol is not known"))?;
    let bind = match wire.bind.as_str() {
        "" => None,
        text => Some(
            text.parse()
                .map_err(|error| scope.fault(&path.field("bind"), error))?,
        ),
    };
    let hosts = wire.hosts.iter().enumerate().map(|(index, text)| {
        let hosts = path.field("hosts");
        server_host(text, &hosts.index(index), scope)
    });
    Ok(Server {
        port: scope.port(port.number, &port_path.field("number"))?,
        port_name: port.name.as_str().into(),
        protocol,
        name: some(&wire.name),
        bind,
        hosts: hosts.collect::<Result<_, _>>()?,
        tls: wire.tls.as_ref().map(|tls| server_tls(tls, protocol)),
    })
}

/// `[namespace/]host`; without namespace any may bind.
fn server_host(text: &str, path: &FieldPath<'_>, scope: &Scope<'_>) -> Result<ServerHost, Fault> {
    let (namespace, host) = text.split_once('/').unwrap_or(("*", text));
    let namespace = match namespace {
        "*" => None,
        "." => Some(scope.meta.key.namespace.clone()),
        name => Some(name.into()),
    };
    let host = host.parse().map_err(|error| scope.fault(path, error))?;
    Ok(ServerHost { namespace, host })
}

fn server_tls(wire: &wire::ServerTls, protocol: Protocol) -> ServerTls {
    ServerTls {
        https_redirect: wire.https_redirect,
        mode: protocol.is_tls().then(|| mode(wire)),
        subject_alt_names: shared(&wire.subject_alt_names),
        verify_certificate_spki: shared(&wire.verify_certificate_spki),
        verify_certificate_hash: shared(&wire.verify_certificate_hash),
        min_version: match wire.min_protocol_version {
            wire::TlsProtocol::V1_3 => TlsVersion::V1_3,
            _ => TlsVersion::V1_2,
        },
        max_version: match wire.max_protocol_version {
            wire::TlsProtocol::V1_2 => TlsVersion::V1_2,
            _ => TlsVersion::V1_3,
        },
        cipher_suites: shared(&wire.cipher_suites),
    }
}

fn mode(wire: &wire::ServerTls) -> ServerTlsMode {
    let certificate = match some(&wire.credential_name) {
        Some(name) => ServerCertificate::Credential(name),
        None => ServerCertificate::Files {
            certificate: wire.server_certificate.as_str().into(),
            private_key: wire.private_key.as_str().into(),
            ca_certificates: some(&wire.ca_certificates),
        },
    };
    match wire.mode.unwrap_or_default() {
        wire::ServerTlsMode::Passthrough => ServerTlsMode::Passthrough,
        wire::ServerTlsMode::AutoPassthrough => ServerTlsMode::AutoPassthrough,
        wire::ServerTlsMode::IstioMutual => ServerTlsMode::IstioMutual,
        wire::ServerTlsMode::Simple => ServerTlsMode::Simple(certificate),
        wire::ServerTlsMode::Mutual => ServerTlsMode::Mutual(certificate),
        wire::ServerTlsMode::OptionalMutual => ServerTlsMode::OptionalMutual(certificate),
    }
}
