//! Responses that the proxy gives by itself, and rewrites of the path and of the authority.

use bytes::Bytes;
use mesh_api::route::redirect::{DirectResponse, Redirect, RedirectPath, RedirectPort, Scheme};
use mesh_api::route::rewrite::{PathRewrite, Rewrite};

use super::http_match::WireHttpMatch;
use crate::decode::jsonpb::{Base64, wire_enum};
use crate::kinds::definition::constraint::at_most_one;
use crate::kinds::findings::Findings;
use crate::kinds::rules::{self, some};
use crate::kinds::wire::wire;
use crate::manifest::path::FieldPath;

/// Larger bodies are refused; Istio's limit.
const BODY_BYTES_MAX: usize = 1 << 20;
const BODY_BYTES_WARN: usize = 100 << 10;

const REDIRECT_CODE: u16 = 301;
const REDIRECT_CODES: [u16; 5] = [301, 302, 303, 307, 308];

wire! {
    #[schemars(extend("oneOf" = at_most_one(&["port", "derivePort"])))]
    WireRedirect {
        /// Path of the new URL, instead of the whole path. By default the path stays.
        uri: String,
        /// Path that replaces the prefix that matched. Every match of the rule must have a uri.prefix.
        prefix_rewrite: String,
        /// Authority of the new URL. By default it stays.
        authority: String,
        /// Port of the new URL.
        port: Option<u32>,
        /// Port of the new URL: FROM_PROTOCOL_DEFAULT is 80 or 443 by the scheme, FROM_REQUEST_PORT is that of the
        /// request.
        derive_port: Option<DerivePort>,
        /// Scheme of the new URL, http or https. By default it stays.
        scheme: String,
        /// Status of the response: 301 (default), 302, 303, 307 or 308.
        redirect_code: u32,
    }

    #[schemars(extend("required" = ["status"]))]
    WireResponse {
        /// Status of the response, 200 to 599.
        status: u32,
        /// Body of the response, up to 1 MiB. By default empty.
        body: Option<WireBody>,
    }

    #[schemars(extend("oneOf" = at_most_one(&["string", "bytes"])))]
    WireBody {
        /// Body as text.
        string: Option<String>,
        /// Body as base64.
        bytes: Option<Base64>,
    }

    WireRewrite {
        /// New path. Replaces the prefix where the match is by uri.prefix, else the whole path.
        uri: String,
        /// New Host header or :authority.
        authority: String,
        /// Substitution in the path by a regular expression. Excludes uri.
        uri_regex_rewrite: Option<RegexRewrite>,
    }

    RegexRewrite {
        /// A regular expression (RE2 syntax); every part of the path that matches is replaced.
        r#match: String,
        /// Replacement, in which \1 to \9 stand for the groups.
        rewrite: String,
    }
}

wire_enum!(
    DerivePort {
        #[default]
        FromProtocolDefault = "FROM_PROTOCOL_DEFAULT" / 0,
        FromRequestPort = "FROM_REQUEST_PORT" / 1,
    }
);

/// `matches` are those of the rule.
pub(super) fn read(
    wire: &WireRedirect,
    matches: &[WireHttpMatch],
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<Redirect> {
    if *wire == WireRedirect::default() {
        findings
            .error(path, "the redirect changes nothing")
            .suggest("set uri, authority, scheme or port");
    }
    let paths = [
        ("uri", !wire.uri.is_empty()),
        ("prefixRewrite", !wire.prefix_rewrite.is_empty()),
    ];
    rules::at_most_one(&paths, path, findings);
    let ports = [
        ("port", wire.port.is_some()),
        ("derivePort", wire.derive_port.is_some()),
    ];
    rules::at_most_one(&ports, path, findings);
    let new_path = new_path(wire, matches, path, findings);
    let port = match (wire.port, wire.derive_port) {
        (Some(number), _) => {
            let number = rules::port(number, &path.field("port"), findings);
            number.map(|number| Some(RedirectPort::Number(number)))
        }
        (None, Some(DerivePort::FromProtocolDefault)) => Some(Some(RedirectPort::ProtocolDefault)),
        (None, Some(DerivePort::FromRequestPort)) => Some(Some(RedirectPort::Request)),
        (None, None) => Some(None),
    };
    let scheme = scheme(&wire.scheme, &path.field("scheme"), findings);
    let code = redirect_code(wire.redirect_code, &path.field("redirectCode"), findings);
    Some(Redirect {
        path: new_path,
        authority: some(&wire.authority),
        port: port?,
        scheme,
        code: code?,
    })
}

fn new_path(
    wire: &WireRedirect,
    matches: &[WireHttpMatch],
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<RedirectPath> {
    let has_prefix = |one: &WireHttpMatch| one.uri.as_ref().is_some_and(|uri| uri.prefix.is_some());
    let all_prefix = !matches.is_empty() && matches.iter().all(has_prefix);
    if !wire.prefix_rewrite.is_empty() && !all_prefix {
        findings
            .error(
                &path.field("prefixRewrite"),
                "there is no prefix to replace",
            )
            .suggest("give every match of the rule a uri.prefix");
    }
    match (some(&wire.uri), some(&wire.prefix_rewrite)) {
        (Some(uri), _) => Some(RedirectPath::Full(uri)),
        (None, prefix) => prefix.map(RedirectPath::Prefix),
    }
}

fn scheme(text: &str, path: &FieldPath<'_>, findings: &mut Findings<'_>) -> Option<Scheme> {
    match text {
        "" => None,
        "http" => Some(Scheme::Http),
        "https" => Some(Scheme::Https),
        other => {
            let message = format!("scheme \"{other}\" is neither http nor https");
            findings.error(path, message);
            None
        }
    }
}

fn redirect_code(code: u32, path: &FieldPath<'_>, findings: &mut Findings<'_>) -> Option<u16> {
    if code == 0 {
        return Some(REDIRECT_CODE);
    }
    let mut known = REDIRECT_CODES.into_iter();
    let known = known.find(|known| u32::from(*known) == code);
    if known.is_none() {
        findings
            .error(path, format!("{code} is not a redirect code"))
            .suggest("write 301, 302, 303, 307 or 308");
    }
    known
}

pub(super) fn direct_response(
    wire: &WireResponse,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<DirectResponse> {
    let status = u16::try_from(wire.status).ok();
    let status = status.filter(|status| (200..=599).contains(status));
    if status.is_none() {
        let message = format!("status {} is not between 200 and 599", wire.status);
        findings.error(&path.field("status"), message);
    }
    let body = wire.body.as_ref();
    let body = body.and_then(|wire| body_bytes(wire, &path.field("body"), findings));
    Some(DirectResponse {
        status: status?,
        body,
    })
}

fn body_bytes(wire: &WireBody, path: &FieldPath<'_>, findings: &mut Findings<'_>) -> Option<Bytes> {
    let body = match (&wire.string, &wire.bytes) {
        (Some(_), Some(_)) => {
            findings.error(path, "only one of \"string\", \"bytes\" may be set");
            return None;
        }
        (Some(text), None) => Bytes::from(text.clone()),
        (None, Some(bytes)) => Bytes::from(bytes.0.clone()),
        (None, None) => return None,
    };
    let length = body.len();
    if length > BODY_BYTES_MAX {
        findings.error(
            path,
            format!("the body of {length} bytes is larger than 1 MiB"),
        );
    } else if length > BODY_BYTES_WARN {
        findings.warn(
            path,
            format!("every proxy holds this body of {length} bytes"),
        );
    }
    Some(body)
}

pub(super) fn rewrite(
    wire: &WireRewrite,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Rewrite {
    let paths = [
        ("uri", !wire.uri.is_empty()),
        ("uriRegexRewrite", wire.uri_regex_rewrite.is_some()),
    ];
    if rules::at_most_one(&paths, path, findings) == 0 && wire.authority.is_empty() {
        findings
            .error(path, "the rewrite changes nothing")
            .suggest("set uri or authority");
    }
    let by_regex = wire.uri_regex_rewrite.as_ref().map(|wire| {
        let at = path.field("uriRegexRewrite");
        let pattern = at.field("match");
        match wire.r#match.as_str() {
            "" => {
                findings.error(&pattern, "the expression is empty");
            }
            text => rules::regex(text, &pattern, findings),
        }
        PathRewrite::Regex {
            pattern: wire.r#match.as_str().into(),
            substitution: wire.rewrite.as_str().into(),
        }
    });
    Rewrite {
        path: by_regex.or_else(|| some(&wire.uri).map(PathRewrite::Uri)),
        authority: some(&wire.authority),
    }
}
