//! Gateways: references from VirtualServices (IST0101), hosts that no server takes
//! (IST0132), selectors without pods (IST0101), secrets that are missing (IST0101).

use mesh_api::diagnostic::Severity;
use mesh_api::gateway::{Gateway, ServerCertificate, ServerTlsMode};
use mesh_api::resource::ResourceKey;
use mesh_api::route::{GatewayRef, VirtualService};

use super::Report;
use super::fact::Roster;
use super::reader::Reader;
use super::selection::Query;
use crate::kinds::Model;
use crate::manifest::path::FieldPath;
use crate::object::Object;

const NOT_FOUND: (&str, Severity) = ("IST0101", Severity::Error);
const HOST_NOT_IN_GATEWAY: (&str, Severity) = ("IST0132", Severity::Warning);

pub(super) fn analyze(object: &Object, reader: &Reader<'_>, report: &mut Report<'_>) {
    match &object.model {
        Model::VirtualService(rule) => references(rule, reader, report),
        Model::Gateway(gateway) => workloads(object, gateway, reader, report),
        _ => {}
    }
}

fn references(rule: &VirtualService, reader: &Reader<'_>, report: &mut Report<'_>) {
    let root = FieldPath::ROOT;
    let path = root.field("spec");
    let list = path.field("gateways");
    let mut gateways = Vec::new();
    for (index, reference) in rule.gateways.iter().enumerate() {
        let GatewayRef::Gateway { namespace, name } = reference else {
            continue;
        };
        match reader.gateway(ResourceKey::new("Gateway", namespace, name)) {
            Some(served) => gateways.push(served),
            None => {
                let message = format!("there is no gateway \"{namespace}/{name}\"");
                let elsewhere = reader.roster(Roster::GatewaysNamed(name.clone()));
                let suggestion = elsewhere
                    .first()
                    .map(|other| format!("did you mean \"{other}/{name}\"?"));
                report.add(NOT_FOUND, &list.index(index), message, suggestion);
            }
        }
    }
    if gateways.is_empty() || gateways.len() != rule.gateways.len() {
        return;
    }
    let hosts = path.field("hosts");
    for (index, host) in rule.hosts.iter().enumerate() {
        let namespace = &rule.meta.key.namespace;
        if !gateways.iter().any(|served| served.takes(host, namespace)) {
            let message = format!("no server of the rule's gateways takes host \"{host}\"");
            report.add(HOST_NOT_IN_GATEWAY, &hosts.index(index), message, None);
        }
    }
}

fn workloads(object: &Object, gateway: &Gateway, reader: &Reader<'_>, report: &mut Report<'_>) {
    let root = FieldPath::ROOT;
    let path = root.field("spec");
    let query = Query::of(object);
    let namespaces = query.map(|query| reader.selected_namespaces(&query));
    let namespaces = namespaces.unwrap_or_default();
    if namespaces.is_empty() {
        // Without any pod in sight the files may simply hold none.
        if reader.any(Roster::Pods) {
            let labels = gateway.selector.labels().iter();
            let labels: Vec<String> = labels.map(|(k, v)| format!("{k}={v}")).collect();
            let message = format!("no pod has the labels {}", labels.join(", "));
            report.add(NOT_FOUND, &path.field("selector"), message, None);
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
            let secret = reader.object(ResourceKey::new("Secret", namespace, name));
            if secret.is_none() {
                let at = servers.index(index);
                let tls = at.field("tls");
                let message = format!(
                    "there is no secret \"{name}\" in namespace \"{namespace}\" of the gateway's pods"
                );
                report.add(NOT_FOUND, &tls.field("credentialName"), message, None);
            }
        }
    }
}
