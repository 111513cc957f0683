//! Which names a peer must have, from protobuf.

use mesh_api::regex::Regex;
use xds::envoy::matcher::StringMatcher;
use xds::envoy::matcher::string_matcher::MatchPattern;
use xds::envoy::tls as proto;
use xds::envoy::tls::subject_alt_name_matcher::SanType;

use crate::config::error::{ConfigError, Within};
use crate::config::tls::san::{SanKind, SanMatcher, SanPattern};

/// All matchers of a validation context.
pub(super) fn all(
    context: &proto::CertificateValidationContext,
) -> Result<Vec<SanMatcher>, ConfigError> {
    let mut matchers = Vec::new();
    for (index, matcher) in context.match_typed_subject_alt_names.iter().enumerate() {
        let path = format!("match_typed_subject_alt_names[{index}]");
        matchers.push(typed(matcher).within(path)?);
    }
    // The untyped list is deprecated and ignored by Envoy where the typed one is set.
    #[allow(deprecated)]
    if matchers.is_empty() {
        for (index, matcher) in context.match_subject_alt_names.iter().enumerate() {
            let path = format!("match_subject_alt_names[{index}]");
            matchers.push(SanMatcher {
                kind: SanKind::Any,
                pattern: pattern(matcher).within(path)?,
            });
        }
    }
    Ok(matchers)
}

fn typed(typed: &proto::SubjectAltNameMatcher) -> Result<SanMatcher, ConfigError> {
    let kind = match typed.san_type() {
        SanType::Uri => SanKind::Uri,
        SanType::Dns => SanKind::Dns,
        SanType::Email => SanKind::Email,
        SanType::IpAddress => SanKind::Ip,
        other => {
            return Err(ConfigError::unsupported("san_type", other.as_str_name()));
        }
    };
    let matcher = typed.matcher.as_ref();
    let matcher = matcher.ok_or_else(|| ConfigError::new("matcher", "is missing"))?;
    Ok(SanMatcher {
        kind,
        pattern: pattern(matcher).within("matcher")?,
    })
}

fn pattern(matcher: &StringMatcher) -> Result<SanPattern, ConfigError> {
    let fold = |text: &str| -> Box<str> {
        if matcher.ignore_case {
            text.to_ascii_lowercase().into()
        } else {
            text.into()
        }
    };
    let pattern = match &matcher.match_pattern {
        Some(MatchPattern::Exact(text)) => SanPattern::Exact(fold(text)),
        Some(MatchPattern::Prefix(text)) => SanPattern::Prefix(fold(text)),
        Some(MatchPattern::Suffix(text)) => SanPattern::Suffix(fold(text)),
        Some(MatchPattern::Contains(text)) => SanPattern::Contains(fold(text)),
        Some(MatchPattern::SafeRegex(regex)) => {
            let regex = Regex::full_match(&regex.regex)
                .map_err(|error| ConfigError::new("safe_regex", error.to_string()))?;
            return Ok(SanPattern::Regex(regex));
        }
        Some(MatchPattern::Custom(_)) => {
            return Err(ConfigError::unsupported("custom", "a custom matcher"));
        }
        None => return Err(ConfigError::new("match_pattern", "is missing")),
    };
    Ok(if matcher.ignore_case {
        SanPattern::IgnoreCase(Box::new(pattern))
    } else {
        pattern
    })
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::config::tls::san::SanList;

    fn list() -> SanList<'static> {
        SanList {
            uris: vec!["spiffe://cluster.local/ns/default/sa/reviews"],
            dns: vec!["*.example.com"],
            emails: vec!["a@b"],
            ips: vec![IpAddr::from([10, 0, 0, 1])],
        }
    }

    fn typed(san_type: SanType, pattern: MatchPattern) -> SanMatcher {
        super::typed(&proto::SubjectAltNameMatcher {
            san_type: san_type.into(),
            matcher: Some(StringMatcher {
                ignore_case: false,
                match_pattern: Some(pattern),
            }),
            oid: String::new(),
        })
        .unwrap()
    }

    #[rstest::rstest]
    #[case(SanType::Uri, MatchPattern::Exact("spiffe://cluster.local/ns/default/sa/reviews".into()), true)]
    #[case(SanType::Uri, MatchPattern::Exact("spiffe://cluster.local/ns/default/sa/review".into()), false)]
    #[case(SanType::Uri, MatchPattern::Prefix("spiffe://cluster.local/".into()), true)]
    #[case(SanType::Uri, MatchPattern::Prefix("spiffe://other/".into()), false)]
    #[case(SanType::Uri, MatchPattern::Suffix("/sa/reviews".into()), true)]
    #[case(SanType::Uri, MatchPattern::Contains("/ns/default/".into()), true)]
    #[case(SanType::Dns, MatchPattern::Exact("a.example.com".into()), true)]
    #[case(SanType::Dns, MatchPattern::Exact("a.b.example.com".into()), false)]
    #[case(SanType::Dns, MatchPattern::Exact("example.com".into()), false)]
    #[case(SanType::Dns, MatchPattern::Exact("spiffe://cluster.local/ns/default/sa/reviews".into()), false)]
    #[case(SanType::IpAddress, MatchPattern::Exact("10.0.0.1".into()), true)]
    #[case(SanType::Email, MatchPattern::Exact("a@b".into()), true)]
    fn a_matcher_looks_at_names_of_its_type(
        #[case] san_type: SanType,
        #[case] pattern: MatchPattern,
        #[case] expected: bool,
    ) {
        assert_eq!(typed(san_type, pattern).matches(&list()), expected);
    }

    #[test]
    fn regular_expressions_match_the_whole_name() {
        let regex = |text: &str| {
            MatchPattern::SafeRegex(xds::envoy::matcher::RegexMatcher {
                regex: text.into(),
                ..Default::default()
            })
        };
        assert!(typed(SanType::Uri, regex("spiffe://[a-z.]+/ns/default/.*")).matches(&list()));
        assert!(!typed(SanType::Uri, regex("/ns/default/")).matches(&list()));
    }
}
