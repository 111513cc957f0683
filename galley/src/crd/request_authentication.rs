//! `RequestAuthentication`, security.istio.io.

use super::definition::constraint::{at_most_one, one_target};
use super::{LabelSelector, TargetRef, wire};
use crate::decode::jsonpb::GoDuration;

wire! {
    #[schemars(extend("x-kubernetes-validations" = [one_target()]))]
    RequestAuthentication {
        /// The pods that this is for; all of the namespace without it
        selector: Option<LabelSelector>,
        target_ref: Option<TargetRef>,
        /// The objects that this is for
        target_refs: Vec<TargetRef>,
        /// The tokens that are accepted
        jwt_rules: Vec<JwtRule>,
    }

    #[schemars(extend("oneOf" = at_most_one(&["jwksUri", "jwks"])))]
    JwtRule {
        /// Who issues them
        issuer: String,
        /// Audiences of which a token must have one
        audiences: Vec<String>,
        /// Where the keys are
        jwks_uri: String,
        /// The keys
        jwks: String,
        /// Headers with the token
        from_headers: Vec<JwtHeader>,
        /// Parameters of the query with the token
        from_params: Vec<String>,
        /// Cookies with the token
        from_cookies: Vec<String>,
        /// Header that gets the content of the token
        output_payload_to_header: String,
        /// Headers that get claims
        output_claim_to_headers: Vec<ClaimToHeader>,
        /// Keep the token in the request
        forward_original_token: bool,
        /// Limit for fetching the keys
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
