//! What routes do: redirects and direct responses here, forwarding in [`super::forward`].

use http::StatusCode;
use xds::envoy::core::DataSource;
use xds::envoy::core::data_source::Specifier;
use xds::envoy::route as wire;
use xds::envoy::route::redirect_action::{
    PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier,
};
use xds::envoy::route::route::Action as WireAction;

use super::{Outer, forward};
use crate::config::error::{ConfigError, Within};
use crate::config::route::{Action, DirectResponse, Redirect, RedirectPath, RedirectScheme};
use crate::context::ApplyContext;
use crate::http_filters::status_code;
use crate::matchers::{refuse, substitution};

/// Translates a route's action.
pub(super) fn action(
    proto: Option<&WireAction>,
    outer: &Outer,
    context: &mut ApplyContext<'_>,
) -> Result<Action, ConfigError> {
    Ok(match proto {
        Some(WireAction::Route(proto)) => Action::Forward(Box::new(
            forward::forward(proto, outer, context).within("route")?,
        )),
        Some(WireAction::Redirect(proto)) => {
            Action::Redirect(Box::new(redirect(proto).within("redirect")?))
        }
        Some(WireAction::DirectResponse(proto)) => {
            Action::Direct(Box::new(direct(proto).within("direct_response")?))
        }
        Some(WireAction::NonForwardingAction(_)) => Action::NonForwarding,
        Some(WireAction::FilterAction(_)) => {
            return Err(ConfigError::unsupported("filter_action", "an extension"));
        }
        None => return Err(ConfigError::new("action", "missing")),
    })
}

fn redirect(proto: &wire::RedirectAction) -> Result<Redirect, ConfigError> {
    let status = match proto.response_code() {
        RedirectResponseCode::MovedPermanently => StatusCode::MOVED_PERMANENTLY,
        RedirectResponseCode::Found => StatusCode::FOUND,
        RedirectResponseCode::SeeOther => StatusCode::SEE_OTHER,
        RedirectResponseCode::TemporaryRedirect => StatusCode::TEMPORARY_REDIRECT,
        RedirectResponseCode::PermanentRedirect => StatusCode::PERMANENT_REDIRECT,
    };
    let port = u16::try_from(proto.port_redirect)
        .map_err(|_| ConfigError::new("port_redirect", "not a port"))?;
    Ok(Redirect {
        status,
        scheme: match &proto.scheme_rewrite_specifier {
            Some(SchemeRewriteSpecifier::HttpsRedirect(true)) => RedirectScheme::Https,
            Some(SchemeRewriteSpecifier::SchemeRedirect(scheme)) => {
                RedirectScheme::To(scheme.as_str().into())
            }
            _ => RedirectScheme::Keep,
        },
        host: match proto.host_redirect.as_str() {
            "" => None,
            host => Some(host.into()),
        },
        port: (port > 0).then_some(port),
        path: match &proto.path_rewrite_specifier {
            None => RedirectPath::Keep,
            Some(PathRewriteSpecifier::PathRedirect(path)) => {
                RedirectPath::Replace(path.as_str().into())
            }
            Some(PathRewriteSpecifier::PrefixRewrite(prefix)) => {
                RedirectPath::Prefix(prefix.as_str().into())
            }
            Some(PathRewriteSpecifier::RegexRewrite(proto)) => {
                RedirectPath::Regex(substitution(proto).within("regex_rewrite")?)
            }
            Some(PathRewriteSpecifier::PathRewrite(_)) => {
                return Err(ConfigError::unsupported("path_rewrite", "a path template"));
            }
        },
        strip_query: proto.strip_query,
    })
}

fn direct(proto: &wire::DirectResponseAction) -> Result<DirectResponse, ConfigError> {
    refuse(proto.body_format.is_some(), "body_format")?;
    Ok(DirectResponse {
        status: status_code(proto.status).within("status")?,
        body: match &proto.body {
            Some(source) => data(source).within("body")?.into(),
            None => bytes::Bytes::new(),
        },
    })
}

fn data(source: &DataSource) -> Result<Vec<u8>, ConfigError> {
    let unreadable = |field: &str, error: &dyn std::fmt::Display| {
        ConfigError::new(field, format!("cannot be read: {error}"))
    };
    match &source.specifier {
        Some(Specifier::InlineString(text)) => Ok(text.clone().into_bytes()),
        Some(Specifier::InlineBytes(bytes)) => Ok(bytes.clone()),
        Some(Specifier::Filename(path)) => {
            std::fs::read(path).map_err(|error| unreadable("filename", &error))
        }
        Some(Specifier::EnvironmentVariable(name)) => std::env::var(name)
            .map(String::into_bytes)
            .map_err(|error| unreadable("environment_variable", &error)),
        None => Ok(Vec::new()),
    }
}
