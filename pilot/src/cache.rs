//! Generated resources, kept by the inputs that they were generated from.
//!
//! A generator takes one value of inputs and nothing else, so equal inputs give the same
//! resource: it is looked up, not computed. All proxies with equal inputs hold the same bytes
//! under the same version. When different inputs turn out to give the same message, the bytes
//! and version are shared as well, so a change without effect is not sent to anyone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use xds::delta::SharedResource;
use xds::prost::{Message, Name};
use xds::resource::Any;
use xds::version::Version;

/// How many worlds an unused resource is kept: long enough for a rollback to find it.
const WORLDS_KEPT: u64 = 2;

/// The resources of one generator.
#[derive(Debug)]
pub(crate) struct GeneratorCache<I> {
    by_name: Mutex<HashMap<Arc<str>, Vec<Variant<I>>>>,
}

/// One of the forms that a resource of some name has for different proxies.
#[derive(Debug)]
struct Variant<I> {
    inputs: I,
    resource: SharedResource,
    last_used: u64,
}

impl<I> Default for GeneratorCache<I> {
    fn default() -> Self {
        Self {
            by_name: Mutex::default(),
        }
    }
}

impl<I: PartialEq> GeneratorCache<I> {
    /// The resource of these inputs; generated unless they were seen before.
    pub(crate) fn get<M>(
        &self,
        context: &CacheContext,
        name: &str,
        inputs: I,
        generate: impl FnOnce(&I) -> M,
    ) -> (Arc<str>, SharedResource)
    where
        M: Message + Name,
    {
        self.get_encoded(context, name, inputs, |inputs, variants| {
            let body = Any::pack(&generate(inputs));
            let same = variants.iter().find(|known| *known.value() == body.value);
            same.map_or_else(|| resource(name, &body), |known| (*known).clone())
        })
    }

    /// Like [`Self::get`] with a generator that encodes, and is shown the other variants.
    pub(crate) fn get_encoded(
        &self,
        context: &CacheContext,
        name: &str,
        inputs: I,
        generate: impl FnOnce(&I, &[&SharedResource]) -> SharedResource,
    ) -> (Arc<str>, SharedResource) {
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        let key = match by_name.get_key_value(name) {
            Some((key, _)) => Arc::clone(key),
            None => Arc::from(name),
        };
        let variants = by_name.entry(Arc::clone(&key)).or_default();
        if let Some(variant) = variants.iter_mut().find(|variant| variant.inputs == inputs) {
            variant.last_used = context.world;
            return (key, variant.resource.clone());
        }
        let known: Vec<_> = variants.iter().map(|variant| &variant.resource).collect();
        let resource = generate(&inputs, &known);
        variants.push(Variant {
            inputs,
            resource: resource.clone(),
            last_used: context.world,
        });
        (key, resource)
    }

    /// Forgets what no recent world used.
    pub(crate) fn sweep(&self, world: u64) {
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        by_name.retain(|_, variants| {
            variants.retain(|variant| variant.last_used + WORLDS_KEPT >= world);
            !variants.is_empty()
        });
    }
}

/// What caching needs to know beside the inputs.
#[derive(Debug)]
pub(crate) struct CacheContext {
    /// The number of the world that is being built.
    pub(crate) world: u64,
}

/// A body under its version.
pub(crate) fn resource(name: &str, body: &Any) -> SharedResource {
    SharedResource::new(name.into(), Version::of(body), &body.type_url, &body.value)
}

#[cfg(test)]
mod tests {
    use xds::envoy::cluster::Cluster;

    use super::*;

    fn context(world: u64) -> CacheContext {
        CacheContext { world }
    }

    fn named(name: &str) -> Cluster {
        Cluster {
            name: name.to_owned(),
            ..Default::default()
        }
    }

    #[test]
    fn equal_inputs_are_generated_once() {
        let (cache, context) = (GeneratorCache::default(), context(1));
        let (_, first) = cache.get(&context, "a", 1, |_| named("a"));
        let (_, again) = cache.get(&context, "a", 1, |_| -> Cluster {
            panic!("generated again")
        });
        assert_eq!(first, again);
        let (_, other) = cache.get(&context, "a", 2, |_| named("b"));
        assert_ne!(first.version(), other.version());
    }

    #[test]
    fn different_inputs_of_equal_effect_share_the_resource() {
        let (cache, context) = (GeneratorCache::default(), context(1));
        let (_, first) = cache.get(&context, "a", 1, |_| named("a"));
        let (_, second) = cache.get(&context, "a", 2, |_| named("a"));
        assert_eq!(first, second);
    }

    #[test]
    fn what_is_no_longer_used_is_forgotten() {
        let cache = GeneratorCache::default();
        let (_, first) = cache.get(&context(1), "a", 1, |_| named("a"));
        cache.sweep(3);
        let (_, kept) = cache.get(&context(3), "a", 1, |_| named("a"));
        assert_eq!(first, kept);
        cache.sweep(6);
        assert!(cache.by_name.lock().unwrap().is_empty());
    }
}
