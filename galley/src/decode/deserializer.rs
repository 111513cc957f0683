//! A serde deserializer over the position tree, with protobuf's JSON rules.
//!
//! A generic JSON deserializer would lose three things needed here: the position
//! of each error, the names a struct knows (for "did you mean"), and `snake_case`
//! spellings. Null is unset, whole numbers may be quoted, and `snake_case` names
//! are read as their `camelCase` field.

use std::cell::{Cell, RefCell};

use serde::de::{Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::access::{Fields, Items};
use super::error::{DecodeError, Place};
use super::finding::{FINDINGS_MAX, Finding, quoted};
use crate::manifest::node::{Node, Value};
use crate::manifest::path::{FieldPath, Steps};

/// What one decoding pass shares between all its values.
#[derive(Debug, Default)]
pub(super) struct Pass {
    /// Paths left out because an earlier pass failed there.
    pub(super) skipped: Vec<Steps>,
    /// Findings that do not stop the pass: unknown fields.
    pub(super) findings: RefCell<Vec<Finding>>,
    /// Unknown fields beyond those.
    pub(super) more: Cell<usize>,
    /// Values that this pass and those before it have looked at.
    pub(super) values: Cell<u64>,
}

impl Pass {
    /// Notes a finding, or only that there is one more.
    pub(super) fn add(&self, finding: impl FnOnce() -> Finding) {
        let mut findings = self.findings.borrow_mut();
        match findings.len() < FINDINGS_MAX {
            true => findings.push(finding()),
            false => self.more.set(self.more.get() + 1),
        }
    }

    pub(super) fn skips(&self, path: &FieldPath<'_>) -> bool {
        self.values.set(self.values.get() + 1);
        self.skipped.iter().any(|steps| path.is(steps))
    }
}

/// One value to be decoded.
#[derive(Debug, Clone, Copy)]
pub(super) struct ValueDeserializer<'a> {
    pub(super) node: &'a Node,
    pub(super) path: &'a FieldPath<'a>,
    pub(super) pass: &'a Pass,
}

impl ValueDeserializer<'_> {
    pub(super) fn place(&self) -> Place {
        Place {
            path: self.path.to_string(),
            steps: self.path.to_steps(),
            position: self.node.position,
        }
    }

    fn mismatch(&self, expected: &str) -> DecodeError {
        let found = match scalar_text(self.node) {
            Some(text) => format!("{} ({text})", self.node.kind()),
            None => self.node.kind().to_owned(),
        };
        DecodeError::new(format!("expected {expected}, found {found}"))
    }

    fn number(&self) -> Result<Number, DecodeError> {
        let parsed = match &self.node.value {
            Value::Int(value) => Some(Number::Int(*value)),
            Value::Float(value) => Number::from_f64(*value),
            Value::String(text) => match text.parse::<i128>() {
                Ok(value) => Some(Number::Int(value)),
                Err(_) => text.parse::<f64>().ok().and_then(Number::from_f64),
            },
            _ => None,
        };
        parsed.ok_or_else(|| self.mismatch("a number"))
    }

    fn visit_integer<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.number()? {
            Number::Int(value) => match (i64::try_from(value), u64::try_from(value)) {
                (Ok(value), _) => visitor.visit_i64(value),
                (_, Ok(value)) => visitor.visit_u64(value),
                _ => Err(DecodeError::new(format!("{value} is out of range"))),
            },
            Number::Float(_) => Err(self.mismatch("a whole number")),
        }
    }
}

enum Number {
    Int(i128),
    Float(f64),
}

impl Number {
    /// Protobuf accepts `1.0` and `1e3` for integers.
    fn from_f64(value: f64) -> Option<Self> {
        match value {
            value if !value.is_finite() => None,
            value if value.fract() == 0.0 && value.abs() < 1e18 => Some(Self::Int(value as i128)),
            value => Some(Self::Float(value)),
        }
    }
}

/// How a scalar was written, as far as the tree still knows.
fn scalar_text(node: &Node) -> Option<String> {
    match &node.value {
        Value::Bool(value) => Some(value.to_string()),
        Value::Int(value) => Some(value.to_string()),
        Value::Float(value) => Some(value.to_string()),
        Value::String(value) => Some(quoted(value)),
        Value::Null | Value::Seq(_) | Value::Map(_) => None,
    }
}

macro_rules! integers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            self.visit_integer(visitor)
        }
    )*};
}

impl<'de, 'a> Deserializer<'de> for ValueDeserializer<'a> {
    type Error = DecodeError;

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Int(_) => self.visit_integer(visitor),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::String(value) => visitor.visit_str(value),
            Value::Seq(_) => self.deserialize_seq(visitor),
            Value::Map(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Bool(value) => visitor.visit_bool(*value),
            _ => Err(self.mismatch("true or false")),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.number()? {
            Number::Int(value) => visitor.visit_f64(value as f64),
            Number::Float(value) => visitor.visit_f64(value),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::String(value) => visitor.visit_str(value),
            _ => Err(match scalar_text(self.node) {
                Some(text) => self
                    .mismatch("a string")
                    .suggest(format!("put it in quotes: \"{text}\"")),
                None => self.mismatch("a string"),
            }),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        // A Kubernetes quantity is text, but `cpu: 1` is how people write it.
        match (name, &self.node.value) {
            ("Quantity", Value::Int(_) | Value::Float(_)) => visitor.visit_newtype_struct(
                scalar_text(self.node)
                    .unwrap_or_default()
                    .into_deserializer(),
            ),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Seq(items) => visitor.visit_seq(Items::new(self, items)),
            _ => Err(self
                .mismatch("a list")
                .suggest("begin each item with \"- \"")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Map(entries) => visitor.visit_map(Fields::of_map(self, entries)),
            _ => Err(self.mismatch("a mapping")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Map(entries) => visitor.visit_map(Fields::of_struct(self, entries, fields)?),
            Value::Null => visitor.visit_map(Fields::of_map(self, &[])),
            _ => Err(self.mismatch("a mapping")),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::String(value) => visitor.visit_enum(value.as_str().into_deserializer()),
            _ => Err(self.mismatch("a name")),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct identifier
    }
}
