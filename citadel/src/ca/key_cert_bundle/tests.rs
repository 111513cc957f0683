//! A CA is accepted as a whole or refused with the file to look at.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P384_SHA384,
};
use time::{Duration, OffsetDateTime};

use super::*;
use crate::ca::self_signed;

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_before = now() - Duration::hours(1);
    params.not_after = now() + Duration::days(30);
    params
}

/// A root with an intermediate below it, as an organisation plugs in.
fn plugged_in() -> CaFiles {
    let root_key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let root_params = ca_params("Root of Example");
    let root = root_params.self_signed(&root_key).unwrap();
    let issuer = Issuer::new(root_params, root_key);
    let key = KeyPair::generate().unwrap();
    let certificate = ca_params("Mesh of Example")
        .signed_by(&key, &issuer)
        .unwrap();
    CaFiles {
        ca_cert: certificate.pem(),
        ca_key: key.serialize_pem(),
        root_cert: root.pem(),
        cert_chain: certificate.pem() + &root.pem(),
    }
}

fn refused(files: &CaFiles) -> String {
    KeyCertBundle::from_files(files, now())
        .unwrap_err()
        .to_string()
}

#[test]
fn a_plugged_in_intermediate_sends_itself_but_not_the_root() {
    let files = plugged_in();
    let bundle = KeyCertBundle::from_files(&files, now()).unwrap();
    let ca = CertificateDer::from_pem_slice(files.ca_cert.as_bytes()).unwrap();
    assert_eq!(bundle.chain(), [ca]);
    assert!(!bundle.is_self_signed());
}

#[test]
fn a_self_signed_root_has_no_chain() {
    let files = self_signed::create("cluster.local", now()).unwrap();
    let bundle = KeyCertBundle::from_files(&files, now()).unwrap();
    assert_eq!(bundle.chain(), []);
    assert!(bundle.is_self_signed());
}

#[test]
fn the_key_must_belong_to_the_certificate() {
    let mut files = plugged_in();
    files.ca_key = plugged_in().ca_key;
    assert_eq!(
        refused(&files),
        "the key in \"ca-key.pem\" does not belong to the certificate in \"ca-cert.pem\""
    );
}

#[test]
fn the_chain_must_end_in_the_roots() {
    let mut files = plugged_in();
    files.root_cert = plugged_in().root_cert;
    assert_eq!(
        refused(&files),
        "certificates signed by this CA are not accepted under \"root-cert.pem\""
    );
}

#[test]
fn a_leaf_cannot_be_the_ca() {
    let mut files = plugged_in();
    let key = KeyPair::generate().unwrap();
    let mut params = ca_params("Leaf");
    params.is_ca = IsCa::ExplicitNoCa;
    files.ca_cert = params.self_signed(&key).unwrap().pem();
    files.ca_key = key.serialize_pem();
    assert_eq!(
        refused(&files),
        "the certificate in \"ca-cert.pem\" is not a CA certificate"
    );
}

#[test]
fn an_expired_ca_is_refused() {
    let files = plugged_in();
    let later = now() + Duration::days(31);
    let error = KeyCertBundle::from_files(&files, later).unwrap_err();
    assert!(
        matches!(error, KeyCertBundleError::NotValidNow { .. }),
        "{error}"
    );
}

#[test]
fn bad_pem_is_named_by_file() {
    for (file, broken) in [
        (
            "ca-cert.pem",
            CaFiles {
                ca_cert: "x".into(),
                ..plugged_in()
            },
        ),
        (
            "ca-key.pem",
            CaFiles {
                ca_key: String::new(),
                ..plugged_in()
            },
        ),
        (
            "cert-chain.pem",
            CaFiles {
                cert_chain: "-----BEGIN CERTIFICATE-----\nAA".into(),
                ..plugged_in()
            },
        ),
    ] {
        assert_eq!(
            refused(&broken),
            format!("\"{file}\" has no valid PEM section of the expected kind")
        );
    }
    let no_roots = CaFiles {
        root_cert: String::new(),
        ..plugged_in()
    };
    assert_eq!(refused(&no_roots), "\"root-cert.pem\" cannot be used");
}
