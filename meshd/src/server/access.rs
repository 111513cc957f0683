//! Who may look at the debug pages of the HTTP port, and how far.
//!
//! As in Istio (pilot/pkg/xds/debug.go, `allowAuthenticatedOrLocalhost`): whoever is on this machine, which a
//! port-forward is, sees everything; everybody else proves an identity, by the same means as for discovery.
//! An identity of the control plane's namespace sees everything, any other what
//! [`Scope::Namespace`] says. Differs from Istio: 127.0.0.6, from where a sidecar connects on behalf of
//! others, is not this machine, nor is a browser's page from elsewhere.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use citadel::authenticate::Authenticator;
use citadel::authenticate::mtls::PeerCertificate;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use mesh_runtime::caller;
use pilot::debug::scope::Scope;

/// What callers are judged by.
#[derive(Clone)]
pub struct Access {
    /// Checks certificates and tokens.
    pub authenticator: Authenticator,
    /// The control plane's namespace.
    pub namespace: Arc<str>,
}

/// Middleware: leaves a [`Scope`] in the request's extensions, or refuses the request.
pub async fn scoped(State(access): State<Access>, mut request: Request, next: Next) -> Response {
    // Taken out first: a request cannot be looked at across a wait.
    let judged = match caller::is_local(&request) {
        true => Ok(Scope::Mesh),
        false => {
            let certificate = request.extensions().get::<PeerCertificate>().cloned();
            let authorization = request.headers().get(AUTHORIZATION).cloned();
            access.scope(certificate, authorization).await
        }
    };
    match judged {
        Ok(scope) => {
            request.extensions_mut().insert(scope);
            next.run(request).await
        }
        Err(refusal) => {
            let peer = caller::peer(&request);
            let path = request.uri().path();
            tracing::debug!(?peer, path, reason = refusal.reason, "debug page refused");
            refusal.into_response()
        }
    }
}

/// Why a caller sees nothing.
struct Refusal {
    status: StatusCode,
    reason: String,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self { status, reason } = self;
        let mut response = (status, format!("{reason}\n")).into_response();
        if status == StatusCode::UNAUTHORIZED {
            // RFC 9110 section 11.6.1.
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

impl Access {
    /// What somebody from elsewhere may see.
    async fn scope(
        &self,
        certificate: Option<PeerCertificate>,
        authorization: Option<HeaderValue>,
    ) -> Result<Scope, Refusal> {
        let authenticated = self.authenticator.authenticate(
            certificate.as_ref(),
            authorization.as_ref().map(HeaderValue::as_bytes),
        );
        match authenticated.await {
            Ok(caller) if *caller.identity.namespace == *self.namespace => Ok(Scope::Mesh),
            Ok(caller) => Ok(Scope::Namespace(caller.identity.namespace)),
            Err(error) => Err(Refusal {
                status: match error.is_temporary() {
                    true => StatusCode::SERVICE_UNAVAILABLE,
                    false => StatusCode::UNAUTHORIZED,
                },
                reason: format!(
                    "{error}; ask through a port-forward with localhost as host, or with the token of a \
                     service account for the audience \"istio-ca\""
                ),
            }),
        }
    }
}

#[cfg(test)]
mod tests;
