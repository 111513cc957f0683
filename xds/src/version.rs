//! Versions of resources.
//!
//! A version is a hash of the resource's one encoding ([`crate::canonical`]): every replica of a control plane,
//! and the same one after a restart, gives the same resource the same version, so that a proxy that reconnects is
//! sent what has changed meanwhile and nothing else.

use std::fmt;
use std::str::FromStr;

use xxhash_rust::xxh64::xxh64;

use crate::resource::Any;

/// The version of one resource: opaque, equal means unchanged.
///
/// A number, because a control plane remembers one for every resource of every proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version(u64);

impl Version {
    /// A version that no resource has.
    pub const UNKNOWN: Self = Self(0);

    /// The version of a resource.
    pub fn of(body: &Any) -> Self {
        Self(xxh64(&body.value, 0).max(1))
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structs;

    fn body(fields: usize) -> Any {
        let fields = (0..fields).map(|i| (format!("key-{i}"), structs::number(1.0)));
        Any::pack(&structs::object(fields))
    }

    #[test]
    fn equal_resources_have_equal_versions() {
        assert_eq!(Version::of(&body(50)), Version::of(&body(50)));
        assert_ne!(Version::of(&body(50)), Version::of(&body(51)));
    }

    #[test]
    fn versions_survive_their_text_form() {
        let version = Version::of(&body(1));
        assert_eq!(version.to_string().parse(), Ok(version));
        assert!("not ours".parse::<Version>().is_err());
    }
}
