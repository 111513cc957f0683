//! Verification of a peer's certificate: chain, revocation, pins and subject alternative names.
//!
//! A mesh identity is the URI SAN, so host names are not compared unless a matcher or
//! `auto_sni_san_validation` asks for it; that is Envoy's behaviour as well. Chain building is webpki's.

use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme,
};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::san;
use super::secret::{Roots, Validation};
use crate::config::tls::san::SanMatcher;

/// Why a peer's certificate was refused, in Envoy's words where it has some.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("verify cert failed: {0}")]
    Chain(webpki::Error),
    #[error("verify cert failed: the certificate does not parse")]
    Malformed,
    #[error("verify cert failed: bad revocation list: {0}")]
    RevocationList(webpki::Error),
    #[error("verify cert failed: cert hash and spki")]
    Pin,
    #[error("verify cert failed: verify SAN list: {presented} matches none of {wanted}")]
    San { presented: String, wanted: String },
}

/// In which way a peer's certificate was not accepted, as counters tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerifyFailure {
    /// There was none.
    NoCertificate,
    /// It is malformed, not valid now, revoked, or of an unknown authority.
    Chain,
    /// No subject alternative name is accepted.
    San,
    /// It is none of those that are pinned.
    Pin,
}

impl VerifyFailure {
    /// `None` where a handshake failed for another reason.
    pub(super) fn of(error: &std::io::Error) -> Option<Self> {
        let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
        match error {
            rustls::Error::NoCertificatesPresented => Some(Self::NoCertificate),
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(other))) => {
                Some(match other.downcast_ref::<Refusal>() {
                    Some(Refusal::San { .. }) => Self::San,
                    Some(Refusal::Pin) => Self::Pin,
                    _ => Self::Chain,
                })
            }
            rustls::Error::InvalidCertificate(_) => Some(Self::Chain),
            _ => None,
        }
    }
}

/// Verifies certificates against one validation context. Serves both sides of TLS.
#[derive(Debug)]
pub(super) struct PeerVerifier {
    validation: Arc<Validation>,
    algorithms: WebPkiSupportedAlgorithms,
    /// Server side: a client must have a certificate.
    mandatory: bool,
    /// Client side: the server name must be among the DNS SANs (`auto_sni_san_validation`).
    match_server_name: bool,
}

impl PeerVerifier {
    pub(super) fn for_clients(
        validation: Arc<Validation>,
        algorithms: WebPkiSupportedAlgorithms,
        mandatory: bool,
    ) -> Self {
        Self {
            validation,
            algorithms,
            mandatory,
            match_server_name: false,
        }
    }

    pub(super) fn for_servers(
        validation: Arc<Validation>,
        algorithms: WebPkiSupportedAlgorithms,
        match_server_name: bool,
    ) -> Self {
        Self {
            validation,
            algorithms,
            mandatory: true,
            match_server_name,
        }
    }

    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: KeyUsage,
        server_name: Option<&ServerName<'_>>,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        if self.validation.accept_untrusted {
            return Ok(());
        }
        let (_, parsed) =
            X509Certificate::from_der(leaf).map_err(|_| refuse(Refusal::Malformed))?;
        if let Some(roots) = &self.validation.roots {
            self.verify_chain(
                leaf,
                intermediates,
                roots,
                usage,
                at(&parsed, now, &self.validation),
            )?;
        }
        self.verify_pins(leaf, &parsed)?;
        self.verify_names(&parsed, server_name)
    }

    fn verify_chain(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        roots: &Roots,
        usage: KeyUsage,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let certificate =
            EndEntityCert::try_from(leaf).map_err(|error| refuse(Refusal::Chain(error)))?;
        let lists = self
            .validation
            .crls
            .iter()
            .map(|der| webpki::BorrowedCertRevocationList::from_der(der).map(Into::into))
            .collect::<Result<Vec<webpki::CertRevocationList<'_>>, _>>()
            .map_err(|error| refuse(Refusal::RevocationList(error)))?;
        let lists: Vec<_> = lists.iter().collect();
        let revocation = webpki::RevocationOptionsBuilder::new(&lists)
            .ok()
            .map(|options| {
                let depth = if self.validation.only_leaf_crl {
                    webpki::RevocationCheckDepth::EndEntity
                } else {
                    webpki::RevocationCheckDepth::Chain
                };
                options.with_depth(depth).build()
            });
        certificate
            .verify_for_usage(
                self.algorithms.all,
                &roots.anchors,
                intermediates,
                now,
                usage,
                revocation,
                None,
            )
            .map(drop)
            .map_err(|error| match error {
                // The errors that have an alert of their own.
                webpki::Error::UnknownIssuer => CertificateError::UnknownIssuer.into(),
                webpki::Error::CertExpired { .. } => CertificateError::Expired.into(),
                webpki::Error::CertNotValidYet { .. } => CertificateError::NotValidYet.into(),
                webpki::Error::CertRevoked => CertificateError::Revoked.into(),
                other => refuse(Refusal::Chain(other)),
            })
    }

    /// `verify_certificate_spki` and `verify_certificate_hash`: one of either must match.
    fn verify_pins(
        &self,
        leaf: &CertificateDer<'_>,
        parsed: &X509Certificate<'_>,
    ) -> Result<(), rustls::Error> {
        let Validation {
            spki_sha256,
            certificate_sha256,
            ..
        } = &*self.validation;
        if spki_sha256.is_empty() && certificate_sha256.is_empty() {
            return Ok(());
        }
        let among = |pins: &[[u8; 32]], bytes: &[u8]| {
            let digest = digest::digest(&digest::SHA256, bytes);
            pins.iter().any(|pin| pin == digest.as_ref())
        };
        let matches = among(certificate_sha256, leaf)
            || among(spki_sha256, parsed.tbs_certificate.subject_pki.raw);
        if matches {
            Ok(())
        } else {
            Err(refuse(Refusal::Pin))
        }
    }

    fn verify_names(
        &self,
        parsed: &X509Certificate<'_>,
        server_name: Option<&ServerName<'_>>,
    ) -> Result<(), rustls::Error> {
        let sans = &self.validation.sans;
        let expected = match server_name {
            Some(ServerName::DnsName(name)) if self.match_server_name => {
                Some(SanMatcher::dns(name.as_ref()))
            }
            _ => None,
        };
        if sans.is_empty() && expected.is_none() {
            return Ok(());
        }
        let names = san::names(parsed);
        let listed = sans.is_empty() || sans.iter().any(|matcher| matcher.matches(&names));
        let named = expected.as_ref().is_none_or(|name| name.matches(&names));
        if listed && named {
            return Ok(());
        }
        let wanted: Vec<String> = sans
            .iter()
            .chain(&expected)
            .map(ToString::to_string)
            .collect();
        let presented = [names.uris.as_slice(), &names.dns].concat();
        Err(refuse(Refusal::San {
            presented: format!("[{}]", presented.join(", ")),
            wanted: format!("[{}]", wanted.join(", ")),
        }))
    }
}

/// The time to verify at: with `allow_expired_certificate`, not after the leaf's end.
fn at(parsed: &X509Certificate<'_>, now: UnixTime, validation: &Validation) -> UnixTime {
    let end = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or_default();
    if validation.allow_expired && end < now.as_secs() {
        return UnixTime::since_unix_epoch(std::time::Duration::from_secs(end));
    }
    now
}

fn refuse(refusal: Refusal) -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(refusal))).into()
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let usage = KeyUsage::server_auth();
        self.verify(end_entity, intermediates, usage, Some(server_name), now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Mesh peers have one certificate; naming our roots would only make every handshake larger.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.verify(
            end_entity,
            intermediates,
            KeyUsage::client_auth(),
            None,
            now,
        )?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
