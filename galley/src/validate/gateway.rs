//! Rules of `Gateway`. Source: Istio `validation.ValidateGateway`.

use std::collections::BTreeSet;

use mesh_api::port::Protocol;

use super::{Findings, rules};
use crate::crd::gateway::{Gateway, Server, ServerTls, ServerTlsMode, TlsProtocol};
use crate::manifest::path::FieldPath;

const PROTOCOLS: &str = "HTTP, HTTPS, GRPC, GRPC-WEB, HTTP2, MONGO, TCP, TLS";

pub(super) fn validate(spec: &Gateway, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let servers = path.field("servers");
    if spec.servers.is_empty() {
        findings.error(&servers, "at least one server is required");
    }
    let selector = path.field("selector");
    rules::labels(&spec.selector, &selector, findings);
    if spec.selector.is_empty() {
        findings
            .warn(path, "without selector the gateway applies to every proxy")
            .suggest("add selector: {istio: ingressgateway}");
    }
    let mut names = BTreeSet::new();
    let mut port_names = BTreeSet::new();
    for (index, server) in spec.servers.iter().enumerate() {
        let at = servers.index(index);
        if !server.name.is_empty() && !names.insert(&server.name) {
            findings.error(
                &at.field("name"),
                format!("duplicate server \"{}\"", server.name),
            );
        }
        validate_server(server, &at, findings);
        let port_name = server.port.as_ref().map(|port| &port.name);
        if let Some(name) = port_name.filter(|name| !name.is_empty())
            && !port_names.insert(name)
        {
            findings
                .error(
                    &at.field("port").field("name"),
                    format!("duplicate port name \"{name}\""),
                )
                .suggest("give each server's port a name of its own");
        }
    }
}

fn validate_server(server: &Server, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let protocol = port(server, path, findings);
    hosts(&server.hosts, &path.field("hosts"), findings);
    if !server.bind.is_empty() && server.bind.parse::<std::net::IpAddr>().is_err() {
        let at = path.field("bind");
        if server.bind.starts_with('/') || server.bind.starts_with("unix:") {
            findings.refuse_unsupported(&at, "listening on a unix socket is not supported yet");
        } else {
            findings.error(&at, format!("\"{}\" is not an address", server.bind));
        }
    }
    if !server.default_endpoint.is_empty() {
        findings.not_supported(&path.field("defaultEndpoint"));
    }
    let at = path.field("tls");
    match (&server.tls, protocol) {
        (None, Some(protocol)) if protocol.is_tls() => {
            findings
                .error(&at, format!("a server for {protocol} needs TLS settings"))
                .suggest("add tls: {mode: SIMPLE, credentialName: NAME}");
        }
        (Some(tls), protocol) => {
            let secure = protocol.is_some_and(Protocol::is_tls);
            tls_settings(tls, secure, &at, findings);
        }
        _ => {}
    }
}

fn port(server: &Server, path: &FieldPath<'_>, findings: &mut Findings<'_>) -> Option<Protocol> {
    let path = path.field("port");
    let Some(port) = &server.port else {
        findings
            .error(&path, "the port is required")
            .suggest("add port: {number, name, protocol}");
        return None;
    };
    rules::port(port.number, &path.field("number"), findings);
    if port.name.is_empty() {
        findings.error(&path.field("name"), "the port needs a name");
    }
    if port.target_port != 0 {
        findings.warn(
            &path.field("targetPort"),
            "targetPort has no effect on a gateway",
        );
    }
    let protocol = Protocol::from_text(&port.protocol).filter(|p| *p != Protocol::Udp);
    if protocol.is_none() {
        let message = match port.protocol.as_str() {
            "" => "the protocol is required".to_owned(),
            other => format!("protocol \"{other}\" is not known"),
        };
        findings
            .error(&path.field("protocol"), message)
            .suggest(format!("write one of {PROTOCOLS}"));
    }
    protocol
}

fn hosts(hosts: &[String], path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    if hosts.is_empty() {
        findings
            .error(path, "at least one host is required")
            .suggest("write \"*\" for any host");
    }
    for (index, text) in hosts.iter().enumerate() {
        let at = path.index(index);
        let (namespace, host) = text.split_once('/').unwrap_or(("*", text));
        if !matches!(namespace, "*" | ".") && !rules::is_dns_label(namespace) {
            findings.error(
                &at,
                format!("\"{namespace}\" is not a namespace, \"*\" or \".\""),
            );
        }
        if let Some(host) = rules::host(host, &at, findings)
            && !host.as_str().contains('.')
            && !host.is_any()
        {
            let message = format!("short name \"{host}\" is not allowed on a gateway");
            findings
                .error(&at, message)
                .suggest("write the fully qualified name");
        }
    }
}

fn tls_settings(tls: &ServerTls, secure: bool, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    if !secure {
        let only_redirects = *tls
            == ServerTls {
                https_redirect: true,
                ..ServerTls::default()
            };
        if !only_redirects && *tls != ServerTls::default() {
            findings
                .error(
                    path,
                    "a plain-text server cannot have TLS settings besides httpsRedirect",
                )
                .suggest("use protocol HTTPS or TLS");
        }
        return;
    }
    if tls.https_redirect {
        findings.warn(
            &path.field("httpsRedirect"),
            "httpsRedirect works on HTTP servers only",
        );
    }
    if tls.mode == Some(ServerTlsMode::AutoPassthrough) {
        let message = "AUTO_PASSTHROUGH is not supported yet; use PASSTHROUGH with \
                       VirtualServices that name the hosts";
        findings.refuse_unsupported(&path.field("mode"), message);
    }
    versions(tls, path, findings);
    certificates(tls, path, findings);
    if !tls.credential_names.is_empty() {
        let message = "several credentials are not supported yet";
        findings.refuse_unsupported(&path.field("credentialNames"), message);
    }
    if !tls.tls_certificates.is_empty() {
        let message = "several certificates are not supported yet";
        findings.refuse_unsupported(&path.field("tlsCertificates"), message);
    }
    if !tls.ca_cert_credential_name.is_empty() {
        let message = "a separate secret for CA certificates is not supported yet";
        findings.refuse_unsupported(&path.field("caCertCredentialName"), message);
    }
    if !tls.ca_crl.is_empty() {
        let message = "revocation lists from files are not supported yet";
        findings.refuse_unsupported(&path.field("caCrl"), message);
    }
    if tls.insecure_skip_verify == Some(true) {
        let message = "accepting any client certificate is not supported yet";
        findings.refuse_unsupported(&path.field("insecureSkipVerify"), message);
    }
}

/// Istio's names go down to 1.0; this proxy's floor is 1.2.
fn versions(tls: &ServerTls, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let (min, max) = (tls.min_protocol_version, tls.max_protocol_version);
    if matches!(min, TlsProtocol::V1_0 | TlsProtocol::V1_1) {
        findings.warn(
            &path.field("minProtocolVersion"),
            "versions under TLS 1.2 are never negotiated",
        );
    }
    if matches!(max, TlsProtocol::V1_0 | TlsProtocol::V1_1) {
        findings.error(
            &path.field("maxProtocolVersion"),
            "versions under TLS 1.2 are not supported",
        );
    }
    if min == TlsProtocol::V1_3 && max == TlsProtocol::V1_2 {
        findings.error(path, "the lowest version is above the highest");
    }
}

/// What each mode needs and excludes.
fn certificates(tls: &ServerTls, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let mode = tls.mode.unwrap_or_default();
    let files = !tls.server_certificate.is_empty()
        || !tls.private_key.is_empty()
        || !tls.ca_certificates.is_empty();
    let credential = !tls.credential_name.is_empty();
    let own = matches!(
        mode,
        ServerTlsMode::Simple | ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual
    );
    if !own {
        if files || credential {
            findings
                .error(path, "this TLS mode takes no certificates")
                .suggest("use mode SIMPLE or MUTUAL to terminate TLS with them");
        }
        return;
    }
    if credential && files {
        findings.error(
            &path.field("credentialName"),
            "a credential and files exclude each other",
        );
    }
    if credential {
        return;
    }
    let several = !tls.credential_names.is_empty() || !tls.tls_certificates.is_empty();
    let mut needed = vec![
        ("serverCertificate", &tls.server_certificate),
        ("privateKey", &tls.private_key),
    ];
    if mode == ServerTlsMode::Mutual {
        needed.push(("caCertificates", &tls.ca_certificates));
    }
    for (field, value) in needed {
        if value.is_empty() && !several {
            findings
                .error(&path.field(field), format!("this TLS mode needs {field}"))
                .suggest("name the file, or a secret with credentialName");
        }
    }
}
