//! Which namespaces lack the right roots.

use std::collections::{BTreeMap, BTreeSet};

use citadel::ca::plugged_in::ROOT_CERT;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::ResourceExt;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;

/// Namespaces of Kubernetes itself in which no proxy runs; `kube-system` is not among them, as in Istio.
const IGNORED: [&str; 3] = ["kube-public", "kube-node-lease", "local-path-storage"];

/// What should be there and what is.
#[derive(Debug, Default)]
pub(super) struct State {
    roots: String,
    namespaces: BTreeSet<String>,
    /// The roots in each namespace, as far as they were seen; `None` is a ConfigMap without the key.
    found: BTreeMap<String, Option<String>>,
    /// Written to a moment ago, with or without success: they wait for their next turn, so that somebody who
    /// writes other roots, or refuses ours, does not make a loop of it.
    waiting: BTreeSet<String>,
    /// Lists that are being received.
    listing_namespaces: Option<BTreeSet<String>>,
    listing_found: Option<BTreeMap<String, Option<String>>>,
    synced: (bool, bool),
}

impl State {
    /// Nothing is known yet but the roots.
    pub(super) fn new(roots: String) -> Self {
        Self {
            roots,
            ..Self::default()
        }
    }

    /// The roots that should be everywhere.
    pub(super) fn roots(&self) -> &str {
        &self.roots
    }

    /// Other roots from now on.
    pub(super) fn set_roots(&mut self, roots: String) {
        self.roots = roots;
        self.waiting.clear();
    }

    /// Takes in what happened to a namespace.
    pub(super) fn namespace(&mut self, event: Event<PartialObjectMeta<Namespace>>) {
        match event {
            Event::Init => self.listing_namespaces = Some(BTreeSet::new()),
            Event::InitApply(namespace) => {
                if let Some(listing) = &mut self.listing_namespaces
                    && is_served(&namespace)
                {
                    listing.insert(namespace.name_any());
                }
            }
            Event::InitDone => {
                self.namespaces = self.listing_namespaces.take().unwrap_or_default();
                self.synced.0 = true;
            }
            Event::Apply(namespace) if is_served(&namespace) => {
                self.namespaces.insert(namespace.name_any());
            }
            Event::Apply(namespace) | Event::Delete(namespace) => self.gone(&namespace.name_any()),
        }
    }

    /// Takes in what happened to a ConfigMap of ours.
    pub(super) fn config_map(&mut self, event: Event<ConfigMap>) {
        match event {
            Event::Init => self.listing_found = Some(BTreeMap::new()),
            Event::InitApply(config_map) => {
                if let Some(listing) = &mut self.listing_found {
                    let namespace = config_map.namespace().unwrap_or_default();
                    listing.insert(namespace, roots_in(config_map));
                }
            }
            Event::InitDone => {
                self.found = self.listing_found.take().unwrap_or_default();
                self.synced.1 = true;
            }
            Event::Apply(config_map) => {
                let namespace = config_map.namespace().unwrap_or_default();
                self.found.insert(namespace, roots_in(config_map));
            }
            Event::Delete(config_map) => {
                self.found
                    .remove(&config_map.namespace().unwrap_or_default());
            }
        }
    }

    /// The first namespace whose roots are wrong; none before both lists were seen.
    pub(super) fn next_wrong(&self) -> Option<String> {
        if self.synced != (true, true) {
            return None;
        }
        let wrong = |namespace: &&String| {
            let found = self.found.get(*namespace).and_then(Option::as_deref);
            found != Some(self.roots.as_str()) && !self.waiting.contains(*namespace)
        };
        self.namespaces.iter().find(wrong).cloned()
    }

    /// The roots were written; the watch will say the same later.
    pub(super) fn written(&mut self, namespace: &str) {
        let roots = Some(self.roots.clone());
        self.found.insert(namespace.to_owned(), roots);
        self.waiting.insert(namespace.to_owned());
    }

    /// They could not be.
    pub(super) fn failed(&mut self, namespace: &str) {
        self.waiting.insert(namespace.to_owned());
    }

    /// The namespace needs no roots any more.
    pub(super) fn gone(&mut self, namespace: &str) {
        self.namespaces.remove(namespace);
        self.waiting.remove(namespace);
    }

    /// Whether something waits for its next turn.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Begins the next turn.
    pub(super) fn next_turn(&mut self) {
        self.waiting.clear();
    }
}

fn is_served(namespace: &PartialObjectMeta<Namespace>) -> bool {
    namespace.metadata.deletion_timestamp.is_none()
        && !IGNORED.contains(&namespace.name_any().as_str())
}

fn roots_in(config_map: ConfigMap) -> Option<String> {
    config_map.data?.remove(ROOT_CERT)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn namespace(name: &str, terminating: bool) -> PartialObjectMeta<Namespace> {
        let mut metadata = json!({"name": name});
        if terminating {
            metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        serde_json::from_value(json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata,
        }))
        .unwrap()
    }

    fn config_map(namespace: &str, roots: &str) -> ConfigMap {
        serde_json::from_value(json!({
            "metadata": {"name": "istio-ca-root-cert", "namespace": namespace},
            "data": {"root-cert.pem": roots},
        }))
        .unwrap()
    }

    /// All namespaces that would be written to, in order.
    fn write_all(state: &mut State) -> Vec<String> {
        let mut written = Vec::new();
        while let Some(namespace) = state.next_wrong() {
            state.written(&namespace);
            written.push(namespace);
        }
        written
    }

    fn synced(namespaces: &[&str], found: &[(&str, &str)]) -> State {
        let mut state = State::new("roots".to_owned());
        state.namespace(Event::Init);
        for name in namespaces {
            state.namespace(Event::InitApply(namespace(name, false)));
        }
        state.namespace(Event::InitDone);
        assert_eq!(state.next_wrong(), None, "the other list is not there yet");
        state.config_map(Event::Init);
        for (namespace, roots) in found {
            state.config_map(Event::InitApply(config_map(namespace, roots)));
        }
        state.config_map(Event::InitDone);
        state
    }

    #[test]
    fn only_what_is_wrong_is_written_and_only_once() {
        let mut state = synced(
            &["a", "b", "c", "kube-public", "kube-system"],
            &[("a", "roots"), ("b", "others")],
        );
        assert_eq!(write_all(&mut state), ["b", "c", "kube-system"]);
        // The watch tells what was written: no loop.
        state.config_map(Event::Apply(config_map("b", "roots")));
        assert_eq!(write_all(&mut state), [""; 0]);
    }

    #[test]
    fn changes_deletions_and_new_roots_are_put_right() {
        let mut state = synced(&["a", "b"], &[("a", "roots"), ("b", "roots")]);
        state.config_map(Event::Apply(config_map("a", "edited")));
        state.config_map(Event::Delete(config_map("b", "roots")));
        assert_eq!(write_all(&mut state), ["a", "b"]);
        state.next_turn();
        state.namespace(Event::Apply(namespace("c", false)));
        assert_eq!(write_all(&mut state), ["c"]);
        state.set_roots("new".to_owned());
        assert_eq!(write_all(&mut state), ["a", "b", "c"]);
    }

    #[test]
    fn a_namespace_that_ends_is_left_alone() {
        let mut state = synced(&["a", "b"], &[]);
        state.namespace(Event::Apply(namespace("a", true)));
        state.namespace(Event::Delete(namespace("b", false)));
        assert_eq!(write_all(&mut state), [""; 0]);
    }

    #[test]
    fn a_failure_waits_for_the_next_turn() {
        let mut state = synced(&["a", "b"], &[("b", "roots")]);
        state.failed("a");
        assert_eq!(write_all(&mut state), [""; 0]);
        assert!(state.is_waiting());
        state.next_turn();
        assert!(!state.is_waiting());
        assert_eq!(write_all(&mut state), ["a"]);
    }

    #[test]
    fn somebody_who_writes_other_roots_makes_no_loop() {
        let mut state = synced(&["a"], &[]);
        assert_eq!(write_all(&mut state), ["a"]);
        state.config_map(Event::Apply(config_map("a", "others")));
        assert_eq!(write_all(&mut state), [""; 0]);
        state.next_turn();
        assert_eq!(write_all(&mut state), ["a"]);
    }
}
