//! Walking the items of a list and the fields of a mapping while decoding.

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::deserializer::ValueDeserializer;
use super::error::DecodeError;
use super::finding::{Finding, code, quoted};
use super::suggest::did_you_mean;
use crate::manifest::node::{Entry, Node, Value};
use crate::manifest::path::camel_case;

/// The items of a list.
pub(super) struct Items<'a> {
    list: ValueDeserializer<'a>,
    items: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
}

impl<'a> Items<'a> {
    pub(super) fn new(list: ValueDeserializer<'a>, items: &'a [Node]) -> Self {
        Self {
            list,
            items: items.iter().enumerate(),
        }
    }
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        for (index, node) in self.items.by_ref() {
            let path = self.list.path.index(index);
            if self.list.pass.skips(&path) {
                continue;
            }
            let item = ValueDeserializer {
                node,
                path: &path,
                pass: self.list.pass,
            };
            return seed
                .deserialize(item)
                .map(Some)
                .map_err(|error| error.at(|| item.place()));
        }
        Ok(None)
    }
}

/// The fields of a mapping, under the names the target type knows.
pub(super) struct Fields<'a> {
    map: ValueDeserializer<'a>,
    entries: std::vec::IntoIter<(FieldName<'a>, &'a Node)>,
    next: Option<(FieldName<'a>, &'a Node)>,
}

/// The key as written, or the struct field that a `snake_case` key stands for.
type FieldName<'a> = &'a str;

impl<'a> Fields<'a> {
    /// Free keys: all entries as written.
    pub(super) fn of_map(map: ValueDeserializer<'a>, entries: &'a [Entry]) -> Self {
        let entries: Vec<_> = entries.iter().map(|e| (e.key.as_str(), &e.node)).collect();
        Self {
            map,
            entries: entries.into_iter(),
            next: None,
        }
    }

    /// Known fields: unknown keys become findings, nulls are unset.
    pub(super) fn of_struct(
        map: ValueDeserializer<'a>,
        entries: &'a [Entry],
        fields: &'static [&'static str],
    ) -> Result<Self, DecodeError> {
        let mut known: Vec<(FieldName<'a>, &'a Node)> = Vec::with_capacity(entries.len());
        for entry in entries {
            let Some(name) = field_name(&entry.key, fields) else {
                map.pass.add(|| unknown_field(&map, entry, fields));
                continue;
            };
            if known.iter().any(|(seen, _)| *seen == name) {
                return Err(DecodeError::new(format!(
                    "\"{name}\" is set twice, once in snake_case"
                )));
            }
            if entry.node.value != Value::Null {
                known.push((name, &entry.node));
            }
        }
        Ok(Self {
            map,
            entries: known.into_iter(),
            next: None,
        })
    }
}

fn field_name<'a>(key: &'a str, fields: &'static [&'static str]) -> Option<FieldName<'a>> {
    let find = |name: &str| fields.iter().find(|field| **field == name).copied();
    find(key).or_else(|| key.contains('_').then(|| find(&camel_case(key))).flatten())
}

fn unknown_field(
    map: &ValueDeserializer<'_>,
    entry: &Entry,
    fields: &'static [&'static str],
) -> Finding {
    let path = map.path.field(&entry.key);
    let finding = Finding::error(
        code::SCHEMA,
        path.to_string(),
        format!("unknown field {}", quoted(&entry.key)),
    )
    .at(entry.key_position);
    match did_you_mean(&entry.key, fields) {
        Some(suggestion) => finding.suggest(suggestion),
        None if fields.len() <= 12 && !fields.is_empty() => {
            finding.suggest(format!("known here: {}", fields.join(", ")))
        }
        None => finding,
    }
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, DecodeError> {
        for (name, node) in self.entries.by_ref() {
            let path = self.map.path.field(name);
            if self.map.pass.skips(&path) {
                continue;
            }
            self.next = Some((name, node));
            let key = KeyDeserializer(name);
            let place = || {
                ValueDeserializer {
                    node,
                    path: &path,
                    ..self.map
                }
                .place()
            };
            return seed
                .deserialize(key)
                .map(Some)
                .map_err(|error| error.at(place));
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, DecodeError> {
        let (name, node) = self
            .next
            .take()
            .expect("serde asks for a value only after its key");
        let path = self.map.path.field(name);
        let value = ValueDeserializer {
            node,
            path: &path,
            pass: self.map.pass,
        };
        seed.deserialize(value)
            .map_err(|error| error.at(|| value.place()))
    }
}

/// A key, which is text even where it names a number (`portLevelMtls: {8080: …}`).
struct KeyDeserializer<'a>(&'a str);

macro_rules! integer_keys {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            match self.0.parse::<i64>() {
                Ok(number) => visitor.visit_i64(number),
                Err(_) => Err(DecodeError::new(format!("key \"{}\" is not a number", self.0))),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for KeyDeserializer<'_> {
    type Error = DecodeError;

    integer_keys! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_str(self.0)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let text: StrDeserializer<'_, DecodeError> = self.0.into_deserializer();
        visitor.visit_newtype_struct(text)
    }

    forward_to_deserialize_any! {
        bool i128 u128 f32 f64 char str string bytes byte_buf option unit unit_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}
