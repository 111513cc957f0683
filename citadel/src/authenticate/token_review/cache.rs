//! Tokens that the API server has accepted, by their hash: a memory dump of the cache shows no token.

use std::collections::HashMap;

use aws_lc_rs::digest::{SHA256, digest};
use mesh_api::identity::SpiffeId;
use time::{Duration, OffsetDateTime};

/// How long an answer is believed; a deleted pod's token is refused after that.
const LIFETIME: Duration = Duration::minutes(1);

/// Entries kept: one per pod that starts within [`LIFETIME`].
const ENTRIES_MAX: usize = 10_000;

/// The SHA-256 of a token.
pub(super) type Key = [u8; 32];

/// The key of a token.
pub(super) fn key(token: &str) -> Key {
    let hash = digest(&SHA256, token.as_bytes());
    let mut key = Key::default();
    key.copy_from_slice(hash.as_ref());
    key
}

/// A bounded map of identities with ends.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: HashMap<Key, Entry>,
}

#[derive(Debug)]
struct Entry {
    identity: SpiffeId,
    end: OffsetDateTime,
}

impl Cache {
    /// The identity, if it is remembered.
    pub(super) fn get(&self, key: &Key, now: OffsetDateTime) -> Option<SpiffeId> {
        let entry = self.entries.get(key)?;
        (now < entry.end).then(|| entry.identity.clone())
    }

    /// Remembers an identity, not beyond the end of its token. A full cache forgets what has ended, and if
    /// nothing has, does not learn.
    pub(super) fn put(
        &mut self,
        key: Key,
        identity: SpiffeId,
        now: OffsetDateTime,
        token_end: OffsetDateTime,
    ) {
        if self.entries.len() >= ENTRIES_MAX {
            self.entries.retain(|_, entry| now < entry.end);
        }
        if self.entries.len() < ENTRIES_MAX {
            let end = token_end.min(now + LIFETIME);
            self.entries.insert(key, Entry { identity, end });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> SpiffeId {
        "spiffe://cluster.local/ns/shop/sa/cart".parse().unwrap()
    }

    #[test]
    fn an_answer_ends_after_a_minute_and_with_its_token() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let mut cache = Cache::default();
        cache.put(key("long"), identity(), now, now + Duration::hours(1));
        cache.put(key("short"), identity(), now, now + Duration::seconds(5));
        let known = |token, seconds| cache.get(&key(token), now + Duration::seconds(seconds));
        assert_eq!(known("long", 59), Some(identity()));
        assert_eq!(known("long", 60), None);
        assert_eq!(known("short", 4), Some(identity()));
        assert_eq!(known("short", 5), None);
        assert_eq!(known("other", 0), None);
    }

    #[test]
    fn it_stays_bounded_and_forgets_what_has_ended() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let end = now + Duration::hours(1);
        let mut cache = Cache::default();
        for number in 0..=ENTRIES_MAX {
            cache.put(key(&number.to_string()), identity(), now, end);
        }
        assert_eq!(cache.entries.len(), ENTRIES_MAX);
        cache.put(key("later"), identity(), now + LIFETIME, end);
        assert_eq!(cache.entries.len(), 1);
    }
}
