//! The service as a caller sees it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kube::client::Body;
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tonic::Code;

use super::*;
use crate::authenticate::Tokens;
use crate::authenticate::token_review::TokenReviewer;
use crate::ca::{CaConfig, self_signed};
use crate::clock::Clock;
use crate::issue::Lifetimes;
use crate::metrics::Metrics;

fn service() -> CaService {
    service_with(Tokens::Refused)
}

fn service_with(tokens: Tokens) -> CaService {
    let config = CaConfig {
        trust_domain: "cluster.local".parse().unwrap(),
        lifetimes: Lifetimes::default(),
        announcement: time::Duration::ZERO,
        clock: Clock::system(),
    };
    let files = self_signed::create("cluster.local", config.clock.now()).unwrap();
    let ca = Arc::new(Ca::new(config, "a test", files, Metrics::default()).unwrap());
    let authenticator = Authenticator::new(ca.trust_domain().clone(), tokens, Clock::system());
    CaService::new(ca, authenticator)
}

fn csr() -> String {
    CertificateParams::default()
        .serialize_request(&KeyPair::generate().unwrap())
        .unwrap()
        .pem()
        .unwrap()
}

fn request(csr: &str, peer: Option<PeerCertificate>) -> Request<IstioCertificateRequest> {
    let mut request = Request::new(IstioCertificateRequest {
        csr: csr.to_owned(),
        validity_duration: 3600,
        metadata: None,
    });
    if let Some(peer) = peer {
        request.extensions_mut().insert(peer);
    }
    request
}

/// The certificate that `identity` holds already.
fn peer(service: &CaService, identity: &str) -> PeerCertificate {
    let key = KeyPair::generate().unwrap();
    let identity = identity.parse().unwrap();
    let issued = service.ca.issue_workload(&identity, &key, None).unwrap();
    PeerCertificate::from_verified(&issued.certificate)
}

#[tokio::test]
async fn a_certificate_is_renewed_with_the_old_one() {
    let service = service();
    let identity = "spiffe://cluster.local/ns/shop/sa/cart";
    let request = request(&csr(), Some(peer(&service, identity)));
    let answer = service.create_certificate(request).await.unwrap();
    let chain = answer.into_inner().cert_chain;
    let leaf = CertificateDer::from_pem_slice(chain[0].as_bytes()).unwrap();
    let named = PeerCertificate::from_verified(&leaf)
        .identity(service.ca.trust_domain(), Clock::system().now())
        .unwrap();
    assert_eq!(named.to_string(), identity);
    assert_eq!(chain.last(), Some(&service.ca.trust_bundle().to_pem()));
    assert_eq!(service.ca.metrics().issued.get(), 1);
}

#[tokio::test]
async fn a_stranger_is_unauthenticated_with_the_reason() {
    let service = service();
    let status = service
        .create_certificate(request(&csr(), None))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(
        status.message(),
        "neither a client certificate nor a bearer token was presented"
    );

    let mut with_token = request(&csr(), None);
    let token = "Bearer a.b.c".parse().unwrap();
    with_token.metadata_mut().insert("authorization", token);
    let status = service.create_certificate(with_token).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);

    let foreign = peer(&service, "spiffe://elsewhere/ns/shop/sa/cart");
    let status = service
        .create_certificate(request(&csr(), Some(foreign)))
        .await
        .unwrap_err();
    assert_eq!(
        status.message(),
        "client certificate: the identity is of trust domain \"elsewhere\" instead of \"cluster.local\""
    );
    assert_eq!(service.ca.metrics().authentication_failures.get(), 3);
    assert_eq!(service.ca.metrics().issued.get(), 0);
}

#[tokio::test]
async fn while_the_api_server_is_away_the_caller_is_told_to_come_again() {
    let (api_server, gone) = tower_test::mock::pair::<http::Request<Body>, http::Response<Body>>();
    drop(gone);
    let client = kube::Client::new(api_server, "default");
    let domain = "cluster.local".parse().unwrap();
    let reviewer = TokenReviewer::new(client, domain, Clock::system());
    let service = service_with(Tokens::Reviewed(Arc::new(reviewer)));
    let mut request = request(&csr(), None);
    let claims = URL_SAFE_NO_PAD.encode(r#"{"aud": ["istio-ca"], "exp": 99999999999}"#);
    let token = format!("Bearer e30.{claims}.c2ln").parse().unwrap();
    request.metadata_mut().insert("authorization", token);
    let status = service.create_certificate(request).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(
        status.message(),
        "bearer token: the API server cannot be asked about the token: no connection"
    );
}

#[tokio::test]
async fn a_malformed_request_is_an_invalid_argument() {
    let service = service();
    let peer = peer(&service, "spiffe://cluster.local/ns/shop/sa/cart");
    let status = service
        .create_certificate(request("hello", Some(peer)))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.message(), "the request is not valid PEM");
    assert_eq!(service.ca.metrics().csr_parsing_errors.get(), 1);
}
