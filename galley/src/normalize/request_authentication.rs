//! `RequestAuthentication`.

use std::time::Duration;

use mesh_api::authn::{JwtHeader, JwtKeys, JwtRule, RequestAuthentication};

use super::{Scope, label_selector, shared, some};
use crate::crd::request_authentication as wire;

/// Istio's limit of fetching keys.
const JWKS_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn normalize(
    spec: &wire::RequestAuthentication,
    scope: &Scope<'_>,
) -> RequestAuthentication {
    RequestAuthentication {
        meta: scope.meta.clone(),
        selector: label_selector(spec.selector.as_ref()),
        rules: spec.jwt_rules.iter().map(rule).collect(),
    }
}

fn rule(wire: &wire::JwtRule) -> JwtRule {
    let keys = match (some(&wire.jwks), some(&wire.jwks_uri)) {
        (Some(keys), _) => JwtKeys::Inline(keys),
        (None, Some(uri)) => JwtKeys::Uri(uri),
        (None, None) => JwtKeys::Discovery,
    };
    let headers = wire.from_headers.iter().map(|header| JwtHeader {
        name: header.name.as_str().into(),
        prefix: header.prefix.as_str().into(),
    });
    let outputs = wire.output_claim_to_headers.iter();
    JwtRule {
        issuer: wire.issuer.as_str().into(),
        audiences: shared(&wire.audiences),
        keys,
        from_headers: headers.collect(),
        from_params: shared(&wire.from_params),
        from_cookies: shared(&wire.from_cookies),
        output_payload_to_header: some(&wire.output_payload_to_header),
        output_claim_to_headers: outputs
            .map(|output| (output.header.as_str().into(), output.claim.as_str().into()))
            .collect(),
        forward_original_token: wire.forward_original_token,
        timeout: wire.timeout.map_or(JWKS_TIMEOUT, |timeout| timeout.0),
    }
}
