//! Whether a proxy is who it says it is.
//!
//! The listener in front of this service proves identities (client certificate, bearer token) and
//! leaves a [`PeerIdentity`] in the request's extensions. Here the proven identity is compared
//! with what the node claims: a proxy may only ask for what its own namespace and service account
//! may have.

use mesh_api::identity::SpiffeId;

use crate::node::Node;

/// What the listener knows about the peer; put into the request's extensions by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerIdentity {
    /// The connection came over a listener that only the operator can reach (plaintext on
    /// loopback), where the node is believed.
    Trusted,
    /// The connection came over TLS.
    Presented {
        /// The identity in the verified client certificate.
        certificate: Option<SpiffeId>,
        /// The outcome of checking the bearer token, if one was sent.
        token: Option<Result<SpiffeId, String>>,
    },
}

/// Why a proxy is not served.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticateError {
    /// Neither certificate nor token.
    #[error("no client certificate and no bearer token")]
    Unauthenticated,
    /// The token does not hold.
    #[error("bearer token refused: {0}")]
    TokenRefused(String),
    /// The node claims another identity.
    #[error(
        "\"{proven}\" may not ask as namespace \"{namespace}\", service account \"{service_account}\""
    )]
    OtherIdentity {
        /// The proven identity.
        proven: String,
        /// The namespace claimed.
        namespace: String,
        /// The service account claimed.
        service_account: String,
    },
}

/// What a peer has proven; none where every node is believed. Known before anything that the peer
/// sends on the stream is read, so of strangers nothing is.
///
/// # Errors
/// When nothing was proven.
pub fn proven(peer: Option<&PeerIdentity>) -> Result<Option<&SpiffeId>, AuthenticateError> {
    match peer {
        None => Err(AuthenticateError::Unauthenticated),
        Some(PeerIdentity::Trusted) => Ok(None),
        // A certificate outweighs a token: it is proven for the connection, not only for the request.
        Some(PeerIdentity::Presented { certificate, token }) => match (certificate, token) {
            (Some(identity), _) | (None, Some(Ok(identity))) => Ok(Some(identity)),
            (None, Some(Err(reason))) => Err(AuthenticateError::TokenRefused(reason.clone())),
            (None, None) => Err(AuthenticateError::Unauthenticated),
        },
    }
}

/// Checks a node's claim. Returns what was proven: nothing where every node is believed.
///
/// # Errors
/// When nothing was proven, or something else.
pub fn authenticate(
    peer: Option<&PeerIdentity>,
    node: &Node,
) -> Result<Option<SpiffeId>, AuthenticateError> {
    let Some(proven) = proven(peer)? else {
        return Ok(None);
    };
    let same =
        *proven.namespace == *node.namespace && *proven.service_account == *node.service_account;
    if same {
        return Ok(Some(proven.clone()));
    }
    Err(AuthenticateError::OtherIdentity {
        proven: proven.to_string(),
        namespace: node.namespace.clone(),
        service_account: node.service_account.clone(),
    })
}

#[cfg(test)]
mod tests {
    use xds::envoy::core;

    use super::*;

    fn node() -> Node {
        let wire = core::Node {
            id: "sidecar~10.0.0.1~a.ns~ns.svc.x".into(),
            ..Default::default()
        };
        Node::from_wire(&wire).unwrap()
    }

    fn id(text: &str) -> SpiffeId {
        text.parse().unwrap()
    }

    fn presented(certificate: Option<&str>, token: Option<Result<&str, &str>>) -> PeerIdentity {
        PeerIdentity::Presented {
            certificate: certificate.map(id),
            token: token.map(|token| token.map(id).map_err(ToOwned::to_owned)),
        }
    }

    const OWN: &str = "spiffe://cluster.local/ns/ns/sa/default";
    const OTHER: &str = "spiffe://cluster.local/ns/other/sa/default";

    #[test]
    fn the_own_identity_is_accepted_by_certificate_or_token() {
        let trusted = authenticate(Some(&PeerIdentity::Trusted), &node());
        assert_eq!(trusted, Ok(None), "believed, and nothing proven");
        for peer in [
            presented(Some(OWN), None),
            presented(None, Some(Ok(OWN))),
            presented(Some(OWN), Some(Err("expired"))),
        ] {
            let proven = Ok(Some(id(OWN)));
            assert_eq!(authenticate(Some(&peer), &node()), proven, "{peer:?}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let other = || AuthenticateError::OtherIdentity {
            proven: OTHER.into(),
            namespace: "ns".into(),
            service_account: "default".into(),
        };
        for (peer, error) in [
            (None, AuthenticateError::Unauthenticated),
            (
                Some(presented(None, None)),
                AuthenticateError::Unauthenticated,
            ),
            (
                Some(presented(None, Some(Err("expired")))),
                AuthenticateError::TokenRefused("expired".into()),
            ),
            (Some(presented(Some(OTHER), None)), other()),
            (Some(presented(Some(OTHER), Some(Ok(OWN)))), other()),
        ] {
            assert_eq!(authenticate(peer.as_ref(), &node()), Err(error));
        }
    }
}
