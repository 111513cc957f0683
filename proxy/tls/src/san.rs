//! Subject alternative names: reading them and matching them
//! (`match_typed_subject_alt_names`).

use std::net::IpAddr;

use mesh_api::regex::Regex;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::X509Certificate;
use xds::envoy::matcher::StringMatcher;
use xds::envoy::matcher::string_matcher::MatchPattern;
use xds::envoy::tls as proto;
use xds::envoy::tls::subject_alt_name_matcher::SanType;

use crate::error::{ConfigError, Within};

/// The names in a certificate.
#[derive(Debug, Default)]
pub(super) struct SanList<'a> {
    pub(super) uris: Vec<&'a str>,
    pub(super) dns: Vec<&'a str>,
    pub(super) emails: Vec<&'a str>,
    pub(super) ips: Vec<IpAddr>,
}

impl<'a> SanList<'a> {
    pub(super) fn of(certificate: &X509Certificate<'a>) -> Self {
        let mut list = Self::default();
        for extension in certificate.extensions() {
            // The names borrow from the certificate's bytes, not from the parsed value.
            if let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() {
                for name in &names.general_names {
                    list.push(name);
                }
            }
        }
        list
    }

    fn push(&mut self, name: &GeneralName<'a>) {
        match name {
            GeneralName::URI(uri) => self.uris.push(uri),
            GeneralName::DNSName(dns) => self.dns.push(dns),
            GeneralName::RFC822Name(email) => self.emails.push(email),
            GeneralName::IPAddress(bytes) => self.ips.extend(ip(bytes)),
            _ => {}
        }
    }
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

/// One matcher, compiled.
#[derive(Debug, Clone)]
pub struct SanMatcher {
    kind: Kind,
    pattern: Pattern,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Uri,
    Dns,
    Email,
    Ip,
    /// `match_subject_alt_names`: URI, DNS or IP.
    Any,
}

#[derive(Debug, Clone)]
enum Pattern {
    Exact(Box<str>),
    Prefix(Box<str>),
    Suffix(Box<str>),
    Contains(Box<str>),
    Regex(Regex),
    /// Lower-cased pattern, compared with the lower-cased name.
    IgnoreCase(Box<Pattern>),
}

impl SanMatcher {
    /// A matcher of one URI SAN, as `auto_sni_san_validation` and tests need it.
    pub fn uri(exact: &str) -> Self {
        Self {
            kind: Kind::Uri,
            pattern: Pattern::Exact(exact.into()),
        }
    }

    /// A matcher of one DNS SAN with RFC 6125 wildcards in the certificate.
    pub fn dns(exact: &str) -> Self {
        Self {
            kind: Kind::Dns,
            pattern: Pattern::Exact(exact.into()),
        }
    }

    /// All matchers of a validation context.
    pub(super) fn all(
        context: &proto::CertificateValidationContext,
    ) -> Result<Vec<Self>, ConfigError> {
        let mut matchers = Vec::new();
        for (index, typed) in context.match_typed_subject_alt_names.iter().enumerate() {
            let path = format!("match_typed_subject_alt_names[{index}]");
            matchers.push(Self::typed(typed).within(path)?);
        }
        // The untyped list is deprecated and ignored by Envoy where the typed one is set.
        #[allow(deprecated)]
        if matchers.is_empty() {
            for (index, matcher) in context.match_subject_alt_names.iter().enumerate() {
                let path = format!("match_subject_alt_names[{index}]");
                matchers.push(Self {
                    kind: Kind::Any,
                    pattern: Pattern::from_proto(matcher).within(path)?,
                });
            }
        }
        Ok(matchers)
    }

    fn typed(typed: &proto::SubjectAltNameMatcher) -> Result<Self, ConfigError> {
        let kind = match typed.san_type() {
            SanType::Uri => Kind::Uri,
            SanType::Dns => Kind::Dns,
            SanType::Email => Kind::Email,
            SanType::IpAddress => Kind::Ip,
            other => {
                return Err(ConfigError::unsupported("san_type", other.as_str_name()));
            }
        };
        let matcher = typed.matcher.as_ref();
        let matcher = matcher.ok_or_else(|| ConfigError::new("matcher", "is missing"))?;
        Ok(Self {
            kind,
            pattern: Pattern::from_proto(matcher).within("matcher")?,
        })
    }

    /// Whether one of the certificate's names matches.
    pub(super) fn matches(&self, names: &SanList<'_>) -> bool {
        let uri = || names.uris.iter().any(|name| self.pattern.matches(name));
        let dns = || names.dns.iter().any(|name| self.pattern.matches_dns(name));
        let ip = || {
            names
                .ips
                .iter()
                .any(|ip| self.pattern.matches(&ip.to_string()))
        };
        match self.kind {
            Kind::Uri => uri(),
            Kind::Dns => dns(),
            Kind::Ip => ip(),
            Kind::Email => names.emails.iter().any(|name| self.pattern.matches(name)),
            Kind::Any => uri() || dns() || ip(),
        }
    }
}

impl std::fmt::Display for SanMatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.pattern.fmt(f)
    }
}

impl Pattern {
    fn from_proto(matcher: &StringMatcher) -> Result<Self, ConfigError> {
        let fold = |text: &str| -> Box<str> {
            if matcher.ignore_case {
                text.to_ascii_lowercase().into()
            } else {
                text.into()
            }
        };
        let pattern = match &matcher.match_pattern {
            Some(MatchPattern::Exact(text)) => Self::Exact(fold(text)),
            Some(MatchPattern::Prefix(text)) => Self::Prefix(fold(text)),
            Some(MatchPattern::Suffix(text)) => Self::Suffix(fold(text)),
            Some(MatchPattern::Contains(text)) => Self::Contains(fold(text)),
            Some(MatchPattern::SafeRegex(regex)) => {
                let regex = Regex::full_match(&regex.regex)
                    .map_err(|error| ConfigError::new("safe_regex", error.to_string()))?;
                return Ok(Self::Regex(regex));
            }
            Some(MatchPattern::Custom(_)) => {
                return Err(ConfigError::unsupported("custom", "a custom matcher"));
            }
            None => return Err(ConfigError::new("match_pattern", "is missing")),
        };
        Ok(if matcher.ignore_case {
            Self::IgnoreCase(Box::new(pattern))
        } else {
            pattern
        })
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(text) => name == &**text,
            Self::Prefix(text) => name.starts_with(&**text),
            Self::Suffix(text) => name.ends_with(&**text),
            Self::Contains(text) => name.contains(&**text),
            Self::Regex(regex) => regex.is_match(name.as_bytes()),
            Self::IgnoreCase(pattern) => pattern.matches(&name.to_ascii_lowercase()),
        }
    }

    /// DNS names in certificates may be wildcards, and never mind case.
    fn matches_dns(&self, name: &str) -> bool {
        match self {
            Self::Exact(text) => covers(name, text),
            other => other.matches(name),
        }
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(text) => f.write_str(text),
            Self::Prefix(text) => write!(f, "{text}*"),
            Self::Suffix(text) => write!(f, "*{text}"),
            Self::Contains(text) => write!(f, "*{text}*"),
            Self::Regex(regex) => write!(f, "~{}", regex.as_str()),
            Self::IgnoreCase(pattern) => pattern.fmt(f),
        }
    }
}

/// Whether a name in a certificate covers a host: equal, or `*.` for exactly one label (RFC 6125 6.4.3).
pub(super) fn covers(name: &str, host: &str) -> bool {
    if name.eq_ignore_ascii_case(host) {
        return true;
    }
    let (Some(suffix), Some((label, rest))) = (name.strip_prefix("*."), host.split_once('.'))
    else {
        return false;
    };
    !label.is_empty() && rest.eq_ignore_ascii_case(suffix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> SanList<'static> {
        SanList {
            uris: vec!["spiffe://cluster.local/ns/default/sa/reviews"],
            dns: vec!["*.example.com"],
            emails: vec!["a@b"],
            ips: vec![IpAddr::from([10, 0, 0, 1])],
        }
    }

    fn typed(san_type: SanType, pattern: MatchPattern) -> SanMatcher {
        SanMatcher::typed(&proto::SubjectAltNameMatcher {
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
