//! `envoy.filters.http.cors`: what browsers of other origins may do.

use http::HeaderValue;

use crate::matcher::{Fraction, StringMatcher};

/// `CorsPolicy`; fields that are `None` are answered by the next outer level.
#[derive(Debug, Clone, Default)]
pub struct CorsPolicy {
    /// Allowed origins.
    pub allow_origins: Vec<StringMatcher>,
    /// `access-control-allow-methods`; `*` echoes what was asked for.
    pub allow_methods: Option<HeaderValue>,
    /// `access-control-allow-headers`; `*` echoes what was asked for.
    pub allow_headers: Option<HeaderValue>,
    /// `access-control-expose-headers`.
    pub expose_headers: Option<HeaderValue>,
    /// `access-control-max-age`.
    pub max_age: Option<HeaderValue>,
    /// `access-control-allow-credentials`.
    pub allow_credentials: Option<bool>,
    /// Let preflights of other origins pass; they pass by default.
    pub forward_unmatched_preflights: Option<bool>,
    /// Answer private network preflights.
    pub allow_private_network: Option<bool>,
    /// For what share of the requests the filter works; all by default.
    pub enabled: Option<Fraction>,
}

impl CorsPolicy {
    /// This policy, with what it leaves open taken from an outer level. Whether the filter works at all is
    /// this level's own.
    #[must_use]
    pub fn or(mut self, outer: &Self) -> Self {
        if self.allow_origins.is_empty() {
            self.allow_origins.clone_from(&outer.allow_origins);
        }
        self.allow_methods = self.allow_methods.or_else(|| outer.allow_methods.clone());
        self.allow_headers = self.allow_headers.or_else(|| outer.allow_headers.clone());
        self.expose_headers = self.expose_headers.or_else(|| outer.expose_headers.clone());
        self.max_age = self.max_age.or_else(|| outer.max_age.clone());
        self.allow_credentials = self.allow_credentials.or(outer.allow_credentials);
        self.forward_unmatched_preflights = self
            .forward_unmatched_preflights
            .or(outer.forward_unmatched_preflights);
        self.allow_private_network = self.allow_private_network.or(outer.allow_private_network);
        self
    }

    /// True if an origin may ask.
    pub fn allows(&self, origin: &[u8]) -> bool {
        self.allow_origins
            .iter()
            .any(|matcher| matcher.matches(b"*") || matcher.matches(origin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outer_level_answers_what_the_inner_leaves_open() {
        let outer = CorsPolicy {
            allow_methods: Some(HeaderValue::from_static("GET")),
            max_age: Some(HeaderValue::from_static("60")),
            enabled: Some(Fraction {
                numerator: 0,
                denominator: 100,
            }),
            ..CorsPolicy::default()
        };
        let inner = CorsPolicy {
            allow_methods: Some(HeaderValue::from_static("*")),
            ..CorsPolicy::default()
        };
        let merged = inner.or(&outer);
        assert_eq!(merged.allow_methods.unwrap(), "*");
        assert_eq!(merged.max_age.unwrap(), "60");
        assert_eq!(merged.enabled, None);
    }

    #[test]
    fn origins_are_matched() {
        let one = CorsPolicy {
            allow_origins: vec![StringMatcher::exact("https://a", false)],
            ..CorsPolicy::default()
        };
        assert!(one.allows(b"https://a"));
        assert!(!one.allows(b"https://b"));
        let any = CorsPolicy {
            allow_origins: vec![StringMatcher::exact("*", false)],
            ..CorsPolicy::default()
        };
        assert!(any.allows(b"https://b"));
    }
}
