//! TLS contexts (`envoy.extensions.transport_sockets.tls.v3`) from protobuf.

use xds::envoy::core::config_source::ConfigSourceSpecifier;
use xds::envoy::core::grpc_service::TargetSpecifier;
use xds::envoy::tls as proto;
use xds::envoy::tls::common_tls_context::ValidationContextType;
use xds::envoy::tls::tls_parameters::TlsProtocol;

use crate::config::error::{ConfigError, Within};
use crate::config::secret::SecretRef;
use crate::config::tls::{
    CertificateSource, ClientTls, CommonTls, ServerTls, TlsParameters, Validation,
};

mod san;
pub mod secret;

/// The cluster by which bootstraps of Istio name the agent's secret service.
pub const AGENT_CLUSTER: &str = "sds-grpc";

/// Translates TLS origination.
pub fn client(proto: &proto::UpstreamTlsContext) -> Result<ClientTls, ConfigError> {
    if proto.allow_renegotiation {
        return Err(ConfigError::unsupported(
            "allow_renegotiation",
            "renegotiation",
        ));
    }
    let context = proto.common_tls_context.clone().unwrap_or_default();
    Ok(ClientTls {
        sni: (!proto.sni.is_empty()).then(|| proto.sni.as_str().into()),
        auto_host_sni: proto.auto_host_sni,
        auto_sni_san_validation: proto.auto_sni_san_validation,
        common: common(&context).within("common_tls_context")?,
    })
}

/// Translates TLS termination.
pub fn server(proto: &proto::DownstreamTlsContext) -> Result<ServerTls, ConfigError> {
    let context = proto.common_tls_context.clone().unwrap_or_default();
    let required = proto.require_client_certificate;
    Ok(ServerTls {
        require_client_certificate: required.is_some_and(|required| required.value),
        require_sni: proto.require_sni.is_some_and(|required| required.value),
        common: common(&context).within("common_tls_context")?,
    })
}

fn common(proto: &proto::CommonTlsContext) -> Result<CommonTls, ConfigError> {
    refuse_unsupported(proto)?;
    let mut certificates = Vec::new();
    for (index, certificate) in proto.tls_certificates.iter().enumerate() {
        let pem = secret::certificate(certificate);
        let pem = pem.within(format_args!("tls_certificates[{index}]"))?;
        certificates.push(CertificateSource::Inline(pem));
    }
    for (index, sds) in proto.tls_certificate_sds_secret_configs.iter().enumerate() {
        let name =
            secret_ref(sds).within(format_args!("tls_certificate_sds_secret_configs[{index}]"))?;
        certificates.push(CertificateSource::Sds(name));
    }
    let (validation, validation_sds) = validation(proto.validation_context_type.as_ref())?;
    let params = proto.tls_params.clone().unwrap_or_default();
    Ok(CommonTls {
        certificates,
        validation,
        validation_sds,
        alpn: proto
            .alpn_protocols
            .iter()
            .map(|alpn| alpn.clone().into_bytes())
            .collect(),
        parameters: parameters(&params).within("tls_params")?,
    })
}

/// Which server has a secret: the agent of this process, the control plane (ADS), or the bootstrap's static
/// secrets, which go by their names alone.
fn secret_ref(sds: &proto::SdsSecretConfig) -> Result<SecretRef, ConfigError> {
    let secret = |from_agent| SecretRef {
        name: sds.name.as_str().into(),
        from_agent,
    };
    let specifier = sds
        .sds_config
        .as_ref()
        .and_then(|config| config.config_source_specifier.as_ref());
    match specifier {
        None | Some(ConfigSourceSpecifier::Ads(_) | ConfigSourceSpecifier::Self_(_)) => {
            Ok(secret(false))
        }
        Some(ConfigSourceSpecifier::ApiConfigSource(api)) => {
            let cluster = api.grpc_services.iter().find_map(|service| {
                match service.target_specifier.as_ref()? {
                    TargetSpecifier::EnvoyGrpc(grpc) => Some(grpc.cluster_name.as_str()),
                    TargetSpecifier::GoogleGrpc(_) => None,
                }
            });
            match cluster {
                Some(AGENT_CLUSTER) => Ok(secret(true)),
                other => Err(ConfigError::unsupported(
                    "sds_config.api_config_source",
                    format!(
                        "a secret service other than ADS and \"{AGENT_CLUSTER}\" ({})",
                        other.unwrap_or("no cluster")
                    ),
                )),
            }
        }
        Some(_) => Err(ConfigError::unsupported(
            "sds_config",
            "a secret file (path_config_source)",
        )),
    }
}

fn validation(
    proto: Option<&ValidationContextType>,
) -> Result<(Option<Validation>, Option<SecretRef>), ConfigError> {
    match proto {
        None => Ok((None, None)),
        Some(ValidationContextType::ValidationContext(context)) => {
            let context = secret::validation(context).within("validation_context")?;
            Ok((Some(context), None))
        }
        Some(ValidationContextType::ValidationContextSdsSecretConfig(sds)) => {
            let name = secret_ref(sds).within("validation_context_sds_secret_config")?;
            Ok((None, Some(name)))
        }
        Some(ValidationContextType::CombinedValidationContext(combined)) => {
            let field = "combined_validation_context";
            let default = combined.default_validation_context.as_ref();
            let default = default
                .map(secret::validation)
                .transpose()
                .within("default_validation_context")
                .within(field)?;
            let sds = combined.validation_context_sds_secret_config.as_ref();
            let sds = sds
                .map(secret_ref)
                .transpose()
                .within("validation_context_sds_secret_config")
                .within(field)?;
            Ok((default, sds))
        }
        Some(_) => Err(ConfigError::unsupported(
            "validation_context_type",
            "a certificate provider",
        )),
    }
}

fn refuse_unsupported(proto: &proto::CommonTlsContext) -> Result<(), ConfigError> {
    #[allow(deprecated)]
    let unsupported = [
        (
            proto.tls_certificate_provider_instance.is_some()
                || proto.tls_certificate_certificate_provider.is_some()
                || proto
                    .tls_certificate_certificate_provider_instance
                    .is_some(),
            "tls_certificate_provider_instance",
        ),
        (
            proto.custom_tls_certificate_selector.is_some(),
            "custom_tls_certificate_selector",
        ),
        (proto.custom_handshaker.is_some(), "custom_handshaker"),
        (proto.key_log.is_some(), "key_log"),
    ];
    match unsupported.iter().find(|(set, _)| *set) {
        Some((_, field)) => Err(ConfigError::unsupported(*field, "this field")),
        None => Ok(()),
    }
}

fn parameters(params: &proto::TlsParameters) -> Result<TlsParameters, ConfigError> {
    let min = params.tls_minimum_protocol_version();
    let max = params.tls_maximum_protocol_version();
    let old_only = matches!(max, TlsProtocol::TlSv10 | TlsProtocol::TlSv11);
    let tls12 = min != TlsProtocol::TlSv13 && !old_only;
    let tls13 = matches!(max, TlsProtocol::TlsAuto | TlsProtocol::TlSv13);
    if !tls12 && !tls13 {
        return Err(ConfigError::new(
            "tls_maximum_protocol_version",
            "allows no version from TLS 1.2 on",
        ));
    }
    let names = |names: &[String]| names.iter().map(|name| name.as_str().into()).collect();
    Ok(TlsParameters {
        tls12,
        tls13,
        cipher_suites: names(&params.cipher_suites),
        ecdh_curves: names(&params.ecdh_curves),
    })
}
