//! Ports of Services whose protocol cannot be told from their name (IST0118).

use mesh_api::diagnostic::Severity;
use mesh_api::port::Protocol;

use super::Report;
use crate::kinds::Model;
use crate::manifest::path::FieldPath;
use crate::object::Object;

const NAMING: (&str, Severity) = ("IST0118", Severity::Info);
const EXTERNAL_NAME: (&str, Severity) = ("IST0150", Severity::Warning);

pub(super) fn analyze(object: &Object, report: &mut Report<'_>) {
    let Model::Service(service) = &object.model else {
        return;
    };
    if object.meta.namespace().starts_with("kube-") {
        return;
    }
    let root = FieldPath::ROOT;
    let path = root.field("spec");
    let list = path.field("ports");
    for (index, port) in service.ports.iter().enumerate() {
        let at = list.index(index);
        if service.mesh_external && port.name.is_empty() {
            let message = format!(
                "port {} of an alias has no name and is taken as TCP",
                port.number
            );
            let advice = "name it after its protocol, for example \"http\"".to_owned();
            report.add(EXTERNAL_NAME, &at, message, Some(advice));
        } else if port.protocol == Protocol::Auto {
            let message = format!(
                "port {} (\"{}\") does not tell its protocol, so it is guessed from the first bytes",
                port.number, port.name
            );
            let advice = "name it PROTOCOL or PROTOCOL-SUFFIX, or set appProtocol".to_owned();
            report.add(NAMING, &at, message, Some(advice));
        }
    }
}
