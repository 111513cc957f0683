//! One encoding for equal messages.
//!
//! Protobuf leaves the order of map entries open, and the generated types hold maps that iterate in another order
//! in every process. Bytes that are compared, hashed to versions or shared between replicas of a control plane
//! need one order: here it is that of the entries' bytes. Sorting permutes entries of the same field, so every
//! length prefix stays right and the work is done in place.

use std::ops::Range;

use prost::encoding::decode_varint;

#[rustfmt::skip]
mod schema;

use schema::{ROOTS, SCHEMA};

/// The fields of a message in which maps lie, by number.
type Fields = &'static [(u32, Field)];

/// What is known of a field.
#[derive(Clone, Copy, Debug)]
enum Field {
    /// A message, whose fields stand at this index of the schema.
    Message(u16),
    /// A map, whose entries' fields stand at this index of the schema.
    Map(u16),
}

/// Puts the map entries of an encoded message of the type `name` (without package prefix of the URL) in order,
/// at any depth up to the next `Any`. Bytes that are no encoding of the type stay as they are.
pub fn sort_maps(name: &str, bytes: &mut [u8]) {
    if let Ok(index) = ROOTS.binary_search_by_key(&name, |(root, _)| root) {
        // What cannot be read cannot have been written by a generated type; it is left for the decoder to refuse.
        let _ = sort_message(SCHEMA[usize::from(ROOTS[index].1)], bytes);
    }
}

fn sort_message(fields: Fields, bytes: &mut [u8]) -> Option<()> {
    let mut at = 0;
    while at < bytes.len() {
        let (number, body) = field_at(bytes, at)?;
        let known = fields.iter().find(|(known, _)| *known == number);
        at = match known {
            None => body.end,
            Some((_, Field::Message(inner))) => {
                let end = body.end;
                sort_message(SCHEMA[usize::from(*inner)], &mut bytes[body])?;
                end
            }
            Some((_, Field::Map(entry))) => {
                sort_entries(number, SCHEMA[usize::from(*entry)], bytes, at)?
            }
        };
    }
    Some(())
}

/// Sorts the entries of the map field `number` that begin at `start`; returns where they end.
fn sort_entries(number: u32, entry: Fields, bytes: &mut [u8], start: usize) -> Option<usize> {
    let mut end = start;
    let mut entries = Vec::new();
    while end < bytes.len() {
        let (next, body) = field_at(bytes, end)?;
        if next != number {
            break;
        }
        let whole = end..body.end;
        sort_message(entry, &mut bytes[body])?;
        end = whole.end;
        entries.push(whole);
    }
    if entries.len() > 1 {
        entries.sort_by(|a, b| bytes[a.clone()].cmp(&bytes[b.clone()]));
        let sorted: Vec<u8> = entries
            .into_iter()
            .flat_map(|entry| bytes[entry].iter().copied())
            .collect();
        bytes[start..end].copy_from_slice(&sorted);
    }
    Some(end)
}

/// The number of the field that begins at `at`, and where its value stands.
fn field_at(bytes: &[u8], at: usize) -> Option<(u32, Range<usize>)> {
    let mut rest = bytes.get(at..)?;
    let key = decode_varint(&mut rest).ok()?;
    let start = bytes.len() - rest.len();
    let end = match key & 7 {
        0 => {
            decode_varint(&mut rest).ok()?;
            bytes.len() - rest.len()
        }
        1 => start.checked_add(8)?,
        5 => start.checked_add(4)?,
        2 => {
            let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
            let start = bytes.len() - rest.len();
            let body = start..start.checked_add(length)?;
            let number = u32::try_from(key >> 3).ok()?;
            return (body.end <= bytes.len()).then_some((number, body));
        }
        _ => return None,
    };
    let number = u32::try_from(key >> 3).ok()?;
    (end <= bytes.len()).then_some((number, start..end))
}

#[cfg(test)]
mod tests {
    use prost::{Message, Name};

    use super::*;
    use crate::pb::envoy::config::cluster::v3::Cluster;
    use crate::pb::envoy::config::core::v3::Metadata;
    use crate::structs::from_json;

    /// A message with maps inside maps.
    fn cluster() -> Cluster {
        let inner: serde_json::Map<_, _> = (0..20)
            .map(|i| {
                (
                    format!("inner-{i}"),
                    serde_json::json!({"a": i, "b": [{"x": 1, "y": 2}]}),
                )
            })
            .collect();
        let filters = (0..20).map(|i| (format!("filter-{i}"), from_json(&inner)));
        Cluster {
            name: "a".to_owned(),
            metadata: Some(Metadata {
                filter_metadata: filters.collect(),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn sorted(message: &Cluster) -> Vec<u8> {
        let mut bytes = message.encode_to_vec();
        sort_maps(&Cluster::full_name(), &mut bytes);
        bytes
    }

    #[test]
    fn equal_messages_have_equal_bytes() {
        assert_ne!(cluster().encode_to_vec(), cluster().encode_to_vec());
        assert_eq!(sorted(&cluster()), sorted(&cluster()));
        assert_eq!(Cluster::decode(&*sorted(&cluster())), Ok(cluster()));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_are_too_strange(mut bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let length = bytes.len();
            sort_maps(&Cluster::full_name(), &mut bytes);
            assert_eq!(bytes.len(), length);
        }
    }
}
