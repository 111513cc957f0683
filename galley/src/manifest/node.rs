//! A parsed YAML or JSON document in which every key and value knows its position.
//!
//! Typed decoding, validation and diagnostics all read this one tree, so a finding
//! about a field can always name the line and column that the user has to edit.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// Line and column in a file, both counted from 1; zero where unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where the value begins.
    pub position: Position,
    /// The value.
    pub value: Value,
}

/// What a [`Node`] holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// A number with a fraction or exponent.
    Float(f64),
    /// Text.
    String(String),
    /// A list.
    Seq(Vec<Node>),
    /// A mapping, in the order it was written.
    Map(Vec<Entry>),
}

/// One `key: value` of a mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key's text.
    pub key: String,
    /// Where the key stands.
    pub key_position: Position,
    /// The value.
    pub node: Node,
}

impl Node {
    /// The entry of a mapping with this key.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The value of a mapping under this key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// The text of a mapping's string value.
    pub fn get_str(&self, key: &str) -> Option<&str> {
        match &self.get(key)?.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The items of a list of objects; the node itself if it has none.
    pub(super) fn into_items(self) -> Result<Vec<Node>, Self> {
        let is_list = |node: &Node| matches!(node.value, Value::Seq(_));
        if !self.get("items").is_some_and(is_list) {
            return Err(self);
        }
        let Value::Map(entries) = self.value else {
            return Err(self);
        };
        let items = entries.into_iter().find(|entry| entry.key == "items");
        Ok(match items.map(|entry| entry.node.value) {
            Some(Value::Seq(items)) => items,
            _ => Vec::new(),
        })
    }

    /// What kind of value this is, in the words of an error message.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::String(_) => "a string",
            Value::Seq(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// The same value as plain JSON, without positions.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Int(value) => match (i64::try_from(*value), u64::try_from(*value)) {
                (Ok(small), _) => Json::from(small),
                (_, Ok(large)) => Json::from(large),
                _ => Json::String(value.to_string()),
            },
            Value::Float(value) => Json::from(*value),
            Value::String(value) => Json::String(value.clone()),
            Value::Seq(items) => Json::Array(items.iter().map(Node::to_json).collect()),
            Value::Map(entries) => Json::Object(
                entries
                    .iter()
                    .map(|entry| (entry.key.clone(), entry.node.to_json()))
                    .collect(),
            ),
        }
    }

    /// A tree without positions, for objects that come from an API server.
    pub fn from_json(value: &serde_json::Value) -> Self {
        use serde_json::Value as Json;
        let value = match value {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(whole), _) => Value::Int(whole.into()),
                (_, Some(whole)) => Value::Int(whole.into()),
                _ => Value::Float(number.as_f64().unwrap_or_default()),
            },
            Json::String(text) => Value::String(text.clone()),
            Json::Array(items) => Value::Seq(items.iter().map(Self::from_json).collect()),
            Json::Object(fields) => Value::Map(
                fields
                    .iter()
                    .map(|(key, value)| Entry {
                        key: key.clone(),
                        key_position: Position::default(),
                        node: Self::from_json(value),
                    })
                    .collect(),
            ),
        };
        Self {
            position: Position::default(),
            value,
        }
    }
}

/// The tree as the YAML parser hands it over, before positions are shifted.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Raw(Spanned<RawValue>);

#[derive(Debug)]
enum RawValue {
    Scalar(Value),
    Seq(Vec<Raw>),
    Map(Vec<(Spanned<String>, Raw)>),
}

impl Raw {
    /// The final tree, with `line_offset` lines of the file before the document.
    pub(super) fn into_node(self, line_offset: u32) -> Node {
        let position = shift(&self.0.referenced, line_offset);
        let value = match self.0.value {
            RawValue::Scalar(value) => value,
            RawValue::Seq(items) => Value::Seq(
                items
                    .into_iter()
                    .map(|item| item.into_node(line_offset))
                    .collect(),
            ),
            RawValue::Map(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|(key, value)| Entry {
                        key_position: shift(&key.referenced, line_offset),
                        key: key.value,
                        node: value.into_node(line_offset),
                    })
                    .collect(),
            ),
        };
        Node { position, value }
    }
}

fn shift(location: &serde_saphyr::Location, line_offset: u32) -> Position {
    match location.line() {
        0 => Position::default(),
        line => Position {
            line: u32::try_from(line)
                .unwrap_or(u32::MAX)
                .saturating_add(line_offset),
            column: u32::try_from(location.column()).unwrap_or(u32::MAX),
        },
    }
}

impl<'de> Deserialize<'de> for RawValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = RawValue;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::Null))
    }

    fn visit_none<E: de::Error>(self) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<RawValue, D::Error> {
        RawValue::deserialize(deserializer)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::Bool(value)))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::Int(value.into())))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::Int(value.into())))
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::Int(value)))
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(match i128::try_from(value) {
            Ok(value) => Value::Int(value),
            Err(_) => Value::Float(value as f64),
        }))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::Float(value)))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::String(value.to_owned())))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::String(value)))
    }

    fn visit_bytes<E: de::Error>(self, value: &[u8]) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::String(
            String::from_utf8_lossy(value).into_owned(),
        )))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<RawValue, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(RawValue::Seq(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawValue, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(RawValue::Map(entries))
    }
}
