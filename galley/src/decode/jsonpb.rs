//! Protobuf's JSON forms of values that serde has no natural form for.
//!
//! Istio's kinds are protobuf messages: a duration is text in Go's syntax, an
//! enum is a name or a number, bytes are base64. The rules about null, quoted
//! numbers and `snake_case` hold for every type and live in the deserializer.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A duration as written: `1.5s`, `100ms`, `1h30m`, never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct GoDuration(pub Duration);

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DurationVisitor;

        impl Visitor<'_> for DurationVisitor {
            type Value = GoDuration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"3s\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<GoDuration, E> {
                parse_duration(text).map(GoDuration).map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<GoDuration, E> {
                if number == 0 {
                    return Ok(GoDuration::default());
                }
                Err(E::custom(format!(
                    "the number {number} has no unit: write a duration such as \"{number}s\""
                )))
            }
        }

        deserializer.deserialize_any(DurationVisitor)
    }
}

impl JsonSchema for GoDuration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^[-+]?(0|(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$",
        })
    }
}

/// Why text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Nothing, no number, no unit or an unknown unit.
    #[error("\"{0}\" is not a duration: write a number and a unit, such as \"3s\" or \"100ms\"")]
    Syntax(String),
    /// Below zero.
    #[error("duration \"{0}\" must not be negative")]
    Negative(String),
    /// Longer than the mesh can count.
    #[error("duration \"{0}\" is too long")]
    TooLong(String),
}

/// Reads Go's duration syntax: a sum of decimal numbers with units.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let syntax = || DurationError::Syntax(text.to_owned());
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(syntax());
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(syntax)?;
        let (number, tail) = rest.split_at(digits);
        let unit_len = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        let nanos = nanos(number, unit).ok_or_else(syntax)?;
        total = total
            .checked_add(nanos)
            .ok_or_else(|| DurationError::TooLong(text.to_owned()))?;
        rest = tail;
    }
    if negative && total > 0 {
        return Err(DurationError::Negative(text.to_owned()));
    }
    u64::try_from(total)
        .map(Duration::from_nanos)
        .map_err(|_| DurationError::TooLong(text.to_owned()))
}

/// `number` of `unit` in nanoseconds, digits beyond a nanosecond cut off.
fn nanos(number: &str, unit: &str) -> Option<u128> {
    let scale: u128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') || whole.len() > 18 {
        return None;
    }
    let whole: u128 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let fraction = &fraction[..fraction.len().min(15)];
    let part: u128 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().ok()?
    };
    Some(whole * scale + part * scale / 10u128.pow(fraction.len() as u32))
}

/// Bytes, written in either base64 alphabet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Base64(pub Vec<u8>);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let decoded = STANDARD.decode(&text).or_else(|_| URL_SAFE.decode(&text));
        decoded
            .map(Base64)
            .map_err(|error| de::Error::custom(format!("not base64: {error}")))
    }
}

impl JsonSchema for Base64 {
    fn schema_name() -> Cow<'static, str> {
        "Bytes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // Kubernetes' format "byte" knows one of the two alphabets only.
        json_schema!({"type": "string"})
    }
}

/// Declares a protobuf enum: a name or a number in JSON, the first member by default.
macro_rules! wire_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $text:literal / $number:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub(crate) enum $name {
            $($(#[$variant_meta])* $variant,)*
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct EnumVisitor;

                impl serde::de::Visitor<'_> for EnumVisitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(f, "one of {}", [$($text),*].join(", "))
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        match text {
                            $($text => Ok($name::$variant),)*
                            _ => Err(E::unknown_variant(text, &[$($text),*])),
                        }
                    }

                    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<$name, E> {
                        match number {
                            $($number => Ok($name::$variant),)*
                            _ => Err(E::unknown_variant(&number.to_string(), &[$($text),*])),
                        }
                    }
                }

                deserializer.deserialize_any(EnumVisitor)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                // In a cluster by name only, as with Istio's definitions.
                schemars::json_schema!({"type": "string", "enum": [$($text),*]})
            }
        }
    };
}
pub(crate) use wire_enum;

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("3s", 3_000_000_000)]
    #[case("1.5s", 1_500_000_000)]
    #[case("100ms", 100_000_000)]
    #[case("1m30s", 90_000_000_000)]
    #[case("1h", 3_600_000_000_000)]
    #[case(".5s", 500_000_000)]
    #[case("2.s", 2_000_000_000)]
    #[case("10us", 10_000)]
    #[case("10µs", 10_000)]
    #[case("0", 0)]
    #[case("0s", 0)]
    #[case("-0s", 0)]
    #[case("+1ns", 1)]
    fn durations(#[case] text: &str, #[case] nanos: u64) {
        assert_eq!(parse_duration(text), Ok(Duration::from_nanos(nanos)));
    }

    #[rstest::rstest]
    #[case("")]
    #[case("10")]
    #[case("s")]
    #[case("1.2.3s")]
    #[case("3 s")]
    #[case("1d")]
    #[case(".s")]
    fn not_durations(#[case] text: &str) {
        assert_eq!(
            parse_duration(text),
            Err(DurationError::Syntax(text.to_owned()))
        );
    }

    #[test]
    fn limits_of_durations() {
        assert_eq!(
            parse_duration("-3s"),
            Err(DurationError::Negative("-3s".to_owned()))
        );
        let long = "999999999999999h";
        assert_eq!(
            parse_duration(long),
            Err(DurationError::TooLong(long.to_owned()))
        );
    }
}
