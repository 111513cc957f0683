//! `x-forwarded-client-cert`: who is on the other side of the mutual TLS that ended here
//! (<https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers#x-forwarded-client-cert>).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::{HeaderMap, HeaderName};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::headers::append;
use crate::config::http::{ForwardClientCert, ForwardClientCertMode};
use crate::telemetry::stream_info::{ConnectionInfo, PeerCertificate, TlsInfo};

/// `x-forwarded-client-cert`.
pub const XFCC: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

/// What is percent-encoded in `Cert`.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Brings the header in line with the configured mode.
pub fn forward(options: &ForwardClientCert, connection: &ConnectionInfo, headers: &mut HeaderMap) {
    let mode = options.mode;
    if mode == ForwardClientCertMode::AlwaysForwardOnly {
        return;
    }
    let tls = connection.tls.as_ref();
    let mutual = tls.and_then(|tls| Some((tls, tls.peer.as_ref()?)));
    let Some((tls, peer)) = mutual.filter(|_| mode != ForwardClientCertMode::Sanitize) else {
        headers.remove(XFCC);
        return;
    };
    if mode == ForwardClientCertMode::ForwardOnly {
        return;
    }
    let Ok(element) = HeaderValue::from_str(&element(options, tls, peer)) else {
        headers.remove(XFCC);
        return;
    };
    if mode == ForwardClientCertMode::AppendForward {
        append(headers, XFCC, element.as_bytes());
    } else {
        headers.insert(XFCC, element);
    }
}

/// This hop: `By=...;Hash=...;Subject="...";URI=...`.
fn element(options: &ForwardClientCert, tls: &TlsInfo, peer: &PeerCertificate) -> String {
    let mut pairs = Vec::with_capacity(6);
    if let Some(by) = tls.local_uri_sans.first() {
        pairs.push(format!("By={by}"));
    }
    if !peer.sha256_hex.is_empty() {
        pairs.push(format!("Hash={}", peer.sha256_hex));
    }
    if options.cert {
        pairs.push(format!("Cert=\"{}\"", url_encoded_pem(&peer.der)));
    }
    if options.subject {
        // RFC 2253 has escaped quotes and backslashes already: a further one would end the value here.
        pairs.push(format!("Subject=\"{}\"", peer.subject));
    }
    if options.uri {
        let none = [Box::from("")];
        let uris = match peer.uri_sans.as_slice() {
            [] => &none[..],
            uris => uris,
        };
        pairs.extend(uris.iter().map(|uri| format!("URI={uri}")));
    }
    if options.dns {
        pairs.extend(peer.dns_sans.iter().map(|dns| format!("DNS={dns}")));
    }
    pairs.join(";")
}

fn url_encoded_pem(der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in body.as_bytes().chunks(64) {
        pem.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    utf8_percent_encode(&pem, ESCAPED).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::config::listener::Direction;

    const OURS: &str = "By=spiffe://c/ns/b/sa/b;Hash=ab;Subject=\"CN=a\";URI=spiffe://c/ns/a/sa/a";

    fn connection(mutual: bool) -> ConnectionInfo {
        connection_of("CN=a", mutual)
    }

    fn connection_of(subject: &str, mutual: bool) -> ConnectionInfo {
        let peer = PeerCertificate {
            uri_sans: vec!["spiffe://c/ns/a/sa/a".into()],
            subject: subject.into(),
            sha256_hex: "ab".into(),
            ..PeerCertificate::default()
        };
        ConnectionInfo {
            buffer_limit_bytes: 1 << 20,
            id: 1,
            direction: Direction::Inbound,
            remote: "10.0.0.1:1".parse().unwrap(),
            direct_remote: "10.0.0.1:1".parse().unwrap(),
            local: "10.0.0.2:80".parse().unwrap(),
            original_destination: None,
            server_name: None,
            tls: Some(TlsInfo {
                peer: mutual.then_some(peer),
                local_uri_sans: vec!["spiffe://c/ns/b/sa/b".into()],
                ..TlsInfo::default()
            }),
            start: Instant::now(),
            filter_chain: "".into(),
        }
    }

    fn forwarded(
        mode: ForwardClientCertMode,
        mutual: bool,
        sent: Option<&'static str>,
    ) -> Option<String> {
        let options = ForwardClientCert {
            mode,
            subject: true,
            cert: false,
            chain: false,
            dns: true,
            uri: true,
        };
        let mut headers = HeaderMap::new();
        if let Some(sent) = sent {
            headers.insert(XFCC, HeaderValue::from_static(sent));
        }
        forward(&options, &connection(mutual), &mut headers);
        assert!(headers.get_all(XFCC).iter().count() < 2);
        headers.get(XFCC).map(|v| v.to_str().unwrap().to_owned())
    }

    /// Escaped twice, the quote would end the subject, and what follows it would be read as pairs of ours.
    #[test]
    fn a_subject_with_quotes_stays_within_its_own() {
        let options = ForwardClientCert {
            mode: ForwardClientCertMode::SanitizeSet,
            subject: true,
            cert: false,
            chain: false,
            dns: false,
            uri: false,
        };
        let mut headers = HeaderMap::new();
        let subject = r#"CN=a\"\;URI=spiffe://c/ns/admin/sa/admin"#;
        forward(&options, &connection_of(subject, true), &mut headers);
        assert_eq!(
            headers[XFCC],
            format!(r#"By=spiffe://c/ns/b/sa/b;Hash=ab;Subject="{subject}""#)
        );
    }

    #[test]
    fn modes() {
        use ForwardClientCertMode::*;
        let kept = Some("By=x".to_owned());
        for (mode, mutual, expected) in [
            (Sanitize, true, None),
            (Sanitize, false, None),
            (ForwardOnly, true, kept.clone()),
            (ForwardOnly, false, None),
            (AppendForward, true, Some(format!("By=x,{OURS}"))),
            (AppendForward, false, None),
            (SanitizeSet, true, Some(OURS.to_owned())),
            (SanitizeSet, false, None),
            (AlwaysForwardOnly, true, kept.clone()),
            (AlwaysForwardOnly, false, kept.clone()),
        ] {
            let forwarded = forwarded(mode, mutual, Some("By=x"));
            assert_eq!(forwarded, expected, "{mode:?} {mutual}");
        }
        assert_eq!(forwarded(AppendForward, true, None).as_deref(), Some(OURS));
    }
}
