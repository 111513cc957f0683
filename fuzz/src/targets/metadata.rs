//! What peers say of themselves and of each other.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use http::{HeaderMap, HeaderValue};
use proxy::config::http::{ForwardClientCert, ForwardClientCertMode};
use proxy::config::listener::Direction;
use proxy::config::peer::Peer;
use proxy::http::xfcc::{XFCC, forward};
use proxy::telemetry::peer_metadata;
use proxy::telemetry::stream_info::{ConnectionInfo, PeerCertificate, TlsInfo};
use proxy::tls::peer::peer_certificate;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls_pki_types::CertificateDer;

use crate::target::{Outcome, Target, magnitude, outcome};

pub(super) static TARGETS: &[Target] = &[
    Target::new("xfcc", xfcc).dictionary(&[
        "By=",
        ";URI=spiffe://",
        ",",
        "\"",
        "\\",
        "\r\n",
        "CN=",
    ]),
    Target::new("peer-certificate", certificate).dictionary(&[
        "\u{55}\u{4}\u{3}",
        "\u{c}\u{1}\"",
        "\u{1e}\u{2}\u{0}a",
        "spiffe://",
        "\u{31}\u{0}",
    ]),
    Target::new("peer-metadata", peer_metadata)
        .seeds(peer_seeds)
        .dictionary(&[
            "WORKLOAD_NAME",
            "NAMESPACE",
            "LABELS",
            "CLUSTER_ID",
            "app",
            "==",
            ";",
        ]),
];

fn certificate(input: &[u8]) -> Outcome {
    let peer = peer_certificate(&CertificateDer::from(input));
    outcome((
        peer.uri_sans.len().min(4),
        peer.dns_sans.len().min(4),
        magnitude(peer.subject.len()),
        peer.subject.contains('+'),
        peer.subject.contains('\\'),
    ))
}

/// A header that nobody vouches for is never passed on, and whatever a certificate's subject is, the element for it
/// has the pairs that it should have.
fn xfcc(input: &[u8]) -> Outcome {
    let (received, subject) = input.split_at(input.len() / 2);
    let subject = subject_of(&String::from_utf8_lossy(subject));
    let mut outcomes = Vec::new();
    for mode in [
        ForwardClientCertMode::Sanitize,
        ForwardClientCertMode::ForwardOnly,
        ForwardClientCertMode::AppendForward,
        ForwardClientCertMode::SanitizeSet,
    ] {
        for mutual in [true, false] {
            let mut headers = HeaderMap::new();
            if let Ok(received) = HeaderValue::from_bytes(received) {
                headers.insert(XFCC, received);
            }
            let connection = connection(mutual, &subject);
            forward(&forwarding(mode), &connection, &mut headers);
            let left = headers.get_all(XFCC).iter().count();
            assert!(left <= 1, "{left} headers");
            assert!(mutual || left == 0, "kept without mutual TLS");
            let set = mode == ForwardClientCertMode::SanitizeSet;
            if let Some(value) = headers.get(XFCC).filter(|_| set) {
                assert_eq!(unquoted(value.as_bytes(), b','), 0, "{value:?}");
                assert_eq!(unquoted(value.as_bytes(), b';'), 2, "{value:?}");
            }
            outcomes.push(left);
        }
    }
    outcome((outcomes, magnitude(subject.len())))
}

/// The subject of a certificate with this common name, as the proxy reads it.
fn subject_of(common_name: &str) -> Box<str> {
    static KEY: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate().expect("a key"));
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    let certificate = params.self_signed(&*KEY).expect("any name can be signed");
    peer_certificate(certificate.der()).subject
}

/// How often a byte stands outside quotes.
fn unquoted(value: &[u8], wanted: u8) -> usize {
    let (mut quoted, mut escaped, mut count) = (false, false, 0);
    for &byte in value {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if byte == wanted && !quoted => count += 1,
            _ => {}
        }
    }
    count
}

fn forwarding(mode: ForwardClientCertMode) -> ForwardClientCert {
    ForwardClientCert {
        mode,
        subject: true,
        cert: false,
        chain: false,
        dns: false,
        uri: true,
    }
}

fn connection(mutual: bool, subject: &str) -> ConnectionInfo {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let peer = PeerCertificate {
        uri_sans: vec!["spiffe://c/ns/a/sa/a".into()],
        subject: subject.into(),
        ..PeerCertificate::default()
    };
    ConnectionInfo {
        id: 1,
        direction: Direction::Inbound,
        remote: address,
        direct_remote: address,
        local: address,
        original_destination: None,
        server_name: None,
        tls: Some(TlsInfo {
            peer: mutual.then_some(peer),
            local_uri_sans: vec!["spiffe://c/ns/b/sa/b".into()],
            ..TlsInfo::default()
        }),
        start: Instant::now(),
        filter_chain: Arc::from(""),
        buffer_limit_bytes: 1 << 20,
    }
}

fn peer_seeds() -> Vec<Vec<u8>> {
    let peer = Peer {
        workload: "reviews-v1".into(),
        namespace: "default".into(),
        canonical_name: "reviews".into(),
        canonical_revision: "v1".into(),
        app: "reviews".into(),
        version: "v1".into(),
        cluster: "east".into(),
    };
    vec![
        peer_metadata::to_struct_bytes(&peer),
        peer_metadata::to_header(&peer).into_bytes(),
        peer_metadata::to_id(&peer).into_bytes(),
    ]
}

/// A peer that was understood is understood again in what we would send for it.
fn peer_metadata(input: &[u8]) -> Outcome {
    let from_struct = peer_metadata::from_struct_bytes(input);
    let from_header = peer_metadata::from_header(input);
    for peer in [&from_struct, &from_header].into_iter().flatten() {
        let again = peer_metadata::from_header(peer_metadata::to_header(peer).as_bytes());
        assert_eq!(again.as_ref(), Some(peer));
    }
    let text = String::from_utf8_lossy(input);
    let from_endpoint = Peer::from_endpoint_metadata(&text);
    let namespace = Peer::namespace_of_identity(&text);
    let known = |peer: &Option<Peer>| {
        peer.as_ref().map(|peer| {
            let fields = [&peer.workload, &peer.namespace, &peer.app, &peer.version];
            fields.map(|field| field.is_empty())
        })
    };
    outcome((
        known(&from_struct),
        known(&from_header),
        known(&Some(from_endpoint)),
        namespace.is_some(),
    ))
}
