//! Secrets (`envoy.extensions.transport_sockets.tls.v3.Secret`) from protobuf.

use xds::envoy::core::DataSource;
use xds::envoy::core::data_source::Specifier;
use xds::envoy::tls as proto;

use super::san;
use crate::config::error::{ConfigError, Within};
use crate::config::tls::{CertificatePem, RootsPem, Secret, Validation};

/// A secret as SDS or a bootstrap has it.
pub fn secret(secret: &proto::Secret) -> Result<Secret, ConfigError> {
    match &secret.r#type {
        Some(proto::secret::Type::TlsCertificate(proto)) => {
            let certificate = certificate(proto).within("tls_certificate")?;
            Ok(Secret::Certificate(certificate))
        }
        Some(proto::secret::Type::ValidationContext(context)) => {
            let context = validation(context).within("validation_context")?;
            Ok(Secret::Validation(context))
        }
        Some(proto::secret::Type::SessionTicketKeys(_)) => Err(ConfigError::unsupported(
            "session_ticket_keys",
            "session resumption",
        )),
        Some(proto::secret::Type::GenericSecret(_)) => Err(ConfigError::unsupported(
            "generic_secret",
            "a generic secret",
        )),
        None => Err(ConfigError::new("type", "the secret is empty")),
    }
}

pub(super) fn certificate(proto: &proto::TlsCertificate) -> Result<CertificatePem, ConfigError> {
    if proto.private_key_provider.is_some() {
        return Err(ConfigError::unsupported(
            "private_key_provider",
            "a private key provider",
        ));
    }
    if proto.password.is_some() {
        return Err(ConfigError::unsupported("password", "an encrypted key"));
    }
    if proto.watched_directory.is_some() {
        return Err(ConfigError::unsupported(
            "watched_directory",
            "reloading a certificate from a directory",
        ));
    }
    let chain = required(proto.certificate_chain.as_ref()).within("certificate_chain")?;
    let key = required(proto.private_key.as_ref()).within("private_key")?;
    let staple = proto.ocsp_staple.as_ref().map(read).transpose();
    Ok(CertificatePem {
        chain: chain.into(),
        key: key.into(),
        ocsp_staple: staple.within("ocsp_staple")?.map(Into::into),
    })
}

pub(super) fn validation(
    proto: &proto::CertificateValidationContext,
) -> Result<Validation, ConfigError> {
    refuse_unsupported(proto)?;
    let roots = match (&proto.trusted_ca, &proto.system_root_certs) {
        (Some(source), _) => Some(RootsPem::Pem(read(source).within("trusted_ca")?.into())),
        (None, Some(_)) => Some(RootsPem::System),
        (None, None) => None,
    };
    let crl = proto.crl.as_ref().map(read).transpose().within("crl")?;
    let untrusted =
        proto::certificate_validation_context::TrustChainVerification::AcceptUntrusted as i32;
    Ok(Validation {
        roots,
        sans: san::all(proto)?,
        spki_sha256: pins(&proto.verify_certificate_spki, pin_base64)
            .within("verify_certificate_spki")?,
        certificate_sha256: pins(&proto.verify_certificate_hash, pin_hex)
            .within("verify_certificate_hash")?,
        crl: crl.map(Into::into),
        only_leaf_crl: proto.only_verify_leaf_cert_crl,
        allow_expired: proto.allow_expired_certificate,
        accept_untrusted: proto.trust_chain_verification == untrusted,
    })
}

/// The bytes behind a `DataSource`.
fn read(source: &DataSource) -> Result<Vec<u8>, ConfigError> {
    if source.watched_directory.is_some() {
        return Err(ConfigError::unsupported(
            "watched_directory",
            "reloading from a directory",
        ));
    }
    match &source.specifier {
        Some(Specifier::InlineBytes(bytes)) => Ok(bytes.clone()),
        Some(Specifier::InlineString(text)) => Ok(text.clone().into_bytes()),
        Some(Specifier::Filename(path)) => read_file(path),
        Some(Specifier::EnvironmentVariable(name)) => std::env::var(name)
            .map(String::into_bytes)
            .map_err(|error| ConfigError::new("environment_variable", format!("{name}: {error}"))),
        None => Err(ConfigError::new("", "the data source is empty")),
    }
}

fn required(source: Option<&DataSource>) -> Result<Vec<u8>, ConfigError> {
    read(source.ok_or_else(|| ConfigError::new("", "is missing"))?)
}

fn read_file(path: &str) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path).map_err(|error| ConfigError::new("filename", format!("{path}: {error}")))
}

fn refuse_unsupported(proto: &proto::CertificateValidationContext) -> Result<(), ConfigError> {
    let unsupported = [
        (
            proto.ca_certificate_provider_instance.is_some(),
            "ca_certificate_provider_instance",
        ),
        (proto.watched_directory.is_some(), "watched_directory"),
        (
            proto.require_signed_certificate_timestamp.is_some(),
            "require_signed_certificate_timestamp",
        ),
        (
            proto.custom_validator_config.is_some(),
            "custom_validator_config",
        ),
        (proto.max_verify_depth.is_some(), "max_verify_depth"),
    ];
    match unsupported.iter().find(|(set, _)| *set) {
        Some((_, field)) => Err(ConfigError::unsupported(*field, "this field")),
        None => Ok(()),
    }
}

fn pins(
    texts: &[String],
    parse: impl Fn(&str) -> Option<[u8; 32]>,
) -> Result<Vec<[u8; 32]>, ConfigError> {
    let bad = |text: &str| ConfigError::new("", format!("\"{text}\" is not a SHA-256 digest"));
    texts
        .iter()
        .map(|text| parse(text).ok_or_else(|| bad(text)))
        .collect()
}

fn pin_base64(text: &str) -> Option<[u8; 32]> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(text)
        .ok()?;
    bytes.try_into().ok()
}

/// Hex, with or without colons.
fn pin_hex(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text.bytes().filter(|&b| b != b':').collect();
    let nibble = |b: u8| (b as char).to_digit(16);
    let bytes: Option<Vec<u8>> = digits
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => u8::try_from(nibble(*high)? * 16 + nibble(*low)?).ok(),
            _ => None,
        })
        .collect();
    bytes?.try_into().ok()
}
