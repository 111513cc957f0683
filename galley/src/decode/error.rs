//! The error of typed decoding: what is wrong and, once known, where.

use std::fmt;

use serde::de;

use super::suggest::did_you_mean;
use crate::manifest::node::Position;
use crate::manifest::path::Steps;

/// Why a value does not have the shape its field asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DecodeError {
    pub(super) message: String,
    pub(super) suggestion: Option<String>,
    /// Set by the innermost container that sees the error pass.
    pub(super) place: Option<Place>,
}

/// A field path, with its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) path: String,
    pub(super) steps: Steps,
    pub(super) position: Position,
}

impl DecodeError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            suggestion: None,
            place: None,
        }
    }

    pub(super) fn suggest(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }

    /// Notes the place, unless an inner one is known already.
    pub(super) fn at(mut self, place: impl FnOnce() -> Place) -> Self {
        if self.place.is_none() {
            self.place = Some(place());
        }
        self
    }
}

/// serde names Rust's types, which mean nothing to the people who write manifests.
fn in_words(expected: &str) -> &str {
    match expected {
        "u32" => "a whole number from 0 to 4294967295",
        "i32" => "a whole number from -2147483648 to 2147483647",
        "u64" | "u16" | "u8" => "a whole number from 0 up",
        "i64" | "i16" | "i8" => "a whole number",
        "f64" | "f32" => "a number",
        other => other,
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let error = Self::new(format!(
            "\"{variant}\" is not one of {}",
            expected.join(", ")
        ));
        match did_you_mean(variant, expected) {
            Some(suggestion) => error.suggest(suggestion),
            None => error,
        }
    }

    fn invalid_value(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let found = match unexpected {
            de::Unexpected::Signed(number) => number.to_string(),
            de::Unexpected::Unsigned(number) => number.to_string(),
            other => other.to_string(),
        };
        Self::new(format!(
            "expected {}, found {found}",
            in_words(&expected.to_string())
        ))
    }

    fn invalid_type(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(format!("expected {expected}, found {unexpected}"))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("field \"{field}\" is required"))
    }
}
