//! Names of gateways that apply rules.

use std::sync::Arc;

use mesh_api::hostname::Hostname;
use mesh_api::route::GatewayRef;

use crate::kinds::findings::Findings;
use crate::kinds::rules::{self, each};
use crate::kinds::scope::Scope;
use crate::manifest::path::FieldPath;

/// `mesh`, a name, or `namespace/name`.
pub(super) fn gateways(
    names: &[String],
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
) -> Option<Vec<GatewayRef>> {
    each(names, path, findings, |text, at, findings| {
        let (namespace, name) = match text.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, text.as_str()),
        };
        let legal = namespace.is_none_or(rules::is_dns_label) && name.parse::<Hostname>().is_ok();
        if !legal {
            findings
                .error(at, format!("\"{text}\" is not the name of a gateway"))
                .suggest("write \"mesh\", \"NAME\" or \"NAMESPACE/NAME\"");
            return None;
        }
        if text == "mesh" {
            return Some(GatewayRef::Mesh);
        }
        Some(GatewayRef::Gateway {
            namespace: namespace.map_or_else(|| scope.meta.key.namespace.clone(), Arc::from),
            name: name.into(),
        })
    })
}
