//! Tells pilot who is calling, in pilot's own words.
//!
//! On the TLS listener the certificate of the connection and the bearer token of the request are checked by
//! citadel; on the plaintext listener, which only the operator can reach, every node is believed.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use citadel::authenticate::Authenticator;
use citadel::authenticate::mtls::PeerCertificate;
use http::header::AUTHORIZATION;
use pilot::ads::authenticate::PeerIdentity;

/// Middleware of the plaintext listener.
pub async fn trusted(mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(PeerIdentity::Trusted);
    next.run(request).await
}

/// Middleware of the TLS listener.
pub async fn presented(
    State(authenticator): State<Authenticator>,
    mut request: Request,
    next: Next,
) -> Response {
    let identity = identify(&authenticator, &request);
    request.extensions_mut().insert(identity);
    next.run(request).await
}

fn identify(authenticator: &Authenticator, request: &Request) -> PeerIdentity {
    let peer = request.extensions().get::<PeerCertificate>();
    let certificate = peer.and_then(|peer| {
        let identity = authenticator.by_certificate(peer);
        identity
            .inspect_err(|error| tracing::debug!(%error, "client certificate without identity"))
            .ok()
    });
    // A certificate outweighs a token, so its signature need not be looked at.
    let header = request.headers().get(AUTHORIZATION);
    let token = match (&certificate, header) {
        (None, Some(header)) => Some(
            authenticator
                .by_token(header.as_bytes())
                .map_err(|error| error.to_string()),
        ),
        _ => None,
    };
    PeerIdentity::Presented { certificate, token }
}
