//! `RequestAuthentication`, security.istio.io. Source: Istio
//! `validation.ValidateRequestAuthentication`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mesh_api::authn::{JwtHeader, JwtKeys, JwtRule, RequestAuthentication};
use mesh_api::resource::ResourceKey;

use super::definition::Definition;
use super::definition::constraint::{at_most_one, one_target};
use super::descriptor::Descriptor;
use super::findings::Findings;
use super::read::Read;
use super::rules::{self, each, shared, some};
use super::scope::Scope;
use super::stand_in::{self, deny_all};
use super::wire::{LabelSelector, TargetRef, wire};
use crate::decode::jsonpb::GoDuration;
use crate::manifest::path::FieldPath;

const NAME: &str = "RequestAuthentication";

/// Istio's limit of fetching keys.
const JWKS_TIMEOUT: Duration = Duration::from_secs(5);

wire! {
    #[schemars(extend("x-kubernetes-validations" = [one_target()]))]
    RequestAuthenticationSpec {
        /// Selects the workloads of the namespace that the policy applies to. By default all of the namespace, and
        /// in the root namespace all of the mesh.
        selector: Option<LabelSelector>,
        /// Deprecated: use targetRefs.
        target_ref: Option<TargetRef>,
        /// Objects that the policy is attached to, instead of selector. Not supported yet.
        target_refs: Vec<TargetRef>,
        /// The tokens (JWT) that are accepted. A request with any other token is refused; one without token passes.
        jwt_rules: Vec<WireRule>,
    }

    #[schemars(extend("oneOf" = at_most_one(&["jwksUri", "jwks"])))]
    WireRule {
        /// Issuer of the token (claim iss). Required unless jwksUri or jwks is set.
        issuer: String,
        /// Audiences (claim aud), of which the token must have one. By default any audience is accepted.
        audiences: Vec<String>,
        /// URL (http or https) of the keys as a JSON web key set. By default found through the issuer (OpenID
        /// Connect discovery).
        jwks_uri: String,
        /// The keys as a JSON web key set, instead of jwksUri.
        jwks: String,
        /// Headers that hold the token. By default "Authorization: Bearer TOKEN" and query parameter access_token.
        from_headers: Vec<WireHeader>,
        /// Query parameters that hold the token.
        from_params: Vec<String>,
        /// Cookies that hold the token.
        from_cookies: Vec<String>,
        /// Request header that receives the payload of a valid token, base64url-encoded.
        output_payload_to_header: String,
        /// Request headers that receive single claims of a valid token.
        output_claim_to_headers: Vec<ClaimToHeader>,
        /// True to forward the token to the application. By default it is removed from the request.
        forward_original_token: bool,
        /// Timeout for fetching the keys, at least 1ms. 5s by default.
        timeout: Option<GoDuration>,
        /// Not supported yet: claims whose text is a list of values, separated by spaces.
        space_delimited_claims: Vec<String>,
    }

    #[schemars(extend("required" = ["name"]))]
    WireHeader {
        /// Name of the header.
        name: String,
        /// Text before the token, such as "Bearer ".
        prefix: String,
    }

    #[schemars(extend("required" = ["header", "claim"]))]
    ClaimToHeader {
        /// Name of the request header.
        header: String,
        /// Name of the claim.
        claim: String,
    }
}

impl Read for RequestAuthenticationSpec {
    const KIND: Descriptor = Descriptor::defined(Definition {
        short_names: &["ra"],
        ..Definition::security::<Self>(NAME, "requestauthentications")
    });

    /// Policies are told apart by name, so the stand-in gets one that no AuthorizationPolicy can have.
    const STAND_IN: Option<stand_in::Make> = Some(|meta, selector| {
        let mut meta = meta.clone();
        let name = format!("{}@{NAME}", meta.key.name);
        meta.key = ResourceKey::new(NAME, &meta.key.namespace, &name);
        deny_all(meta, selector)
    });

    type Model = Arc<RequestAuthentication>;

    fn read(
        &self,
        scope: &Scope<'_>,
        findings: &mut Findings<'_>,
    ) -> Option<Arc<RequestAuthentication>> {
        // The data plane verifies no tokens, so nothing may rely on them.
        findings.refuse_unsupported(
            &FieldPath::ROOT.field("kind"),
            "RequestAuthentication is not supported yet: the proxy verifies no tokens; remove the \
             object and verify them in the application",
        );
        let root = FieldPath::ROOT;
        let path = root.field("spec");
        let selector = rules::attachment(
            self.selector.as_ref(),
            self.target_ref.as_ref(),
            &self.target_refs,
            &path,
            findings,
        );
        let list = path.field("jwtRules");
        let rules = each(&self.jwt_rules, &list, findings, |rule, at, findings| {
            Some(jwt_rule(rule, at, findings))
        });
        Some(Arc::new(RequestAuthentication {
            meta: scope.meta.clone(),
            selector,
            rules: rules?,
        }))
    }

    #[cfg(any(test, feature = "test-util"))]
    fn sample() -> serde_json::Value {
        serde_json::json!({"jwtRules": [{"issuer": "a"}]})
    }
}

fn jwt_rule(wire: &WireRule, path: &FieldPath<'_>, findings: &mut Findings<'_>) -> JwtRule {
    let keys = keys(wire, path, findings);
    for (index, audience) in wire.audiences.iter().enumerate() {
        if audience.is_empty() {
            let list = path.field("audiences");
            findings.error(&list.index(index), "the audience is empty");
        }
    }
    locations(wire, path, findings);
    outputs(wire, path, findings);
    rules::duration(wire.timeout, &path.field("timeout"), findings);
    if !wire.space_delimited_claims.is_empty() {
        findings.not_supported(&path.field("spaceDelimitedClaims"));
    }
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

fn keys(wire: &WireRule, path: &FieldPath<'_>, findings: &mut Findings<'_>) -> JwtKeys {
    if wire.issuer.is_empty() && wire.jwks_uri.is_empty() && wire.jwks.is_empty() {
        findings
            .error(&path.field("issuer"), "the issuer is required")
            .suggest("set issuer, or jwksUri for tokens of any issuer");
    }
    let set = [
        ("jwksUri", !wire.jwks_uri.is_empty()),
        ("jwks", !wire.jwks.is_empty()),
    ];
    rules::at_most_one(&set, path, findings);
    if !wire.jwks_uri.is_empty() {
        let uri = wire.jwks_uri.parse::<http::Uri>().ok();
        let web = uri.is_some_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
        });
        if !web || wire.jwks_uri.len() > 2048 {
            let message = format!("\"{}\" is not an http or https URL", wire.jwks_uri);
            findings.error(&path.field("jwksUri"), message);
        }
    }
    if !wire.jwks.is_empty() {
        inline_keys(&wire.jwks, &path.field("jwks"), findings);
    }
    match (some(&wire.jwks), some(&wire.jwks_uri)) {
        (Some(keys), _) => JwtKeys::Inline(keys),
        (None, Some(uri)) => JwtKeys::Uri(uri),
        (None, None) => JwtKeys::Discovery,
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

fn locations(wire: &WireRule, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    for (index, header) in wire.from_headers.iter().enumerate() {
        let list = path.field("fromHeaders");
        header_name(&header.name, &list.index(index).field("name"), findings);
    }
    for (field, names) in [
        ("fromParams", &wire.from_params),
        ("fromCookies", &wire.from_cookies),
    ] {
        for (index, name) in names.iter().enumerate() {
            if name.is_empty() {
                findings.error(&path.field(field).index(index), "the name is empty");
            }
        }
    }
}

fn outputs(wire: &WireRule, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let payload = &wire.output_payload_to_header;
    if !payload.is_empty() {
        header_name(payload, &path.field("outputPayloadToHeader"), findings);
    }
    let mut seen = BTreeSet::new();
    for (index, output) in wire.output_claim_to_headers.iter().enumerate() {
        let list = path.field("outputClaimToHeaders");
        let at = list.index(index);
        let legal = header_name(&output.header, &at.field("header"), findings);
        if legal && !seen.insert(output.header.to_ascii_lowercase()) {
            let message = format!("duplicate header \"{}\"", output.header);
            findings.error(&at.field("header"), message);
        }
        if output.claim.is_empty() {
            findings.error(&at.field("claim"), "the claim is required");
        }
    }
}

/// True for a legal name.
fn header_name(name: &str, path: &FieldPath<'_>, findings: &mut Findings<'_>) -> bool {
    let legal = rules::is_header_name(name);
    if !legal {
        findings.error(path, format!("\"{name}\" is not a header name"));
    }
    legal
}
