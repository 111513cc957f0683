//! TLS contexts: mutual TLS of the mesh, and what gateways and destinations configure.
//!
//! Keys never pass through here: contexts name secrets, which the proxy's agent serves (`default`,
//! `ROOTCA`) or which [`crate::sds`] sends (`kubernetes://…`).

use mesh_api::mesh_config::MeshConfig;
use mesh_api::traffic_policy::tls::TlsVersion;
use xds::envoy::{core, tls};
use xds::prost::Name;

use crate::wire;

/// The workload's own certificate, from the agent.
pub(crate) const WORKLOAD_CERTIFICATE: &str = "default";
/// The mesh's trust anchors, from the agent.
pub(crate) const ROOT_CA: &str = "ROOTCA";
/// The cluster, static in every bootstrap, by which a proxy reaches its agent.
const AGENT_CLUSTER: &str = "sds-grpc";

/// What servers offer in ALPN for HTTP.
pub(crate) const ALPN_HTTP: [&str; 2] = ["h2", "http/1.1"];
/// What servers offer in ALPN where peers may exchange metadata on raw connections.
pub(crate) const ALPN_WITH_PEER_EXCHANGE: [&str; 3] = ["istio-peer-exchange", "h2", "http/1.1"];

/// A secret that the proxy's agent serves.
pub(crate) fn agent_secret(name: &str) -> tls::SdsSecretConfig {
    use core::grpc_service::{EnvoyGrpc, TargetSpecifier};
    let agent = core::GrpcService {
        target_specifier: Some(TargetSpecifier::EnvoyGrpc(EnvoyGrpc {
            cluster_name: AGENT_CLUSTER.to_owned(),
            ..Default::default()
        })),
        ..Default::default()
    };
    let api = core::ApiConfigSource {
        api_type: core::api_config_source::ApiType::Grpc.into(),
        transport_api_version: core::ApiVersion::V3.into(),
        set_node_on_first_message_only: true,
        grpc_services: vec![agent],
        ..Default::default()
    };
    tls::SdsSecretConfig {
        name: name.to_owned(),
        sds_config: Some(core::ConfigSource {
            resource_api_version: core::ApiVersion::V3.into(),
            initial_fetch_timeout: Some(wire::duration(std::time::Duration::ZERO)),
            config_source_specifier: Some(
                core::config_source::ConfigSourceSpecifier::ApiConfigSource(api),
            ),
            ..Default::default()
        }),
    }
}

/// A secret that comes over ADS.
///
/// Without the zero timeout of other sources: a secret that does not exist must not hold back a
/// whole listener.
pub(crate) fn ads_secret(name: &str) -> tls::SdsSecretConfig {
    let source = core::ConfigSource {
        initial_fetch_timeout: None,
        ..wire::ads()
    };
    tls::SdsSecretConfig {
        name: name.to_owned(),
        sds_config: Some(source),
    }
}

/// The name of a credential as a resource: `kubernetes://NAME`.
pub(crate) fn credential_resource(name: &str) -> String {
    if name.contains("://") {
        name.to_owned()
    } else {
        format!("kubernetes://{name}")
    }
}

/// The name under which a credential's CA certificates are served.
pub(crate) fn credential_ca_resource(name: &str) -> String {
    format!("{}-cacert", credential_resource(name))
}

/// A validation by trust anchors from `secret` and, unless empty, exact subject names.
pub(crate) fn validation(
    secret: tls::SdsSecretConfig,
    names: Vec<xds::envoy::matcher::StringMatcher>,
) -> tls::common_tls_context::ValidationContextType {
    let context = tls::CertificateValidationContext {
        match_typed_subject_alt_names: subject_matchers(names),
        ..Default::default()
    };
    combined(secret, context)
}

/// A validation by trust anchors from `secret` beside what `context` asks.
pub(crate) fn combined(
    secret: tls::SdsSecretConfig,
    context: tls::CertificateValidationContext,
) -> tls::common_tls_context::ValidationContextType {
    tls::common_tls_context::ValidationContextType::CombinedValidationContext(
        tls::common_tls_context::CombinedCertificateValidationContext {
            default_validation_context: Some(context),
            validation_context_sds_secret_config: Some(secret),
            ..Default::default()
        },
    )
}

/// Any kind of subject alternative name may match: SPIFFE identities are URIs, hosts are DNS
/// names.
///
/// Differs from Istio, which still sends the deprecated untyped field.
pub(crate) fn subject_matchers(
    names: Vec<xds::envoy::matcher::StringMatcher>,
) -> Vec<tls::SubjectAltNameMatcher> {
    use tls::subject_alt_name_matcher::SanType;
    names
        .into_iter()
        .flat_map(|name| {
            [SanType::Uri, SanType::Dns].map(|san_type| tls::SubjectAltNameMatcher {
                san_type: san_type.into(),
                matcher: Some(name.clone()),
                ..Default::default()
            })
        })
        .collect()
}

/// TLS 1.2 or better: the mesh's floor.
pub(crate) fn mesh_parameters() -> tls::TlsParameters {
    parameters_from(TlsVersion::V1_2)
}

fn parameters_from(min_version: TlsVersion) -> tls::TlsParameters {
    use tls::tls_parameters::TlsProtocol;
    let minimum = match min_version {
        TlsVersion::V1_2 => TlsProtocol::TlSv12,
        TlsVersion::V1_3 => TlsProtocol::TlSv13,
    };
    tls::TlsParameters {
        tls_minimum_protocol_version: minimum.into(),
        tls_maximum_protocol_version: TlsProtocol::TlSv13.into(),
        ..Default::default()
    }
}

/// The context of a server that ends mutual TLS of the mesh.
///
/// Clients must be of one of the trust domains. `min_version` is the mesh's (`meshMTLS.minProtocolVersion`), which
/// concerns servers alone, as in Istio.
pub(crate) fn mutual_server(
    alpn: &[&str],
    trust_domains: &[String],
    min_version: TlsVersion,
) -> tls::DownstreamTlsContext {
    let names = trust_domains
        .iter()
        .map(|domain| wire::prefix(&format!("spiffe://{domain}/")));
    tls::DownstreamTlsContext {
        require_client_certificate: Some(wire::boolean(true)),
        common_tls_context: Some(tls::CommonTlsContext {
            tls_params: Some(parameters_from(min_version)),
            alpn_protocols: alpn.iter().map(ToString::to_string).collect(),
            tls_certificate_sds_secret_configs: vec![agent_secret(WORKLOAD_CERTIFICATE)],
            validation_context_type: Some(validation(agent_secret(ROOT_CA), names.collect())),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The context of a client in the mesh: the server must be one of `identities`, unless that is
/// empty.
pub(crate) fn mutual_client(
    alpn: &[&str],
    sni: &str,
    identities: &[String],
) -> tls::UpstreamTlsContext {
    let names = identities
        .iter()
        .map(|identity| wire::exact(identity))
        .collect();
    tls::UpstreamTlsContext {
        sni: sni.to_owned(),
        common_tls_context: Some(tls::CommonTlsContext {
            tls_params: Some(mesh_parameters()),
            alpn_protocols: alpn.iter().map(ToString::to_string).collect(),
            tls_certificate_sds_secret_configs: vec![agent_secret(WORKLOAD_CERTIFICATE)],
            validation_context_type: Some(validation(agent_secret(ROOT_CA), names)),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The trust domains whose workloads are of the mesh, the own one first.
pub(crate) fn trust_domains(mesh: &MeshConfig) -> Vec<String> {
    let own = std::iter::once(&mesh.trust_domain);
    own.chain(&mesh.trust_domain_aliases)
        .map(ToString::to_string)
        .collect()
}

/// A TLS transport socket with this context.
pub(crate) fn socket<M: xds::prost::Message + Name>(context: &M) -> core::TransportSocket {
    wire::transport_socket("envoy.transport_sockets.tls", context)
}

/// The plaintext transport socket.
pub(crate) fn plaintext_socket() -> core::TransportSocket {
    wire::transport_socket(
        "envoy.transport_sockets.raw_buffer",
        &xds::envoy::raw_buffer::RawBuffer::default(),
    )
}
