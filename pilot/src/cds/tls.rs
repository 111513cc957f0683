//! TLS towards a service: automatic in the mesh, or as the destination rule says.
//!
//! Automatic mutual TLS is decided for each endpoint: those that announce a sidecar
//! (`tlsMode: istio` in their metadata) get mesh TLS, the others plaintext.

use std::collections::BTreeSet;

use mesh_api::port::Protocol;
use mesh_api::traffic_policy::PortPolicy;
use mesh_api::traffic_policy::tls::{ClientCertificate, ClientTls, ClientTlsMode};
use xds::envoy::cluster::{Cluster, cluster as wire_cluster};
use xds::envoy::{core, tls as wire_tls};
use xds::structs;

use super::Inputs;
use crate::{names, tls, wire};

/// What a client of the mesh offers: HTTP is known to be HTTP at the other end, so that policies
/// for requests apply there even where the port's protocol was not declared.
///
/// Differs from Istio, whose proxy chooses per request by an extension that Envoy itself lacks.
const ALPN_HTTP: [&str; 2] = ["istio-http/1.1", "istio"];
const ALPN_HTTP2: [&str; 3] = ["istio-h2", "istio", "h2"];
const ALPN_TCP: [&str; 2] = ["istio-peer-exchange", "istio"];

/// Applies a policy's TLS.
pub(super) fn apply(cluster: &mut Cluster, inputs: &Inputs, policy: &PortPolicy) {
    match &policy.tls {
        Some(settings) => cluster.transport_socket = explicit(inputs, settings),
        None if is_automatic(cluster, inputs) => {
            cluster.transport_socket_matches = automatic(inputs);
        }
        None => {}
    }
}

fn is_automatic(cluster: &Cluster, inputs: &Inputs) -> bool {
    let original_dst = wire_cluster::DiscoveryType::OriginalDst;
    // An address that the client chose tells nothing about sidecars.
    let known = cluster.cluster_discovery_type
        != Some(wire_cluster::ClusterDiscoveryType::Type(
            original_dst.into(),
        ));
    known && inputs.mesh.enable_auto_mtls && !inputs.service.mesh_external && !inputs.mtls_disabled
}

fn automatic(inputs: &Inputs) -> Vec<wire_cluster::TransportSocketMatch> {
    let mesh = tls::socket(&tls::mutual_client(
        alpn(inputs),
        &mesh_sni(inputs),
        &identities(inputs),
    ));
    vec![
        wire_cluster::TransportSocketMatch {
            name: "tlsMode-istio".to_owned(),
            r#match: Some(structs::object([("tlsMode", structs::string("istio"))])),
            transport_socket: Some(mesh),
        },
        wire_cluster::TransportSocketMatch {
            name: "tlsMode-disabled".to_owned(),
            r#match: Some(Default::default()),
            transport_socket: Some(tls::plaintext_socket()),
        },
    ]
}

fn explicit(inputs: &Inputs, settings: &ClientTls) -> Option<core::TransportSocket> {
    match &settings.mode {
        ClientTlsMode::Disable => None,
        ClientTlsMode::IstioMutual => {
            let sni = settings
                .sni
                .as_deref()
                .map_or_else(|| mesh_sni(inputs), ToOwned::to_owned);
            let names = settings
                .subject_alt_names
                .iter()
                .map(ToString::to_string)
                .collect();
            let names: Vec<String> = if settings.subject_alt_names.is_empty() {
                identities(inputs)
            } else {
                names
            };
            Some(tls::socket(&tls::mutual_client(alpn(inputs), &sni, &names)))
        }
        ClientTlsMode::Simple {
            ca_certificates,
            credential,
        } => {
            let trust = Trust::of(ca_certificates.as_deref(), credential.as_deref());
            Some(tls::socket(&client_context(inputs, settings, &trust, None)))
        }
        ClientTlsMode::Mutual(certificate) => {
            let trust = match certificate {
                ClientCertificate::Credential(name) => Trust::Credential(name),
                ClientCertificate::Files {
                    ca_certificates, ..
                } => Trust::of(ca_certificates.as_deref(), None),
            };
            Some(tls::socket(&client_context(
                inputs,
                settings,
                &trust,
                Some(certificate),
            )))
        }
    }
}

/// Where the trust anchors are.
enum Trust<'a> {
    File(&'a str),
    Credential(&'a str),
    System,
}

impl<'a> Trust<'a> {
    fn of(file: Option<&'a str>, credential: Option<&'a str>) -> Self {
        match (credential, file) {
            (Some(name), _) => Self::Credential(name),
            (None, Some(path)) => Self::File(path),
            (None, None) => Self::System,
        }
    }
}

fn client_context(
    inputs: &Inputs,
    settings: &ClientTls,
    trust: &Trust<'_>,
    certificate: Option<&ClientCertificate>,
) -> wire_tls::UpstreamTlsContext {
    let mut common = wire_tls::CommonTlsContext {
        tls_params: Some(tls::mesh_parameters()),
        alpn_protocols: external_alpn(inputs)
            .iter()
            .map(ToString::to_string)
            .collect(),
        validation_context_type: validation(inputs, settings, trust),
        ..Default::default()
    };
    match certificate {
        Some(ClientCertificate::Credential(name)) => {
            let secret = tls::ads_secret(&tls::credential_resource(name));
            common.tls_certificate_sds_secret_configs = vec![secret];
        }
        Some(ClientCertificate::Files {
            certificate,
            private_key,
            ..
        }) => {
            common.tls_certificates = vec![wire_tls::TlsCertificate {
                certificate_chain: Some(wire::file(certificate)),
                private_key: Some(wire::file(private_key)),
                ..Default::default()
            }];
        }
        None => {}
    }
    // Without a name of its own, the request's host is the server's name.
    let sni = settings.sni.as_deref().unwrap_or_default().to_owned();
    wire_tls::UpstreamTlsContext {
        auto_host_sni: sni.is_empty(),
        sni,
        common_tls_context: Some(common),
        ..Default::default()
    }
}

fn validation(
    inputs: &Inputs,
    settings: &ClientTls,
    trust: &Trust<'_>,
) -> Option<wire_tls::common_tls_context::ValidationContextType> {
    use wire_tls::common_tls_context::ValidationContextType;
    if settings.insecure_skip_verify {
        return None;
    }
    let names: Vec<_> = if settings.subject_alt_names.is_empty() {
        inputs
            .service
            .subject_alt_names
            .iter()
            .map(|name| wire::exact(name))
            .collect()
    } else {
        settings
            .subject_alt_names
            .iter()
            .map(|name| wire::exact(name))
            .collect()
    };
    let mut context = wire_tls::CertificateValidationContext {
        match_typed_subject_alt_names: tls::subject_matchers(names),
        ..Default::default()
    };
    match trust {
        Trust::Credential(name) => {
            let secret = tls::ads_secret(&tls::credential_ca_resource(name));
            return Some(tls::combined(secret, context));
        }
        Trust::File(path) => context.trusted_ca = Some(wire::file(path)),
        Trust::System => context.system_root_certs = Some(Default::default()),
    }
    Some(ValidationContextType::ValidationContext(context))
}

fn alpn(inputs: &Inputs) -> &'static [&'static str] {
    match inputs.service_port().map(|port| port.protocol) {
        Some(protocol) if protocol.is_http2() => &ALPN_HTTP2,
        Some(protocol) if protocol.is_http() => &ALPN_HTTP,
        _ => &ALPN_TCP,
    }
}

fn external_alpn(inputs: &Inputs) -> &'static [&'static str] {
    match inputs.service_port().map(|port| port.protocol) {
        Some(protocol) if protocol.is_http2() => &["h2"],
        Some(Protocol::Http | Protocol::GrpcWeb) => &["http/1.1"],
        _ => &[],
    }
}

fn mesh_sni(inputs: &Inputs) -> String {
    names::sni(inputs.port, inputs.subset_name(), &inputs.service.hostname)
}

/// Who may answer for the service.
fn identities(inputs: &Inputs) -> Vec<String> {
    let service = &inputs.service;
    let accounts = service.service_accounts.iter().flat_map(|account| {
        let aliases = inputs.mesh.trust_domain_aliases.iter().map(move |alias| {
            format!(
                "spiffe://{alias}/ns/{}/sa/{}",
                account.namespace, account.service_account
            )
        });
        std::iter::once(account.to_string()).chain(aliases)
    });
    let names = service.subject_alt_names.iter().map(ToString::to_string);
    accounts
        .chain(names)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}
