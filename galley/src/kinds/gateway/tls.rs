//! `servers[].tls`.

use mesh_api::gateway::{ServerCertificate, ServerTls, ServerTlsMode};
use mesh_api::traffic_policy::tls::TlsVersion;

use crate::decode::jsonpb::wire_enum;
use crate::kinds::findings::Findings;
use crate::kinds::rules::{shared, some};
use crate::kinds::wire::wire;
use crate::manifest::path::FieldPath;

wire! {
    WireTls {
        /// True to answer every plain HTTP request with a redirect (301) to HTTPS.
        https_redirect: bool,
        /// SIMPLE ends TLS here; MUTUAL also requires a client certificate, OPTIONAL_MUTUAL checks one if it is sent;
        /// ISTIO_MUTUAL is mutual TLS of the mesh. PASSTHROUGH (default) forwards TLS by server name (SNI) without
        /// ending it. AUTO_PASSTHROUGH is not supported yet.
        mode: Option<WireMode>,
        /// File with the certificate chain (PEM) in the gateway's container, instead of credentialName.
        server_certificate: String,
        /// File with the private key (PEM) of the certificate.
        private_key: String,
        /// File with the CA certificates (PEM) that client certificates are checked against.
        ca_certificates: String,
        /// Not supported yet: file with a certificate revocation list.
        ca_crl: String,
        /// Name of the Secret in the gateway's namespace with certificate, key and, for MUTUAL, CA certificates.
        credential_name: String,
        /// Not supported yet: several Secrets.
        credential_names: Vec<String>,
        /// Not supported yet: several certificates from files.
        tls_certificates: Vec<TlsCertificate>,
        /// Not supported yet: a Secret with the CA certificates alone.
        ca_cert_credential_name: String,
        /// Subject alternative names, of which a client certificate must have one. By default any is accepted.
        subject_alt_names: Vec<String>,
        /// SHA-256 hashes of public keys (SPKI, base64). A client certificate must match one of these or of
        /// verifyCertificateHash.
        verify_certificate_spki: Vec<String>,
        /// SHA-256 hashes of certificates (hex). A client certificate must match one of these or of
        /// verifyCertificateSpki.
        verify_certificate_hash: Vec<String>,
        /// Lowest version of TLS. By default TLSV1_2; lower ones are never negotiated.
        min_protocol_version: TlsProtocol,
        /// Highest version of TLS, TLSV1_2 or TLSV1_3 (default).
        max_protocol_version: TlsProtocol,
        /// Cipher suites of TLS 1.2, by OpenSSL's names. By default those of the proxy.
        cipher_suites: Vec<String>,
        /// Not supported yet: true to accept any client certificate.
        insecure_skip_verify: Option<bool>,
    }

    TlsCertificate {
        /// File with the certificate chain.
        server_certificate: String,
        /// File with the private key.
        private_key: String,
        /// File with the CA certificates.
        ca_certificates: String,
    }
}

wire_enum!(
    WireMode {
        #[default]
        Passthrough = "PASSTHROUGH" / 0,
        Simple = "SIMPLE" / 1,
        Mutual = "MUTUAL" / 2,
        AutoPassthrough = "AUTO_PASSTHROUGH" / 3,
        IstioMutual = "ISTIO_MUTUAL" / 4,
        OptionalMutual = "OPTIONAL_MUTUAL" / 5,
    }
);

wire_enum!(
    TlsProtocol {
        #[default]
        Auto = "TLS_AUTO" / 0,
        V1_0 = "TLSV1_0" / 1,
        V1_1 = "TLSV1_1" / 2,
        V1_2 = "TLSV1_2" / 3,
        V1_3 = "TLSV1_3" / 4,
    }
);

/// `secure`: the server speaks TLS, whoever ends it.
pub(super) fn read(
    wire: &WireTls,
    secure: bool,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> ServerTls {
    let mode = match secure {
        true => Some(secure_mode(wire, path, findings)),
        false => {
            plain_text(wire, path, findings);
            None
        }
    };
    ServerTls {
        https_redirect: wire.https_redirect,
        mode,
        subject_alt_names: shared(&wire.subject_alt_names),
        verify_certificate_spki: shared(&wire.verify_certificate_spki),
        verify_certificate_hash: shared(&wire.verify_certificate_hash),
        min_version: match wire.min_protocol_version {
            TlsProtocol::V1_3 => TlsVersion::V1_3,
            _ => TlsVersion::V1_2,
        },
        max_version: match wire.max_protocol_version {
            TlsProtocol::V1_2 => TlsVersion::V1_2,
            _ => TlsVersion::V1_3,
        },
        cipher_suites: shared(&wire.cipher_suites),
    }
}

fn plain_text(wire: &WireTls, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let only_redirects = WireTls {
        https_redirect: wire.https_redirect,
        ..WireTls::default()
    };
    if *wire != only_redirects {
        findings
            .error(
                path,
                "a plain-text server cannot have TLS settings besides httpsRedirect",
            )
            .suggest("use protocol HTTPS or TLS");
    }
}

fn secure_mode(wire: &WireTls, path: &FieldPath<'_>, findings: &mut Findings<'_>) -> ServerTlsMode {
    if wire.https_redirect {
        findings.warn(
            &path.field("httpsRedirect"),
            "httpsRedirect works on HTTP servers only",
        );
    }
    if wire.mode == Some(WireMode::AutoPassthrough) {
        let message = "AUTO_PASSTHROUGH is not supported yet; use PASSTHROUGH with \
                       VirtualServices that name the hosts";
        findings.refuse_unsupported(&path.field("mode"), message);
    }
    versions(wire, path, findings);
    let mode = mode(wire, path, findings);
    for (field, set, message) in [
        (
            "credentialNames",
            !wire.credential_names.is_empty(),
            "several credentials are not supported yet",
        ),
        (
            "tlsCertificates",
            !wire.tls_certificates.is_empty(),
            "several certificates are not supported yet",
        ),
        (
            "caCertCredentialName",
            !wire.ca_cert_credential_name.is_empty(),
            "a separate secret for CA certificates is not supported yet",
        ),
        (
            "caCrl",
            !wire.ca_crl.is_empty(),
            "revocation lists from files are not supported yet",
        ),
        (
            "insecureSkipVerify",
            wire.insecure_skip_verify == Some(true),
            "accepting any client certificate is not supported yet",
        ),
    ] {
        if set {
            findings.refuse_unsupported(&path.field(field), message);
        }
    }
    mode
}

/// Istio's names go down to 1.0; this proxy's floor is 1.2.
fn versions(wire: &WireTls, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let (min, max) = (wire.min_protocol_version, wire.max_protocol_version);
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

/// The mode with the certificates that it needs.
fn mode(wire: &WireTls, path: &FieldPath<'_>, findings: &mut Findings<'_>) -> ServerTlsMode {
    let mode = wire.mode.unwrap_or_default();
    match mode {
        WireMode::Simple | WireMode::Mutual | WireMode::OptionalMutual => {
            needs_certificates(wire, path, findings);
        }
        WireMode::Passthrough | WireMode::AutoPassthrough | WireMode::IstioMutual => {
            takes_no_certificates(wire, path, findings);
        }
    }
    match mode {
        WireMode::Passthrough => ServerTlsMode::Passthrough,
        WireMode::AutoPassthrough => ServerTlsMode::AutoPassthrough,
        WireMode::IstioMutual => ServerTlsMode::IstioMutual,
        WireMode::Simple => ServerTlsMode::Simple(certificate(wire)),
        WireMode::Mutual => ServerTlsMode::Mutual(certificate(wire)),
        WireMode::OptionalMutual => ServerTlsMode::OptionalMutual(certificate(wire)),
    }
}

fn certificate(wire: &WireTls) -> ServerCertificate {
    match some(&wire.credential_name) {
        Some(name) => ServerCertificate::Credential(name),
        None => ServerCertificate::Files {
            certificate: wire.server_certificate.as_str().into(),
            private_key: wire.private_key.as_str().into(),
            ca_certificates: some(&wire.ca_certificates),
        },
    }
}

fn has_files(wire: &WireTls) -> bool {
    !wire.server_certificate.is_empty()
        || !wire.private_key.is_empty()
        || !wire.ca_certificates.is_empty()
}

fn takes_no_certificates(wire: &WireTls, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    if has_files(wire) || !wire.credential_name.is_empty() {
        findings
            .error(path, "this TLS mode takes no certificates")
            .suggest("use mode SIMPLE or MUTUAL to terminate TLS with them");
    }
}

fn needs_certificates(wire: &WireTls, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    if !wire.credential_name.is_empty() {
        if has_files(wire) {
            findings.error(
                &path.field("credentialName"),
                "a credential and files exclude each other",
            );
        }
        return;
    }
    let several = !wire.credential_names.is_empty() || !wire.tls_certificates.is_empty();
    let mut needed = vec![
        ("serverCertificate", &wire.server_certificate),
        ("privateKey", &wire.private_key),
    ];
    if wire.mode == Some(WireMode::Mutual) {
        needed.push(("caCertificates", &wire.ca_certificates));
    }
    for (field, value) in needed {
        if value.is_empty() && !several {
            findings
                .error(&path.field(field), format!("this TLS mode needs {field}"))
                .suggest("name the file, or a secret with credentialName");
        }
    }
}
