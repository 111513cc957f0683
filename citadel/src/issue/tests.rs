//! Lifetimes and serial numbers.

use rcgen::KeyPair;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::*;
use crate::ca::self_signed;

fn bundle(now: OffsetDateTime) -> KeyCertBundle {
    let files = self_signed::create("cluster.local", now).unwrap();
    KeyCertBundle::from_files(&files, now).unwrap()
}

fn cart() -> SpiffeId {
    "spiffe://cluster.local/ns/shop/sa/cart".parse().unwrap()
}

#[test]
fn a_lifetime_is_the_default_or_what_was_asked_within_the_maximum() {
    let lifetimes = Lifetimes::default();
    assert_eq!(lifetimes.grant(None), Duration::hours(24));
    assert_eq!(
        lifetimes.grant(Some(Duration::hours(1))),
        Duration::hours(1)
    );
    assert_eq!(
        lifetimes.grant(Some(Duration::days(400))),
        Duration::days(90)
    );
    assert_eq!(lifetimes.grant(Some(Duration::ZERO)), Duration::hours(24));
    assert_eq!(
        lifetimes.grant(Some(Duration::hours(-1))),
        Duration::hours(24)
    );
}

#[test]
fn validity_begins_before_now_and_ends_with_the_lifetime_or_the_ca() {
    let now = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
    let bundle = bundle(now);
    let key = KeyPair::generate().unwrap();
    let issued = workload(&bundle, &cart(), &key, Duration::hours(1), now).unwrap();
    let (_, leaf) = X509Certificate::from_der(&issued.certificate).unwrap();
    assert_eq!(leaf.validity().not_before.timestamp(), 1_700_000_000 - 120);
    assert_eq!(leaf.validity().not_after.timestamp(), 1_700_003_600);
    assert_eq!(issued.not_after.unix_timestamp(), 1_700_003_600);

    let last_day = bundle.not_after() - Duration::days(1);
    let issued = workload(&bundle, &cart(), &key, Duration::days(90), last_day).unwrap();
    assert_eq!(issued.not_after, bundle.not_after());

    let error = workload(
        &bundle,
        &cart(),
        &key,
        Duration::days(1),
        bundle.not_after(),
    );
    assert!(matches!(error, Err(IssueError::CaExpired(_))));
}

#[test]
fn the_same_key_gets_a_new_serial_number_each_time() {
    let now = OffsetDateTime::now_utc();
    let bundle = bundle(now);
    let key = KeyPair::generate().unwrap();
    let serial = || {
        let issued = workload(&bundle, &cart(), &key, Duration::hours(1), now).unwrap();
        let (_, leaf) = X509Certificate::from_der(&issued.certificate).unwrap();
        leaf.raw_serial().to_vec()
    };
    let (one, two) = (serial(), serial());
    assert_ne!(one, two);
    assert_eq!(one.len(), 20);
}

#[test]
fn a_server_certificate_carries_names_and_addresses() {
    let now = OffsetDateTime::now_utc();
    let key = KeyPair::generate().unwrap();
    let names = ["istiod.istio-system.svc".to_owned(), "127.0.0.1".to_owned()];
    let issued = server(&bundle(now), &names, &key, Duration::hours(1), now).unwrap();
    let leaf = webpki::EndEntityCert::try_from(&issued.certificate).unwrap();
    for name in names {
        let name = rustls_pki_types::ServerName::try_from(name).unwrap();
        leaf.verify_is_valid_for_subject_name(&name).unwrap();
    }
}

#[test]
fn the_answer_ends_with_the_roots() {
    let now = OffsetDateTime::now_utc();
    let bundle = bundle(now);
    let key = KeyPair::generate().unwrap();
    let issued = workload(&bundle, &cart(), &key, Duration::hours(1), now).unwrap();
    let list = issued.to_pem_list();
    assert_eq!(
        list.len(),
        2,
        "leaf and root; a self-signed CA has nothing between"
    );
    assert_eq!(list[1], bundle.trust_bundle().to_pem());
}
