//! What tells the inputs of generators apart, for the hashes that they are found by.
//!
//! A fingerprint need not cover everything: what it leaves out is compared. It names objects
//! instead of hashing what is in them, so that taking it costs next to nothing.

use std::hash::{Hash, Hasher};

use crate::cache::Inputs;
use crate::{cds, eds, lds, rds, sds, world};

impl Inputs for cds::Inputs {
    fn fingerprint(&self, state: &mut impl Hasher) {
        self.service.meta.key.hash(state);
        (self.port, &self.subset, self.gateway, self.weft).hash(state);
        self.rule.as_ref().map(|rule| rule.key()).hash(state);
    }
}

impl Inputs for world::StaticCluster {
    fn fingerprint(&self, state: &mut impl Hasher) {
        self.kind.hash(state);
    }
}

impl Inputs for cds::Inbound {
    fn fingerprint(&self, state: &mut impl Hasher) {
        (self.port, self.protocol, &self.services).hash(state);
    }
}

impl Inputs for eds::Inputs {
    fn fingerprint(&self, state: &mut impl Hasher) {
        (&self.cluster, self.port, &self.labels).hash(state);
        self.endpoints
            .by_port
            .values()
            .map(Vec::len)
            .sum::<usize>()
            .hash(state);
        if let Some(locality) = &self.locality {
            (&locality.client, &locality.client_labels).hash(state);
        }
    }
}

impl Inputs for lds::outbound::Inputs {
    fn fingerprint(&self, state: &mut impl Hasher) {
        (self.ip, self.port, self.chains.len(), self.common.weft).hash(state);
    }
}

impl Inputs for lds::outbound::VirtualInputs {
    fn fingerprint(&self, state: &mut impl Hasher) {
        (self.port, self.common.weft).hash(state);
    }
}

impl Inputs for lds::inbound::Inputs {
    fn fingerprint(&self, state: &mut impl Hasher) {
        (&self.ports, self.mode, &self.port_modes).hash(state);
        for policy in &self.authorization {
            policy.meta.key.hash(state);
        }
        self.common.weft.hash(state);
    }
}

impl Inputs for lds::gateway::Inputs {
    fn fingerprint(&self, state: &mut impl Hasher) {
        (self.ip, self.port, self.common.weft).hash(state);
        for chain in &self.chains {
            chain.server_names.hash(state);
        }
    }
}

impl Inputs for rds::virtual_host::Inputs {
    fn fingerprint(&self, state: &mut impl Hasher) {
        (&self.name, &self.domains, self.https_redirect).hash(state);
        if let rds::virtual_host::Source::Rules(rules) = &self.source {
            let client = &rules.client;
            (client.port, &client.labels, &client.namespace, client.tls).hash(state);
            for object in &rules.objects {
                object.meta.key.hash(state);
            }
        }
    }
}

impl Inputs for sds::Inputs {
    fn fingerprint(&self, state: &mut impl Hasher) {
        self.credential.key.hash(state);
    }
}
