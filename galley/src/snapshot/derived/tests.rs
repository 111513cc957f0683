//! What tests of the kinds have in common.

use mesh_api::mesh_config::MeshConfig;

use super::*;
use crate::manifest::parse;

/// What documents come to, in order of places and names.
#[derive(Debug, Default, PartialEq)]
pub(super) struct All {
    pub(super) virtual_services: Vec<Arc<VirtualService>>,
    pub(super) gateways: Vec<Arc<Gateway>>,
    pub(super) credentials: BTreeMap<CredentialKey, Arc<Credential>>,
    pub(super) feedback: Feedbacks,
}

impl All {
    pub(super) fn of(documents: &[&str]) -> Self {
        let mut store = Store::new(MeshConfig::default());
        for text in documents {
            let (documents, faults) = parse("a.yaml", text);
            assert_eq!(faults, vec![]);
            for document in documents {
                assert!(store.apply(Arc::new(document)), "{:?}", store.diagnostics());
            }
        }
        let mut derived = Derived::default();
        let done = derived.update(&store.take_changes(), &store);
        assert!(done.gateways.iter().eq(derived.gateways.keys()));
        let placed = derived.placed.iter();
        let credentials = derived.credentials.keys();
        Self {
            virtual_services: placed
                .map(|(place, name)| derived.virtual_services[name][place].clone())
                .collect(),
            gateways: derived.gateways.values().cloned().collect(),
            credentials: credentials
                .map(|name| (name.clone(), derived.credential(name).unwrap().clone()))
                .collect(),
            feedback: derived.feedback,
        }
    }
}
