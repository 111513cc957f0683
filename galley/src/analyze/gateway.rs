//! Gateways: references from VirtualServices (IST0101), hosts that no server takes
//! (IST0132), selectors without pods (IST0101), secrets that are missing (IST0101).

use std::collections::BTreeSet;

use mesh_api::diagnostic::Severity;
use mesh_api::gateway::{Gateway, ServerCertificate, ServerTlsMode};
use mesh_api::resource::ResourceKey;
use mesh_api::route::{GatewayRef, VirtualService};

use super::Report;
use crate::manifest::path::FieldPath;
use crate::normalize::Model;
use crate::object::Object;
use crate::store::Store;

const NOT_FOUND: (&str, Severity) = ("IST0101", Severity::Error);
const HOST_NOT_IN_GATEWAY: (&str, Severity) = ("IST0132", Severity::Warning);

pub(super) fn analyze(store: &Store, report: &mut Report) {
    for object in store.of_kind("VirtualService") {
        if let Model::VirtualService(rule) = &object.model {
            references(object, rule, store, report);
        }
    }
    for object in store.of_kind("Gateway") {
        if let Model::Gateway(gateway) = &object.model {
            workloads(object, gateway, store, report);
        }
    }
}

fn references(object: &Object, rule: &VirtualService, store: &Store, report: &mut Report) {
    let root = FieldPath::ROOT;
    let path = root.field("spec");
    let list = path.field("gateways");
    let mut gateways = Vec::new();
    for (index, reference) in rule.gateways.iter().enumerate() {
        let GatewayRef::Gateway { namespace, name } = reference else {
            continue;
        };
        let key = ResourceKey::new("Gateway", namespace, name);
        match store.get(&key).map(|gateway| &gateway.model) {
            Some(Model::Gateway(gateway)) => gateways.push(gateway.clone()),
            _ => {
                let message = format!("there is no gateway \"{namespace}/{name}\"");
                let elsewhere = store
                    .of_kind("Gateway")
                    .find(|other| other.meta.name() == &**name);
                let suggestion = elsewhere
                    .map(|other| format!("did you mean \"{}/{name}\"?", other.meta.namespace()));
                report.add(object, NOT_FOUND, &list.index(index), message, suggestion);
            }
        }
    }
    if gateways.is_empty() || gateways.len() != rule.gateways.len() {
        return;
    }
    let hosts = path.field("hosts");
    for (index, host) in rule.hosts.iter().enumerate() {
        let taken = gateways
            .iter()
            .flat_map(|gateway| &gateway.servers)
            .any(|server| {
                server.hosts.iter().any(|served| {
                    let namespace = served.namespace.as_deref();
                    served.host.overlaps(host)
                        && namespace.is_none_or(|namespace| namespace == object.meta.namespace())
                })
            });
        if !taken {
            let message = format!("no server of the rule's gateways takes host \"{host}\"");
            report.add(
                object,
                HOST_NOT_IN_GATEWAY,
                &hosts.index(index),
                message,
                None,
            );
        }
    }
}

fn workloads(object: &Object, gateway: &Gateway, store: &Store, report: &mut Report) {
    let root = FieldPath::ROOT;
    let path = root.field("spec");
    let namespaces: BTreeSet<&str> = store
        .of_kind("Pod")
        .filter(|pod| gateway.selector.matches(&pod.meta.labels))
        .map(|pod| pod.meta.namespace())
        .collect();
    if namespaces.is_empty() {
        // Without any pod in sight the files may simply hold none.
        if store.of_kind("Pod").next().is_some() {
            let labels: Vec<String> = gateway
                .selector
                .labels()
                .iter()
                .map(|(k, v)| format!("{k}={v}"))
                .collect();
            let message = format!("no pod has the labels {}", labels.join(", "));
            report.add(object, NOT_FOUND, &path.field("selector"), message, None);
        }
        return;
    }
    let servers = path.field("servers");
    for (index, server) in gateway.servers.iter().enumerate() {
        let mode = server.tls.as_ref().and_then(|tls| tls.mode.as_ref());
        let Some(
            ServerTlsMode::Simple(ServerCertificate::Credential(name))
            | ServerTlsMode::Mutual(ServerCertificate::Credential(name))
            | ServerTlsMode::OptionalMutual(ServerCertificate::Credential(name)),
        ) = mode
        else {
            continue;
        };
        for namespace in &namespaces {
            if store
                .get(&ResourceKey::new("Secret", namespace, name))
                .is_none()
            {
                let at = servers.index(index);
                let tls = at.field("tls");
                let message = format!(
                    "there is no secret \"{name}\" in namespace \"{namespace}\" of the gateway's pods"
                );
                report.add(
                    object,
                    NOT_FOUND,
                    &tls.field("credentialName"),
                    message,
                    None,
                );
            }
        }
    }
}
