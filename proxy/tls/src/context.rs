//! What both sides of TLS have in common (`CommonTlsContext`).

use std::fmt;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::{CipherSuite, NamedGroup, SupportedCipherSuite, SupportedProtocolVersion, version};
use xds::envoy::core::config_source::ConfigSourceSpecifier;
use xds::envoy::core::grpc_service::TargetSpecifier;
use xds::envoy::tls as proto;
use xds::envoy::tls::common_tls_context::ValidationContextType;
use xds::envoy::tls::tls_parameters::TlsProtocol;

use super::secret::{Certificate, Validation};
use super::secret_store::Secrets;
use crate::config::secret::SecretRef;
use crate::error::{ConfigError, Within};

/// The cluster by which bootstraps of Istio name the agent's secret service.
pub const AGENT_CLUSTER: &str = "sds-grpc";

/// Why a TLS connection did not come about. The text goes into logs and `%UPSTREAM_TRANSPORT_FAILURE_REASON%`.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Secrets have not arrived yet, or were taken away.
    #[error("secret is not supplied by SDS: {0}")]
    NotReady(String),
    /// The handshake failed: on our side (the peer's certificate, say) or on the peer's.
    #[error("{0}")]
    Handshake(std::io::Error),
    /// The server name cannot be sent as SNI.
    #[error("\"{0}\" is not a valid server name")]
    ServerName(String),
    /// The time for the handshake was over.
    #[error("handshake timeout")]
    Timeout,
}

/// A certificate or where it comes from.
#[derive(Debug, Clone)]
enum CertificateSource {
    Inline(Arc<Certificate>),
    Sds(SecretRef),
}

/// The parts of a context before secrets are filled in.
#[derive(Debug)]
pub(super) struct Common {
    certificates: Vec<CertificateSource>,
    validation: Option<Validation>,
    validation_sds: Option<SecretRef>,
    pub(super) alpn: Vec<Vec<u8>>,
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) versions: Vec<&'static SupportedProtocolVersion>,
}

/// The secrets of a context, all present.
pub(super) struct Filled {
    pub(super) certificates: Vec<Arc<Certificate>>,
    /// `None` if the context verifies nobody.
    pub(super) validation: Option<Arc<Validation>>,
}

impl Common {
    pub(super) fn from_proto(proto: &proto::CommonTlsContext) -> Result<Self, ConfigError> {
        refuse_unsupported(proto)?;
        let mut certificates = Vec::new();
        for (index, certificate) in proto.tls_certificates.iter().enumerate() {
            let parsed = Certificate::from_proto(certificate)
                .within(format_args!("tls_certificates[{index}]"))?;
            certificates.push(CertificateSource::Inline(Arc::new(parsed)));
        }
        for (index, sds) in proto.tls_certificate_sds_secret_configs.iter().enumerate() {
            let name = secret_ref(sds)
                .within(format_args!("tls_certificate_sds_secret_configs[{index}]"))?;
            certificates.push(CertificateSource::Sds(name));
        }
        let (validation, validation_sds) = validation(proto.validation_context_type.as_ref())?;
        let params = proto.tls_params.clone().unwrap_or_default();
        let versions = versions(&params).within("tls_params")?;
        Ok(Self {
            certificates,
            validation,
            validation_sds,
            alpn: proto
                .alpn_protocols
                .iter()
                .map(|alpn| alpn.clone().into_bytes())
                .collect(),
            provider: Arc::new(provider(&params).within("tls_params")?),
            versions,
        })
    }

    pub(super) fn has_certificates(&self) -> bool {
        !self.certificates.is_empty()
    }

    pub(super) fn has_validation(&self) -> bool {
        self.validation.is_some() || self.validation_sds.is_some()
    }

    /// The names of secrets that arrive by SDS.
    pub(super) fn secret_refs(&self) -> Vec<SecretRef> {
        let certificates = self.certificates.iter().filter_map(|source| match source {
            CertificateSource::Sds(name) => Some(name.clone()),
            CertificateSource::Inline(_) => None,
        });
        certificates.chain(self.validation_sds.clone()).collect()
    }

    /// The context with its secrets, or the names of those that are missing.
    pub(super) fn fill(&self, secrets: &Secrets<'_>) -> Result<Filled, Missing> {
        let mut missing = Vec::new();
        let mut certificates = Vec::new();
        for source in &self.certificates {
            match source {
                CertificateSource::Inline(certificate) => certificates.push(certificate.clone()),
                CertificateSource::Sds(name) => match secrets.certificate(name) {
                    Some(certificate) => certificates.push(certificate),
                    None => missing.push(name.clone()),
                },
            }
        }
        let mut validation = self.validation.clone();
        if let Some(name) = &self.validation_sds {
            match secrets.validation(name) {
                Some(dynamic) => {
                    validation = Some(validation.unwrap_or_default().merged(&dynamic));
                }
                None => missing.push(name.clone()),
            }
        }
        if !missing.is_empty() {
            return Err(Missing(missing));
        }
        Ok(Filled {
            certificates,
            validation: validation.map(Arc::new),
        })
    }
}

/// Names of secrets that a context waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Missing(pub(super) Vec<SecretRef>);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.iter().map(|secret| &*secret.name).collect();
        f.write_str(&names.join(", "))
    }
}

/// Which server has a secret: the agent of this process, the control plane (ADS), or the bootstrap's static
/// secrets, which go by their names alone.
pub(crate) fn secret_ref(sds: &proto::SdsSecretConfig) -> Result<SecretRef, ConfigError> {
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
            let context = Validation::from_proto(context).within("validation_context")?;
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
                .map(Validation::from_proto)
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

fn versions(
    params: &proto::TlsParameters,
) -> Result<Vec<&'static SupportedProtocolVersion>, ConfigError> {
    let min = params.tls_minimum_protocol_version();
    let max = params.tls_maximum_protocol_version();
    let with_1_2 = min != TlsProtocol::TlSv13;
    let with_1_3 = matches!(max, TlsProtocol::TlsAuto | TlsProtocol::TlSv13);
    let old_only = matches!(max, TlsProtocol::TlSv10 | TlsProtocol::TlSv11);
    let mut versions = Vec::new();
    if with_1_3 {
        versions.push(&version::TLS13);
    }
    if with_1_2 && !old_only {
        versions.push(&version::TLS12);
    }
    if versions.is_empty() {
        return Err(ConfigError::new(
            "tls_maximum_protocol_version",
            "allows no version from TLS 1.2 on",
        ));
    }
    Ok(versions)
}

/// Cipher suites and key exchange groups.
///
/// Differs from Envoy: suites without forward secrecy and with CBC do not exist here; a list loses them and is
/// an error only if nothing is left of it.
fn provider(params: &proto::TlsParameters) -> Result<CryptoProvider, ConfigError> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    // AES-128 costs less than AES-256 and is what Envoy prefers as well.
    provider
        .cipher_suites
        .sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    if !params.cipher_suites.is_empty() {
        let wanted: Vec<CipherSuite> = params
            .cipher_suites
            .iter()
            .flat_map(|entry| entry.split(['[', ']', '|']))
            .filter_map(cipher_suite)
            .collect();
        // The list is about TLS 1.2; TLS 1.3 has only good suites, and Envoy does not let them be chosen.
        provider.cipher_suites.retain(|suite| {
            matches!(suite, SupportedCipherSuite::Tls13(_)) || wanted.contains(&suite.suite())
        });
        if wanted.is_empty() {
            return Err(ConfigError::new(
                "cipher_suites",
                "holds no suite that is supported",
            ));
        }
    }
    if !params.ecdh_curves.is_empty() {
        let wanted: Vec<NamedGroup> = params.ecdh_curves.iter().filter_map(|c| group(c)).collect();
        if wanted.is_empty() {
            return Err(ConfigError::new(
                "ecdh_curves",
                "holds no group that is supported",
            ));
        }
        let all = rustls::crypto::aws_lc_rs::ALL_KX_GROUPS;
        provider.kx_groups = wanted
            .iter()
            .filter_map(|name| all.iter().find(|group| group.name() == *name))
            .copied()
            .collect();
    }
    Ok(provider)
}

/// A suite by OpenSSL's name.
fn cipher_suite(name: &str) -> Option<CipherSuite> {
    Some(match name {
        "ECDHE-ECDSA-AES128-GCM-SHA256" => CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        "ECDHE-ECDSA-AES256-GCM-SHA384" => CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        "ECDHE-ECDSA-CHACHA20-POLY1305" => {
            CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        }
        "ECDHE-RSA-AES128-GCM-SHA256" => CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        "ECDHE-RSA-AES256-GCM-SHA384" => CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        "ECDHE-RSA-CHACHA20-POLY1305" => CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        _ => return None,
    })
}

fn group(name: &str) -> Option<NamedGroup> {
    Some(match name {
        "X25519" => NamedGroup::X25519,
        "P-256" => NamedGroup::secp256r1,
        "P-384" => NamedGroup::secp384r1,
        "X25519MLKEM768" => NamedGroup::X25519MLKEM768,
        _ => return None,
    })
}
