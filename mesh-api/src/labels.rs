//! Labels of workloads and the selectors over them.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Labels by key, in order of keys. Shared: endpoints of one workload hold the same set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels(Arc<BTreeMap<String, String>>);

impl Labels {
    /// The value of a label.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Keys and values in order of keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    /// True without any label.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Labels {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(pairs: T) -> Self {
        Self(Arc::new(
            pairs
                .into_iter()
                .map(|(k, v)| (k.into(), v.into()))
                .collect(),
        ))
    }
}

/// An equality selector: all of its labels must be there with the same values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Selector(Labels);

impl Selector {
    /// A selector of these labels; without labels it selects everything.
    pub fn new(labels: Labels) -> Self {
        Self(labels)
    }

    /// True if it selects everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The labels asked for.
    pub fn labels(&self) -> &Labels {
        &self.0
    }

    /// True if the labels have everything that is asked for.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_asks_for_a_subset() {
        let labels: Labels = [("app", "reviews"), ("version", "v1")]
            .into_iter()
            .collect();
        let select = |pairs: &[(&str, &str)]| {
            Selector::new(pairs.iter().copied().collect()).matches(&labels)
        };
        assert!(select(&[]));
        assert!(select(&[("app", "reviews")]));
        assert!(!select(&[("app", "reviews"), ("version", "v2")]));
        assert!(!select(&[("tier", "")]));
    }
}
