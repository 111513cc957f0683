//! Who is talking: transport (`PeerAuthentication`) and request (`RequestAuthentication`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::labels::Selector;
use crate::resource::Meta;

/// One PeerAuthentication object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAuthentication {
    /// The object; without selector in the root namespace it applies to the mesh.
    pub meta: Meta,
    /// The pods; `None` for the namespace.
    pub selector: Option<Selector>,
    /// `mtls.mode`; `None` (UNSET) inherits.
    pub mode: Option<MtlsMode>,
    /// `portLevelMtls` by workload port; `None` (UNSET) inherits from `mode`.
    pub port_modes: BTreeMap<u16, Option<MtlsMode>>,
}

/// `mtls.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MtlsMode {
    /// Plaintext (or the application's own TLS).
    Disable,
    /// Both.
    Permissive,
    /// mTLS only.
    Strict,
}

/// One RequestAuthentication object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestAuthentication {
    /// The object.
    pub meta: Meta,
    /// The pods; `None` for the namespace.
    pub selector: Option<Selector>,
    /// Accepted issuers.
    pub rules: Vec<JwtRule>,
}

/// One `jwtRules[]` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtRule {
    /// `iss`; empty accepts any.
    pub issuer: Arc<str>,
    /// Accepted `aud`; empty accepts any.
    pub audiences: Vec<Arc<str>>,
    /// Where the keys are.
    pub keys: JwtKeys,
    /// Headers that carry the token; with all locations empty: `Authorization: Bearer`, `access_token`.
    pub from_headers: Vec<JwtHeader>,
    /// Query parameters that carry the token.
    pub from_params: Vec<Arc<str>>,
    /// Cookies that carry the token.
    pub from_cookies: Vec<Arc<str>>,
    /// Header for the payload.
    pub output_payload_to_header: Option<Arc<str>>,
    /// Headers for single claims: header, claim.
    pub output_claim_to_headers: Vec<(Arc<str>, Arc<str>)>,
    /// Keep the token for the application.
    pub forward_original_token: bool,
    /// Limit of fetching keys.
    pub timeout: Duration,
}

/// Key source of a JWT rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwtKeys {
    /// The issuer's OpenID discovery document.
    Discovery,
    /// `jwksUri`.
    Uri(Arc<str>),
    /// `jwks`.
    Inline(Arc<str>),
}

/// One `fromHeaders[]` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtHeader {
    /// The header.
    pub name: Arc<str>,
    /// What stands before the token.
    pub prefix: Arc<str>,
}
