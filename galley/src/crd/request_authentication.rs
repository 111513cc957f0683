//! `RequestAuthentication`, security.istio.io.

use super::definition::constraint::{at_most_one, one_target};
use super::{LabelSelector, TargetRef, wire};
use crate::decode::jsonpb::GoDuration;

wire! {
    #[schemars(extend("x-kubernetes-validations" = [one_target()]))]
    RequestAuthentication {
        selector: Option<LabelSelector>,
        target_ref: Option<TargetRef>,
        target_refs: Vec<TargetRef>,
        jwt_rules: Vec<JwtRule>,
    }

    #[schemars(extend("oneOf" = at_most_one(&["jwksUri", "jwks"])))]
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

    #[schemars(extend("required" = ["name"]))]
    JwtHeader {
        name: String,
        prefix: String,
    }

    #[schemars(extend("required" = ["header", "claim"]))]
    ClaimToHeader {
        header: String,
        claim: String,
    }
}
