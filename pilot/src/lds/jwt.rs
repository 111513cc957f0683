//! Tokens of requests: the filter that verifies them and shows their claims to the authorization
//! rules behind it.
//!
//! Keys must be written in the rule (`jwks`). A rule whose keys would have to be fetched gets one
//! that matches nothing, so that its tokens are refused: what cannot be verified is not believed.

use std::collections::HashMap;
use std::sync::Arc;

use mesh_api::authn::{JwtKeys, JwtRule, RequestAuthentication};
use xds::envoy::core;
use xds::envoy::http::jwt_authn::{
    JwtAuthentication, JwtClaimToHeader, JwtHeader, JwtProvider, JwtRequirement,
    JwtRequirementOrList, RequirementRule, jwt_provider::JwksSourceSpecifier,
    jwt_requirement::RequiresType, requirement_rule::RequirementType,
};
use xds::envoy::network::http_connection_manager::HttpFilter;
use xds::envoy::route::{RouteMatch, route_match::PathSpecifier};

use super::http_connection_manager::http_filter;

/// Seconds by which clocks may differ.
const CLOCK_SKEW_SECONDS: u32 = 60;
/// Stands for keys that are not known: the private half of this key was never kept, so no token
/// matches it. Envoy refuses a provider without any key.
const UNKNOWN_KEY: &str = concat!(
    r#"{"keys":[{"kty":"EC","crv":"P-256","alg":"ES256","use":"sig","kid":"unknown","#,
    r#""x":"ka04TCapa18fkf3iDbbffbBxpRzeyPrW7OnMkVDPnN0","#,
    r#""y":"Qik3wJ0Dd1Nx0MZ3kflPR-rh7sXakN9L32VlWstC4xI"}]}"#
);
/// Under which key the payload is shown to other filters.
const PAYLOAD: &str = "payload";

/// The filter of these objects; none without rules.
pub(crate) fn filters(objects: &[Arc<RequestAuthentication>]) -> Vec<HttpFilter> {
    let rules: Vec<&JwtRule> = objects.iter().flat_map(|object| &object.rules).collect();
    if rules.is_empty() {
        return Vec::new();
    }
    let name = |index: usize| format!("origins-{index}");
    let providers: HashMap<_, _> = rules
        .iter()
        .enumerate()
        .map(|(index, rule)| (name(index), provider(rule)))
        .collect();
    // Any issuer's token will do, and so will none; one that no issuer accepts is refused.
    let accepted = (0..rules.len())
        .map(|index| requirement(RequiresType::ProviderName(name(index))))
        .chain([requirement(RequiresType::AllowMissing(Default::default()))]);
    let required = requirement(RequiresType::RequiresAny(JwtRequirementOrList {
        requirements: accepted.collect(),
    }));
    let config = JwtAuthentication {
        providers,
        rules: vec![RequirementRule {
            r#match: Some(RouteMatch {
                path_specifier: Some(PathSpecifier::Prefix("/".to_owned())),
                ..Default::default()
            }),
            requirement_type: Some(RequirementType::Requires(required)),
        }],
        bypass_cors_preflight: true,
        ..Default::default()
    };
    vec![http_filter("envoy.filters.http.jwt_authn", &config)]
}

fn provider(rule: &JwtRule) -> JwtProvider {
    let keys = match &rule.keys {
        JwtKeys::Inline(keys) => keys.to_string(),
        JwtKeys::Discovery | JwtKeys::Uri(_) => UNKNOWN_KEY.to_owned(),
    };
    let strings = |texts: &[Arc<str>]| texts.iter().map(ToString::to_string).collect();
    JwtProvider {
        issuer: rule.issuer.to_string(),
        audiences: strings(&rule.audiences),
        from_headers: rule
            .from_headers
            .iter()
            .map(|header| JwtHeader {
                name: header.name.to_string(),
                value_prefix: header.prefix.to_string(),
            })
            .collect(),
        from_params: strings(&rule.from_params),
        from_cookies: strings(&rule.from_cookies),
        forward: rule.forward_original_token,
        forward_payload_header: rule
            .output_payload_to_header
            .as_deref()
            .unwrap_or_default()
            .to_owned(),
        claim_to_headers: rule
            .output_claim_to_headers
            .iter()
            .map(|(header, claim)| JwtClaimToHeader {
                header_name: header.to_string(),
                claim_name: claim.to_string(),
                ..Default::default()
            })
            .collect(),
        payload_in_metadata: PAYLOAD.to_owned(),
        clock_skew_seconds: CLOCK_SKEW_SECONDS,
        jwks_source_specifier: Some(JwksSourceSpecifier::LocalJwks(core::DataSource {
            specifier: Some(core::data_source::Specifier::InlineString(keys)),
            ..Default::default()
        })),
        ..Default::default()
    }
}

fn requirement(requires: RequiresType) -> JwtRequirement {
    JwtRequirement {
        requires_type: Some(requires),
    }
}
