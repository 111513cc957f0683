//! The credentials that a group of gateways may get, and what each of them takes.
//!
//! Rules, Istio's (`pilot/pkg/xds/sds.go`): Secrets of a gateway's own namespace go to those who
//! may list the namespace's Secrets. What a Gateway of the Gateway API refers to goes to its own
//! pods in any case, because the reference itself was checked. Everything else is not there,
//! whatever name a proxy asks for.
//!
//! Differs from Istio: certificates of authorities (`-cacert`) stand in Secrets as well and
//! follow the same rule; Istio sends them to any proxy of the namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh_api::gateway::{Gateway, ServerCertificate, ServerTlsMode};
use mesh_api::snapshot::Credential;
use xds::delta::{ResourceMap, SharedResource, Subscription};

use super::World;
use super::view::difference;
use crate::cache::insert;
use crate::scope::ScopeKey;
use crate::shared::Shared;
use crate::{gateway, sds, tls};

/// Namespaces whose Secrets a proxy may list.
pub(crate) type Readable = BTreeSet<Arc<str>>;

/// Credentials by the namespace of their Secret.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Secrets {
    of_namespace: BTreeMap<Arc<str>, OfNamespace>,
}

#[derive(Debug)]
struct OfNamespace {
    /// What Gateways refer to whose own pods these proxies are.
    granted: ResourceMap,
    /// The rest.
    others: ResourceMap,
}

impl Default for OfNamespace {
    fn default() -> Self {
        Self {
            granted: ResourceMap::new_sync(),
            others: ResourceMap::new_sync(),
        }
    }
}

impl PartialEq for OfNamespace {
    fn eq(&self, other: &Self) -> bool {
        difference(&self.granted, &other.granted).is_empty()
            && difference(&self.others, &other.others).is_empty()
    }
}

impl Secrets {
    pub(super) fn new(world: &World, key: &ScopeKey) -> Self {
        let referenced = references(world, key);
        let mut secrets = Self::default();
        let first = (Arc::from(&*key.namespace), Arc::from(""));
        let credentials = world.snapshot.credentials.range(first..);
        let own = credentials.take_while(|((namespace, _), _)| **namespace == *key.namespace);
        for ((_, name), credential) in own {
            let of_namespace = secrets
                .of_namespace
                .entry(Arc::clone(&credential.key.namespace))
                .or_default();
            if credential.certificate_chain.is_some() && credential.private_key.is_some() {
                let map = match referenced.contains(&**name) {
                    true => &mut of_namespace.granted,
                    false => &mut of_namespace.others,
                };
                let name = tls::credential_resource(name);
                insert(map, secret(world, name, credential, sds::certificate));
            }
            if credential.ca_certificates.is_some() {
                let name = tls::credential_ca_resource(name);
                let trust = secret(world, name, credential, sds::trust);
                insert(&mut of_namespace.others, trust);
            }
        }
        secrets
    }

    /// What a proxy takes that may read some namespaces, in layers of different names.
    pub(super) fn layers(&self, readable: &Readable) -> Vec<&ResourceMap> {
        let mut layers = Vec::new();
        for (namespace, secrets) in &self.of_namespace {
            layers.push(&secrets.granted);
            if readable.contains(namespace) {
                layers.push(&secrets.others);
            }
        }
        layers
    }

    /// The namespaces of those who must be allowed to read before they get all that they want.
    pub(super) fn guarded(&self, wanted: &Subscription) -> BTreeSet<Arc<str>> {
        let guards = |others: &ResourceMap| match wanted.is_wildcard() {
            true => !others.is_empty(),
            false => wanted.names().any(|name| others.contains_key(name)),
        };
        let namespaces = self.of_namespace.iter();
        namespaces
            .filter(|(_, secrets)| guards(&secrets.others))
            .map(|(namespace, _)| Arc::clone(namespace))
            .collect()
    }
}

fn secret(
    world: &World,
    name: String,
    credential: &Arc<Credential>,
    generate: impl FnOnce(&sds::Inputs) -> xds::envoy::tls::Secret,
) -> SharedResource {
    let inputs = sds::Inputs {
        name: name.clone(),
        credential: Shared::from(credential),
    };
    let (generators, work) = (&world.kept.generators, &world.kept.work);
    generators.secrets.get(work, &name, inputs, generate)
}

/// The names of the credentials in Gateways whose own pods have this key.
fn references<'w>(world: &'w World, key: &'w ScopeKey) -> BTreeSet<&'w str> {
    let trusting = gateway::selecting(&world.snapshot, key).filter(|gateway| trusts(gateway, key));
    let servers = trusting.flat_map(|gateway| &gateway.servers);
    let modes = servers.filter_map(|server| server.tls.as_ref()?.mode.as_ref());
    let certificates = modes.filter_map(|mode| match mode {
        ServerTlsMode::Simple(certificate)
        | ServerTlsMode::Mutual(certificate)
        | ServerTlsMode::OptionalMutual(certificate) => Some(certificate),
        _ => None,
    });
    let names = certificates.flat_map(|certificate| match certificate {
        ServerCertificate::Credential(name) => std::slice::from_ref(name),
        ServerCertificate::Credentials(names) => names,
        ServerCertificate::Files { .. } => &[],
    });
    names.map(|name| &**name).collect()
}

/// Whether proxies with this key are a Gateway's own pods: by their labels, which selected them,
/// their namespace and their service account. Source: Istio `mergeGateways` (`identityVerified`).
fn trusts(gateway: &Gateway, key: &ScopeKey) -> bool {
    let (Some(pods), Some(account)) = (&gateway.trusted_pods, &key.known_account) else {
        return false;
    };
    *pods.namespace == *key.namespace
        && pods
            .service_account
            .as_ref()
            .is_none_or(|only| only == account)
}
