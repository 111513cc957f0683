//! Rules of `RequestAuthentication`. Source: Istio
//! `validation.ValidateRequestAuthentication`.

use std::collections::BTreeSet;

use super::{Findings, rules};
use crate::crd::request_authentication::{JwtRule, RequestAuthentication};
use crate::manifest::path::FieldPath;

pub(super) fn validate(
    spec: &RequestAuthentication,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) {
    // The data plane verifies no tokens, so nothing may rely on them.
    findings.refuse_unsupported(
        &FieldPath::ROOT.field("kind"),
        "RequestAuthentication is not supported yet: the proxy verifies no tokens; remove the \
         object and verify them in the application",
    );
    let refs = &spec.target_refs;
    rules::attachment(
        spec.selector.as_ref(),
        spec.target_ref.as_ref(),
        refs,
        path,
        findings,
    );
    for (index, rule) in spec.jwt_rules.iter().enumerate() {
        jwt_rule(rule, &path.field("jwtRules").index(index), findings);
    }
}

fn jwt_rule(rule: &JwtRule, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    if rule.issuer.is_empty() && rule.jwks_uri.is_empty() && rule.jwks.is_empty() {
        findings
            .error(&path.field("issuer"), "the issuer is required")
            .suggest("set issuer, or jwksUri for tokens of any issuer");
    }
    let keys = [
        ("jwksUri", !rule.jwks_uri.is_empty()),
        ("jwks", !rule.jwks.is_empty()),
    ];
    rules::at_most_one(&keys, path, findings);
    if !rule.jwks_uri.is_empty() {
        let at = path.field("jwksUri");
        let uri = rule.jwks_uri.parse::<http::Uri>().ok();
        let web = uri.is_some_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
        });
        if !web || rule.jwks_uri.len() > 2048 {
            findings.error(
                &at,
                format!("\"{}\" is not an http or https URL", rule.jwks_uri),
            );
        }
    }
    if !rule.jwks.is_empty() {
        inline_keys(&rule.jwks, &path.field("jwks"), findings);
    }
    for (index, audience) in rule.audiences.iter().enumerate() {
        if audience.is_empty() {
            findings.error(
                &path.field("audiences").index(index),
                "the audience is empty",
            );
        }
    }
    locations(rule, path, findings);
    outputs(rule, path, findings);
    rules::duration(rule.timeout, &path.field("timeout"), findings);
    if !rule.space_delimited_claims.is_empty() {
        findings.not_supported(&path.field("spaceDelimitedClaims"));
    }
}

fn inline_keys(text: &str, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let parsed: Result<serde_json::Value, _> = serde_json::from_str(text);
    let keys = parsed
        .as_ref()
        .ok()
        .and_then(|set| set.get("keys"))
        .and_then(|keys| keys.as_array());
    match keys {
        None => {
            findings
                .error(path, "not a JSON web key set")
                .suggest("write {\"keys\": [...]}");
        }
        Some(keys) if keys.iter().any(|key| key.get("d").is_some()) => {
            findings
                .warn(
                    path,
                    "the key set holds a private key, which everyone can read now",
                )
                .suggest("publish the public keys only, and replace this key");
        }
        Some(_) => {}
    }
}

fn locations(rule: &JwtRule, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    for (index, header) in rule.from_headers.iter().enumerate() {
        let list = path.field("fromHeaders");
        let at = list.index(index);
        if !rules::is_header_name(&header.name) {
            findings.error(
                &at.field("name"),
                format!("\"{}\" is not a header name", header.name),
            );
        }
    }
    for (field, names) in [
        ("fromParams", &rule.from_params),
        ("fromCookies", &rule.from_cookies),
    ] {
        for (index, name) in names.iter().enumerate() {
            if name.is_empty() {
                findings.error(&path.field(field).index(index), "the name is empty");
            }
        }
    }
}

fn outputs(rule: &JwtRule, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let payload = &rule.output_payload_to_header;
    if !payload.is_empty() && !rules::is_header_name(payload) {
        let message = format!("\"{payload}\" is not a header name");
        findings.error(&path.field("outputPayloadToHeader"), message);
    }
    let mut seen = BTreeSet::new();
    for (index, output) in rule.output_claim_to_headers.iter().enumerate() {
        let list = path.field("outputClaimToHeaders");
        let at = list.index(index);
        if !rules::is_header_name(&output.header) {
            findings.error(
                &at.field("header"),
                format!("\"{}\" is not a header name", output.header),
            );
        } else if !seen.insert(output.header.to_ascii_lowercase()) {
            findings.error(
                &at.field("header"),
                format!("duplicate header \"{}\"", output.header),
            );
        }
        if output.claim.is_empty() {
            findings.error(&at.field("claim"), "the claim is required");
        }
    }
}
