//! What citadel counts, under the names that Istio's dashboards query.

use mesh_runtime::metrics::{BareCounter, Registry};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::ca::key_cert_bundle::KeyCertBundle;

/// The label of [`Metrics::sign_errors`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ErrorLabels {
    /// A short, fixed word.
    pub error: &'static str,
}

/// Counters of one authority.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Requests received.
    pub csrs: BareCounter,
    /// Requests whose CSR was malformed.
    pub csr_parsing_errors: BareCounter,
    /// Requests without a proven identity.
    pub authentication_failures: BareCounter,
    /// Certificates that could not be signed.
    pub sign_errors: Family<ErrorLabels, BareCounter>,
    /// Certificates issued.
    pub issued: BareCounter,
    /// CAs on disk that were not taken over.
    pub reload_errors: BareCounter,
    /// End of the first root, in seconds since the epoch.
    root_expiry: Gauge,
    /// End of the signing certificate, in seconds since the epoch.
    chain_expiry: Gauge,
}

impl Metrics {
    /// Registers everything under `citadel_server_`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("citadel_server");
        registry.register("csr_count", "Certificate requests", self.csrs.clone());
        registry.register(
            "csr_parsing_err_count",
            "Certificate requests with a malformed CSR",
            self.csr_parsing_errors.clone(),
        );
        registry.register(
            "authentication_failure_count",
            "Certificate requests without a proven identity",
            self.authentication_failures.clone(),
        );
        registry.register(
            "csr_sign_err_count",
            "Certificates that could not be signed",
            self.sign_errors.clone(),
        );
        registry.register(
            "success_cert_issuance_count",
            "Certificates issued",
            self.issued.clone(),
        );
        registry.register(
            "ca_reload_err_count",
            "Changes of the CA directory that were refused",
            self.reload_errors.clone(),
        );
        registry.register(
            "root_cert_expiry_timestamp",
            "End of the root certificate in seconds since the epoch",
            self.root_expiry.clone(),
        );
        registry.register(
            "cert_chain_expiry_timestamp",
            "End of the signing certificate in seconds since the epoch",
            self.chain_expiry.clone(),
        );
    }

    /// Notes when the CA in force ends.
    pub(crate) fn observe_ca(&self, bundle: &KeyCertBundle) {
        self.chain_expiry.set(bundle.not_after().unix_timestamp());
        self.root_expiry
            .set(bundle.root_not_after().unix_timestamp());
    }
}
