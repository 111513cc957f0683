//! Objects of one kind, looked up by namespace and name and read in the order in which they win.

use std::fmt;
use std::sync::Arc;

use super::Map;
use crate::resource::HasMeta;

/// Objects of one kind by namespace. A namespace without objects has no entry.
pub struct ByNamespace<T> {
    namespaces: Map<Arc<str>, Objects<T>>,
    /// What a namespace without objects has.
    none: Objects<T>,
}

/// The objects of one namespace, oldest first, ties by name.
pub struct Objects<T> {
    by_age: Map<(i64, Arc<str>), Arc<T>>,
    ages: Map<Arc<str>, i64>,
}

impl<T> ByNamespace<T> {
    /// The objects of a namespace, if it has any.
    pub fn get(&self, namespace: &str) -> Option<&Objects<T>> {
        self.namespaces.get(namespace)
    }

    /// The objects of a namespace.
    pub fn of(&self, namespace: &str) -> &Objects<T> {
        self.get(namespace).unwrap_or(&self.none)
    }

    /// An object by namespace and name.
    pub fn object(&self, namespace: &str, name: &str) -> Option<&Arc<T>> {
        self.get(namespace)?.get(name)
    }

    /// Adds an object or replaces the one of this name.
    pub fn insert(&mut self, object: Arc<T>)
    where
        T: HasMeta,
    {
        let meta = object.meta();
        let (key, age) = (meta.key.clone(), meta.creation_seconds);
        let mut objects = self.of(&key.namespace).clone();
        objects.insert(&key.name, age, object);
        self.namespaces.insert(key.namespace, objects);
    }

    /// Removes an object; true if it was there.
    pub fn remove(&mut self, namespace: &str, name: &str) -> bool {
        let Some(objects) = self.get(namespace) else {
            return false;
        };
        let mut objects = objects.clone();
        let removed = objects.remove(name);
        match objects.is_empty() {
            true => {
                self.namespaces.remove(namespace);
            }
            false => self.namespaces.insert(namespace.into(), objects),
        }
        removed
    }

    /// Namespaces and their objects.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Objects<T>)> {
        self.namespaces.iter()
    }

    /// The objects of each namespace.
    pub fn values(&self) -> impl Iterator<Item = &Objects<T>> {
        self.namespaces.values()
    }

    /// The number of namespaces with objects.
    pub fn len(&self) -> usize {
        self.namespaces.len()
    }

    /// True without any object.
    pub fn is_empty(&self) -> bool {
        self.namespaces.is_empty()
    }
}

impl<T> Objects<T> {
    /// The object of a name.
    pub fn get(&self, name: &str) -> Option<&Arc<T>> {
        let (name, age) = self.ages.get_key_value(name)?;
        self.by_age.get(&(*age, name.clone()))
    }

    /// The oldest object.
    pub fn first(&self) -> Option<&Arc<T>> {
        self.iter().next()
    }

    /// All objects.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter((&self.by_age).into_iter())
    }

    /// The number of objects.
    pub fn len(&self) -> usize {
        self.ages.len()
    }

    /// True without objects.
    pub fn is_empty(&self) -> bool {
        self.ages.is_empty()
    }

    fn insert(&mut self, name: &Arc<str>, age: i64, object: Arc<T>) {
        if self.ages.get(name).is_some_and(|before| *before != age) {
            self.remove(name);
        }
        self.ages.insert(name.clone(), age);
        self.by_age.insert((age, name.clone()), object);
    }

    fn remove(&mut self, name: &str) -> bool {
        let Some((name, age)) = self.ages.get_key_value(name) else {
            return false;
        };
        let age = (*age, name.clone());
        self.by_age.remove(&age);
        self.ages.remove(&age.1)
    }
}

type Aged<T> = Map<(i64, Arc<str>), Arc<T>>;

/// Objects, oldest first.
pub struct Iter<'a, T>(<&'a Aged<T> as IntoIterator>::IntoIter);

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = &'a Arc<T>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(_, object)| object)
    }
}

impl<'a, T> IntoIterator for &'a Objects<T> {
    type Item = &'a Arc<T>;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

// Derived implementations would ask the same of `T`, which is behind an `Arc`.
impl<T> Clone for ByNamespace<T> {
    fn clone(&self) -> Self {
        Self {
            namespaces: self.namespaces.clone(),
            none: self.none.clone(),
        }
    }
}

impl<T> Default for ByNamespace<T> {
    fn default() -> Self {
        Self {
            namespaces: Map::default(),
            none: Objects::default(),
        }
    }
}

impl<T> Clone for Objects<T> {
    fn clone(&self) -> Self {
        Self {
            by_age: self.by_age.clone(),
            ages: self.ages.clone(),
        }
    }
}

impl<T> Default for Objects<T> {
    fn default() -> Self {
        Self {
            by_age: Map::default(),
            ages: Map::default(),
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for ByNamespace<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.namespaces.fmt(f)
    }
}

impl<T: fmt::Debug> fmt::Debug for Objects<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl<T: PartialEq> PartialEq for ByNamespace<T> {
    fn eq(&self, other: &Self) -> bool {
        self.namespaces == other.namespaces
    }
}

impl<T: PartialEq> PartialEq for Objects<T> {
    fn eq(&self, other: &Self) -> bool {
        self.by_age == other.by_age
    }
}

impl<T: HasMeta> FromIterator<Arc<T>> for ByNamespace<T> {
    fn from_iter<I: IntoIterator<Item = Arc<T>>>(objects: I) -> Self {
        let mut all = Self::default();
        objects.into_iter().for_each(|object| all.insert(object));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Meta;
    use crate::test_util::meta;

    fn aged(name: &str, age: i64) -> Arc<Meta> {
        Arc::new(Meta {
            creation_seconds: age,
            ..meta("Sidecar", "shop", name)
        })
    }

    fn names(all: &ByNamespace<Meta>) -> Vec<&str> {
        all.of("shop").iter().map(|one| one.name()).collect()
    }

    #[test]
    fn the_oldest_is_first_and_names_break_ties() {
        let aged_names = [("c", 1), ("b", 2), ("a", 2)];
        let mut all: ByNamespace<Meta> = aged_names
            .map(|(name, age)| aged(name, age))
            .into_iter()
            .collect();
        assert_eq!(names(&all), ["c", "a", "b"]);
        let before = all.clone();
        all.insert(aged("c", 3));
        assert_eq!(names(&all), ["a", "b", "c"]);
        assert_eq!(all.object("shop", "c"), Some(&aged("c", 3)));
        assert_eq!(names(&before), ["c", "a", "b"]);
    }

    #[test]
    fn a_namespace_goes_with_its_last_object() {
        let mut all = ByNamespace::default();
        all.insert(aged("a", 1));
        assert!(!all.remove("shop", "b"));
        assert!(!all.remove("other", "a"));
        assert!(all.remove("shop", "a"));
        assert_eq!((all.len(), all.of("shop").len()), (0, 0));
        assert_eq!(all, ByNamespace::default());
    }
}
