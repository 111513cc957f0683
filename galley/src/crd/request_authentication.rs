//! `RequestAuthentication`, security.istio.io.

use super::{LabelSelector, TargetRef, wire};
use crate::decode::jsonpb::GoDuration;

wire! {
    RequestAuthentication {
        selector: Option<LabelSelector>,
        target_ref: Option<TargetRef>,
        target_refs: Vec<TargetRef>,
        jwt_rules: Vec<JwtRule>,
    }

    JwtRule {
        issuer: String,
        audiences: Vec<String>,
        jwks_uri: String,
        jwks: String,
        from_headers: Vec<JwtHeader>,
        from_params: Vec<String>,
        from_cookies: Vec<String>,
        output_payload_to_header: String,
        output_claim_to_headers: Vec<ClaimToHeader>,
        forward_original_token: bool,
        timeout: Option<GoDuration>,
        space_delimited_claims: Vec<String>,
    }

    JwtHeader {
        name: String,
        prefix: String,
    }

    ClaimToHeader {
        header: String,
        claim: String,
    }
}
