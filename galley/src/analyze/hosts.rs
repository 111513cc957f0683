//! Which hosts exist, and which subsets they have.

use std::sync::Arc;

use mesh_api::hostname::Hostname;
use mesh_api::service::Service;

use super::fact::{Roster, ends};
use super::reader::Reader;

/// The services of a host, those of wildcards that cover it among them.
fn registered<'a>(host: &Hostname, reader: &Reader<'a>) -> Vec<&'a Service> {
    let exact = (!host.is_wildcard()).then(|| reader.services(host.as_str()));
    let covering = ends(host).flat_map(|end| reader.services(&format!("*{end}")));
    exact.into_iter().flatten().chain(covering).collect()
}

/// The services of a host that a namespace can see.
pub(super) fn visible<'a>(
    host: &Hostname,
    namespace: &str,
    reader: &Reader<'a>,
) -> Vec<&'a Service> {
    let mut services = registered(host, reader);
    services.retain(|service| {
        service.visibility.includes(namespace) || service.meta.namespace() == namespace
    });
    services
}

/// True if someone registered the host, visible or not.
pub(super) fn exists(host: &Hostname, reader: &Reader<'_>) -> bool {
    !registered(host, reader).is_empty()
}

/// True if a host is registered that has something in common with a wildcard.
pub(super) fn any_covered(pattern: &Hostname, reader: &Reader<'_>) -> bool {
    let end = pattern.as_str().trim_start_matches('*');
    reader.any(Roster::HostsBelow(end.into())) || exists(pattern, reader)
}

/// True if some rule defines the subset for the host.
pub(super) fn has_subset(host: &Hostname, subset: &Arc<str>, reader: &Reader<'_>) -> bool {
    reader.any(Roster::Subset(host.as_str().into(), subset.clone()))
}

/// The first subsets that rules define for a host.
pub(super) fn subsets(host: &Hostname, reader: &Reader<'_>) -> Vec<Arc<str>> {
    reader.roster(Roster::Subsets(host.as_str().into()))
}

/// The usual mistakes: a short name in the wrong namespace, or a slip of the finger.
pub(super) fn advice(host: &Hostname, namespace: &str, reader: &Reader<'_>) -> Option<String> {
    if exists(host, reader) {
        return None;
    }
    let (label, _) = host.as_str().split_once('.')?;
    let elsewhere = reader.roster(Roster::HostsOfLabel(label.into()));
    if let Some(name) = elsewhere.first() {
        return Some(format!(
            "short names are those of the rule's namespace \"{namespace}\"; write \"{name}\""
        ));
    }
    let meant = reader.nearest(host)?;
    Some(format!("did you mean \"{meant}\"?"))
}
