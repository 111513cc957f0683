//! Matchers as executed: strings, headers, query parameters, paths and fractions
//! (`envoy.type.matcher.v3`, `envoy.config.route.v3.HeaderMatcher`).
//!
//! Everything matches bytes: a header value need not be UTF-8. Regular expressions are RE2's and match the whole
//! value, as in Envoy.

use std::ops::Range;

use mesh_api::regex::{Regex, RegexError};

use crate::request::{HeaderKey, RequestHead};

pub mod metadata;

/// `envoy.type.matcher.v3.StringMatcher`.
#[derive(Debug, Clone)]
pub struct StringMatcher {
    pattern: Pattern,
    ignore_case: bool,
}

#[derive(Debug, Clone)]
enum Pattern {
    Exact(Box<[u8]>),
    Prefix(Box<[u8]>),
    Suffix(Box<[u8]>),
    Contains(Box<[u8]>),
    Regex(Regex),
}

impl StringMatcher {
    /// Equal to `value`.
    pub fn exact(value: impl AsRef<[u8]>, ignore_case: bool) -> Self {
        Self::of(Pattern::Exact(value.as_ref().into()), ignore_case)
    }

    /// Beginning with `value`.
    pub fn prefix(value: impl AsRef<[u8]>, ignore_case: bool) -> Self {
        Self::of(Pattern::Prefix(value.as_ref().into()), ignore_case)
    }

    /// Ending in `value`.
    pub fn suffix(value: impl AsRef<[u8]>, ignore_case: bool) -> Self {
        Self::of(Pattern::Suffix(value.as_ref().into()), ignore_case)
    }

    /// Containing `value`.
    pub fn contains(value: impl AsRef<[u8]>, ignore_case: bool) -> Self {
        let mut value = value.as_ref().to_vec();
        if ignore_case {
            value.make_ascii_lowercase();
        }
        Self::of(Pattern::Contains(value.into()), ignore_case)
    }

    /// Matching a regular expression as a whole.
    pub fn regex(pattern: &str) -> Result<Self, RegexError> {
        Ok(Self::of(Pattern::Regex(Regex::full_match(pattern)?), false))
    }

    fn of(pattern: Pattern, ignore_case: bool) -> Self {
        Self {
            pattern,
            ignore_case,
        }
    }

    /// True if `value` matches.
    pub fn matches(&self, value: &[u8]) -> bool {
        match &self.pattern {
            Pattern::Exact(exact) => self.equal(value, exact),
            Pattern::Prefix(prefix) => value
                .get(..prefix.len())
                .is_some_and(|head| self.equal(head, prefix)),
            Pattern::Suffix(suffix) => value
                .len()
                .checked_sub(suffix.len())
                .is_some_and(|start| self.equal(&value[start..], suffix)),
            Pattern::Contains(part) if self.ignore_case => {
                contains(&value.to_ascii_lowercase(), part)
            }
            Pattern::Contains(part) => contains(value, part),
            Pattern::Regex(regex) => regex.is_match(value),
        }
    }

    fn equal(&self, a: &[u8], b: &[u8]) -> bool {
        if self.ignore_case {
            a.eq_ignore_ascii_case(b)
        } else {
            a == b
        }
    }
}

/// True if `part` occurs in `value`.
fn contains(value: &[u8], part: &[u8]) -> bool {
    part.is_empty() || value.windows(part.len()).any(|window| window == part)
}

/// What a header must look like.
#[derive(Debug, Clone)]
pub enum HeaderRule {
    /// It is there (or, if false, it is not).
    Present(bool),
    /// Its value matches.
    String(StringMatcher),
    /// Its value is an integer in the range.
    Range(Range<i64>),
}

/// `envoy.config.route.v3.HeaderMatcher`.
#[derive(Debug, Clone)]
pub struct HeaderMatcher {
    /// Which header.
    pub name: HeaderKey,
    /// What it must look like.
    pub rule: HeaderRule,
    /// Match if the rule does not. A missing header still does not match, unless the rule is about presence.
    pub invert: bool,
    /// `treat_missing_header_as_empty`.
    pub missing_is_empty: bool,
}

impl HeaderMatcher {
    /// True if the request matches. Of a header that is there several times, one value must match.
    pub fn matches(&self, request: &RequestHead) -> bool {
        let name = match &self.name {
            HeaderKey::Name(name) => name,
            HeaderKey::Authority => &http::header::HOST,
            other => return self.matches_value(request.header(other).as_deref()),
        };
        let mut values = request.headers.get_all(name).iter();
        let Some(first) = values.next() else {
            return self.matches_value(None);
        };
        if let HeaderRule::Present(present) = &self.rule {
            return *present != self.invert;
        }
        let matched = std::iter::once(first)
            .chain(values)
            .any(|value| self.rule.matches(value.as_bytes()));
        matched != self.invert
    }

    /// True if a header with this value (`None` if absent) matches.
    pub fn matches_value(&self, value: Option<&[u8]>) -> bool {
        let value = match (&self.rule, value) {
            (HeaderRule::Present(present), _) => {
                return (value.is_some() == *present) != self.invert;
            }
            (_, Some(value)) => value,
            (_, None) if self.missing_is_empty => &[],
            (_, None) => return false,
        };
        self.rule.matches(value) != self.invert
    }
}

impl HeaderRule {
    fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Present(present) => *present,
            Self::String(matcher) => matcher.matches(value),
            Self::Range(range) => std::str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse().ok())
                .is_some_and(|number| range.contains(&number)),
        }
    }
}

/// `envoy.config.route.v3.QueryParameterMatcher`.
#[derive(Debug, Clone)]
pub struct QueryMatcher {
    /// The parameter's name, as it stands in the query.
    pub name: Box<str>,
    /// What its (first) value must look like; `None` if it only has to be there.
    pub value: Option<StringMatcher>,
}

impl QueryMatcher {
    /// True if the query matches.
    pub fn matches(&self, query: Option<&str>) -> bool {
        let Some(value) = query.and_then(|query| query_parameter(query, &self.name)) else {
            return false;
        };
        match &self.value {
            Some(matcher) => matcher.matches(value.as_bytes()),
            None => true,
        }
    }
}

/// The first value of a parameter, undecoded; empty if it has none.
pub fn query_parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value)
    })
}

/// A share of all requests (`envoy.type.v3.FractionalPercent`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fraction {
    /// How many of `denominator`.
    pub numerator: u32,
    /// 100, 10,000 or 1,000,000.
    pub denominator: u32,
}

impl Fraction {
    /// All requests.
    pub const ALL: Self = Self {
        numerator: 100,
        denominator: 100,
    };

    /// Draws: true for the share of calls.
    pub fn draw(self) -> bool {
        match self.numerator {
            0 => false,
            n if n >= self.denominator => true,
            n => fastrand::u32(..self.denominator) < n,
        }
    }
}

#[cfg(test)]
mod tests;
