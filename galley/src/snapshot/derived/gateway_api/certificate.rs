//! Certificates of listeners where TLS ends.

use std::sync::Arc;

use mesh_api::gateway::ServerCertificate;
use mesh_api::resource::ResourceKey;
use mesh_api::snapshot::{Credential, CredentialKey};

use super::listener::Reason;
use crate::kinds::Model;
use crate::kinds::gateway_api::{KubernetesGateway, Listener, Reference};
use crate::snapshot::derived::world::World;

/// Whether all certificates of a listener are there and may be used.
pub(super) fn resolved(
    gateway: &KubernetesGateway,
    listener: &Listener,
    world: &World<'_>,
) -> Result<(), Reason> {
    if !listener.protocol.terminates_tls() {
        return Ok(());
    }
    if listener.certificates.is_empty() {
        let message = "a certificate is required".to_owned();
        return Err(("InvalidCertificateRef", message));
    }
    let mut certificates = listener.certificates.iter();
    certificates.try_for_each(|secret| is_usable(gateway, secret, world))
}

fn is_usable(
    gateway: &KubernetesGateway,
    secret: &Reference,
    world: &World<'_>,
) -> Result<(), Reason> {
    let invalid = |message: String| Err(("InvalidCertificateRef", message));
    if (&*secret.group, &*secret.kind) != ("", "Secret") {
        return invalid(format!("{} is not a Secret", secret.kind));
    }
    let name = format!("{}/{}", secret.namespace, secret.name);
    if !world.permit("Gateway", gateway.meta.namespace(), secret) {
        let message = format!("no ReferenceGrant for Secret \"{name}\"");
        return Err(("RefNotPermitted", message));
    }
    match credential(secret, world) {
        Some(one) if one.certificate_chain.is_some() && one.private_key.is_some() => Ok(()),
        _ => invalid(format!("Secret \"{name}\" holds no certificate and key")),
    }
}

/// The certificates as pods of namespace `pods` ask for them.
pub(super) fn shown(certificates: &[Reference], pods: &str) -> ServerCertificate {
    match certificates {
        [only] => ServerCertificate::Credential(name(only, pods)),
        several => {
            let names = several.iter().map(|secret| name(secret, pods));
            ServerCertificate::Credentials(names.collect())
        }
    }
}

/// Certificates that are not of namespace `pods`, under their names there.
pub(super) fn foreign(
    certificates: &[Reference],
    pods: &Arc<str>,
    world: &World<'_>,
) -> Vec<(CredentialKey, Arc<Credential>)> {
    let foreign = certificates
        .iter()
        .filter(|secret| secret.namespace != *pods);
    let shown = foreign.filter_map(|secret| {
        let own = Credential {
            ca_certificates: None,
            crl: None,
            ..(**credential(secret, world)?).clone()
        };
        Some(((pods.clone(), name(secret, pods)), Arc::new(own)))
    });
    shown.collect()
}

/// Pods know Secrets of their own namespace by name alone; of others the name is Istio's.
fn name(secret: &Reference, pods: &str) -> Arc<str> {
    match *secret.namespace == *pods {
        true => secret.name.clone(),
        false => format!("kubernetes-gateway://{}/{}", secret.namespace, secret.name).into(),
    }
}

fn credential<'a>(secret: &Reference, world: &World<'a>) -> Option<&'a Arc<Credential>> {
    let key = ResourceKey::new("Secret", &secret.namespace, &secret.name);
    match world.get(&key).map(|object| &object.model) {
        Some(Model::Credential(credential)) => Some(credential),
        _ => None,
    }
}
