//! Certificates for tests.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};

/// A certificate authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// The root, PEM.
    pub(crate) root: String,
}

/// A certificate with its key, PEM.
pub(crate) struct Leaf {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            root,
        }
    }

    /// A certificate for an identity, as citadel issues them.
    pub(crate) fn workload(&self, spiffe_id: &str) -> Leaf {
        self.leaf(SanType::URI(spiffe_id.try_into().unwrap()))
    }

    /// A certificate for a host name.
    pub(crate) fn host(&self, name: &str) -> Leaf {
        self.leaf(SanType::DnsName(name.try_into().unwrap()))
    }

    fn leaf(&self, san: SanType) -> Leaf {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![san];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Leaf {
            chain: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}
