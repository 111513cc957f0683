//! `tls`: how connections to a service are encrypted.

use mesh_api::traffic_policy::tls::{ClientCertificate, ClientTls, ClientTlsMode};

use crate::decode::jsonpb::wire_enum;
use crate::kinds::findings::Findings;
use crate::kinds::rules::{shared, some};
use crate::kinds::wire::wire;
use crate::manifest::path::FieldPath;

wire! {
    WireTls {
        /// DISABLE (default) is plain text, SIMPLE is TLS without client certificate, MUTUAL is TLS with a client
        /// certificate of one's own, ISTIO_MUTUAL is mutual TLS with the certificates of the mesh.
        mode: WireMode,
        /// File with the client certificate (PEM), for MUTUAL without credentialName.
        client_certificate: String,
        /// File with the private key (PEM) of the client certificate.
        private_key: String,
        /// File with the CA certificates (PEM) that the server is checked against. By default those of the system.
        ca_certificates: String,
        /// Not supported yet: file with a certificate revocation list.
        ca_crl: String,
        /// Name of the Secret with the client certificate, its key and the CA certificates, instead of files. For
        /// gateways, in their namespace.
        credential_name: String,
        /// Subject alternative names, of which the certificate of the server must have one. By default those of the
        /// ServiceEntry.
        subject_alt_names: Vec<String>,
        /// Server name (SNI) that is sent in the TLS handshake.
        sni: String,
        /// True to accept any certificate of the server. Excludes caCertificates and subjectAltNames.
        insecure_skip_verify: Option<bool>,
    }
}

wire_enum!(
    WireMode {
        #[default]
        Disable = "DISABLE" / 0,
        Simple = "SIMPLE" / 1,
        Mutual = "MUTUAL" / 2,
        IstioMutual = "ISTIO_MUTUAL" / 3,
    }
);

pub(super) fn read(wire: &WireTls, path: &FieldPath<'_>, findings: &mut Findings<'_>) -> ClientTls {
    certificates(wire, path, findings);
    let checks = !wire.ca_certificates.is_empty() || !wire.subject_alt_names.is_empty();
    if wire.insecure_skip_verify == Some(true) && checks {
        findings
            .error(
                &path.field("insecureSkipVerify"),
                "skipping verification excludes what is verified",
            )
            .suggest("leave out caCertificates and subjectAltNames");
    }
    if !wire.ca_crl.is_empty() {
        let message = "revocation lists from files are not supported yet";
        findings.refuse_unsupported(&path.field("caCrl"), message);
    }
    ClientTls {
        mode: mode(wire),
        subject_alt_names: shared(&wire.subject_alt_names),
        sni: some(&wire.sni),
        insecure_skip_verify: wire.insecure_skip_verify.unwrap_or(false),
    }
}

/// What each mode needs and excludes.
fn certificates(wire: &WireTls, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let files = !wire.client_certificate.is_empty()
        || !wire.private_key.is_empty()
        || !wire.ca_certificates.is_empty();
    let credential = !wire.credential_name.is_empty();
    if credential && files {
        findings.error(
            &path.field("credentialName"),
            "a credential and files exclude each other",
        );
    }
    match wire.mode {
        WireMode::Mutual if !credential => {
            for (field, value) in [
                ("clientCertificate", &wire.client_certificate),
                ("privateKey", &wire.private_key),
            ] {
                if value.is_empty() {
                    findings
                        .error(&path.field(field), format!("mode MUTUAL needs {field}"))
                        .suggest("name the file, or a secret with credentialName");
                }
            }
        }
        WireMode::IstioMutual if files || credential || !wire.ca_crl.is_empty() => {
            findings
                .error(path, "mode ISTIO_MUTUAL uses the mesh's own certificates")
                .suggest("leave certificates out, or use mode MUTUAL");
        }
        WireMode::Simple if !files && !credential && wire.insecure_skip_verify.is_none() => {
            findings.warn(
                path,
                "without caCertificates the server is checked against the system's roots",
            );
        }
        _ => {}
    }
}

fn mode(wire: &WireTls) -> ClientTlsMode {
    let ca_certificates = some(&wire.ca_certificates);
    match wire.mode {
        WireMode::Disable => ClientTlsMode::Disable,
        WireMode::IstioMutual => ClientTlsMode::IstioMutual,
        WireMode::Simple => ClientTlsMode::Simple {
            ca_certificates,
            credential: some(&wire.credential_name),
        },
        WireMode::Mutual => ClientTlsMode::Mutual(match some(&wire.credential_name) {
            Some(name) => ClientCertificate::Credential(name),
            None => ClientCertificate::Files {
                certificate: wire.client_certificate.as_str().into(),
                private_key: wire.private_key.as_str().into(),
                ca_certificates,
            },
        }),
    }
}
