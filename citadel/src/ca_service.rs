//! `istio.v1.auth.IstioCertificateService/CreateCertificate`: a CSR in, a certificate chain out.
//!
//! The caller's identity comes from the [`PeerCertificate`] that the TLS acceptor left in the request's
//! extensions, or from a bearer token. Peers' faults answer with their reason and are counted; only our own
//! are logged loudly.

use std::sync::Arc;

use rcgen::PublicKeyData;
use time::Duration;
use tonic::{Request, Response, Status};
use tracing::field::{Empty, debug, display};
use tracing::{Instrument as _, Span};
use xds::proto::istio_v1_auth::istio_certificate_service_server::{
    IstioCertificateService, IstioCertificateServiceServer,
};
use xds::proto::istio_v1_auth::{IstioCertificateRequest, IstioCertificateResponse};

use crate::authenticate::mtls::PeerCertificate;
use crate::authenticate::{Authenticator, Caller};
use crate::ca::Ca;
use crate::csr;
use crate::issue::{IssueError, Issued};
use crate::metrics::ErrorLabels;

/// The signing service.
#[derive(Clone, Debug)]
pub struct CaService {
    ca: Arc<Ca>,
    authenticator: Authenticator,
}

impl CaService {
    /// Signs with `ca` for whoever `authenticator` accepts.
    pub fn new(ca: Arc<Ca>, authenticator: Authenticator) -> Self {
        Self { ca, authenticator }
    }

    /// As a gRPC service.
    pub fn into_server(self) -> IstioCertificateServiceServer<Self> {
        IstioCertificateServiceServer::new(self)
            .max_decoding_message_size(4 * csr::REQUEST_BYTES_MAX)
    }

    async fn authenticate<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        let peer = request.extensions().get::<PeerCertificate>();
        let authorization = request.metadata().get("authorization");
        let authorization = authorization.map(|value| value.as_bytes());
        let authenticated = self.authenticator.authenticate(peer, authorization).await;
        authenticated.map_err(|error| {
            self.ca.metrics().authentication_failures.inc();
            tracing::debug!(%error, "certificate request refused");
            if error.is_temporary() {
                return Status::unavailable(error.to_string());
            }
            Status::unauthenticated(error.to_string())
        })
    }

    fn issue(
        &self,
        caller: &Caller,
        public_key: &impl PublicKeyData,
        validity_seconds: i64,
    ) -> Result<Issued, Status> {
        let ttl = (validity_seconds > 0).then(|| Duration::seconds(validity_seconds));
        self.ca
            .issue_workload(&caller.identity, public_key, ttl)
            .map_err(|error| {
                let labels = ErrorLabels {
                    error: kind(&error),
                };
                self.ca.metrics().sign_errors.get_or_create(&labels).inc();
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    identity = %caller.identity,
                    "no certificate could be signed"
                );
                Status::internal(error.to_string())
            })
    }

    async fn create(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<IstioCertificateResponse, Status> {
        let span = Span::current();
        let metrics = self.ca.metrics();
        metrics.csrs.inc();
        let caller = self.authenticate(&request).await?;
        span.record("identity", display(&caller.identity));
        span.record("method", debug(&caller.method));
        let request = request.into_inner();
        let public_key = csr::parse(&request.csr).map_err(|error| {
            metrics.csr_parsing_errors.inc();
            tracing::debug!(%error, identity = %caller.identity, "malformed CSR");
            Status::invalid_argument(error.to_string())
        })?;
        let issued = self.issue(&caller, &public_key, request.validity_duration)?;
        metrics.issued.inc();
        span.record("not_after", display(&issued.not_after));
        tracing::debug!(
            identity = %caller.identity,
            not_after = %issued.not_after,
            method = ?caller.method,
            "certificate issued"
        );
        Ok(IstioCertificateResponse {
            cert_chain: issued.to_pem_list(),
        })
    }
}

#[tonic::async_trait]
impl IstioCertificateService for CaService {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        let span = tracing::info_span!(
            "certificate",
            identity = Empty,
            method = Empty,
            not_after = Empty,
            otel.status_code = Empty,
            otel.status_description = Empty,
        );
        let created = self.create(request).instrument(span.clone()).await;
        if let Err(status) = &created {
            span.record("otel.status_code", "ERROR");
            span.record("otel.status_description", status.message());
        }
        created.map(Response::new)
    }
}

fn kind(error: &IssueError) -> &'static str {
    match error {
        IssueError::Name { .. } => "name",
        IssueError::CaExpired(_) => "ca_expired",
        IssueError::Sign(_) => "sign",
    }
}

#[cfg(test)]
mod tests;
