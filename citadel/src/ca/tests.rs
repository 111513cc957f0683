//! The authority as a whole: opening, signing, replacing, renewing.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::directory::CaDirectory;
use super::*;
use crate::csr;

fn config(clock: Clock) -> CaConfig {
    CaConfig {
        trust_domain: "cluster.local".parse().unwrap(),
        lifetimes: Lifetimes::default(),
        announcement: time::Duration::ZERO,
        clock,
    }
}

fn open(directory: &Path) -> Ca {
    CaDirectory::new(directory)
        .open(config(Clock::system()), Metrics::default())
        .unwrap()
}

fn cart() -> SpiffeId {
    "spiffe://cluster.local/ns/shop/sa/cart".parse().unwrap()
}

#[test]
fn a_self_signed_root_is_made_once_and_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(directory.path()).trust_bundle();
    let second = open(directory.path()).trust_bundle();
    assert_eq!(first, second);
    let root_file = fs::read(directory.path().join(plugged_in::ROOT_CERT)).unwrap();
    assert_eq!(TrustBundle::from_pem(&root_file).unwrap(), *first);
}

#[test]
fn a_request_for_another_identity_and_the_ca_flag_yields_the_callers_own_leaf() {
    let directory = tempfile::tempdir().unwrap();
    let ca = open(directory.path());
    let key = KeyPair::generate().unwrap();
    let mut wanted = CertificateParams::default();
    wanted.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    wanted.subject_alt_names = vec![SanType::URI(
        "spiffe://cluster.local/ns/kube-system/sa/admin"
            .try_into()
            .unwrap(),
    )];
    wanted.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    let request = wanted.serialize_request(&key).unwrap().pem().unwrap();
    let proven = csr::parse(&request).unwrap();

    let issued = ca.issue_workload(&cart(), &proven, None).unwrap();
    let (_, leaf) = X509Certificate::from_der(&issued.certificate).unwrap();
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    assert!(names.critical);
    assert_eq!(
        names.value.general_names,
        [x509_parser::extensions::GeneralName::URI(
            "spiffe://cluster.local/ns/shop/sa/cart"
        )]
    );
    assert!(!leaf.is_ca());
    assert_eq!(leaf.subject().iter().count(), 0);
    let usage = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && usage.client_auth && !usage.code_signing);
}

#[test]
fn bad_files_never_replace_the_ca_in_force() {
    let directory = tempfile::tempdir().unwrap();
    let kept = CaDirectory::new(directory.path());
    let ca = open(directory.path());
    let before = ca.trust_bundle();
    fs::write(directory.path().join(plugged_in::CA_CERT), "nonsense").unwrap();
    let error = kept.reload(&ca).unwrap_err();
    assert!(matches!(error, CaError::Bundle { .. }), "{error}");
    assert_eq!(ca.trust_bundle(), before);
    fs::remove_file(directory.path().join(plugged_in::CA_CERT)).unwrap();
    assert!(kept.reload(&ca).is_err());
    let key = KeyPair::generate().unwrap();
    ca.issue_workload(&cart(), &key, None).unwrap();
}

#[test]
fn a_new_ca_is_taken_over_and_its_roots_published() {
    let directory = tempfile::tempdir().unwrap();
    let kept = CaDirectory::new(directory.path());
    let ca = open(directory.path());
    let mut published = ca.trust_bundles();
    published.mark_unchanged();
    let old = ca.trust_bundle();
    let mut files = self_signed::create("example", OffsetDateTime::now_utc()).unwrap();
    files.root_cert += &old.to_pem();
    plugged_in::write(directory.path(), &files).unwrap();

    assert!(kept.reload(&ca).unwrap());
    assert!(published.has_changed().unwrap());
    assert_eq!(published.borrow().roots().len(), 2);
    assert_eq!(published.borrow().roots()[1], old.roots()[0]);
    assert!(!kept.reload(&ca).unwrap());
}

#[test]
fn a_root_in_the_last_fifth_of_its_life_is_renewed_on_disk_and_in_force() {
    let directory = tempfile::tempdir().unwrap();
    let (clock, now) = clock();
    let kept = CaDirectory::new(directory.path());
    let ca = kept.open(config(clock), Metrics::default()).unwrap();
    kept.renew_if_due(&ca).unwrap();
    assert_eq!(ca.trust_bundle().roots().len(), 1);

    now.fetch_add(Duration::days(3000).whole_seconds(), Ordering::SeqCst);
    kept.renew_if_due(&ca).unwrap();
    assert_eq!(ca.trust_bundle().roots().len(), 2);
    assert!(!kept.reload(&ca).unwrap(), "memory and disk agree");
    kept.renew_if_due(&ca).unwrap();
    assert_eq!(ca.trust_bundle().roots().len(), 2, "renewed once");
}

/// A clock and its hands, in seconds.
fn clock() -> (Clock, Arc<AtomicI64>) {
    let now = Arc::new(AtomicI64::new(OffsetDateTime::now_utc().unix_timestamp()));
    let hands = now.clone();
    let clock = Clock::from_fn(move || {
        OffsetDateTime::from_unix_timestamp(hands.load(Ordering::SeqCst)).unwrap()
    });
    (clock, now)
}

fn created(organization: &str) -> CaFiles {
    self_signed::create(organization, OffsetDateTime::now_utc()).unwrap()
}

#[test]
fn new_roots_are_announced_before_anything_is_signed_under_them() {
    let (clock, now) = clock();
    let mut config = config(clock);
    config.announcement = Duration::minutes(3);
    let (old, new) = (created("old"), created("new"));
    let ca = Ca::new(config, "a test", old.clone(), Metrics::default()).unwrap();
    assert_eq!(ca.settles_in(), None);

    assert!(ca.take_over("a test", new.clone()).unwrap());
    assert!(!ca.take_over("a test", new.clone()).unwrap(), "known");
    assert_eq!(ca.settles_in(), Some(std::time::Duration::from_secs(180)));
    now.fetch_add(179, Ordering::SeqCst);
    ca.settle();
    assert!(ca.is_in_force(&old));
    let announced = ca.trust_bundle().to_pem();
    assert_eq!(announced, old.root_cert.clone() + &new.root_cert);

    now.fetch_add(1, Ordering::SeqCst);
    ca.settle();
    assert!(ca.is_in_force(&new));
    assert_eq!(ca.trust_bundle().to_pem(), new.root_cert);
    assert_eq!(ca.settles_in(), None);
}

#[test]
fn an_announcement_is_taken_back_with_what_it_announced() {
    let (clock, now) = clock();
    let mut config = config(clock);
    config.announcement = Duration::minutes(3);
    let (old, new) = (created("old"), created("new"));
    let ca = Ca::new(config, "a test", old.clone(), Metrics::default()).unwrap();
    ca.take_over("a test", new).unwrap();
    ca.take_over("a test", old.clone()).unwrap();
    now.fetch_add(180, Ordering::SeqCst);
    ca.settle();
    assert!(ca.is_in_force(&old));
    assert_eq!(ca.trust_bundle().to_pem(), old.root_cert);
}

#[test]
fn roots_that_are_known_already_need_no_announcement() {
    let mut config = config(Clock::system());
    config.announcement = Duration::minutes(3);
    let (old, mut new) = (created("old"), created("new"));
    let both = old.root_cert.clone() + &new.root_cert;
    let announcing = CaFiles {
        root_cert: both.clone(),
        ..old
    };
    new.root_cert = both;
    let ca = Ca::new(config, "a test", announcing, Metrics::default()).unwrap();
    assert!(ca.take_over("a test", new.clone()).unwrap());
    assert!(ca.is_in_force(&new));
}

#[tokio::test]
async fn the_directory_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let ca = Arc::new(open(directory.path()));
    let mut published = ca.trust_bundles();
    published.mark_unchanged();
    let following = tokio::spawn(rotation::run(
        CaDirectory::new(directory.path()),
        ca.clone(),
    ));
    let files = self_signed::create("example", OffsetDateTime::now_utc()).unwrap();
    plugged_in::write(directory.path(), &files).unwrap();
    published.changed().await.unwrap();
    assert_eq!(published.borrow().to_pem(), files.root_cert);
    following.abort();
}
