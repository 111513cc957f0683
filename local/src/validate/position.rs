//! Lines of fields, for messages: read again from the text, only when something is wrong with it.

use std::fmt;

use serde::{
    Deserialize,
    de::{self, Deserializer, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::Spanned;

use super::{Field, Step};

/// The lines of a document's fields.
#[derive(Debug)]
pub(crate) struct Positions(Option<Spanned<Tree>>);

#[derive(Debug)]
enum Tree {
    Leaf,
    Seq(Vec<Spanned<Tree>>),
    Map(Vec<(Spanned<String>, Spanned<Tree>)>),
}

impl Positions {
    /// Reads a document.
    pub(crate) fn read(document: &str) -> Self {
        Self(serde_saphyr::from_str(document).ok())
    }

    /// The line of a field in its document, from 1; of the nearest one around it if it is missing.
    pub(crate) fn line(&self, field: &Field) -> usize {
        let Some(mut node) = self.0.as_ref() else {
            return 1;
        };
        let mut line = node.referenced.line();
        for step in &field.0 {
            let found = match (&node.value, step) {
                (Tree::Map(entries), Step::Key(key)) => entries
                    .iter()
                    .find(|(known, _)| known.value == *key)
                    .map(|(key, value)| (key.referenced.line(), value)),
                (Tree::Seq(items), Step::Index(index)) => items
                    .get(*index)
                    .map(|value| (value.referenced.line(), value)),
                _ => None,
            };
            let Some((at, value)) = found else { break };
            (line, node) = (at, value);
        }
        usize::try_from(line).unwrap_or(1).max(1)
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_none<E: de::Error>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_i128<E: de::Error>(self, _: i128) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_u128<E: de::Error>(self, _: u128) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_bytes<E: de::Error>(self, _: &[u8]) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Tree::Seq(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Tree::Map(entries))
    }
}
