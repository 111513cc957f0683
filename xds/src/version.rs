//! Versions of resources.
//!
//! Encoding a message with maps twice may give different bytes, so a version is never a hash of
//! an encoding. A [`VersionSource`] counts instead: who generates a resource asks for a new
//! version only after comparing the message with its predecessor. The count carries an epoch, so
//! that the versions of two runs of the control plane never look equal by accident.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

use prost::Message;

/// The version of one resource: opaque, equal means unchanged.
///
/// A number, because a control plane remembers one for every resource of every proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version(u64);

impl Version {
    /// A version that no source gives out: equal to none of ours.
    pub const UNKNOWN: Self = Self(0);
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl FromStr for Version {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

/// Gives out versions that were not given out before.
#[derive(Debug)]
pub struct VersionSource {
    epoch: u32,
    next: AtomicU32,
}

impl VersionSource {
    /// A source for one run of a control plane. `epoch` must differ between runs, for example
    /// the start time in seconds.
    pub fn new(epoch: u32) -> Self {
        Self {
            epoch,
            next: AtomicU32::new(1),
        }
    }

    /// The next version.
    pub fn next(&self) -> Version {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        Version(u64::from(self.epoch) << 32 | u64::from(count))
    }
}

/// Whether `encoded` is an encoding of `message`, whatever order its maps were written in.
pub fn is_encoding_of<M: Message + Default + PartialEq>(encoded: &[u8], message: &M) -> bool {
    let same_length = message.encoded_len() == encoded.len();
    same_length && M::decode(encoded).is_ok_and(|decoded| decoded == *message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::google::protobuf::{Struct, Value};

    #[test]
    fn versions_do_not_repeat() {
        let source = VersionSource::new(0xe);
        let versions = [source.next(), source.next()].map(|v| v.to_string());
        assert_eq!(versions, ["e00000001", "e00000002"]);
    }

    #[test]
    fn versions_survive_their_text_form() {
        let version = VersionSource::new(u32::MAX).next();
        assert_eq!(version.to_string().parse(), Ok(version));
        assert!("not ours".parse::<Version>().is_err());
    }

    #[test]
    fn map_order_does_not_make_a_difference() {
        let build = || Struct {
            fields: (0..50)
                .map(|i| (format!("key-{i}"), Value::default()))
                .collect(),
        };
        assert!(is_encoding_of(&build().encode_to_vec(), &build()));
        let other = Struct {
            fields: [("key-0".to_owned(), Value::default())].into(),
        };
        assert!(!is_encoding_of(&build().encode_to_vec(), &other));
    }
}
