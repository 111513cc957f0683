//! Handshakes in memory against the served configuration.

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};

use super::*;
use crate::authenticate::mtls::PeerCertificate;
use crate::ca::{CaConfig, self_signed};
use crate::clock::Clock;
use crate::issue::{Issued, Lifetimes};
use crate::metrics::Metrics;

struct Fixture {
    ca: Arc<Ca>,
    serving: Arc<ServingTls>,
}

fn fixture() -> Fixture {
    let config = CaConfig {
        trust_domain: "cluster.local".parse().unwrap(),
        lifetimes: Lifetimes::default(),
        announcement: time::Duration::ZERO,
        clock: Clock::system(),
    };
    let files = self_signed::create("cluster.local", config.clock.now()).unwrap();
    let ca = Arc::new(Ca::new(config, "a test", files, Metrics::default()).unwrap());
    let options = ServingOptions {
        names: vec!["istiod.istio-system.svc".to_owned()],
        client_auth: ClientAuth::Optional,
        alpn: vec![b"h2".to_vec()],
    };
    let serving = Arc::new(ServingTls::new(ca.clone(), options).unwrap());
    Fixture { ca, serving }
}

fn client(roots: RootCertStore, own: Option<(Issued, KeyPair)>) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    match own {
        None => builder.with_no_client_auth(),
        Some((issued, key)) => {
            let key = PrivatePkcs8KeyDer::from(key.serialize_der());
            builder
                .with_client_auth_cert(issued.full_chain(), key.into())
                .unwrap()
        }
    }
}

/// Runs the handshake to its end and returns what the server knows of the client.
fn handshake(
    server: Arc<ServerConfig>,
    client: ClientConfig,
) -> Result<Option<PeerCertificate>, rustls::Error> {
    let name = ServerName::try_from("istiod.istio-system.svc").unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name)?;
    let mut server = ServerConnection::new(server)?;
    while client.is_handshaking() || server.is_handshaking() || server.wants_write() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    let certificates = server.peer_certificates();
    Ok(certificates.map(|chain| PeerCertificate::from_verified(&chain[0])))
}

fn workload(ca: &Ca) -> (Issued, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let identity = "spiffe://cluster.local/ns/shop/sa/cart".parse().unwrap();
    (ca.issue_workload(&identity, &key, None).unwrap(), key)
}

#[test]
fn a_client_may_come_with_or_without_a_certificate() {
    let Fixture { ca, serving } = fixture();
    let roots = || ca.trust_bundle().root_store();
    let anonymous = handshake(serving.current(), client(roots(), None)).unwrap();
    assert_eq!(anonymous, None);

    let known = client(roots(), Some(workload(&ca)));
    let peer = handshake(serving.current(), known).unwrap().unwrap();
    let identity = peer
        .identity(ca.trust_domain(), Clock::system().now())
        .unwrap();
    assert_eq!(
        identity.to_string(),
        "spiffe://cluster.local/ns/shop/sa/cart"
    );
}

#[test]
fn a_certificate_of_another_ca_ends_the_handshake() {
    let ours = fixture();
    let theirs = fixture();
    let stranger = client(
        ours.ca.trust_bundle().root_store(),
        Some(workload(&theirs.ca)),
    );
    handshake(ours.serving.current(), stranger).unwrap_err();
}

#[tokio::test]
async fn a_new_ca_means_a_new_configuration_under_the_new_root() {
    let Fixture { ca, serving } = fixture();
    let old = serving.current();
    let running = tokio::spawn(serving.clone().run());
    tokio::task::yield_now().await;
    let files = self_signed::create("example", OffsetDateTime::now_utc()).unwrap();
    ca.take_over("a test", files).unwrap();
    while Arc::ptr_eq(&old, &serving.current()) {
        tokio::task::yield_now().await;
    }
    let roots = ca.trust_bundle().root_store();
    handshake(serving.current(), client(roots, None)).unwrap();
    running.abort();
}

#[test]
fn renewal_is_planned_around_half_life() {
    let Fixture { serving, .. } = fixture();
    let planned = serving.until_half_life().as_secs_f64() / 3600.0;
    assert!((11.3..=12.7).contains(&planned), "{planned} hours");
}
