//! `CorsPolicy`.

use xds::envoy::http::cors::CorsPolicy as WireCors;

use crate::any::bool_or;
use crate::config::error::{ConfigError, Within};
use crate::config::filter::cors::CorsPolicy;
use crate::headers::value;
use crate::matchers;

pub(super) fn cors(proto: &WireCors) -> Result<CorsPolicy, ConfigError> {
    let list = |text: &str, field: &str| match text {
        "" => Ok(None),
        text => value(text).map(Some).within(field),
    };
    let flag = |proto: &Option<_>| proto.as_ref().map(|flag| bool_or(Some(flag), false));
    let origins = proto.allow_origin_string_match.iter().enumerate();
    let origins = origins.map(|(n, proto)| {
        matchers::string(proto).within(format_args!("allow_origin_string_match[{n}]"))
    });
    let fraction = |proto: &Option<_>| proto.as_ref().and_then(matchers::runtime_fraction);
    Ok(CorsPolicy {
        allow_origins: origins.collect::<Result<_, _>>()?,
        allow_methods: list(&proto.allow_methods, "allow_methods")?,
        allow_headers: list(&proto.allow_headers, "allow_headers")?,
        expose_headers: list(&proto.expose_headers, "expose_headers")?,
        max_age: list(&proto.max_age, "max_age")?,
        allow_credentials: flag(&proto.allow_credentials),
        forward_unmatched_preflights: flag(&proto.forward_not_matching_preflights),
        allow_private_network: flag(&proto.allow_private_network_access),
        enabled: fraction(&proto.filter_enabled),
    })
}
