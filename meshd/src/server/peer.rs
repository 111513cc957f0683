//! Tells pilot who is calling, in pilot's own words.
//!
//! On the TLS listener the certificate of the connection and the bearer token of the request are checked by
//! citadel; on the plaintext listener, which only the operator can reach, every node is believed.

use std::net::SocketAddr;
use std::time::SystemTime;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use citadel::authenticate::Authenticator;
use citadel::authenticate::mtls::PeerCertificate;
use citadel::authenticate::token::TokenError;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use pilot::ads::authenticate::PeerIdentity;
use pilot::ads::refusals::Refusals;
use tonic::{Code, Status};

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
    let peer = request.extensions().get::<PeerCertificate>().cloned();
    let authorization = request.headers().get(AUTHORIZATION).cloned();
    match identify(&authenticator, peer.as_ref(), authorization.as_ref()).await {
        Ok(identity) => {
            request.extensions_mut().insert(identity);
            next.run(request).await
        }
        // Nobody can tell now who that is: the caller tries again, here or at another replica.
        Err(error) => Status::unavailable(error.to_string()).into_http(),
    }
}

/// Middleware of the signing service: notes who is refused, so that it is seen where proxies are looked at.
pub async fn noted(State(refusals): State<Refusals>, request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<SocketAddr>().copied();
    let response = next.run(request).await;
    // An answer that is a refusal from the start has its status among the headers.
    let status = Status::from_header_map(response.headers());
    match (caller, status) {
        (None, _) => {}
        (Some(caller), None) => refusals.admitted(caller.ip()),
        (Some(caller), Some(status)) => {
            if matches!(
                status.code(),
                Code::Unauthenticated | Code::PermissionDenied
            ) {
                refusals.refused(caller.ip(), status.message(), SystemTime::now());
            }
        }
    }
    response
}

async fn identify(
    authenticator: &Authenticator,
    peer: Option<&PeerCertificate>,
    authorization: Option<&HeaderValue>,
) -> Result<PeerIdentity, TokenError> {
    let certificate = peer.and_then(|peer| {
        let identity = authenticator.by_certificate(peer);
        identity
            .inspect_err(|error| tracing::debug!(%error, "client certificate without identity"))
            .ok()
    });
    // A certificate outweighs a token, so its signature need not be looked at.
    let token = match (&certificate, authorization) {
        (None, Some(header)) => match authenticator.by_token(header.as_bytes()).await {
            Err(error) if error.is_temporary() => return Err(error),
            checked => Some(checked.map_err(|error| error.to_string())),
        },
        _ => None,
    };
    Ok(PeerIdentity::Presented { certificate, token })
}
