//! Matchers: strings, headers, query parameters, fractions (`envoy.type.matcher.v3` and friends).

use mesh_api::regex::{Regex, RegexError};
use xds::envoy::core::RuntimeFractionalPercent;
use xds::envoy::matcher as wire;
use xds::envoy::route::header_matcher::HeaderMatchSpecifier;
use xds::envoy::route::query_parameter_matcher::QueryParameterMatchSpecifier;
use xds::envoy::route::{HeaderMatcher as WireHeader, QueryParameterMatcher as WireQuery};
use xds::envoy::types::FractionalPercent;
use xds::envoy::types::fractional_percent::DenominatorType;

use crate::config::error::{ConfigError, Within};
use crate::config::matcher::metadata::{MetadataMatcher, ValueMatcher};
use crate::config::matcher::{Fraction, HeaderMatcher, HeaderRule, QueryMatcher, StringMatcher};
use crate::config::route::RegexRewrite;

/// Refuses a field that is known but not implemented, if it is set.
pub fn refuse(set: bool, field: &str) -> Result<(), ConfigError> {
    if set {
        return Err(ConfigError::unsupported(field, "this field"));
    }
    Ok(())
}

/// `StringMatcher`.
pub fn string(proto: &wire::StringMatcher) -> Result<StringMatcher, ConfigError> {
    use wire::string_matcher::MatchPattern;
    let ignore_case = proto.ignore_case;
    Ok(match &proto.match_pattern {
        Some(MatchPattern::Exact(value)) => StringMatcher::exact(value, ignore_case),
        Some(MatchPattern::Prefix(value)) => StringMatcher::prefix(value, ignore_case),
        Some(MatchPattern::Suffix(value)) => StringMatcher::suffix(value, ignore_case),
        Some(MatchPattern::Contains(value)) => StringMatcher::contains(value, ignore_case),
        Some(MatchPattern::SafeRegex(proto)) => regex(&proto.regex).within("safe_regex")?,
        Some(MatchPattern::Custom(_)) => {
            return Err(ConfigError::unsupported("custom", "a custom matcher"));
        }
        None => return Err(ConfigError::new("match_pattern", "missing")),
    })
}

/// `MetadataMatcher`.
pub fn metadata(proto: &wire::MetadataMatcher) -> Result<MetadataMatcher, ConfigError> {
    use wire::metadata_matcher::path_segment::Segment;
    let path = proto
        .path
        .iter()
        .enumerate()
        .map(|(n, segment)| match &segment.segment {
            Some(Segment::Key(key)) => Ok(key.as_str().into()),
            None => Err(ConfigError::new(format!("path[{n}]"), "missing")),
        });
    let value = proto.value.as_ref();
    let value = value.ok_or_else(|| ConfigError::new("value", "missing"))?;
    Ok(MetadataMatcher {
        filter: proto.filter.as_str().into(),
        path: path.collect::<Result<_, _>>()?,
        value: metadata_value(value).within("value")?,
        invert: proto.invert,
    })
}

fn metadata_value(proto: &wire::ValueMatcher) -> Result<ValueMatcher, ConfigError> {
    use wire::double_matcher::MatchPattern as Double;
    use wire::list_matcher::MatchPattern as List;
    use wire::value_matcher::MatchPattern;
    let missing = || ConfigError::new("match_pattern", "missing");
    Ok(match proto.match_pattern.as_ref().ok_or_else(missing)? {
        MatchPattern::NullMatch(_) => ValueMatcher::Null,
        MatchPattern::DoubleMatch(double) => match &double.match_pattern {
            Some(Double::Exact(number)) => ValueMatcher::Number(*number),
            Some(Double::Range(range)) => ValueMatcher::Range(range.start, range.end),
            None => return Err(missing().within("double_match")),
        },
        MatchPattern::StringMatch(proto) => {
            ValueMatcher::String(string(proto).within("string_match")?)
        }
        MatchPattern::BoolMatch(value) => ValueMatcher::Bool(*value),
        MatchPattern::PresentMatch(present) => ValueMatcher::Present(*present),
        MatchPattern::ListMatch(list) => match &list.match_pattern {
            Some(List::OneOf(proto)) => {
                ValueMatcher::OneOf(Box::new(metadata_value(proto).within("list_match.one_of")?))
            }
            None => return Err(missing().within("list_match")),
        },
        MatchPattern::OrMatch(or) => {
            let matchers = or.value_matchers.iter().map(metadata_value);
            ValueMatcher::Or(matchers.collect::<Result<_, _>>().within("or_match")?)
        }
    })
}

/// A regular expression that must match the whole value.
pub fn regex(pattern: &str) -> Result<StringMatcher, ConfigError> {
    StringMatcher::regex(pattern).map_err(|error| invalid_regex(pattern, &error))
}

/// The error of an expression that cannot be compiled.
pub fn invalid_regex(pattern: &str, error: &RegexError) -> ConfigError {
    ConfigError::new(
        "regex",
        format!("\"{pattern}\" is not a valid expression: {error}"),
    )
}

/// `RegexMatchAndSubstitute`.
pub fn substitution(proto: &wire::RegexMatchAndSubstitute) -> Result<RegexRewrite, ConfigError> {
    let pattern = proto.pattern.as_ref();
    let pattern = pattern.ok_or_else(|| ConfigError::new("pattern", "missing"))?;
    let compiled = Regex::partial_match(&pattern.regex)
        .map_err(|error| invalid_regex(&pattern.regex, &error).within("pattern"))?;
    Ok(RegexRewrite {
        pattern: compiled,
        substitution: replacement(&proto.substitution).into(),
    })
}

/// RE2 writes groups as `\1`; [`Regex::replace_all`] as `${1}`.
fn replacement(re2: &str) -> String {
    let mut out = String::with_capacity(re2.len());
    let mut chars = re2.chars();
    while let Some(char) = chars.next() {
        match char {
            '$' => out.push_str("$$"),
            '\\' => match chars.next() {
                Some(digit) if digit.is_ascii_digit() => {
                    out.push_str("${");
                    out.push(digit);
                    out.push('}');
                }
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            other => out.push(other),
        }
    }
    out
}

/// `HeaderMatcher`s that must all match.
pub fn headers(protos: &[WireHeader]) -> Result<Vec<HeaderMatcher>, ConfigError> {
    let matchers = protos.iter().enumerate();
    matchers
        .map(|(n, proto)| header(proto).within(format_args!("headers[{n}]")))
        .collect()
}

/// `HeaderMatcher`.
#[allow(deprecated, reason = "control planes still send the older forms")]
pub fn header(proto: &WireHeader) -> Result<HeaderMatcher, ConfigError> {
    let name = proto.name.parse();
    let name =
        name.map_err(|_| ConfigError::new("name", format!("not a header: \"{}\"", proto.name)))?;
    let text = |matcher| HeaderRule::String(matcher);
    let rule = match &proto.header_match_specifier {
        None => HeaderRule::Present(true),
        Some(HeaderMatchSpecifier::PresentMatch(present)) => HeaderRule::Present(*present),
        Some(HeaderMatchSpecifier::StringMatch(proto)) => {
            text(string(proto).within("string_match")?)
        }
        Some(HeaderMatchSpecifier::ExactMatch(value)) => text(StringMatcher::exact(value, false)),
        Some(HeaderMatchSpecifier::PrefixMatch(value)) => text(StringMatcher::prefix(value, false)),
        Some(HeaderMatchSpecifier::SuffixMatch(value)) => text(StringMatcher::suffix(value, false)),
        Some(HeaderMatchSpecifier::ContainsMatch(value)) => {
            text(StringMatcher::contains(value, false))
        }
        Some(HeaderMatchSpecifier::SafeRegexMatch(proto)) => {
            text(regex(&proto.regex).within("safe_regex_match")?)
        }
        Some(HeaderMatchSpecifier::RangeMatch(range)) => HeaderRule::Range(range.start..range.end),
    };
    Ok(HeaderMatcher {
        name,
        rule,
        invert: proto.invert_match,
        missing_is_empty: proto.treat_missing_header_as_empty,
    })
}

/// `QueryParameterMatcher`s that must all match.
pub fn query(protos: &[WireQuery]) -> Result<Vec<QueryMatcher>, ConfigError> {
    let matchers = protos.iter();
    matchers
        .map(|proto| {
            let value = match &proto.query_parameter_match_specifier {
                Some(QueryParameterMatchSpecifier::StringMatch(proto)) => Some(string(proto)?),
                Some(QueryParameterMatchSpecifier::PresentMatch(false)) => {
                    return Err(ConfigError::unsupported("present_match", "false"));
                }
                Some(QueryParameterMatchSpecifier::PresentMatch(true)) | None => None,
            };
            Ok(QueryMatcher {
                name: proto.name.as_str().into(),
                value,
            })
        })
        .enumerate()
        .map(|(n, matcher)| matcher.within(format_args!("query_parameters[{n}]")))
        .collect()
}

/// `FractionalPercent`.
pub fn fraction(proto: &FractionalPercent) -> Fraction {
    let denominator = match proto.denominator() {
        DenominatorType::Hundred => 100,
        DenominatorType::TenThousand => 10_000,
        DenominatorType::Million => 1_000_000,
    };
    Fraction {
        numerator: proto.numerator,
        denominator,
    }
}

/// `RuntimeFractionalPercent`: there is no runtime here, so the default holds.
pub fn runtime_fraction(proto: &RuntimeFractionalPercent) -> Option<Fraction> {
    proto.default_value.as_ref().map(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_rewritten() {
        for (re2, expected) in [
            (r"/\1/x", "/${1}/x"),
            (r"\0$", "${0}$$"),
            (r"\\a", r"\a"),
            ("plain", "plain"),
        ] {
            assert_eq!(replacement(re2), expected, "{re2}");
        }
    }

    #[test]
    fn a_bad_expression_is_named() {
        let proto = wire::StringMatcher {
            match_pattern: Some(wire::string_matcher::MatchPattern::SafeRegex(
                wire::RegexMatcher {
                    regex: "(".into(),
                    ..Default::default()
                },
            )),
            ignore_case: false,
        };
        let error = string(&proto).unwrap_err().to_string();
        assert!(
            error.starts_with("safe_regex.regex: \"(\" is not a valid expression"),
            "{error}"
        );
    }
}
