//! Secrets of gateways: certificates that Gateways name, for the proxies that may have them.
//!
//! Only credentials of a proxy's own namespace are sent to it, and only over its authenticated
//! stream. Workloads' own keys never pass here.

use mesh_api::snapshot::Credential;
use xds::envoy::{core, tls as wire_tls};

use crate::shared::Shared;

/// All that a credential's secrets are made from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Inputs {
    /// The resource's name.
    pub(crate) name: String,
    /// The credential.
    pub(crate) credential: Shared<Credential>,
}

/// The server's certificate and key, if both are there.
pub(crate) fn certificate(inputs: &Inputs) -> wire_tls::Secret {
    let credential = &inputs.credential;
    let certificate = wire_tls::TlsCertificate {
        certificate_chain: credential.certificate_chain.as_deref().map(bytes),
        private_key: credential.private_key.as_deref().map(bytes),
        ..Default::default()
    };
    wire_tls::Secret {
        name: inputs.name.clone(),
        r#type: Some(wire_tls::secret::Type::TlsCertificate(certificate)),
    }
}

/// The certificates that clients' certificates are checked with.
pub(crate) fn trust(inputs: &Inputs) -> wire_tls::Secret {
    let credential = &inputs.credential;
    let context = wire_tls::CertificateValidationContext {
        trusted_ca: credential.ca_certificates.as_deref().map(bytes),
        crl: credential.crl.as_deref().map(bytes),
        ..Default::default()
    };
    wire_tls::Secret {
        name: inputs.name.clone(),
        r#type: Some(wire_tls::secret::Type::ValidationContext(context)),
    }
}

fn bytes(content: &[u8]) -> core::DataSource {
    core::DataSource {
        specifier: Some(core::data_source::Specifier::InlineBytes(content.to_vec())),
        ..Default::default()
    }
}
