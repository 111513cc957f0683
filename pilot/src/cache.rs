//! Generated resources, kept by the inputs that they were generated from.
//!
//! A generator takes one value of inputs and nothing else, so equal inputs give the same
//! resource: it is looked up, not computed. All proxies with equal inputs hold the same bytes
//! under the same version. When different inputs turn out to give the same message, the bytes
//! and version are shared as well, so a change without effect is not sent to anyone.
//!
//! A resource is found by a hash of its inputs and generated outside of the lock. It is kept only
//! as long as somebody has it.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xds::delta::{SharedResource, WeakResource};
use xds::prost::{Message, Name};
use xds::resource::Any;
use xds::version::Version;

/// Entries that are added before those of gone resources are looked for, at least.
const SWEEP_ADDED_MIN: usize = 1024;

/// What a resource is generated from.
pub(crate) trait Inputs: PartialEq {
    /// Hashes what tells most values apart. Equal values have equal hashes.
    fn fingerprint(&self, state: &mut impl Hasher);
}

impl Inputs for Vec<Version> {
    fn fingerprint(&self, state: &mut impl Hasher) {
        self.hash(state);
    }
}

/// How much was done to generate resources.
#[derive(Debug, Default)]
pub struct Work {
    generated: AtomicU64,
    visited: AtomicU64,
}

impl Work {
    /// Resources that were generated: clusters, assignments, listeners, virtual hosts, route
    /// configurations, secrets.
    pub fn generated(&self) -> u64 {
        self.generated.load(Ordering::Relaxed)
    }

    /// Objects that were looked at to find out what resources are made from.
    pub fn visited(&self) -> u64 {
        self.visited.load(Ordering::Relaxed)
    }

    /// Notes that so many objects were looked at.
    pub(crate) fn visit(&self, objects: usize) {
        self.visited.fetch_add(objects as u64, Ordering::Relaxed);
    }
}

/// What one generator has done.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    generated: AtomicU64,
    hits: AtomicU64,
}

impl Counts {
    /// Resources that were generated.
    pub(crate) fn generated(&self) -> u64 {
        self.generated.load(Ordering::Relaxed)
    }

    /// Resources that somebody had already.
    pub(crate) fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }
}

/// The resources of one generator.
#[derive(Debug)]
pub(crate) struct GeneratorCache<I> {
    counts: Counts,
    entries: Mutex<Entries<I>>,
}

#[derive(Debug)]
struct Entries<I> {
    by_inputs: HashMap<u64, Vec<(I, WeakResource)>>,
    /// By name and version.
    by_body: HashMap<u64, WeakResource>,
    added: usize,
}

impl<I> Default for GeneratorCache<I> {
    fn default() -> Self {
        Self {
            counts: Counts::default(),
            entries: Mutex::new(Entries {
                by_inputs: HashMap::new(),
                by_body: HashMap::new(),
                added: 0,
            }),
        }
    }
}

impl<I: Inputs> GeneratorCache<I> {
    /// The resource of these inputs; generated unless somebody has it already.
    pub(crate) fn get<M>(
        &self,
        work: &Work,
        name: &str,
        inputs: I,
        generate: impl FnOnce(&I) -> M,
    ) -> SharedResource
    where
        M: Message + Name,
    {
        self.get_encoded(work, name, inputs, |inputs| Any::pack(&generate(inputs)))
    }

    /// Like [`Self::get`] with a generator that encodes.
    pub(crate) fn get_encoded(
        &self,
        work: &Work,
        name: &str,
        inputs: I,
        generate: impl FnOnce(&I) -> Any,
    ) -> SharedResource {
        let hash = hash_of(name, &inputs);
        if let Some(known) = self.lock().find(hash, &inputs) {
            self.counts.hits.fetch_add(1, Ordering::Relaxed);
            return known;
        }
        work.generated.fetch_add(1, Ordering::Relaxed);
        self.counts.generated.fetch_add(1, Ordering::Relaxed);
        let body = generate(&inputs);
        let resource =
            SharedResource::new(name.into(), Version::of(&body), &body.type_url, &body.value);
        self.lock().add(hash, inputs, resource)
    }

    /// What was done here.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    fn lock(&self) -> MutexGuard<'_, Entries<I>> {
        // Nothing is generated while it is held, so it is whole whatever happened elsewhere.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash_of(name: &str, inputs: &impl Inputs) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    inputs.fingerprint(&mut hasher);
    hasher.finish()
}

impl<I: Inputs> Entries<I> {
    fn find(&self, hash: u64, inputs: &I) -> Option<SharedResource> {
        let mut same = self.by_inputs.get(&hash)?.iter();
        let (_, resource) = same.find(|(known, _)| known == inputs)?;
        resource.upgrade()
    }

    /// Adds what was generated, or returns what is equal and was there before.
    fn add(&mut self, hash: u64, inputs: I, resource: SharedResource) -> SharedResource {
        self.sweep();
        let mut hasher = DefaultHasher::new();
        (resource.name(), resource.version()).hash(&mut hasher);
        let body = self.by_body.entry(hasher.finish());
        let known = body
            .or_insert_with(|| resource.downgrade())
            .upgrade()
            .filter(|known| known.name() == resource.name() && known.value() == resource.value());
        let resource = match known {
            Some(known) => known,
            None => {
                self.by_body.insert(hasher.finish(), resource.downgrade());
                resource
            }
        };
        let same_hash = self.by_inputs.entry(hash).or_default();
        same_hash.retain(|(known, _)| *known != inputs);
        same_hash.push((inputs, resource.downgrade()));
        self.added += 1;
        resource
    }

    /// Forgets what nobody has, once as much was added as there is.
    fn sweep(&mut self) {
        if self.added < SWEEP_ADDED_MIN.max(self.by_inputs.len() / 2) {
            return;
        }
        self.added = 0;
        self.by_inputs.retain(|_, same_hash| {
            same_hash.retain(|(_, resource)| resource.upgrade().is_some());
            !same_hash.is_empty()
        });
        self.by_body
            .retain(|_, resource| resource.upgrade().is_some());
    }
}

/// Adds a resource under its name.
pub(crate) fn insert(resources: &mut xds::delta::ResourceMap, resource: SharedResource) {
    resources.insert_mut(Arc::clone(resource.name()), resource);
}

#[cfg(test)]
mod tests {
    use xds::envoy::cluster::Cluster;

    use super::*;

    impl Inputs for u32 {
        fn fingerprint(&self, state: &mut impl Hasher) {
            // Some are told apart by comparison alone.
            (self % 10).hash(state);
        }
    }

    fn named(name: &str) -> Cluster {
        Cluster {
            name: name.to_owned(),
            ..Default::default()
        }
    }

    #[test]
    fn equal_inputs_are_generated_once() {
        let (cache, work) = (GeneratorCache::default(), Work::default());
        let first = cache.get(&work, "a", 1, |_| named("a"));
        let again = cache.get(&work, "a", 1, |_| -> Cluster { panic!("generated again") });
        assert_eq!(first.version(), again.version());
        let other = cache.get(&work, "a", 11, |_| named("b"));
        assert_ne!(first.version(), other.version());
        assert_eq!(work.generated(), 2);
    }

    #[test]
    fn different_inputs_of_equal_effect_share_the_resource() {
        let (cache, work) = (GeneratorCache::default(), Work::default());
        let first = cache.get(&work, "a", 1, |_| named("a"));
        let second = cache.get(&work, "a", 2, |_| named("a"));
        assert_eq!(first.value().as_ptr(), second.value().as_ptr());
        let other_name = cache.get(&work, "b", 2, |_| named("a"));
        assert_eq!(&**other_name.name(), "b");
    }

    #[test]
    fn what_nobody_has_is_forgotten() {
        let (cache, work) = (GeneratorCache::default(), Work::default());
        let kept = cache.get(&work, "kept", 0, |_| named("kept"));
        for number in 0..10 * SWEEP_ADDED_MIN {
            drop(cache.get(&work, &number.to_string(), 0, |_| named("gone")));
        }
        let entries = cache.lock();
        assert!(entries.by_inputs.len() <= SWEEP_ADDED_MIN + 1);
        assert!(entries.by_body.len() <= SWEEP_ADDED_MIN + 1);
        let found = entries.find(hash_of("kept", &0), &0).unwrap();
        assert_eq!(found.value().as_ptr(), kept.value().as_ptr());
    }
}
