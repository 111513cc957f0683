//! Where a redirect route sends the client.

use super::matcher::without_port;
use super::rewrite::{replace_prefix, substitute};
use crate::config::route::{Redirect, RedirectPath, RedirectScheme, RouteMatch};
use crate::stream::RequestHead;

/// The `location`.
pub fn location(redirect: &Redirect, matched: &RouteMatch, request: &RequestHead) -> String {
    let scheme = match &redirect.scheme {
        RedirectScheme::Keep => request.scheme.as_str(),
        RedirectScheme::Https => "https",
        RedirectScheme::To(scheme) => scheme,
    };
    let authority = String::from_utf8_lossy(request.authority());
    let (host, port) = host_and_port(redirect, scheme, request.scheme.as_str(), &authority);
    let path = path(redirect, matched, request);
    format!("{scheme}://{host}{port}{path}")
}

/// The host, and the port with its colon. A port that is the scheme's own goes when the scheme changes.
fn host_and_port<'a>(
    redirect: &'a Redirect,
    scheme: &str,
    request_scheme: &str,
    authority: &'a str,
) -> (&'a str, String) {
    if let Some(host) = &redirect.host {
        let port = redirect.port.map(|port| format!(":{port}"));
        return (host, port.unwrap_or_default());
    }
    let bare = without_port(authority);
    if let Some(port) = redirect.port {
        return (bare, format!(":{port}"));
    }
    let default = match request_scheme {
        "http" => ":80",
        _ => ":443",
    };
    let port = &authority[bare.len()..];
    let drop = scheme != request_scheme && port == default;
    (bare, if drop { String::new() } else { port.to_owned() })
}

fn path(redirect: &Redirect, matched: &RouteMatch, request: &RequestHead) -> String {
    let target = request.path.as_str();
    let kept_query = match request.path.query() {
        Some(query) if !redirect.strip_query => format!("?{query}"),
        _ => String::new(),
    };
    match &redirect.path {
        RedirectPath::Replace(path) if path.contains('?') => path.to_string(),
        RedirectPath::Replace(path) => format!("{path}{kept_query}"),
        RedirectPath::Prefix(prefix) => {
            let rewritten = replace_prefix(&matched.path, prefix, request.path_only());
            rewritten + &kept_query
        }
        RedirectPath::Regex(rewrite) => substitute(rewrite, request.path_only()) + &kept_query,
        RedirectPath::Keep if redirect.strip_query => request.path_only().to_owned(),
        RedirectPath::Keep => target.to_owned(),
    }
}
