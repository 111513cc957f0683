//! What a finished handshake tells: session and certificates, for policies, headers and logs.

use std::borrow::Cow;
use std::fmt::Write as _;

use aws_lc_rs::digest;
use rustls::pki_types::CertificateDer;
use rustls::{CommonState, ProtocolVersion};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::X509Name;

use super::san;
use crate::config::connection::{PeerCertificate, TlsInfo};

/// The facts of a session. `local_uri_sans` are those of our own certificate.
pub(super) fn tls_info(session: &CommonState, local_uri_sans: Vec<Box<str>>) -> TlsInfo {
    TlsInfo {
        version: version(session.protocol_version()),
        cipher: session
            .negotiated_cipher_suite()
            .and_then(|suite| suite.suite().as_str())
            .map_or(Cow::Borrowed(""), Cow::Borrowed),
        alpn: session.alpn_protocol().map(Into::into),
        peer: session
            .peer_certificates()
            .and_then(|chain| chain.first())
            .map(peer_certificate),
        local_uri_sans,
    }
}

fn version(version: Option<ProtocolVersion>) -> &'static str {
    match version {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "",
    }
}

/// What is needed of a peer's certificate. One that cannot be read has no names.
pub fn peer_certificate(der: &CertificateDer<'_>) -> PeerCertificate {
    let mut peer = PeerCertificate {
        sha256_hex: hex(digest::digest(&digest::SHA256, der).as_ref()).into(),
        der: der.as_ref().into(),
        ..PeerCertificate::default()
    };
    if let Ok((_, certificate)) = X509Certificate::from_der(der) {
        let names = san::names(&certificate);
        peer.uri_sans = names.uris.iter().map(|&name| name.into()).collect();
        peer.dns_sans = names.dns.iter().map(|&name| name.into()).collect();
        peer.subject = rfc2253(certificate.subject()).into();
    }
    peer
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A distinguished name as RFC 2253 writes it: last attribute first, separated by commas, special characters
/// escaped (`CN=a,O=b`).
pub(super) fn rfc2253(name: &X509Name<'_>) -> String {
    let mut parts = Vec::new();
    for rdn in name.iter() {
        let attributes: Vec<String> = rdn
            .iter()
            .map(|attribute| {
                let oid = attribute.attr_type();
                let key =
                    x509_parser::objects::oid2abbrev(oid, x509_parser::objects::oid_registry())
                        .map_or_else(|_| oid.to_id_string(), ToOwned::to_owned);
                format!("{key}={}", escape(attribute.as_str().unwrap_or_default()))
            })
            .collect();
        parts.push(attributes.join("+"));
    }
    parts.reverse();
    parts.join(",")
}

fn escape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for (index, character) in value.char_indices() {
        let special = matches!(character, ',' | '+' | '"' | '\\' | '<' | '>' | ';');
        let leading = index == 0 && matches!(character, '#' | ' ');
        let trailing = index + 1 == value.len() && character == ' ';
        if special || leading || trailing {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped() {
        assert_eq!(escape("a,b"), "a\\,b");
        assert_eq!(escape(" x "), "\\ x\\ ");
        assert_eq!(escape("#1"), "\\#1");
    }

    #[test]
    fn a_name_is_written_last_attribute_first() {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(rcgen::DnType::OrganizationName, "Weft, Inc");
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "a");
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let (_, parsed) = X509Certificate::from_der(certificate.der()).unwrap();
        assert_eq!(rfc2253(parsed.subject()), "CN=a,O=Weft\\, Inc");
    }
}
