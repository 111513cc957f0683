//! Which names a peer's certificate must have (`match_typed_subject_alt_names`).

use std::net::IpAddr;

use mesh_api::regex::Regex;

/// The names in a certificate.
#[derive(Debug, Default)]
pub struct SanList<'a> {
    /// URIs.
    pub uris: Vec<&'a str>,
    /// DNS names.
    pub dns: Vec<&'a str>,
    /// E-mail addresses.
    pub emails: Vec<&'a str>,
    /// Addresses.
    pub ips: Vec<IpAddr>,
}

/// One matcher, compiled.
#[derive(Debug, Clone)]
pub struct SanMatcher {
    /// Which names it looks at.
    pub kind: SanKind,
    /// What they must be like.
    pub pattern: SanPattern,
}

/// A type of name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SanKind {
    /// A URI.
    Uri,
    /// A DNS name.
    Dns,
    /// An e-mail address.
    Email,
    /// An address.
    Ip,
    /// `match_subject_alt_names`: URI, DNS or IP.
    Any,
}

/// What a name must be like.
#[derive(Debug, Clone)]
pub enum SanPattern {
    /// Equal.
    Exact(Box<str>),
    /// Beginning with it.
    Prefix(Box<str>),
    /// Ending in it.
    Suffix(Box<str>),
    /// Containing it.
    Contains(Box<str>),
    /// Matching it as a whole.
    Regex(Regex),
    /// Lower-cased pattern, compared with the lower-cased name.
    IgnoreCase(Box<SanPattern>),
}

impl SanMatcher {
    /// A matcher of one URI SAN, as `auto_sni_san_validation` and tests need it.
    pub fn uri(exact: &str) -> Self {
        Self {
            kind: SanKind::Uri,
            pattern: SanPattern::Exact(exact.into()),
        }
    }

    /// A matcher of one DNS SAN with RFC 6125 wildcards in the certificate.
    pub fn dns(exact: &str) -> Self {
        Self {
            kind: SanKind::Dns,
            pattern: SanPattern::Exact(exact.into()),
        }
    }

    /// Whether one of the certificate's names matches.
    pub fn matches(&self, names: &SanList<'_>) -> bool {
        let uri = || names.uris.iter().any(|name| self.pattern.matches(name));
        let dns = || names.dns.iter().any(|name| self.pattern.matches_dns(name));
        let ip = || {
            names
                .ips
                .iter()
                .any(|ip| self.pattern.matches(&ip.to_string()))
        };
        match self.kind {
            SanKind::Uri => uri(),
            SanKind::Dns => dns(),
            SanKind::Ip => ip(),
            SanKind::Email => names.emails.iter().any(|name| self.pattern.matches(name)),
            SanKind::Any => uri() || dns() || ip(),
        }
    }
}

impl std::fmt::Display for SanMatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.pattern.fmt(f)
    }
}

impl SanPattern {
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

impl std::fmt::Display for SanPattern {
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
pub fn covers(name: &str, host: &str) -> bool {
    if name.eq_ignore_ascii_case(host) {
        return true;
    }
    let (Some(suffix), Some((label, rest))) = (name.strip_prefix("*."), host.split_once('.'))
    else {
        return false;
    };
    !label.is_empty() && rest.eq_ignore_ascii_case(suffix)
}
