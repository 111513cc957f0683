//! Which requests a route is for.

use super::{PathMatch, RouteMatch};
use crate::connection::ConnectionInfo;
use crate::matcher::StringMatcher;
use crate::metadata::Metadata;
use crate::request::RequestHead;

impl RouteMatch {
    /// True if the request matches.
    pub fn matches(
        &self,
        request: &RequestHead,
        connection: &ConnectionInfo,
        metadata: Option<&Metadata>,
    ) -> bool {
        self.path.matches(request)
            && (!self.grpc || request.is_grpc())
            && self.headers.iter().all(|matcher| matcher.matches(request))
            && self
                .metadata
                .iter()
                .all(|matcher| matcher.matches(metadata))
            && self
                .query
                .iter()
                .all(|matcher| matcher.matches(request.path.query()))
            && self.certificate_matches(connection)
            && self.fraction.is_none_or(|fraction| fraction.draw())
    }

    fn certificate_matches(&self, connection: &ConnectionInfo) -> bool {
        let presented = || {
            let tls = connection.tls.as_ref();
            tls.is_some_and(|tls| tls.peer.is_some())
        };
        // A certificate that does not verify ends the handshake: what was presented is validated.
        [
            self.client_certificate_presented,
            self.client_certificate_validated,
        ]
        .into_iter()
        .flatten()
        .all(|wanted| wanted == presented())
    }
}

impl PathMatch {
    /// True if the request's path matches.
    pub fn matches(&self, request: &RequestHead) -> bool {
        let connect = request.method == http::Method::CONNECT && request.upgrade.is_none();
        match self {
            Self::Prefix(matcher, _) if !connect => {
                matcher.matches(request.path.as_str().as_bytes())
            }
            Self::Exact(matcher, _) if !connect => matcher.matches(request.path_only().as_bytes()),
            Self::Regex(regex) if !connect => regex.is_match(request.path_only().as_bytes()),
            Self::Segments(matcher, prefix) if !connect => {
                segments(matcher, prefix, request.path_only())
            }
            Self::Connect => connect,
            _ => false,
        }
    }
}

/// `/a` covers `/a` and `/a/b`, but not `/ab`.
fn segments(matcher: &StringMatcher, prefix: &str, path: &str) -> bool {
    matcher.matches(path.as_bytes())
        && path
            .as_bytes()
            .get(prefix.len())
            .is_none_or(|next| *next == b'/')
}
