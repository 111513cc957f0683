//! The root that citadel makes for itself where nobody plugged one in.
//!
//! ECDSA P-256, ten years. Renewal keeps key and name and only extends the time: every certificate that
//! chains to the old root chains to the new one as well, so both can be trusted side by side and nothing has
//! to be signed again. Replacing the *key* is done by plugging in another CA with both roots in
//! `root-cert.pem`.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use time::{Duration, OffsetDateTime};

use super::key_cert_bundle::CaFiles;
use crate::issue;

/// How long a new root is valid.
pub const ROOT_LIFETIME: Duration = Duration::days(3650);

/// The part of its life that a root must have left; with less it is renewed.
const RENEW_BELOW: f64 = 0.2;

/// A new key and root for `organization` (the trust domain).
pub fn create(organization: &str, now: OffsetDateTime) -> Result<CaFiles, rcgen::Error> {
    let key = KeyPair::generate()?;
    let root = root_certificate(organization, &key, now)?;
    Ok(CaFiles {
        ca_cert: root.clone(),
        ca_key: key.serialize_pem(),
        root_cert: root,
        cert_chain: String::new(),
    })
}

/// The same key under a root that begins anew; the old roots stay in the bundle behind it.
pub fn renew(
    files: &CaFiles,
    organization: &str,
    now: OffsetDateTime,
) -> Result<CaFiles, rcgen::Error> {
    let key = PrivateKeyDer::from_pem_slice(files.ca_key.as_bytes())
        .map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
    let root = root_certificate(organization, &KeyPair::try_from(&key)?, now)?;
    Ok(CaFiles {
        ca_cert: root.clone(),
        ca_key: files.ca_key.clone(),
        root_cert: root + &files.root_cert,
        cert_chain: String::new(),
    })
}

/// Whether a root that ends at `not_after` is due for renewal.
pub fn is_due(not_after: OffsetDateTime, now: OffsetDateTime) -> bool {
    not_after - now < ROOT_LIFETIME * RENEW_BELOW
}

fn root_certificate(
    organization: &str,
    key: &KeyPair,
    now: OffsetDateTime,
) -> Result<String, rcgen::Error> {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, organization);
    let mut params = CertificateParams::default();
    params.distinguished_name = name;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = now - issue::CLOCK_SKEW;
    params.not_after = now + ROOT_LIFETIME;
    params.serial_number = Some(issue::random_serial());
    Ok(params.self_signed(key)?.pem())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::key_cert_bundle::KeyCertBundle;

    #[test]
    fn a_renewed_root_lives_longer_and_keeps_the_old_one_trusted() {
        let now = OffsetDateTime::now_utc();
        let first = create("cluster.local", now).unwrap();
        let later = now + Duration::days(3000);
        let renewed = renew(&first, "cluster.local", later).unwrap();
        let bundle = KeyCertBundle::from_files(&renewed, later).unwrap();
        assert_eq!(bundle.trust_bundle().roots().len(), 2);
        assert_eq!(renewed.ca_key, first.ca_key);
        assert_eq!(bundle.not_after().date(), (later + ROOT_LIFETIME).date());
        // What the new certificate signs is accepted by those that know only the old root.
        let old_roots = CaFiles {
            root_cert: first.root_cert,
            ..renewed
        };
        KeyCertBundle::from_files(&old_roots, later).unwrap();
    }

    #[test]
    fn renewal_is_due_in_the_last_fifth_of_life() {
        let now = OffsetDateTime::now_utc();
        assert!(!is_due(now + Duration::days(731), now));
        assert!(is_due(now + Duration::days(729), now));
    }
}
